//! `smtp-identity`: at a server's addresses the server itself answers, by a name for which peers can get a ticket.

use crate::{
    facts::{
        dns::{DnsAnswer, DnsLookup, RecordKind, is_host_name},
        net::{SMTP_PORT, Transport},
    },
    model::{
        ask::{Ask, Endpoint},
        check::{Check, Need},
        estate::Estate,
        evidence::{Answer, Evidence},
        finding::{Finding, Subject, Trouble, Verdict},
        listeners::{Listener, peer_listeners, quote, rivals, server_name, smtp_port, unresolved_peers},
        meta::{Basis, Fold, Meta, Tier},
        plan::{ServerRole, ServerState},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::net::IpAddr;

/// See the module.
pub struct Identity;

static META: Meta = Meta {
    id: "smtp-identity",
    area: "smtp",
    title: "A server answers by its own name",
    question: "Does each server answer EHLO at its own addresses, and by a name that leads to it?",
    healthy: "on 25, 2525 and 475 the server itself answers; on 2525 and 475 by its own name",
    why: "A peer asks for a ticket for SMTPSVC/ and the name by which a server answers EHLO. Where another server answers, or another name, the ticket is for somebody else, and authentication fails.",
    remedy: &[
        "Another server: see which addresses DNS gives (nslookup <SERVER>) and which the server has (on it, Get-NetIPAddress). Only what it does not have is stale:",
        "    Remove-DnsServerResourceRecord -ZoneName <ZONE> -Name <SERVER> -RRType A -RecordData <ADDRESS>",
        "Another name: the Fqdn of the connector \"Default <SERVER>\" is the server's own, and mail between servers fails with any other:",
        "    Set-ReceiveConnector \"<SERVER>\\Default <SERVER>\" -Fqdn <SERVER'S FULL NAME>",
    ],
    references: &[
        "Set-ReceiveConnector, parameter Fqdn (Microsoft Learn)",
        "RFC 5321 section 4.1.1.1",
        "Microsoft KB 979174, cause 3",
    ],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "MSExchangeTransport event 2017",
    ],
    tier: Tier::Anonymous,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

/// A server that answered EHLO: where, and by which name.
struct Sighting {
    to: Endpoint,
    name: String,
}

/// Whose name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose<'e> {
    Its,
    Others(&'e str),
    Nobodys,
}

impl Check for Identity {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let mut needs = Vec::new();
        for listener in telling(estate) {
            let subject = Subject::Host(listener.to.host.clone());
            let mut need = |ask| needs.push(Need { subject: subject.clone(), ask });
            listener.first_asks(evidence).into_iter().for_each(&mut need);
            // Whose name it is, more evidence may tell otherwise; what is asked must not depend on when it comes.
            let is_dialled = listener.to.port != SMTP_PORT;
            let strange = sighting(&listener, evidence).filter(|s| is_dialled && !is_of(&s.name, &s.to.host));
            strange.iter().flat_map(|sighting| lookups(&sighting.name, estate)).for_each(need);
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let mut hosts: BTreeMap<String, Vec<Listener>> = BTreeMap::new();
        for listener in telling(estate) {
            hosts.entry(listener.to.host.clone()).or_default().push(listener);
        }
        let members = hosts.iter().flat_map(|(host, listeners)| judge_host(host, listeners, estate, evidence));
        members.chain(outsiders(estate)).chain(unresolved_peers(&META, estate, evidence)).collect()
    }
}

/// Where peers may authenticate, or mail from everywhere comes in.
fn telling(estate: &Estate) -> impl Iterator<Item = Listener> {
    let ports = [SMTP_PORT, smtp_port::TRANSPORT, smtp_port::DELIVERY];
    peer_listeners(estate).filter(move |listener| ports.contains(&listener.to.port))
}

fn sighting(listener: &Listener, evidence: &Evidence) -> Option<Sighting> {
    let name = listener.first_look(evidence).talked()?.own_name()?;
    Some(Sighting { to: listener.to.clone(), name })
}

fn outsiders(estate: &Estate) -> impl Iterator<Item = Finding> {
    let servers = estate.servers.iter();
    let outside =
        servers.filter(|(_, server)| server.role != ServerRole::Mailbox && server.state == ServerState::Active);
    outside.map(|(host, _)| {
        Finding::new(&META, Subject::Host(host.clone()), Verdict::Skip, "no peer of the domain authenticates here")
    })
}

fn judge_host(host: &str, listeners: &[Listener], estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
    let sightings: Vec<_> = listeners.iter().filter_map(|listener| sighting(listener, evidence)).collect();
    if sightings.is_empty() {
        return vec![unseen(host, listeners, evidence)];
    }
    // One address that leads to another server is one trouble, however many ports it has.
    let mut strangers: BTreeMap<(Option<IpAddr>, &str), Vec<u16>> = BTreeMap::new();
    for seen in &sightings {
        if let Whose::Others(other) = whose(&seen.name, host, rivals(host, estate)) {
            strangers.entry((seen.to.address, other)).or_default().push(seen.to.port);
        }
    }
    // A connector on 25 may bear any name: what peers dial has to agree, where it can be heard.
    let is_heard = |at: Option<IpAddr>| sightings.iter().any(|s| s.to.address == at && s.to.port != SMTP_PORT);
    let (strangers, borrowed): (Vec<_>, Vec<_>) = strangers
        .into_iter()
        .partition(|((address, _), ports)| !is_heard(*address) || ports.iter().any(|port| *port != SMTP_PORT));
    let strangers = strangers.into_iter().map(|((address, other), ports)| another_server(host, address, other, &ports));
    let misnamed = sightings.iter().filter_map(|seen| judge_name(seen, estate, evidence));
    let troubles: Vec<_> = strangers.chain(misnamed).collect();
    if !troubles.is_empty() {
        return troubles;
    }
    let names: BTreeSet<_> = sightings.iter().map(|sighting| quote(&sighting.name)).collect();
    let names: Vec<_> = names.into_iter().collect();
    let note = if !borrowed.is_empty() {
        "; only its connector on 25 bears another server's name"
    } else if sightings.iter().any(|sighting| is_strange(sighting, estate)) {
        "; what is not its own name leads to it"
    } else {
        ""
    };
    let seen = format!("it answers EHLO as {}{note}", names.join(", "));
    vec![Finding::new(&META, Subject::Host(host.to_string()), Verdict::Pass, seen)]
}

fn unseen(host: &str, listeners: &[Listener], evidence: &Evidence) -> Finding {
    // Where every port says why it does not talk, `smtp-reachable` has told it.
    let unwilling: Option<Vec<_>> = listeners.iter().map(|at| at.first_look(evidence).unwilling()).collect();
    if let Some(why) = unwilling.and_then(|all| all.into_iter().next()) {
        return Finding::new(&META, Subject::Host(host.to_string()), Verdict::Skip, why);
    }
    let seen = "it answered EHLO on none of 25, 2525 and 475";
    Finding::new(&META, Subject::Host(host.to_string()), Verdict::Unknown, seen)
        .suspects(Trouble::HostDark(host.to_string()))
        .suspects(Trouble::PortShut(Subject::Port(host.to_string(), SMTP_PORT, Transport::Tcp)))
        .remedy("Run from a place where the server talks with who asks.")
}

/// `None` where nothing is wrong with the name.
fn judge_name(seen: &Sighting, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    if !is_strange(seen, estate) {
        return None;
    }
    let Sighting { to: Endpoint { host, port, .. }, name } = seen;
    let as_whom = format!("on {port} it answers EHLO as {}", quote(name));
    let finding = |verdict, what: &str| {
        let seen_as = format!("{as_whom}, {what}");
        Finding::new(&META, Subject::Host(host.clone()), verdict, seen_as).at(seen.to.address)
    };
    Some(match leads(name, host, estate, evidence) {
        Leads::Here => return None,
        Leads::Untold(why) => set_fqdn(finding(Verdict::Unknown, &why), seen),
        Leads::Elsewhere(addresses) => {
            let finding = finding(Verdict::Warn, &format!("and that name leads to {addresses}"));
            set_fqdn(finding.code("name-leads-elsewhere"), seen)
        }
        Leads::Nowhere => set_fqdn(finding(Verdict::Warn, "and DNS knows no such name").code("name-unresolved"), seen),
    })
}

fn another_server(host: &str, address: Option<IpAddr>, other: &str, ports: &[u16]) -> Finding {
    let at = address.map(|address| address.to_string()).unwrap_or_default();
    let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
    let seen = format!("at its address {at} another server answers: {other} (on {})", ports.join(", "));
    let short = server_name(host);
    let zone = host.strip_prefix(short).and_then(|rest| rest.strip_prefix('.')).unwrap_or("<ZONE>");
    let kind = if address.is_some_and(|address| address.is_ipv6()) { "AAAA" } else { "A" };
    Finding::new(&META, Subject::Host(host.to_string()), Verdict::Fail, seen)
        .code("another-server")
        .is(Trouble::Name(host.to_string()))
        .remedy(format!("See which machine has {at}: what DNS says, and, on {host} itself, which addresses it has:"))
        .remedy(format!("    nslookup {other}; nslookup {host}"))
        .remedy("    Get-NetIPAddress | ft IPAddress,InterfaceAlias")
        .remedy(format!("If {host} is but another name of {other}, take it out of the plan, or into outward or web of {other}."))
        .remedy(format!("Only if {host} does not have {at}, that record of it is stale; then, on a name server of the zone, delete it:"))
        .remedy(format!("    Remove-DnsServerResourceRecord -ZoneName {zone} -Name {short} -RRType {kind} -RecordData {at}"))
        .remedy("If it has it, its connector bears the other's name:")
        .remedy(format!("    Get-ReceiveConnector -Server {short} | fl Identity,Bindings,Fqdn"))
        .at(address)
}

fn set_fqdn(finding: Finding, seen: &Sighting) -> Finding {
    let host = &seen.to.host;
    let short = server_name(host);
    let finding = finding
        .remedy(format!("Peers ask for a ticket for SMTPSVC/ and that name. The connector's Fqdn ought to be {host}:"))
        .remedy(format!("    Get-ReceiveConnector -Server {short} | fl Identity,Bindings,Fqdn"));
    if seen.to.port != smtp_port::TRANSPORT {
        return finding;
    }
    finding.remedy(format!("    Set-ReceiveConnector \"{short}\\Default {short}\" -Fqdn {host}"))
}

fn is_of(name: &str, host: &str) -> bool {
    name == host || name == server_name(host)
}

/// Its own full or short name come first: two hosts may share a short name.
fn whose<'e>(name: &str, host: &str, mut known: impl Iterator<Item = &'e str>) -> Whose<'e> {
    if is_of(name, host) {
        return Whose::Its;
    }
    known.find(|other| is_of(name, other)).map_or(Whose::Nobodys, Whose::Others)
}

