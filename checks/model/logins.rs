//! Proofs by one logon (`--prove-login`): with whose ticket, at which port of a server, and what came of it.
//!
//! A refusal is written into the server's log (event 1035 of `MSExchangeTransport`), so that each service of a server is asked once,
//! and only where a KDC has given the ticket.

use crate::{
    facts::{
        dns::RecordKind,
        kerberos::describe_error,
        login::{HttpLogin, HttpLoginReply, SmtpLogin, SmtpLoginReply},
        net::{KERBEROS_PORT, SMTP_PORT, Transport},
        smtp::{SmtpReply, offers},
        spn::Spn,
        ticket::{Hop, RealmKdc, ServiceTicket, TicketReply},
        web::{BACK_END_PORT, EWS_PATH, HTTPS_PORT, HttpsGet},
    },
    model::{
        accounts::{Accounts, needed, peers, search_of_host, web},
        ask::{Ask, Endpoint},
        check::Need,
        estate::Estate,
        evidence::{Answer, Evidence, Miss, Reason, Stage},
        finding::{Finding, Subject, Trouble, Verdict},
        informants::{self, Holding},
        kdcs::Kdcs,
        listeners::{Listener, is_anothers, peer_listeners, quote, smtp_port},
        meta::Meta,
        principals::{Principals, beside, strangers},
        tickets::service_ticket,
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// Submission comes first: there users log on, and the default connector offers `AUTH GSSAPI`. So does Client Proxy; the others only
/// where somebody has set `EnableAuthGSSAPI`.
const SMTP_PORTS: [u16; 4] = [smtp_port::SUBMISSION, smtp_port::CLIENT_PROXY, SMTP_PORT, smtp_port::TRANSPORT];

/// So many KDCs are asked for one ticket, until one gives it.
const MOST_KDCS: usize = 3;

/// What a service is asked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `AUTH GSSAPI`.
    Smtp,
    /// `Negotiate`.
    Web,
}

impl Service {
    /// What the ticket is for: always the server's own name, which its own account has to hold.
    pub fn spn(self, host: &str) -> Spn {
        match self {
            Self::Smtp => needed(host),
            Self::Web => web(host),
        }
    }
}

/// Where a service can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is not known yet.
    Untold,
    /// Here.
    At(Endpoint),
    /// All its ports told that they offer no such logon, or none inside TLS.
    NotOffered,
    /// It does not talk with this machine, for these words.
    Unwilling(String),
    /// None of those that may offer it told anything; these were asked.
    Dark(Vec<Endpoint>),
}

/// Whose ticket is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ticket<'e> {
    /// It is not known yet.
    Untold,
    /// This KDC gives it.
    Of(RealmKdc),
    /// No KDC answers; these could have been asked.
    NoKdc(Vec<String>),
    /// The last one that was asked does not give it, for this error.
    Refused(RealmKdc, i64),
    /// The last one that was asked refers to this realm.
    Elsewhere(RealmKdc, String),
    /// The last one that was asked told nothing.
    Missed(RealmKdc, &'e Miss),
}

/// How far a proof has come.
pub struct Proof<'e, F> {
    /// What has to be asked, by what is known so far.
    pub asks: Vec<Ask>,
    /// Where.
    pub place: Place,
    /// With what.
    pub ticket: Ticket<'e>,
    /// What came of it; `NotAsked` where place or ticket is missing as well.
    pub answer: Answer<'e, F>,
}

/// The proof of a server's SMTP.
pub fn smtp<'e>(host: &str, estate: &Estate, evidence: &'e Evidence) -> Proof<'e, SmtpLoginReply> {
    let (asks, place) = smtp_place(host, estate, evidence);
    let spn = Service::Smtp.spn(host).to_string();
    prove(asks, place, &spn, estate, evidence, |to, kdc| {
        let ask = Ask::new(to, SmtpLogin { spn: spn.clone(), kdc });
        let answer = evidence.answer::<SmtpLogin>(&ask);
        (ask, answer)
    })
}

