//! `web-spn`: front ends log on to back ends by HTTP/<server>, and clients to all of them by a common name.

use crate::{
    facts::spn::{Spn, class},
    model::{
        accounts::{Account, Accounts, is_told, search_of_name, users_of_namespace, web},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        informants::{Holding, needs},
        meta::{Basis, Fold, Meta, Tier},
        organisation::{Told, searches},
        principals::{Principals, Question, beside, needs_of, of_peers, purge, web_names},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct WebSpn;

static META: Meta = Meta {
    id: "web-spn",
    area: "web",
    title: "Web services have their SPNs",
    question: "Does HTTP/<SERVER> lead to the server's own account, and no name that web clients use to two accounts?",
    healthy: "HTTP/<SERVER> leads to the server's own account, by itself or by HOST",
    why: "The front end of a server logs on to the back end of another one, and to its own, with a ticket for HTTP/<SERVER>. HOST stands for it until somebody registers it elsewhere: then the ticket is for that account, and the back end cannot read it.",
    remedy: &[
        "Take it from the wrong account: setspn -U -D HTTP/<SERVER'S FULL NAME> <DOMAIN>\\<USER>, or of a computer: setspn -C -D HTTP/<SERVER'S FULL NAME> <DOMAIN>\\<COMPUTER>",
        "HOST of the server then stands for it again; see that it is there: setspn -C -S HOST/<SERVER'S FULL NAME> <DOMAIN>\\<SERVER>",
        "A name that web clients use belongs to one account alone, the alternate service account if there is one: setspn -F -Q HTTP/<NAME>",
    ],
    references: &[
        "MS-DRSR section 4.1.4.2.19",
        "setspn (Microsoft Learn)",
        "Configuring Kerberos authentication for load-balanced client access services (Microsoft Learn)",
    ],
    symptoms: &["MSExchange OWA event 71", "KRB_AP_ERR_MODIFIED (41)", "Kerberos event 4"],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

impl Check for WebSpn {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let mut all = needs_of(&questions(estate, evidence), estate, evidence);
        if let Some(service) = estate.informants.first().map(searches::service) {
            for (subject, _) in of_peers(estate, subject) {
                all.extend(needs(&subject, &service, Holding::Domain, estate, evidence));
            }
        }
        all
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let accounts = Accounts::seen(estate, evidence);
        let principals = Principals::new(estate, evidence, &accounts);
        let names = web_names(estate, evidence);
        let told = names.iter().filter(|name| is_told(&search_of_name(name), estate, evidence));
        let of_names = told.map(|name| judge_name(name, &principals, estate));
        let judge =
            ServerJudge { names: names.iter().map(|name| web(name)).collect(), principals: &principals, estate };
        let of_servers = principals.peers().map(|host| judge.judge(host));
        of_servers.chain(of_names).chain(beside(&META, &questions(estate, evidence), estate, evidence)).collect()
    }
}

fn subject(name: &str) -> Subject {
    Subject::Spn(web(name).to_string())
}

fn questions(estate: &Estate, evidence: &Evidence) -> Vec<Question> {
    let names = web_names(estate, evidence).into_iter().map(|name| (subject(&name), search_of_name(&name)));
    of_peers(estate, subject).into_iter().chain(names).collect()
}

/// Judges the names of servers themselves.
struct ServerJudge<'a> {
    /// What web clients ask for.
    names: Vec<Spn>,
    principals: &'a Principals<'a>,
    estate: &'a Estate,
}

impl ServerJudge<'_> {
    fn judge(&self, host: &str) -> Finding {
        let spn = web(host);
        let explicit = self.principals.holders(&spn);
        if !explicit.is_empty() {
            return self.judge_holders(host, &spn, explicit);
        }
        // Where nobody holds it, another class stands for it.
        let mappings = match &self.estate.organisation.mappings {
            Told::Is(mappings) => mappings,
            Told::Unread => {
                return finding(
                    host,
                    Verdict::Unknown,
                    "no account holds it, and whether HOST stands for it is not shown (sPNMappings)",
                )
                .code("mappings-unread")
                .suspects(Trouble::Credential)
                .suspects(Trouble::DirectoryUnread)
                .remedy(
                    "Log on as a user of the domain who may read CN=Directory Service of the Configuration partition.",
                );
            }
            Told::NotSet => return self.nobody(host, "no account holds it, and sPNMappings is empty"),
        };
        let Some(alias) = mappings.alias_of(class::HTTP) else {
            return self.nobody(host, "no account holds it, and by sPNMappings nothing stands for HTTP");
        };
        let alias = Spn::new(&alias.to_uppercase(), host);
        match self.principals.holders(&alias) {
            [] => self.nobody(host, &format!("no account holds it, nor {alias}")),
            holders => self.judge_holders(host, &alias, holders),
        }
    }

    fn judge_holders(&self, host: &str, spn: &Spn, holders: &[&Account]) -> Finding {
        let text = spn.to_string();
        let by = if *spn == web(host) { String::new() } else { format!("by {spn}, ") };
        let Some(own) = self.principals.own(host) else {
            let seen =
                format!("{by}on {}; the server's own account is not shown", self.principals.describe_all(holders));
            return finding(host, Verdict::Unknown, &seen)
                .code("no-account")
                .suspects(Trouble::Account(host.to_string()));
        };
        let wrong: Vec<&Account> = holders.iter().filter(|holder| holder.guid != own.guid).copied().collect();
        if wrong.is_empty() {
            return finding(host, Verdict::Pass, &format!("{by}on {}", own.name));
        }
        let seen = format!("{by}on {}", self.principals.describe_all(holders));
        // The account that servers share for web clients can read the ticket where its password is on the server.
        let is_shared = |account: &&Account| self.names.iter().any(|name| account.holds(name));
        let (verdict, code) = match holders {
            [_, _, ..] => (Verdict::Fail, "duplicate"),
            [only] if is_shared(only) => (Verdict::Warn, "shared"),
            _ => (Verdict::Fail, "foreign"),
        };
        let rivals = self.principals.rivals(host);
        // Where the one that holds it may be the server's own, nobody can tell.
        let is_untold = holders.len() == 1 && rivals.iter().any(|rival| rival.guid == holders[0].guid);
        let (verdict, code) = if is_untold { (Verdict::Unknown, "two-accounts") } else { (verdict, code) };
        let found = finding(host, verdict, &seen)
            .expected(format!("on the server's own account {}, or on none, so that HOST stands for it", own.name))
            .code(code)
            .is(Trouble::SpnWrong(web(host).to_string()));
        if !rivals.is_empty() {
            return self.principals.tell_apart(found, host, &rivals);
        }
        let found = found.remedy(format!("Take it from {}:", self.principals.describe_all(&wrong)));
        let found = wrong.iter().fold(found, |found, account| found.remedy(self.principals.take(&text, account)));
        let alias = Spn::new(class::HOST, host);
        let found = if own.holds(spn) || own.holds(&alias) {
            found
                .remedy("Then see that the server still has it, or HOST, which stands for it:")
                .remedy(self.principals.show(own))
        } else {
            found
                .remedy("HOST of the server stands for it then, once it is there:")
                .remedy(self.principals.give(&alias.to_string(), own))
        };
        purge(found)
    }

    fn nobody(&self, host: &str, seen: &str) -> Finding {
        // What is hidden is not missing: a computer has a HOST at the least.
        let Some(own) = self.principals.own(host).filter(|own| !own.spns.is_empty()) else {
            return finding(host, Verdict::Unknown, &format!("{seen}; of the server's own account no SPN is shown"))
                .code("account-unread")
                .suspects(Trouble::Account(host.to_string()));
        };
        let found = finding(host, Verdict::Fail, seen).code("missing").is(Trouble::SpnWrong(web(host).to_string()));
        let rivals = self.principals.rivals(host);
        if !rivals.is_empty() {
            return self.principals.tell_apart(found, host, &rivals);
        }
        found
            .remedy("HOST stands for it where sPNMappings of the forest are as they were made. Register it:")
            .remedy(self.principals.give(&Spn::new(class::HOST, host).to_string(), own))
            .remedy("Where sPNMappings were changed, HTTP itself:")
            .remedy(self.principals.give(&web(host).to_string(), own))
    }
}

