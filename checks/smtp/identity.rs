//! `smtp-identity`: at a server's addresses the server itself answers, by a name for which peers can get a ticket.

use crate::{
    facts::{
        dns::{DnsAnswer, DnsLookup, RecordKind, is_host_name},
        net::{SMTP_PORT, Transport},
        spn::{Spn, class},
    },
    model::{
        accounts::{Account, Accounts, search_of_host, search_of_mail},
        ask::{Ask, Endpoint},
        check::{Check, Need},
        connectors::{Connectors, identity},
        estate::Estate,
        evidence::{Answer, Evidence},
        finding::{Finding, Subject, Trouble, Verdict},
        informants::{self, Holding, found},
        listeners::{Listener, is_anothers, peer_listeners, quote, rivals, server_name, smtp_port, unresolved_peers},
        meta::{Basis, Fold, Meta, Tier},
        organisation::ReceiveConnector,
        plan::{ServerRole, ServerState},
        principals::Principals,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::net::{IpAddr, SocketAddr};

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
        "Who holds the SPN that is asked for: setspn -F -Q SMTPSVC/<NAME>",
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
        for host in telling(estate).map(|listener| listener.to.host).collect::<BTreeSet<_>>() {
            // Its own account is found even where it holds no SPN of SMTP.
            let searches = [search_of_mail(), search_of_host(&host)];
            let subject = Subject::Host(host);
            for search in searches {
                needs.extend(informants::needs(&subject, &search, Holding::Catalog, estate, evidence));
            }
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
    let asked = asked_for(host, listeners, &sightings, estate, evidence);
    let tickets: Vec<_> = asked.iter().filter_map(|asked| judge_ticket(host, asked, estate, evidence)).collect();
    if sightings.is_empty() {
        let unheard = tickets.is_empty().then(|| unseen(host, listeners, evidence));
        return tickets.into_iter().map(|ticket| ticket.finding).chain(unheard).collect();
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
    // Where accounts tell whom the ticket would be for, DNS has nothing to add.
    let is_told = |seen: &&Sighting| tickets.iter().any(|ticket| ticket.name == seen.name);
    let misnamed = sightings.iter().filter(|seen| !is_told(seen)).filter_map(|seen| judge_name(seen, estate, evidence));
    let wrong = tickets.iter().map(|ticket| &ticket.finding).filter(|finding| finding.verdict.is_trouble()).cloned();
    let troubles: Vec<_> = strangers.chain(wrong).chain(misnamed).collect();
    if !troubles.is_empty() {
        return troubles;
    }
    let names: BTreeSet<_> = sightings.iter().map(|sighting| quote(&sighting.name)).collect();
    let names: Vec<_> = names.into_iter().collect();
    let note = if let Some(ticket) = tickets.first() {
        return vec![ticket.finding.clone()];
    } else if !borrowed.is_empty() {
        "; only its connector on 25 bears another server's name"
    } else if sightings.iter().any(|sighting| is_strange(sighting, estate)) {
        "; what is not its own name leads to it"
    } else {
        ""
    };
    let seen = format!("it answers EHLO as {}{note}", names.join(", "));
    vec![Finding::new(&META, Subject::Host(host.to_string()), Verdict::Pass, seen)]
}

/// A name by which peers ask for a ticket, where it is not the server's own.
struct Asked<'e> {
    name: String,
    /// The connector whose name it is; otherwise the name was heard.
    connector: Option<&'e ReceiveConnector>,
    port: u16,
}

/// The connector of the directory speaks for 2525: what this machine heard there may be another one's word. That of 475 is built
/// in, and heard alone.
fn asked_for<'e>(
    host: &'e str,
    listeners: &[Listener],
    sightings: &[Sighting],
    estate: &'e Estate,
    evidence: &Evidence,
) -> Vec<Asked<'e>> {
    let mut asked: BTreeMap<String, Asked<'e>> = BTreeMap::new();
    let connectors = Connectors::of(host, estate, evidence);
    let is_dialled =
        |port| port != SMTP_PORT || connectors.as_ref().is_some_and(|all| all.dialled_by(false) == Some(port));
    for listener in listeners.iter().filter(|listener| is_dialled(listener.to.port)) {
        let (to, port) = (&listener.to, listener.to.port);
        let place = to.address.map(|address| SocketAddr::new(address, port));
        let connector = connectors.as_ref().zip(place).and_then(|(all, place)| all.default_at(place));
        let heard = || sightings.iter().find(|seen| seen.to == *to).map(|seen| seen.name.clone());
        let name = match connector {
            Some(connector) => Some(connector.fqdn.clone().unwrap_or_else(|| host.to_string())),
            None if is_anothers(listener, estate, evidence) => None,
            None => heard(),
        };
        let Some(name) = name.filter(|name| name != host) else { continue };
        asked.entry(name.clone()).or_insert(Asked { name, connector, port });
    }
    asked.into_values().collect()
}

