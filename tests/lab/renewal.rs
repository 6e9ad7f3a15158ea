//! Renewal day in the lab: every variant of tests/lab/renewals.tsv, rehearsed from the recording of before, then done and compared.

use super::{AS_READER, KEEP_NAMES, Names, PROGRAM, in_lab, word};
use crate::judgement::root;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::Path,
};
use tempfile::TempDir;

/// A variant of the table: how it is rehearsed, and what must be told of it.
#[derive(Default)]
struct Variant {
    /// The new certificate, and what stands in its file behind it.
    file: Vec<String>,
    /// Where it is supposed to be, by role.
    on: Vec<String>,
    /// What is typed besides.
    besides: String,
    /// `class code subject`
    expected: Vec<String>,
}

fn variants() -> BTreeMap<String, Variant> {
    let table = fs::read_to_string(root().join("tests/lab/renewals.tsv")).unwrap();
    let mut variants: BTreeMap<String, Variant> = BTreeMap::new();
    let is_row = |line: &&str| !line.is_empty() && !line.starts_with('#') && !line.starts_with("variant\t");
    for line in table.lines().filter(is_row) {
        let [name, when, hosts, _, arguments, class, code, subject, _] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("renewals.tsv: {line:?}")
        };
        if name == "all" {
            continue;
        }
        let variant = variants.entry(name.to_string()).or_default();
        if when == "rehearse" {
            let (file, besides) = arguments.split_once(' ').unwrap_or((arguments, ""));
            variant.file = file.split('+').map(str::to_string).collect();
            variant.on = hosts.split(',').map(str::to_string).collect();
            variant.besides = besides.to_string();
        }
        if class != "-" {
            variant.expected.extend(subjects(subject).map(|subject| format!("{class} {code} {subject}")));
        }
    }
    variants
}

/// `ex01:25,443` is two.
fn subjects(text: &str) -> impl Iterator<Item = String> {
    let (host, ports) = text.rsplit_once(':').filter(|(_, ports)| ports.contains(',')).unwrap_or((text, ""));
    ports.split(',').map(move |port| if port.is_empty() { host.to_string() } else { format!("{host}:{port}") })
}

fn changes(renewal: &Value) -> BTreeSet<String> {
    let told = renewal["changes"].as_array().into_iter().flatten();
    told.map(|change| format!("{} {} {}", word(change, "class"), word(change, "code"), word(change, "subject")))
        .collect()
}

