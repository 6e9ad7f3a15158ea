//! Where certificates are shown: every port of the estate that speaks TLS, what is asked there, and why.
//!
//! A server is asked once. Only what that answer makes necessary is asked in further connections, of which there are at most
//! [`MOST_CONNECTIONS`] in all, each for a reason that the report can name.

use crate::{
    facts::{
        certificate::{Key, key_of},
        dns::{DnsLookup, RecordKind, is_host_name},
        net::{SMTP_PORT, Transport},
        smtp::{Exchange, SmtpReply, SmtpSession, Upgrade, code},
        tls::{GC_LDAPS_PORT, LDAPS_PORT, Offer, TlsSeen, TlsSession, TlsVersion},
        web::{BACK_END_PORT, EWS_PATH, HTTPS_PORT, HttpsGet},
    },
    model::{
        ask::{Ask, Endpoint, Question},
        check::Need,
        estate::Estate,
        evidence::{Answer, Evidence, Miss, Reason, Stage},
        finding::{Finding, Subject, Trouble, Verdict},
        meta::Meta,
        plan::{PlannedServer, ServerRole, ServerState},
        reach::Reach,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};
use core::net::IpAddr;
use jiff::SignedDuration;

/// Connections to one listener in one run, at the most.
pub const MOST_CONNECTIONS: usize = 5;
/// After a server said that it is too busy, it is left in peace so long before it is asked once more.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// Submission and proxy ports of a Mailbox server (facts of Microsoft's "Receive connectors": one connector a port).
pub mod smtp_port {
    /// Transport service: the connector "Default", which peers dial.
    pub const TRANSPORT: u16 = 2525;
    /// Mailbox Transport Delivery, which peers dial.
    pub const DELIVERY: u16 = 475;
    /// Client Proxy.
    pub const CLIENT_PROXY: u16 = 465;
    /// Client Frontend: submission by programs.
    pub const SUBMISSION: u16 = 587;
    /// Outbound Proxy Frontend.
    pub const OUTBOUND_PROXY: u16 = 717;
}

/// The SMTP ports of a Mailbox server of Exchange 2013 or later.
pub const MAILBOX_PORTS: [u16; 6] = [
    SMTP_PORT,
    smtp_port::TRANSPORT,
    smtp_port::DELIVERY,
    smtp_port::CLIENT_PROXY,
    smtp_port::SUBMISSION,
    smtp_port::OUTBOUND_PROXY,
];

/// Who looks at the certificate of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Facing {
    /// Servers and clients of the organisation.
    Inside,
    /// Web clients, by names that the plan states.
    Clients,
    /// Mail servers of the world.
    Outside,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// SMTP with STARTTLS.
    Smtp,
    /// HTTPS.
    Web,
    /// LDAP over TLS.
    Directory,
}

/// A port at one address that speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listener {
    /// Where.
    pub to: Endpoint,
    /// What is spoken.
    pub service: Service,
    /// Who looks.
    pub facing: Facing,
    /// The stated names by which it is reached.
    pub names: Vec<String>,
}

/// Every listener of the estate: of servers that are meant to work, and of controllers.
pub fn listeners(estate: &Estate) -> Vec<Listener> {
    let mut all = Vec::new();
    for (host, server) in estate.servers.iter().filter(|(_, server)| server.state == ServerState::Active) {
        let is_mailbox = server.role == ServerRole::Mailbox;
        let outside = if server.outward.is_empty() { Facing::Inside } else { Facing::Outside };
        let ports: &[u16] = if is_mailbox { &MAILBOX_PORTS } else { &[SMTP_PORT] };
        for to in ports.iter().flat_map(|port| estate.endpoints(host, *port)) {
            let is_front = to.port == SMTP_PORT;
            let facing = if is_front { outside } else { Facing::Inside };
            let names = if is_front { server.outward.clone() } else { Vec::new() };
            all.push(Listener { to, service: Service::Smtp, facing, names });
        }
        let (is_web, facing) = (is_mailbox || !server.web.is_empty(), Facing::Clients);
        let facing = if server.web.is_empty() { Facing::Inside } else { facing };
        for to in estate.endpoints(host, HTTPS_PORT).into_iter().filter(|_| is_web) {
            all.push(Listener { to, service: Service::Web, facing, names: server.web.clone() });
        }
        for to in estate.endpoints(host, BACK_END_PORT).into_iter().filter(|_| is_mailbox) {
            all.push(Listener { to, service: Service::Web, facing: Facing::Inside, names: Vec::new() });
        }
    }
    for (host, controller) in &estate.controllers {
        let ports = if controller.is_gc { &[LDAPS_PORT, GC_LDAPS_PORT][..] } else { &[LDAPS_PORT] };
        for to in ports.iter().flat_map(|port| estate.endpoints(host, *port)) {
            all.push(Listener { to, service: Service::Directory, facing: Facing::Inside, names: Vec::new() });
        }
    }
    all
}