/// What accounts say of a name.
struct Ticket {
    name: String,
    finding: Finding,
}

/// Whom a ticket for this name would be for. `None` where the accounts are not known: then DNS has to do.
fn judge_ticket(host: &str, asked: &Asked<'_>, estate: &Estate, evidence: &Evidence) -> Option<Ticket> {
    found(&search_of_mail(), Holding::Catalog, estate, evidence).complete()?;
    let Asked { name, connector, port } = asked;
    let spn = Spn::new(class::SMTPSVC, name);
    let accounts = Accounts::seen(estate, evidence);
    let principals = Principals::new(estate, evidence, &accounts);
    let finding = |verdict, said: String| {
        let seen = format!("on {port} it answers EHLO as {}{said}", quote(name));
        Finding::new(&META, Subject::Host(host.to_string()), verdict, seen)
    };
    // Every server's account has SPNs, so one that is shown without any is not shown whole.
    let Some(own) = principals.own(host).filter(|own| !own.spns.is_empty()) else {
        let said = format!(", and whether its own account holds {} is not shown to this user", quote(&spn.to_string()));
        let finding = finding(Verdict::Unknown, said)
            .code("account-unread")
            .suspects(Trouble::DirectoryUnread)
            .remedy("See who holds it, as a user who may read all accounts:")
            .remedy(format!("    setspn -F -Q {}", principals.word(&spn.to_string())));
        return Some(Ticket { name: name.clone(), finding });
    };
    let (holders, others): (Vec<&Account>, Vec<&Account>) =
        principals.holders(&spn).iter().copied().partition(|holder| own.guid == holder.guid);
    let held_by = || others.iter().map(|other| format!("{} ({})", quote(&other.dn), other.guid)).collect::<Vec<_>>();
    let finding = match (holders.is_empty(), others.is_empty()) {
        (false, true) => finding(Verdict::Pass, format!(", and its own account holds {}", quote(&spn.to_string()))),
        (true, true) => {
            finding(Verdict::Fail, format!(", and no account holds {}", quote(&spn.to_string()))).code("spn-missing")
        }
        (true, false) => {
            let said = format!(", and {} is held by {}", quote(&spn.to_string()), held_by().join(", "));
            finding(Verdict::Fail, said).code("spn-foreign")
        }
        (false, false) => {
            let said = format!(", and {} is held beside it by {}", quote(&spn.to_string()), held_by().join(", "));
            finding(Verdict::Fail, said).code("spn-shared")
        }
    };
    let finding = if finding.verdict == Verdict::Fail {
        let connector = connector.map(identity);
        let finding = finding.is(Trouble::SpnWrong(spn.to_string()));
        restore_fqdn(finding, host, *port, connector)
    } else {
        finding
    };
    Some(Ticket { name: name.clone(), finding })
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
    restore_fqdn(finding, &seen.to.host, seen.to.port, None)
}

