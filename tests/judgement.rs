//! Every fixture is judged as it says, in whatever order its observations arrive.
//!
//! A fixture is a recording with two fields more: `source` says where it comes from, `expected` lists what must be said
//! of it as `check verdict subject`, and the code where the check tells several troubles apart, for all the checks that it
//! names.

use exchange_preflight::{
    recording::Recording,
    render::json,
    report::{Report, Strictness},
};
use exchange_preflight_checks::{
    CHECKS,
    model::{ask::Ask, check::wanted, evidence::Evidence},
};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const ORDERS: u64 = 100;

/// What a fixture says beside its recording.
#[derive(Deserialize)]
struct Expectation {
    source: String,
    expected: Vec<String>,
}

struct Fixture {
    path: PathBuf,
    recording: Recording,
    expectation: Expectation,
}

#[test]
fn every_fixture_is_judged_as_expected() {
    for Fixture { path, recording, expectation } in fixtures() {
        let (path, report) = (path.display(), judge(&recording));
        let checks: BTreeSet<_> = expectation.expected.iter().filter_map(|line| line.split(' ').next()).collect();
        let said: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| checks.contains(finding.check.id))
            .map(|finding| {
                let code = finding.code.map(|code| format!(" {code}")).unwrap_or_default();
                format!("{} {} {}{code}", finding.check.id, finding.verdict, finding.subject)
            })
            .collect();
        assert!(!expectation.source.is_empty(), "{path} does not say where it comes from");
        assert_eq!(said, expectation.expected, "{path}");
    }
}

#[test]
fn the_order_of_arrival_changes_nothing() {
    let fixtures = fixtures();
    let (left, right) = fixtures.split_at(fixtures.len() / 2);
    std::thread::scope(|scope| {
        for half in [left, right] {
            scope.spawn(|| half.iter().for_each(arrive_in_many_orders));
        }
    });
}

fn arrive_in_many_orders(fixture: &Fixture) {
    let path = fixture.path.display();
    let straight = judge_json(&fixture.recording);
    let (asked_first, evidence_first) = arrive(&fixture.recording, 0);
    for order in 1..ORDERS {
        let (asked, evidence) = arrive(&fixture.recording, order);
        assert_eq!(asked, asked_first, "{path} in order {order}: other questions");
        // Judging is a function of the evidence alone, so that equal evidence is judged to equal bytes.
        assert!(evidence == evidence_first, "{path} in order {order}: other evidence");
    }
    let recording = Recording { evidence: evidence_first, ..fixture.recording.clone() };
    assert_eq!(judge_json(&recording), straight, "{path}");
}

/// Plays the survey's loop over a recording: in each round some of the answers that are under way come in.
fn arrive(recording: &Recording, order: u64) -> (BTreeSet<Ask>, Evidence) {
    let mut random = fastrand(order);
    let (mut asked, mut under_way, mut evidence) = (BTreeSet::new(), Vec::new(), Evidence::default());
    loop {
        for ask in wanted(&recording.plan, CHECKS, &evidence) {
            if asked.insert(ask.clone()) {
                under_way.extend(recording.evidence.find(&ask).cloned());
            }
        }
        if under_way.is_empty() {
            // What was recorded and is not wanted any more (an older plan of questions) still counts as evidence.
            recording.evidence.iter().for_each(|observation| evidence.insert(observation.clone()));
            return (asked, evidence);
        }
        for _ in 0..=random(under_way.len() / 2 + 1) {
            if !under_way.is_empty() {
                evidence.insert(under_way.swap_remove(random(under_way.len())));
            }
        }
    }
}

/// A small generator (xorshift): the same orders on every machine.
fn fastrand(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap() % below
    }
}

#[test]
fn a_recording_written_again_is_the_same() {
    for fixture in fixtures() {
        let text = fixture.recording.to_json();
        let again = Recording::parse(&text).unwrap();
        assert_eq!(again.to_json(), text, "{}", fixture.path.display());
        assert_eq!(judge_json(&again), judge_json(&fixture.recording), "{}", fixture.path.display());
    }
}

/// The first recording ever frozen. If this fails, an administrator's recordings fail too.
#[test]
fn the_frozen_recording_of_version_1_is_read_and_judged() {
    let recording = Recording::load(&root().join("fixtures/runs/v1.json")).unwrap();
    assert!(recording.carried.is_empty());
    let failed: Vec<_> =
        judge(&recording).findings.iter().filter(|f| f.verdict.word() == "fail").map(|f| f.check.id).collect();
    assert!(failed.contains(&"clock-agreement") && failed.contains(&"directory-reachable"), "{failed:?}");
}

#[test]
fn what_a_later_version_observed_is_carried() {
    let text = fs::read_to_string(root().join("fixtures/runs/v1.json")).unwrap();
    let stranger = r#"{"ask":{"to":{"host":"ex01","address":null,"port":25},"what":{"hologram":{"of":"mail"}},"look":1},"reply":{"end":"ok"},"when":"2026-01-01T00:00:00Z"}"#;
    let text = text.replacen("\"observations\": [", &format!("\"observations\": [\n    {stranger},"), 1);
    let recording = Recording::parse(&text).unwrap();
    assert_eq!(recording.carried.len(), 1);
    assert!(recording.to_json().contains("hologram"));
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// `check verdict` of every expectation of a fixture folder.
pub(crate) fn expected_of(folder: &Path) -> Vec<String> {
    json_files(folder).iter().flat_map(|path| load(path).expectation.expected).collect()
}

fn judge(recording: &Recording) -> Report {
    Report::of(std::slice::from_ref(recording), Strictness::default()).unwrap()
}

fn judge_json(recording: &Recording) -> String {
    let mut bytes = Vec::new();
    json::report(&judge(recording), &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

fn fixtures() -> Vec<Fixture> {
    let mut found = Vec::new();
    for area in folders(&root().join("fixtures")) {
        for check in folders(&area) {
            found.extend(json_files(&check).iter().map(|path| load(path)));
        }
    }
    assert!(found.len() >= 3 * CHECKS.len(), "only {} fixtures were found", found.len());
    found
}

fn load(path: &Path) -> Fixture {
    let text = fs::read_to_string(path).unwrap();
    let expectation = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let recording = Recording::load(path).unwrap();
    Fixture { path: path.to_path_buf(), recording, expectation }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    sorted(of, Path::is_dir)
}

fn json_files(of: &Path) -> Vec<PathBuf> {
    sorted(of, |path| path.extension().is_some_and(|extension| extension == "json"))
}

fn sorted(of: &Path, keep: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).unwrap_or_else(|error| panic!("{}: {error}", of.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(|path| keep(path)).collect();
    paths.sort();
    paths
}