/// The SMTP listeners alone.
pub fn smtp_listeners(estate: &Estate) -> impl Iterator<Item = Listener> {
    listeners(estate).into_iter().filter(|listener| listener.service == Service::Smtp)
}

/// The SMTP listeners of Mailbox servers, whose peers prove to each other who they are.
pub fn peer_listeners(estate: &Estate) -> impl Iterator<Item = Listener> {
    let is_peer = |host: &str| estate.servers.get(host).is_some_and(|server| server.role == ServerRole::Mailbox);
    smtp_listeners(estate).filter(move |listener| is_peer(&listener.to.host))
}

/// Whose name at a host's address would mean that another server answers there: Mailbox servers that are meant to work, and
/// controllers. The name of a gateway is often that of a load balancer before this very server, and so are those by which it
/// is reached from outside and by web clients. A controller with an address of the host's may be the same machine.
pub fn rivals<'e>(host: &'e str, estate: &'e Estate) -> impl Iterator<Item = &'e str> {
    let own = estate.servers.get(host);
    let is_own = move |name: &String| {
        name == host || own.is_some_and(|own| own.outward.contains(name) || own.web.contains(name))
    };
    let is_peer = |server: &PlannedServer| server.role == ServerRole::Mailbox && server.state == ServerState::Active;
    let servers = estate.servers.iter().filter(move |(_, server)| is_peer(server)).map(|(name, _)| name);
    let is_elsewhere =
        move |name: &&String| !estate.addresses(name).any(|address| estate.addresses(host).any(|own| own == address));
    let controllers = estate.controllers.keys().filter(is_elsewhere);
    servers.chain(controllers).filter(move |name| !is_own(name)).map(String::as_str)
}

/// Did another server answer EHLO here? What it shows says nothing of this one.
pub fn is_anothers(listener: &Listener, estate: &Estate, evidence: &Evidence) -> bool {
    let host = &listener.to.host;
    let name = listener.first_look(evidence).talked().and_then(SmtpReply::own_name);
    let is_of = |name: &str, host: &str| name == host || name == server_name(host);
    name.is_some_and(|name| !is_of(&name, host) && rivals(host, estate).any(|other| is_of(&name, other)))
}

/// What a check says of servers that have no listener, because their names lead nowhere.
pub fn unresolved<'e>(
    meta: &'static Meta,
    estate: &'e Estate,
    evidence: &'e Evidence,
) -> impl Iterator<Item = (&'e PlannedServer, Finding)> {
    estate.unresolved_servers().map(move |server| {
        let lookups = [RecordKind::A, RecordKind::Aaaa].map(|kind| estate.lookup(&server.name, kind));
        let is_told = lookups.iter().all(|ask| evidence.answer::<DnsLookup>(ask).facts().is_some());
        let seen =
            if is_told { "its name has no address" } else { "whether its name has an address could not be told" };
        let finding = Finding::new(meta, Subject::Host(server.name.clone()), Verdict::Unknown, seen)
            .suspects(Trouble::Name(server.name.clone()))
            .remedy("See whether the name is spelt as in DNS, and what a name server of the domain says of it:")
            .remedy(format!("    nslookup {}", server.name));
        (server, finding)
    })
}

/// The same of Mailbox servers alone, for what only peers ask.
pub fn unresolved_peers(meta: &'static Meta, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
    let peers = unresolved(meta, estate, evidence).filter(|(server, _)| server.role == ServerRole::Mailbox);
    peers.map(|(server, finding)| finding.suspects(Trouble::HostDark(server.name.clone()))).collect()
}

