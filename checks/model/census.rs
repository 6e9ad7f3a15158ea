//! The census of SPNs: who is asked for it, and what is looked up again. It is taken only where the user wants it: products that
//! watch over identities notice it.

use crate::{
    facts::{
        census::{SpnScan, SpnScanned},
        search::{DirectorySearch, guid_bytes},
        spn::class,
    },
    model::{
        accounts::{search_of_mail, search_of_objects},
        ask::{Ask, Endpoint},
        check::Need,
        estate::Estate,
        evidence::{Answer, Evidence, Miss},
        finding::{Finding, Subject, Trouble, Verdict},
        informants::{Holding, asks, is_worth_another, needs as needs_of, places, unread as unread_of},
        meta::Meta,
        organisation::searches,
        plan::SpnScope,
    },
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

/// So many objects are looked up at once: a filter of a thousand would be long for any server.
const AT_ONCE: usize = 50;

/// Is it wanted?
pub fn is_wanted(estate: &Estate) -> bool {
    estate.plan.spn_scan == SpnScope::Forest
}

/// What has to be asked for it: which classes stand for others, all SPNs of one global catalog, and again those that collide.
pub fn needs(estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    if !is_wanted(estate) {
        return Vec::new();
    }
    let mut needs = Vec::new();
    if let Some(first) = estate.informants.first() {
        needs.extend(needs_of(&Subject::Estate, &searches::service(first), Holding::Domain, estate, evidence));
    }
    let lookups = told(estate, evidence).map(|told| lookups(told.scanned, &told.at)).unwrap_or_default();
    let asks = scans(estate, evidence).into_iter().chain(lookups);
    needs.extend(asks.map(|ask| Need { subject: Subject::Estate, ask }));
    needs
}

/// What was told, by whoever told anything.
struct Told<'e> {
    scanned: &'e SpnScanned,
    miss: Option<&'e Miss>,
    at: Endpoint,
}

/// What was counted, if anything was.
pub fn scanned<'e>(estate: &Estate, evidence: &'e Evidence) -> Option<&'e SpnScanned> {
    told(estate, evidence).map(|told| told.scanned)
}

fn told<'e>(estate: &Estate, evidence: &'e Evidence) -> Option<Told<'e>> {
    let last = scans(estate, evidence).pop()?;
    match evidence.answer::<SpnScan>(&last) {
        Answer::Told(scanned, miss) => Some(Told { scanned, miss, at: last.to }),
        Answer::NotAsked | Answer::Missed(_) => None,
    }
}

/// One catalog is asked, and the next only where that one told nothing. None before it is known which classes stand for others: a
/// catalog is read once.
fn scans(estate: &Estate, evidence: &Evidence) -> Vec<Ask> {
    let mut scans = Vec::new();
    let Some(first) = estate.informants.first().filter(|_| is_wanted(estate)) else { return scans };
    if !asks(&searches::service(first), Holding::Domain, estate, evidence).iter().all(|ask| evidence.holds(ask)) {
        return scans;
    }
    let mappings = estate.organisation.mappings.value();
    let aliases: Vec<_> =
        mappings.into_iter().flat_map(|mappings| mappings.classes_of(class::HOST)).map(ToString::to_string).collect();
    for to in places(Holding::Catalog, estate) {
        let ask = Ask::new(to, SpnScan { aliases: aliases.clone() });
        let is_next = matches!(evidence.answer::<SpnScan>(&ask), Answer::Missed(miss) if is_worth_another(miss));
        scans.push(ask);
        if !is_next {
            break;
        }
    }
    scans
}

/// What an object really holds, asked of the same catalog: another one may not have it yet.
fn lookups(scanned: &SpnScanned, at: &Endpoint) -> Vec<Ask> {
    let shared = scanned.shared.iter().flat_map(|shared| &shared.0);
    let guids: BTreeSet<_> = shared.chain(&scanned.strange_on).filter_map(|guid| guid_bytes(guid)).collect();
    let guids: Vec<_> = guids.into_iter().collect();
    guids.chunks(AT_ONCE).map(|some| Ask::new(at.clone(), search_of_objects(some))).collect()
}

