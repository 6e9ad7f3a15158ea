//! One cause, one alarm: a consequence is tied to the weightiest trouble that explains it.

use crate::model::finding::{Finding, Subject, Trouble, Verdict};
use alloc::{collections::BTreeMap, vec::Vec};

/// Ties each finding to the finding that is the highest-ranking trouble it suspects. A consequence never outranks its
/// cause: an Unknown stays an alarm of its own when all that explains it is a Warn.
pub fn link(findings: &mut [Finding]) {
    let mut present: BTreeMap<Trouble, Vec<(Verdict, &'static str, Subject)>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.verdict.is_trouble()) {
        if let Some(trouble) = &finding.is {
            let known = present.entry(trouble.clone()).or_default();
            known.push((finding.verdict, finding.check.id, finding.subject.clone()));
        }
    }
    for finding in findings.iter_mut().filter(|finding| finding.verdict.is_trouble()) {
        let outranks_own = |trouble: &&Trouble| finding.is.as_ref().is_none_or(|own| *trouble < own);
        let mut suspects: Vec<_> = finding.suspects.iter().filter(outranks_own).collect();
        suspects.sort();
        let causes = suspects.into_iter().filter_map(|trouble| present.get(trouble)).flatten();
        finding.because = causes
            .filter(|(verdict, ..)| *verdict >= finding.verdict)
            .map(|(_, id, subject)| (*id, subject.clone()))
            .next();
    }
}
