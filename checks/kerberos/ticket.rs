//! `kerberos-ticket`: do the KDCs give the tickets without which no server hands mail to another?

use crate::{
    facts::{
        account::EncryptionTypes,
        kerberos::KrbError,
        net::{KERBEROS_PORT, Transport},
        spn::Spn,
        ticket::{Grant, Hop, ServiceTicket, TicketGranting, etype},
    },
    model::{
        accounts::{Account, Accounts, is_told, search_of_host, search_of_keys},
        check::{Check, Need},
        estate::Estate,
        evidence::{Answer, Evidence, Miss, Reason, Stage},
        finding::{Finding, Place, Subject, Trouble, Verdict},
        informants::{self, Holding, found},
        kdcs::{Chosen, Kdcs},
        meta::{Basis, Fold, Meta, Tier},
        principals::{Principals, bystanders, servers_unread, strangers},
        tickets::{
            EtypeName, TRANSPORTS, WalkEnd, describe, gave_ticket_granting, granting, is_systems_own, needed_spns,
            needs_of_kdcs, service_ticket, ticket_granting, walk,
        },
    },
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Ticket;

static META: Meta = Meta {
    id: "kerberos-ticket",
    area: "kerberos",
    title: "KDCs give tickets for servers",
    question: "Does every KDC near the servers give a ticket for the SPN of each, with AES and over TCP?",
    healthy: "every KDC of the servers' sites gives a ticket, encrypted with AES",
    why: "A server that hands mail over first asks a KDC of its site for a ticket for SMTPSVC/<SERVER>. What the KDC answers decides, whatever the directory shows: one that lags behind, has no key of the account or finds the SPN twice gives none.",
    remedy: &[
        "Error 7, missing or on two accounts: setspn -F -Q SMTPSVC/<SERVER'S FULL NAME>",
        "Error 14, no key for AES: Get-ADComputer <SERVER> -Properties msDS-SupportedEncryptionTypes,pwdLastSet; on the server: Reset-ComputerMachinePassword -Server <CONTROLLER> -Credential (Get-Credential)",
        "KDCs that do not agree: repadmin /showrepl <CONTROLLER>",
        "See it as a server does: klist get SMTPSVC/<SERVER'S FULL NAME>",
    ],
    references: &[
        "RFC 4120 sections 3.1, 3.3 and 7.5.9",
        "RFC 6806 section 8",
        "MS-KILE section 3.3.5.7",
        "MS-ADTS section 3.1.1.13.6",
        "Microsoft KB 5021131",
    ],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "MSExchangeTransport event 2017",
        "KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN (7)",
        "KDC_ERR_ETYPE_NOSUPP (14)",
        "KDC event 11",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Trace, Basis::Lab],
};

/// Codes of RFC 4120 section 7.5.9 that rules tell apart.
mod code {
    pub(super) const SERVICE_UNKNOWN: i64 = 7;
    pub(super) const NO_ETYPE: i64 = 14;
    pub(super) const CLIENT_REVOKED: i64 = 18;
    pub(super) const SERVICE_REVOKED: i64 = 19;
    pub(super) const KEY_EXPIRED: i64 = 23;
    pub(super) const PREAUTH_REQUIRED: i64 = 25;
    pub(super) const UNAVAILABLE: i64 = 29;
    pub(super) const TICKET_EXPIRED: i64 = 32;
    pub(super) const TICKET_NOT_YET: i64 = 33;
    pub(super) const SKEW: i64 = 37;
    pub(super) const TOO_BIG: i64 = 52;
    pub(super) const GENERIC: i64 = 60;
}

impl Check for Ticket {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let spns = needed_spns(estate, evidence);
        // Nobody is asked for what nobody needs.
        if spns.is_empty() {
            return Vec::new();
        }
        let kdcs = Kdcs::of(estate, evidence);
        let mut needs = needs_of_kdcs(&kdcs, &TRANSPORTS, estate);
        let granting = granting(&kdcs, estate, evidence);
        for (spn, host) in &spns {
            let mut need = |ask| needs.push(Need { subject: subject(spn), ask });
            let mut is_weak = false;
            for (kdc, transports) in &granting {
                if transports.contains(&Transport::Tcp) {
                    let walked = walk(kdc, &spn.to_string(), estate, evidence);
                    is_weak |= matches!(walked.end, WalkEnd::Granted(grant) if grant.etype == etype::RC4);
                    walked.asks.into_iter().for_each(&mut need);
                }
                // Datagrams fail by their size, which is much the same for all: one controller of a site shows it of all.
                let is_first_spn = spns.first_key_value().is_some_and(|(first, _)| first == spn);
                if transports.contains(&Transport::Udp) && (kdc.is_first || is_first_spn) {
                    need(service_ticket(kdc, &spn.to_string(), Transport::Udp, &[]));
                }
            }
            if is_weak {
                needs.extend(needs_of_types(spn, host, estate, evidence));
            }
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let kdcs = Kdcs::of(estate, evidence);
        let accounts = Accounts::seen(estate, evidence);
        let principals = Principals::new(estate, evidence, &accounts);
        let (spns, granting) = (needed_spns(estate, evidence), granting(&kdcs, estate, evidence));
        let judge = Judge { estate, evidence, principals: &principals, kdcs: &kdcs, spns: &spns, granting: &granting };
        let (told, untold): (Vec<_>, Vec<_>) =
            spns.iter().map(|(spn, host)| (spn, judge.spn(spn, host))).partition(|(_, finding)| finding.is_some());
        let mut findings: Vec<_> = told.into_iter().filter_map(|(_, finding)| finding).collect();
        if !spns.is_empty() && !is_systems_own(estate) {
            let ports = kdcs.chosen.iter().flat_map(|kdc| TRANSPORTS.map(|transport| judge.port(kdc, transport)));
            findings.extend(ports.flatten());
        }
        let whole = judge.whole(spns.is_empty(), !untold.is_empty());
        findings.push(untold.into_iter().fold(whole, |finding, (spn, _)| finding.speaks_for(subject(spn))));
        findings.extend(strangers(estate, evidence).into_iter().map(|host| {
            let seen = "the directory knows no Exchange server of this name";
            Finding::new(&META, Subject::Host(host.to_string()), Verdict::Skip, seen)
        }));
        findings.extend(bystanders(&META, estate));
        findings
    }
}

