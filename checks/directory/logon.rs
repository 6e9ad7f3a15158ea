//! `directory-logon`: does the directory answer whoever was stated?

use crate::facts::search::DirectorySearch;
use crate::model::{
    check::{Check, Need},
    estate::Estate,
    evidence::{Evidence, Miss, Reason, Stage},
    finding::{Finding, Subject, Trouble, Verdict},
    informants::{Found, Holding, estate_needs, found, unread},
    meta::{Basis, Fold, Meta, Tier},
    organisation::searches,
    plan::{Logon, LogonWay},
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// See the module.
pub struct LogOn;

static META: Meta = Meta {
    id: "directory-logon",
    area: "directory",
    title: "The directory can be read",
    question: "Does a controller take the stated logon, so that accounts and connectors can be looked at?",
    healthy: "a controller takes the logon",
    why: "SPNs, accounts and connectors decide between the causes of a refused authentication, and no controller shows them to strangers. One try is made, at one controller; a refused password is never tried again.",
    remedy: &[
        "Any user of the domain will do, without rights beyond that: exchange-preflight run --user reader@<DOMAIN>",
        "Where a controller wants another way: --logon kerberos (its default; port 88 and 389), --logon ldaps (port 636), --logon starttls, --logon ticket (who is logged on here)",
        "How many refused passwords the domain counts for the account: Get-ADUser reader -Properties badPwdCount,LockedOut",
    ],
    references: &["MS-ADTS section 5.1.1", "RFC 4513", "RFC 4752", "RFC 4120 section 7.5.9"],
    symptoms: &[],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for LogOn {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let first = estate.informants.first().map(|first| (searches::domain(first), Holding::Domain));
        first.map(|search| estate_needs(&[search], estate, evidence)).unwrap_or_default()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let Some(logon) = &estate.plan.logon else { return Vec::new() };
        let search = estate.informants.first().map(searches::domain);
        let found = search.as_ref().map_or(Found::Nobody, |search| found(search, Holding::Domain, estate, evidence));
        let finding = match found {
            Found::Told(_, None, at) => {
                let seen = format!("{} is logged on to {at} {}", who(logon), by(logon.way));
                let finding = |verdict, seen: String| Finding::new(&META, Subject::Estate, verdict, seen);
                if shows_nothing(estate, evidence) {
                    finding(Verdict::Unknown, format!("{seen}, and is shown no Exchange server"))
                        .code("no-servers")
                        .expected("the directory shows the Exchange servers of the forest to any user")
                        .remedy("Is Exchange in another forest? Or may this user not read it? As an administrator of Exchange:")
                        .remedy("    Get-ExchangeServer | fl Name,Fqdn,ServerRole,AdminDisplayVersion")
                        .remedy("If that lists servers, let a user read them who may: the role View-Only Organization Management.")
                } else {
                    finding(Verdict::Pass, seen)
                }
            }
            Found::Missed(miss, at) if miss.stage == Stage::Bind && !matches!(miss.reason, Reason::NoLogon(_)) => {
                refused(logon, miss, &at.to_string())
            }
            _ => {
                let searches: Vec<_> = search.into_iter().map(|search| (search, Holding::Domain)).collect();
                let Some(finding) = nobody(&searches, estate, evidence) else { return Vec::new() };
                another_way(logon, finding).is(Trouble::DirectoryUnread)
            }
        };
        vec![finding]
    }
}

/// The search for servers was answered in full, and found none: "not shown" looks like "not there".
fn shows_nothing(estate: &Estate, evidence: &Evidence) -> bool {
    let search = estate.informants.first().map(searches::servers);
    let told = search.and_then(|search| found(&search, Holding::Domain, estate, evidence).complete());
    told.is_some_and(|told| told.entries.is_empty())
}

/// No controller came as far as a logon.
fn nobody(searches: &[(DirectorySearch, Holding)], estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    if !searches.is_empty() {
        return unread(&META, searches, estate, evidence);
    }
    let domain = &estate.plan.domain;
    let seen = format!("no controller of {domain} answered as one, so that nobody could log on");
    let finding = Finding::new(&META, Subject::Estate, Verdict::Unknown, seen).suspects(Trouble::Name(domain.clone()));
    Some(estate.controllers.keys().fold(finding, |finding, host| finding.suspects(Trouble::HostDark(host.clone()))))
}

/// The password was not judged, so that another way may be tried.
fn another_way(logon: &Logon, finding: Finding) -> Finding {
    match logon.way {
        LogonWay::Kerberos | LogonWay::Ticket => finding
            .remedy("The password was refused by nobody. Kerberos takes ports 88 and 389; where 636 is open, this takes no other:")
            .remedy("    exchange-preflight run --user <USER> --logon ldaps"),
        LogonWay::Ldaps | LogonWay::Starttls => finding
            .remedy("The password was refused by nobody. Where ports 88 and 389 are open, no certificate is needed:")
            .remedy("    exchange-preflight run --user <USER> --logon kerberos"),
    }
}

fn refused(logon: &Logon, miss: &Miss, at: &str) -> Finding {
    Finding::new(&META, Subject::Estate, Verdict::Unknown, format!("{} at {at}: {miss}", who(logon)))
        .code("refused")
        .is(Trouble::Credential)
        .remedy(
            "Nothing more was tried, and nothing more is known of accounts, SPNs and connectors. With the right one:",
        )
        .remedy(match logon.way {
            LogonWay::Ticket => "    kinit <USER>, then run again".to_string(),
            way => format!("    exchange-preflight run --user <USER> --logon {}", way.word()),
        })
}

fn who(logon: &Logon) -> String {
    logon.user.clone().unwrap_or_else(|| "whoever is logged on here".to_string())
}

fn by(way: LogonWay) -> &'static str {
    match way {
        LogonWay::Kerberos => "by Kerberos",
        LogonWay::Ldaps => "over LDAPS",
        LogonWay::Starttls => "over StartTLS",
        LogonWay::Ticket => "by a ticket",
    }
}
