//! `certificate-unrevoked`: has the authority taken a certificate back?

use crate::{
    facts::certificate::{Certificate, RevocationList, Signed},
    model::{
        certificates::{Certificates, Leaf, judge_leaves, list_needs},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        fetch::Fetch,
        finding::{Finding, Verdict},
        meta::{Basis, Fold, Meta},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
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
    symptoms: &["454 4.7.0 CertificateRevoked", "CAPI2 events 30, 41, 42", "RevocationStatusUnknown"],
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
        judge_leaves(&META, estate, evidence, |certificates, leaf| judge(certificates, leaf, estate, evidence))
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
    Revoked(String),
}

fn judge(certificates: &Certificates, leaf: &Leaf<'_>, estate: &Estate, evidence: &Evidence) -> Finding {
    let ways = leaf.chains().into_iter().map(|shown| certificates.way_as_known(shown, false));
    let mut words: Vec<Word> = Vec::new();
    for way in ways {
        let links: Vec<_> = way.below_root().chain(way.root()).collect();
        words.extend(links.windows(2).map(|pair| word(pair[0], pair[1], certificates.now, estate, evidence)));
        // The last one's issuer may be unknown, and then nobody can say whose list it is.
        if way.root().is_none() && !way.last().is_self_issued() && !way.last().list_urls.is_empty() {
            words.push(Word::Unreachable(format!(
                "the issuer of \"{}\" is not known, so its list cannot be verified",
                way.last().subject
            )));
        }
    }
    let (verdict, code, said) = match words.into_iter().max() {
        None | Some(Word::NoList) => (Verdict::Skip, None, "it names no list over HTTP".to_string()),
        Some(Word::Good(said)) => (Verdict::Pass, None, said),
        Some(Word::Stale(said)) => (Verdict::Warn, Some("stale-list"), said),
        Some(Word::Unreachable(said)) => (Verdict::Unknown, Some("list-unreachable"), said),
        Some(Word::Revoked(said)) => (Verdict::Fail, Some("revoked"), said),
    };
    let finding =
        Finding::new(&META, leaf.subject(), verdict, format!("{}: {said}", leaf.at())).suspects(leaf.trouble());
    let Some(code) = code else { return finding };
    mend(code).into_iter().fold(finding.code(code), Finding::remedy)
}

fn word(certificate: &Certificate, issuer: &Certificate, now: Timestamp, estate: &Estate, evidence: &Evidence) -> Word {
    let mut why_not = None;
    let name = certificate.subject.to_string();
    for url in &certificate.list_urls {
        let Some(fetch) = Fetch::of(url, estate, evidence) else { continue };
        let Some(file) = fetch.file else {
            why_not = why_not.or(fetch.why_not.map(|why| format!("the list at {url}: {why}")));
            continue;
        };
        let Some(list) = RevocationList::parse(&file.body.0) else {
            why_not = why_not.or(Some(format!("what stands at {url} is no list of revoked certificates")));
            continue;
        };
        if list.signed_by(issuer) == Signed::No {
            why_not = why_not.or(Some(format!("the list at {url} is not signed by \"{}\"", issuer.subject)));
            continue;
        }
        if list.names(certificate) {
            return Word::Revoked(format!("\"{name}\" is revoked, by the list at {url}"));
        }
        let date = |instant: Timestamp| instant.strftime("%Y-%m-%d").to_string();
        return match list.next_update {
            Some(due) if due < now => Word::Stale(format!("the list at {url} was due to be renewed on {}", date(due))),
            _ => Word::Good(format!("the list of {} does not name it", date(list.this_update))),
        };
    }
    why_not.map_or(Word::NoList, Word::Unreachable)
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