#[test]
#[ignore = "needs root for the lab"]
fn each_renewal_is_rehearsed_and_compared_to_the_same_changes() {
    let variants = variants();
    assert!(variants.len() >= 8, "{} variants", variants.len());
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for (index, variant) in variants.iter().enumerate() {
        if index % 2 == 0 { left.push(variant) } else { right.push(variant) }
    }
    let play_all = |variants: Vec<(&String, &Variant)>| -> Vec<String> {
        variants.into_iter().flat_map(|(name, variant)| play(name, variant)).collect()
    };
    let wrong: Vec<_> = std::thread::scope(|scope| {
        let halves = [left, right].map(|half| scope.spawn(|| play_all(half)));
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What was told otherwise than the table has it.
fn play(name: &str, variant: &Variant) -> Vec<String> {
    let Variant { file, on, besides, .. } = variant;
    let on: Vec<_> = on.iter().map(|role| format!("--on $LAB_{}", role.to_uppercase())).collect();
    let besides = besides.split_whitespace().map(|text| match text.strip_prefix("{cert:") {
        Some(rest) => format!(
            "$(awk '$1 == \"{}\" {{ print $2 }}' $LAB_CERTIFICATES/thumbprints.tsv)",
            rest.trim_end_matches('}')
        ),
        None => text.to_string(),
    });
    let run = format!("{AS_READER} \"$PROGRAM\" run --plan $OUT/plan.toml --format json");
    // What no export tells is told from the wire and the directory alone.
    let line = format!(
        "{KEEP_NAMES}; grep -v ^inputs $LAB_PLAN > $OUT/plan.toml; \
         $LAB/renew {name} before; {run} --record $OUT/before.json > $OUT/before; \
         (cd $LAB_CERTIFICATES; cat {}) > $OUT/new.pem; \
         \"$PROGRAM\" rehearse $OUT/before.json --certificate $OUT/new.pem --trust $LAB_CERTIFICATES/lab-public.pem {} {} --format json \
             > $OUT/rehearsed; \
         $LAB/renew {name} after; {run} --record $OUT/after.json > $OUT/after; \
         \"$PROGRAM\" compare $OUT/before.json $OUT/after.json --format json > $OUT/compared",
        file.iter().map(|name| format!("{name}.pem")).collect::<Vec<_>>().join(" "),
        on.join(" "),
        besides.collect::<Vec<_>>().join(" "),
    );
    let (output, out) = in_lab(&[], &line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let names = Names::of(&out);
    let expected: BTreeSet<_> = variant.expected.iter().map(|line| names.fill_in(line)).collect();
    let mut wrong = Vec::new();
    for verb in ["rehearsed", "compared"] {
        let Some(renewal) = read(&out, verb).map(|told| told["renewal"].clone()) else {
            wrong.push(format!("{name}: nothing was {verb}: {said}"));
            continue;
        };
        let told = changes(&renewal);
        wrong.extend(expected.difference(&told).map(|line| format!("{name}, {verb}: not told: {line}")));
        wrong.extend(told.difference(&expected).map(|line| format!("{name}, {verb}: told, and not so: {line}")));
        // These are to be looked at, and break nothing by themselves.
        let harmless = ["wanted ", "unwanted issuer-changed ", "unwanted key-changed ", "unwanted usage-lost "];
        let is_complete = expected.iter().all(|line| harmless.iter().any(|begins| line.starts_with(begins)));
        if renewal["complete"] != Value::Bool(is_complete) {
            wrong.push(format!("{name}, {verb}: complete: {}", renewal["complete"]));
        }
    }
    wrong
}

fn read(out: &TempDir, name: &str) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(out.path().join(name)).ok()?).ok()
}

/// The README's walk-through, done as it is written, by somebody to whom the new certificate has come as new.pem.
#[test]
#[ignore = "needs root for the lab"]
fn the_walk_through_of_renewal_day_is_done_as_it_is_written() {
    let steps = walk_through();
    assert_eq!(steps.iter().filter(|step| step.starts_with("exchange-preflight ")).count(), 4, "{steps:?}");
    let bin = tempfile::tempdir().unwrap();
    symlink(PROGRAM, bin.path().join("exchange-preflight")).unwrap();
    // Everything but the renewal itself is typed as it stands.
    let typed = steps.iter().enumerate().map(|(number, step)| match step.strip_prefix('#') {
        None => format!("{step} > {number}.txt; echo $? > {number}.code"),
        Some(_) => "$LAB/renew same-issuer after; $LAB/exports exports web=web-renewed:SMTP,IIS; cp exports/certificates.json .".into(),
    });
    let line = format!(
        "{KEEP_NAMES}; cd $OUT; export PATH={}:$PATH EXCHANGE_PREFLIGHT_PASSWORD=$LAB_READER_PASSWORD EXCHANGE_PREFLIGHT_PLAN=$OUT/plan.toml; \
         grep -v ^inputs $LAB_PLAN > plan.toml; (cd $LAB_CERTIFICATES; cat web-renewed.pem public-issuing.pem) > new.pem; \
         $LAB/renew same-issuer before; $LAB/exports exports web=web:SMTP,IIS; cp exports/certificates.json .; {}",
        bin.path().display(),
        typed.collect::<Vec<_>>().join("; "),
    );
    let (output, out) = in_lab(&[], &line);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let read = |name: String| fs::read_to_string(out.path().join(name)).unwrap_or_default();
    for (number, step) in steps.iter().enumerate().filter(|(_, step)| !step.starts_with('#')) {
        assert_eq!(read(format!("{number}.code")).trim(), "0", "{step}\n{}\n{said}", read(format!("{number}.txt")));
    }
    let rehearsed = read("1.txt".into());
    assert!(rehearsed.contains("Enable-ExchangeCertificate") && rehearsed.contains("ex01.contoso.com"), "{rehearsed}");
    let compared = read(format!("{}.txt", steps.len() - 1));
    assert!(compared.contains("complete"), "{compared}");
}

/// The commands of the README's section on renewal day, in their order.
fn walk_through() -> Vec<String> {
    let readme = fs::read_to_string(Path::new(&root()).join("README.md")).unwrap();
    let section = readme.split("\n## Renewal day\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
    section.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_string).collect()
}
