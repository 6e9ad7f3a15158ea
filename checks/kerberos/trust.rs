//! `kerberos-trust`: do tickets go from domain to domain where both hold Exchange servers?

use crate::{
    facts::{
        dns::is_host_name,
        kerberos::KrbError,
        net::{KERBEROS_PORT, Transport},
        ticket::{RealmKdc, ServiceTicket, TicketReply},
    },
    model::{
        accounts::Accounts,
        ask::Ask,
        check::{Check, Need},
        estate::Estate,
        evidence::{Answer, Evidence},
        finding::{Finding, Subject, Trouble, Verdict},
        kdcs::{Abroad, Chosen, Kdcs, of_realm},
        meta::{Basis, Fold, Meta, Tier},
        principals::{Principals, Question, needs_of, of_peers, servers_unread, untold},
        tickets::{
            Walk, WalkEnd, describe, gave_ticket_granting, is_systems_own, needs_of_kdcs, service_ticket,
            ticket_granting, walk,
        },
    },
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Trust;

static META: Meta = Meta {
    id: "kerberos-trust",
    area: "kerberos",
    title: "Tickets go between the domains of servers",
    question: "Do the KDCs of two domains that both hold Exchange servers give tickets for one another, both ways?",
    healthy: "each refers to the other, and can read what the other gives",
    why: "A server of one domain reaches a server of another by a ticket of its own KDC for the other's, made with the key that the two domains share. Where that key is not the same on both sides, or the trust is gone, mail between the domains is refused.",
    remedy: &[
        "See what both sides hold: nltest /domain_trusts /v; netdom trust <DOMAIN> /domain:<OTHER> /verify",
        "Two keys: netdom trust <DOMAIN> /domain:<OTHER> /reset, as an administrator of both",
        "No common encryption type: let the trust take AES: ksetup /setenctypeattr <OTHER> AES128-CTS-HMAC-SHA1-96 AES256-CTS-HMAC-SHA1-96",
    ],
    references: &[
        "RFC 4120 sections 1.2 and 3.3.3.2",
        "RFC 6806 section 8",
        "MS-KILE section 3.3.5.7",
        "MS-ADTS section 6.1.6.9.1",
    ],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "KRB_AP_ERR_MODIFIED (41)",
        "KRB_AP_ERR_BAD_INTEGRITY (31)",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec],
};

/// Codes of RFC 4120 section 7.5.9 by which a KDC says that it cannot read a ticket of another's.
const UNREADABLE: [i64; 2] = [31, 41];

/// The code by which a KDC says that there is no way to the other realm.
const NO_WAY: i64 = 7;

/// The code by which it says that there is none with AES, which is all that we offer: servers may still take RC4.
const NO_ETYPE: i64 = 14;

impl Check for Trust {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let mut needs = needs_of(&questions(estate), estate, evidence);
        let others = domains(estate, evidence).others;
        // Whoever has a ticket of this machine's cannot choose whom the system asks.
        if others.is_empty() || is_systems_own(estate) {
            return needs;
        }
        let kdcs = Kdcs::of(estate, evidence);
        needs.extend(
            needs_of_kdcs(&kdcs, &[Transport::Tcp], estate)
                .into_iter()
                .map(|need| Need { subject: Subject::Estate, ..need }),
        );
        let Some(kdc) = first(&kdcs, evidence) else { return needs };
        for other in &others {
            let Ways { there, back } = ways(&kdc, other, estate, evidence);
            let mut need = |subject: &Subject, ask| needs.push(Need { subject: subject.clone(), ask });
            let subject = Subject::Trust(estate.plan.domain.clone(), other.clone());
            there.asks.iter().for_each(|ask| need(&subject, ask.clone()));
            let subject = Subject::Trust(other.clone(), estate.plan.domain.clone());
            back.asks.iter().for_each(|ask| need(&subject, ask.clone()));
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let domains = domains(estate, evidence);
        let finding = |verdict, seen: String| Finding::new(&META, Subject::Estate, verdict, seen);
        // One word for all that the directory did not tell.
        let untold = || {
            let first = untold(&META, &questions(estate), estate, evidence).into_iter().next()?;
            Some(Finding { speaks_for: Vec::new(), ..first })
        };
        let mut findings: Vec<_> = servers_unread(&META, estate, evidence).or_else(untold).into_iter().collect();
        if domains.others.is_empty() {
            if findings.is_empty() {
                let seen = format!("no Exchange server is known outside {}", estate.plan.domain);
                findings.push(finding(Verdict::Skip, seen));
            }
            return findings;
        }
        if is_systems_own(estate) {
            findings
                .push(finding(Verdict::Skip, "with --logon ticket the system chooses its KDCs by itself".to_string()));
            return findings;
        }
        let kdcs = Kdcs::of(estate, evidence);
        let kdc = first(&kdcs, evidence);
        for other in &domains.others {
            let subjects = [
                Subject::Trust(estate.plan.domain.clone(), other.clone()),
                Subject::Trust(other.clone(), estate.plan.domain.clone()),
            ];
            match &kdc {
                Some(kdc) => findings.extend(judge_ways(subjects, kdc, other, &domains, estate, evidence)),
                None => findings.extend(subjects.map(|subject| nobody(subject, &kdcs, estate))),
            }
        }
        findings
    }
}

