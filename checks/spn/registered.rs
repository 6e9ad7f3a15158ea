//! `spn-registered`: a name that nobody holds gets no ticket.

use crate::{
    facts::spn::{Spn, class},
    model::{
        accounts::{Accounts, customary, needed},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
        organisation::ExchangeServer,
        principals::{Principals, beside, needs_of, of_peers},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Registered;

static META: Meta = Meta {
    id: "spn-registered",
    area: "spn",
    title: "SPNs are registered",
    question: "Is the SPN by which peers ask for each server registered on an account, and are the customary ones?",
    healthy: "an account holds it",
    why: "Before a server hands mail over, it asks a KDC for a ticket for SMTPSVC/<SERVER>. What no account holds, no KDC gives a ticket for, and HOST does not stand for it as it does for HTTP.",
    remedy: &[
        "On any machine of the domain, as an administrator of it: setspn -C -S SMTPSVC/<SERVER'S FULL NAME> <DOMAIN>\\<SERVER>",
        "Check: setspn -L <SERVER>, and: setspn -Q SMTPSVC/<SERVER'S FULL NAME>",
    ],
    references: &["Microsoft KB 979174, step 3", "MS-DRSR section 4.1.4.2.14", "setspn (Microsoft Learn)"],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "MSExchangeTransport event 2017",
        "KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN (7)",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Trace, Basis::Lab],
};

impl Check for Registered {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        needs_of(&of_peers(estate, subject), estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let accounts = Accounts::seen(estate, evidence);
        let principals = Principals::new(estate, evidence, &accounts);
        let judged = principals.peers().flat_map(|host| judge_host(host, &principals, estate));
        judged.chain(beside(&META, &of_peers(estate, subject), estate, evidence)).collect()
    }
}

fn subject(host: &str) -> Subject {
    Subject::Spn(needed(host).to_string())
}

fn judge_host(host: &str, principals: &Principals<'_>, estate: &Estate) -> Vec<Finding> {
    let needed = needed(host);
    let is_of_2010 = estate.organisation.servers.get(host).is_some_and(ExchangeServer::is_of_2010);
    // What 2010 registered hung on its roles; of all of them only the mail's are sure (KB 979174, step 3).
    let is_customary = |spn: &Spn| !is_of_2010 || [class::SMTP, class::SMTPSVC].contains(&spn.class.as_str());
    let others = customary(host).into_iter().filter(|spn| *spn != needed && is_customary(spn));
    let others: Vec<_> = others.map(|spn| judge_spn(&spn, host, Verdict::Warn, principals)).collect();
    [judge_spn(&needed, host, Verdict::Fail, principals)].into_iter().chain(others).collect()
}

fn judge_spn(spn: &Spn, host: &str, if_missing: Verdict, principals: &Principals<'_>) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, Subject::Spn(spn.to_string()), verdict, seen);
    let holders: Vec<&str> = principals.holders(spn).iter().map(|account| account.name.as_str()).collect();
    if !holders.is_empty() {
        return finding(Verdict::Pass, format!("on {}", holders.join(" and ")));
    }
    let Some(own) = principals.own(host).filter(|own| !own.spns.is_empty()) else {
        // A computer has a HOST at the least: where none is shown, they are hidden and not absent.
        let seen = match principals.own(host) {
            Some(own) => format!("no SPN of {} is shown to us, so nobody knows which it has", principals.describe(own)),
            None => "no account shows it, and the server's own account is not shown either".to_string(),
        };
        return finding(Verdict::Unknown, seen)
            .code("account-unread")
            .suspects(Trouble::Account(host.to_string()))
            .remedy("Log on as somebody who may read the account, and run again. What it has:")
            .remedy(format!("    setspn -Q {spn}"));
    };
    let finding = finding(if_missing, "on no account of the forest".to_string())
        .code("missing")
        .expected(format!("on the server's own account {}", own.name))
        .is(Trouble::SpnWrong(spn.to_string()));
    let rivals = principals.rivals(host);
    if !rivals.is_empty() {
        return principals.tell_apart(finding, host, &rivals);
    }
    finding
        .remedy("Register it; that takes effect when controllers have passed it on to one another:")
        .remedy(principals.give(&spn.to_string(), own))
        .remedy(format!("    setspn -Q {spn}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{plan::ServerRole, testing::Forest};

    #[test]
    fn a_server_of_stock_has_all() {
        let forest = Forest::new();
        forest.assert_steady(&Registered);
        assert_eq!(forest.troubles(&Registered), Vec::<String>::new());
        let passed = forest.words(&Registered, |verdict| verdict == Verdict::Pass);
        assert!(passed.contains(&"SMTPSVC/ex01.contoso.com pass -".to_string()), "{passed:?}");
    }

    #[test]
    fn what_is_missing_fails_where_peers_ask_for_it() {
        let mut forest = Forest::new();
        forest.take("EX02", "SmtpSvc/ex02.contoso.com");
        forest.take("EX02", "SMTP/EX02");
        assert_eq!(forest.troubles(&Registered), ["SMTP/ex02 warn missing", "SMTPSVC/ex02.contoso.com fail missing"]);
        let finding = forest.finding(&Registered, "SMTPSVC/ex02.contoso.com");
        assert!(
            finding.remedy.contains(&"    setspn -C -S SMTPSVC/ex02.contoso.com CONTOSO\\EX02".to_string()),
            "{finding:?}"
        );
    }

    #[test]
    fn what_is_elsewhere_is_not_missing() {
        let mut forest = Forest::new();
        forest.take("EX02", "SmtpSvc/ex02.contoso.com");
        forest.user("svc-relay", &[("servicePrincipalName", &["SMTPSVC/EX02.contoso.com"])]);
        assert_eq!(forest.troubles(&Registered), Vec::<String>::new());
    }

    #[test]
    fn what_is_hidden_is_not_missing() {
        let mut forest = Forest::new();
        forest.set("EX02", "servicePrincipalName", &[]);
        let troubles = forest.troubles(&Registered);
        assert!(!troubles.is_empty() && troubles.iter().all(|trouble| trouble.ends_with("unknown account-unread")));
    }

    #[test]
    fn of_2010_only_the_mails_are_customary() {
        let mut forest = Forest::new();
        forest.exchange_server(
            "EX10",
            &[("serialNumber", &["Version 14.3 (Build 30123.4)"]), ("msExchCurrentServerRoles", &["32"])],
        );
        forest.computer("EX10", &[("dNSHostName", &["ex10.contoso.com"]), ("servicePrincipalName", &["HOST/EX10"])]);
        let troubles = forest.troubles(&Registered);
        assert_eq!(troubles.len(), 4, "{troubles:?}");
    }

    #[test]
    fn who_is_no_peer_is_skipped() {
        let mut forest = Forest::new();
        forest.planned("edge01.contoso.com", ServerRole::Edge);
        forest.planned("balancer.contoso.com", ServerRole::Mailbox);
        forest.exchange_server("EX09", &[("msExchCurrentServerRoles", &["4096"])]);
        let skipped = forest.words(&Registered, |verdict| verdict == Verdict::Skip);
        assert_eq!(
            skipped,
            ["SMTPSVC/balancer.contoso.com skip -", "edge01.contoso.com skip -", "ex09.contoso.com skip -"]
        );
        assert_eq!(forest.troubles(&Registered), Vec::<String>::new());
    }

    #[test]
    fn an_unread_catalog_is_one_unknown() {
        let mut forest = Forest::new();
        forest.silent.insert(3268);
        assert_eq!(forest.troubles(&Registered), ["estate unknown -"]);
        forest.silent.insert(389);
        assert_eq!(forest.troubles(&Registered), ["estate unknown -"]);
    }

    #[test]
    fn a_refused_password_is_one_unknown() {
        let mut forest = Forest::new();
        forest.planned("ex01.contoso.com", ServerRole::Mailbox);
        forest.refuses = true;
        let words = forest.troubles(&Registered);
        assert!(words == ["SMTPSVC/ex01.contoso.com unknown -", "estate unknown -"], "{words:?}");
    }
}
