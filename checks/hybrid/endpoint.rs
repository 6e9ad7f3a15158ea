//! `hybrid-endpoint`: does Exchange Online answer a source server, and begin TLS?

use crate::{
    facts::{
        dns::{DnsAnswer, DnsLookup, RecordKind, canonical_name, is_host_name},
        trust::SYSTEM,
    },
    model::{
        ask::Ask,
        check::{Check, Need},
        estate::Estate,
        evidence::{Evidence, Miss, Reason, Stage},
        finding::{Finding, Subject, Trouble, Verdict},
        hybrid::is_settled,
        meta::{Basis, Fold, Meta, Tier},
        outgoing::{Outgoing, TENANTS, outgoing},
        outside::{Found, Leads, MOST_HOSTS, Met, Roots, asks, leads, left_out, look},
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
pub struct HybridEndpoint;

static META: Meta = Meta {
    id: "hybrid-endpoint",
    area: "hybrid",
    title: "Exchange Online can be reached",
    question: "Seen from where the servers stand, does Exchange Online answer on port 25, and begin TLS?",
    healthy: "the smart host, or the MX of the tenant's domain, answers on 25 and offers STARTTLS, with a chain to a root of the system",
    why: "Mail for the other half of the organisation goes to one name, by port 25 and TLS alone. Providers and firewalls that close port 25, or inspect SMTP and strip STARTTLS, stop all of it; and a server whose roots are old does not know the authority of Exchange Online any more.",
    remedy: &[
        "See it from the server: Test-NetConnection <HOST> -Port 25",
        "Open TCP 25 from every source server to Exchange Online, and let no firewall inspect SMTP there.",
        "Let the server fetch new roots: certutil -generateSSTFromWU roots.sst, or install DigiCert Global Root G2",
    ],
    references: &[
        "Microsoft 365 URLs and IP address ranges, Exchange Online (Microsoft Learn)",
        "Transport routing in Exchange hybrid deployments (Microsoft Learn)",
        "Exchange Online SMTP certificates, DigiCert Global Root G2 (Exchange Team blog)",
    ],
    symptoms: &[
        "451 4.4.0 DNS query failed",
        "421 4.4.1 Connection timed out",
        "450 4.4.317",
        "451 5.7.3 STARTTLS is required to send mail",
    ],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Field],
};

impl Check for HybridEndpoint {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        if !estate.plan.exchange_vantage || !is_settled(estate, evidence) {
            return Vec::new();
        }
        let connectors = connectors(estate);
        let of = |connector: &Outgoing| -> Vec<Need> {
            let exchanges = domains(connector).into_iter().map(|domain| estate.lookup(&domain, RecordKind::Mx));
            let (hosts, _) = hosts(connector, estate, evidence);
            let of_hosts = hosts.iter().flat_map(|host| asks(host, estate, evidence));
            exchanges.chain(of_hosts).map(|ask| Need { subject: connector.subject(), ask }).collect()
        };
        connectors.iter().flat_map(of).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let skip = |seen: &str| vec![Finding::new(&META, Subject::Estate, Verdict::Skip, seen)];
        let connectors = connectors(estate);
        if connectors.is_empty() {
            return skip("no send connector to Exchange Online is known");
        }
        if !estate.plan.exchange_vantage {
            return skip("this machine does not stand where an Exchange server stands (--exchange-vantage)");
        }
        connectors.iter().map(|connector| judge(connector, estate, evidence)).collect()
    }
}

fn connectors(estate: &Estate) -> Vec<Outgoing> {
    let all = outgoing(estate).into_iter();
    all.filter(|connector| connector.is_enabled && connector.is_to_exchange_online()).take(MOST_HOSTS).collect()
}

/// The domains whose MX it looks up: the tenant's own of its address spaces, where it has no smart host. Others may be anybody's.
fn domains(connector: &Outgoing) -> Vec<String> {
    if !connector.smart_hosts.is_empty() {
        return Vec::new();
    }
    let is_tenants = |domain: &String| domain.ends_with(TENANTS) && is_host_name(domain);
    let all: BTreeSet<_> = connector.domains().filter(is_tenants).collect();
    all.into_iter().take(MOST_HOSTS).collect()
}

