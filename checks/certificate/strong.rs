//! `certificate-strong`: are keys, signatures and TLS itself of a kind that peers still take?

use crate::{
    facts::{
        certificate::longest_public_lifetime,
        tls::version_name,
        verification::{weak_key, weakness},
    },
    model::{
        certificates::{Certificates, Leaf, Shown, judge_leaves, trust_needs},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Verdict},
        holder::Holder,
        listeners::Facing,
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Strong;

const TLS12: u16 = 0x0303;

static META: Meta = Meta {
    id: "certificate-strong",
    area: "certificate",
    title: "Keys, signatures and TLS are strong enough",
    question: "Are keys, signatures, lifetimes and the version of TLS of a kind that peers still take?",
    healthy: "RSA of 2048 bits or more or an elliptic curve, signed with SHA-256 or better, over TLS 1.2 or 1.3",
    why: "Libraries of today refuse small keys, MD5 and SHA-1, and TLS before 1.2, and say nothing more than that the handshake failed.",
    remedy: &[
        "Renew the certificate with a key of 2048 bits or more, from an authority that signs with SHA-256: New-ExchangeCertificate -GenerateRequest -KeySize 2048",
        "Turn on TLS 1.2 for SChannel and .NET on the server, as Exchange's TLS guidance says, and restart it",
    ],
    references: &[
        "CA/Browser Forum Baseline Requirements sections 6.1.5, 6.3.2 and 7.1.3",
        "RFC 8996",
        "Exchange Server TLS guidance (Microsoft Learn)",
    ],
    symptoms: &["454 4.7.0 because negotiated Tls cipher strength is too weak", "Schannel events 36871, 36874"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Strong {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        trust_needs(estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        judge_leaves(&META, estate, evidence, |certificates, leaf| judge(certificates, leaf, estate, evidence))
    }
}

fn judge(certificates: &Certificates, leaf: &Leaf<'_>, estate: &Estate, evidence: &Evidence) -> Finding {
    let weak =
        |(facing, (code, said))| (if facing == Facing::Outside { Verdict::Fail } else { Verdict::Warn }, code, said);
    let odd = |(code, said)| (Verdict::Warn, code, said);
    let weak_links =
        leaf.chains().into_iter().filter_map(|shown| Some((shown.facing(), weak_link(certificates, leaf, shown)?)));
    let old = leaf.shown.iter().filter_map(|shown| Some((shown.facing(), old_tls(shown)?)));
    let found = weak_links.chain(old).max_by_key(|(facing, _)| *facing).map(weak);
    let found = found.or_else(|| too_long(certificates, leaf).map(odd));
    let found = found.or_else(|| still_on(leaf, estate, evidence).map(odd));
    let Some((verdict, code, said)) = found else {
        let versions: Vec<_> = leaf.shown.iter().filter_map(|shown| shown.version).collect();
        let version = versions.iter().min().map_or("", |version| version_name(*version));
        let said = format!("{}: {}, {version}", leaf.at(), leaf.certificate.key);
        return Finding::new(&META, leaf.subject(), Verdict::Pass, said);
    };
    let finding = Finding::new(&META, leaf.subject(), verdict, format!("{}: {said}", leaf.at())).code(code);
    mend(leaf, code, estate).into_iter().fold(finding, Finding::remedy)
}

type Word = (&'static str, String);

/// A key or a signature on the way to the root that libraries refuse. A root is known by its key, and the signature on it never
/// counts.
fn weak_link(certificates: &Certificates, leaf: &Leaf<'_>, shown: &Shown) -> Option<Word> {
    let way = certificates.way_of(shown, false);
    let below = way.below_root().find_map(|link| Some((link, weakness(link)?)));
    let (link, weak) = below.or_else(|| Some((way.root()?, weak_key(way.root()?)?)))?;
    let is_leaf = link.der == leaf.certificate.der;
    let name = if is_leaf { "it".to_string() } else { format!("its issuer \"{}\"", link.subject) };
    Some((if weak_key(link).is_some() { "weak-key" } else { "weak-signature" }, format!("{name} has {weak}")))
}

/// It is shown by way of an old version alone.
fn old_tls(shown: &Shown) -> Option<Word> {
    let version = shown.version.filter(|version| shown.is_old && *version < TLS12)?;
    Some(("old-tls", format!("{} speaks {} at the most", shown.place(), version_name(version))))
}

/// Public authorities may not sign for so long, and browsers refuse it.
fn too_long(certificates: &Certificates, leaf: &Leaf<'_>) -> Option<Word> {
    const DAY: i64 = 24;
    let certificate = leaf.certificate;
    let is_public = leaf.chains().into_iter().any(|shown| certificates.way_of(shown, true).root().is_some());
    let limit = longest_public_lifetime(certificate.not_before);
    let lives = certificate.lifetime();
    // The last second belongs to the life: a certificate of 200 days ends a second before the 201st begins.
    (is_public && lives > limit && !certificate.is_self_issued()).then(|| {
        let (days, most) = (lives.as_hours() / DAY, limit.as_hours() / DAY);
        (
            "too-long-validity",
            format!("it lives {days} days; of public authorities issued when it was, {most} are allowed"),
        )
    })
}

/// TLS 1.0 or 1.1 is still on, and the plan forbids that.
fn still_on(leaf: &Leaf<'_>, estate: &Estate, evidence: &Evidence) -> Option<Word> {
    if !estate.plan.forbid_old_tls {
        return None;
    }
    leaf.shown.iter().find_map(|shown| {
        let looks = shown.listener.asks(estate, evidence).into_iter().map(|ask| shown.listener.look(&ask, evidence));
        let old = looks.filter_map(|look| look.seen()?.version).filter(|version| *version < TLS12).max()?;
        Some(("old-tls", format!("{} still takes {}, which the plan forbids", shown.place(), version_name(old))))
    })
}

fn mend(leaf: &Leaf<'_>, code: &str, estate: &Estate) -> Vec<String> {
    match code {
        "old-tls" => {
            let host = leaf.shown.first().map_or("<SERVER>", |shown| shown.listener.to.host.as_str());
            [
                format!("On {host}, turn on TLS 1.2 and turn off what is older; on Windows for SChannel and .NET, as Microsoft's Exchange TLS guidance says, and then restart it:"),
                r"    Get-ChildItem HKLM:\SYSTEM\CurrentControlSet\Control\SecurityProviders\SCHANNEL\Protocols -Recurse".to_string(),
            ]
            .into()
        }
        "too-long-validity" => {
            ["Ask its authority for one of a lawful lifetime at the next renewal.".to_string()].into()
        }
        _ => {
            let what = "A key of 2048 bits or more and SHA-256 all the way up are wanted.".to_string();
            [what].into_iter().chain(Holder::of(leaf, estate).replace()).collect()
        }
    }
}