/// The proof of its websites.
pub fn of_web<'e>(host: &str, estate: &Estate, evidence: &'e Evidence) -> Proof<'e, HttpLoginReply> {
    let (asks, place) = web_place(host, estate, evidence);
    let spn = Service::Web.spn(host).to_string();
    prove(asks, place, &spn, estate, evidence, |to, kdc| {
        let question = HttpLogin { name: host.into(), path: EWS_PATH.into(), spn: spn.clone(), kdc };
        let ask = Ask::new(to, question);
        let answer = evidence.answer::<HttpLogin>(&ask);
        (ask, answer)
    })
}

fn prove<'e, F>(
    mut asks: Vec<Ask>,
    place: Place,
    spn: &str,
    estate: &Estate,
    evidence: &'e Evidence,
    of: impl Fn(Endpoint, RealmKdc) -> (Ask, Answer<'e, F>),
) -> Proof<'e, F> {
    let Place::At(to) = &place else {
        return Proof { asks, place, ticket: Ticket::Untold, answer: Answer::NotAsked };
    };
    let (more, ticket) = ticket(spn, estate, evidence);
    asks.extend(more);
    let Ticket::Of(kdc) = &ticket else {
        return Proof { asks, place, ticket, answer: Answer::NotAsked };
    };
    let (ask, answer) = of(to.clone(), kdc.clone());
    asks.push(ask);
    Proof { asks, place, ticket, answer }
}

/// Who gives the ticket: the first that does.
fn ticket<'e>(spn: &str, estate: &Estate, evidence: &'e Evidence) -> (Vec<Ask>, Ticket<'e>) {
    let Kdcs { chosen, is_settled, mut asks, candidates, .. } = Kdcs::of(estate, evidence);
    let mut last = if is_settled { Ticket::NoKdc(candidates.into_iter().collect()) } else { Ticket::Untold };
    for chosen in chosen.into_iter().take(MOST_KDCS) {
        let ask = service_ticket(&chosen, spn, Transport::Tcp, &[]);
        let kdc = chosen.kdc;
        let answer = evidence.answer::<ServiceTicket>(&ask);
        asks.push(ask);
        let hop = answer.facts().and_then(TicketReply::last);
        let granted = hop.and_then(Hop::grant).filter(|grant| !grant.server.starts_with("krbtgt/"));
        let referral = hop.and_then(|hop| hop.grant()?.refers_to(&hop.realm));
        last = match (granted, hop.and_then(Hop::error), answer.miss()) {
            _ if matches!(answer, Answer::NotAsked) => return (asks, Ticket::Untold),
            (Some(_), ..) => return (asks, Ticket::Of(kdc)),
            (_, Some(error), _) => Ticket::Refused(kdc, error.code),
            (_, _, Some(miss)) => {
                let is_final = miss.stage == Stage::Bind && !matches!(miss.reason, Reason::NoLogon(_));
                if is_final {
                    return (asks, Ticket::Missed(kdc, miss));
                }
                Ticket::Missed(kdc, miss)
            }
            // Where that leads is not this proof's business.
            _ => match referral {
                Some(realm) => Ticket::Elsewhere(kdc, quote(realm)),
                None => Ticket::Refused(kdc, WRONG_REALM),
            },
        };
    }
    (asks, last)
}

/// `KDC_ERR_WRONG_REALM`.
const WRONG_REALM: i64 = 68;

fn smtp_place(host: &str, estate: &Estate, evidence: &Evidence) -> (Vec<Ask>, Place) {
    let mut listeners: Vec<(usize, Listener)> = peer_listeners(estate)
        .filter(|listener| listener.to.host == host)
        .filter_map(|listener| Some((SMTP_PORTS.iter().position(|port| *port == listener.to.port)?, listener)))
        .collect();
    listeners.sort();
    let mut asks = lookups(host, estate);
    let is_resolved = asks.iter().all(|ask| evidence.holds(ask));
    asks.extend(listeners.iter().flat_map(|(_, listener)| listener.first_asks(evidence)));
    if !is_resolved || !asks.iter().all(|ask| evidence.holds(ask)) {
        return (asks, Place::Untold);
    }
    let offering = listeners.iter().map(|(_, listener)| listener).find(|listener| {
        let session = listener.first_look(evidence).session;
        session.is_some_and(offers_gssapi) && !is_anothers(listener, estate, evidence)
    });
    if let Some(listener) = offering {
        return (asks, Place::At(listener.to.clone()));
    }
    let looks = || listeners.iter().map(|(_, listener)| listener.first_look(evidence));
    let place = if looks().any(|look| look.talked().is_some()) {
        Place::NotOffered
    } else if let Some(why) = looks().find_map(|look| look.unwilling()) {
        Place::Unwilling(why)
    } else {
        Place::Dark(listeners.into_iter().map(|(_, listener)| listener.to).collect())
    };
    (asks, place)
}