/// The SMTP ports that came with Exchange 2013.
const PORTS_SINCE_2013: [u16; 4] =
    [smtp_port::TRANSPORT, smtp_port::DELIVERY, smtp_port::CLIENT_PROXY, smtp_port::OUTBOUND_PROXY];

/// Servers of Exchange 2010: by the version that the directory has, where that is told; else those that speak SMTP on 25 and
/// refuse every port that came with Exchange 2013.
pub fn servers_of_2010(estate: &Estate, evidence: &Evidence) -> BTreeSet<String> {
    let version = |host: &str| estate.organisation.servers.get(host)?.version.value();
    let mut old = seen_as_2010(estate, evidence);
    old.retain(|host| version(host).is_none());
    let told = estate.servers.iter().filter(|(host, server)| {
        let is_peer = server.role == ServerRole::Mailbox && server.state == ServerState::Active;
        is_peer && version(host).is_some_and(|(major, _)| *major < 15)
    });
    old.extend(told.map(|(host, _)| host.clone()));
    old
}

fn seen_as_2010(estate: &Estate, evidence: &Evidence) -> BTreeSet<String> {
    let (mut signs, mut newer) = (BTreeMap::<Endpoint, usize>::new(), BTreeSet::new());
    for listener in peer_listeners(estate) {
        let is_new = PORTS_SINCE_2013.contains(&listener.to.port);
        match listener.first_look(evidence).reach() {
            Some(Reach::Open) if listener.to.port == SMTP_PORT => {}
            Some(Reach::Refused) if is_new => {}
            Some(Reach::Open | Reach::Mute(_) | Reach::Foreign(_)) if is_new => {
                newer.insert(listener.to.host);
                continue;
            }
            _ => continue,
        }
        *signs.entry(Endpoint { port: SMTP_PORT, ..listener.to }).or_default() += 1;
    }
    let is_old = |(to, count): (Endpoint, usize)| {
        (count == PORTS_SINCE_2013.len() + 1 && !newer.contains(&to.host)).then_some(to.host)
    };
    signs.into_iter().filter_map(is_old).collect()
}

/// Is it a port that a server of Exchange 2010 does not have?
pub fn is_absent_in_2010(port: u16) -> bool {
    PORTS_SINCE_2013.contains(&port)
}

impl Listener {
    /// What findings about it name.
    pub fn subject(&self) -> Subject {
        Subject::Port(self.to.host.clone(), self.to.port, Transport::Tcp)
    }

    /// Needs this asked here.
    pub fn need(&self, ask: Ask) -> Need {
        Need { subject: self.subject(), ask }
    }

    /// Everything to be asked here, by what is known so far: the first question, and what its answer makes necessary.
    pub fn asks(&self, estate: &Estate, evidence: &Evidence) -> Vec<Ask> {
        let mut asks = self.first_asks(evidence);
        // Second looks follow from all first ones together: what is asked must not depend on who was faster.
        if !asks.iter().all(|ask| evidence.holds(ask)) {
            return asks;
        }
        let first: Vec<_> = asks.iter().map(|ask| self.look(ask, evidence)).collect();
        let shown = || first.iter().filter_map(Look::seen);
        let mut add = |question: Question| {
            let ask = Ask::new(self.to.clone(), question);
            if !asks.contains(&ask) {
                asks.push(ask);
            }
        };
        if first.iter().any(|look| look.session.is_some_and(|s| s.offers(Upgrade::AnonymousTls.keyword()).is_some())) {
            add(SmtpSession { upgrade: Upgrade::AnonymousTls, offer: Offer::Usual }.into());
        }
        let keys: Vec<_> = shown().filter_map(leaf_key).collect();
        if keys.iter().any(|key| matches!(key, Key::Ec(_))) {
            add(self.with(Offer::RsaOnly));
        }
        let is_perhaps_old = first.iter().any(|look| self.is_perhaps_old(look, estate));
        if is_perhaps_old {
            add(self.with(Offer::UpTo(TlsVersion::Tls12)));
        }
        // These write into the server's log (Schannel 36874), so somebody has to want them.
        if shown().next().is_some() && (estate.plan.deep || estate.plan.forbid_old_tls) {
            add(self.with(Offer::UpTo(TlsVersion::Tls10)));
            add(self.with(Offer::UpTo(TlsVersion::Tls11)));
        }
        if estate.plan.deep && keys.iter().any(|key| matches!(key, Key::Rsa(_))) {
            add(self.with(Offer::EcdsaOnly));
        }
        // Last, so that it takes the place of none that was asked before its reason was known.
        let modern = self.look(&Ask::new(self.to.clone(), self.with(Offer::UpTo(TlsVersion::Tls12))), evidence);
        if is_perhaps_old && modern.is_handshake_refused() {
            add(self.with(Offer::UpTo(TlsVersion::Tls10)));
        }
        asks.truncate(MOST_CONNECTIONS);
        asks
    }

