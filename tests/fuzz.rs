//! The corpora of the fuzz targets, replayed: what once was found to be hard stays borne.

use crate::judgement::root;
use std::fs;

#[path = "fuzz/targets.rs"]
mod targets;

#[test]
fn every_target_bears_its_corpus() {
    let manifest = fs::read_to_string(root().join("tests/fuzz/Cargo.toml")).unwrap();
    for (name, _) in targets::TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is no program of tests/fuzz");
        let corpus = fs::read_dir(root().join("tests/fuzz/corpus").join(name)).unwrap();
        let inputs: Vec<Vec<u8>> = corpus.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in inputs {
            targets::run(name, &input);
            // What breaks off, and what has one byte wrong, is as likely as anything.
            for cut in 0..input.len().min(512) {
                targets::run(name, &input[..cut]);
                let mut wrong = input.clone();
                wrong[cut] ^= 0x81;
                targets::run(name, &wrong);
            }
        }
    }
}