/// What is said of the estate where not all was told. `None` where all was, or nobody wanted it.
pub fn unread(meta: &'static Meta, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let unknown = |seen: String| {
        Finding::new(meta, Subject::Estate, Verdict::Unknown, seen)
            .suspects(Trouble::Credential)
            .suspects(Trouble::DirectoryUnread)
    };
    if !is_wanted(estate) {
        return None;
    }
    if places(Holding::Catalog, estate).is_empty() {
        return unread_of(meta, &[(search_of_mail(), Holding::Catalog)], estate, evidence);
    }
    let Some(Told { scanned, miss, at }) = told(estate, evidence) else {
        let scans = scans(estate, evidence);
        let missed = scans.last().and_then(|ask| Some((evidence.answer::<SpnScan>(ask).miss()?, &ask.to)));
        return Some(match missed {
            Some((miss, at)) => unknown(format!("{at} told nothing of all SPNs of the forest: {miss}"))
                .suspects(Trouble::HostDark(at.host.clone())),
            None => unknown("the run ended before all SPNs of the forest were read".to_string()),
        });
    };
    if let Some(miss) = miss {
        let SpnScanned { objects, spns, .. } = scanned;
        let how_far = format!("of the forest's SPNs {at} showed only {spns}, on the first {objects} objects");
        return Some(
            unknown(format!("{how_far}: {miss}")).remedy("Run it again, or with another controller in reach."),
        );
    }
    let lookups = lookups(scanned, &at);
    let missed = lookups.iter().find_map(|ask| evidence.answer::<DirectorySearch>(ask).miss());
    let is_asked = lookups.iter().all(|ask| evidence.holds(ask));
    if let Some(why) = missed.map(ToString::to_string).or_else(|| (!is_asked).then(|| "the run ended before".into())) {
        return Some(unknown(format!(
            "{}; not all that seem to share one could be looked up again: {why}",
            compared(scanned)
        )));
    }
    if scanned.left_out > 0 {
        let seen = format!(
            "{}; beside those told here, {} more sets of objects seem to share one",
            compared(scanned),
            scanned.left_out
        );
        return Some(unknown(seen).remedy("Mend what is told, and run it again."));
    }
    (scanned.nameless > 0).then(|| {
        let seen =
            format!("{}, but for {} objects that do not show their objectGUID", compared(scanned), scanned.nameless);
        unknown(seen)
    })
}

/// How far it came, where it came to its end.
pub fn compared(scanned: &SpnScanned) -> String {
    format!("all {} SPNs on {} objects of the forest were compared", scanned.spns, scanned.objects)
}

/// Makes one of all findings about the estate: what the census came to, and what else is said.
pub fn join(findings: Vec<Finding>, census: Option<Finding>) -> Vec<Finding> {
    let Some(census) = census else { return findings };
    let (of_estate, mut joined): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| finding.subject == Subject::Estate);
    // That there is nothing else to look at is no news beside it.
    let of_estate = of_estate.into_iter().filter(|finding| finding.verdict != Verdict::Skip);
    joined.push(of_estate.fold(census, both));
    joined
}

fn both(one: Finding, other: Finding) -> Finding {
    let (mut first, second) = if other.verdict >= one.verdict { (other, one) } else { (one, other) };
    if first.seen != second.seen {
        first.seen = format!("{}; {}", first.seen, second.seen);
        first.remedy.extend(second.remedy);
    }
    first.speaks_for.extend(second.speaks_for);
    first
        .suspects
        .extend(second.suspects.into_iter().filter(|trouble| !first.suspects.contains(trouble)).collect::<Vec<_>>());
    first.code = first.code.or(second.code);
    first
}