/// Inside TLS: what it offers before that, nobody should use, and no ticket is sent there.
fn offers_gssapi(session: &SmtpReply) -> bool {
    session.hello_inside().and_then(|hello| offers(hello, "AUTH")).is_some_and(|all| all.contains(&"GSSAPI"))
}

/// The front end, where clients and front ends of other servers log on; else the back end, where front ends do.
fn web_place(host: &str, estate: &Estate, evidence: &Evidence) -> (Vec<Ask>, Place) {
    let mut asks = lookups(host, estate);
    let is_resolved = asks.iter().all(|ask| evidence.holds(ask));
    let at = |port| estate.endpoints(host, port);
    let places: Vec<_> = [HTTPS_PORT, BACK_END_PORT].into_iter().flat_map(at).collect();
    let question = HttpsGet { name: host.into(), path: EWS_PATH.into() };
    let looks: Vec<_> = places.iter().map(|to| Ask::new(to.clone(), question.clone())).collect();
    asks.extend(looks.iter().cloned());
    if !is_resolved || !asks.iter().all(|ask| evidence.holds(ask)) {
        return (asks, Place::Untold);
    }
    let answers = || looks.iter().map(|ask| (ask, evidence.answer::<HttpsGet>(ask)));
    let heard = || answers().filter_map(|(ask, answer)| Some((ask, answer.facts()?.answer.as_ref()?)));
    let offering = heard().find(|(_, answer)| answer.values("www-authenticate").any(offers_negotiate));
    let place = match offering {
        Some((ask, _)) => Place::At(ask.to.clone()),
        None if heard().next().is_some() => Place::NotOffered,
        None => Place::Dark(places),
    };
    (asks, place)
}

/// Several ways may stand in one field, separated by commas.
fn offers_negotiate(value: &str) -> bool {
    value.split(',').filter_map(|way| way.split_whitespace().next()).any(|way| way.eq_ignore_ascii_case("Negotiate"))
}

fn lookups(host: &str, estate: &Estate) -> Vec<Ask> {
    [RecordKind::A, RecordKind::Aaaa].map(|kind| estate.lookup(host, kind)).into()
}

/// The needs of a proof, and of what tells whose key a ticket is for.
pub fn needs(host: &str, asks: Vec<Ask>, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let subject = Subject::Host(host.into());
    let search = search_of_host(host);
    let accounts = informants::needs(&subject, &search, Holding::Catalog, estate, evidence);
    asks.into_iter().map(|ask| Need { subject: subject.clone(), ask }).chain(accounts.collect::<Vec<_>>()).collect()
}

/// What a ticket that is not taken says (RFC 4120 section 7.5.9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server cannot read the ticket, or what it reads is not in order: another key.
    Key,
    /// By the server's clock it is not to be taken.
    Clock,
    /// Something else.
    Other,
}

impl Refusal {
    /// By the code of the error.
    pub fn of(code: i64) -> Self {
        match code {
            // BAD_INTEGRITY, MODIFIED, BADKEYVER, NOKEY.
            31 | 41 | 44 | 45 => Self::Key,
            // TKT_EXPIRED, TKT_NYV, SKEW.
            32 | 33 | 37 => Self::Clock,
            _ => Self::Other,
        }
    }
}

/// Is the server's own account the only one that holds this SPN, or HOST in its place? `None` where that is not told.
pub fn is_held_rightly(service: Service, host: &str, estate: &Estate, evidence: &Evidence) -> Option<bool> {
    let accounts = Accounts::seen(estate, evidence);
    let principals = Principals::new(estate, evidence, &accounts);
    principals.peers().find(|peer| *peer == host)?;
    let own = principals.own(host).filter(|own| !own.spns.is_empty())?;
    let holders = principals.holders(&service.spn(host));
    let is_of_own = holders.iter().all(|holder| holder.guid == own.guid);
    // HOST stands for HTTP, and for nothing of SMTP.
    Some(is_of_own && principals.rivals(host).is_empty() && (service == Service::Web || !holders.is_empty()))
}