    /// Might it speak TLS of old alone? A controller without a certificate for LDAPS just closes, and each further try writes into
    /// its log.
    fn is_perhaps_old(&self, look: &Look<'_>, estate: &Estate) -> bool {
        let says_so = look.miss.is_some_and(|miss| matches!(miss.reason, Reason::ServerSaid(_)));
        look.is_handshake_refused() && (self.service != Service::Directory || says_so || estate.plan.deep)
    }

    /// What a client of today asks; of a web server once for each stated name; once more of a server that was too busy.
    pub fn first_asks(&self, evidence: &Evidence) -> Vec<Ask> {
        let questions: Vec<Question> = match self.service {
            Service::Smtp | Service::Directory => vec![self.with(Offer::Usual)],
            Service::Web => {
                let host = [self.to.host.clone()];
                let names = if self.names.is_empty() { &host[..] } else { &self.names };
                names.iter().map(|name| HttpsGet { name: name.clone(), path: EWS_PATH.into() }.into()).collect()
            }
        };
        let mut asks: Vec<_> = questions.into_iter().map(|question| Ask::new(self.to.clone(), question)).collect();
        if let Some(busy) = asks.first().filter(|first| self.look(first, evidence).is_busy())
            && let Some(observation) = evidence.find(busy)
        {
            let later = observation.when.checked_add(PATIENCE).unwrap_or(observation.when);
            let again = busy.clone().again(2, later);
            asks.push(again);
        }
        asks
    }

    /// What the first question showed; of a server that was too busy at first, what the second look did.
    pub fn first_look<'e>(&self, evidence: &'e Evidence) -> Look<'e> {
        let looks = self.first_asks(evidence).into_iter().map(|ask| self.look(&ask, evidence));
        looks
            .reduce(|first, second| if first.is_busy() && second.is_answered { second } else { first })
            .unwrap_or_default()
    }

    /// What one question showed.
    pub fn look<'e>(&self, ask: &Ask, evidence: &'e Evidence) -> Look<'e> {
        match &ask.what {
            Question::SmtpSession(_) => {
                let answer = evidence.answer::<SmtpSession>(ask);
                let session = answer.facts();
                Look { session, seen: session.and_then(|session| session.tls.as_ref()), ..Look::of(&answer) }
            }
            Question::HttpsGet(_) => {
                let answer = evidence.answer::<HttpsGet>(ask);
                Look { seen: answer.facts().map(|reply| &reply.tls), ..Look::of(&answer) }
            }
            Question::TlsSession(_) => {
                let answer = evidence.answer::<TlsSession>(ask);
                Look { seen: answer.facts(), ..Look::of(&answer) }
            }
            _ => Look::default(),
        }
    }

    /// The same place, with another offer.
    fn with(&self, offer: Offer) -> Question {
        match self.service {
            Service::Smtp => SmtpSession { upgrade: Upgrade::StartTls, offer }.into(),
            // The certificate may depend on the name.
            Service::Web => TlsSession { offer, name: self.names.first().cloned() }.into(),
            Service::Directory => TlsSession { offer, name: None }.into(),
        }
    }
}

/// What one conversation with a listener showed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Look<'e> {
    /// The answer is in, well or not.
    pub is_answered: bool,
    /// The SMTP session, as far as it came.
    pub session: Option<&'e SmtpReply>,
    /// What was seen of TLS.
    pub seen: Option<&'e TlsSeen>,
    /// How it failed, if it did.
    pub miss: Option<&'e Miss>,
}

