//! One cause, one alarm: a consequence is tied to the weightiest trouble that explains it.

use crate::model::finding::Finding;
use alloc::vec::Vec;

/// Ties each finding to the finding that is the highest-ranking trouble it suspects. A consequence never outranks its
/// cause: an Unknown stays an alarm of its own when all that explains it is a Warn.
pub fn link(findings: &mut [Finding]) {
    let present: Vec<_> = findings
        .iter()
        .filter(|finding| finding.verdict.is_trouble())
        .filter_map(|finding| Some((finding.is.clone()?, finding.verdict, finding.check.id, finding.subject.clone())))
        .collect();
    for finding in findings.iter_mut().filter(|finding| finding.verdict.is_trouble()) {
        let own_rank = finding.is.as_ref();
        finding.because = present
            .iter()
            .filter(|(trouble, verdict, ..)| finding.suspects.contains(trouble) && *verdict >= finding.verdict)
            .filter(|(trouble, ..)| own_rank.is_none_or(|own| trouble < own))
            .min_by_key(|(trouble, _, id, subject)| (trouble, *id, subject))
            .map(|(_, _, id, subject)| (*id, subject.clone()));
    }
}
