//! What can become of a renewal, thing by thing: the codes that `compare` and `rehearse` tell, and `explain` knows.

use super::Class;

/// What changed, or did not and has to. The order is that in which changes are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A place shows the new certificate.
    Renewed,
    /// An intermediate is not sent any more.
    ChainShorter,
    /// The internal transport certificate is another.
    InternalReplaced,
    /// Another authority signed it.
    IssuerChanged,
    /// Another kind of key, or length.
    KeyChanged,
    /// A place shows the former one.
    LeftBehind,
    /// It lacks names of the former one.
    NamesLost,
    /// No public root leads to it.
    NotPublic,
    /// A connector names the former one.
    PinStale,
    /// The certificate for the other kind of key ends soon.
    SecondKeyLeftBehind,
    /// A place offers no STARTTLS any more.
    StarttlsGone,
    /// Exchange Online looks for another name.
    TenantMismatch,
    /// It lacks usages of the former one.
    UsageLost,
    /// A place showed the former one, and nothing was seen of it since.
    NotSeen,
    /// A server has the former one still.
    OldStillThere,
    /// A connector names both.
    SameNames,
}

/// What is known of a code, for a person.
pub struct Told {
    /// What was seen.
    pub title: &'static str,
    /// What comes of it.
    pub why: &'static str,
    /// What mends it, a line each.
    pub mends: &'static [&'static str],
    /// Checks whose explanations tell more.
    pub checks: &'static [&'static str],
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Renewed,
        Self::ChainShorter,
        Self::InternalReplaced,
        Self::IssuerChanged,
        Self::KeyChanged,
        Self::LeftBehind,
        Self::NamesLost,
        Self::NotPublic,
        Self::PinStale,
        Self::SecondKeyLeftBehind,
        Self::StarttlsGone,
        Self::TenantMismatch,
        Self::UsageLost,
        Self::NotSeen,
        Self::OldStillThere,
        Self::SameNames,
    ];

    /// The word that people and machines read, kebab-case; never used again for something else.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::ChainShorter => "chain-shorter",
            Self::InternalReplaced => "internal-replaced",
            Self::IssuerChanged => "issuer-changed",
            Self::KeyChanged => "key-changed",
            Self::LeftBehind => "left-behind",
            Self::NamesLost => "names-lost",
            Self::NotPublic => "not-public",
            Self::PinStale => "pin-stale",
            Self::SecondKeyLeftBehind => "second-key-left-behind",
            Self::StarttlsGone => "starttls-gone",
            Self::TenantMismatch => "tenant-mismatch",
            Self::UsageLost => "usage-lost",
            Self::NotSeen => "not-seen",
            Self::OldStillThere => "old-still-there",
            Self::SameNames => "same-names",
        }
    }

    /// Whether it was meant.
    pub const fn class(self) -> Class {
        match self {
            Self::Renewed => Class::Wanted,
            Self::NotSeen | Self::OldStillThere | Self::SameNames => Class::Left,
            _ => Class::Unwanted,
        }
    }

    /// Not meant, and to be looked at, though nothing breaks by it alone: authorities change their intermediates, and whether
    /// somebody names the issuer (`pin-stale`) or demands a usage (certificate-usage) is told by itself.
    pub const fn is_harmless_alone(self) -> bool {
        matches!(self, Self::IssuerChanged | Self::KeyChanged | Self::UsageLost)
    }

    /// The code of this word.
    pub fn called(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.word().eq_ignore_ascii_case(word))
    }

    /// What a person is told of it.
    pub fn told(self) -> Option<&'static Told> {
        TOLD.iter().find(|(code, _)| *code == self).map(|(_, told)| told)
    }
}

