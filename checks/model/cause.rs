//! One cause, one alarm: a consequence is tied to the weightiest trouble that explains it.

use crate::model::finding::{Finding, Subject};
use alloc::{string::String, vec::Vec};

/// A trouble that others follow from, about a subject. The order is the rank: the first explains all that come after it,
/// so that no two can explain each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A credential was refused.
    Credential,
    /// A name does not resolve, or leads elsewhere.
    Name(String),
    /// A host answers at no port.
    HostDark(String),
    /// A port is shut.
    PortShut(Subject),
    /// A host's clock is off.
    ClockOff(String),
    /// An SPN is on no account, on two, or on the wrong one.
    SpnWrong(String),
    /// A certificate is bad.
    CertificateBad(String),
}

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
