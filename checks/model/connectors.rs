//! Which receive connector of a server answers whom, as the directory has them.
//!
//! A server may have several at one port. The one answers whose address ranges hold the client most narrowly ("the most
//! specific match", Receive connectors, Microsoft Learn), whatever it offers. Connectors are told apart by role, binding and
//! range, never by name: names are localised.

use crate::{
    facts::{
        connector::{IpRange, TransportRole, binds},
        net::SMTP_PORT,
        search::DirectorySearch,
    },
    model::{
        ask::Endpoint,
        check::Need,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        informants::{self, Holding, estate_needs, found},
        listeners::{quote, smtp_port},
        meta::Meta,
        organisation::{ExchangeServer, ReceiveConnector, SearchOf, searches},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, SocketAddr};

/// What tells of receive connectors, and whose they are.
pub const SEARCHES: [SearchOf; 2] = [searches::servers, searches::receive_connectors];

/// The needs of a check that rests on these searches.
pub fn needs(searches: &[SearchOf], estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    estate_needs(&of_domain(searches, estate), estate, evidence)
}

/// What a check says of the whole estate where one of these searches did not tell all. `None` where all did.
pub fn unread(meta: &'static Meta, searches: &[SearchOf], estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    if !estate.informants.is_empty() {
        return informants::unread(meta, &of_domain(searches, estate), estate, evidence);
    }
    let domain = &estate.plan.domain;
    let seen = format!("no controller of {domain} answered as one, so the directory could not be read");
    let finding = Finding::new(meta, Subject::Estate, Verdict::Unknown, seen)
        .suspects(Trouble::DirectoryUnread)
        .suspects(Trouble::Name(domain.clone()));
    Some(estate.controllers.keys().fold(finding, |finding, host| finding.suspects(Trouble::HostDark(host.clone()))))
}

/// Did every one of these searches tell all?
pub fn are_read(searches: &[SearchOf], estate: &Estate, evidence: &Evidence) -> bool {
    let searches = of_domain(searches, estate);
    let is_complete =
        |(search, holding): &(DirectorySearch, Holding)| found(search, *holding, estate, evidence).complete().is_some();
    !searches.is_empty() && searches.iter().all(is_complete)
}

fn of_domain(searches: &[SearchOf], estate: &Estate) -> Vec<(DirectorySearch, Holding)> {
    let first = estate.informants.first();
    first.into_iter().flat_map(|first| searches.iter().map(move |of| (of(first), Holding::Domain))).collect()
}

/// The receive connectors of one server, all of them.
pub struct Connectors<'e> {
    all: Vec<&'e ReceiveConnector>,
    is_of_2010: bool,
    dialled: Option<u16>,
}

/// Who answers a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering<'e> {
    /// No range holds it, so it is sent away.
    Nobody,
    /// This one.
    One(&'e ReceiveConnector),
    /// One of these two, of which one lets servers of the organisation prove who they are, and one does not: which of them,
    /// nobody has written down.
    Either(&'e ReceiveConnector, &'e ReceiveConnector),
}

impl<'e> Connectors<'e> {
    /// `None` where the directory did not tell all, or shows not one of this server.
    pub fn of(host: &'e str, estate: &'e Estate, evidence: &Evidence) -> Option<Self> {
        are_read(&SEARCHES, estate, evidence).then_some(())?;
        let server = estate.organisation.servers.get(host)?;
        let all: Vec<_> = estate.organisation.receive_connectors_of(host).collect();
        let dialled = dialled(server, &all);
        (!all.is_empty()).then_some(Self { all, is_of_2010: server.is_of_2010(), dialled })
    }

    /// The port that peers of this age dial. Servers of Exchange 2010 know no other, and have no other. `None` for a front end
    /// alone, to which no peer hands mail.
    pub fn dialled_by(&self, is_of_2010: bool) -> Option<u16> {
        self.dialled.map(|port| if is_of_2010 { SMTP_PORT } else { port })
    }