impl<'e> Look<'e> {
    fn of<F>(answer: &Answer<'e, F>) -> Self {
        Self { is_answered: !matches!(answer, Answer::NotAsked), session: None, seen: None, miss: answer.miss() }
    }

    /// What it says of the port; `None` where the answer is not in.
    pub fn reach(&self) -> Option<Reach<'e>> {
        let greeting = self.session.and_then(|session| session.greeting()?.code());
        let is_greeted = matches!(greeting, Some(220 | 400..=599));
        match self.miss {
            _ if !self.is_answered => None,
            Some(miss) if !is_greeted && self.seen.is_none() => Some(Reach::after(miss)),
            _ => Some(Reach::Open),
        }
    }

    /// The session, where the server answered EHLO, or HELO alone, which offers nothing: then it is known what it offers.
    pub fn talked(&self) -> Option<&'e SmtpReply> {
        let is_welcome = |exchange: &Exchange| {
            let verb = exchange.command.get(..4);
            !exchange.is_inside && exchange.code() == Some(250) && matches!(verb, Some("EHLO" | "HELO"))
        };
        self.session.filter(|session| session.exchanges.iter().any(is_welcome))
    }

    /// What it said where it would not talk with us at all.
    pub fn rejection(&self) -> Option<&'e str> {
        let Some(Miss { reason: Reason::ServerSaid(said), .. }) = self.miss else { return None };
        self.talked().is_none().then_some(said)
    }

    /// It does not talk with this machine, for now and for ever: a list of addresses, or of names.
    pub fn turned_away(&self) -> Option<&'e str> {
        self.rejection().filter(|_| !self.is_busy() && !self.is_in_maintenance())
    }

    /// Why nothing more can be seen of it, where `smtp-reachable` has said already why it does not talk with us.
    pub fn unwilling(&self) -> Option<String> {
        let said = self.rejection()?;
        if self.is_in_maintenance() {
            return Some(format!("in maintenance, see smtp-reachable: {said}"));
        }
        self.turned_away().map(|said| format!("it turns this machine away, see smtp-reachable: {said}"))
    }

    /// Why a firewall that inspects SMTP seems to stand on the way: keywords are written over, or EHLO does not come through.
    pub fn inspected(&self) -> Option<String> {
        let hello = self.talked()?.hello()?;
        if hello.code() != Some(250) {
            let said = quote(&hello.lines.join(" "));
            return Some(format!("it takes HELO, and answers EHLO with {said}, as where a firewall inspects SMTP"));
        }
        let is_blank = |text: &&str| text.split_whitespace().next().is_some_and(is_blanked);
        let blanked = hello.texts().skip(1).find(is_blank)?;
        Some(format!("keywords are written over on the way: {}", quote(blanked)))
    }

    /// What was seen, where a certificate was.
    pub fn seen(&self) -> Option<&'e TlsSeen> {
        self.seen.filter(|seen| !seen.chain.is_empty())
    }

    /// It took our hello and would not go on: too old for us, or broken.
    pub fn is_handshake_refused(&self) -> bool {
        self.miss.is_some_and(|miss| {
            miss.stage == Stage::Tls && !matches!(miss.reason, Reason::Interrupted | Reason::Local(_))
        }) && self.seen().is_none()
            && self.session.is_none_or(|session| session.injected.0.is_empty())
    }

    /// It puts us off for now (RFC 5321 section 4.2.1: 4yz), and not for maintenance: it may do better in a while.
    pub fn is_busy(&self) -> bool {
        match self.said() {
            Some((421, _)) => !self.is_in_maintenance(),
            Some((400..=499, _)) => self.session.is_some() && self.talked().is_none(),
            _ => false,
        }
    }

    /// It says that it has as many connections as it takes, from everywhere or from this machine.
    pub fn is_crowded(&self) -> bool {
        self.said().is_some_and(|(_, text)| is_about_numbers(text))
    }

    /// It said `421 4.3.2`, and not for the number of connections: the component is in maintenance.
    pub fn is_in_maintenance(&self) -> bool {
        self.said().is_some_and(|(code, text)| code == 421 && text.starts_with("4.3.2") && !is_about_numbers(text))
    }

    /// The code that it gave for an end, and the text behind it.
    fn said(&self) -> Option<(u16, &'e str)> {
        let Some(Miss { reason: Reason::ServerSaid(said), .. }) = self.miss else { return None };
        Some((code(said)?, said.get(4..).unwrap_or_default().trim_start()))
    }
}