fn questions(estate: &Estate) -> Vec<Question> {
    of_peers(estate, |_| Subject::Estate)
}

/// The first that gives tickets at all. None before all before it have answered, so that one alone is ever asked for more.
fn first(kdcs: &Kdcs, evidence: &Evidence) -> Option<Chosen> {
    let is_open = |kdc: &&Chosen| !evidence.holds(&ticket_granting(kdc, Transport::Tcp));
    let gave = |kdc: &Chosen| gave_ticket_granting(kdc, Transport::Tcp, evidence);
    let first = kdcs.chosen.iter().find(|kdc| gave(kdc) || is_open(kdc))?;
    gave(first).then(|| first.clone())
}

/// The domains of peers' accounts.
struct Domains {
    /// Is there one in the plan's own?
    is_ours_among: bool,
    others: BTreeSet<String>,
}

fn domains(estate: &Estate, evidence: &Evidence) -> Domains {
    let accounts = Accounts::seen(estate, evidence);
    let principals = Principals::new(estate, evidence, &accounts);
    let all: BTreeSet<String> = principals
        .peers()
        .filter_map(|host| principals.own(host)?.domain())
        .filter(|name| is_host_name(name))
        .collect();
    let is_ours_among = all.contains(&estate.plan.domain);
    Domains { is_ours_among, others: all.into_iter().filter(|domain| *domain != estate.plan.domain).collect() }
}

/// To the other domain, and from there back.
struct Ways<'e> {
    there: Walk<'e>,
    back: Back<'e>,
}

struct Back<'e> {
    asks: Vec<Ask>,
    abroad: Abroad,
    answer: Answer<'e, TicketReply>,
}

fn ways<'e>(kdc: &Chosen, other: &str, estate: &Estate, evidence: &'e Evidence) -> Ways<'e> {
    let realm = other.to_uppercase();
    let there = walk(kdc, &format!("krbtgt/{realm}"), estate, evidence);
    if !matches!(there.end, WalkEnd::Granted(_)) {
        return Ways { there, back: Back { asks: Vec::new(), abroad: Abroad::Untold, answer: Answer::NotAsked } };
    }
    let (mut asks, abroad) = of_realm(&realm, estate, evidence);
    let mut answer = Answer::NotAsked;
    if let Abroad::At(at) = &abroad {
        let path: Vec<RealmKdc> = there.path.iter().chain([at]).cloned().collect();
        let ask = service_ticket(kdc, &format!("krbtgt/{}", estate.plan.domain.to_uppercase()), Transport::Tcp, &path);
        answer = evidence.answer::<ServiceTicket>(&ask);
        asks.push(ask);
    }
    Ways { there, back: Back { asks, abroad, answer } }
}

fn nobody(subject: Subject, kdcs: &Kdcs, estate: &Estate) -> Finding {
    let seen = format!("no KDC of {} that was asked gave a ticket", estate.plan.domain);
    let finding = Finding::new(&META, subject, Verdict::Unknown, seen).suspects(Trouble::Credential);
    kdcs.candidates.iter().fold(finding, |finding, host| suspect_way(finding, host))
}

fn suspect_way(finding: Finding, host: &str) -> Finding {
    finding.suspects(Trouble::HostDark(host.to_string())).suspects(Trouble::PortShut(Subject::Port(
        host.to_string(),
        KERBEROS_PORT,
        Transport::Tcp,
    )))
}

