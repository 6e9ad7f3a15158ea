//! `certificate-named`: does a certificate bear the names by which its server is reached?

use crate::{
    facts::certificate::Cover,
    model::{
        certificates::{Leaf, Shown, judge_leaves, listener_needs},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Verdict},
        holder::Holder,
        listeners::{Facing, Service},
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

/// See the module.
pub struct Named;

static META: Meta = Meta {
    id: "certificate-named",
    area: "certificate",
    title: "Certificates bear the right names",
    question: "Is every name by which peers outside reach a server in the certificate that it shows?",
    healthy: "each stated name is in the subject alternative name, itself or by a wildcard of its own depth",
    why: "A peer that verifies compares the name that it asked for with the subject alternative name, and with nothing else (RFC 9525): the common name counts nowhere any more, and *.contoso.com is not for a.b.contoso.com.",
    remedy: &[
        "Renew the certificate with all names: New-ExchangeCertificate -GenerateRequest -DomainName <NAME>,<NAME>",
        "Or let the connector show the certificate that has them: Set-ReceiveConnector \"<CONNECTOR>\" -TlsCertificateName \"<I><ISSUER><S><SUBJECT>\"",
    ],
    references: &[
        "RFC 9525 sections 2 and 6.3",
        "RFC 6125 appendix B",
        "Selection of inbound STARTTLS certificates (Microsoft Learn)",
    ],
    symptoms: &[
        "550 5.7.64 TenantAttribution",
        "SubjectMismatch",
        "454 4.7.5 Certificate validation failure",
        "450 4.4.317",
        "MSExchangeTransport event 12014",
    ],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Named {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        listener_needs(estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        judge_leaves(&META, estate, evidence, |_, leaf| judge(leaf, estate))
    }
}

fn judge(leaf: &Leaf<'_>, estate: &Estate) -> Finding {
    let worst = leaf.shown.iter().filter_map(|shown| worst_name(leaf, shown)).max_by_key(|(verdict, ..)| *verdict);
    if let Some((verdict, code, said, name)) = worst {
        let seen = format!("{}: {said}; its names are {}", leaf.at(), names(leaf));
        let holder = Holder::of(leaf, estate);
        let renew = format!("If none of them has {name}, have one issued with all names that are used.");
        let steps = holder.look().into_iter().chain(holder.pin()).chain([renew]);
        return steps.fold(Finding::new(&META, leaf.subject(), verdict, seen).code(code), Finding::remedy);
    }
    let stated: BTreeSet<_> = leaf.shown.iter().flat_map(|shown| asked_names(shown)).map(String::as_str).collect();
    let stated: Vec<_> = stated.into_iter().collect();
    if stated.is_empty() {
        // Whether TlsCertificateName wants it so stands in the directory; peers inside ask for no name.
        let said = format!("{}: no name by which it is reached was stated; its names are {}", leaf.at(), names(leaf));
        return Finding::new(&META, leaf.subject(), Verdict::Skip, said);
    }
    Finding::new(&META, leaf.subject(), Verdict::Pass, format!("{}: it bears {}", leaf.at(), stated.join(", ")))
}

/// The stated names that are asked for here: of a web server the one for which it showed this certificate, of the internal
/// transport certificate none.
fn asked_names(shown: &Shown) -> impl Iterator<Item = &String> {
    let is_everybodys = shown.facing() == shown.listener.facing;
    let names = shown.listener.names.iter().filter(move |_| is_everybodys);
    names.filter(|name| shown.asked.as_ref().is_none_or(|asked| asked == *name))
}

type Word = (Verdict, &'static str, String, String);

fn worst_name(leaf: &Leaf<'_>, shown: &Shown) -> Option<Word> {
    // Of the other two some peers still take the certificate.
    let missing = match (shown.facing(), shown.listener.service) {
        (Facing::Outside, Service::Smtp) => Verdict::Fail,
        _ => Verdict::Warn,
    };
    let words = asked_names(shown).filter_map(|name| {
        let (verdict, code, said) = match leaf.certificate.covers(name) {
            Cover::Yes => return None,
            Cover::CommonNameOnly => (
                Verdict::Warn,
                "common-name-only",
                format!("{name} is its common name alone, which nobody looks at any more"),
            ),
            Cover::WildcardTooHigh => {
                (Verdict::Warn, "wildcard-too-deep", format!("its wildcard stands for one label, and {name} has more"))
            }
            Cover::No => (missing, "name-missing", format!("{name} is not among its names")),
        };
        Some((verdict, code, said, name.clone()))
    });
    words.max_by_key(|(verdict, ..)| *verdict)
}

fn names(leaf: &Leaf<'_>) -> String {
    const FEW: usize = 6;
    // The longest that DNS can carry (RFC 1035 section 2.3.4); a hostile certificate may hold a page.
    const LONGEST: usize = 253;
    let names = &leaf.certificate.dns_names;
    let shown: Vec<String> = names.iter().take(FEW).map(|name| name.chars().take(LONGEST).collect()).collect();
    match names.len() {
        0 => "none".into(),
        count if count > FEW => format!("{} and {} more", shown.join(", "), count - FEW),
        _ => shown.join(", "),
    }
}