/// What a check says where a proof did not come to a logon. `None` where it did.
pub fn hindrance<F>(
    meta: &'static Meta,
    service: Service,
    host: &str,
    proof: &Proof<'_, F>,
    estate: &Estate,
) -> Option<Finding> {
    let spn = service.spn(host).to_string();
    let finding = |verdict, seen: &str| Finding::new(meta, Subject::Host(host.into()), verdict, seen);
    let unknown = |seen: &str| finding(Verdict::Unknown, seen).suspects(Trouble::HostDark(host.into()));
    let what = if service == Service::Smtp { "AUTH GSSAPI inside TLS" } else { "Negotiate" };
    match &proof.place {
        Place::Untold => return Some(unknown("the run ended before it was known where to ask")),
        Place::NotOffered => return Some(finding(Verdict::Skip, &format!("no port of it that answers offers {what}"))),
        Place::Unwilling(why) => return Some(finding(Verdict::Skip, why)),
        Place::Dark(places) => {
            let ports: Vec<_> = places.iter().map(|to| to.port.to_string()).collect();
            let seen = match ports.as_slice() {
                [] => "its name has no address".to_string(),
                ports => format!("none of its ports answers: {}", ports.join(", ")),
            };
            let shut = places.iter().map(|to| Trouble::PortShut(Subject::Port(host.into(), to.port, Transport::Tcp)));
            let found = unknown(&seen).suspects(Trouble::Name(host.into()));
            return Some(shut.fold(found, Finding::suspects));
        }
        Place::At(_) => {}
    }
    let kdc_of = |found: Finding, kdc: &str| {
        let port = Subject::Port(kdc.into(), KERBEROS_PORT, Transport::Tcp);
        found.suspects(Trouble::HostDark(kdc.into())).suspects(Trouble::PortShut(port))
    };
    match &proof.ticket {
        Ticket::Of(_) => None,
        Ticket::Untold => Some(unknown("the run ended before there was a ticket")),
        Ticket::NoKdc(candidates) => {
            let seen =
                format!("no KDC of {} answers over TCP, so there is no ticket to log on with", estate.plan.domain);
            let found =
                finding(Verdict::Unknown, &seen).code("no-kdc").suspects(Trouble::Name(estate.plan.domain.clone()));
            Some(candidates.iter().fold(found, |found, kdc| kdc_of(found, kdc)))
        }
        Ticket::Refused(kdc, code) => {
            let why = describe_error(*code);
            let seen = format!("nobody could try: {} gives no ticket for {spn} ({code}, {why})", kdc.host);
            let account = Subject::Host(host.into());
            let found = finding(Verdict::Unknown, &seen)
                .code("no-ticket")
                .suspects(Trouble::Credential)
                .suspects(Trouble::Account(host.into()))
                .suspects(Trouble::NoKey(account))
                .suspects(Trouble::SpnWrong(spn.clone()))
                .remedy("See on which account it is:")
                .remedy(format!("    setspn -F -Q {spn}"));
            Some(found)
        }
        Ticket::Elsewhere(kdc, realm) => {
            let seen = format!("its account is in another domain: for {spn} {} refers to {realm}", kdc.host);
            Some(finding(Verdict::Skip, &seen))
        }
        Ticket::Missed(kdc, miss) => {
            let seen = format!("nobody could try: {} gives no ticket for {spn}: {miss}", kdc.host);
            Some(kdc_of(finding(Verdict::Unknown, &seen).code("no-ticket").suspects(Trouble::Credential), &kdc.host))
        }
    }
}

/// Whom a check has something to say of, and what it says of all others.
pub fn servers<'e>(meta: &'static Meta, estate: &'e Estate, evidence: &Evidence) -> (Vec<&'e str>, Vec<Finding>) {
    let strangers = strangers(estate, evidence);
    let skip = |host: &&str| {
        let seen = "the directory knows no Exchange server of this name";
        Finding::new(meta, Subject::Host((*host).into()), Verdict::Skip, seen)
    };
    let others = strangers.iter().map(skip).chain(beside(meta, &[], estate, evidence)).collect();
    (peers(estate).into_iter().filter(|host| !strangers.contains(host)).collect(), others)
}