    /// Connectors of the transport service at a place that one of the front end has, too: whichever service starts first takes
    /// it, and the other one has nothing there.
    pub fn clashing(&self) -> impl Iterator<Item = &'e ReceiveConnector> {
        let of = |role| self.all.iter().copied().filter(move |c| c.is_enabled && c.role == Some(role));
        let places = |connector: &'e ReceiveConnector| connector.bindings.iter().copied();
        let fronts: Vec<_> = of(TransportRole::FrontEnd).flat_map(places).collect();
        let is_taken = move |at: SocketAddr| {
            FRONT_PORTS.contains(&at.port()) && fronts.iter().any(|front| binds(*front, at) || binds(at, *front))
        };
        of(TransportRole::Hub).filter(move |connector| places(connector).any(&is_taken))
    }

    /// Those of the transport service, or of the front end, that take connections to this place.
    pub fn at(&self, to: SocketAddr) -> Vec<&'e ReceiveConnector> {
        self.bound(to).into_iter().filter(|connector| connector.is_enabled).collect()
    }

    /// The one that answers whoever has no other: its range is the widest.
    pub fn default_at(&self, to: SocketAddr) -> Option<&'e ReceiveConnector> {
        let width = |connector: &ReceiveConnector| {
            let ranges = connector.ranges.iter().filter(|range| range.is_ipv4() == to.is_ipv4());
            ranges.map(IpRange::breadth).max()
        };
        self.at(to).into_iter().max_by_key(|connector| (width(connector), lets_servers_log_on(connector)))
    }

    /// Who answers at `to` whoever comes from `from`.
    pub fn answering(&self, to: SocketAddr, from: IpAddr) -> Answering<'e> {
        let width = |connector: &ReceiveConnector| {
            connector.ranges.iter().filter(|range| range.holds(from)).map(IpRange::breadth).min()
        };
        // Of two bindings that take a connection, the one to the very address is the more specific.
        let is_wild = |connector: &ReceiveConnector| !connector.bindings.contains(&to);
        let holding = self.at(to).into_iter().filter_map(|c| Some((width(c)?, is_wild(c), c)));
        let mut holding: Vec<_> = holding.collect();
        holding.sort_by_key(|(width, is_wild, connector)| (*width, *is_wild, &connector.name));
        let Some((narrowest, is_bound_wildly, first)) = holding.first().copied() else { return Answering::Nobody };
        // Whether range or binding counts first, and what decides between equals, is not documented.
        let rival = holding.iter().skip(1).find(|(width, is_wild, connector)| {
            (*width == narrowest || (is_bound_wildly && !is_wild))
                && lets_servers_log_on(connector) != lets_servers_log_on(first)
        });
        rival.map_or(Answering::One(first), |(.., rival)| Answering::Either(first, rival))
    }

    /// Why nobody can answer here, if the directory shows for certain that no connector is in service at this place.
    pub fn why_shut(&self, to: SocketAddr) -> Option<String> {
        if !self.at(to).is_empty() || self.all.iter().any(|connector| !connector.unreadable.is_empty()) {
            return None;
        }
        let disabled: Vec<_> = self.bound(to).iter().map(|connector| quote(&connector.name)).collect();
        Some(match disabled.as_slice() {
            [] => format!("the directory has no connector of it for {to}"),
            names => format!("the directory has it disabled: {}", names.join(", ")),
        })
    }

    /// Those whose ranges or bindings could not all be read, so that they may answer anybody.
    pub fn unreadable(&self) -> impl Iterator<Item = &'e ReceiveConnector> {
        self.all.iter().copied().filter(|connector| connector.is_enabled && !connector.unreadable.is_empty())
    }

    /// Enabled or not. Where both services claim a port, it is the front end's, which has 25, 587 and 717 since Exchange 2013.
    pub fn bound(&self, to: SocketAddr) -> Vec<&'e ReceiveConnector> {
        let is_front = !self.is_of_2010 && FRONT_PORTS.contains(&to.port());
        let role = if is_front { TransportRole::FrontEnd } else { TransportRole::Hub };
        let takes = |connector: &&ReceiveConnector| connector.bindings.iter().any(|binding| binds(*binding, to));
        let all: Vec<_> = self.all.iter().copied().filter(takes).collect();
        let of_role: Vec<_> = all.iter().copied().filter(|connector| connector.role == Some(role)).collect();
        if of_role.is_empty() { all } else { of_role }
    }
}

