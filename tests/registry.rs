//! No check is half added, and the house keeps its rooms apart.

use crate::judgement::{expected_of, root};
use exchange_preflight_checks::{CHECKS, model::meta::Meta};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn metas() -> impl Iterator<Item = &'static Meta> {
    CHECKS.iter().map(|check| check.meta())
}

/// `clock-agreement` -> `clock`, `agreement`.
fn name(meta: &Meta) -> (&'static str, &'static str) {
    let name = meta.id.strip_prefix(meta.area).and_then(|rest| rest.strip_prefix('-'));
    (meta.area, name.unwrap_or_else(|| panic!("{} does not begin with its area {}", meta.id, meta.area)))
}

#[test]
fn ids_are_kebab_case_and_stand_once() {
    let ids: BTreeSet<_> = metas().map(|meta| meta.id).collect();
    assert_eq!(ids.len(), CHECKS.len());
    assert!(ids.iter().all(|id| id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')), "{ids:?}");
}

#[test]
fn every_check_has_its_file_and_every_file_its_check() {
    let registered: BTreeSet<_> = metas()
        .map(|meta| {
            let (area, name) = name(meta);
            format!("{area}/{}.rs", name.replace('-', "_"))
        })
        .collect();
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(root().join("checks")).unwrap() {
        let area = entry.unwrap().path();
        let room = area.file_name().unwrap().to_string_lossy().into_owned();
        if area.is_dir() && !["model", "facts"].contains(&room.as_str()) {
            for entry in fs::read_dir(&area).unwrap().map(|entry| entry.unwrap().path()) {
                // A folder holds parts of the check whose name it bears.
                let file = entry.with_extension("rs");
                files.insert(format!("{room}/{}", file.file_name().unwrap().to_string_lossy()));
            }
        }
    }
    assert_eq!(registered, files);
}

#[test]
fn every_check_says_what_it_is() {
    for meta in metas() {
        let said = [meta.title, meta.question, meta.healthy, meta.why];
        assert!(said.iter().all(|text| !text.is_empty()), "{}", meta.id);
        assert!(meta.question.ends_with('?'), "{} asks no question", meta.id);
        assert!(!meta.remedy.is_empty() && !meta.references.is_empty() && !meta.evidence.is_empty(), "{}", meta.id);
    }
}

#[test]
fn every_check_has_fixtures_that_pass_that_do_not_and_that_cannot_tell() {
    for meta in metas() {
        let (area, name) = name(meta);
        let expected = expected_of(&root().join("fixtures").join(area).join(name));
        let has = |verdicts: &[&str]| {
            verdicts
                .iter()
                .any(|verdict| expected.iter().any(|line| line.starts_with(&format!("{} {verdict} ", meta.id))))
        };
        assert!(has(&["pass"]), "{} has no fixture that passes", meta.id);
        assert!(has(&["fail", "warn", "unknown"]), "{} has no fixture with a trouble", meta.id);
        assert!(has(&["unknown", "skip"]), "{} has no fixture that cannot tell", meta.id);
    }
}

#[test]
fn the_readme_lists_every_check_in_order() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let rows: Vec<_> = readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).collect();
    let rows: Vec<_> = rows.into_iter().filter(|(id, _)| metas().any(|meta| meta.id == *id)).collect();
    let expected: Vec<_> = metas().map(|meta| (meta.id, format!("{} |", meta.question))).collect();
    assert_eq!(rows.len(), expected.len(), "the table of checks in README.md is not complete");
    for ((id, row), (expected_id, question)) in rows.into_iter().zip(expected) {
        assert_eq!((id, row), (expected_id, question.as_str()));
    }
}

/// The judging crate can reach no network, whatever its dependencies pull in.
#[test]
fn the_checks_depend_on_nothing_that_talks() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "-p", "exchange-preflight-checks", "-e", "normal", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("picky-krb"), "cargo tree told nothing:\n{tree}");
    for talker in ["tokio", "mio", "socket2", "hyper", "rustls", "ldap3", "hickory-resolver", "sntpc"] {
        assert!(!tree.lines().any(|line| line.split(' ').next() == Some(talker)), "checks/ can reach {talker}");
    }
}

/// The arrows of the house: areas -> model and facts, model -> facts, facts -> nothing; wire and render know no check.
#[test]
fn the_rooms_keep_to_their_arrows() {
    let areas: BTreeSet<_> = metas().map(|meta| meta.area).collect();
    let areas_but = |own: &str| -> Vec<String> {
        areas.iter().filter(|area| **area != own).map(|area| format!("crate::{area}")).collect()
    };
    let with = |words: &[&str], areas: Vec<String>| -> Vec<String> {
        words.iter().map(ToString::to_string).chain(areas).collect()
    };
    let mut forbidden = vec![
        ("checks/facts".to_string(), with(&["model::", "crate::CHECKS"], areas_but(""))),
        ("checks/model".to_string(), with(&["crate::CHECKS"], areas_but(""))),
        ("src/wire".to_string(), with(&["CHECKS", "model::check", "model::finding"], Vec::new())),
    ];
    for area in &areas {
        forbidden.push((format!("checks/{area}"), with(&["crate::CHECKS"], areas_but(area))));
    }
    for (room, words) in forbidden {
        for file in files_of(&root().join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            for word in &words {
                assert!(!text.contains(word.as_str()), "{} reaches {word}", file.display());
            }
        }
    }
}

/// The files of a room, those in folders as well.
fn files_of(room: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(room).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_of(&path) } else { vec![path] }).collect()
}

/// The README's complete plan is one that the program takes.
#[test]
fn the_readme_shows_a_plan_that_is_right() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let example = fs::read_to_string(root().join("fixtures/plans/example.toml")).unwrap();
    assert!(readme.contains(&example), "README.md does not show fixtures/plans/example.toml");
    assert_eq!(exchange_preflight::plan_file::parse(&example).map(|draft| draft.servers.len()), Ok(2));
}
