//! What a person sees and a script relies on: text, exit codes, what is refused. All from recordings, so no time is masked.

use crate::judgement::root;
use insta::assert_snapshot;
use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

fn program(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exchange-preflight"));
    command.args(arguments).current_dir(root()).env_clear().output().unwrap()
}

/// Exit code, stdout and stderr as one text.
fn told(arguments: &[&str]) -> String {
    let output = program(arguments);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let code = output.status.code().unwrap();
    format!("$ exchange-preflight {}\n{out}{err}exit {code}\n", arguments.join(" "))
}

const HEALTHY: &str = "fixtures/runs/healthy.json";
const FAULTY: &str = "fixtures/runs/faulty.json";

#[test]
fn the_report_of_a_healthy_estate() {
    assert_snapshot!(told(&["replay", HEALTHY]));
}

#[test]
fn the_report_of_a_faulty_estate() {
    assert_snapshot!(told(&["replay", FAULTY]));
}

#[test]
fn the_report_tells_all_when_asked_to() {
    assert_snapshot!(told(&["replay", HEALTHY, "--verbose"]));
}

#[test]
fn what_changed() {
    assert_snapshot!(told(&["compare", FAULTY, HEALTHY]));
    assert_snapshot!(told(&["compare", HEALTHY, FAULTY]));
}

#[test]
fn the_list_and_an_explanation() {
    assert_snapshot!(told(&["list"]));
    assert_snapshot!(told(&["explain", "clock-agreement"]));
    assert_snapshot!(told(&["explain", "nonsense"]));
}

#[test]
fn a_code_and_an_event_lead_to_the_checks_that_explain_them() {
    for about in ["454", "1035", "454 4.7.0", "event 1035", "Temporary authentication failure"] {
        let output = program(&["explain", about]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("clock-agreement") && text.contains("kerberos-reachable"), "{about}: {text}");
    }
}