fn subject(spn: &Spn) -> Subject {
    Subject::Spn(spn.to_string())
}

/// What tells which types the account names: read only where a ticket makes one ask.
fn needs_of_types(spn: &Spn, host: &str, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let search = search_of_host(host);
    let mut needs: Vec<_> = informants::needs(&subject(spn), &search, Holding::Catalog, estate, evidence).collect();
    let accounts = Accounts::seen(estate, evidence);
    let principals = Principals::new(estate, evidence, &accounts);
    let own = principals.own(host).filter(|_| is_told(&search, estate, evidence));
    if let Some(own) = own.filter(|own| own.domain().as_ref() == Some(&estate.plan.domain)) {
        needs.extend(informants::needs(&subject(spn), &search_of_keys(&own.dn), Holding::Domain, estate, evidence));
    }
    needs
}

struct Judge<'a> {
    estate: &'a Estate,
    evidence: &'a Evidence,
    principals: &'a Principals<'a>,
    kdcs: &'a Kdcs,
    spns: &'a BTreeMap<Spn, String>,
    granting: &'a [(Chosen, Vec<Transport>)],
}

/// What one KDC said of an SPN.
struct Said {
    kdc: Chosen,
    verdict: Verdict,
    code: Option<&'static str>,
    seen: String,
    is_grant: bool,
}

/// The weightiest first, where several KDCs fail in several ways.
const CODES: [&str; 10] =
    ["differs", "unknown", "etype", "revoked", "clock", "unavailable", "way", "loop", "rc4", "udp-silent"];

