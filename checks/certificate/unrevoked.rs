//! `certificate-unrevoked`: has the authority taken a certificate back?

use crate::{
    facts::certificate::{Certificate, RevocationList, Signed},
    model::{
        certificates::{self, Certificates, Leaf, judge_leaves, list_needs},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{
    collections::BTreeMap,
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::cell::RefCell;
use jiff::Timestamp;

/// See the module.
pub struct Unrevoked;

static META: Meta = Meta {
    id: "certificate-unrevoked",
    area: "certificate",
    title: "Certificates are not revoked",
    question: "Is no certificate on the list of those that its authority has taken back, and can that list be had?",
    healthy: "the list of revoked certificates can be fetched, is of today, and names none of these",
    why: "Exchange and Windows ask for that list. A revoked certificate is refused; a list that cannot be had delays the handshake, and some peers refuse then, too.",
    remedy: &[
        "Revoked: have a new certificate issued and put it into service at once; ask the authority why",
        "Stale or out of reach: let the authority publish its list again (certutil -crl on the issuing server); open the way to the URL from the servers: certutil -url <URL>",
    ],
    references: &["RFC 5280 sections 5 and 6.3"],
    symptoms: &[
        "454 4.7.0 CertificateRevoked",
        "CAPI2 events 30, 41, 42",
        "RevocationStatusUnknown",
        "RevocationOffline",
    ],
    tier: Tier::Anonymous,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Unrevoked {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        list_needs(estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let lists = Lists { estate, evidence, read: RefCell::default() };
        judge_leaves(&META, estate, evidence, |seen, leaf| judge(seen, leaf, &lists))
    }
}

/// What a list says of one certificate.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    /// It names no list that is fetched over HTTP.
    NoList,
    Good(String),
    Stale(String),
    Unreachable(String),
    /// And the thumbprint of the one that is.
    Revoked(String, String),
}

fn judge(seen: &Certificates, leaf: &Leaf<'_>, lists: &Lists<'_>) -> Finding {
    let ways = leaf.chains().into_iter().map(|shown| seen.way_of(shown, false));
    let mut words: Vec<Word> = Vec::new();
    for way in ways {
        let links: Vec<_> = way.below_root().chain(way.root()).collect();
        words.extend(links.windows(2).map(|pair| lists.word(pair[0], pair[1], seen.now)));
        // The last one's issuer may be unknown, and then nobody can say whose list it is.
        let last = way.last();
        if way.root().is_none() && certificates::lists(last, lists.estate, lists.evidence).next().is_some() {
            let why = format!("the issuer of \"{}\" is not known, so its list cannot be verified", last.subject);
            words.push(Word::Unreachable(why));
        }
    }
    let mut revoked = None;
    let (verdict, code, said) = match words.into_iter().max() {
        None | Some(Word::NoList) => (Verdict::Skip, None, "it names no list over HTTP".to_string()),
        Some(Word::Good(said)) => (Verdict::Pass, None, said),
        Some(Word::Stale(said)) => (Verdict::Warn, Some("stale-list"), said),
        Some(Word::Unreachable(said)) => (Verdict::Unknown, Some("list-unreachable"), said),
        Some(Word::Revoked(said, thumbprint)) => {
            revoked = Some(Trouble::CertificateBad(thumbprint));
            (Verdict::Fail, Some("revoked"), said)
        }
    };
    let finding =
        Finding::new(&META, leaf.subject(), verdict, format!("{}: {said}", leaf.at())).suspects(leaf.trouble());
    // It may be one above it that is bad.
    let finding = Finding { is: revoked, ..finding };
    let Some(code) = code else { return finding };
    mend(code).into_iter().fold(finding.code(code), Finding::remedy)
}

/// Lists that were fetched, each read and verified once: some have a hundred thousand entries.
struct Lists<'e> {
    estate: &'e Estate,
    evidence: &'e Evidence,
    read: RefCell<BTreeMap<Source, Read>>,
}

/// Where a list stands, and the key of whoever should have signed it.
type Source = (String, Vec<u8>);
/// The list, or why there is none that counts.
type Read = Result<Rc<RevocationList>, String>;

impl Lists<'_> {
    fn word(&self, certificate: &Certificate, issuer: &Certificate, now: Timestamp) -> Word {
        let date = |instant: Timestamp| instant.strftime("%Y-%m-%d").to_string();
        let mut why_not = None;
        for (url, fetch) in certificates::lists(certificate, self.estate, self.evidence) {
            let Some(file) = fetch.file else {
                why_not = why_not.or(fetch.why_not.map(|why| format!("the list at {url}: {why}")));
                continue;
            };
            let list = match self.verified(url, &file.body.0, issuer) {
                Ok(list) => list,
                Err(why) => {
                    why_not = why_not.or(Some(why));
                    continue;
                }
            };
            if list.names(certificate) {
                let said = format!("\"{}\" is revoked, by the list at {url}", certificate.subject);
                return Word::Revoked(said, certificate.thumbprint.clone());
            }
            return match list.next_update {
                Some(due) if due < now => {
                    Word::Stale(format!("the list at {url} was due to be renewed on {}", date(due)))
                }
                _ => Word::Good(format!("the list of {} does not name it", date(list.this_update))),
            };
        }
        why_not.map_or(Word::NoList, Word::Unreachable)
    }

    /// Over plain HTTP anybody could hand us a list, so that only one with the issuer's signature counts.
    fn verified(&self, url: &str, body: &[u8], issuer: &Certificate) -> Read {
        let key = (url.to_string(), issuer.key_der.clone());
        if let Some(known) = self.read.borrow().get(&key) {
            return known.clone();
        }
        let read = RevocationList::parse(body)
            .ok_or_else(|| format!("what stands at {url} is no list of revoked certificates"));
        let verified = read.and_then(|list| match list.signed_by(issuer) {
            Signed::Yes => Ok(Rc::new(list)),
            Signed::No => Err(format!("the list at {url} is not signed by \"{}\"", issuer.subject)),
            Signed::NotCheckable => Err(format!("the signature of the list at {url} cannot be checked here")),
        });
        self.read.borrow_mut().insert(key, verified.clone());
        verified
    }
}

fn mend(code: &str) -> Vec<String> {
    match code {
        "revoked" => ["Have a new certificate issued and put it into service now; ask the authority why it took this one back."],
        "stale-list" => ["Let the authority publish its list anew (on a company's issuing server: certutil -crl), and see that the copy behind the URL follows."],
        _ => ["Exchange servers need that list, too: open the way to it from them (certutil -url <URL> tries it), or look from a place that has it."],
    }
    .map(ToString::to_string)
    .into()
}
