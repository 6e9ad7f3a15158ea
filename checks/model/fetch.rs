//! Files that certificates point to: a URL becomes a lookup of its host, and then a question to that host.

use crate::{
    facts::{
        dns::{DnsLookup, RecordKind},
        web::{HttpFetch, HttpFile, http_url},
    },
    model::{
        ask::{Ask, Endpoint},
        estate::Estate,
        evidence::{Answer, Evidence},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;

/// So many addresses of the host are tried, one after the other.
const TRIES: usize = 2;

/// A file that a certificate points to: what is asked for it, and what has come of that.
pub struct Fetch<'e> {
    /// Everything to be asked by now.
    pub asks: Vec<Ask>,
    /// The file, once it is there.
    pub file: Option<&'e HttpFile>,
    /// Why it is not there, once that is known.
    pub why_not: Option<String>,
}

impl<'e> Fetch<'e> {
    /// What there is to know of a URL; `None` for one that we do not follow (anything but plain HTTP).
    pub fn of(url: &str, estate: &Estate, evidence: &'e Evidence) -> Option<Self> {
        let (host, port, path) = http_url(url)?;
        let lookups = [RecordKind::A, RecordKind::Aaaa].map(|records| estate.lookup(&host, records));
        let is_resolved = lookups.iter().all(|ask| evidence.holds(ask));
        let mut fetch = Self { asks: lookups.to_vec(), file: None, why_not: None };
        // One address after the other, and none before all are known: what is asked must not depend on who was faster.
        if !is_resolved {
            return Some(fetch);
        }
        let resolves_to = |ask: &Ask| {
            evidence.answer::<DnsLookup>(ask).facts().is_some_and(|answer| answer.addresses().next().is_some())
        };
        if !lookups.iter().any(resolves_to) {
            fetch.why_not = Some(format!("{host} does not resolve"));
        }
        for to in estate.endpoints(&host, port).into_iter().filter(is_elsewhere).take(TRIES) {
            let ask = Ask::new(to, HttpFetch { path: path.clone() });
            fetch.asks.push(ask.clone());
            match evidence.answer::<HttpFetch>(&ask) {
                // Not yet known: the address before it says nothing of the file.
                Answer::NotAsked => {
                    fetch.why_not = None;
                    break;
                }
                Answer::Told(file, None) if file.status == 200 => {
                    fetch.file = Some(file);
                    fetch.why_not = None;
                    break;
                }
                Answer::Told(file, None) => {
                    fetch.why_not = Some(told(&ask.to, &format!("HTTP status {}", file.status)));
                    break;
                }
                Answer::Missed(miss) | Answer::Told(_, Some(miss)) => {
                    fetch.why_not = Some(told(&ask.to, &miss.to_string()));
                }
            }
        }
        Some(fetch)
    }
}

/// A certificate may name any host; this machine itself and its own link are none of its business.
fn is_elsewhere(to: &Endpoint) -> bool {
    to.address.is_some_and(|address| match address {
        IpAddr::V4(v4) => !(v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || v4.is_multicast()),
        IpAddr::V6(v6) => !(v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast()),
    })
}

fn told(to: &Endpoint, what: &str) -> String {
    format!("{to}: {what}")
}
