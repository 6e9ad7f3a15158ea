//! `certificate-current`: is every certificate alive, and for how long?

use crate::{
    facts::{
        certificate::{Certificate, days},
        time::Interval,
    },
    model::{
        certificates::{Certificates, Leaf, judge_leaves, trust_needs},
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
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// See the module.
pub struct Current;

/// However long a certificate lives, a month is enough to renew it.
const MONTH: i64 = 30;

static META: Meta = Meta {
    id: "certificate-current",
    area: "certificate",
    title: "Certificates are in date",
    question: "Is every certificate alive by the estate's clocks, and will it be long enough?",
    healthy: "alive, with more than a third of its life left, or more than 30 days",
    why: "An expired certificate is refused by every peer that verifies, and a certificate that dies in the night after the change window ends mail then. Certificates of public authorities live ever shorter, so what counts is the share of the life that is left.",
    remedy: &[
        "Renew it: New-ExchangeCertificate -GenerateRequest -FriendlyName <NAME> -SubjectName <SUBJECT> -DomainName <NAMES>, then Import-ExchangeCertificate on every source server and Edge",
        "Give it its services, and answer No when asked to overwrite the existing default SMTP certificate: Enable-ExchangeCertificate -Thumbprint <NEW> -Services SMTP",
        "Where a connector names it: Set-ReceiveConnector, Set-SendConnector -TlsCertificateName; then restart MSExchangeTransport and MSExchangeFrontEndTransport; remove the old one last",
    ],
    references: &[
        "RFC 5280 section 4.1.2.5",
        "CA/Browser Forum Baseline Requirements section 6.3.2",
        "design: renewal order",
    ],
    symptoms: &["MSExchangeTransport events 12015, 12016, 12017, 12018, 12019", "454 4.7.0 CertificateExpired"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Current {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        trust_needs(estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let outlive = estate.plan.outlive;
        judge_leaves(&META, estate, evidence, |certificates, leaf| {
            let (verdict, code, said) = word(certificates, leaf, outlive);
            let left = leaf.certificate.not_after.duration_since(certificates.now);
            let finding = Finding::new(&META, leaf.subject(), verdict, format!("{}: {said}", leaf.at()));
            let finding = match outlive {
                Some(wanted) => {
                    finding.expected(format!("{}, and, as you ask, for {} from now", META.healthy, span(wanted)))
                }
                None => finding,
            };
            let finding = finding.measure("life-left", Interval { low: left, high: left });
            let Some(code) = code else { return finding };
            mend(leaf, code, estate).into_iter().fold(finding.code(code), Finding::remedy)
        })
    }
}

fn word(
    certificates: &Certificates,
    leaf: &Leaf<'_>,
    outlive: Option<SignedDuration>,
) -> (Verdict, Option<&'static str>, String) {
    let (certificate, now) = (leaf.certificate, certificates.now);
    let matters = if leaf.facing() == Facing::Inside { Verdict::Warn } else { Verdict::Fail };
    let Certificate { not_before, not_after, .. } = certificate;
    let until = |instant: &Timestamp| instant.duration_since(now);
    if *not_after < now {
        return (
            matters,
            Some("expired"),
            format!("it expired {} ago, on {}", span(now.duration_since(*not_after)), day(*not_after)),
        );
    }
    if now < *not_before {
        return (
            matters,
            Some("not-yet-valid"),
            format!("it begins to live in {}, on {}", span(until(not_before)), day(*not_before)),
        );
    }
    let dies = format!("it lives until {}, {} from now", day(*not_after), span(until(not_after)));
    if let Some(wanted) = outlive.filter(|wanted| until(not_after) < *wanted) {
        return (matters, Some("outlive"), format!("{dies}, which is less than the {} that you ask for", span(wanted)));
    }
    let ways: Vec<_> =
        leaf.chains().into_iter().map(|shown| (shown.facing(), certificates.way_of(shown, false))).collect();
    // A root that has expired is refused by OpenSSL and by Windows, though not by every library.
    let dead = ways.iter().filter_map(|(facing, way)| {
        let mut links = way.between().chain(way.root()).filter(|link| link.der != certificate.der);
        let link = links.find(|link| link.not_after < now || now < link.not_before)?;
        let is_root = way.root().is_some_and(|root| root.der == link.der);
        Some((if *facing == Facing::Outside { Verdict::Fail } else { Verdict::Warn }, is_root, link))
    });
    if let Some((verdict, is_root, link)) = dead.max_by_key(|(verdict, ..)| *verdict) {
        let (what, code) = if is_root { ("root", "root-expired") } else { ("issuer", "link-expired") };
        return (verdict, Some(code), format!("its {what} \"{}\" lived until {}", link.subject, day(link.not_after)));
    }
    if until(not_after) < (certificate.lifetime() / 3).min(days(MONTH)) {
        return (Verdict::Warn, Some("ends-soon"), format!("{dies}, of {} in all", span(certificate.lifetime())));
    }
    let mut links: Vec<&Certificate> = ways.iter().flat_map(|(_, way)| way.between()).collect();
    links.sort_by_key(|link| link.not_after);
    if let Some(link) = links.into_iter().find(|link| link.not_after < *not_after) {
        let said = format!("its issuer \"{}\" dies before it, on {}", link.subject, day(link.not_after));
        return (Verdict::Warn, Some("link-ends-first"), said);
    }
    (Verdict::Pass, None, dies)
}

fn mend(leaf: &Leaf<'_>, code: &str, estate: &Estate) -> Vec<String> {
    let holder = Holder::of(leaf, estate);
    match code {
        "not-yet-valid" => ["Wait, or put the former certificate back into service, if it is still there.".to_string()]
            .into_iter()
            .chain(holder.look())
            .collect(),
        "root-expired" => ["Have it issued anew by an authority whose root lives; peers do not all refuse an expired root, and more do each year.".to_string()]
            .into_iter()
            .chain(holder.replace())
            .collect(),
        "link-expired" | "link-ends-first" => {
            let ask = "Ask the authority for the intermediate that follows it, and send that one instead.".to_string();
            [ask].into_iter().chain(holder.send_along("it", "<INTERMEDIATE.CER>")).collect()
        }
        _ => holder.replace(),
    }
}

fn day(instant: Timestamp) -> String {
    instant.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string()
}

/// Whole days; below two, hours.
fn span(duration: SignedDuration) -> String {
    let hours = duration.as_hours();
    match hours / 24 {
        0 | 1 => format!("{hours} hours"),
        days => format!("{days} days"),
    }
}