/// Is it a keyword written over: `XXXXXXXX`, or `XXXXXXXA` for STARTTLS? Firewalls keep its length, so that no packet changes
/// its own, and some count the keywords with the last letter.
fn is_blanked(keyword: &str) -> bool {
    const SHORTEST: usize = 4;
    let Some((last, rest)) = keyword.as_bytes().split_last() else { return false };
    keyword.len() >= SHORTEST && last.is_ascii_uppercase() && rest.iter().all(|byte| *byte == b'X')
}

/// The first label of a host's name: Exchange's own name for the server.
pub fn server_name(host: &str) -> &str {
    // The first part of an address names nobody.
    if !is_host_name(host) || host.parse::<IpAddr>().is_ok() {
        return "<SERVER>";
    }
    host.split('.').next().unwrap_or(host)
}

/// A server's own words, as a report quotes them: they are hostile, and may be long.
pub fn quote(words: &str) -> String {
    const LONGEST: usize = 200;
    format!("{:?}", words.chars().take(LONGEST).collect::<String>())
}

/// Exchange says `4.3.2` of a component that is inactive, and of a connector that has enough connections: "The maximum number of
/// concurrent server connections has exceeded a limit", or "a per-source limit".
fn is_about_numbers(text: &str) -> bool {
    let text = text.to_lowercase();
    ["maximum number", "exceeded", "too many"].iter().any(|words| text.contains(words))
}

fn leaf_key(seen: &TlsSeen) -> Option<Key> {
    key_of(&seen.chain.first()?.0)
}

