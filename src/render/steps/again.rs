//! The step that looks again: the run that was recorded, typed anew.

use super::{Step, is_plain};
use crate::renewal::is_name;
use exchange_preflight_checks::model::plan::{ClockLimits, LogonWay, Plan, PlannedServer, ServerRole, SpnScope};
use std::collections::BTreeSet;

/// Runs as `plan` has it, and holds that against `before`.
pub(super) fn look_again(plan: &Plan, before: &str) -> Step {
    let files = if plan.inputs.files.is_empty() {
        ""
    } else {
        " Make the files of --input anew first: those that were given tell of before."
    };
    let said = format!(
        "Look again, and hold it against this recording; what is told as unwanted above must not be there.{files} As the last run \
         was made:"
    );
    let commands = vec![
        format!("exchange-preflight run{} --record after.json", flags(plan)),
        format!("exchange-preflight compare {before} after.json"),
    ];
    Step::new(said, commands)
}

/// What was stated for the recording, so that the next one is made alike. What may mean something to a shell is left for the
/// reader to fill in.
fn flags(plan: &Plan) -> String {
    let mut flags = String::new();
    let mut flag = |name: &str, value: Option<&str>| {
        flags.push_str(" --");
        flags.push_str(name);
        flags.extend(value.into_iter().flat_map(|value| [" ", value]));
    };
    let host = |name| if is_name(name) { name } else { "<HOST>" };
    let by_flag = |server: &PlannedServer| {
        let is_outward = server.outward.is_empty() || server.outward == [server.name.clone()];
        *server
            == PlannedServer {
                outward: server.outward.clone(),
                ..PlannedServer::new(server.name.clone(), ServerRole::Mailbox)
            }
            && is_outward
    };
    let has_file = !plan.servers.iter().all(by_flag)
        || !plan.hybrid.is_empty()
        || plan.clock != ClockLimits::default()
        || plan.forbid_old_tls
        || plan.stores.iter().any(|store| store.public);
    if has_file {
        flag("plan", Some("<PLAN.TOML>"));
    } else {
        flag("domain", Some(host(&plan.domain)));
        for server in &plan.servers {
            flag(if server.outward.is_empty() { "server" } else { "outward" }, Some(host(&server.name)));
        }
        for store in &plan.stores {
            flag("trust", Some(Some(&*store.file).filter(|file| is_plain(file)).unwrap_or("<ROOTS.PEM>")));
        }
    }
    let resolver = plan.resolver.map(|resolver| resolver.to_string());
    if let Some(resolver) = &resolver {
        flag("resolver", Some(resolver));
    }
    if let Some(logon) = &plan.logon {
        let is_plain =
            |user: &&str| user.chars().all(|letter| letter.is_ascii_alphanumeric() || "@.-_".contains(letter));
        if let Some(user) = logon.user.as_deref() {
            flag("user", Some(Some(user).filter(is_plain).unwrap_or("<USER>")));
        }
        if logon.way != LogonWay::default() {
            flag("logon", Some(logon.way.word()));
        }
    }
    for (name, is_set) in
        [("exchange-vantage", plan.exchange_vantage), ("deep", plan.deep), ("prove-login", plan.prove_login)]
    {
        if is_set {
            flag(name, None);
        }
    }
    if plan.spn_scan == SpnScope::Forest {
        flag("spn-scan", Some("forest"));
    }
    let outlive = plan.outlive.map(|outlive| outlive.to_string());
    if let Some(outlive) = &outlive {
        flag("outlive", Some(outlive));
    }
    for (name, ids) in [("only", &plan.selection.only), ("skip", &plan.selection.skip)] {
        let is_id = |id: &&String| id.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '-');
        ids.iter().filter(is_id).for_each(|id| flag(name, Some(id)));
    }
    // One file may hold several things, and is given once.
    let files: BTreeSet<&str> = plan.inputs.files.iter().map(|file| file.name.as_str()).collect();
    for file in files {
        let parts_are_plain = file.split('=').all(is_plain) && file.split('=').count() <= 2;
        flag("input", Some(if parts_are_plain { file } else { "<FILE>" }));
    }
    flags
}
