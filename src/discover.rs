//! Finding the domain where nobody stated it.

use crate::wire::conversation::Wire;
use exchange_preflight_checks::{
    facts::dns::{DnsLookup, RecordKind, canonical_name, is_host_name, locator, srv_name},
    model::{
        ask::Ask,
        estate,
        evidence::{Evidence, Observation},
    },
};
use hickory_resolver::system_conf::read_system_conf;
use jiff::Timestamp;
use std::{env, fs, net::SocketAddr, path::PathBuf};

/// A domain that the machine's own configuration suggests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub domain: String,
    /// Where it stands.
    pub source: String,
}

/// What the user who logs on and the machine's own configuration suggest, the likeliest first, each domain once.
pub fn candidates(user: Option<&str>) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let of_machine = from_environment().into_iter().chain(from_resolver()).chain(from_krb5_conf());
    let found = user.and_then(from_user).into_iter().chain(of_machine);
    for (domain, source) in found {
        let domain = canonical_name(&domain);
        // A configuration can say anything; the domain is printed in commands and kept in recordings.
        if is_host_name(&domain) && candidates.iter().all(|candidate| candidate.domain != domain) {
            candidates.push(Candidate { domain, source });
        }
    }
    candidates
}

/// The first candidate that DNS knows as an Active Directory domain.
pub async fn first_domain(candidates: Vec<Candidate>, wire: &Wire, resolver: Option<SocketAddr>) -> Option<Candidate> {
    for candidate in candidates {
        let lookup = DnsLookup { name: srv_name(locator::CONTROLLERS, &candidate.domain), records: RecordKind::Srv };
        let ask = Ask::new(estate::resolver(resolver), lookup);
        let reply = wire.converse(&ask).await;
        let evidence: Evidence =
            [Observation { ask: ask.clone(), reply, when: Timestamp::UNIX_EPOCH }].into_iter().collect();
        if evidence.answer::<DnsLookup>(&ask).facts().is_some_and(|answer| answer.targets().next().is_some()) {
            return Some(candidate);
        }
    }
    None
}

/// The suffix of a UPN mostly is the domain's name; where it is not, DNS knows no controllers of it.
fn from_user(user: &str) -> Option<(String, String)> {
    let (_, suffix) = user.rsplit_once('@')?;
    Some((suffix.into(), "the user who logs on".into()))
}

fn from_environment() -> Option<(String, String)> {
    Some((env::var("USERDNSDOMAIN").ok()?, "the environment variable USERDNSDOMAIN".into()))
}

fn from_resolver() -> Vec<(String, String)> {
    let Ok((config, _)) = read_system_conf() else { return Vec::new() };
    let names = config.domain().into_iter().chain(config.search());
    names.map(|name| (name.to_utf8(), "this machine's DNS search list".to_string())).collect()
}

/// `default_realm` of krb5.conf: the realm of an Active Directory domain is its DNS name.
fn from_krb5_conf() -> Option<(String, String)> {
    let path = env::var_os("KRB5_CONFIG").map_or_else(|| PathBuf::from("/etc/krb5.conf"), PathBuf::from);
    let text = fs::read_to_string(&path).ok()?;
    let realm = text.lines().find_map(|line| line.trim().strip_prefix("default_realm")?.trim().strip_prefix('='))?;
    Some((realm.trim().to_string(), format!("default_realm in {}", path.display())))
}