fn judge_ways(
    [there, back]: [Subject; 2],
    kdc: &Chosen,
    other: &str,
    domains: &Domains,
    estate: &Estate,
    evidence: &Evidence,
) -> Vec<Finding> {
    let ours = &estate.plan.domain;
    let ways = ways(kdc, other, estate, evidence);
    let host = &kdc.kdc.host;
    // Where only one of the two holds servers, no mail goes this way; but whoever looks does.
    let fail = if domains.is_ours_among { Verdict::Fail } else { Verdict::Warn };
    let finding = |subject: &Subject, verdict, seen: String| Finding::new(&META, subject.clone(), verdict, seen);
    // What is not known of the one way is not known of the other.
    let unknown = |seen: String| suspect_way(finding(&there, Verdict::Unknown, seen), host).speaks_for(back.clone());
    let refused = |subject: &Subject, who: &str, error: &KrbError| {
        let is_unreadable = UNREADABLE.contains(&error.code);
        let verdict = match error.code {
            NO_ETYPE => Verdict::Warn,
            code if is_unreadable || code == NO_WAY => fail,
            _ => Verdict::Unknown,
        };
        let finding = finding(subject, verdict, format!("{who}: {}", describe(error)));
        if error.code == NO_ETYPE {
            let (at, trusted) = if *subject == there { (ours.as_str(), other) } else { (other, ours.as_str()) };
            return allow_aes(finding, at, trusted).code("etype");
        }
        mend(finding, ours, other).code(if is_unreadable { "unreadable" } else { "refused" })
    };
    let given = format!("{host} gives a ticket for {other}");
    let unseen = match &ways.there.end {
        WalkEnd::Granted(_) => None,
        WalkEnd::Refused(error) => return [refused(&there, host, error).speaks_for(back.clone())].into(),
        WalkEnd::Barred(wanted, error) => Some(format!("on the way, for {wanted}, {}", describe(error))),
        WalkEnd::Loop(realm) => Some(format!("the way leads back to {realm}")),
        WalkEnd::TooFar => Some("the way leads through too many realms".to_string()),
        WalkEnd::Lost(realm, why) => Some(format!("the way leads through {realm}; {why}")),
        WalkEnd::Missed(miss) => Some(format!("{host}: {miss}")),
        WalkEnd::Untold => Some("the run ended before it was told".to_string()),
    };
    if let Some(unseen) = unseen {
        return [unknown(unseen)].into();
    }
    let at = match &ways.back.abroad {
        Abroad::At(at) => at,
        Abroad::Untold => return [unknown(format!("{given}; the run ended before a KDC of it was known"))].into(),
        Abroad::Nowhere(why) => {
            let seen = format!("{given}, and whether it is taken there could not be seen: {why}");
            return [unknown(seen).suspects(Trouble::Name(other.to_string()))].into();
        }
    };
    let is_of_theirs = |reply: &TicketReply| reply.last().is_some_and(|hop| hop.realm.eq_ignore_ascii_case(&at.realm));
    let last = match &ways.back.answer {
        Answer::Told(reply, None) if is_of_theirs(reply) => reply.last(),
        _ => None,
    };
    match last.map(|hop| (hop.grant(), hop.error())) {
        Some((Some(_), _)) => [
            finding(&there, Verdict::Pass, format!("{given}, and {} takes it", at.host)),
            finding(&back, Verdict::Pass, format!("{} gives a ticket for {ours}", at.host)),
        ]
        .into(),
        Some((None, Some(error))) if UNREADABLE.contains(&error.code) => {
            [refused(&there, &at.host, &error).speaks_for(back.clone())].into()
        }
        Some((None, Some(error))) if [NO_WAY, NO_ETYPE].contains(&error.code) => [
            finding(&there, Verdict::Pass, format!("{given}, and {} takes it", at.host)),
            refused(&back, &at.host, &error),
        ]
        .into(),
        Some((None, Some(error))) => [unknown(format!("{given}; {}: {}", at.host, describe(&error)))].into(),
        Some((None, None)) | None => {
            let why = ways.back.answer.miss().map_or("nothing that can be read".to_string(), ToString::to_string);
            [suspect_way(unknown(format!("{given}; of {} came: {why}", at.host)), &at.host)].into()
        }
    }
}

/// The trust is an object of the domain whose KDC refuses, and bears the other's name.
fn allow_aes(finding: Finding, at: &str, trusted: &str) -> Finding {
    finding
        .remedy(format!("On a controller of {at}, as an administrator, let the trust take AES:"))
        .remedy(format!("    ksetup /setenctypeattr {trusted} AES128-CTS-HMAC-SHA1-96 AES256-CTS-HMAC-SHA1-96"))
}