impl Judge<'_> {
    /// Who was asked. Where nobody gives a ticket, it speaks for all that could not be asked.
    fn whole(&self, is_nothing_needed: bool, is_anything_untold: bool) -> Finding {
        let finding = |verdict, seen: String| Finding::new(&META, Subject::Estate, verdict, seen);
        let domain = &self.estate.plan.domain;
        if let Some(unread) = servers_unread(&META, self.estate, self.evidence).filter(|_| is_nothing_needed) {
            return unread;
        }
        if is_nothing_needed {
            return finding(Verdict::Skip, "no Exchange server is known for which tickets are needed".to_string());
        }
        if !self.kdcs.is_settled {
            let seen = "the run ended before it was known which KDCs to ask".to_string();
            return finding(Verdict::Unknown, seen).suspects(Trouble::Name(domain.clone()));
        }
        let chosen = &self.kdcs.chosen;
        if chosen.is_empty() {
            let seen = format!("no controller of {domain} that could be asked for tickets answers as a KDC over TCP");
            let finding = finding(Verdict::Unknown, seen).suspects(Trouble::Name(domain.clone()));
            return self.kdcs.candidates.iter().fold(finding, |finding, host| suspect_way(finding, host));
        }
        let named: Vec<_> = chosen.iter().map(|one| one.kdc.host.as_str()).collect();
        if is_anything_untold {
            let seen = format!("none of the KDCs that were asked gave a ticket: {}", named.join(", "));
            let finding = finding(Verdict::Unknown, seen).suspects(Trouble::Credential);
            return chosen.iter().fold(finding, |finding, one| suspect_way(finding, &one.kdc.host));
        }
        if is_systems_own(self.estate) {
            return finding(Verdict::Pass, "the KDC was the choice of this machine".to_string());
        }
        let more = match self.kdcs.left_out {
            0 => String::new(),
            more => format!("; {more} more of these sites were not asked for any"),
        };
        finding(Verdict::Pass, format!("asked for tickets: {}{more}", named.join(", ")))
    }

    /// The ticket-granting ticket of one KDC over one transport. `None` where it was not asked.
    fn port(&self, kdc: &Chosen, transport: Transport) -> Option<Finding> {
        let answer = self.evidence.answer::<TicketGranting>(&ticket_granting(kdc, transport));
        let to = kdc.endpoint();
        let tcp = || self.evidence.answer::<TicketGranting>(&ticket_granting(kdc, Transport::Tcp));
        let gives_over_tcp = gave_ticket_granting(kdc, Transport::Tcp, self.evidence);
        let subject = Subject::Port(to.host.clone(), to.port, transport);
        let finding = |verdict, seen: String| Finding::new(&META, subject.clone(), verdict, seen);
        let hops = answer.facts().map(|reply| reply.hops.as_slice()).unwrap_or_default();
        let too_big = hops.iter().any(|hop| hop.error().is_some_and(|error| error.code == code::TOO_BIG));
        let last = hops.last();
        let is_udp = transport == Transport::Udp;
        let judged = match (answer.miss(), last.and_then(Hop::grant), last.and_then(Hop::error)) {
            (None, Some(grant), _) => {
                let way = if too_big { ", over TCP, for it does not fit into a datagram (52)" } else { "" };
                finding(
                    Verdict::Pass,
                    format!("a ticket-granting ticket in {}{}{way}", EtypeName(grant.etype), life(grant)),
                )
            }
            // What is too big for a datagram has TCP alone: Windows goes there at once, others after this answer.
            _ if too_big && gives_over_tcp => {
                finding(Verdict::Pass, "the ticket does not fit into a datagram (52); over TCP it is given".to_string())
            }
            (miss, ..) if too_big => {
                let why = miss.map(|miss| format!(": {miss}")).unwrap_or_default();
                let seen = format!("the ticket does not fit into a datagram (52), and over TCP it cannot be had{why}");
                finding(Verdict::Fail, seen)
                    .code("too-big")
                    .expected("TCP 88 is open for what does not fit into a datagram")
                    .suspects(Trouble::HostDark(to.host.clone()))
                    .suspects(Trouble::PortShut(Subject::Port(to.host.clone(), to.port, Transport::Tcp)))
                    .remedy(format!("Open TCP port 88 to {} in the firewalls on the way:", to.host))
                    .remedy(format!("    Test-NetConnection {} -Port 88", to.host))
            }
            (_, _, Some(error)) if error.code != code::PREAUTH_REQUIRED => {
                refused(kdc, finding, &error, is_udp && gives_over_tcp)
            }
            (Some(miss), ..) => self.missed(kdc, finding, miss, is_udp && tcp().facts().is_some()),
            _ if answer == Answer::NotAsked => return None,
            _ => finding(Verdict::Unknown, "an answer from which nothing can be told".to_string()),
        };
        Some(judged.at(to.address))
    }

    fn missed(
        &self,
        kdc: &Chosen,
        finding: impl Fn(Verdict, String) -> Finding,
        miss: &Miss,
        answers_over_tcp: bool,
    ) -> Finding {
        let to = kdc.endpoint();
        let seen = format!("no ticket-granting ticket: {miss}");
        match (&miss.reason, miss.stage) {
            _ if miss.is_no_route() => finding(Verdict::Skip, seen),
            (Reason::ServerSaid(_), Stage::Bind) => finding(Verdict::Unknown, seen)
                .code("refused")
                .suspects(Trouble::Credential)
                .remedy("Nothing more was tried with this password. Run again with the right one, or as another user."),
            (Reason::Local(_) | Reason::Interrupted | Reason::ServerSaid(_) | Reason::NoLogon(_), _) => {
                suspect_way(finding(Verdict::Unknown, seen), &to.host).suspects(Trouble::Credential)
            }
            // Windows asks over TCP, as long as nobody has told it otherwise.
            _ if answers_over_tcp => {
                let is_read_only = self.estate.organisation.dsas.get(&to.host).is_some_and(|dsa| dsa.is_read_only);
                let verdict = if is_read_only { Verdict::Skip } else { Verdict::Warn };
                suspect_way(finding(verdict, seen), &to.host)
                    .code("udp-silent")
                    .suspects(Trouble::PortShut(Subject::Port(to.host.clone(), to.port, Transport::Udp)))
                    .remedy(format!(
                        "Only systems that begin with UDP wait for it. Open UDP port 88 to {} for them:",
                        to.host
                    ))
                    .remedy(format!("    portqry -n {} -p udp -e 88", to.host))
            }
            _ => suspect_way(finding(Verdict::Unknown, seen), &to.host)
                .suspects(Trouble::Credential)
                .remedy(format!("See from an Exchange server whether {} gives it tickets:", to.host))
                .remedy(format!("    nltest /server:{} /sc_query:{}", to.host, self.estate.plan.domain)),
        }
    }

    /// What all KDCs say of an SPN. `None` where none was asked.
    fn spn(&self, spn: &Spn, host: &str) -> Option<Finding> {
        let mut said: Vec<_> =
            self.granting.iter().filter_map(|(kdc, transports)| self.say(kdc, transports, spn, host)).collect();
        let is_anywhere = said.iter().any(|one| one.is_grant);
        for one in &mut said {
            match one.code {
                Some("unknown") if is_anywhere => one.code = Some("differs"),
                // Others can be asked instead.
                Some("unavailable") if is_anywhere => one.verdict = Verdict::Warn,
                _ => {}
            }
        }
        let verdict = said.iter().map(|one| one.verdict).max()?;
        let mut codes = CODES.into_iter();
        let code = codes.find(|code| said.iter().any(|one| one.verdict == verdict && one.code == Some(*code)));
        let mut by_word: BTreeMap<(core::cmp::Reverse<Verdict>, &str), Vec<&str>> = BTreeMap::new();
        for one in &said {
            by_word.entry((core::cmp::Reverse(one.verdict), &one.seen)).or_default().push(&one.kdc.kdc.host);
        }
        let seen = by_word.iter().map(|((_, seen), hosts)| format!("{}: {seen}", hosts.join(", ")));
        let mut finding = Finding::new(&META, subject(spn), verdict, seen.collect::<Vec<_>>().join("; "));
        finding.code = code;
        finding.places = said
            .iter()
            .map(|one| Place {
                vantage: None,
                address: Some(one.kdc.kdc.address),
                verdict: one.verdict,
                seen: one.seen.clone(),
            })
            .collect();
        Some(if verdict.is_trouble() { self.explain(finding, spn, host, &said) } else { finding })
    }

    /// `None` where it was not asked for this.
    fn say(&self, kdc: &Chosen, transports: &[Transport], spn: &Spn, host: &str) -> Option<Said> {
        let said =
            |verdict, code, seen: String, is_grant| Some(Said { kdc: kdc.clone(), verdict, code, seen, is_grant });
        let unknown = |code, seen| said(Verdict::Unknown, code, seen, false);
        if !transports.contains(&Transport::Tcp) {
            return None;
        }
        let walked = walk(kdc, &spn.to_string(), self.estate, self.evidence);
        let way: Vec<_> = walked.path.iter().map(|kdc| kdc.realm.as_str()).collect();
        let way = if way.is_empty() { String::new() } else { format!(", by way of {}", way.join(", ")) };
        match walked.end {
            WalkEnd::Granted(grant) => {
                let seen = format!("a ticket in {}{way}", EtypeName(grant.etype));
                let is_of_own = self.is_on_own_alone(spn, host);
                let is_weak = grant.etype == etype::RC4 && is_of_own && self.names_aes(host) == Some(true);
                match self.missed_datagram(kdc, spn) {
                    _ if is_weak => {
                        said(Verdict::Warn, Some("rc4"), format!("{seen}, although its account names AES"), true)
                    }
                    Some(miss) => said(Verdict::Warn, Some("udp-silent"), format!("{seen}; over UDP: {miss}"), true),
                    None => said(Verdict::Pass, None, seen, true),
                }
            }
            WalkEnd::Refused(error) => {
                let (verdict, code) = self.refusal(kdc, &error, spn, host);
                said(verdict, code, format!("{}{way}", describe(&error)), false)
            }
            WalkEnd::Barred(wanted, error) => unknown(Some("way"), format!("for {wanted}, {}{way}", describe(&error))),
            WalkEnd::Loop(realm) => {
                said(Verdict::Warn, Some("loop"), format!("it is sent back to the realm {realm}{way}"), false)
            }
            WalkEnd::TooFar => unknown(Some("way"), format!("it is sent on and on{way}")),
            WalkEnd::Lost(realm, why) => {
                unknown(Some("way"), format!("it is sent on to the realm {realm}{way}; {why}"))
            }
            WalkEnd::Missed(miss) => unknown(None, miss.to_string()),
            WalkEnd::Untold => unknown(None, "the run ended before it had answered".to_string()),
        }
    }

    fn missed_datagram(&self, kdc: &Chosen, spn: &Spn) -> Option<&Miss> {
        let ask = service_ticket(kdc, &spn.to_string(), Transport::Udp, &[]);
        let miss = self.evidence.answer::<ServiceTicket>(&ask).miss()?;
        matches!(miss.reason, Reason::Silent | Reason::Refused | Reason::Prohibited | Reason::Unreachable)
            .then_some(miss)
    }

    fn refusal(&self, kdc: &Chosen, error: &KrbError, spn: &Spn, host: &str) -> (Verdict, Option<&'static str>) {
        // A name that is only stated may be no member's of the domain: of such a one nobody can say that a ticket ought to be had.
        let fail = if self.estate.organisation.servers.contains_key(host) { Verdict::Fail } else { Verdict::Unknown };
        match error.code {
            code::SERVICE_UNKNOWN => (fail, Some("unknown")),
            code::NO_ETYPE => (fail, Some("etype")),
            code::TICKET_EXPIRED | code::TICKET_NOT_YET | code::SKEW => (fail, Some("clock")),
            // They speak of our own account as well as of the server's, as long as no other ticket shows that ours is in use.
            code::CLIENT_REVOKED | code::SERVICE_REVOKED | code::KEY_EXPIRED => {
                let is_ours_in_use = error.code == code::SERVICE_REVOKED || self.gives_others(kdc, spn);
                (if is_ours_in_use { fail } else { Verdict::Unknown }, Some("revoked"))
            }
            code::UNAVAILABLE | code::GENERIC => (Verdict::Unknown, Some("unavailable")),
            _ => (Verdict::Unknown, None),
        }
    }

    fn gives_others(&self, kdc: &Chosen, spn: &Spn) -> bool {
        let mut others = self.spns.keys().filter(|other| *other != spn);
        others.any(|other| {
            let walked = walk(kdc, &other.to_string(), self.estate, self.evidence);
            matches!(walked.end, WalkEnd::Granted(_))
        })
    }

    /// Is it for the server's own account? By another's key a ticket says nothing of what that account names: `spn-owner` tells of it.
    fn is_on_own_alone(&self, spn: &Spn, host: &str) -> bool {
        let own = self.principals.own(host).filter(|_| self.principals.rivals(host).is_empty());
        own.is_some_and(|own| matches!(self.principals.holders(spn), [holder] if holder.guid == own.guid))
    }

    /// Does the server's account name AES? `None` where it is not told.
    fn names_aes(&self, host: &str) -> Option<bool> {
        let own = self.principals.own(host)?;
        let found = found(&search_of_keys(&own.dn), Holding::Domain, self.estate, self.evidence);
        let entry = found.complete()?.entries.first()?;
        Some(EncryptionTypes(entry.number("msDS-SupportedEncryptionTypes")?).has_aes())
    }

    /// What may be behind it, and what to do.
    fn explain(&self, mut finding: Finding, spn: &Spn, host: &str, said: &[Said]) -> Finding {
        let spn_text = spn.to_string();
        let word = self.principals.word(&spn_text);
        for one in said.iter().filter(|one| one.verdict.is_trouble()) {
            let kdc = &one.kdc.kdc.host;
            match one.code {
                // What was answered has no cause in the way there, nor in our password.
                None | Some("udp-silent") => {
                    let udp = Subject::Port(kdc.clone(), KERBEROS_PORT, Transport::Udp);
                    finding = suspect_way(finding, kdc).suspects(Trouble::PortShut(udp)).suspects(Trouble::Credential);
                }
                Some("clock") => finding.suspects.push(Trouble::ClockOff(kdc.clone())),
                Some("unknown" | "differs") => {
                    // Changes may be missing here, or there.
                    for other in said.iter().filter(|other| other.is_grant).map(|other| &other.kdc.kdc.host) {
                        let links =
                            [Subject::Link(other.clone(), kdc.clone()), Subject::Link(kdc.clone(), other.clone())];
                        finding.suspects.extend(links.map(Trouble::LinkBroken));
                    }
                }
                _ => {}
            }
        }
        let own = self.principals.own(host);
        let about_account = [Trouble::SpnWrong(spn_text.clone()), Trouble::Account(host.to_string())];
        let holders = self.principals.holders(spn).iter().copied().chain(own);
        let about_values = holders.map(|account| Trouble::Disagreement(Subject::Account(account.name.clone())));
        match finding.code {
            Some("unknown") => {
                finding.suspects.extend(about_account.into_iter().chain(about_values));
                finding
                    .remedy("It is on no account, or on two. Which, this shows:")
                    .remedy(format!("    setspn -F -Q {word}"))
                    .remedy("See the refusal as a server does, on any of them:")
                    .remedy(format!("    klist get {word}"))
            }
            Some("differs") => {
                finding.suspects.extend(about_account.into_iter().chain(about_values));
                let finding = finding.remedy(
                    "The controllers do not hold the same. What each has, and what it last heard of the others:",
                );
                said.iter().fold(finding, |finding, one| {
                    let kdc = &one.kdc.kdc.host;
                    let finding = finding
                        .remedy(format!("    Get-ADObject -Server {kdc} -LDAPFilter '(servicePrincipalName={word})'"));
                    if one.is_grant { finding } else { finding.remedy(format!("    repadmin /showrepl {kdc}")) }
                })
            }
            Some("etype") => {
                finding.suspects.push(Trouble::NoKey(Subject::Host(host.to_string())));
                finding.suspects.extend(about_account);
                let finding = finding.expected("a ticket where AES alone is offered");
                self.renew_key(self.show_types(finding, own), host, said)
            }
            Some("rc4") => {
                finding.suspects.push(Trouble::NoKey(Subject::Host(host.to_string())));
                self.renew_key(self.show_types(finding, own), host, said)
            }
            Some("revoked") => {
                finding.suspects.extend(about_account);
                match own {
                    Some(own) => finding.remedy("See whether the account is in use:").remedy(format!(
                        "    Get-ADObject {} -Properties userAccountControl,accountExpires,pwdLastSet",
                        self.principals.identity(own)
                    )),
                    None => {
                        finding.remedy(format!("See whether the account that holds it is in use: setspn -F -Q {word}"))
                    }
                }
            }
            Some("clock") => said.iter().filter(|one| one.code == Some("clock")).fold(finding, |finding, one| {
                finding.remedy(format!("    w32tm /stripchart /computer:{} /samples:3 /dataonly", one.kdc.kdc.host))
            }),
            Some("unavailable") => said
                .iter()
                .filter(|one| one.code == Some("unavailable"))
                .fold(finding, |finding, one| finding.remedy(format!("    dcdiag /s:{}", one.kdc.kdc.host))),
            Some("way" | "loop") => finding
                .remedy("See on any server of the domain which way a ticket takes:")
                .remedy(format!("    klist get {word}"))
                .remedy(format!("    nltest /domain_trusts /server:{}", said[0].kdc.kdc.host)),
            _ => finding
                .remedy("See on any server of the domain what it is told:")
                .remedy(format!("    klist get {word}")),
        }
    }

    fn show_types(&self, finding: Finding, own: Option<&Account>) -> Finding {
        let Some(own) = own else { return finding };
        finding.remedy("Which types does its account name, and how old is its key?").remedy(format!(
            "    Get-ADObject {} -Properties msDS-SupportedEncryptionTypes,pwdLastSet",
            self.principals.identity(own)
        ))
    }

    fn renew_key(&self, finding: Finding, host: &str, said: &[Said]) -> Finding {
        let kdc = said.first().map_or(self.estate.plan.domain.as_str(), |one| one.kdc.kdc.host.as_str());
        finding
            .remedy(format!("If it names AES, it has no key for it: its password is from before. On {host}:"))
            .remedy(format!("    Reset-ComputerMachinePassword -Server {kdc} -Credential (Get-Credential)"))
    }
}

