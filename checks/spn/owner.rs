//! `spn-owner`: a ticket for a server is encrypted for whoever holds the SPN, and nobody else can read it.

use crate::{
    facts::spn::Spn,
    model::{
        accounts::{Account, Accounts, customary, needed},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
        principals::{Principals, beside, needs_of, of_peers, purge},
    },
};
use alloc::{format, string::ToString, vec::Vec};

/// See the module.
pub struct Owner;

static META: Meta = Meta {
    id: "spn-owner",
    area: "spn",
    title: "SPNs are on the server's own account",
    question: "Does each server's own computer account hold its SPNs, and is it in use?",
    healthy: "the server's own computer account holds it",
    why: "A KDC encrypts the ticket for the account that holds the SPN. Where that is a service account, an old computer or another server, the server that is asked cannot read it and refuses its peers.",
    remedy: &[
        "Take it from the wrong account, never from the server's own: setspn -U -D SMTPSVC/<SERVER'S FULL NAME> <DOMAIN>\\<USER>, or of a computer: setspn -C -D SMTPSVC/<SERVER'S FULL NAME> <DOMAIN>\\<COMPUTER>",
        "Then give it to the server: setspn -C -S SMTPSVC/<SERVER'S FULL NAME> <DOMAIN>\\<SERVER>",
        "Peers keep their tickets for hours: klist -li 0x3e7 purge, on each of them, or wait.",
    ],
    references: &["Microsoft KB 979174, step 3", "MS-KILE section 3.3.5.1.1", "setspn (Microsoft Learn)"],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "MSExchangeTransport event 2017",
        "KRB_AP_ERR_MODIFIED (41)",
        "Kerberos event 4",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

impl Check for Owner {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        needs_of(&of_peers(estate, subject), estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let accounts = Accounts::seen(estate, evidence);
        let principals = Principals::new(estate, evidence, &accounts);
        let judged = principals.peers().flat_map(|host| judge_host(host, &principals));
        judged.chain(beside(&META, &of_peers(estate, subject), estate, evidence)).collect()
    }
}

fn subject(host: &str) -> Subject {
    Subject::Spn(needed(host).to_string())
}

fn judge_host(host: &str, principals: &Principals<'_>) -> Vec<Finding> {
    let needed = needed(host);
    // Of the others only those that one account holds: what nobody holds, or two, is another check's to tell.
    let others = customary(host).into_iter().filter(|spn| *spn != needed && principals.holders(spn).len() == 1);
    let others: Vec<_> = others.map(|spn| judge_spn(&spn, host, Verdict::Warn, principals)).collect();
    [judge_spn(&needed, host, Verdict::Fail, principals)].into_iter().chain(others).collect()
}

fn judge_spn(spn: &Spn, host: &str, if_foreign: Verdict, principals: &Principals<'_>) -> Finding {
    let finding = |verdict, seen: &str| Finding::new(&META, Subject::Spn(spn.to_string()), verdict, seen);
    let holder = match principals.holders(spn) {
        [] => return finding(Verdict::Skip, "on no account: spn-registered tells of it"),
        [only] => *only,
        _ => return finding(Verdict::Skip, "on more than one account: spn-unique tells of it"),
    };
    let seen = format!("on {}", principals.describe(holder));
    let Some(own) = principals.own(host) else {
        return finding(Verdict::Unknown, &format!("{seen}; the server's own account is not shown"))
            .code("no-account")
            .suspects(Trouble::Account(host.to_string()))
            .remedy(format!("See first which account {host} has: server-account tells how. If it is not that one:"))
            .remedy(format!("    setspn -D {spn} <WRONG ACCOUNT>"));
    };
    if own.guid != holder.guid {
        return judge_foreign(spn, host, holder, own, finding(if_foreign, &seen), principals);
    }
    if own.is_disabled == Some(true) {
        // That the account is disabled, `server-account` says.
        return finding(if_foreign, &seen)
            .code("holder-disabled")
            .is(Trouble::SpnWrong(spn.to_string()))
            .suspects(Trouble::Account(host.to_string()))
            .remedy(format!("    Enable-ADAccount -Identity {}", principals.identity(own)));
    }
    finding(Verdict::Pass, &format!("on {}", own.name))
}

fn judge_foreign(
    spn: &Spn,
    host: &str,
    holder: &Account,
    own: &Account,
    finding: Finding,
    principals: &Principals<'_>,
) -> Finding {
    let finding = finding.expected(format!("on the server's own account {}", own.name));
    let rivals = principals.rivals(host);
    if rivals.iter().any(|rival| rival.guid == holder.guid) {
        let seen = format!("{}; it and {} both say that they are {host}", finding.seen, principals.describe(own));
        let finding = Finding { verdict: finding.verdict.min(Verdict::Unknown), seen, ..finding }.code("two-accounts");
        return principals.tell_apart(finding, host, &rivals);
    }
    let finding = finding.code("foreign").is(Trouble::SpnWrong(spn.to_string()));
    if !rivals.is_empty() {
        return principals.tell_apart(finding, host, &rivals);
    }
    purge(principals.leave_to(finding, Some(own), &spn.to_string(), &[holder]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::Forest;
    use alloc::string::String;

    const NEEDED: &str = "SMTPSVC/ex02.contoso.com";

    fn moved_to(account: &str, attributes: &[(&str, &[&str])]) -> Forest {
        let mut forest = Forest::new();
        forest.take("EX02", "SmtpSvc/ex02.contoso.com");
        forest.user(account, attributes);
        forest.give(account, "SmtpSvc/ex02.contoso.com");
        forest
    }

    #[test]
    fn each_server_holds_its_own() {
        let forest = Forest::new();
        forest.assert_steady(&Owner);
        assert_eq!(forest.troubles(&Owner), Vec::<String>::new());
    }

    #[test]
    fn on_a_foreign_account_it_fails_in_use_or_not() {
        for control in ["512", "514"] {
            let forest = moved_to("svc-relay", &[("userAccountControl", &[control])]);
            assert_eq!(forest.troubles(&Owner), ["SMTPSVC/ex02.contoso.com fail foreign"]);
            let remedy = forest.finding(&Owner, NEEDED).remedy;
            let commands: Vec<_> = remedy.iter().filter(|line| line.contains("setspn")).collect();
            assert_eq!(
                commands,
                [
                    "    setspn -U -D SMTPSVC/ex02.contoso.com CONTOSO\\svc-relay",
                    "    setspn -C -S SMTPSVC/ex02.contoso.com CONTOSO\\EX02"
                ]
            );
        }
    }

    #[test]
    fn a_name_that_is_no_word_enters_no_command() {
        let forest = moved_to("svc; rm", &[]);
        let remedy = forest.finding(&Owner, NEEDED).remedy;
        let end = " -Server contoso.com -Remove @{servicePrincipalName='SMTPSVC/ex02.contoso.com'}";
        let is_by_guid = |line: &String| line.starts_with("    Set-ADObject ") && line.ends_with(end);
        assert!(remedy.iter().any(is_by_guid), "{remedy:?}");
        assert!(remedy.iter().any(|line| line.contains("CN=svc; rm,")), "{remedy:?}");
    }

    #[test]
    fn the_servers_own_account_may_be_disabled() {
        let mut forest = Forest::new();
        forest.set("EX02", "userAccountControl", &["4098"]);
        let troubles = forest.troubles(&Owner);
        assert!(troubles.contains(&"SMTPSVC/ex02.contoso.com fail holder-disabled".to_string()), "{troubles:?}");
    }

    #[test]
    fn without_the_servers_account_nobody_can_tell() {
        let mut forest = moved_to("svc-relay", &[]);
        forest.entries.retain(|entry| !entry.dn.starts_with("CN=EX02,CN=Computers"));
        assert_eq!(forest.troubles(&Owner), ["SMTPSVC/ex02.contoso.com unknown no-account"]);
    }

    #[test]
    fn of_two_that_claim_to_be_the_server_nobody_can_tell() {
        let mut forest = Forest::new();
        forest.take("EX02", "SmtpSvc/ex02.contoso.com");
        forest.computer(
            "EX02OLD",
            &[("dNSHostName", &["ex02.contoso.com"]), ("servicePrincipalName", &["SMTPSVC/ex02.contoso.com"])],
        );
        assert_eq!(forest.troubles(&Owner), ["SMTPSVC/ex02.contoso.com unknown two-accounts"]);
        let remedy = forest.finding(&Owner, NEEDED).remedy;
        assert!(
            remedy.contains(&"    nltest /server:ex02.contoso.com /sc_query:contoso.com".to_string()),
            "{remedy:?}"
        );
        assert!(!remedy.iter().any(|line| line.contains("setspn") || line.contains("Remove")), "{remedy:?}");
    }

    #[test]
    fn a_customary_one_elsewhere_is_a_warning() {
        let mut forest = Forest::new();
        forest.take("EX02", "SMTP/EX02");
        forest.user("svc-relay", &[("servicePrincipalName", &["smtp/ex02"])]);
        assert_eq!(forest.troubles(&Owner), ["SMTP/ex02 warn foreign"]);
    }

    #[test]
    fn what_nobody_holds_or_two_is_told_elsewhere() {
        let mut forest = Forest::new();
        forest.take("EX02", "SmtpSvc/ex02.contoso.com");
        assert_eq!(forest.finding(&Owner, NEEDED).verdict, Verdict::Skip);
        forest.user("svc-relay", &[("servicePrincipalName", &[NEEDED])]);
        forest.give("EX02", NEEDED);
        assert_eq!(forest.finding(&Owner, NEEDED).verdict, Verdict::Skip);
    }
}
