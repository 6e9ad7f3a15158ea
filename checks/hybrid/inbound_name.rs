//! `hybrid-inbound-name`: do the servers to which Exchange Online hands mail prove the name that it asks for?

use crate::{
    facts::{certificate::Certificate, dns::canonical_name, export::OutboundConnector},
    model::{
        check::{Check, Need},
        connectors::in_command,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        hybrid::{Fit, fit, is_pattern},
        listeners::quote,
        meta::{Basis, Fold, Meta, Tier},
        outside::{Found, Leads, MOST_HOSTS, Met, Roots, asks, leads, left_out, look},
        plan::{PlannedServer, ServerState},
    },
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::net::IpAddr;

/// See the module.
pub struct InboundName;

static META: Meta = Meta {
    id: "hybrid-inbound-name",
    area: "hybrid",
    title: "Servers prove their name to Exchange Online",
    question: "Do the smart hosts of the tenant's outbound connector show a public certificate with its TlsDomain?",
    healthy: "port 25 of each smart host shows a certificate with TlsDomain among its names, and sends a chain to a public root",
    why: "Exchange Online hands mail over only to whom proves the name in TlsDomain by a certificate of a public authority, sent with its intermediates. After a renewal with other names, or by an inner authority, mail from the cloud waits there and comes back after a day.",
    remedy: &[
        "Show the certificate that has the name: $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-ReceiveConnector \"<SERVER>\\<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }; Restart-Service MSExchangeFrontEndTransport",
        "Or ask for a name that it has, in Exchange Online: Set-OutboundConnector \"<CONNECTOR>\" -TlsDomain <NAME>",
        "Or run the Hybrid Configuration Wizard again, which sets both sides.",
    ],
    references: &[
        "Set-OutboundConnector, parameters TlsDomain and TlsSettings (Microsoft Learn)",
        "Certificate requirements for hybrid deployments (Microsoft Learn)",
    ],
    symptoms: &["450 4.4.317", "454 4.7.5 Certificate validation failure", "SubjectMismatch", "CertificateExpired"],
    tier: Tier::Input,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Field],
};

impl Check for InboundName {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of = |connector: &OutboundConnector| -> Vec<Need> {
            let (hosts, _) = hosts(connector, estate);
            let asks = hosts.iter().flat_map(|host| asks(host, estate, evidence));
            asks.map(|ask| Need { subject: subject(connector), ask }).collect()
        };
        outbound(estate).filter(|connector| what_counts(connector).is_ok()).flat_map(of).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let skip = |seen: &str| vec![Finding::new(&META, Subject::Estate, Verdict::Skip, seen)];
        if estate.plan.inputs.outbound.is_none() {
            return skip("it needs Get-OutboundConnector of the tenant, and nobody gave that (--input)");
        }
        let findings: Vec<_> = outbound(estate).map(|connector| judge(connector, estate, evidence)).collect();
        if findings.is_empty() {
            return skip("the tenant has no outbound connector of type OnPremises in service");
        }
        findings
    }
}

fn outbound(estate: &Estate) -> impl Iterator<Item = &OutboundConnector> {
    let all = estate.plan.inputs.outbound.iter().flatten();
    all.filter(|connector| connector.is_enabled && connector.is_on_premises)
}

fn subject(connector: &OutboundConnector) -> Subject {
    Subject::Configured("outbound connector".into(), connector.name.clone())
}

/// What Exchange Online looks at: the name, if it does; or why it looks at nothing.
fn what_counts(connector: &OutboundConnector) -> Result<Option<String>, &'static str> {
    let settings = connector.tls_settings.as_deref().unwrap_or_default().to_lowercase();
    let domain = connector.tls_domain.as_deref().map(canonical_name).filter(|name| !name.is_empty());
    if connector.smart_hosts.is_empty() {
        return Err("it looks the way up in DNS, and has no smart host of its own");
    }
    match settings.as_str() {
        "encryptiononly" => Err("it wants encryption alone, and looks at no certificate (TlsSettings)"),
        "certificatevalidation" => Ok(None),
        "domainvalidation" => Ok(domain),
        _ if domain.is_some() => Ok(domain),
        _ => Err("it looks at no certificate (TlsSettings is not set)"),
    }
}

/// Its smart hosts: as a server of the plan, where one is reached from outside by that name, since inside a name may lead
/// elsewhere; else by DNS. And how many more are not asked.
fn hosts(connector: &OutboundConnector, estate: &Estate) -> (Vec<String>, usize) {
    let mut all: BTreeSet<String> = BTreeSet::new();
    for host in &connector.smart_hosts {
        let name = canonical_name(host.trim_matches(['[', ']']));
        let servers: Vec<_> = reached_as(&name, estate).collect();
        if servers.is_empty() {
            all.insert(name);
        } else {
            all.extend(servers.into_iter().map(|server| server.name.clone()));
        }
    }
    let more = all.len().saturating_sub(MOST_HOSTS);
    (all.into_iter().take(MOST_HOSTS).collect(), more)
}