/// How both sides show what they hold. Names are as DNS can have them: they come from distinguished names.
fn mend(finding: Finding, ours: &str, other: &str) -> Finding {
    finding
        .remedy("As an administrator of both domains, see whether both sides hold the same:")
        .remedy(format!("    netdom trust {ours} /domain:{other} /verify"))
        .remedy(format!("    nltest /sc_query:{other}"))
        .remedy("If not, give them a new key:")
        .remedy(format!("    netdom trust {ours} /domain:{other} /reset"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{
        Forest,
        KdcSays::{Error, Nothing, Refers},
    };

    const OURS: &str = "krbtgt/CONTOSO.COM";
    const THEIRS: &str = "krbtgt/CHILD.CONTOSO.COM";
    const THERE: &str = "contoso.com -> child.contoso.com";
    const BACK: &str = "child.contoso.com -> contoso.com";
    const DC1: &str = "dc1.contoso.com";
    const DC9: &str = "dc9.child.contoso.com";

    fn with_child() -> Forest {
        let mut forest = Forest::new();
        forest.object("EX02").dn = "CN=EX02,CN=Computers,DC=child,DC=contoso,DC=com".to_string();
        forest.name(DC9);
        forest
    }

    #[test]
    fn one_domain_has_no_trust_to_judge() {
        let forest = Forest::new();
        forest.assert_steady(&Trust);
        assert_eq!(forest.words(&Trust, |_| true), ["estate skip -"]);
    }

    #[test]
    fn both_ways_pass() {
        let forest = with_child();
        forest.assert_steady(&Trust);
        assert_eq!(forest.words(&Trust, |_| true), [format!("{BACK} pass -"), format!("{THERE} pass -")]);
    }

    #[test]
    fn a_way_through_another_realm_is_one() {
        let mut forest = with_child();
        forest.kdc_says(DC1, THEIRS, Refers("ROOT.EXAMPLE"));
        forest.name("dc5.root.example");
        forest.assert_steady(&Trust);
        assert_eq!(forest.words(&Trust, |_| true), [format!("{BACK} pass -"), format!("{THERE} pass -")]);
    }

    #[test]
    fn what_is_refused_or_cannot_be_read_fails() {
        let mut forest = with_child();
        forest.kdc_says(DC1, THEIRS, Error(7));
        forest.assert_steady(&Trust);
        assert_eq!(forest.words(&Trust, |_| true), [format!("{THERE} fail refused")]);
        for code in [31, 41] {
            let mut forest = with_child();
            forest.kdc_says(DC9, OURS, Error(code));
            assert_eq!(forest.words(&Trust, |_| true), [format!("{THERE} fail unreadable")]);
        }
        let mut forest = with_child();
        forest.kdc_says(DC9, OURS, Error(7));
        assert_eq!(forest.words(&Trust, |_| true), [format!("{BACK} fail refused"), format!("{THERE} pass -")]);
    }

    #[test]
    fn a_trust_without_aes_is_a_warning_on_the_side_that_says_so() {
        let commands = |forest: &Forest, subject| {
            let remedy = forest.finding(&Trust, subject).remedy;
            remedy.into_iter().filter(|line| line.starts_with("    ")).collect::<Vec<_>>()
        };
        let command =
            |name| format!("    ksetup /setenctypeattr {name} AES128-CTS-HMAC-SHA1-96 AES256-CTS-HMAC-SHA1-96");
        let mut forest = with_child();
        forest.kdc_says(DC1, THEIRS, Error(14));
        forest.assert_steady(&Trust);
        assert_eq!(forest.troubles(&Trust), [format!("{THERE} warn etype")]);
        assert_eq!(commands(&forest, THERE), [command("child.contoso.com")]);
        let mut forest = with_child();
        forest.kdc_says(DC9, OURS, Error(14));
        assert_eq!(forest.words(&Trust, |_| true), [format!("{BACK} warn etype"), format!("{THERE} pass -")]);
        assert_eq!(commands(&forest, BACK), [command("contoso.com")]);
    }

    #[test]
    fn where_the_first_kdc_gives_nothing_the_next_is_asked() {
        let mut forest = with_child();
        forest.controller("dc2", crate::model::testing::SITE, true);
        forest.kdc_says(DC1, OURS, Error(29));
        forest.assert_steady(&Trust);
        assert_eq!(forest.troubles(&Trust), Vec::<String>::new());
        assert!(forest.finding(&Trust, THERE).seen.starts_with("dc2.contoso.com"));
    }

    #[test]
    fn where_no_mail_goes_a_refusal_is_a_warning() {
        let mut forest = with_child();
        forest.object("EX01").dn = "CN=EX01,CN=Computers,DC=child,DC=contoso,DC=com".to_string();
        forest.kdc_says(DC1, THEIRS, Error(7));
        assert_eq!(forest.troubles(&Trust), [format!("{THERE} warn refused")]);
    }

    #[test]
    fn what_cannot_be_reached_is_unknown() {
        let mut forest = with_child();
        forest.kdc_says(DC9, OURS, Nothing);
        assert_eq!(forest.troubles(&Trust), [format!("{THERE} unknown -")]);
        forest.names.remove(DC9);
        assert_eq!(forest.troubles(&Trust), [format!("{THERE} unknown -")]);
        let mut forest = with_child();
        forest.kdc_says(DC9, OURS, Error(29));
        assert_eq!(forest.troubles(&Trust), [format!("{THERE} unknown -")]);
        forest.kdc_says(DC1, OURS, Nothing);
        assert!(forest.troubles(&Trust).contains(&format!("{THERE} unknown -")));
    }

    #[test]
    fn an_unread_catalog_is_unknown() {
        let mut forest = Forest::new();
        forest.silent.insert(3268);
        let troubles = forest.troubles(&Trust);
        assert_eq!(troubles, ["estate unknown -"]);
    }
}