/// The hosts that it dials, as far as they are known; and how many more are not asked. A domain without MX is its own host (RFC 5321
/// section 5.1).
fn hosts(connector: &Outgoing, estate: &Estate, evidence: &Evidence) -> (Vec<String>, usize) {
    let lookup = |domain: String| (estate.lookup(&domain, RecordKind::Mx), domain);
    let lookups: Vec<_> = domains(connector).into_iter().map(lookup).collect();
    // Of many only the first are asked, so that all have to be known first.
    let is_told = lookups.iter().all(|(ask, _)| evidence.holds(ask));
    let exchanges = lookups.iter().filter(|_| is_told).flat_map(|(ask, domain)| {
        let Some(told) = evidence.answer::<DnsLookup>(ask).facts() else { return Vec::new() };
        let exchanges: Vec<_> = told.exchanges().map(ToString::to_string).collect();
        if *told == DnsAnswer::NoRecords { vec![domain.clone()] } else { exchanges }
    });
    let smart = connector.smart_hosts.iter().map(|host| canonical_name(host.trim_matches(['[', ']'])));
    let mut all: Vec<String> = Vec::new();
    for host in smart.chain(exchanges) {
        let is_host = is_host_name(&host) || host.parse::<IpAddr>().is_ok();
        if is_host && !all.contains(&host) {
            all.push(host);
        }
    }
    let more = all.len().saturating_sub(MOST_HOSTS);
    all.truncate(MOST_HOSTS);
    (all, more)
}

/// Its servers ask other name servers than those of their Windows (`UseExternalDNSServersEnabled`), which nobody here knows. Only
/// the directory tells.
fn asks_elsewhere(connector: &Outgoing, estate: &Estate) -> bool {
    const EXTERNAL_DNS: i64 = 2;
    let mut all = estate.organisation.send_connectors.iter();
    all.any(|one| one.name.eq_ignore_ascii_case(&connector.name) && one.flags & EXTERNAL_DNS != 0)
}

fn judge(connector: &Outgoing, estate: &Estate, evidence: &Evidence) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, connector.subject(), verdict, seen);
    let lookups: Vec<(String, Ask)> =
        domains(connector).into_iter().map(|name| (name.clone(), estate.lookup(&name, RecordKind::Mx))).collect();
    let mut words: Vec<Finding> = Vec::new();
    for (domain, ask) in &lookups {
        let answer = evidence.answer::<DnsLookup>(ask);
        match answer.facts() {
            Some(DnsAnswer::NoSuchName) => words.push(nowhere(connector, domain, "does not exist", estate)),
            Some(DnsAnswer::Records(_)) if answer.facts().is_some_and(|told| told.exchanges().next().is_none()) => {
                // RFC 7505.
                words.push(nowhere(connector, domain, "takes no mail by its MX record", estate));
            }
            Some(_) => {}
            None => {
                let why = answer.miss().map_or_else(|| "the run ended before it was asked".into(), ToString::to_string);
                words.push(finding(
                    Verdict::Unknown,
                    format!("the MX record of {domain} could not be looked up: {why}"),
                ));
            }
        }
    }
    let (hosts, more) = hosts(connector, estate, evidence);
    let judged = |host: &String| {
        let word = judge_host(connector, host, estate, evidence);
        Finding { seen: word.seen.clone() + &left_out(host, estate), ..word }
    };
    let of_hosts: Vec<_> = hosts.iter().map(judged).collect();
    let is_reached = of_hosts.iter().any(|word| word.verdict == Verdict::Pass);
    // Where one does not answer the servers try the next, so that mail goes on.
    let softened = |word: Finding| {
        let is_lost = word.verdict == Verdict::Fail && is_reached;
        if is_lost { Finding { verdict: Verdict::Warn, ..word } } else { word }
    };
    words.extend(of_hosts.into_iter().map(softened));
    let worst = words.into_iter().reduce(|worst, other| if other.verdict > worst.verdict { other } else { worst });
    let whole = |worst: Finding| match more {
        0 => worst,
        _ => Finding { seen: format!("{}; {more} more hosts were not asked", worst.seen), ..worst },
    };
    let nothing =
        || finding(Verdict::Skip, "it has no smart host, and no domain of its own whose MX could be looked up".into());
    worst.map_or_else(nothing, whole)
}