fn reached_as<'e>(name: &'e str, estate: &'e Estate) -> impl Iterator<Item = &'e PlannedServer> {
    let is_it = move |server: &&PlannedServer| {
        server.state == ServerState::Active && server.outward.iter().any(|own| own == name)
    };
    estate.plan.servers.iter().filter(is_it)
}

fn judge(connector: &OutboundConnector, estate: &Estate, evidence: &Evidence) -> Finding {
    let wanted = match what_counts(connector) {
        Ok(wanted) => wanted,
        Err(why) => return Finding::new(&META, subject(connector), Verdict::Skip, why),
    };
    let (hosts, more) = hosts(connector, estate);
    let words = hosts.iter().map(|host| {
        let word = judge_host(connector, wanted.as_deref(), host, estate, evidence);
        let more = if more > 0 { format!("; {more} more hosts were not asked") } else { String::new() };
        Finding { seen: word.seen.clone() + &left_out(host, estate) + &more, ..word }
    });
    let worst = words.reduce(|worst, other| if other.verdict > worst.verdict { other } else { worst });
    worst.unwrap_or_else(|| Finding::new(&META, subject(connector), Verdict::Skip, "it has no smart host"))
}

fn judge_host(
    connector: &OutboundConnector,
    wanted: Option<&str>,
    host: &str,
    estate: &Estate,
    evidence: &Evidence,
) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, subject(connector), verdict, seen);
    let told = told(host);
    let dark = |seen: String| {
        finding(Verdict::Unknown, seen)
            .suspects(Trouble::HostDark(host.to_string()))
            .suspects(Trouble::Name(host.to_string()))
            .remedy("Run from a place that reaches the host as Exchange Online does; or state in the plan which server it is (outward).")
    };
    let met = match look(host, estate, evidence) {
        Found::Nowhere => return dark(format!("{told} has no address in the DNS that this machine asks")),
        Found::Untold(why) => return dark(format!("whether {told} has an address is not known: {why}")),
        Found::At(met) => met,
    };
    let shown = met
        .iter()
        .filter_map(|(address, met)| if let Met::Shown(chain) = met { Some((*address, chain)) } else { None });
    let words = shown.map(|(address, chain)| judge_chain(connector, wanted, (host, address), chain, estate, evidence));
    let worst = words.reduce(|worst, other| if other.verdict > worst.verdict { other } else { worst });
    if let Some(worst) = worst {
        return worst;
    }
    if let Some(why) = met.iter().find_map(|(_, met)| if let Met::NoTls(why) = met { Some(why) } else { None }) {
        return finding(Verdict::Warn, format!("{told} answers, and {why}: Exchange Online hands over by TLS alone"))
            .code("no-starttls")
            .remedy("See smtp-starttls for a server of the estate; else a firewall on the way may inspect SMTP.");
    }
    let miss = met.iter().find_map(|(_, met)| if let Met::Missed(miss) = met { Some(miss.to_string()) } else { None });
    dark(format!(
        "{told} showed no certificate: {}",
        miss.unwrap_or_else(|| "the run ended before it was asked".into())
    ))
}