/// The servers of which anything is asked. What of them is stated and turns out to be no Exchange server gets no ticket for its name.
pub fn asked(estate: &Estate) -> impl Iterator<Item = &str> {
    peers(estate).into_iter()
}

/// What it says where a logon that was begun came to nothing by which anybody could judge.
pub fn broken(meta: &'static Meta, host: &str, to: Option<&Endpoint>, miss: Option<&Miss>) -> Finding {
    let at = to.map(|to| format!("{}: ", to.port)).unwrap_or_default();
    let why = miss.map_or("the run ended before the answer".to_string(), ToString::to_string);
    let found = Finding::new(meta, Subject::Host(host.into()), Verdict::Unknown, format!("{at}{why}"))
        .code("no-answer")
        .suspects(Trouble::Credential)
        .suspects(Trouble::HostDark(host.into()));
    match to {
        Some(to) => {
            found.suspects(Trouble::PortShut(Subject::Port(host.into(), to.port, Transport::Tcp))).at(to.address)
        }
        None => found,
    }
}

/// What an error of Kerberos says of a server that does not take the ticket, heard by whatever `by` says. Of one that is about
/// neither key nor clock the check itself knows more: `unexplained`.
pub fn turned_down(
    finding: &impl Fn(Verdict, &str) -> Finding,
    (error, by): (i64, &str),
    service: Service,
    host: &str,
    estate: &Estate,
    unexplained: impl Fn(Finding) -> Finding,
) -> Finding {
    match Refusal::of(error) {
        Refusal::Key => {
            let seen = format!("{by}it does not hold the key by which the ticket was made ({error})");
            key_wrong(finding(Verdict::Fail, &seen), service, host, estate)
        }
        Refusal::Clock => {
            let seen = format!("{by}by its clock the ticket is not to be taken ({error})");
            clock_off(finding(Verdict::Fail, &seen), host)
        }
        Refusal::Other => {
            let why = describe_error(error);
            unexplained(finding(Verdict::Warn, &format!("{by}it does not take the ticket ({error}, {why})")))
        }
    }
}

/// The server's clock is off.
fn clock_off(finding: Finding, host: &str) -> Finding {
    finding
        .code("clock")
        .suspects(Trouble::ClockOff(host.into()))
        .remedy(format!("On {host}, follow the domain's time again; if it is virtual, first stop the hypervisor's time synchronisation:"))
        .remedy("    w32tm /config /syncfromflags:domhier /update")
        .remedy("    w32tm /resync /rediscover")
}

/// The server does not have the key by which the KDC made the ticket.
fn key_wrong(finding: Finding, service: Service, host: &str, estate: &Estate) -> Finding {
    let spn = service.spn(host);
    suspects(finding.code("key"), service, host)
        .remedy("See whether it is on the server's own account, and on no other:")
        .remedy(format!("    setspn -F -Q {spn}"))
        .remedy(format!("If it is, the password that {host} has for its account is not the one of the directory. On it, and with a credential that may reset the computer's account:"))
        .remedy("    Test-ComputerSecureChannel -Verbose")
        .remedy(format!("    Reset-ComputerMachinePassword -Server {} -Credential (Get-Credential)", controller(estate)))
        .remedy("Who has a ticket by the old key keeps it for hours; purge it on the servers that log on to this one, unless you can wait:")
        .remedy("    klist -li 0x3e7 purge")
}

/// What may lie behind a refusal.
pub fn suspects(finding: Finding, service: Service, host: &str) -> Finding {
    let account = Subject::Host(host.into());
    finding
        .suspects(Trouble::ClockOff(host.into()))
        .suspects(Trouble::Disagreement(account.clone()))
        .suspects(Trouble::Account(host.into()))
        .suspects(Trouble::NoKey(account))
        .suspects(Trouble::SpnWrong(service.spn(host).to_string()))
}