fn nowhere(connector: &Outgoing, name: &str, what: &str, estate: &Estate) -> Finding {
    if asks_elsewhere(connector, estate) {
        let seen = format!(
            "{name} {what} here; the servers ask other name servers (UseExternalDNSServersEnabled), and what those say is not known"
        );
        return Finding::new(&META, connector.subject(), Verdict::Unknown, seen)
            .suspects(Trouble::Name(name.to_string()))
            .remedy("See which they are, and what they say:")
            .remedy("    Get-TransportService | fl Name,ExternalDNSServers")
            .remedy(format!("    nslookup -type=MX {name} <SERVER>"));
    }
    Finding::new(&META, connector.subject(), Verdict::Fail, format!("{name} {what}"))
        .code("unresolved")
        .is(Trouble::Name(name.to_string()))
        .remedy("See what the name servers of this server say, and let them ask further outside (a forwarder):")
        .remedy(format!("    nslookup -type=MX {name}; nslookup {name}"))
        .remedy("If the name is gone, the Hybrid Configuration Wizard writes the right one.")
}

fn judge_host(connector: &Outgoing, host: &str, estate: &Estate, evidence: &Evidence) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, connector.subject(), verdict, seen);
    let met = match look(host, estate, evidence) {
        Found::Nowhere if domains(connector).iter().any(|domain| domain == host) => {
            return nowhere(connector, host, "has neither an MX record nor an address", estate);
        }
        Found::Nowhere => return nowhere(connector, host, "does not resolve", estate),
        Found::Untold(why) => return finding(Verdict::Unknown, format!("whether {host} resolves is not known: {why}")),
        Found::At(met) => met,
    };
    if let Some(chain) = met.iter().find_map(|(_, met)| if let Met::Shown(chain) = met { Some(chain) } else { None }) {
        return match leads(chain, Roots::Of(SYSTEM), estate, evidence) {
            Leads::Elsewhere(issuer) => finding(
                Verdict::Warn,
                format!("{host} begins TLS, and this machine's own roots do not know its authority ({issuer})"),
            )
            .code("chain-unknown")
            .remedy("Let Windows fetch new roots, or install the root of Exchange Online (DigiCert Global Root G2); if a firewall opens TLS on the way, let it leave SMTP alone:")
            .remedy("    certutil -generateSSTFromWU roots.sst")
            .remedy("    certutil -addstore Root <ROOT.CER>"),
            Leads::ToRoot => finding(Verdict::Pass, format!("{host} begins TLS, and its chain leads to a root of this machine's")),
            Leads::Untold => finding(Verdict::Pass, format!("{host} begins TLS; whether this machine knows its root was not looked up")),
        };
    }
    if let Some(why) = met.iter().find_map(|(_, met)| if let Met::NoTls(why) = met { Some(why) } else { None }) {
        return finding(Verdict::Fail, format!("{host} answers, and {why}"))
            .code("no-starttls")
            .remedy("Exchange Online always offers STARTTLS: a firewall on the way inspects SMTP and strips it. Switch that off for port 25 to Exchange Online.");
    }
    let misses: Vec<_> = met
        .iter()
        .filter_map(|(address, met)| if let Met::Missed(miss) = met { Some((address, *miss)) } else { None })
        .collect();
    let is_whole = misses.len() == met.len();
    // A way that this machine does not have says nothing beside one that it had.
    let tried: Vec<_> = misses.iter().filter(|(_, miss)| !miss.is_no_route()).collect();
    match tried.first() {
        Some((address, miss)) if is_whole && tried.iter().all(|(_, miss)| is_decided(miss)) => {
            finding(Verdict::Fail, format!("{host} ({address}) cannot be reached on port 25: {miss}"))
                .code("unreachable")
                .remedy("Open TCP 25 from every source server to Exchange Online (its addresses: Microsoft 365 URLs and IP address ranges), also at the provider; then, on one of them:")
                .remedy(format!("    Test-NetConnection {host} -Port 25"))
        }
        Some((address, miss)) => finding(Verdict::Unknown, format!("{host} ({address}): {miss}")),
        None if is_whole => finding(Verdict::Skip, format!("this machine has no route to {host}")),
        None => finding(Verdict::Unknown, format!("the run ended before {host} was asked")),
    }
}