fn judge_chain(
    connector: &OutboundConnector,
    wanted: Option<&str>,
    (host, address): (&str, IpAddr),
    chain: &[Certificate],
    estate: &Estate,
    evidence: &Evidence,
) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, subject(connector), verdict, seen);
    let Some(leaf) = chain.first() else { return finding(Verdict::Unknown, format!("{} showed nothing", told(host))) };
    let bad = Trouble::CertificateBad(leaf.thumbprint.clone());
    // Inside, a name may lead to another machine than outside; only of the estate's own servers it is known that they are meant.
    let is_certain = estate.servers.contains_key(host) || !is_inner(address);
    let matters = if is_certain { Verdict::Fail } else { Verdict::Warn };
    let common = leaf.subject.common_name.as_deref().map(canonical_name);
    if let Some(wanted) = wanted
        && !bears(leaf, wanted)
    {
        let is_common = common.is_some_and(|common| matches!(fit(wanted, &[common]), Fit::Yes(_)));
        let verdict = if is_common { Verdict::Warn } else { matters };
        let names: Vec<_> = leaf.dns_names.iter().take(4).map(|name| told(name)).collect();
        let names = if names.is_empty() { "none".to_string() } else { names.join(", ") };
        let own = leaf.dns_names.iter().find(|name| is_pattern(name)).map_or("<NAME>", String::as_str);
        return finding(verdict, format!("{} is asked for {}, and its names are {names} ({})", told(host), told(wanted), leaf.thumbprint))
            .code("name")
            .suspects(bad)
            .remedy(format!("Let {} show the certificate that has the name, with SMTP, named on the connector that Exchange Online meets:", told(host)))
            .remedy("    $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-ReceiveConnector \"<SERVER>\\<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }")
            .remedy("    Restart-Service MSExchangeFrontEndTransport")
            .remedy("Or ask for a name that it has, in Exchange Online (the Hybrid Configuration Wizard does both):")
            .remedy(format!("    Set-OutboundConnector {} -TlsDomain {own}", in_command(&connector.name)));
    }
    match leads(chain, Roots::Public, estate, evidence) {
        Leads::ToRoot => {
            let named = wanted.map_or(String::new(), |wanted| format!("{}, and ", told(wanted)));
            finding(Verdict::Pass, format!("{} shows {named}a chain to a public root", told(host)))
        }
        Leads::Elsewhere(issuer) => {
            finding(matters, format!("what {} sends leads to no public root; it ends at {issuer}", told(host)))
                .code("chain")
                .suspects(bad)
                .suspects(Trouble::ChainUnsent(leaf.thumbprint.clone()))
                .remedy(
                    "If the authority is a public one, put its intermediate on the server, so that it is sent along:",
                )
                .remedy("    certutil -addstore CA <INTERMEDIATE.CER>")
                .remedy("    Restart-Service MSExchangeFrontEndTransport")
                .remedy(
                    "If it is the company's own, show a certificate of a public one: Exchange Online trusts no other.",
                )
        }
        Leads::Untold => {
            finding(Verdict::Unknown, format!("whether what {} sends leads to a public root is not known", told(host)))
        }
    }
}

fn bears(leaf: &Certificate, wanted: &str) -> bool {
    // Its wildcard proves a plain name here: Exchange Online verifies as any client does (RFC 9525).
    matches!(fit(wanted, &leaf.dns_names), Fit::Yes(_) | Fit::ItsWildcard(_))
}

/// An address that nobody outside can reach (RFC 1918, RFC 4193, and those that never leave their link or host).
fn is_inner(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_private() || address.is_loopback() || address.is_link_local(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local(),
    }
}

fn told(name: &str) -> String {
    if is_pattern(name) || name.parse::<IpAddr>().is_ok() { name.to_string() } else { quote(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::smtp::Upgrade,
        model::{
            connectors::testing::{estate, heard, words},
            hybrid::testing::accepted,
        },
    };

    /// Bears ex01.contoso.com and *.contoso.com; its root is nobody's.
    const OWN: &[u8] = include_bytes!("../../tests/chains/samples/server.der");

    fn connector(domain: &str, settings: &str, hosts: &[&str]) -> OutboundConnector {
        OutboundConnector {
            name: "Outbound to Contoso".into(),
            is_enabled: true,
            is_on_premises: true,
            smart_hosts: hosts.iter().map(ToString::to_string).collect(),
            tls_domain: Some(domain.into()),
            tls_settings: Some(settings.into()),
            recipient_domains: accepted(&["contoso.com"]).into_iter().map(|domain| domain.name).collect(),
        }
    }

    fn judge(connector: OutboundConnector) -> Vec<String> {
        let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
        heard(&mut evidence, ("EX01", "10.0.0.1", 25), Upgrade::StartTls, &["STARTTLS"], Some(OWN));
        estate.plan.inputs.outbound = Some(vec![connector]);
        let words = words(InboundName.judge(&estate, &evidence));
        words.iter().map(|word| word.replace("outbound connector/Outbound to Contoso", "out")).collect()
    }

    #[test]
    fn what_exchange_online_looks_at_is_looked_at() {
        let ex01 = ["ex01.contoso.com"];
        assert_eq!(judge(connector("mail.fabrikam.com", "DomainValidation", &ex01)), ["fail out name"]);
        assert_eq!(
            judge(connector("mail.contoso.com", "DomainValidation", &ex01)),
            ["unknown out"],
            "no root was looked up"
        );
        assert_eq!(judge(connector("mail.fabrikam.com", "CertificateValidation", &ex01)), ["unknown out"]);
        assert_eq!(judge(connector("mail.fabrikam.com", "EncryptionOnly", &ex01)), ["skip out"]);
        assert_eq!(judge(connector("mail.contoso.com", "DomainValidation", &[])), ["skip out"]);
        assert_eq!(judge(connector("mail.contoso.com", "DomainValidation", &["gone.contoso.com"])), ["unknown out"]);
    }

    #[test]
    fn inner_addresses_are_told_from_those_of_the_world() {
        let is = |text: &str| is_inner(text.parse().unwrap());
        assert!(is("10.0.0.1") && is("192.168.1.1") && is("fd53::1") && is("fe80::1") && is("127.0.0.1"));
        assert!(!is("203.0.113.7") && !is("2001:db8::7"));
    }
}