/// No answer may have its cause in the way there.
fn suspect_way(finding: Finding, host: &str) -> Finding {
    finding.suspects(Trouble::HostDark(host.to_string())).suspects(Trouble::PortShut(Subject::Port(
        host.to_string(),
        KERBEROS_PORT,
        Transport::Tcp,
    )))
}

fn life(grant: &Grant) -> String {
    let hours = grant.starts.zip(grant.ends).map(|(starts, ends)| ends.duration_since(starts).as_hours());
    hours.map(|hours| format!(", for {hours} h")).unwrap_or_default()
}

/// A KDC judged our logon. Of servers that says nothing, but where the KDC itself is ill.
fn refused(
    kdc: &Chosen,
    finding: impl Fn(Verdict, String) -> Finding,
    error: &KrbError,
    gives_over_tcp: bool,
) -> Finding {
    let host = &kdc.kdc.host;
    let at_most = if gives_over_tcp { Verdict::Warn } else { Verdict::Fail };
    let seen = format!("no ticket-granting ticket: {}", describe(error));
    match error.code {
        code::TICKET_EXPIRED | code::TICKET_NOT_YET | code::SKEW => finding(at_most, seen)
            .code("clock")
            .suspects(Trouble::ClockOff(host.clone()))
            .remedy(format!("    w32tm /stripchart /computer:{host} /samples:3 /dataonly")),
        code::UNAVAILABLE | code::GENERIC => finding(Verdict::Warn, seen)
            .code("unavailable")
            .suspects(Trouble::ClockOff(host.clone()))
            .remedy(format!("See whether {host} reaches its own directory and its partners:"))
            .remedy(format!("    dcdiag /s:{host}")),
        code::NO_ETYPE => finding(Verdict::Unknown.min(at_most), seen)
            .code("reader-etype")
            .remedy("The account that logs on has no key for AES, which is all that we offer. Give it a new password, or run as another user."),
        _ => finding(Verdict::Unknown.min(at_most), seen)
            .code("refused")
            .suspects(Trouble::Credential)
            .remedy("Run again with the right password, or as another user."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        plan::ServerRole,
        testing::{
            Forest,
            KdcSays::{Error, Nothing, Refers, Ticket as Gives, TooBig, TooBigAndShut},
            SITE,
        },
    };

    const SPN: &str = "SMTPSVC/ex02.contoso.com";
    const TGT: &str = "krbtgt/CONTOSO.COM";
    const DC1: &str = "dc1.contoso.com";
    const DC2: &str = "dc2.contoso.com";

    fn with_two() -> Forest {
        let mut forest = Forest::new();
        forest.controller("dc2", SITE, true);
        forest
    }

    #[test]
    fn healthy_servers_get_tickets_from_all() {
        let forest = with_two();
        forest.assert_steady(&Ticket);
        let words = forest.words(&Ticket, |_| true);
        assert_eq!(
            words,
            [
                "SMTPSVC/ex01.contoso.com pass -",
                "SMTPSVC/ex02.contoso.com pass -",
                "dc1.contoso.com:88 pass -",
                "dc1.contoso.com:88/udp pass -",
                "dc2.contoso.com:88 pass -",
                "dc2.contoso.com:88/udp pass -",
                "estate pass -",
            ]
        );
        let finding = forest.finding(&Ticket, SPN);
        assert_eq!(finding.seen, "dc1.contoso.com, dc2.contoso.com: a ticket in AES-256");
        assert_eq!(finding.places.len(), 2);
    }

    #[test]
    fn what_no_kdc_knows_fails_and_what_one_knows_differs() {
        let mut forest = with_two();
        forest.kdc_says(DC1, SPN, Error(7));
        assert_eq!(forest.troubles(&Ticket), [format!("{SPN} fail differs")]);
        forest.assert_steady(&Ticket);
        let finding = forest.finding(&Ticket, SPN);
        let link = Trouble::LinkBroken(Subject::Link(DC2.to_string(), DC1.to_string()));
        assert!(finding.suspects.contains(&link), "{:?}", finding.suspects);
        let query = format!("    Get-ADObject -Server {DC1} -LDAPFilter '(servicePrincipalName={SPN})'");
        assert!(finding.remedy.contains(&query), "{:?}", finding.remedy);
        forest.kdc_says(DC2, SPN, Error(7));
        assert_eq!(forest.troubles(&Ticket), [format!("{SPN} fail unknown")]);
        assert!(forest.finding(&Ticket, SPN).suspects.contains(&Trouble::SpnWrong(SPN.to_string())));
    }

    #[test]
    fn each_refusal_has_its_own_word() {
        let words = [
            (14, "fail etype"),
            (32, "fail clock"),
            (33, "fail clock"),
            (37, "fail clock"),
            (18, "fail revoked"),
            (23, "fail revoked"),
            (29, "unknown unavailable"),
            (60, "unknown unavailable"),
            (12, "unknown -"),
            (13, "unknown -"),
        ];
        for (code, word) in words {
            let mut forest = Forest::new();
            forest.kdc_says(DC1, SPN, Error(code));
            assert_eq!(forest.troubles(&Ticket), [format!("{SPN} {word}")], "{code}");
        }
        let mut forest = Forest::new();
        forest.kdc_says(DC1, SPN, Error(14));
        let no_key = Trouble::NoKey(Subject::Host("ex02.contoso.com".to_string()));
        assert!(forest.finding(&Ticket, SPN).suspects.contains(&no_key));
        forest.kdc_says(DC1, SPN, Error(37));
        assert!(forest.finding(&Ticket, SPN).suspects.contains(&Trouble::ClockOff(DC1.to_string())));
    }

    #[test]
    fn that_no_account_is_in_use_may_be_said_of_our_own() {
        let mut forest = Forest::new();
        forest.kdc_says(DC1, SPN, Error(18));
        forest.kdc_says(DC1, "SMTPSVC/ex01.contoso.com", Error(18));
        let troubles = forest.troubles(&Ticket);
        assert_eq!(troubles, ["SMTPSVC/ex01.contoso.com unknown revoked", "SMTPSVC/ex02.contoso.com unknown revoked"]);
    }

    #[test]
    fn a_kdc_that_is_ill_warns_where_another_gives() {
        let mut forest = with_two();
        forest.kdc_says(DC1, SPN, Error(29));
        assert_eq!(forest.troubles(&Ticket), [format!("{SPN} warn unavailable")]);
    }

    #[test]
    fn a_server_that_is_only_stated_fails_nothing() {
        let mut forest = Forest::new();
        forest.planned("balancer.contoso.com", ServerRole::Mailbox);
        assert_eq!(forest.troubles(&Ticket), Vec::<String>::new(), "the directory knows that it is none");
        forest.silent.insert(389);
        forest.kdc_says(DC1, "SMTPSVC/balancer.contoso.com", Error(7));
        assert_eq!(forest.troubles(&Ticket), ["SMTPSVC/balancer.contoso.com unknown unknown"]);
    }

    #[test]
    fn rc4_warns_where_the_account_names_aes() {
        let mut forest = Forest::new();
        forest.kdc_says(DC1, SPN, Gives(23));
        forest.assert_steady(&Ticket);
        assert_eq!(forest.troubles(&Ticket), [format!("{SPN} warn rc4")]);
        forest.take("EX02", "SmtpSvc/ex02.contoso.com");
        forest.user("svc-relay", &[("servicePrincipalName", &[SPN])]);
        assert_eq!(forest.troubles(&Ticket), Vec::<String>::new(), "it is for another's account");
        let mut forest = Forest::new();
        forest.kdc_says(DC1, SPN, Gives(23));
        for types in [&["4"][..], &[]] {
            forest.set("EX02", "msDS-SupportedEncryptionTypes", types);
            assert_eq!(forest.troubles(&Ticket), Vec::<String>::new(), "kerberos-encryption tells of it");
        }
        forest.silent.insert(3268);
        assert_eq!(forest.troubles(&Ticket), Vec::<String>::new(), "what it names is not known");
    }

    #[test]
    fn silence_over_udp_warns_and_what_is_too_big_goes_over_tcp() {
        let mut forest = Forest::new();
        forest.kdc_says_over(Transport::Udp, DC1, TGT, Nothing);
        assert_eq!(forest.troubles(&Ticket), ["dc1.contoso.com:88/udp warn udp-silent"]);
        forest.kdc_says_over(Transport::Udp, DC1, TGT, TooBig);
        assert_eq!(forest.troubles(&Ticket), Vec::<String>::new());
        assert!(forest.finding(&Ticket, "dc1.contoso.com:88/udp").seen.contains("(52)"));
        forest.kdc_says_over(Transport::Udp, DC1, TGT, TooBigAndShut);
        assert_eq!(forest.troubles(&Ticket), Vec::<String>::new(), "it was given over TCP");
        forest.kdc_says(DC1, TGT, Nothing);
        let troubles = forest.troubles(&Ticket);
        assert!(troubles.contains(&"dc1.contoso.com:88/udp fail too-big".to_string()), "{troubles:?}");
        let mut forest = Forest::new();
        forest.kdc_says_over(Transport::Udp, DC1, SPN, Nothing);
        assert_eq!(forest.troubles(&Ticket), [format!("{SPN} warn udp-silent")]);
    }

    #[test]
    fn a_refused_logon_is_unknown_and_says_nothing_of_servers() {
        for code in [6, 14, 18, 23, 24] {
            let mut forest = Forest::new();
            forest.kdc_says(DC1, TGT, Error(code));
            let troubles = forest.troubles(&Ticket);
            let rest = troubles.iter().filter(|trouble| !trouble.starts_with("dc1.contoso.com:88"));
            assert_eq!(rest.collect::<Vec<_>>(), ["estate unknown -"], "{code}");
            let all = forest.findings(&Ticket);
            let whole = all.iter().find(|finding| finding.subject == Subject::Estate).unwrap();
            assert_eq!(whole.speaks_for.len(), 2);
        }
        let mut forest = Forest::new();
        forest.refuses = true;
        assert_eq!(forest.troubles(&Ticket), ["estate unknown -"]);
    }

    #[test]
    fn a_kdc_that_is_ill_is_told_from_a_logon_that_is_refused() {
        for (code, word) in [(29, "warn unavailable"), (60, "warn unavailable"), (37, "fail clock")] {
            let mut forest = with_two();
            forest.kdc_says(DC1, TGT, Error(code));
            let udp = if code == 37 { "fail clock" } else { word };
            let expected = [format!("{DC1}:88 {word}"), format!("{DC1}:88/udp {udp}")];
            assert_eq!(forest.troubles(&Ticket), expected, "the other gives tickets");
        }
    }

    #[test]
    fn a_referral_is_followed_and_its_ends_are_told() {
        let mut forest = Forest::new();
        forest.kdc_says(DC1, SPN, Refers("CHILD.CONTOSO.COM"));
        assert_eq!(forest.troubles(&Ticket), [format!("{SPN} unknown way")], "DNS knows no KDC of it");
        forest.name("dc9.child.contoso.com");
        forest.assert_steady(&Ticket);
        assert_eq!(forest.troubles(&Ticket), Vec::<String>::new());
        assert!(forest.finding(&Ticket, SPN).seen.ends_with("by way of CHILD.CONTOSO.COM"));
        forest.kdc_says("dc9.child.contoso.com", SPN, Refers("contoso.com"));
        assert_eq!(forest.troubles(&Ticket), [format!("{SPN} warn loop")]);
        forest.kdc_says("dc9.child.contoso.com", SPN, Error(7));
        assert_eq!(forest.troubles(&Ticket), [format!("{SPN} fail unknown")]);
        forest.kdc_says(DC1, SPN, Refers("evil; rm\u{1b}"));
        assert_eq!(forest.troubles(&Ticket), [format!("{SPN} unknown way")]);
        assert!(!forest.finding(&Ticket, SPN).seen.contains('\u{1b}'));
    }

    #[test]
    fn the_kdcs_of_the_servers_sites_are_asked_and_no_more_than_a_few() {
        let mut forest = Forest::new();
        forest.controller("dc8", "Elsewhere", true);
        let asked = |forest: &Forest| forest.finding(&Ticket, "estate").seen;
        assert_eq!(asked(&forest), "asked for tickets: dc1.contoso.com");
        for number in 2..6 {
            forest.controller(&format!("dc{number}"), SITE, true);
        }
        let seen = "asked for tickets: dc1.contoso.com, dc2.contoso.com, dc3.contoso.com; 2 more of these sites were not asked for any";
        assert_eq!(asked(&forest), seen);
        forest.assert_steady(&Ticket);
        let mut forest = Forest::new();
        forest.controller("dc8", "Elsewhere", true);
        forest.silent.insert(88);
        forest.assert_steady(&Ticket);
        assert_eq!(asked(&forest), "asked for tickets: dc8.contoso.com", "its own site has none that answers");
    }

    #[test]
    fn without_a_kdc_or_a_server_nothing_is_asked() {
        let mut forest = Forest::new();
        forest.silent.insert(88);
        assert_eq!(forest.troubles(&Ticket), ["estate unknown -"]);
        let mut forest = Forest::new();
        forest.entries.retain(|entry| !entry.dn.contains("CN=Servers,CN=Group"));
        assert_eq!(forest.words(&Ticket, |_| true), ["estate skip -"]);
    }
}
