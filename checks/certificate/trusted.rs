//! `certificate-trusted`: does what a server shows lead to a root that those know who look at it?

use crate::{
    facts::{
        certificate::Certificate,
        chain::{End, Fault, Way},
        raw::Raw,
        trust::{MOZILLA, PlatformTrust},
    },
    model::{
        ask::{Ask, Endpoint, Question},
        certificates::{Certificates, Leaf, Shown, Trust, judge_leaves, trust_needs},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Trouble, Verdict},
        holder::Holder,
        listeners::{Facing, listeners},
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Trusted;

static META: Meta = Meta {
    id: "certificate-trusted",
    area: "certificate",
    title: "Certificates are trusted",
    question: "Does every certificate lead to a root that those know who look at it?",
    healthy: "outside, a chain to a public root; inside, a root that the company's machines know, or Exchange's own self-signed certificate",
    why: "A peer that demands a verified certificate refuses mail to or from a server whose certificate leads to no root it knows: 454 4.7.0 UntrustedRoot. Peers that encrypt without verifying go on, which hides it.",
    remedy: &[
        "See which certificates the server has, and which of them serve SMTP: Get-ExchangeCertificate -Server <SERVER> | fl Thumbprint,Subject,Issuer,Services,NotAfter",
        "Outside: give the port a certificate of a public authority, and pin it: Set-ReceiveConnector \"<CONNECTOR>\" -TlsCertificateName \"<I><ISSUER><S><SUBJECT>\"",
        "Inside: publish the company's root: certutil -dspublish -f <ROOT.CER> RootCA; or state it in the plan as a [[store]]",
    ],
    references: &["RFC 5280 section 6", "Microsoft KB 2888788", "Microsoft KB 3212877"],
    symptoms: &[
        "454 4.7.0 TLS channel could not be established: UntrustedRoot",
        "MSExchangeTransport event 2004",
        "450 4.4.317 Cannot establish TLS session with remote server",
        "0x800B0109 CERT_E_UNTRUSTEDROOT",
    ],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Trusted {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let mut needs = trust_needs(estate, evidence);
        // The platform's own word is asked only about what faces outside: on Windows it may take seconds.
        for listener in listeners(estate).into_iter().filter(|listener| listener.facing == Facing::Outside) {
            let looks = listener.first_asks(evidence).into_iter().map(|ask| listener.look(&ask, evidence));
            needs.extend(looks.filter_map(|look| look.seen()).map(|seen| Need {
                subject: listener.subject(),
                ask: platform_ask(&seen.chain, listener.names.first().unwrap_or(&listener.to.host)),
            }));
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let mut findings = judge_leaves(&META, estate, evidence, |certificates, leaf| {
            let worst =
                leaf.chains().into_iter().map(|shown| word(certificates, shown)).max_by_key(|word| word.verdict);
            let Some(word) = worst else { return Finding::new(&META, leaf.subject(), Verdict::Unknown, "never shown") };
            let is_ended = matches!(word.code, Some("issuer-unknown" | "root-unknown"));
            let word = if is_ended && !is_followed(leaf, estate, evidence) { word.unfollowed() } else { word };
            judge(leaf, &word, estate, evidence)
        });
        // Whoever cannot see a certificate cannot judge it in any way: the other checks of this area stand behind this one.
        for finding in
            findings.iter_mut().filter(|finding| finding.verdict == Verdict::Unknown && finding.speaks_for.is_empty())
        {
            finding.is = Some(Trouble::CertificateBad(finding.subject.to_string()));
        }
        findings
    }
}

/// Was all asked that could lead on from its chain? An interrupted run and a rehearsal leave some of it open. Whom peers outside
/// trust, no store of the organisation's own can tell.
fn is_followed(leaf: &Leaf<'_>, estate: &Estate, evidence: &Evidence) -> bool {
    let is_public =
        |name: &str| name == MOZILLA || estate.plan.stores.iter().any(|store| store.public && store.name == name);
    let matters = |ask: &Ask| match &ask.what {
        Question::RootsNamed(question) => leaf.facing() != Facing::Outside || is_public(&question.store),
        _ => true,
    };
    let needs = trust_needs(estate, evidence);
    let mut open = needs.iter().filter(|need| !evidence.holds(&need.ask) && matters(&need.ask));
    !open.any(|need| leaf.shown.iter().any(|shown| shown.listener.subject() == need.subject))
}

fn platform_ask(chain: &[Raw], name: &str) -> Ask {
    Ask::new(Endpoint::this_machine(), PlatformTrust { chain: chain.to_vec(), name: name.to_string() })
}

/// What there is to say of one chain.
struct Word {
    verdict: Verdict,
    code: Option<&'static str>,
    said: String,
}

impl Word {
    fn good(said: String) -> Self {
        Self { verdict: Verdict::Pass, code: None, said }
    }

    /// Outside it stops mail; inside it is odd, and stops nobody who does not look.
    fn bad(facing: Facing, code: &'static str, said: String) -> Self {
        let verdict = if facing == Facing::Outside { Verdict::Fail } else { Verdict::Warn };
        Self { verdict, code: Some(code), said }
    }

    /// Nobody has looked yet where the chain leads on.
    fn unfollowed(self) -> Self {
        let said = format!("{}; but not all was asked that could lead on", self.said);
        Self { verdict: Verdict::Unknown, code: None, said }
    }

    fn untold(said: String) -> Self {
        Self { verdict: Verdict::Unknown, code: Some("not-checkable"), said }
    }
}

fn judge(leaf: &Leaf<'_>, word: &Word, estate: &Estate, evidence: &Evidence) -> Finding {
    // Where all is well by the stores that count, what this machine's own would say is of no use.
    let platform = platform_word(leaf, evidence).filter(|_| word.verdict.is_trouble());
    let platform = platform.map(|said| format!("; this workstation's own verifier {said}"));
    let seen = format!("{}: {}{}", leaf.at(), word.said, platform.unwrap_or_default());
    let finding = Finding::new(&META, leaf.subject(), word.verdict, seen).is(leaf.trouble());
    let Some(code) = word.code else { return finding };
    mend(leaf, code, estate).into_iter().fold(finding.code(code), Finding::remedy)
}

fn word(certificates: &Certificates, shown: &Shown) -> Word {
    let (leaf, facing) = (certificates.leaf(shown), shown.facing());
    if shown.disproven {
        let said = "whoever answers here does not hold the key of this certificate, so that every handshake breaks";
        return Word { verdict: Verdict::Fail, code: Some("key-mismatch"), said: said.into() };
    }
    let is_outside = facing == Facing::Outside;
    let way = certificates.way_of(shown, is_outside);
    let any_way = if is_outside { certificates.way_of(shown, false) } else { way.clone() };
    match (way.end, any_way.end) {
        (End::Root(root), _) => reached(certificates, &way, root, facing),
        (_, End::Root(root)) => {
            let stores = named(&certificates.stores_with(root));
            let said = format!("it leads to \"{}\", which no public list of roots has ({stores} does)", root.subject);
            Word::bad(facing, "root-unknown", said)
        }
        (End::SelfSigned, _) if way.above.is_empty() && facing == Facing::Clients => {
            Word::bad(facing, "self-signed", "it is self-signed, so that each web client warns of it".into())
        }
        (End::SelfSigned, _) if way.above.is_empty() && !is_outside => {
            Word::good("self-signed, as Exchange makes its own".into())
        }
        (End::SelfSigned, _) if way.above.is_empty() => {
            Word::bad(facing, "self-signed", "it is self-signed, so no peer outside can trust it".into())
        }
        (End::SelfSigned, _) => {
            let root = way.last();
            let said = format!("it leads to the root \"{}\", which {} knows", root.subject, nobody(facing));
            Word::bad(facing, "root-unknown", said)
        }
        (End::NoIssuer, _) if way.above.is_empty() => no_issuer(leaf, facing),
        // Above an intermediate stands a root, nearly always, and roots need not be sent.
        (End::NoIssuer, _) => {
            let last = way.last();
            let said = format!(
                "\"{}\" is signed by \"{}\", which was not sent and which {} knows",
                last.subject,
                last.issuer,
                nobody(facing)
            );
            Word::bad(facing, "root-unknown", said)
        }
        (End::Forged(issuer), _) => {
            let last = way.last();
            let is_root = !certificates.stores_with(issuer).is_empty();
            let code = if is_root { "root-of-same-name" } else { "forged" };
            let said = format!(
                "\"{}\" names \"{}\" as its issuer, but the {} of that name has another key",
                last.subject,
                issuer.subject,
                if is_root { "known root" } else { "certificate" }
            );
            Word::bad(facing, code, said)
        }
        (End::NotCheckable(issuer), _) => {
            let said = format!(
                "the signature of \"{}\" ({}) is of a kind that cannot be checked here",
                issuer.subject, issuer.key
            );
            Word::untold(said)
        }
        (End::TooLong, _) => Word::bad(facing, "too-long", "its chain has no end within what is reasonable".into()),
    }
}

fn no_issuer(leaf: &Certificate, facing: Facing) -> Word {
    let said = format!(
        "its issuer \"{}\" was not sent, {} knows it, and it could not be fetched; it may be an intermediate that the server forgets, or a root",
        leaf.issuer,
        nobody(facing)
    );
    Word::bad(facing, "issuer-unknown", said)
}

fn reached(certificates: &Certificates, way: &Way<'_>, root: &Certificate, facing: Facing) -> Word {
    let stores = named(&certificates.stores_with(root));
    let bad = |code, said| Word::bad(facing, code, said);
    match &way.fault {
        None => Word::good(format!("it leads to the root \"{}\" ({stores})", root.subject)),
        Some(Fault::NotAnAuthority(name)) => {
            bad("not-a-ca", format!("\"{name}\" signs for it, and is no certificate authority"))
        }
        Some(Fault::NameConstraints) => {
            bad("name-constraints", "it has a name that an authority above it may not sign".into())
        }
        Some(Fault::PathLength) => {
            bad("path-length", "an authority above it allows fewer authorities below itself".into())
        }
        Some(Fault::AuthorityAsServer) => Word {
            verdict: Verdict::Warn,
            code: Some("authority-as-server"),
            said: "it is an authority's own certificate (CA:TRUE), which some peers refuse".into(),
        },
        Some(Fault::Refused(why)) => bad("refused", why.clone()),
        Some(Fault::NotCheckable(why)) => Word::untold(why.clone()),
    }
}

fn nobody(facing: Facing) -> &'static str {
    if facing == Facing::Outside { "no public list of roots" } else { "no store that was asked" }
}

fn named(stores: &[Trust]) -> String {
    let name = |trust: &Trust| match trust.store.as_str() {
        "mozilla" => "Mozilla's list".to_string(),
        "system" => "this machine".to_string(),
        other => format!("the store {other}"),
    };
    let names: Vec<_> = stores.iter().map(name).collect();
    if names.is_empty() { "no store".into() } else { names.join(", ") }
}

fn platform_word(leaf: &Leaf<'_>, evidence: &Evidence) -> Option<String> {
    let mut words = evidence
        .all::<PlatformTrust>()
        .filter(|(_, question, _)| question.chain.first().is_some_and(|sent| sent.0 == leaf.certificate.der));
    let (_, _, answer) = words.next()?;
    let word = answer.facts()?;
    Some(if word.trusts { "trusts it".into() } else { format!("refuses it (\"{}\")", word.said) })
}

fn mend(leaf: &Leaf<'_>, code: &str, estate: &Estate) -> Vec<String> {
    let holder = Holder::of(leaf, estate);
    let then = match (leaf.facing(), code) {
        (_, "key-mismatch") => "Let it show the certificate whose private key it holds, or give it that key again; and see whether it is that server at all that answers there.".to_string(),
        (_, "issuer-unknown") => "If the issuer is an intermediate, let the server send it along; if it is a company's root, state its file in the plan as a [[store]].".to_string(),
        (Facing::Outside, _) => "Peers outside that demand a verified certificate refuse: Exchange Online with a connector, senders with MTA-STS. Give the port one of a public authority.".to_string(),
        _ => "Publish the company's root to all machines (certutil -dspublish -f <ROOT.CER> RootCA), or state its file in the plan as a [[store]].".to_string(),
    };
    holder.look().into_iter().chain([then]).chain(holder.pin()).collect()
}
