//! `spn-unique`: of a name that two accounts hold, a KDC knows nothing.

use crate::{
    facts::spn::{self, Spn},
    model::{
        accounts::{Account, Accounts, customary, is_told, needed, search_of_name, short_name, web},
        census,
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
        principals::{Principals, Question, beside, needs_of, of_peers, purge, web_names},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Unique;

static META: Meta = Meta {
    id: "spn-unique",
    area: "spn",
    title: "SPNs are on one account only",
    question: "Does no second account of the forest hold an SPN of a server, or of a name that web clients use?",
    healthy: "one account holds it, letter case aside",
    why: "For an SPN that two accounts hold a KDC answers as if there were none, and writes event 11. Disabled accounts count, and so does what is left of a conflict. setspn refuses to make one; two controllers at once, scripts and migrations do not. With --spn-scan forest every SPN is compared, as setspn -X -F does: who watches over the directory sees one search of one global catalog (port 3268 or 3269) from this machine, by the user of --user, below the base \"\" with the filter (servicePrincipalName=*) for servicePrincipalName and objectGUID, a thousand objects a page; and a few of those that collide, by objectGUID, fifty at a time.",
    remedy: &[
        "Take it from the wrong account, never from the server's own: setspn -U -D <SPN> <DOMAIN>\\<USER>, or of a computer: setspn -C -D <SPN> <DOMAIN>\\<COMPUTER>",
        "Check in the whole forest: setspn -F -Q <SPN>",
    ],
    references: &[
        "MS-ADTS section 3.1.1.5.1.3",
        "MS-ADTS section 3.1.1.13.6",
        "Kerberos KDC event 11 (Microsoft Learn)",
        "setspn (Microsoft Learn)",
    ],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "MSExchangeTransport event 2017",
        "KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN (7)",
        "KDC event 11",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

/// On krbtgt of every domain from its beginning, for whoever asks that domain's own KDC. Nothing is ever to be taken from krbtgt.
const OF_EVERY_DOMAIN: &str = "kadmin/changepw";

impl Check for Unique {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let needs = needs_of(&questions(estate, evidence), estate, evidence).into_iter();
        needs.chain(census::needs(estate, evidence)).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let accounts = Accounts::seen(estate, evidence);
        let principals = Principals::new(estate, evidence, &accounts);
        let questions = questions(estate, evidence);
        let watched = watched(&principals, &questions, estate, evidence);
        let shared = || principals.shared().filter(|(key, _)| *key != OF_EVERY_DOMAIN);
        let keys: BTreeSet<_> = shared().map(|(key, _)| key).collect();
        let unshared = watched.iter().filter(|(key, _)| !keys.contains(key.as_str()));
        // Of customary ones only what somebody holds: what is missing is another check's to tell.
        let is_asked = |spn: &Spn| questions.iter().any(|(about, _)| *about == Subject::Spn(spn.to_string()));
        let alone = unshared.filter(|(_, (spn, _))| is_asked(spn) || !principals.holders(spn).is_empty());
        let alone = alone.map(|(_, (spn, _))| judge_alone(spn, &principals));
        let shared = shared().map(|(key, holders)| {
            let (spn, host) = watched.get(key).map_or((None, None), |(spn, host)| (Some(spn), host.as_deref()));
            judge_shared(&spn.map_or_else(|| spelling(key, holders), ToString::to_string), host, holders, &principals)
        });
        let findings = alone.chain(shared).chain(beside(&META, &questions, estate, evidence)).collect();
        census::join(findings, judge_census(estate, evidence))
    }
}

/// How far the census came, if one was wanted. What it found is told by SPN.
fn judge_census(estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let pass = || {
        let scanned = census::scanned(estate, evidence)?;
        Some(Finding::new(&META, Subject::Estate, Verdict::Pass, census::compared(scanned)))
    };
    census::unread(&META, estate, evidence).or_else(pass)
}

fn questions(estate: &Estate, evidence: &Evidence) -> Vec<Question> {
    let names = web_names(estate, evidence).into_iter();
    let names = names.map(|name| (Subject::Spn(web(&name).to_string()), search_of_name(&name)));
    of_peers(estate, |host| Subject::Spn(needed(host).to_string())).into_iter().chain(names).collect()
}

/// Every SPN of which all holders are told, by its key, and whose it is.
fn watched(
    principals: &Principals<'_>,
    questions: &[Question],
    estate: &Estate,
    evidence: &Evidence,
) -> BTreeMap<String, (Spn, Option<String>)> {
    let mut watched = BTreeMap::new();
    for host in principals.peers() {
        let all = customary(host).into_iter().chain([web(host), web(short_name(host))]);
        watched.extend(all.map(|spn| (spn.key(), (spn, Some(host.to_string())))));
    }
    let is_all_told = |name: &String| {
        let subject = Subject::Spn(web(name).to_string());
        questions.iter().any(|(about, search)| *about == subject && is_told(search, estate, evidence))
    };
    let names = web_names(estate, evidence).into_iter().filter(is_all_told);
    watched.extend(names.map(|name| (web(&name).key(), (web(&name), None))));
    watched
}

/// As the first of those who hold it spells it.
fn spelling(key: &str, holders: &[&Account]) -> String {
    let spelt = holders.iter().flat_map(|account| &account.spns).find(|held| spn::key(held) == key);
    spelt.map_or_else(|| key.to_string(), Clone::clone)
}

fn judge_alone(spn: &Spn, principals: &Principals<'_>) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, Subject::Spn(spn.to_string()), verdict, seen);
    match principals.holders(spn) {
        [holder] => finding(Verdict::Pass, format!("on {} alone", holder.name)),
        _ => finding(Verdict::Skip, "on no account".to_string()),
    }
}

/// The needed SPN fails where it is shared; of all others nothing between servers hangs on.
fn judge_shared(spn: &str, host: Option<&str>, holders: &[&Account], principals: &Principals<'_>) -> Finding {
    let is_needed = host.is_some_and(|host| spn == needed(host).to_string());
    let verdict = if is_needed { Verdict::Fail } else { Verdict::Warn };
    let seen = format!("on {} accounts: {}", holders.len(), principals.describe_all(holders));
    let finding = Finding::new(&META, Subject::Spn(spn.to_string()), verdict, seen).code("duplicate");
    // Of an SPN of the web, `web-spn` knows how much hangs on it.
    let is_of_web = spn::key(spn).starts_with("http/");
    let trouble = Trouble::SpnWrong(spn.to_string());
    let finding = if is_of_web { finding.suspects(trouble) } else { finding.is(trouble) };
    let finding = if let Some(host) = host {
        mend(finding, spn, host, holders, principals)
    } else {
        // Of a name that no server has, one that is made for it may have it.
        let likely = if is_of_web { principals.likely_shared(holders) } else { None };
        principals.leave_to(finding, likely, spn, holders)
    };
    purge(finding.remedy(format!("    setspn -F -Q {}", principals.word(spn))))
}

fn mend(finding: Finding, spn: &str, host: &str, holders: &[&Account], principals: &Principals<'_>) -> Finding {
    let Some(own) = principals.own(host) else {
        return principals.leave_to(finding.suspects(Trouble::Account(host.to_string())), None, spn, holders);
    };
    let rivals = principals.rivals(host);
    if !rivals.is_empty() {
        return principals.tell_apart(finding, host, &rivals);
    }
    let finding = finding.expected(format!("on the server's own account {} alone", own.name));
    principals.leave_to(finding, Some(own), spn, holders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{plan::SpnScope, testing::Forest};

    #[test]
    fn two_spellings_on_one_account_are_no_duplicate() {
        let mut forest = Forest::new();
        forest.give("EX01", "SMTPSVC/EX01.CONTOSO.COM");
        forest.virtual_directory("EX01", "owa (Default Web Site)", Some("https://mail.contoso.com/owa"));
        forest.assert_steady(&Unique);
        assert_eq!(forest.troubles(&Unique), Vec::<String>::new());
        let passed = forest.words(&Unique, |verdict| verdict == Verdict::Pass);
        assert!(passed.contains(&"SMTPSVC/ex01.contoso.com pass -".to_string()), "{passed:?}");
    }

    #[test]
    fn two_holders_fail_whatever_the_letter_case() {
        let mut forest = Forest::new();
        forest.user("svc-relay", &[("servicePrincipalName", &["smtpsvc/EX01.contoso.com"])]);
        assert_eq!(forest.troubles(&Unique), ["SMTPSVC/ex01.contoso.com fail duplicate"]);
        let remedy = forest.finding(&Unique, "SMTPSVC/ex01.contoso.com").remedy;
        let commands: Vec<_> = remedy.iter().filter(|line| line.starts_with("    ")).map(|line| line.trim()).collect();
        assert_eq!(
            commands,
            [
                "setspn -U -D SMTPSVC/ex01.contoso.com CONTOSO\\svc-relay",
                "setspn -C -L CONTOSO\\EX01",
                "setspn -F -Q SMTPSVC/ex01.contoso.com",
                "klist -li 0x3e7 purge"
            ]
        );
    }

    #[test]
    fn nothing_is_taken_from_any_that_may_be_the_servers() {
        let mut forest = Forest::new();
        let needed = ("servicePrincipalName", &["SMTPSVC/ex02.contoso.com"][..]);
        forest.computer("EX02NEW", &[("dNSHostName", &["ex02.contoso.com"]), needed]);
        forest.user("svc-relay", &[needed]);
        assert_eq!(forest.troubles(&Unique), ["SMTPSVC/ex02.contoso.com fail duplicate"]);
        let remedy = forest.finding(&Unique, "SMTPSVC/ex02.contoso.com").remedy;
        assert!(!remedy.iter().any(|line| line.contains("-D") || line.contains("Remove")), "{remedy:?}");
        assert!(remedy.iter().any(|line| line.contains("CN=EX02NEW,")), "{remedy:?}");
    }

    #[test]
    fn of_a_common_name_only_the_account_made_for_it_is_spared() {
        let mut forest = Forest::new();
        forest.virtual_directory("EX01", "owa (Default Web Site)", Some("https://mail.contoso.com/owa"));
        let name = ("servicePrincipalName", &["HTTP/mail.contoso.com"][..]);
        forest.user("web1", &[name]);
        forest.user("web2", &[name]);
        let removals = |forest: &Forest| -> Vec<String> {
            let remedy = forest.finding(&Unique, "HTTP/mail.contoso.com").remedy;
            remedy.into_iter().filter(|line| line.contains(" -D ")).collect()
        };
        assert_eq!(removals(&forest), ["    setspn -D HTTP/mail.contoso.com <WRONG ACCOUNT>"]);
        forest.computer("EXCHASA", &[name]);
        assert_eq!(
            removals(&forest),
            ["web1", "web2"].map(|user| format!("    setspn -U -D HTTP/mail.contoso.com CONTOSO\\{user}"))
        );
    }

    #[test]
    fn disabled_accounts_and_what_is_left_of_conflicts_count() {
        let mut forest = Forest::new();
        forest.computer(
            "EX02\nCNF:2ad3a5e2-0e0a-4a64-9b3a-1d3c0e8ff0b1",
            &[("userAccountControl", &["4098"]), ("servicePrincipalName", &["SMTPSVC/ex02.contoso.com"])],
        );
        assert_eq!(forest.troubles(&Unique), ["SMTPSVC/ex02.contoso.com fail duplicate"]);
    }

    #[test]
    fn any_other_duplicate_is_a_warning() {
        let mut forest = Forest::new();
        forest.virtual_directory("EX01", "owa (Default Web Site)", Some("https://mail.contoso.com/owa"));
        for account in ["web1", "web2"] {
            forest.user(account, &[("servicePrincipalName", &["http/mail.contoso.com", "RELAY/x", "SMTP/EX01"])]);
        }
        assert_eq!(
            forest.troubles(&Unique),
            ["HTTP/mail.contoso.com warn duplicate", "RELAY/x warn duplicate", "SMTP/ex01 warn duplicate"]
        );
    }

    #[test]
    fn an_unread_catalog_is_one_unknown() {
        let mut forest = Forest::new();
        forest.silent.insert(3268);
        assert_eq!(forest.troubles(&Unique), ["estate unknown -"]);
        forest.plan.spn_scan = SpnScope::Forest;
        assert_eq!(forest.troubles(&Unique), ["estate unknown -"]);
    }

    /// Two accounts that no targeted search finds, and others that only seem to share something.
    fn shared_far_away() -> Forest {
        let mut forest = Forest::new();
        for user in ["sql1", "sql2"] {
            forest.user(user, &[("servicePrincipalName", &["MSSQLSvc/db.contoso.com:1433", &format!("X/{user}")])]);
        }
        forest.computer("PC1", &[("servicePrincipalName", &["HOST/pc1", "host/PC1", "TERMSRV/pc1"])]);
        forest.computer("PCL", &[("servicePrincipalName", &["HOST/pcl", "TERMSRV/pcl"])]);
        forest.user("web", &[("servicePrincipalName", &["http/pc1"])]);
        forest
    }

    #[test]
    fn a_census_finds_what_no_search_looks_for() {
        let mut forest = shared_far_away();
        assert_eq!(forest.troubles(&Unique), Vec::<String>::new());
        forest.plan.spn_scan = SpnScope::Forest;
        forest.assert_steady(&Unique);
        assert_eq!(forest.troubles(&Unique), ["MSSQLSvc/db.contoso.com:1433 warn duplicate"]);
        let estate = forest.finding(&Unique, "estate");
        assert_eq!(
            (estate.verdict, estate.seen.as_str()),
            (Verdict::Pass, "all 62 SPNs on 7 objects of the forest were compared")
        );
    }

    #[test]
    fn what_every_krbtgt_holds_is_no_duplicate() {
        let mut forest = Forest::new();
        for user in ["krbtgt", "krbtgt_28591"] {
            forest.user(user, &[("servicePrincipalName", &["kadmin/changepw"])]);
        }
        forest.plan.spn_scan = SpnScope::Forest;
        forest.assert_steady(&Unique);
        assert_eq!(forest.troubles(&Unique), Vec::<String>::new());
        assert!(!forest.words(&Unique, |_| true).iter().any(|word| word.contains("kadmin")));
    }

    #[test]
    fn what_a_server_needs_fails_in_a_census_too() {
        let mut forest = shared_far_away();
        forest.user("svc-relay", &[("servicePrincipalName", &["smtpsvc/EX01.contoso.com"])]);
        forest.plan.spn_scan = SpnScope::Forest;
        assert_eq!(
            forest.troubles(&Unique),
            ["MSSQLSvc/db.contoso.com:1433 warn duplicate", "SMTPSVC/ex01.contoso.com fail duplicate"]
        );
    }

    #[test]
    fn a_census_that_breaks_off_says_how_far_it_came() {
        let mut forest = shared_far_away();
        forest.plan.spn_scan = SpnScope::Forest;
        forest.breaks_off_after = Some(4);
        forest.assert_steady(&Unique);
        assert_eq!(forest.troubles(&Unique), ["MSSQLSvc/db.contoso.com:1433 warn duplicate", "estate unknown -"]);
        assert!(forest.finding(&Unique, "estate").seen.contains("on the first 4 objects"));
    }

    #[test]
    fn collisions_beyond_what_is_looked_up_are_said() {
        let mut forest = Forest::new();
        forest.plan.spn_scan = SpnScope::Forest;
        for number in 0..1002 {
            for twin in ["a", "b"] {
                forest.user(&format!("{twin}{number}"), &[("servicePrincipalName", &[&format!("X/{number}")])]);
            }
        }
        let troubles = forest.troubles(&Unique);
        assert_eq!(troubles.len(), 1001, "a thousand pairs, and what is said of all");
        assert!(forest.finding(&Unique, "estate").seen.contains("2 more sets"));
    }

    #[test]
    fn without_servers_there_is_a_census_all_the_same() {
        let mut forest = shared_far_away();
        forest.entries.retain(|entry| !entry.is_a("msExchExchangeServer") && !entry.shows("msExchServerSite"));
        assert_eq!(forest.words(&Unique, |_| true), ["estate skip -"]);
        forest.plan.spn_scan = SpnScope::Forest;
        assert_eq!(forest.words(&Unique, |_| true), ["MSSQLSvc/db.contoso.com:1433 warn duplicate", "estate pass -"]);
    }
}
