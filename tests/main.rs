//! Everything that is tested. What needs the lab is marked ignored: `cargo test -- --include-ignored`.

mod cli;
mod judgement;
mod lab;
mod registry;
mod wire;