/// The ports of the front end.
const FRONT_PORTS: [u16; 3] = [SMTP_PORT, smtp_port::SUBMISSION, smtp_port::OUTBOUND_PROXY];

/// Where peers hand mail to a server. Without a front end beside it, its transport service has 25, as Setup of Exchange 2013 binds
/// it for a Mailbox server that is nothing else.
fn dialled(server: &ExchangeServer, all: &[&ReceiveConnector]) -> Option<u16> {
    if server.is_front_alone() {
        return None;
    }
    let has_no_front = || all.iter().all(|connector| connector.role != Some(TransportRole::FrontEnd));
    let is_back_alone = server.is_back_alone() || (server.roles.value().is_none() && has_no_front());
    let takes_all_at = |port: &u16| {
        let is_its = |c: &&ReceiveConnector| c.is_enabled && c.role == Some(TransportRole::Hub) && takes_everybody(c);
        all.iter().copied().filter(|c| is_its(c)).any(|c| c.bindings.iter().any(|binding| binding.port() == *port))
    };
    let told = [SMTP_PORT, smtp_port::TRANSPORT].into_iter().find(takes_all_at).filter(|_| is_back_alone);
    let by_roles = if server.is_of_2010() || server.is_back_alone() { SMTP_PORT } else { smtp_port::TRANSPORT };
    Some(if server.is_of_2010() { SMTP_PORT } else { told.unwrap_or(by_roles) })
}

fn takes_everybody(connector: &ReceiveConnector) -> bool {
    let is_all = |range: &IpRange| range.breadth() >= u128::from(u32::MAX);
    connector.ranges.iter().any(is_all)
}

/// Why a server of Exchange 2013 with one role of two has nothing at a port. `None` where it may have, and where a connector
/// stands there all the same.
pub fn absent_by_role(to: &Endpoint, estate: &Estate, evidence: &Evidence) -> Option<&'static str> {
    let server = estate.organisation.servers.get(&to.host)?;
    let (why, ports) = if server.is_front_alone() {
        ("it has the Client Access role of Exchange 2013 alone, and listens on 25, 587 and 717 only", FRONT_PORTS)
    } else if server.is_back_alone() {
        let ports = [SMTP_PORT, smtp_port::DELIVERY, smtp_port::CLIENT_PROXY];
        ("it has the Mailbox role of Exchange 2013 alone, and listens on 25, 475 and 465 only", ports)
    } else {
        return None;
    };
    let place = to.address.map(|address| SocketAddr::new(address, to.port));
    let connectors = Connectors::of(&to.host, estate, evidence);
    let is_bound = connectors.zip(place).is_some_and(|(all, place)| !all.bound(place).is_empty());
    (!ports.contains(&to.port) && !is_bound).then_some(why)
}

/// `ExchangeServer` is among its mechanisms; `None` where these are not shown.
pub fn lets_servers_log_on(connector: &ReceiveConnector) -> Option<bool> {
    connector.mechanisms.value().map(|mechanisms| mechanisms.exchange_server())
}

/// What findings about a connector name.
pub fn subject(connector: &ReceiveConnector) -> Subject {
    Subject::Configured(connector.server.clone(), connector.name.clone())
}

/// `"EX01\Default EX01"`, as a command takes it. A name that PowerShell might read otherwise (`$`, backticks, quotation marks of
/// any kind) is left for the reader to fill in.
pub fn identity(connector: &ReceiveConnector) -> String {
    let is_name = is_harmless(&connector.server) && is_harmless(&connector.name);
    let name = format!("{}\\{}", connector.server, connector.name);
    quoted(is_name.then_some(&*name))
}

/// The name of a send connector as a command takes it, under the same rule.
pub fn in_command(name: &str) -> String {
    quoted(is_harmless(name).then_some(name))
}

fn quoted(name: Option<&str>) -> String {
    format!("\"{}\"", name.unwrap_or("<CONNECTOR>"))
}