/// Does it say that there is no way, and not that the other end was busy or the run cut short?
fn is_decided(miss: &Miss) -> bool {
    miss.stage == Stage::Connect && !matches!(miss.reason, Reason::Local(_) | Reason::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::dns::Record,
        model::{
            ask::Facts,
            connectors::testing::{told, words},
            hybrid::testing::{CLOUD, sender},
            inputs::Inputs,
            plan::Plan,
        },
    };

    const TENANT: &str = "contoso.mail.onmicrosoft.com";
    const EXCHANGE: &str = "contoso-mail-onmicrosoft-com.mx.microsoft";

    fn judge(exchange: Option<&str>, address: Option<[u8; 4]>, is_exchange_vantage: bool) -> Vec<String> {
        let inputs = Inputs { send_connectors: Some(vec![sender(None, &["EX01"])]), ..Inputs::default() };
        let plan = Plan { exchange_vantage: is_exchange_vantage, inputs, ..Plan::of("contoso.com") };
        let mut evidence = Evidence::default();
        let estate = Estate::learn(&plan, &evidence);
        let records = |record: Option<Record>| {
            Facts::DnsLookup(record.map_or(DnsAnswer::NoSuchName, |record| DnsAnswer::Records(vec![record])))
        };
        let mx = exchange.map(|exchange| Record::Mx { preference: 0, exchange: exchange.into() });
        told(&mut evidence, estate.lookup(TENANT, RecordKind::Mx), records(mx));
        let at = address.map(|address| Record::Address(address.into()));
        told(&mut evidence, estate.lookup(EXCHANGE, RecordKind::A), records(at));
        told(&mut evidence, estate.lookup(EXCHANGE, RecordKind::Aaaa), records(None));
        let estate = Estate::learn(&plan, &evidence);
        let asked = HybridEndpoint.needs(&estate, &evidence).len();
        let words = words(HybridEndpoint.judge(&estate, &evidence));
        words
            .iter()
            .map(|word| format!("{} {asked}", word.replace("send connector/Outbound to Office 365", "cloud")))
            .collect()
    }

    #[test]
    fn names_have_to_lead_somewhere() {
        assert_eq!(judge(None, None, true), ["fail cloud unresolved 1"]);
        assert_eq!(judge(Some(EXCHANGE), None, true), ["fail cloud unresolved 3"]);
        assert_eq!(
            judge(Some(EXCHANGE), Some([203, 0, 113, 25]), true),
            ["unknown cloud 4"],
            "its port 25 is asked, too"
        );
    }

    #[test]
    fn a_domain_without_mx_is_its_own_host() {
        let inputs = Inputs { send_connectors: Some(vec![sender(None, &["EX01"])]), ..Inputs::default() };
        let plan = Plan { exchange_vantage: true, inputs, ..Plan::of("contoso.com") };
        let mut evidence = Evidence::default();
        let mut estate = Estate::learn(&plan, &evidence);
        let none = || Facts::DnsLookup(DnsAnswer::NoRecords);
        told(&mut evidence, estate.lookup(TENANT, RecordKind::Mx), none());
        assert_eq!(HybridEndpoint.needs(&estate, &evidence).len(), 3, "its address is looked up, too");
        assert!(words(HybridEndpoint.judge(&estate, &evidence))[0].starts_with("unknown"));
        told(&mut evidence, estate.lookup(TENANT, RecordKind::A), none());
        told(&mut evidence, estate.lookup(TENANT, RecordKind::Aaaa), none());
        assert!(words(HybridEndpoint.judge(&estate, &evidence))[0].starts_with("fail"));
        estate.organisation.send_connectors.push(crate::model::organisation::SendConnector {
            name: CLOUD.into(),
            smart_hosts: Vec::new(),
            address_spaces: vec!["SMTP:contoso.mail.onmicrosoft.com;1".into()],
            fqdn: None,
            pin: crate::model::organisation::Told::NotSet,
            sources: vec!["EX01".into()],
            is_enabled: true,
            flags: 2,
            tls_domain: None,
        });
        assert!(words(HybridEndpoint.judge(&estate, &evidence))[0].starts_with("unknown"), "others are asked");
    }

    #[test]
    fn elsewhere_nothing_is_asked() {
        assert_eq!(judge(Some(EXCHANGE), Some([203, 0, 113, 25]), false), ["skip estate 0"]);
    }
}