/// On the ports that peers dial, a name of nobody's has to lead to the server. What comes in by 25 from outside may be greeted
/// by any name.
fn is_strange(seen: &Sighting, estate: &Estate) -> bool {
    seen.to.port != SMTP_PORT && whose(&seen.name, &seen.to.host, rivals(&seen.to.host, estate)) == Whose::Nobodys
}

/// Where DNS says that a name leads.
enum Leads {
    Here,
    Elsewhere(String),
    Nowhere,
    Untold(String),
}

/// So many of the addresses to which a name leads are told.
const SHOWN: usize = 4;

fn leads(name: &str, host: &str, estate: &Estate, evidence: &Evidence) -> Leads {
    let lookups = lookups(name, estate);
    if lookups.is_empty() {
        return Leads::Untold("which is no full name that DNS could be asked for".to_string());
    }
    let answers: Vec<_> = lookups.iter().map(|ask| evidence.answer::<DnsLookup>(ask)).collect();
    let told: BTreeSet<IpAddr> = answers.iter().filter_map(Answer::facts).flat_map(DnsAnswer::addresses).collect();
    if estate.addresses(host).any(|address| told.contains(&address)) {
        return Leads::Here;
    }
    if answers.iter().any(|answer| answer.facts().is_none()) {
        let why = answers.iter().find_map(Answer::miss).map_or("not asked".to_string(), ToString::to_string);
        return Leads::Untold(format!("and where that name leads could not be told: {why}"));
    }
    if told.is_empty() {
        return Leads::Nowhere;
    }
    let shown: Vec<_> = told.iter().take(SHOWN).map(ToString::to_string).collect();
    Leads::Elsewhere(shown.join(", "))
}

/// The lookups that tell where a name leads; none for what is no full name.
fn lookups(name: &str, estate: &Estate) -> Vec<Ask> {
    if !name.contains('.') || !is_host_name(name) {
        return Vec::new();
    }
    vec![estate.lookup(name, RecordKind::A), estate.lookup(name, RecordKind::Aaaa)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_servers_own_before_it_is_anothers() {
        let known = || ["dc1.contoso.com", "ex01.contoso.com", "ex01.fabrikam.com", "ex02.contoso.com"].into_iter();
        let whose = |name| whose(name, "ex01.contoso.com", known());
        assert_eq!(whose("ex01.contoso.com"), Whose::Its);
        assert_eq!(whose("ex01"), Whose::Its, "though ex01.fabrikam.com is called so, too");
        assert_eq!(whose("ex01.fabrikam.com"), Whose::Others("ex01.fabrikam.com"));
        assert_eq!(whose("ex02"), Whose::Others("ex02.contoso.com"));
        assert_eq!(whose("mail.contoso.com"), Whose::Nobodys);
        assert_eq!(whose(""), Whose::Nobodys);
    }
}