/// What a person is told of each.
static TOLD: [(Code, Told); 16] = [
    (
        Code::Renewed,
        Told {
            title: "It shows the new certificate",
            why: "This is what a renewal is for. A renewal is complete when every place is told so, and nothing else that breaks mail.",
            mends: &[],
            checks: &["certificate-current"],
        },
    ),
    (
        Code::ChainShorter,
        Told {
            title: "It sends fewer intermediates than before",
            why: "Authorities change their intermediates, and Windows sends what is in the server's own store. Peers that do not fetch what is missing take the certificate for untrusted: UntrustedRoot, or 550 5.7.64 from Exchange Online.",
            mends: &[
                "Import-Certificate -FilePath <INTERMEDIATE.CER> -CertStoreLocation Cert:\\LocalMachine\\CA   (on each server), then restart transport",
            ],
            checks: &["certificate-complete"],
        },
    ),
    (
        Code::InternalReplaced,
        Told {
            title: "The internal transport certificate is another",
            why: "Servers of the organisation know one another by it, and Edge subscriptions hold it. Who answers Yes to \"overwrite the existing default SMTP certificate\" gives the public one this part: it has to be renewed with it from then on, and Edge subscriptions break (event 1036).",
            mends: &[
                "New-ExchangeCertificate -Server <SERVER>   (and Yes, this once), restart transport, renew Edge subscriptions",
            ],
            checks: &["certificate-internal"],
        },
    ),
    (
        Code::IssuerChanged,
        Told {
            title: "Another authority signed the new certificate",
            why: "Nothing breaks by it alone. Connectors that name the former issuer (TlsCertificateName has it) do, which is told as pin-stale.",
            mends: &[],
            checks: &["certificate-pinned", "certificate-trusted"],
        },
    ),
    (
        Code::KeyChanged,
        Told {
            title: "The new certificate has another kind of key, or of another length",
            why: "Nothing breaks by it alone. A certificate with an ECDSA key serves no peer that offers RSA suites only, and Exchange takes ECDSA for SMTP since late updates of 2016 and 2019 only.",
            mends: &[],
            checks: &["certificate-strong"],
        },
    ),
    (
        Code::LeftBehind,
        Told {
            title: "It still shows the former certificate, while the new one is in use elsewhere",
            why: "One server of several was forgotten, or its services were not restarted. When the former one ends, this one's mail stops, now and then, by the way mail takes.",
            mends: &[
                "Import-ExchangeCertificate and Enable-ExchangeCertificate on that server, too, then restart MSExchangeTransport and MSExchangeFrontEndTransport",
            ],
            checks: &["certificate-single", "certificate-current"],
        },
    ),
    (
        Code::NamesLost,
        Told {
            title: "The new certificate lacks names that the former one bears",
            why: "Peers and Exchange look for a connector's Fqdn among the names: where none is there, STARTTLS disappears (event 12014); clients of the website get a warning.",
            mends: &["Have it issued anew with all names"],
            checks: &["certificate-named"],
        },
    ),
    (
        Code::NotPublic,
        Told {
            title: "No public root leads to the new certificate, as one did to the former",
            why: "Peers outside do not trust it: 454 4.7.0 UntrustedRoot where they look, and Exchange Online always does.",
            mends: &["Have it issued by a public authority, or keep the former one where mail goes in and out"],
            checks: &["certificate-trusted", "certificate-single"],
        },
    ),
    (
        Code::PinStale,
        Told {
            title: "A connector names the former certificate and not the new one",
            why: "TlsCertificateName holds issuer and subject. Once the former one is gone nothing fits: a receive connector offers no STARTTLS (event 12014), a send connector shows no certificate (550 5.7.64 from Exchange Online).",
            mends: &[
                "$c = $null; $c = Get-ExchangeCertificate -Server <SERVER> -Thumbprint <NEW>",
                "if ($c) { Set-SendConnector \"<NAME>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }   (or Set-ReceiveConnector)",
            ],
            checks: &["certificate-pinned"],
        },
    ),
    (
        Code::SecondKeyLeftBehind,
        Told {
            title: "Beside the new certificate it shows one for another kind of key, which ends soon",
            why: "A server may have one for RSA and one for ECDSA. Peers that take the second one meet one that has ended.",
            mends: &["Renew that one, too, or remove it"],
            checks: &["certificate-single", "certificate-current"],
        },
    ),
    (
        Code::StarttlsGone,
        Told {
            title: "It offers no STARTTLS any more",
            why: "Exchange found no certificate for the connector: not enabled for SMTP, of another name than its Fqdn, or named by a TlsCertificateName that nothing fits (event 12014). Mail that demands TLS stays outside.",
            mends: &[
                "Enable-ExchangeCertificate -Server <SERVER> -Thumbprint <NEW> -Services SMTP   (No to the default), then restart transport",
            ],
            checks: &["smtp-starttls", "certificate-pinned"],
        },
    ),
    (
        Code::TenantMismatch,
        Told {
            title: "Exchange Online looks for a name that the new certificate does not bear",
            why: "The inbound connector's TlsSenderCertificateName is how Exchange Online knows whose mail it is: 550 5.7.64 TenantAttribution.",
            mends: &[
                "Run the Hybrid Configuration Wizard again, or in the shell of Exchange Online:",
                "Set-InboundConnector \"<NAME>\" -TlsSenderCertificateName <NAME IT BEARS>",
            ],
            checks: &["hybrid-sender-name", "hybrid-presented"],
        },
    ),
    (
        Code::UsageLost,
        Told {
            title: "The new certificate is not allowed what the former one was",
            why: "Public authorities leave out clientAuth by now. Nothing breaks by it alone; who demands it of a client is told by certificate-usage.",
            mends: &[],
            checks: &["certificate-usage"],
        },
    ),
    (
        Code::NotSeen,
        Told {
            title: "It showed the former certificate, and no certificate was seen of it since",
            why: "A server that does not answer, or that was left out, is not known to have been renewed. When it comes back it may show the former one.",
            mends: &["Look again when it answers: exchange-preflight run, with the same servers, then compare"],
            checks: &["smtp-reachable", "certificate-single"],
        },
    ),
    (
        Code::OldStillThere,
        Told {
            title: "The former certificate is still on the server",
            why: "That is right until all else is done: then it goes last. While it is there, Exchange may choose it again.",
            mends: &["Remove-ExchangeCertificate -Server <SERVER> -Thumbprint <FORMER>   (last)"],
            checks: &["certificate-single"],
        },
    ),
    (
        Code::SameNames,
        Told {
            title: "A connector names the former and the new certificate alike",
            why: "Issuer and subject are the same, and TlsCertificateName has nothing else: which of both is shown is not certain before the former one is gone.",
            mends: &[
                "See the steps of `rehearse`: the order matters, and transport must not run on any source server without a name",
            ],
            checks: &["certificate-pinned"],
        },
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use exchange_preflight_checks::CHECKS;

    #[test]
    fn each_code_stands_once_and_leads_to_checks_that_are_there() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.word()).collect();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            assert_eq!(Code::called(code.word()), Some(code));
            for id in code.told().unwrap().checks {
                assert!(CHECKS.iter().any(|check| check.meta().id == *id), "{} leads to {id}", code.word());
            }
        }
        let is_in_order = |pair: &[Code]| (pair[0].class(), pair[0].word()) < (pair[1].class(), pair[1].word());
        assert!(Code::ALL.windows(2).all(is_in_order), "as changes are sorted");
    }
}