fn is_harmless(text: &str) -> bool {
    let is_plain = |letter: char| letter.is_alphanumeric() || " -_.,()[]/+&#@:".contains(letter);
    !text.is_empty() && text.chars().all(is_plain)
}

/// The ranges of a connector, as a command takes them; of very many the first.
pub fn ranges(connector: &ReceiveConnector) -> String {
    const SHOWN: usize = 12;
    let mut shown: Vec<_> = connector.ranges.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = connector.ranges.len().saturating_sub(SHOWN);
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join(",")
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::{
        facts::{
            connector::AuthMechanism,
            dns::{DnsAnswer, Record, RecordKind},
            raw::Raw,
            search::DirectoryEntries,
            smtp::{Exchange, SmtpReply, SmtpSession, Upgrade},
            time::Span,
            tls::{Offer, TlsSeen},
        },
        model::{
            ask::{Ask, Endpoint, Facts},
            evidence::{End, Observation, Reply},
            informants::Informant,
            organisation::{ExchangeServer, Told},
            plan::{Logon, LogonWay, Plan, PlannedServer, ServerRole},
        },
    };
    use alloc::vec;
    use jiff::Timestamp;

    /// An organisation of these Mailbox servers, each with its address, read by somebody who has logged on to dc1. Connectors are
    /// added by hand.
    pub(crate) fn estate(servers: &[(&str, &str)]) -> (Estate, Evidence) {
        let hosts = servers.iter().map(|(name, _)| PlannedServer::new(host_of(name), ServerRole::Mailbox));
        let logon = Some(Logon { user: Some("reader@contoso.com".into()), way: LogonWay::Kerberos });
        let plan = Plan { logon, servers: hosts.collect(), ..Plan::of("contoso.com") };
        let mut evidence = Evidence::default();
        let before = Estate::learn(&plan, &evidence);
        for (name, address) in servers {
            let records = |address: IpAddr| DnsAnswer::Records(vec![Record::Address(address)]);
            for kind in [RecordKind::A, RecordKind::Aaaa] {
                let address = address.parse::<IpAddr>().unwrap();
                let is_its = address.is_ipv4() == (kind == RecordKind::A);
                let answer = if is_its { records(address) } else { DnsAnswer::NoRecords };
                told(&mut evidence, before.lookup(&host_of(name), kind), Facts::DnsLookup(answer));
            }
        }
        let mut estate = Estate::learn(&plan, &evidence);
        estate.informants = vec![Informant {
            host: "dc1.contoso.com".into(),
            address: [10, 0, 0, 100].into(),
            is_catalog: true,
            configuration: "CN=Configuration,DC=contoso,DC=com".into(),
            domain: "DC=contoso,DC=com".into(),
        }];
        for (search, holding) in of_domain(&searches::ALL, &estate) {
            for ask in informants::asks(&search, holding, &estate, &evidence) {
                let nothing = DirectoryEntries { result: Some(0), ..DirectoryEntries::default() };
                told(&mut evidence, ask, Facts::DirectorySearch(nothing));
            }
        }
        estate.organisation.servers = servers.iter().map(|(name, _)| server(name)).collect();
        (estate, evidence)
    }

    pub(crate) fn told(evidence: &mut Evidence, ask: Ask, facts: Facts) {
        let reply = Reply { facts: Some(facts), end: End::Ok };
        evidence.insert(Observation { ask, reply, when: Timestamp::UNIX_EPOCH });
    }

    /// A server was heard: it offers these keywords, and shows this certificate by the upgrade, where there is one.
    pub(crate) fn heard(
        evidence: &mut Evidence,
        (name, address, port): (&str, &str, u16),
        upgrade: Upgrade,
        keywords: &[&str],
        certificate: Option<&[u8]>,
    ) {
        let host = host_of(name);
        let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
        let exchange =
            |command: &str, lines: Vec<String>| Exchange { command: command.into(), span, lines, is_inside: false };
        let hello = [format!("250-{host} Hello")].into_iter().chain(keywords.iter().map(|word| format!("250-{word}")));
        let hello = hello.chain(["250 8BITMIME".into()]).collect();
        let tls = certificate.map(|der| TlsSeen {
            chain: vec![Raw(der.to_vec())],
            version: Some(0x303),
            ..TlsSeen::default()
        });
        let greeting = exchange("", vec![format!("220 {host} Microsoft ESMTP MAIL Service ready")]);
        let exchanges = vec![greeting, exchange("EHLO here.contoso.com", hello)];
        let session = SmtpReply { exchanges, injected: Raw::default(), tls };
        let to = Endpoint { host, address: Some(address.parse().unwrap()), port };
        let ask = Ask::new(to, SmtpSession { upgrade, offer: Offer::Usual });
        told(evidence, ask, Facts::SmtpSession(session));
    }

    fn host_of(name: &str) -> String {
        format!("{}.contoso.com", name.to_lowercase())
    }

    /// Who says what about whom, without prose.
    pub(crate) fn words(findings: Vec<Finding>) -> Vec<String> {
        let mut words: Vec<_> = findings
            .into_iter()
            .map(|finding| {
                let code = finding.code.map(|code| format!(" {code}")).unwrap_or_default();
                format!("{} {}{code}", finding.verdict, finding.subject)
            })
            .collect();
        words.sort();
        words
    }

    pub(crate) const EVERYBODY: [&str; 2] = ["0.0.0.0-255.255.255.255", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];

    /// A connector as Setup makes it, on all addresses.
    pub(crate) fn connector(
        server: &str,
        name: &str,
        port: u16,
        role: TransportRole,
        flags: i64,
        ranges: &[&str],
    ) -> ReceiveConnector {
        let bindings = [format!("[::]:{port}"), format!("0.0.0.0:{port}")];
        ReceiveConnector {
            server: server.into(),
            host: Some(host_of(server)),
            name: name.into(),
            fqdn: None,
            bindings: bindings.iter().map(|text| text.parse().unwrap()).collect(),
            ranges: ranges.iter().map(|text| IpRange::read(text).unwrap()).collect(),
            unreadable: Vec::new(),
            mechanisms: Told::Is(AuthMechanism(flags)),
            role: Some(role),
            is_enabled: true,
            options: 445,
            pin: Told::NotSet,
            capabilities: Vec::new(),
        }
    }

    /// A server of Exchange 2019.
    pub(crate) fn server(name: &str) -> (String, ExchangeServer) {
        let server = ExchangeServer {
            name: name.into(),
            version: Told::Is((15, 2)),
            roles: Told::Is(16439),
            ..ExchangeServer::default()
        };
        (host_of(name), server)
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};
    use alloc::vec;

    fn of(all: &[ReceiveConnector], is_of_2010: bool) -> Connectors<'_> {
        let dialled = Some(if is_of_2010 { 25 } else { 2525 });
        Connectors { all: all.iter().collect(), is_of_2010, dialled }
    }

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const HUB: TransportRole = TransportRole::Hub;

    #[test]
    fn the_most_specific_range_answers() {
        let all = [
            connector("EX01", "Default EX01", 2525, HUB, 31, &EVERYBODY),
            connector("EX01", "Relay", 2525, HUB, 1, &["10.0.0.0/24"]),
        ];
        let connectors = of(&all, false);
        assert_eq!(connectors.default_at(at("10.0.0.1:2525")).map(|c| c.name.as_str()), Some("Default EX01"));
        let answering = |from: &str| connectors.answering(at("10.0.0.1:2525"), from.parse().unwrap());
        assert_eq!(answering("10.0.0.2"), Answering::One(&all[1]));
        assert_eq!(answering("10.0.1.2"), Answering::One(&all[0]));
        assert_eq!(connectors.answering(at("[fd53::1]:2525"), "fd53::2".parse().unwrap()), Answering::One(&all[0]));
        assert_eq!(connectors.answering(at("10.0.0.1:475"), "10.0.0.2".parse().unwrap()), Answering::Nobody);
    }

    #[test]
    fn what_is_not_written_down_is_left_open() {
        let narrow = connector("EX01", "Default EX01", 2525, HUB, 31, &["10.0.0.0/24"]);
        let relay = connector("EX01", "Relay", 2525, HUB, 1, &["10.0.0.0-10.0.0.255"]);
        let all = [narrow.clone(), relay.clone()];
        let either = of(&all, false).answering(at("10.0.0.1:2525"), "10.0.0.2".parse().unwrap());
        assert!(matches!(either, Answering::Either(..)));
        // A wider range, bound to the very address.
        let bound = ReceiveConnector {
            bindings: vec![at("10.0.0.1:2525")],
            ranges: vec![IpRange::read("10.0.0.0/8").unwrap()],
            ..relay
        };
        let all = [narrow, bound];
        let either = of(&all, false).answering(at("10.0.0.1:2525"), "10.0.0.2".parse().unwrap());
        assert!(matches!(either, Answering::Either(first, _) if first.name == "Default EX01"));
    }

    #[test]
    fn a_port_is_its_own_services() {
        let all = [
            connector("EX01", "Default Frontend EX01", 25, TransportRole::FrontEnd, 31, &EVERYBODY),
            connector("EX01", "Clash", 25, HUB, 1, &["10.0.0.0/24"]),
        ];
        assert_eq!(of(&all, false).at(at("10.0.0.1:25")), [&all[0]]);
        assert_eq!(of(&all, true).at(at("10.0.0.1:25")), [&all[1]]);
        assert_eq!(of(&all, false).clashing().collect::<Vec<_>>(), [&all[1]]);
    }

    #[test]
    fn peers_dial_where_the_transport_service_listens() {
        use crate::model::organisation::{ExchangeServer, Told};
        let of = |version, roles, port, role| {
            let server = ExchangeServer { version: Told::Is(version), roles, ..ExchangeServer::default() };
            dialled(&server, &[&connector("EX01", "Default EX01", port, role, 31, &EVERYBODY)])
        };
        assert_eq!(of((15, 2), Told::Is(16439), 2525, HUB), Some(2525));
        assert_eq!(of((15, 2), Told::Is(16439), 25, HUB), Some(2525), "a relay is no front door");
        assert_eq!(of((15, 0), Told::Is(54), 25, HUB), Some(25));
        assert_eq!(of((15, 0), Told::Is(54), 2525, HUB), Some(2525), "the directory has it so");
        assert_eq!(of((15, 0), Told::Is(16385), 25, TransportRole::FrontEnd), None);
        assert_eq!(of((15, 0), Told::Unread, 25, HUB), Some(25));
        assert_eq!(of((15, 0), Told::Unread, 25, TransportRole::FrontEnd), Some(2525));
        assert_eq!(of((14, 3), Told::Is(38), 25, HUB), Some(25));
    }

    #[test]
    fn what_is_shut_on_purpose_says_so() {
        let disabled = ReceiveConnector {
            is_enabled: false,
            ..connector("EX01", "Client Frontend EX01", 587, TransportRole::FrontEnd, 15, &EVERYBODY)
        };
        let told = of(core::slice::from_ref(&disabled), false).why_shut(at("10.0.0.1:587"));
        assert!(told.is_some_and(|why| why.contains("disabled") && why.contains("Client Frontend EX01")));
        assert!(of(core::slice::from_ref(&disabled), false).why_shut(at("10.0.0.1:25")).is_some());
        let unreadable = ReceiveConnector { unreadable: vec!["?".into()], ..disabled };
        assert_eq!(of(&[unreadable], false).why_shut(at("10.0.0.1:25")), None);
    }

    #[test]
    fn names_in_commands_are_names() {
        let named = |name: &str| identity(&connector("EX01", name, 25, HUB, 31, &[]));
        assert_eq!(named("Default EX01"), "\"EX01\\Default EX01\"");
        assert_eq!(named("Standardmäßig (25)"), "\"EX01\\Standardmäßig (25)\"");
        for wrong in ["a\"; rm", "$(x)", "$(x)\\a", "`n", "a\u{201d}b", "a\nb", ""] {
            assert_eq!(named(wrong), "\"<CONNECTOR>\"", "{wrong}");
            assert_eq!(in_command(wrong), "\"<CONNECTOR>\"", "{wrong}");
        }
    }
}
