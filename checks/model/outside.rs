//! Mail servers that are none of the estate's, and to which its mail goes: whether they are found, answer, begin TLS, and what
//! they show.

use crate::{
    facts::{
        certificate::Certificate,
        chain::{End, best_way},
        dns::{DnsLookup, RecordKind, is_host_name},
        net::SMTP_PORT,
        smtp::{SmtpReply, SmtpSession, Upgrade},
        tls::Offer,
        trust::RootsNamed,
    },
    model::{
        ask::{Ask, Endpoint},
        certificates::{roots_named, stores},
        clocks::estate_now,
        estate::Estate,
        evidence::{Answer, Evidence, Miss},
        listeners::quote,
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;

/// So many of them are asked in one run for one reason.
pub const MOST_HOSTS: usize = 8;
/// So many addresses of one.
const MOST_ADDRESSES: usize = 4;

/// Everything to be asked of these, by what is known so far: their addresses, one session without mail at each, and the roots to
/// which leads what they show.
pub fn asks(host: &str, estate: &Estate, evidence: &Evidence) -> Vec<Ask> {
    let sessions = sessions(host, estate);
    let chains = sessions.iter().filter_map(|ask| chain(evidence.answer::<SmtpSession>(ask).facts()?));
    let roots: Vec<_> =
        chains.flatten().flat_map(|certificate| roots_named(&certificate, estate, evidence).0).collect();
    lookups(host, estate).into_iter().chain(sessions).chain(roots).collect()
}

/// What was met at one address.
#[derive(Debug)]
pub enum Met<'e> {
    /// Not asked, or the run ended before.
    Untold,
    /// It could not be reached, or said nothing of use.
    Missed(&'e Miss),
    /// It talks, and begins no TLS; why not, in words.
    NoTls(String),
    /// It showed these, its own certificate first.
    Shown(Vec<Certificate>),
}

/// How a host was found.
#[derive(Debug)]
pub enum Found<'e> {
    /// Its name is no name, or leads nowhere.
    Nowhere,
    /// Whether its name leads somewhere could not be told; why, in words.
    Untold(String),
    /// At these addresses.
    At(Vec<(IpAddr, Met<'e>)>),
}

/// How many addresses of a host are left out, for it has too many; in words behind what is said of it, nothing where there is none.
pub fn left_out(host: &str, estate: &Estate) -> String {
    let all = if host.parse::<IpAddr>().is_ok() { 1 } else { estate.endpoints(host, SMTP_PORT).len() };
    match all.saturating_sub(MOST_ADDRESSES) {
        0 => String::new(),
        more => format!("; {more} more of its addresses were not asked"),
    }
}

/// What was met of a host.
pub fn look<'e>(host: &str, estate: &Estate, evidence: &'e Evidence) -> Found<'e> {
    let sessions = sessions(host, estate);
    if !sessions.is_empty() {
        let met = |ask: Ask| Some((ask.to.address?, meet(&evidence.answer::<SmtpSession>(&ask))));
        return Found::At(sessions.into_iter().filter_map(met).collect());
    }
    let answers: Vec<_> = lookups(host, estate).iter().map(|ask| evidence.answer::<DnsLookup>(ask)).collect();
    if answers.iter().all(|answer| answer.facts().is_some()) {
        return Found::Nowhere;
    }
    let miss = answers.iter().find_map(Answer::miss).map(ToString::to_string);
    Found::Untold(miss.unwrap_or_else(|| "the run ended before it was looked up".into()))
}

fn lookups(host: &str, estate: &Estate) -> Vec<Ask> {
    if !is_host_name(host) || host.parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    [RecordKind::A, RecordKind::Aaaa].map(|kind| estate.lookup(host, kind)).into()
}

fn sessions(host: &str, estate: &Estate) -> Vec<Ask> {
    let places = match host.parse::<IpAddr>() {
        Ok(address) => [Endpoint { host: host.to_string(), address: Some(address), port: SMTP_PORT }].into(),
        Err(_) => estate.endpoints(host, SMTP_PORT),
    };
    let session = SmtpSession { upgrade: Upgrade::StartTls, offer: Offer::Usual };
    places.into_iter().take(MOST_ADDRESSES).map(|to| Ask::new(to, session.clone())).collect()
}

fn meet<'e>(answer: &Answer<'e, SmtpReply>) -> Met<'e> {
    let (session, miss) = match answer {
        Answer::NotAsked => return Met::Untold,
        Answer::Missed(miss) => return Met::Missed(miss),
        Answer::Told(session, miss) => (*session, *miss),
    };
    if let Some(chain) = chain(session) {
        return Met::Shown(chain);
    }
    let hello = session.hello().filter(|hello| hello.code() == Some(250));
    match (hello, session.upgrade(), miss) {
        (Some(_), None, None) => Met::NoTls("it offers no STARTTLS".into()),
        (Some(_), Some(refused), _) if refused.code() != Some(220) => {
            Met::NoTls(format!("it refuses STARTTLS: {}", quote(&refused.lines.join(" "))))
        }
        (_, _, Some(miss)) => Met::Missed(miss),
        _ => Met::Untold,
    }
}

fn chain(session: &SmtpReply) -> Option<Vec<Certificate>> {
    let seen = session.tls.as_ref().filter(|seen| !seen.chain.is_empty())?;
    seen.chain.iter().map(|raw| Certificate::parse(&raw.0).ok()).collect()
}

/// Whose roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roots<'s> {
    /// Those that peers outside trust.
    Public,
    /// Those of one store.
    Of(&'s str),
}

/// Where what a host sent leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// To one of the roots.
    ToRoot,
    /// To none of them; to which issuer, in words.
    Elsewhere(String),
    /// That is not known: the roots were not looked up, or a signature cannot be checked.
    Untold,
}

/// Does what a host sent lead to one of these roots?
pub fn leads(chain: &[Certificate], to: Roots<'_>, estate: &Estate, evidence: &Evidence) -> Leads {
    let all = stores(estate);
    let is_meant = |(name, is_public): &&(String, bool)| match to {
        Roots::Public => *is_public,
        Roots::Of(store) => name == store,
    };
    let meant: Vec<&str> = all.iter().filter(is_meant).map(|(name, _)| name.as_str()).collect();
    let is_meant = |store: &str| meant.contains(&store);
    let (mut roots, mut is_told) = (Vec::new(), true);
    for ask in chain.iter().flat_map(|certificate| roots_named(certificate, estate, evidence).0) {
        let Some(named) = <RootsNamed as crate::model::ask::Query>::of(&ask.what) else { continue };
        if is_meant(&named.store) {
            let found = evidence.answer::<RootsNamed>(&ask);
            is_told &= found.facts().is_some();
            let ders = found.facts().into_iter().flat_map(|found| &found.certificates);
            roots.extend(ders.filter_map(|der| Certificate::parse(&der.0).ok()));
        }
    }
    let Some((leaf, others)) = chain.split_first() else { return Leads::Untold };
    let (others, roots): (Vec<_>, Vec<_>) = (others.iter().collect(), roots.iter().collect());
    let way = best_way(leaf, &others, &roots, estate_now(estate, evidence));
    match way.end {
        End::Root(_) => Leads::ToRoot,
        End::NotCheckable(_) | End::TooLong => Leads::Untold,
        _ if !is_told => Leads::Untold,
        _ => Leads::Elsewhere(quote(&way.last().issuer.to_string())),
    }
}
