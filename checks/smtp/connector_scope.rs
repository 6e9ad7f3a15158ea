//! `smtp-connector-scope`: no connector of narrower range takes peers away from the one that lets them in.

use crate::{
    facts::{connector::IpRange, net::SMTP_PORT},
    model::{
        accounts::peers,
        check::{Check, Need},
        connectors::{Answering, Connectors, SEARCHES, identity, lets_servers_log_on, needs, ranges, subject, unread},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Verdict},
        listeners::{quote, server_name, unresolved_peers},
        meta::{Basis, Fold, Meta, Tier},
        organisation::{ExchangeServer, ReceiveConnector},
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
use core::net::{IpAddr, SocketAddr};

/// See the module.
pub struct ConnectorScope;

static META: Meta = Meta {
    id: "smtp-connector-scope",
    area: "smtp",
    title: "Peers meet the connector meant for them",
    question: "Does a connector with Exchange Server authentication answer every address of every other server?",
    healthy: "of the connectors at the port that peers dial, the one whose range holds a peer most narrowly has ExchangeServer",
    why: "Of several connectors at one port the one answers whose address range holds the client most narrowly, and there is no second try. A relay for devices whose range covers Exchange servers takes their mail, too, lets none of them authenticate, and mail between servers waits.",
    remedy: &[
        "See who answers whom: Get-ReceiveConnector -Server <SERVER> | fl Identity,TransportRole,Enabled,Bindings,RemoteIPRanges,AuthMechanism",
        "Name the devices, and leave the addresses of Exchange servers out: Set-ReceiveConnector \"<CONNECTOR>\" -RemoteIPRanges <ADDRESSES OF THE DEVICES>",
    ],
    references: &[
        "Receive connectors in Exchange Server, Receive connector remote addresses (Microsoft Learn)",
        "Set-ReceiveConnector, parameter RemoteIPRanges (Microsoft Learn)",
        "Microsoft KB 979174, cause 6",
    ],
    symptoms: &[
        "451 5.7.3 Cannot achieve Exchange Server authentication",
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

impl Check for ConnectorScope {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        needs(&SEARCHES, estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        if let Some(unread) = unread(&META, &SEARCHES, estate, evidence) {
            return vec![unread];
        }
        let peers = peers(estate);
        if peers.is_empty() {
            let seen = "neither the directory nor the plan has a Mailbox server that is meant to work";
            return vec![Finding::new(&META, Subject::Estate, Verdict::Skip, seen)];
        }
        let of_peers = peers.iter().flat_map(|host| judge_server(host, &peers, estate, evidence));
        let nameless = unresolved_peers(&META, estate, evidence);
        of_peers.chain(outsiders(estate)).chain(nameless).collect()
    }
}

/// Servers that no peer hands mail to by this way.
fn outsiders(estate: &Estate) -> impl Iterator<Item = Finding> {
    let skip = |host: &String, why| Finding::new(&META, Subject::Host(host.clone()), Verdict::Skip, why);
    let provisioned = estate.organisation.servers.iter().filter(|(_, server)| server.is_only_provisioned());
    let provisioned = provisioned.map(move |(host, _)| skip(host, "its object was prepared, and no server installed"));
    let stated = estate.servers.iter().filter_map(move |(host, server)| {
        let why = match (server.role, server.state) {
            (_, ServerState::Retired) => "the plan says that it is retired",
            (_, ServerState::Maintenance) => "the plan says that it is in maintenance",
            (ServerRole::Edge | ServerRole::Gateway, _) => "no peer of the domain authenticates here",
            (ServerRole::Mailbox, ServerState::Active) => return None,
        };
        Some(skip(host, why))
    });
    provisioned.chain(stated)
}

/// What becomes of a peer's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It can authenticate; or it is the port's default connector, of which `smtp-exchange-auth` speaks.
    Well,
    /// It would meet a relay, were it to come by this port.
    Relay,
    /// It is not written down whom it meets.
    Either,
    /// What it meets is not shown whole.
    Unread,
    /// It meets a connector at which it cannot authenticate.
    Hijacked,
}

fn judge_server(host: &str, peers: &BTreeSet<&str>, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
    let of_host = |verdict, seen: &str| vec![Finding::new(&META, Subject::Host(host.to_string()), verdict, seen)];
    let Some(connectors) = Connectors::of(host, estate, evidence) else {
        return if estate.organisation.servers.contains_key(host) {
            of_host(Verdict::Unknown, "the directory shows none of its receive connectors to this user")
        } else {
            of_host(Verdict::Skip, "the directory has no Exchange server of this name")
        };
    };
    let clashes = connectors.clashing().map(two_services);
    let mut findings: Vec<_> = connectors.unreadable().map(judge_unreadable).chain(clashes).collect();
    if peers.len() < 2 && findings.iter().any(|finding| finding.verdict.is_trouble()) {
        return findings;
    }
    if peers.len() < 2 {
        return of_host(Verdict::Skip, "it is the only one, so no other server hands mail to it");
    }
    // What becomes of each peer, by the connector that answers it.
    let mut fates: BTreeMap<&str, (&ReceiveConnector, BTreeMap<Fate, BTreeSet<String>>)> = BTreeMap::new();
    let mut alone = BTreeSet::new();
    for (to, from, peer, is_dialled) in ways(host, peers, &connectors, estate) {
        let default = connectors.default_at(to);
        let (connector, fate) = match connectors.answering(to, from) {
            Answering::Nobody => {
                alone.extend((is_dialled && default.is_some()).then(|| format!("{peer} ({from})")));
                continue;
            }
            Answering::One(connector) => (connector, fate(connector, default, is_dialled)),
            Answering::Either(..) if !is_dialled => continue,
            Answering::Either(first, rival) => {
                let deaf = if lets_servers_log_on(first) == Some(false) { first } else { rival };
                (deaf, Fate::Either)
            }
        };
        if is_dialled || fate == Fate::Relay {
            let (_, of_connector) = fates.entry(&connector.name).or_insert((connector, BTreeMap::new()));
            of_connector.entry(fate).or_default().insert(format!("{peer} ({from})"));
        }
    }
    let others: BTreeSet<IpAddr> =
        peers.iter().filter(|peer| **peer != host).flat_map(|peer| estate.addresses(peer)).collect();
    findings.extend(fates.values().filter_map(|(connector, fates)| judge_connector(connector, fates, &others)));
    if !alone.is_empty() {
        findings.push(unanswered(host, &alone));
    }
    if findings.is_empty() {
        let ports: BTreeSet<_> = [true, false].into_iter().filter_map(|is_old| connectors.dialled_by(is_old)).collect();
        if ports.is_empty() {
            return of_host(Verdict::Skip, "it has the Client Access role alone, so no other server hands mail to it");
        }
        let mut places =
            estate.addresses(host).flat_map(|address| ports.iter().map(move |port| SocketAddr::new(address, *port)));
        return match estate.addresses(host).next() {
            // `unresolved_peers` speaks of it.
            None => findings,
            Some(_) if places.all(|to| connectors.at(to).is_empty()) => {
                of_host(Verdict::Skip, "it has no enabled connector where peers dial it, see smtp-reachable")
            }
            Some(_) => of_host(Verdict::Unknown, "no address of another server is known that could dial it"),
        };
    }
    findings
}

/// Every way from an address of a peer to an address of the server: where to, from where, whose, and whether peers really go
/// it. They dial one port alone; on 25 they would meet a relay only if they were told to.
fn ways<'e>(
    host: &'e str,
    peers: &'e BTreeSet<&str>,
    connectors: &Connectors<'_>,
    estate: &'e Estate,
) -> Vec<(SocketAddr, IpAddr, &'e str, bool)> {
    let mut ways = Vec::new();
    for peer in peers.iter().filter(|peer| **peer != host) {
        let is_of_2010 = estate.organisation.servers.get(*peer).is_some_and(ExchangeServer::is_of_2010);
        let dialled = connectors.dialled_by(is_of_2010);
        for from in estate.addresses(peer) {
            for to in estate.addresses(host).filter(|to| to.is_ipv4() == from.is_ipv4()) {
                ways.extend(dialled.map(|port| (SocketAddr::new(to, port), from, *peer, true)));
                if dialled != Some(SMTP_PORT) {
                    ways.push((SocketAddr::new(to, SMTP_PORT), from, *peer, false));
                }
            }
        }
    }
    ways
}

fn fate(connector: &ReceiveConnector, default: Option<&ReceiveConnector>, is_dialled: bool) -> Fate {
    match lets_servers_log_on(connector) {
        _ if default == Some(connector) => Fate::Well,
        Some(true) => Fate::Well,
        Some(false) if is_dialled => Fate::Hijacked,
        Some(false) => Fate::Relay,
        None => Fate::Unread,
    }
}

/// `None` of one that could not be read: `judge_unreadable` has told it.
fn judge_connector(
    connector: &ReceiveConnector,
    fates: &BTreeMap<Fate, BTreeSet<String>>,
    others: &BTreeSet<IpAddr>,
) -> Option<Finding> {
    if !connector.unreadable.is_empty() {
        return None;
    }
    let (worst, peers) = fates.last_key_value()?;
    let (name, names) = (quote(&connector.name), few(peers));
    let finding = |verdict, seen: String| Finding::new(&META, subject(connector), verdict, seen);
    Some(match worst {
        Fate::Well if lets_servers_log_on(connector) == Some(true) => {
            finding(Verdict::Pass, format!("it answers {names}, and has ExchangeServer"))
        }
        Fate::Well => finding(
            Verdict::Skip,
            format!("it answers {names}, as no other connector does; whether they can authenticate, smtp-exchange-auth says"),
        ),
        Fate::Relay => narrow(
            finding(
                Verdict::Warn,
                format!("{name} answers {names} on 25, without ExchangeServer: its ranges cover servers, for which it is not meant"),
            )
            .code("relay"),
            connector,
            others,
        ),
        Fate::Either => narrow(
            finding(
                Verdict::Warn,
                format!("{name} and a connector with ExchangeServer hold {names} alike, and it is not certain which of them answers"),
            )
            .code("tie"),
            connector,
            others,
        ),
        Fate::Unread => {
            finding(Verdict::Unknown, format!("it answers {names}, and its mechanisms are not shown to this user"))
        }
        Fate::Hijacked => narrow(
            finding(
                Verdict::Fail,
                format!("{name} answers {names} instead of the connector meant for them, and has no ExchangeServer"),
            )
            .code("hijacked"),
            connector,
            others,
        ),
    })
}

fn judge_unreadable(connector: &ReceiveConnector) -> Finding {
    let values: Vec<_> = connector.unreadable.iter().take(3).map(|value| quote(value)).collect();
    let seen = format!("whom it answers is not certain: {} cannot be read", values.join(", "));
    Finding::new(&META, subject(connector), Verdict::Unknown, seen)
        .remedy(format!("    Get-ReceiveConnector {} | fl Bindings,RemoteIPRanges", identity(connector)))
}

/// A peer tries another address of the server where one sends it away, so that mail goes on, slowly.
fn unanswered(host: &str, peers: &BTreeSet<String>) -> Finding {
    let seen = format!("no connector's range holds {}, so they are sent away", few(peers));
    Finding::new(&META, Subject::Host(host.to_string()), Verdict::Warn, seen)
        .code("unanswered")
        .remedy("Let the range of the connector that peers dial hold every address of every server:")
        .remedy(format!("    Get-ReceiveConnector -Server {} | fl Identity,Bindings,RemoteIPRanges", server_name(host)))
}

/// Two services at one place: which of them has it, the next restart decides.
fn two_services(connector: &ReceiveConnector) -> Finding {
    let seen = "it belongs to the transport service, and the front end listens at the same place: whichever starts first takes it";
    Finding::new(&META, subject(connector), Verdict::Warn, seen)
        .code("two-services")
        .expected("a place is one service's: 25, 587 and 717 the front end's")
        .remedy("Give it to the front end, and let both services bind anew:")
        .remedy(format!("    Set-ReceiveConnector {} -TransportRole FrontendTransport", identity(connector)))
        .remedy("    Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport")
}

/// `others`: addresses of Exchange servers, for which it is not meant.
fn narrow(finding: Finding, connector: &ReceiveConnector, others: &BTreeSet<IpAddr>) -> Finding {
    let identity = identity(connector);
    let left = remainder(&connector.ranges, others);
    if left.as_ref().is_some_and(Vec::is_empty) {
        return finding
            .remedy("It serves nobody but Exchange servers, so switch it off, which can be taken back:")
            .remedy(format!("    Set-ReceiveConnector {identity} -Enabled $false"));
    }
    let left = left.map(|left| left.iter().map(ToString::to_string).collect::<Vec<_>>().join(","));
    let left = left.unwrap_or_else(|| "<THE SAME WITHOUT EXCHANGE SERVERS>".to_string());
    finding
        .remedy("Take the addresses of Exchange servers out of its ranges, and keep those of the devices that need it. It has now:")
        .remedy(format!("    {}", ranges(connector)))
        .remedy(format!("    Set-ReceiveConnector {identity} -RemoteIPRanges {left}"))
        .remedy("Only if nothing needs it: Set-ReceiveConnector with -Enabled $false instead, which can be taken back.")
}

/// The ranges without these addresses; `None` where they would be too many for a command.
fn remainder(ranges: &[IpRange], others: &BTreeSet<IpAddr>) -> Option<Vec<IpRange>> {
    const MOST: usize = 8;
    let mut left = ranges.to_vec();
    for address in others {
        left = left.into_iter().flat_map(|range| range.without(*address)).collect();
        if left.len() > MOST {
            return None;
        }
    }
    left.sort();
    left.dedup();
    Some(left)
}

fn few(peers: &BTreeSet<String>) -> String {
    const SHOWN: usize = 4;
    let mut shown: Vec<_> = peers.iter().take(SHOWN).cloned().collect();
    let more = peers.len().saturating_sub(SHOWN);
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::connector::TransportRole::{FrontEnd, Hub},
        model::{
            connectors::testing::{EVERYBODY, connector, estate, words},
            organisation::Told,
        },
    };

    fn judge_with(more: &[ReceiveConnector]) -> Vec<String> {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2"), ("EX03", "fd53::3")]);
        for name in ["EX01", "EX02", "EX03"] {
            let front = connector(name, &format!("Default Frontend {name}"), 25, FrontEnd, 31, &EVERYBODY);
            let hub = connector(name, &format!("Default {name}"), 2525, Hub, 31, &EVERYBODY);
            estate.organisation.receive_connectors.extend([front, hub]);
        }
        estate.organisation.receive_connectors.extend_from_slice(more);
        words(ConnectorScope.judge(&estate, &evidence))
    }

    /// EX03 has an address of another family than all others.
    const WELL: [&str; 3] = ["pass EX01/Default EX01", "pass EX02/Default EX02", "unknown ex03.contoso.com"];

    #[test]
    fn what_setup_makes_lets_peers_in() {
        assert_eq!(judge_with(&[]), WELL);
    }

    #[test]
    fn a_narrower_range_takes_a_peer_away() {
        let hijack = |range: &str, flags| judge_with(&[connector("EX02", "Relay", 2525, Hub, flags, &[range])]);
        assert!(hijack("10.0.0.1", 1).contains(&"fail EX02/Relay hijacked".to_string()));
        assert_eq!(hijack("10.0.0.1", 16), ["pass EX01/Default EX01", "pass EX02/Relay", "unknown ex03.contoso.com"]);
        assert_eq!(hijack("10.0.0.50-10.0.0.60", 1), WELL, "devices alone");
        let disabled =
            ReceiveConnector { is_enabled: false, ..connector("EX02", "Relay", 2525, Hub, 1, &["10.0.0.1"]) };
        assert_eq!(judge_with(&[disabled]), WELL);
    }

    #[test]
    fn a_relay_on_25_warns() {
        let relay = connector("EX02", "Scanner", 25, FrontEnd, 1, &["10.0.0.0/8"]);
        assert!(judge_with(&[relay]).contains(&"warn EX02/Scanner relay".to_string()));
    }

    #[test]
    fn what_is_left_of_the_ranges_is_told() {
        let left = |ranges: &[&str], others: &[&str]| {
            let ranges: Vec<_> = ranges.iter().map(|text| IpRange::read(text).unwrap()).collect();
            let others = others.iter().map(|text| text.parse().unwrap()).collect();
            let left = remainder(&ranges, &others)?;
            Some(left.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
        };
        let two = ["10.0.0.1", "10.0.0.2"];
        assert_eq!(left(&["10.0.0.0/24"], &two).as_deref(), Some("10.0.0.0,10.0.0.3-10.0.0.255"));
        assert_eq!(left(&two, &two).as_deref(), Some(""));
        let many: Vec<_> = (1..20).map(|last| format!("10.0.0.{}", last * 2)).collect();
        assert_eq!(left(&["10.0.0.0/24"], &many.iter().map(String::as_str).collect::<Vec<_>>()), None);
    }

    #[test]
    fn two_services_at_one_place_warn() {
        let relay = connector("EX02", "Relay", 25, Hub, 1, &["10.0.0.50"]);
        assert!(judge_with(&[relay]).contains(&"warn EX02/Relay two-services".to_string()));
        let front = connector("EX02", "Relay", 25, FrontEnd, 1, &["10.0.0.50"]);
        assert_eq!(judge_with(&[front]), WELL);
    }

    #[test]
    fn separate_roles_of_2013_are_dialled_on_25_or_not_at_all() {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        for (host, roles) in [("ex01.contoso.com", 54), ("ex02.contoso.com", 16385)] {
            let server = estate.organisation.servers.get_mut(host).unwrap();
            (server.version, server.roles) = (Told::Is((15, 0)), Told::Is(roles));
        }
        estate.organisation.receive_connectors = vec![
            connector("EX01", "Default", 25, Hub, 31, &EVERYBODY),
            connector("EX02", "Front", 25, FrontEnd, 31, &EVERYBODY),
        ];
        let said = words(ConnectorScope.judge(&estate, &evidence));
        assert_eq!(said, ["pass EX01/Default", "skip ex02.contoso.com"]);
        estate.organisation.receive_connectors.push(connector("EX01", "Relay", 25, Hub, 1, &["10.0.0.2"]));
        let said = words(ConnectorScope.judge(&estate, &evidence));
        assert_eq!(said, ["fail EX01/Relay hijacked", "skip ex02.contoso.com"]);
    }

    #[test]
    fn equals_are_a_tie() {
        let same = connector("EX02", "Relay", 2525, Hub, 1, &EVERYBODY);
        assert!(judge_with(&[same]).contains(&"warn EX02/Relay tie".to_string()));
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        let odd = ReceiveConnector { unreadable: vec!["?".into()], ..connector("EX02", "Odd", 2525, Hub, 1, &[]) };
        assert!(judge_with(&[odd]).contains(&"unknown EX02/Odd".to_string()));
        let unread =
            ReceiveConnector { mechanisms: Told::Unread, ..connector("EX02", "Dim", 2525, Hub, 1, &["10.0.0.1"]) };
        assert!(judge_with(&[unread]).contains(&"unknown EX02/Dim".to_string()));
    }

    #[test]
    fn who_is_held_by_no_range_is_sent_away() {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        let narrow = |name: &str, range| connector(name, "Default", 2525, Hub, 31, &[range]);
        estate.organisation.receive_connectors = vec![narrow("EX01", "10.0.0.2"), narrow("EX02", "10.0.0.9")];
        let said = words(ConnectorScope.judge(&estate, &evidence));
        assert_eq!(said, ["pass EX01/Default", "warn ex02.contoso.com unanswered"]);
    }
}