fn controller(estate: &Estate) -> &str {
    let informants = estate.informants.iter().map(|informant| informant.host.as_str());
    informants.chain(estate.controllers.keys().map(String::as_str)).next().unwrap_or("<CONTROLLER>")
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::{
        facts::{
            raw::Raw,
            smtp::Exchange,
            time::Span,
            tls::TlsSeen,
            web::{HttpAnswer, HttpsReply},
        },
        model::{
            ask::{Facts, Question},
            evidence::{End, Reply},
            testing::Forest,
        },
    };
    use alloc::{boxed::Box, vec};
    use jiff::Timestamp;

    const SPAN: Span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };

    /// What a logon comes to: the code, whether the server has proven itself, and the error in its token.
    pub(crate) type Said = (u16, bool, Option<i64>);

    pub(crate) const WELL: Said = (235, true, None);
    pub(crate) const WELL_ON_WEB: Said = (200, true, None);

    /// ex01 says this; ex02 takes whatever ticket there is.
    pub(crate) fn forest(smtp: Said, web: Said) -> Forest {
        let mut forest = Forest::new();
        forest.plan.prove_login = true;
        forest.servers_say = Some(Box::new(move |ask| {
            let is_first = ask.to.host == "ex01.contoso.com";
            let facts = match &ask.what {
                Question::SmtpSession(_) if [465, 587].contains(&ask.to.port) => {
                    Facts::SmtpSession(session(Vec::new()))
                }
                Question::SmtpLogin(_) => Facts::SmtpLogin(smtp_login(if is_first { smtp } else { WELL })),
                Question::HttpsGet(_) => Facts::HttpsGet(answer(401, "Negotiate, NTLM")),
                Question::HttpLogin(_) => {
                    let (status, is_proven, error) = if is_first { web } else { WELL_ON_WEB };
                    Facts::HttpLogin(HttpLoginReply { answer: answer(status, "Negotiate (token)"), is_proven, error })
                }
                _ => return None,
            };
            Some(Reply { facts: Some(facts), end: End::Ok })
        }));
        forest
    }

    /// The logons that were asked for: `587 SMTPSVC/ex01.contoso.com`.
    pub(crate) fn logons(evidence: &Evidence) -> Vec<String> {
        let one = |ask: &Ask| match &ask.what {
            Question::SmtpLogin(SmtpLogin { spn, .. }) | Question::HttpLogin(HttpLogin { spn, .. }) => {
                Some(format!("{} {spn}", ask.to.port))
            }
            _ => None,
        };
        evidence.iter().filter_map(|observation| one(&observation.ask)).collect()
    }

    fn smtp_login((code, is_proven, error): Said) -> SmtpLoginReply {
        let logon = [("AUTH GSSAPI", 334), ("(token)", 334), ("", 334), ("(token)", code)];
        let logon = logon.map(|(command, code)| exchange(command, &[&format!("{code} words")]));
        SmtpLoginReply { session: session(logon.into()), is_proven, error }
    }

    fn session(logon: Vec<Exchange>) -> SmtpReply {
        let mut exchanges = vec![
            exchange("", &["220 mail Microsoft ESMTP MAIL Service ready"]),
            exchange("EHLO me", &["250-mail", "250 STARTTLS"]),
            exchange("STARTTLS", &["220 go"]),
            exchange("EHLO me", &["250-mail", "250 AUTH GSSAPI NTLM LOGIN"]),
        ];
        exchanges[3].is_inside = true;
        exchanges.extend(logon);
        SmtpReply { exchanges, injected: Raw::default(), tls: Some(TlsSeen::default()) }
    }

    fn exchange(command: &str, lines: &[&str]) -> Exchange {
        let lines = lines.iter().map(ToString::to_string).collect();
        Exchange { command: command.to_string(), span: SPAN, lines, is_inside: false }
    }

    fn answer(status: u16, ways: &str) -> HttpsReply {
        let fields = vec![("www-authenticate".to_string(), ways.to_string())];
        HttpsReply {
            tls: TlsSeen::default(),
            answer: Some(HttpAnswer { span: SPAN, status, fields, body: Raw::default() }),
        }
    }

    #[test]
    fn ways_to_log_on_may_share_a_field() {
        assert!(offers_negotiate("NTLM, negotiate"));
        assert!(!offers_negotiate("NTLM") && !offers_negotiate("Basic realm=\"Negotiate\""));
    }
}