fn finding(host: &str, verdict: Verdict, seen: &str) -> Finding {
    Finding::new(&META, subject(host), verdict, seen)
}

/// A name that several servers share: without an account of its own, clients log on by NTLM.
fn judge_name(name: &str, principals: &Principals<'_>, estate: &Estate) -> Finding {
    let spn = web(name).to_string();
    let holders = principals.holders(&web(name));
    let users = users_of_namespace(name, estate);
    match holders {
        [] => finding(name, Verdict::Pass, "on no account: clients log on by NTLM"),
        [only] if only.is_disabled == Some(true) => {
            finding(name, Verdict::Warn, &format!("on {}: no KDC gives a ticket for it", principals.describe(only)))
                .expected("on an account in use, or on none")
                .code("holder-disabled")
                .remedy("Unless the account is to be enabled again, take it from it; clients then log on by NTLM:")
                .remedy(principals.take(&spn, only))
        }
        [only] if users.len() > 1 && principals.is_of_server(only) => {
            let users = users.into_iter().collect::<Vec<_>>().join(", ");
            let seen =
                format!("on {}, one server's own, and used for {users}: the others cannot read the ticket", only.name);
            finding(name, Verdict::Warn, &seen)
                .expected("on an account that these servers share, or on none")
                .code("one-server")
                .remedy("Leave it to an alternate service account, or to none: clients then log on by NTLM. Take it from the server (this one alone, nothing else of it):")
                .remedy(principals.take(&spn, only))
        }
        [only] => finding(name, Verdict::Pass, &format!("on {} alone", only.name)),
        _ => {
            let found = finding(
                name,
                Verdict::Warn,
                &format!("on {} accounts: {}", holders.len(), principals.describe_all(holders)),
            )
            .expected("on one account, or on none")
            .code("duplicate")
            .is(Trouble::SpnWrong(spn.clone()))
            .remedy("It belongs to the alternate service account, if there is one:")
            .remedy("    Get-ClientAccessService -IncludeAlternateServiceAccountCredentialStatus | fl Name,Alternate*");
            purge(principals.leave_to(found, principals.likely_shared(holders), &spn, holders))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::Forest;

    const EX01: &str = "HTTP/ex01.contoso.com";

    fn with_name() -> Forest {
        let mut forest = Forest::new();
        forest.virtual_directory("EX01", "owa (Default Web Site)", Some("https://mail.contoso.com/owa"));
        forest
    }

    #[test]
    fn host_stands_for_http() {
        with_name().assert_steady(&WebSpn);
        let words = with_name().words(&WebSpn, |_| true);
        assert_eq!(
            words,
            ["HTTP/ex01.contoso.com pass -", "HTTP/ex02.contoso.com pass -", "HTTP/mail.contoso.com pass -"]
        );
    }

    #[test]
    fn what_is_registered_goes_before_the_alias() {
        let mut forest = with_name();
        forest.user("svc-web", &[("servicePrincipalName", &["http/EX01.contoso.com"])]);
        assert_eq!(forest.troubles(&WebSpn), ["HTTP/ex01.contoso.com fail foreign"]);
        let remedy = forest.finding(&WebSpn, EX01).remedy;
        assert!(remedy.contains(&"    setspn -U -D HTTP/ex01.contoso.com CONTOSO\\svc-web".to_string()), "{remedy:?}");
        forest.give("EX01", EX01);
        assert_eq!(forest.troubles(&WebSpn), ["HTTP/ex01.contoso.com fail duplicate"]);
    }

    #[test]
    fn the_account_that_servers_share_only_warns() {
        let mut forest = with_name();
        forest.computer("EXCHASA", &[("servicePrincipalName", &["HTTP/mail.contoso.com", EX01])]);
        assert_eq!(forest.troubles(&WebSpn), ["HTTP/ex01.contoso.com warn shared"]);
    }

    #[test]
    fn the_alias_is_read_and_not_taken_for_granted() {
        let set = |values: Option<&str>| {
            let mut forest = Forest::new();
            let service =
                forest.entries.iter_mut().find(|entry| entry.dn.starts_with("CN=Directory Service,")).unwrap();
            service.attributes.remove("sPNMappings");
            let values = values.map(|value| [crate::facts::search::Value::Text(value.to_string())].into());
            service.attributes.extend(values.map(|values| ("sPNMappings".to_string(), values)));
            forest.finding(&WebSpn, EX01)
        };
        assert_eq!(set(Some("host=alerter")).code, Some("missing"));
        assert_eq!(set(None).code, Some("missing"));
        let mut forest = Forest::new();
        forest.entries.retain(|entry| !entry.dn.starts_with("CN=Directory Service,"));
        assert_eq!(forest.finding(&WebSpn, EX01).code, Some("mappings-unread"));
    }

    #[test]
    fn without_host_it_is_on_no_account() {
        let mut forest = Forest::new();
        forest.take("EX01", "HOST/ex01.contoso.com");
        assert_eq!(forest.troubles(&WebSpn), ["HTTP/ex01.contoso.com fail missing"]);
        forest.set("EX01", "servicePrincipalName", &[]);
        assert_eq!(forest.troubles(&WebSpn), ["HTTP/ex01.contoso.com unknown account-unread"]);
    }

    #[test]
    fn a_common_name_on_two_accounts_is_a_warning() {
        let mut forest = with_name();
        for account in ["web1", "web2"] {
            forest.user(account, &[("servicePrincipalName", &["HTTP/mail.contoso.com"])]);
        }
        assert_eq!(forest.troubles(&WebSpn), ["HTTP/mail.contoso.com warn duplicate"]);
    }

    #[test]
    fn a_common_name_on_one_servers_account_is_a_warning_where_others_use_it() {
        let mut forest = with_name();
        forest.give("EX01", "HTTP/mail.contoso.com");
        assert_eq!(forest.troubles(&WebSpn), Vec::<String>::new());
        forest.virtual_directory("EX02", "owa (Default Web Site)", Some("https://mail.contoso.com/owa"));
        assert_eq!(forest.troubles(&WebSpn), ["HTTP/mail.contoso.com warn one-server"]);
    }

    #[test]
    fn a_disabled_account_holds_a_common_name_in_vain() {
        let mut forest = with_name();
        let control = ("userAccountControl", &["4098"][..]);
        forest.computer("EXCHASA", &[("servicePrincipalName", &["HTTP/mail.contoso.com"]), control]);
        assert_eq!(forest.troubles(&WebSpn), ["HTTP/mail.contoso.com warn holder-disabled"]);
    }

    #[test]
    fn on_one_of_two_that_say_they_are_the_server_nobody_can_tell() {
        let mut forest = Forest::new();
        forest.computer("EX01NEW", &[("dNSHostName", &["ex01.contoso.com"]), ("servicePrincipalName", &[EX01])]);
        assert_eq!(forest.troubles(&WebSpn), ["HTTP/ex01.contoso.com unknown two-accounts"]);
        let remedy = forest.finding(&WebSpn, EX01).remedy;
        assert!(!remedy.iter().any(|line| line.contains("setspn")), "{remedy:?}");
    }

    #[test]
    fn an_unread_catalog_is_one_unknown() {
        let mut forest = with_name();
        forest.silent.insert(3268);
        assert_eq!(forest.troubles(&WebSpn), ["estate unknown -"]);
    }
}
