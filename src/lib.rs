//! The application around the checks: it finds, asks, records, judges and tells. `main.rs` turns arguments into one
//! call; everything else is here, so that tests reach it.

pub mod cli;
pub mod compare;
pub mod discover;
pub mod draft;
pub mod password;
pub mod plan_file;
pub mod recording;
pub mod rehearse;
pub mod renewal;
pub mod report;
pub mod sightings;
pub mod survey;
pub mod trust_file;

/// The files that an administrator gives beside what the wire tells: exports, logs, a certificate that is to be installed.
pub mod inputs {
    pub mod candidate;
    pub mod certificates;
    pub mod export;
    pub mod files;
    pub mod mistake;
    pub mod rows;
    pub mod scuba;
    pub mod send_log;
    pub mod sound;
    pub mod text;
    pub mod values;

    pub use files::{add, read};
}

/// What is told, and how it looks. Each gets a finished report and knows no check.
pub mod render {
    pub mod chain;
    pub mod checks;
    pub mod escape;
    pub mod inputs;
    pub mod json;
    pub mod rehearsal;
    mod renewal;
    pub mod steps;
    pub mod text;
}

/// Sockets live here and nowhere else: one protocol a file, without opinion.
pub mod wire {
    pub mod budget;
    pub mod clock;
    pub mod conversation;
    pub mod credential;
    pub mod parsers;
    pub mod stores;
    pub mod vantage;

    mod bind;
    mod census;
    mod cldap;
    mod directory;
    mod dns;
    mod dns_runtime;
    mod fence;
    mod fetch;
    mod frame;
    mod hello;
    mod http;
    mod http_login;
    mod https;
    mod icmp;
    mod kdc_messages;
    mod kerberos;
    mod ldap;
    mod message;
    mod ntp;
    mod proof;
    mod pump;
    mod random;
    mod refusal;
    mod security;
    mod session;
    mod smb;
    mod smtp;
    mod smtp_login;
    mod tcp;
    mod text;
    mod ticket;
    mod tickets;
    mod tls;
    mod udp;
    mod verified;
}
