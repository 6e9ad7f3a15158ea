//! Everything that is tested. What needs the lab is marked ignored: `cargo test -- --include-ignored`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod chains;
mod cli;
mod fuzz;
mod judgement;
mod lab;
mod registry;
mod renewal;
mod wire;
