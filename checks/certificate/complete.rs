//! `certificate-complete`: does a server send all that a peer needs to reach the root, and nothing else?

use crate::{
    facts::{
        certificate::Certificate,
        chain::{End, Way},
        web::http_url,
    },
    model::{
        certificates::{Certificates, Leaf, Shown, judge_leaves, trust_needs},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Trouble, Verdict},
        holder::Holder,
        listeners::Facing,
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{format, string::String, vec::Vec};

/// See the module.
pub struct Complete;

static META: Meta = Meta {
    id: "certificate-complete",
    area: "certificate",
    title: "Chains are sent whole",
    question: "Does every server send the intermediates of its certificate, in order and nothing else?",
    healthy: "the server's certificate first, then each issuer, up to the one that a root signed",
    why: "Windows fetches an intermediate that a server forgets, most Linux mail servers do not, and Exchange Online wants the whole chain sent (KB 3212877). So mail from some senders stops, and from others it does not.",
    remedy: &[
        "Install the missing intermediate on the server, in the computer's store \"Intermediate Certification Authorities\": certutil -addstore CA <INTERMEDIATE.CER>",
        "Let transport build the chain anew: Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport",
    ],
    references: &["RFC 5246 section 7.4.2", "RFC 8446 section 4.4.2", "Microsoft KB 3212877"],
    symptoms: &[
        "550 5.7.64 TenantAttribution",
        "CAPI2 event 30",
        "454 4.7.0 TLS channel could not be established: UntrustedRoot",
        "0x800B0109 CERT_E_UNTRUSTEDROOT",
    ],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

const NOT_SENT: &str = "intermediate-not-sent";

impl Check for Complete {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        trust_needs(estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        judge_leaves(&META, estate, evidence, |certificates, leaf| {
            let words = leaf.chains().into_iter().map(|shown| (shown.place(), word(certificates, leaf, shown, estate)));
            let worst = words.max_by_key(|(_, word)| word.verdict);
            let Some((place, word)) = worst else {
                return Finding::new(&META, leaf.subject(), Verdict::Unknown, "never shown");
            };
            judge(leaf, &place, word)
        })
    }
}

struct Word {
    verdict: Verdict,
    code: Option<&'static str>,
    said: String,
    remedy: Vec<String>,
}

impl Word {
    fn new(verdict: Verdict, code: Option<&'static str>, said: String) -> Self {
        Self { verdict, code, said, remedy: Vec::new() }
    }
}

fn judge(leaf: &Leaf<'_>, place: &str, word: Word) -> Finding {
    let others = leaf.shown.iter().any(|shown| shown.place() != place);
    let at =
        if others && word.verdict > Verdict::Pass { format!("{} (seen at {place})", leaf.at()) } else { leaf.at() };
    let finding =
        Finding::new(&META, leaf.subject(), word.verdict, format!("{at}: {}", word.said)).suspects(leaf.trouble());
    let finding = word.remedy.into_iter().fold(finding, Finding::remedy);
    match word.code {
        Some(code) if code == NOT_SENT => {
            finding.code(code).is(Trouble::ChainUnsent(leaf.certificate.thumbprint.clone()))
        }
        Some(code) => finding.code(code),
        None => finding,
    }
}

fn word(certificates: &Certificates, of: &Leaf<'_>, shown: &Shown, estate: &Estate) -> Word {
    let (leaf, sent) = (certificates.leaf(shown), certificates.others(shown));
    if leaf.is_self_signed() && sent.is_empty() {
        return Word::new(Verdict::Pass, None, "self-signed, so nothing more is to be sent".into());
    }
    let way = certificates.way_as_sent(shown, false);
    let known = certificates.way_as_known(shown, false);
    let missing: Vec<_> = known
        .between()
        .filter(|step| !step.is_self_issued() && !sent.iter().any(|other| other.der == step.der))
        .collect();
    let reaches_further = known.above.len() > way.above.len() || way.root().is_none() && known.root().is_some();
    if way.root().is_none() && !missing.is_empty() && reaches_further {
        return intermediate_not_sent(certificates, shown, &way, &missing, &Holder::of(of, estate));
    }
    if let End::NotCheckable(issuer) | End::Forged(issuer) = way.end {
        let verdict = if shown.facing() == Facing::Outside { Verdict::Unknown } else { Verdict::Skip };
        let said = format!("whether all is sent cannot be told: the signature by \"{}\" is in doubt", issuer.subject);
        return Word::new(verdict, None, said);
    }
    if matches!(way.end, End::NoIssuer) && way.above.is_empty() {
        let verdict = if shown.facing() == Facing::Outside { Verdict::Unknown } else { Verdict::Skip };
        let said = format!("whether \"{}\" ought to be sent cannot be told: nothing is known of it", leaf.issuer);
        return Word::new(verdict, None, said);
    }
    order_of(&way, leaf, &sent)
}

fn intermediate_not_sent(
    certificates: &Certificates,
    shown: &Shown,
    way: &Way<'_>,
    missing: &[&Certificate],
    holder: &Holder<'_>,
) -> Word {
    let verdict = if shown.facing() == Facing::Outside { Verdict::Fail } else { Verdict::Warn };
    let names: Vec<_> = missing.iter().map(|step| format!("\"{}\"", step.subject)).collect();
    let names = names.join(", ");
    // The one that is followed; of other kinds a certificate may hold a whole page.
    let url = way.last().issuer_urls.iter().find(|url| http_url(url).is_some());
    let source = match url {
        Some(url) if missing.iter().any(|step| certificates.is_fetched(step)) => format!("; it stands at {url}"),
        _ => "; another server of the estate sends it".into(),
    };
    let said = format!("the intermediate {names} is not sent{source}");
    let mut word = Word::new(verdict, Some(NOT_SENT), said);
    let file = url.map_or("<INTERMEDIATE.CER>", |url| url.rsplit('/').next().unwrap_or(url));
    // A name from a certificate enters a command only if it is harmless there.
    let is_plain = file.starts_with(|first: char| first.is_ascii_alphanumeric())
        && file.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let file = if is_plain { file } else { "<INTERMEDIATE.CER>" };
    word.remedy = holder.send_along(&names, file);
    word.remedy.push(
        "Until then senders that fetch nothing (most on Linux) refuse or fall back to plain text; Windows hides it."
            .into(),
    );
    word
}

/// All that is needed is there. Is it in order, and is it all?
fn order_of(way: &Way<'_>, leaf: &Certificate, sent: &[&Certificate]) -> Word {
    let position = |step: &Certificate| sent.iter().position(|other| other.key_der == step.key_der);
    let positions: Vec<_> = way.above.iter().copied().chain(way.root()).filter_map(position).collect();
    if !positions.is_sorted() {
        let names: Vec<_> = sent.iter().map(|other| format!("\"{}\"", other.subject)).collect();
        let said = format!("the chain is sent in the wrong order: {}", names.join(", then "));
        let right: Vec<_> = way.between().map(|step| format!("\"{}\"", step.subject)).collect();
        let mut word = Word::new(Verdict::Warn, Some("wrong-order"), said);
        word.remedy =
            [format!("Behind the server's own the right order is {}; the root need not be sent.", right.join(", "))]
                .into();
        return word;
    }
    // Another signature for a key on the way is a cross-certificate, which has its use; and what is sent twice is read twice.
    let on_the_way: Vec<_> = way.above.iter().copied().chain([leaf]).chain(way.root()).collect();
    let is_stranger = |other: &&&Certificate| on_the_way.iter().all(|step| step.key_der != other.key_der);
    if let Some(stranger) = sent.iter().find(is_stranger) {
        let said = format!("\"{}\" is sent along and has nothing to do with it", stranger.subject);
        let mut word = Word::new(Verdict::Warn, Some("unrelated-extra"), said);
        let serial = format!(
            "Take \"{}\" (sha1 {}) out of what is sent: on Windows out of the computer's store of intermediates, elsewhere out of the file.",
            stranger.subject, stranger.thumbprint
        );
        word.remedy = [serial].into();
        return word;
    }
    let root_sent = way.root().is_some_and(|root| sent.iter().any(|other| other.key_der == root.key_der));
    let note = if root_sent { "; the root is sent along, which does no harm" } else { "" };
    Word::new(Verdict::Pass, None, format!("{} sent{note}", count(sent.len())))
}

fn count(others: usize) -> String {
    match others {
        0 => "it alone is needed and".into(),
        1 => "it and one certificate above it are".into(),
        more => format!("it and {more} certificates above it are"),
    }
}
