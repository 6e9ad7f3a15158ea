//! The program in the lab as somebody who has logged on.

use super::{KEEP_NAMES, Names, Seen, in_lab, key, look, word};
use crate::judgement::root;
use serde_json::Value;
use std::{collections::BTreeSet, fs};

/// Before a command: as whom it reads the directory.
pub(super) const AS_READER: &str =
    "EXCHANGE_PREFLIGHT_USER=\"$LAB_READER\" EXCHANGE_PREFLIGHT_PASSWORD=\"$LAB_READER_PASSWORD\"";

/// What is said once of an organisation with a cloud, where no export and no log was given: the bare plan names none.
const CLIENT_SIDE_UNTOLD: &str = "hybrid-presented unknown estate";

fn read(seen: &Seen, name: &str) -> String {
    fs::read_to_string(seen.out.path().join(name)).unwrap()
}

fn report(seen: &Seen, name: &str) -> Seen {
    let report = serde_json::from_str(&read(seen, name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    Seen { exit_code: None, report, out: tempfile::tempdir().unwrap() }
}

/// The checks that only a user of the domain can have answered.
fn checks_of_users() -> BTreeSet<&'static str> {
    use exchange_preflight_checks::{CHECKS, model::meta::Tier};
    let metas = CHECKS.iter().map(|check| check.meta());
    metas.filter(|meta| matches!(meta.tier, Tier::User | Tier::Proof)).map(|meta| meta.id).collect()
}

#[test]
#[ignore = "needs root for the lab"]
fn each_way_of_logging_on_works_and_the_password_comes_by_any_door() {
    let run = "\"$PROGRAM\" run --plan $LAB_BARE_PLAN --only directory-logon --format json";
    let line = format!(
        "for way in kerberos ldaps starttls; do {AS_READER} {run} --logon $way > $OUT/$way; done; \
         printf '%s\\n' \"$LAB_READER_PASSWORD\" | {run} --user $LAB_READER --password-fd 0 > $OUT/descriptor; \
         {run} --user $LAB_READER < /dev/null > $OUT/none 2> $OUT/said; echo $? > $OUT/code; \
         EXCHANGE_PREFLIGHT_PASSWORD=$LAB_READER_PASSWORD {run} --user ${{LAB_READER%@*}}"
    );
    let seen = look(&[], &line);
    for name in ["kerberos", "ldaps", "starttls", "descriptor"] {
        let finding = report(&seen, name).finding("directory-logon", "estate").clone();
        assert_eq!(finding["verdict"], "pass", "{name}: {finding}");
    }
    assert_eq!(seen.finding("directory-logon", "estate")["verdict"], "pass", "by the short name");
    assert_eq!(read(&seen, "code").trim(), "2", "there is nobody to ask: {}", read(&seen, "said"));
}

/// Two controllers, five searches and more at each: one try in the whole forest, and all that needed it says why.
#[test]
#[ignore = "needs root for the lab"]
fn a_wrong_password_is_tried_once_in_the_whole_forest() {
    for way in ["kerberos", "ldaps", "starttls"] {
        let line = format!(
            "$LAB/bad-passwords > $OUT/before; \
             EXCHANGE_PREFLIGHT_PASSWORD=wrong \"$PROGRAM\" run --plan $LAB_PLAN --user $LAB_READER --logon {way} --prove-login --format json \
             > $OUT/report; echo $? > $OUT/code; $LAB/bad-passwords > $OUT/after; cat $OUT/report"
        );
        let seen = look(&[], &line);
        let count = |name: &str| -> u32 {
            read(&seen, name).lines().map(|line| line.split(' ').nth(1).unwrap().parse::<u32>().unwrap()).sum()
        };
        assert_eq!(count("after"), count("before") + 1, "{way}: {}", read(&seen, "after"));
        assert_eq!(read(&seen, "code").trim(), "3", "{way}");
        assert_eq!(seen.root_troubles(), BTreeSet::from(["directory-logon unknown estate".to_string()]), "{way}");
        for check in checks_of_users() {
            let findings = seen.findings().iter().filter(|finding| word(finding, "check") == check);
            let words: BTreeSet<_> = findings.map(|finding| word(finding, "verdict")).collect();
            // The Edge of the plan is let alone, logon or not.
            assert!(
                words.contains("unknown") && words.is_subset(&["unknown", "skip"].into()),
                "{way}: {check}: {words:?}"
            );
        }
    }
}

#[test]
#[ignore = "needs root for the lab"]
fn without_credentials_the_same_command_runs_what_is_anonymous_and_skips_the_rest() {
    let seen = look(&[], "\"$PROGRAM\" run --plan $LAB_PLAN --format json");
    assert_eq!((seen.exit_code, seen.root_troubles()), (Some(0), BTreeSet::new()));
    for check in checks_of_users() {
        let finding = seen.finding(check, "estate");
        assert_eq!(finding["verdict"], "skip", "{check}");
        assert!(word(finding, "seen").contains("--user"), "{finding}");
    }
}

/// Nothing is written, by the servers' own account of it; and the account is no worse for having been used.
#[test]
#[ignore = "needs root for the lab"]
fn a_run_writes_nothing_to_any_directory() {
    let line = format!(
        "{AS_READER} \"$PROGRAM\" run --plan $LAB_PLAN --format json > $OUT/report; \
         for dc in dc1 dc2; do $LAB/audit $dc; done > $OUT/writes; $LAB/bad-passwords > $OUT/bad; cat $OUT/report"
    );
    let seen = look(&[], &format!("{KEEP_NAMES}; {line}"));
    let reader = Names::of(&seen.out).variable("LAB_READER").split('@').next().unwrap().to_string();
    assert_eq!(seen.exit_code, Some(0));
    let writes = read(&seen, "writes");
    let by = |line: &str| serde_json::from_str::<Value>(line).unwrap()["by"].as_str().unwrap_or_default().to_string();
    let ours: Vec<_> =
        writes.lines().filter(|line| [reader.as_str(), "anonymous"].contains(&by(line).as_str())).collect();
    assert_eq!(ours, Vec::<&str>::new());
    assert!(read(&seen, "bad").lines().all(|line| line.ends_with(" 0")));
}

/// The password is in nothing that is kept or shown: report, recording, log, arguments of the process, nor in a core file.
#[test]
#[ignore = "needs root for the lab"]
fn the_password_is_nowhere() {
    let line = format!(
        "{AS_READER} \"$PROGRAM\" run --plan $LAB_PLAN --format json --record $OUT/recording -vvv > $OUT/report 2> $OUT/log & \
         pid=$!; for i in 1 2 3 4 5 6 7 8 9 10; do \
             cat /proc/$pid/cmdline >> $OUT/arguments; cat /proc/$pid/limits >> $OUT/limits; sleep 0.05; \
         done 2> /dev/null; wait $pid; cat $OUT/report"
    );
    let seen = look(&[], &format!("{KEEP_NAMES}; {line}"));
    let password = Names::of(&seen.out).variable("LAB_READER_PASSWORD").to_string();
    let hex = hex::encode(&password);
    let wide = hex::encode(password.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    for name in ["recording", "report", "log", "arguments"] {
        let text = String::from_utf8_lossy(&fs::read(seen.out.path().join(name)).unwrap()).into_owned();
        assert!(!text.is_empty(), "{name}");
        for form in [&password, &hex, &wide] {
            assert!(!text.contains(form.as_str()), "{name} holds the password");
        }
    }
    assert!(read(&seen, "log").contains("bound"), "the log tells of the logon: {}", read(&seen, "log"));
    let limits = read(&seen, "limits");
    let core: BTreeSet<_> = limits.lines().filter(|line| line.starts_with("Max core file size")).collect();
    let none = |line: &&str| line.split_whitespace().skip(4).take(2).all(|limit| limit == "0");
    assert!(!core.is_empty() && core.iter().any(none), "{core:?}");
}

#[test]
#[ignore = "needs root for the lab"]
fn discover_finds_everything_and_run_needs_only_the_user() {
    let line = format!(
        "unset EXCHANGE_PREFLIGHT_PLAN; {AS_READER} \"$PROGRAM\" discover > $OUT/plan.toml; \
         EXCHANGE_PREFLIGHT_PASSWORD=$LAB_READER_PASSWORD \"$PROGRAM\" run --user $LAB_READER --trust $LAB_CERTIFICATES/company.pem \
         --trust $LAB_CERTIFICATES/lab-public.pem \
         --format json"
    );
    for options in [&[][..], &["--seed", "11"]] {
        let seen = look(options, &format!("{KEEP_NAMES}; {line}"));
        let names = Names::of(&seen.out);
        let plan = read(&seen, "plan.toml");
        for role in ["DC1", "DC2", "EX01", "EX02", "EX03", "EDGE01", "EX09"] {
            assert!(plan.contains(names.variable(&format!("LAB_{role}"))), "{role} is not in\n{plan}");
        }
        let connectors = ["Default Frontend", "Client Frontend", "Outbound Proxy Frontend", "Default", "Client Proxy"];
        for (role, connector) in ["EX01", "EX02", "EX03"].iter().flat_map(|role| connectors.map(|name| (role, name))) {
            let short = names.variable(&format!("LAB_{role}")).split('.').next().unwrap().to_uppercase();
            assert!(
                plan.contains(&format!("{short}\\{connector} {short} at ")),
                "{short}\\{connector} is not in\n{plan}"
            );
            assert!(
                plan.contains(&format!("{short}\\owa (Default Web Site): https://")),
                "no owa of {short} in\n{plan}"
            );
        }
        let tables = plan.lines().filter(|line| *line == "[[server]]").count();
        assert_eq!(tables, 4, "three servers and an Edge:\n{plan}");
        assert!(exchange_preflight::plan_file::parse(&plan).is_ok(), "{plan}");
        for role in ["EX01", "EX02", "EX03"] {
            let host = names.variable(&format!("LAB_{role}"));
            assert_eq!(seen.finding("server-account", host)["verdict"], "pass", "{host}");
            assert_eq!(seen.finding("smtp-exchange-auth", &format!("{host}:2525"))["verdict"], "pass", "{host}");
        }
        assert_eq!(seen.root_troubles(), BTreeSet::from([CLIENT_SIDE_UNTOLD.to_string()]), "{options:?}");
    }
}

/// To a KDC a missing and a duplicated name are the same.
#[test]
#[ignore = "needs root for the lab"]
fn a_missing_and_a_duplicated_name_are_told_apart() {
    let ask = "KRB5_CONFIG=$LAB_KRB5_CONF kvno -c $OUT/cache SMTPSVC/$LAB_EX02 2>&1 | sed 's/.*: //'";
    let run = format!("{AS_READER} \"$PROGRAM\" run --plan $LAB_PLAN --only spn --format json");
    let said = |fault: &str| {
        let line = format!("$LAB/tickets $LAB_READER $OUT/cache; {ask} > $OUT/kdc; {run}");
        look(&["--plant", fault], &line)
    };
    let (missing, duplicated) = (said("spn-missing"), said("spn-duplicate-live"));
    assert_eq!(read(&missing, "kdc"), read(&duplicated, "kdc"), "the KDC answers alike");
    assert!(read(&missing, "kdc").contains("not found"), "{}", read(&missing, "kdc"));
    assert_eq!(missing.root_troubles(), BTreeSet::from(["spn-registered fail SMTPSVC/ex02.contoso.com".to_string()]));
    assert_eq!(duplicated.root_troubles(), BTreeSet::from(["spn-unique fail SMTPSVC/ex02.contoso.com".to_string()]));
}

#[test]
#[ignore = "needs root for the lab"]
fn two_spellings_on_one_account_are_no_duplicate() {
    let seen =
        look(&["--plant", "spn-case-variant"], &format!("{AS_READER} \"$PROGRAM\" run --plan $LAB_PLAN --format json"));
    assert_eq!((seen.exit_code, seen.root_troubles()), (Some(0), BTreeSet::new()));
}

/// A connector may bear the name of a server of another forest: the way to its ticket is by that forest's KDC.
#[test]
#[ignore = "needs root for the lab"]
fn a_ticket_is_had_by_way_of_a_trusted_forest_as_long_as_its_kdc_can_be_reached() {
    let run = format!("{AS_READER} \"$PROGRAM\" run --plan $LAB_PLAN --only kerberos-ticket --format json");
    let line = format!(
        "{KEEP_NAMES}; \
         $LAB/switches/directory plant abroad estate set EX02/Default_EX02 msExchSMTPReceiveConnectorFQDN $LAB_SECOND_MAIL; \
         {run} > $OUT/open; $LAB/switches/packets plant shut dcf tcp dport 88 reject with tcp reset; {run}"
    );
    let shut = look(&["--with-trust"], &line);
    let open = report(&shut, "open");
    let names = Names::of(&shut.out);
    let spn = format!("SMTPSVC/{}", names.variable("LAB_SECOND_MAIL"));
    let given = open.finding("kerberos-ticket", &spn);
    assert_eq!(given["verdict"], "pass", "{given}");
    let way = format!("by way of {}", names.variable("LAB_SECOND_REALM"));
    assert!(word(given, "seen").ends_with(&way), "{given}");
    let lost = shut.finding("kerberos-ticket", &spn);
    assert_eq!((word(lost, "verdict"), word(lost, "code")), ("unknown", "way"), "{lost}");
    assert!(word(lost, "seen").contains(names.variable("LAB_DCF")), "{lost}");
}

/// Each controller gives tickets over both transports; each server takes one, is tried once and sent no mail. Our own clock is no
/// matter.
#[test]
#[ignore = "needs root for the lab"]
fn tickets_are_given_and_taken_and_each_server_is_tried_once() {
    let run = "\"$PROGRAM\" run --plan $LAB_PLAN --only kerberos-ticket,smtp-kerberos-login,web-kerberos-login \
               --prove-login --format json";
    let logins = |to: &str| format!("for host in ex01 ex02 ex03 edge01; do $LAB/logins $host; done > $OUT/{to}");
    let line = format!(
        "{AS_READER} {run} > $OUT/right; {}; {AS_READER} $LAB/clock-off 600 {run} > $OUT/fast; \
         {AS_READER} $LAB/clock-off -600 {run}; {}",
        logins("once"),
        logins("thrice")
    );
    let slow = look(&[], &line);
    let words = |seen: &Seen| -> BTreeSet<String> { seen.findings().iter().map(key).collect() };
    let right = report(&slow, "right");
    for port in ["dc1.contoso.com:88", "dc1.contoso.com:88/udp", "dc2.contoso.com:88", "dc2.contoso.com:88/udp"] {
        assert_eq!(right.finding("kerberos-ticket", port)["verdict"], "pass", "{port}");
    }
    for host in ["ex01", "ex02", "ex03"].map(|host| format!("{host}.contoso.com")) {
        let spn = right.finding("kerberos-ticket", &format!("SMTPSVC/{host}"));
        assert_eq!(spn["verdict"], "pass", "{spn}");
        assert!(word(spn, "seen").contains("dc1.contoso.com, dc2.contoso.com"), "{spn}");
        for check in ["smtp-kerberos-login", "web-kerberos-login"] {
            assert_eq!(right.finding(check, &host)["verdict"], "pass", "{check} {host}");
        }
    }
    assert_eq!((words(&report(&slow, "fast")), words(&slow)), (words(&right), words(&right)));
    let tried = |name: &str| -> Vec<String> { read(&slow, name).lines().map(ToOwned::to_owned).collect() };
    let once = tried("once");
    let is_logon = |line: &&String| line.contains(" AUTH GSSAPI 235 ") || line.contains(" Negotiate 200 ");
    assert_eq!((once.len(), once.iter().filter(is_logon).count()), (6, 6), "{once:?}");
    assert_eq!(tried("thrice").iter().filter(is_logon).count(), 18, "{:?}", tried("thrice"));
}

/// Edge, 2010, retired, only prepared: each is let alone with its reason.
#[test]
#[ignore = "needs root for the lab"]
fn servers_that_need_no_spn_are_let_alone() {
    let retire = "sed 's/^domain.*/&\\n\\n[[server]]\\nname = \"'$LAB_EX03'\"\\nstate = \"retired\"\\n/' $LAB_BARE_PLAN > $OUT/plan.toml";
    let line = format!("{KEEP_NAMES}; {retire}; {AS_READER} \"$PROGRAM\" run --plan $OUT/plan.toml --format json");
    let seen = look(&["--with-2010", "--seed", "43"], &line);
    let names = Names::of(&seen.out);
    assert_eq!((seen.exit_code, seen.root_troubles()), (Some(3), BTreeSet::from([CLIENT_SIDE_UNTOLD.to_string()])));
    for role in ["EDGE01", "EX03", "EX09"] {
        let host = names.variable(&format!("LAB_{role}"));
        let finding = seen.finding("server-account", host);
        assert_eq!(finding["verdict"], "skip", "{role}: {finding}");
    }
    let old = names.variable("LAB_EX10");
    assert_eq!(seen.finding("server-account", old)["verdict"], "pass");
    assert_eq!(seen.finding("spn-registered", &format!("SMTPSVC/{old}"))["verdict"], "pass");
    let port = seen.finding("smtp-exchange-auth", &format!("{old}:2525"));
    assert_eq!(port["verdict"], "skip", "{port}");
}

/// However a directory misbehaves, the program ends soon, in little memory, and says that it could not tell.
#[test]
#[ignore = "needs root for the lab"]
fn a_hostile_directory_ends_by_our_budgets() {
    let script = fs::read_to_string(root().join("tests/lab/hostile-directory")).unwrap();
    let kinds: Vec<_> = script.lines().filter_map(|line| line.strip_prefix("def answer_")?.split('(').next()).collect();
    assert!(kinds.len() >= 16, "{kinds:?}");
    let run = "\"$PROGRAM\" run --plan $LAB_BARE_PLAN --logon ldaps --only directory-logon --format json";
    let line = format!(
        "for kind in {}; do {AS_READER} $LAB/hostile $kind timeout 120 {run} > $OUT/$kind 2> $OUT/$kind.kb; echo $? > $OUT/$kind.code; done",
        kinds.join(" ")
    );
    let (output, out) = in_lab(&["--one-dc"], &line);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: String| fs::read_to_string(out.path().join(name)).unwrap();
    for kind in kinds {
        assert_eq!(read(format!("{kind}.code")).trim(), "3", "{kind}: {}", read(format!("{kind}.kb")));
        let kilobytes: u32 = read(format!("{kind}.kb")).lines().last().unwrap().parse().unwrap();
        assert!(kilobytes < 64 * 1024, "{kind} took {kilobytes} kB");
        let report: Value = serde_json::from_str(&read(kind.to_string())).unwrap();
        let finding =
            report["findings"].as_array().unwrap().iter().find(|f| word(f, "check") == "directory-logon").unwrap();
        assert_eq!(finding["verdict"], "unknown", "{kind}: {finding}");
        assert!(!finding["seen"].as_str().unwrap().contains('\u{1b}'), "{kind}: {finding}");
    }
}

/// The ticket of whoever has logged on to this machine.
#[cfg(feature = "system-gssapi")]
#[test]
#[ignore = "needs root for the lab"]
fn the_current_logon_is_enough() {
    let run = "KRB5_CONFIG=$LAB_KRB5_CONF KRB5CCNAME=FILE:$OUT/cache \"$PROGRAM\" run --plan $LAB_BARE_PLAN --logon ticket --format json";
    let line = format!("{run} --only directory-logon > $OUT/without; $LAB/tickets $LAB_READER $OUT/cache; {run}");
    let seen = look(&[], &line);
    assert_eq!(
        report(&seen, "without").finding("directory-logon", "estate")["verdict"],
        "unknown",
        "nobody has logged on"
    );
    assert_eq!(seen.finding("directory-logon", "estate")["verdict"], "pass");
    assert_eq!((seen.exit_code, seen.root_troubles()), (Some(3), BTreeSet::from([CLIENT_SIDE_UNTOLD.to_string()])));
}

/// Where the program was built without the system's library, it says so before it asks anything.
#[cfg(not(feature = "system-gssapi"))]
#[test]
#[ignore = "needs root for the lab"]
fn a_ticket_that_this_build_cannot_use_is_said_at_once() {
    let (output, _) = in_lab(&[], "\"$PROGRAM\" run --plan $LAB_BARE_PLAN --logon ticket");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("system-gssapi"));
}
