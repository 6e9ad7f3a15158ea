//! `server-account`: a server is to its domain what its computer account is.

use crate::{
    facts::search::leaf,
    model::{
        accounts::{Account, Accounts, customary, netbios_name},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
        principals::{Principals, beside, needs_of, of_peers},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// See the module.
pub struct ServerAccount;

/// The universal group that Setup puts every server into.
const GROUP: &str = "Exchange Servers";

static META: Meta = Meta {
    id: "server-account",
    area: "server",
    title: "Servers have their accounts",
    question: "Is each server's computer account in use, the only one, and a member of Exchange Servers?",
    healthy: "one computer account, in use, and a member of Exchange Servers",
    why: "No KDC gives a ticket to a disabled account or for one. What is left of a conflict holds SPNs of its own, and what a connector grants to Exchange Servers a server has only as a member.",
    remedy: &[
        "Disabled: Enable-ADAccount -Identity <SERVER>$",
        "What is left of a conflict, its name holds CNF: see that nothing uses it, and delete it: Remove-ADObject <GUID>",
        "No member: Add-ADGroupMember 'Exchange Servers' -Members <SERVER>$; it counts once the server has started again.",
    ],
    references: &[
        "MS-KILE section 3.3.5.7",
        "MS-DRSR section 4.1.10.6.9",
        "Exchange 2013 deployment permissions reference (Microsoft Learn)",
    ],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "MSExchangeTransport event 2017",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for ServerAccount {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        needs_of(&of_peers(estate, subject), estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let accounts = Accounts::seen(estate, evidence);
        let principals = Principals::new(estate, evidence, &accounts);
        let judged = principals.peers().map(|host| judge_host(host, &principals, estate));
        judged.chain(beside(&META, &of_peers(estate, subject), estate, evidence)).collect()
    }
}

fn subject(host: &str) -> Subject {
    Subject::Host(host.to_string())
}

/// One thing that is not as it should be.
struct Flaw {
    verdict: Verdict,
    code: &'static str,
    seen: String,
    remedy: Vec<String>,
}

fn judge_host(host: &str, principals: &Principals<'_>, estate: &Estate) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, subject(host), verdict, seen);
    let Some(own) = principals.own(host) else {
        return judge_absent(host, principals);
    };
    let mut flaws: Vec<Flaw> = [state(own, principals), others(host, own, principals), membership(own, estate)]
        .into_iter()
        .flatten()
        .collect();
    // The weightiest first: it speaks, and the order among equals stays.
    flaws.sort_by_key(|flaw| core::cmp::Reverse(flaw.verdict));
    let Some(Flaw { verdict, code, .. }) = flaws.first() else {
        return finding(Verdict::Pass, format!("{}, in use, a member of {GROUP}", own.name));
    };
    let seen: Vec<_> = flaws.iter().map(|flaw| flaw.seen.as_str()).collect();
    let finding = finding(*verdict, seen.join("; ")).code(code);
    let finding = if own.is_disabled == Some(true) { finding.is(Trouble::Account(host.to_string())) } else { finding };
    flaws.into_iter().flat_map(|flaw| flaw.remedy).fold(finding, Finding::remedy)
}

/// Of an account that is not shown, what else of the server is there tells the most.
fn judge_absent(host: &str, principals: &Principals<'_>) -> Finding {
    let is_held = customary(host).iter().any(|spn| !principals.holders(spn).is_empty());
    let seen = if is_held {
        "the global catalog shows no computer account of it: it is deleted, in another forest, or hidden from us"
    } else {
        "the global catalog shows no computer account of it and nobody holds an SPN of it: it is likely deleted, else in another forest, or hidden from us"
    };
    let name = netbios_name(host).to_uppercase();
    Finding::new(&META, subject(host), Verdict::Unknown, seen)
        .code("no-account")
        .is(Trouble::Account(host.to_string()))
        .remedy(format!("Which account has it? On {host}:"))
        .remedy("    ([adsisearcher]\"(sAMAccountName=$env:COMPUTERNAME`$)\").FindOne().Path")
        .remedy("Was it deleted? As an administrator of its domain:")
        .remedy(format!("    Get-ADObject -IncludeDeletedObjects -LDAPFilter '(sAMAccountName={name}$)' -Properties isDeleted,whenChanged"))
        .remedy("If neither, log on as somebody who may read it, and run again.")
}

fn state(own: &Account, principals: &Principals<'_>) -> Option<Flaw> {
    match own.is_disabled {
        Some(false) => None,
        Some(true) => Some(Flaw {
            verdict: Verdict::Fail,
            code: "disabled",
            seen: format!("its account {} is disabled ({})", own.name, own.dn),
            remedy: vec![
                "Find out who disabled it and why; then:".to_string(),
                format!("    Enable-ADAccount -Identity {}", principals.identity(own)),
            ],
        }),
        None => Some(Flaw {
            verdict: Verdict::Unknown,
            code: "unread",
            seen: format!("whether its account {} is disabled is not shown to us", own.name),
            remedy: vec![
                "Log on as somebody who may read userAccountControl of the account, and run again.".to_string(),
            ],
        }),
    }
}

/// Other computer accounts of the same server.
fn others(host: &str, own: &Account, principals: &Principals<'_>) -> Option<Flaw> {
    let others: Vec<_> =
        principals.all().filter(|account| account.guid != own.guid && is_another(account, host, own)).collect();
    let is_conflict = others.iter().any(|account| account.is_conflict());
    (!others.is_empty()).then(|| Flaw {
        verdict: Verdict::Warn,
        code: if is_conflict { "twin" } else { "two-accounts" },
        seen: format!("beside {} there is {}", own.name, principals.describe_all(&others)),
        remedy: clear_away(host, &others, principals),
    })
}

fn clear_away(host: &str, others: &[&Account], principals: &Principals<'_>) -> Vec<String> {
    let rivals = principals.rivals(host);
    if !rivals.is_empty() {
        let nothing = Finding::new(&META, subject(host), Verdict::Warn, "");
        return principals.tell_apart(nothing, host, &rivals).remedy;
    }
    let start = "See that nothing uses it (whenChanged, lastLogonTimestamp), and delete it:".to_string();
    let commands = others.iter().flat_map(|account| {
        let identity = principals.identity(account);
        [format!("    Get-ADObject {identity} -Properties *"), format!("    Remove-ADObject {identity}")]
    });
    [start].into_iter().chain(commands).collect()
}

/// Is it called by the same name, or what a conflict left of one that was?
fn is_another(account: &Account, host: &str, own: &Account) -> bool {
    let is_called_so = || {
        let name = leaf(&account.dn).unwrap_or_default();
        let name = name.split('\n').next().unwrap_or_default();
        account.is_conflict() && name.eq_ignore_ascii_case(netbios_name(host)) && account.domain() == own.domain()
    };
    account.is_computer
        && match &account.host {
            Some(of) => of == host,
            None => is_called_so(),
        }
}

fn membership(own: &Account, estate: &Estate) -> Option<Flaw> {
    let is_group = |dn: &String| leaf(dn).is_some_and(|name| name.eq_ignore_ascii_case(GROUP));
    if own.groups.iter().any(is_group) {
        return None;
    }
    // Who is shown nothing else of the account, either, is not shown its groups.
    let is_shown = own.is_disabled.is_some() && !own.spns.is_empty();
    if own.groups.is_empty() && !is_shown {
        return Some(Flaw {
            verdict: Verdict::Unknown,
            code: "unread",
            seen: format!("the groups of {} are not shown to us", own.name),
            remedy: vec!["Log on as somebody who may read memberOf of the account, and run again.".to_string()],
        });
    }
    let root = estate.forest.agreed().unwrap_or(&estate.plan.domain);
    Some(Flaw {
        verdict: Verdict::Warn,
        code: "no-member",
        seen: format!("{} is no member of {GROUP}, as far as its groups are shown", own.name),
        remedy: vec![
            format!("    Add-ADGroupMember 'Exchange Servers' -Server {root} -Members {}", own.guid),
            "It counts once the server has started again.".to_string(),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::Forest;

    #[test]
    fn a_server_of_stock_passes() {
        Forest::new().assert_steady(&ServerAccount);
        assert_eq!(
            Forest::new().words(&ServerAccount, |_| true),
            ["ex01.contoso.com pass -", "ex02.contoso.com pass -"]
        );
    }

    #[test]
    fn a_disabled_account_fails_whatever_else_there_is() {
        let mut forest = Forest::new();
        forest.set("EX02", "userAccountControl", &["4098"]);
        forest.set("EX02", "memberOf", &[]);
        assert_eq!(forest.troubles(&ServerAccount), ["ex02.contoso.com fail disabled"]);
        let finding = forest.finding(&ServerAccount, "ex02.contoso.com");
        assert!(finding.seen.contains("is disabled") && finding.seen.contains("no member"), "{}", finding.seen);
    }

    #[test]
    fn what_is_left_of_a_conflict_is_told_with_a_host_name_or_without() {
        for host in [&["ex02.contoso.com"][..], &[]] {
            let mut forest = Forest::new();
            let name = "EX02\nCNF:2ad3a5e2-0e0a-4a64-9b3a-1d3c0e8ff0b1";
            forest.computer(name, &[("dNSHostName", host), ("userAccountControl", &["4098"])]);
            forest.entries.last_mut().unwrap().attributes.retain(|_, values| !values.is_empty());
            assert_eq!(forest.troubles(&ServerAccount), ["ex02.contoso.com warn twin"]);
        }
    }

    #[test]
    fn an_old_account_that_is_disabled_is_not_taken_for_the_servers() {
        let mut forest = Forest::new();
        let spn = ("servicePrincipalName", &["HOST/ex02.contoso.com"][..]);
        forest.computer("OLD", &[("dNSHostName", &["ex02.contoso.com"]), ("userAccountControl", &["4098"]), spn]);
        forest.entries.rotate_right(1);
        assert_eq!(forest.troubles(&ServerAccount), ["ex02.contoso.com warn two-accounts"]);
        let removals = |forest: &Forest| {
            let remedy = forest.finding(&ServerAccount, "ex02.contoso.com").remedy;
            remedy.iter().filter(|line| line.contains("Remove-")).count()
        };
        assert_eq!(removals(&forest), 1);
        forest.set("OLD", "userAccountControl", &["4096"]);
        assert_eq!(forest.troubles(&ServerAccount), ["ex02.contoso.com warn two-accounts"]);
        assert_eq!(removals(&forest), 0, "either may be the one in use");
    }

    #[test]
    fn no_group_and_groups_that_are_hidden_are_told_apart() {
        let mut forest = Forest::new();
        forest.set("EX01", "memberOf", &["CN=Other,DC=contoso,DC=com"]);
        forest.set("EX02", "memberOf", &[]);
        assert_eq!(
            forest.troubles(&ServerAccount),
            ["ex01.contoso.com warn no-member", "ex02.contoso.com warn no-member"]
        );
        forest.set("EX02", "userAccountControl", &[]);
        assert!(forest.troubles(&ServerAccount).contains(&"ex02.contoso.com unknown unread".to_string()));
    }

    #[test]
    fn without_an_account_nobody_can_tell() {
        let mut forest = Forest::new();
        forest.entries.retain(|entry| !entry.dn.starts_with("CN=EX02,CN=Computers"));
        assert_eq!(forest.troubles(&ServerAccount), ["ex02.contoso.com unknown no-account"]);
        assert!(forest.finding(&ServerAccount, "ex02.contoso.com").seen.contains("likely deleted"));
        forest.user("svc-relay", &[("servicePrincipalName", &["SMTPSVC/ex02.contoso.com"])]);
        assert!(!forest.finding(&ServerAccount, "ex02.contoso.com").seen.contains("likely deleted"));
    }
}