/// Why a connection was made, for whoever wonders about it in a log.
pub fn reason(ask: &Ask) -> Option<String> {
    let offer_of = |offer: Offer| match offer {
        Offer::Usual => "what any client of today sees",
        Offer::RsaOnly => "it showed an ECDSA certificate, so there may be an RSA one beside it",
        Offer::EcdsaOnly => "--deep: beside the RSA certificate there may be an ECDSA one",
        Offer::UpTo(TlsVersion::Tls12) => "the usual handshake failed: does it want a cipher suite of old?",
        Offer::UpTo(TlsVersion::Tls11) => "--deep or forbid-old-tls: is TLS 1.1 still on?",
        Offer::UpTo(TlsVersion::Tls10) => {
            "does it speak TLS 1.0? (the usual handshake failed, or --deep, or forbid-old-tls)"
        }
    };
    let why = match &ask.what {
        Question::SmtpSession(_) if ask.look > 1 => "it had said 421, so it was asked once more",
        Question::SmtpSession(SmtpSession { upgrade: Upgrade::AnonymousTls, .. }) => {
            "it offers X-ANONYMOUSTLS, which shows the internal transport certificate"
        }
        Question::SmtpSession(SmtpSession { offer, .. }) | Question::TlsSession(TlsSession { offer, .. }) => {
            offer_of(*offer)
        }
        Question::HttpsGet(get) => return Some(format!("what a client sees that asks for {}", get.name)),
        _ => return None,
    };
    Some(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{facts::raw::Raw, model::plan::Plan};

    #[test]
    fn what_is_no_name_is_left_for_the_reader() {
        assert_eq!(server_name("ex01.contoso.com"), "ex01");
        for host in ["10.0.0.1", "2001:db8::7", "<SERVER>", "x; iex 1", ""] {
            assert_eq!(server_name(host), "<SERVER>", "{host}");
        }
    }

    #[test]
    fn keywords_that_are_written_over_are_told_from_those_of_exchange() {
        for blanked in ["XXXXXXXX", "XXXXXXXA", "XXXXXXXXXXXXXXB", "XXXX"] {
            assert!(is_blanked(blanked), "{blanked}");
        }
        for keyword in
            ["", "X", "XXX", "X-EXPS", "X-ANONYMOUSTLS", "XRDST", "XSHADOW", "XEXCH50", "STARTTLS", "XXXXxxxx"]
        {
            assert!(!is_blanked(keyword), "{keyword}");
        }
    }

    #[test]
    fn a_gateway_and_a_name_from_outside_are_no_rivals() {
        let server = |name: &str, role, state| PlannedServer {
            name: name.into(),
            role,
            state,
            outward: vec!["mail.contoso.com".into()],
            web: Vec::new(),
            client_auth: false,
        };
        let (active, mailbox) = (ServerState::Active, ServerRole::Mailbox);
        let plan = Plan {
            servers: vec![
                server("ex01.contoso.com", mailbox, active),
                server("ex02.contoso.com", mailbox, active),
                server("ex03.contoso.com", mailbox, ServerState::Retired),
                server("mail.contoso.com", mailbox, active),
                server("lb.contoso.com", ServerRole::Gateway, active),
                server("edge01.contoso.com", ServerRole::Edge, active),
            ],
            ..Plan::of("contoso.com")
        };
        let estate = Estate::learn(&plan, &Evidence::default());
        assert_eq!(rivals("ex01.contoso.com", &estate).collect::<Vec<_>>(), ["ex02.contoso.com"]);
    }

    /// What is made of a greeting that ends it: maintenance, busy, turned away.
    fn verdicts(said: &str) -> (bool, bool, bool) {
        let took = SignedDuration::ZERO;
        let miss = Miss { stage: Stage::Greet, reason: Reason::ServerSaid(said.into()), took };
        let session = SmtpReply { exchanges: Vec::new(), injected: Raw::default(), tls: None };
        let look = Look { is_answered: true, session: Some(&session), seen: None, miss: Some(&miss) };
        (look.is_in_maintenance(), look.is_busy(), look.turned_away().is_some())
    }

    #[test]
    fn maintenance_is_told_from_a_crowd_and_from_no() {
        const MAINTENANCE: (bool, bool, bool) = (true, false, false);
        const BUSY: (bool, bool, bool) = (false, true, false);
        const AWAY: (bool, bool, bool) = (false, false, true);
        for (said, verdict) in [
            ("421 4.3.2 Service not active", MAINTENANCE),
            ("421-4.3.2 Service not active 421 4.3.2 closing", MAINTENANCE),
            (
                "421 4.3.2 The maximum number of concurrent server connections has exceeded a limit, closing transmission channel",
                BUSY,
            ),
            (
                "421 4.3.2 The maximum number of concurrent server connections has exceeded a per-source limit, closing transmission channel",
                BUSY,
            ),
            ("421 4.4.5 Too many connections from your host", BUSY),
            ("452 4.3.1 Insufficient system resources (TSX)", BUSY),
            ("450 4.7.1 try again later", BUSY),
            ("554 5.7.1 no", AWAY),
            ("550 5.7.1 too many complaints", AWAY),
        ] {
            assert_eq!(verdicts(said), verdict, "{said}");
        }
    }

    #[test]
    fn the_directory_knows_the_version_best() {
        use crate::model::organisation::{ExchangeServer, Told};
        let mut estate = Estate::learn(&Plan::of("contoso.com"), &Evidence::default());
        for (name, version) in [("ex10", (14, 3)), ("ex19", (15, 2))] {
            let host = format!("{name}.contoso.com");
            let told = ExchangeServer { version: Told::Is(version), ..ExchangeServer::default() };
            estate.organisation.servers.insert(host.clone(), told);
            estate.servers.insert(host.clone(), PlannedServer::new(host, ServerRole::Mailbox));
        }
        let old = servers_of_2010(&estate, &Evidence::default());
        assert_eq!(old.into_iter().collect::<Vec<_>>(), ["ex10.contoso.com"]);
    }

    #[test]
    fn a_quotation_is_short_and_harmless() {
        assert_eq!(quote("502 5.3.3 \u{1b}[2J"), r#""502 5.3.3 \u{1b}[2J""#);
        assert_eq!(quote(&"x".repeat(5_000)).len(), 202);
    }
}