#[test]
fn a_word_of_a_renewal_is_explained() {
    let output = program(&["explain", "Pin-Stale"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("pin-stale  ") && text.contains("12014"), "{text}");
    assert!(text.contains("TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\""), "{text}");
}

#[test]
fn every_mistake_in_a_plan_is_told_at_once() {
    assert_snapshot!(told(&["run", "--plan", "fixtures/plans/mistakes.toml"]));
}

#[test]
fn what_was_typed_wrongly_ends_with_2() {
    for arguments in [
        &["run", "--only", "clok"][..],
        &["run", "--domain", "no name"],
        &["run", "--plan", "/nonexistent.toml"],
        &["replay", "/nonexistent.json"],
        &["replay", "README.md"],
        &["explain", "nonsense"],
        &["frobnicate"],
    ] {
        let output = program(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn recordings_of_two_estates_are_refused_with_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.json");
    let text = fs::read_to_string(root().join(HEALTHY)).unwrap().replace("contoso", "fabrikam");
    fs::write(&other, text).unwrap();
    let output = program(&["compare", HEALTHY, other.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("contoso.com") && said.contains("fabrikam.com"), "{said}");
}

#[test]
fn a_damaged_recording_is_refused_with_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("damaged.json");
    let text = fs::read_to_string(root().join(HEALTHY)).unwrap();
    let at = text.find("\"observations\"").unwrap();
    let lines_before = text[..at].matches('\n').count() + 1;
    fs::write(&damaged, text.replacen("\"look\":1", "\"look\":\"one\"", 1)).unwrap();
    let output = program(&["replay", damaged.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains(&format!("line {}, observations[0]", lines_before + 1)) && said.contains("damaged.json"),
        "{said}"
    );
}

#[test]
fn a_recording_of_a_newer_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let newer = folder.path().join("newer.json");
    let text = fs::read_to_string(root().join(HEALTHY)).unwrap();
    fs::write(&newer, text.replacen("\"version\": 1", "\"version\": 2", 1)).unwrap();
    let output = program(&["replay", newer.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn strictness_changes_the_gate_and_no_verdict() {
    let code = |arguments: &[&str]| program(&[&["replay"], arguments].concat()).status.code();
    let warn = "fixtures/clock/source/warn-unsynchronised.json";
    let unknown = "fixtures/clock/source/unknown-silent.json";
    assert_eq!(code(&[warn]), Some(0));
    assert_eq!(code(&[warn, "--fail-on", "warn"]), Some(1));
    assert_eq!(code(&[unknown]), Some(3));
    assert_eq!(code(&[unknown, "--on-unknown", "fail"]), Some(1));
    assert_eq!(code(&[unknown, "--on-unknown", "ignore"]), Some(0));
}

#[test]
fn another_form_goes_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let output = program(&["replay", HEALTHY, "--output", &format!("json={}", file.display())]);
    assert_eq!(output.status.code(), Some(0));
    let straight = program(&["replay", HEALTHY, "--format", "json"]).stdout;
    assert_eq!(fs::read(&file).unwrap(), straight);
}

/// Every field that a report has stands in the schema, and every one that must be there is.
#[test]
fn the_schema_describes_the_report() {
    let schema: serde_json::Value = serde_json::from_slice(&program(&["schema"]).stdout).unwrap();
    let report: serde_json::Value =
        serde_json::from_slice(&program(&["replay", FAULTY, "--format", "json"]).stdout).unwrap();
    let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&report), fields(&schema["properties"]));
    let finding = &schema["$defs"]["JsonFinding"];
    assert_eq!(fields(&report["findings"][0]), fields(&finding["properties"]));
    let required = finding["required"].as_array().unwrap();
    let may_be_null =
        fields(&finding["properties"]).into_iter().filter(|field| !required.contains(&field.as_str().into()));
    assert_eq!(may_be_null.collect::<Vec<_>>(), ["because", "code", "waiver"]);
}

/// Several recordings are several vantages of one estate; the worse place is named.
#[test]
fn two_vantages_are_folded_into_one_finding() {
    let near = "fixtures/kerberos/reachable/pass.json";
    let far = "fixtures/kerberos/reachable/warn-dropped.json";
    let output = program(&["replay", near, far, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let about_dc2: Vec<_> = findings
        .iter()
        .filter(|f| f["check"] == "kerberos-reachable" && f["subject"] == "dc2.contoso.com:88")
        .collect();
    assert_eq!(about_dc2.len(), 1);
    assert_eq!(about_dc2[0]["verdict"], "warn");
    assert_eq!(about_dc2[0]["places"].as_array().unwrap().len(), 4, "two vantages, two addresses");
    assert_eq!(report["vantages"].as_array().unwrap().len(), 2);
}

#[test]
fn a_trouble_that_grows_worse_is_no_standstill() {
    let (warned, failed) =
        ("fixtures/kerberos/reachable/warn-dropped.json", "fixtures/kerberos/reachable/fail-dropped.json");
    let output = program(&["compare", warned, failed, "--format", "json"]);
    let comparison: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let changes: Vec<_> = comparison["changes"].as_array().unwrap().iter().map(|change| &change["change"]).collect();
    assert_eq!(changes, ["worse"]);
    assert_eq!(comparison["notes"].as_array().unwrap().len(), 1, "only one was made with --exchange-vantage");
}

/// A new Fail is told even where an older trouble explains it.
#[test]
fn nothing_that_broke_hides_behind_an_old_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worse.json");
    let faulty = fs::read_to_string(root().join(FAULTY)).unwrap();
    let of_dc2 = |line: &str| line.contains("\"host\":\"dc2.contoso.com\"");
    let unsynchronised = |line: &str| line.replace("\"isSynchronized\":[\"TRUE\"]", "\"isSynchronized\":[\"FALSE\"]");
    let lines = faulty.lines().map(|line| if of_dc2(line) { unsynchronised(line) } else { line.to_string() });
    fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let output = program(&["compare", FAULTY, file.to_str().unwrap(), "--format", "json"]);
    let comparison: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let broke = comparison["changes"].as_array().unwrap().iter().filter(|change| change["change"] == "broke");
    assert_eq!(broke.map(|change| change["check"].clone()).collect::<Vec<_>>(), ["directory-ready"]);
    assert_eq!(output.status.code(), Some(1));
}

/// A recording may come from anybody: it can be refused, and cannot harm.
#[test]
fn a_hostile_recording_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.json");
    let healthy = fs::read_to_string(root().join(HEALTHY)).unwrap();
    let first = r#""observations": ["#;
    let observation = r#"{"ask":{"to":{"host":"x","address":null,"port":1},"what":{"ntp":null},"look":1},"reply":{"end":"ok","x":{"sha256":"d"}},"when":"2026-01-01T00:00:00Z"}"#;
    let bomb = vec![r#"{"sha256":"d"}"#; 20_000].join(",");
    let bomb = observation.replace(r#"{"sha256":"d"}"#, &format!("[{bomb}]"));
    let blob = format!(r#""blobs": {{"d": "{}"}},"#, "ab".repeat(20_000));
    for (text, what) in [
        (
            healthy.replacen(first, &format!(r#""blobs": {{"d": {{"sha256": "d"}}}}, {first}{observation},"#), 1),
            "a blob of itself",
        ),
        (healthy.replacen(first, &format!("{blob} {first}{bomb},"), 1), "a small file that grows"),
        (
            healthy.replace("\"domain\":\"contoso.com\"", "\"domain\":\"contoso.com\\\"; calc #\""),
            "a command in a name",
        ),
        (healthy.replacen("\"look\":1", "\"look\":\"\\u001b[2J\"", 1), "an escape in an error"),
    ] {
        assert_ne!(text, healthy, "{what}");
        fs::write(&file, text).unwrap();
        let output = program(&["replay", file.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{what}: {said}");
        assert!(!said.is_empty() && !said.contains('\u{1b}'), "{what}: {said:?}");
    }
}

#[test]
fn what_cannot_be_kept_is_known_before_anything_is_asked() {
    let output = program(&[
        "run",
        "--domain",
        "nowhere.invalid",
        "--resolver",
        "127.0.0.1:9",
        "--record",
        "/nonexistent/x.json",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "nothing is judged that could not be kept");
}

/// Who logs on with what is settled before anything is asked, and a password is repeated nowhere.
#[test]
fn a_logon_that_cannot_be_ends_with_2() {
    let alone = ["run", "--domain", "nowhere.invalid", "--resolver", "127.0.0.1:9"];
    let with = |more: &[&str], piped: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_exchange-preflight"));
        command.args(alone).args(more).current_dir(root()).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // Who wants no password reads none.
        let _ = child.stdin.take().unwrap().write_all(piped.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.stdout.is_empty(), "nothing was asked");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let cases: [(&[&str], &str, &str); 6] = [
        (&["--logon", "ldaps"], "", "--user"),
        (&["--user", "reader@contoso.com"], "hunter2", "--password-fd"),
        (&["--user", "reader@contoso.com", "--password-fd", "0"], "\n", "empty"),
        (&["--user", "reader@contoso.com", "--password", "hunter2"], "", "--password-fd"),
        (&["--user", "reader@contoso.com", "--password=hunter2"], "", "--password-fd"),
        (&["--user", "CONTOSO\\", "--password-fd", "0"], "hunter2", "CONTOSO"),
    ];
    for (more, piped, word) in cases {
        let (code, said) = with(more, piped);
        assert_eq!(code, Some(2), "{more:?}: {said}");
        assert!(said.contains(word) && !said.contains("hunter2"), "{more:?}: {said}");
    }
    if !cfg!(any(windows, feature = "system-gssapi")) {
        let (code, said) = with(&["--logon", "ticket"], "");
        assert!(code == Some(2) && said.contains("system-gssapi"), "{said}");
    }
}

/// Text from the network cannot move a terminal's cursor, whatever form is printed.
#[test]
fn hostile_text_is_shown_and_not_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.json");
    let text = fs::read_to_string(root().join("fixtures/directory/ready/warn-wrong-address.json")).unwrap();
    fs::write(&file, text.replace("\"dc1.contoso.com\"]", "\"dc\\u001b[31m\\u009b2J\\u202e1\"]")).unwrap();
    for form in ["text", "json"] {
        let output = program(&["replay", file.to_str().unwrap(), "--format", form]).stdout;
        let text = String::from_utf8(output).unwrap();
        assert!(text.contains("31m"), "{form} does not show it");
        assert!(!text.contains(['\u{1b}', '\u{9b}']), "{form}");
    }
}

/// What is given is read before anything is asked, and every mistake in it is told with file, line and field.
#[test]
fn a_mistake_in_what_is_given_ends_with_2_and_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, from: &str, to: &str| {
        let text = fs::read_to_string(root().join("fixtures/inputs").join(name)).unwrap();
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text, "{name}");
        fs::write(folder.path().join(name), changed).unwrap();
        folder.path().join(name).to_str().unwrap().to_string()
    };
    let (log, json) = ("SEND20261122-1.LOG", "certificates.json");
    let alone = ["run", "--domain", "nowhere.invalid", "--resolver", "127.0.0.1:9"];
    for (given, place) in [
        (
            file(json, "\"Services\": \"IIS, SMTP\"", "\"Services\": \"HTTP\""),
            "certificates.json, line 15, field Services: ",
        ),
        (file("inbound.json", "\"Enabled\"", "\"Disabled\""), "inbound.json, line 2, field Enabled: is missing"),
        (file(log, "2026-11-22T10:00:00.101Z", "yesterday"), "SEND20261122-1.LOG, line 7: "),
        (root().join("fixtures/inputs/RECV20261122-1.LOG").display().to_string(), "RECV20261122-1.LOG, line 3: "),
        (root().join("fixtures/inputs/candidate.pem").display().to_string(), "candidate.pem: is a certificate"),
        ("EX01=/nonexistent.json".into(), "EX01=/nonexistent.json: cannot be read"),
    ] {
        for verb in [&alone[..], &["replay", HEALTHY]] {
            let output = program(&[verb, &["--input", &given]].concat());
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{given}: {said}");
            assert!(said.contains(place) && output.stdout.is_empty(), "{given}: {said}");
        }
    }
}

/// Files of a plan are found from its folder; a replay takes more of them, and a recording that has them has no others.
#[test]
fn what_is_given_is_replayed() {
    let given = ["certificates.json", "tenant.json", "EX02=SEND20261121-1.LOG"];
    let folder = "fixtures/inputs/";
    let paths = given.map(|file| match file.split_once('=') {
        Some((server, file)) => format!("{server}={folder}{file}"),
        None => format!("{folder}{file}"),
    });
    let inputs: Vec<_> = paths.iter().flat_map(|path| ["--input", path]).collect();
    let output = program(&[&["replay", HEALTHY][..], &inputs].concat());
    assert!(matches!(output.status.code(), Some(0 | 1 | 3)), "{output:?}");
    let output = program(&["explain", "inputs"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && said.contains("Get-ExchangeCertificate -Server $s"), "{said}");
}

/// What is in a recording may come from anybody, and names in it enter commands.
#[test]
fn a_hostile_name_in_what_was_given_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hostile.json");
    let healthy = fs::read_to_string(root().join(HEALTHY)).unwrap();
    let plan = "\"plan\": {";
    for inputs in [
        r#"{"send_connectors":[{"name":"x","is_enabled":true,"sources":["EX01; calc"]}]}"#,
        r#"{"certificates":[{"server":"ex01","thumbprint":"zz","subject":"","issuer":""}]}"#,
        r#"{"inbound":[{"name":"a\nb","is_enabled":true,"is_on_premises":true}]}"#,
        r#"{"supposed":{"chain":[],"on":["ex01 $(calc)"]}}"#,
    ] {
        let changed = healthy.replacen(plan, &format!("{plan}\"inputs\":{inputs},"), 1);
        assert_ne!(changed, healthy);
        fs::write(&file, changed).unwrap();
        let output = program(&["replay", file.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{inputs}: {said}");
        assert!(said.contains("field plan: what was given has a value in"), "{said}");
    }
}