/// `connector`: the one that the directory has behind the port, as commands take it.
fn restore_fqdn(finding: Finding, host: &str, port: u16, connector: Option<String>) -> Finding {
    let short = server_name(host);
    let finding = finding
        .remedy(format!("Peers ask for a ticket for SMTPSVC/ and that name. The connector's Fqdn ought to be {host}:"))
        .remedy(format!("    Get-ReceiveConnector -Server {short} | fl Identity,Bindings,Fqdn"));
    if port != smtp_port::TRANSPORT && connector.is_none() {
        return finding;
    }
    let connector = connector.unwrap_or_else(|| format!("\"{short}\\Default {short}\""));
    finding.remedy(format!("    Set-ReceiveConnector {connector} -Fqdn {host}"))
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
    use crate::{
        facts::{
            connector::TransportRole::Hub,
            raw::Raw,
            search::{DirectoryEntries, Entry, Value},
            smtp::Upgrade,
        },
        model::{
            ask::Facts,
            connectors::testing::{EVERYBODY, connector, estate, heard, told, words},
        },
    };

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

    fn account(guid: u8, name: &str, host: Option<&str>, spns: &[&str]) -> Entry {
        let texts = |values: &[&str]| values.iter().map(|value| Value::Text(value.to_string())).collect::<Vec<_>>();
        let mut attributes = BTreeMap::from([
            ("objectGUID".to_string(), vec![Value::Bytes(Raw(vec![guid; 16]))]),
            ("sAMAccountName".to_string(), texts(&[name])),
            ("servicePrincipalName".to_string(), texts(spns)),
            ("objectClass".to_string(), texts(&["top", "person", if host.is_some() { "computer" } else { "user" }])),
        ]);
        if let Some(host) = host {
            attributes.insert("dNSHostName".into(), texts(&[host]));
        }
        Entry { dn: format!("CN={name},DC=contoso,DC=com"), attributes }
    }

    /// The connector of 2525 is called `fqdn`, and these are the accounts with SPNs of SMTP.
    fn judge(fqdn: &str, accounts: Option<Vec<Entry>>) -> Vec<String> {
        let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
        let hub = ReceiveConnector {
            fqdn: Some(fqdn.into()),
            ..connector("EX01", "Default EX01", 2525, Hub, 31, &EVERYBODY)
        };
        estate.organisation.receive_connectors = vec![hub];
        heard(&mut evidence, ("EX01", "10.0.0.1", 25), Upgrade::StartTls, &[], None);
        if let Some(entries) = accounts {
            for ask in informants::asks(&search_of_mail(), Holding::Catalog, &estate, &evidence) {
                let entries = DirectoryEntries { entries: entries.clone(), references: 0, result: Some(0) };
                told(&mut evidence, ask, Facts::DirectorySearch(entries));
            }
        }
        words(Identity.judge(&estate, &evidence))
    }

    #[test]
    fn the_ticket_has_to_be_for_the_server() {
        let own =
            |spns: &[&str]| account(1, "EX01$", Some("ex01.contoso.com"), &[spns, &["HOST/ex01.contoso.com"]].concat());
        let relay = || account(2, "svc-relay", None, &["smtpsvc/MAIL2.contoso.com"]);
        let pass = ["pass ex01.contoso.com"];
        assert_eq!(judge("ex01.contoso.com", Some(vec![own(&[])])), pass, "spn-registered speaks of it");
        assert_eq!(judge("mail2.contoso.com", Some(vec![own(&["SmtpSvc/mail2.contoso.com"])])), pass);
        let missing = ["fail ex01.contoso.com spn-missing"];
        assert_eq!(judge("mail2.contoso.com", Some(vec![own(&["SmtpSvc/ex01.contoso.com"])])), missing);
        let foreign = ["fail ex01.contoso.com spn-foreign"];
        assert_eq!(judge("mail2.contoso.com", Some(vec![own(&[]), relay()])), foreign);
        let shared = ["fail ex01.contoso.com spn-shared"];
        assert_eq!(judge("mail2.contoso.com", Some(vec![own(&["SMTPSVC/mail2.contoso.com"]), relay()])), shared);
        assert_eq!(judge("mail2.contoso.com", None), pass, "what nobody told decides nothing");
        assert_eq!(judge("ex01", Some(vec![own(&["SMTPSVC/EX01"])])), pass, "its short name is its own");
    }

    #[test]
    fn an_account_that_is_not_shown_decides_nothing() {
        let unread = ["unknown ex01.contoso.com account-unread"];
        let relay = || account(2, "svc-relay", None, &["smtpsvc/MAIL2.contoso.com"]);
        assert_eq!(judge("mail2.contoso.com", Some(vec![])), unread);
        assert_eq!(judge("mail2.contoso.com", Some(vec![relay()])), unread);
        let bare = account(1, "EX01$", Some("ex01.contoso.com"), &[]);
        assert_eq!(judge("mail2.contoso.com", Some(vec![bare])), unread);
    }

    #[test]
    fn an_account_in_use_is_its_own_before_a_disabled_twin() {
        let of_control = |entry: Entry, control: &str| {
            let mut attributes = entry.attributes;
            attributes.insert("userAccountControl".into(), vec![Value::Text(control.into())]);
            Entry { attributes, ..entry }
        };
        let spns = ["SMTPSVC/mail2.contoso.com"];
        let twin = of_control(account(1, "OLD$", Some("ex01.contoso.com"), &["HOST/OLD"]), "4098");
        let own = of_control(account(2, "EX01$", Some("ex01.contoso.com"), &spns), "4096");
        assert_eq!(judge("mail2.contoso.com", Some(vec![twin, own])), ["pass ex01.contoso.com"]);
    }
}
