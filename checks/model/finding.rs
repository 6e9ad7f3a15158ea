//! What a check has to say, and how what several places say becomes one word.

use crate::model::{
    evidence::Vantage,
    meta::{Fold, Meta},
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::IpAddr};

use crate::facts::{net::Transport, time::Interval};

/// The word of a check about a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It does not apply, or you told us not to look.
    Skip,
    /// It is as it should be.
    Pass,
    /// It does not break mail now.
    Warn,
    /// We asked and could not tell.
    Unknown,
    /// It breaks mail.
    Fail,
}

impl Verdict {
    /// All of them, as the report counts them.
    pub const ALL: [Self; 5] = [Self::Pass, Self::Skip, Self::Warn, Self::Unknown, Self::Fail];

    /// The word that machines read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }

    /// Is it something to be mended or looked into?
    pub fn is_trouble(self) -> bool {
        self >= Self::Warn
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a finding is about. Its text is stable and the same whatever address answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// Everything under examination.
    Estate,
    /// A host by its fully qualified name.
    Host(String),
    /// A port of a host: `dc1.contoso.com:88`, over UDP `dc1.contoso.com:88/udp`.
    Port(String, u16, Transport),
    /// A certificate by its SHA-1 thumbprint, as Windows names it: `sha1:` and 40 hexadecimal digits.
    Certificate(String),
    /// A service principal name: `SMTPSVC/ex01.contoso.com`.
    Spn(String),
    /// An account that is no server's: `EXCHASA$`.
    Account(String),
    /// Something that a server has in the directory, a connector or a virtual directory: `EX01/Default Frontend EX01`.
    Configured(String, String),
    /// A site of Active Directory: `site/Berlin`.
    Site(String),
    /// A way between two hosts, from the first to the second: `dc1.contoso.com -> dc2.contoso.com`.
    Link(String, String),
    /// A way between two domains, from the one whose users come: `contoso.com -> child.contoso.com`. It is no host's.
    Trust(String, String),
}

impl Subject {
    /// The host that it belongs to.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Estate
            | Self::Certificate(_)
            | Self::Spn(_)
            | Self::Account(_)
            | Self::Configured(..)
            | Self::Link(..)
            | Self::Trust(..)
            | Self::Site(_) => None,
            Self::Host(host) | Self::Port(host, ..) => Some(host),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Estate => f.pad("estate"),
            Self::Host(name) | Self::Spn(name) | Self::Account(name) => f.pad(name),
            Self::Configured(server, name) => f.pad(&format!("{server}/{name}")),
            Self::Site(name) => f.pad(&format!("site/{name}")),
            Self::Link(from, to) | Self::Trust(from, to) => f.pad(&format!("{from} -> {to}")),
            Self::Port(host, port, Transport::Tcp) => f.pad(&format!("{host}:{port}")),
            Self::Port(host, port, Transport::Udp) => f.pad(&format!("{host}:{port}/udp")),
            Self::Certificate(thumbprint) => f.pad(&format!("sha1:{thumbprint}")),
        }
    }
}

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
    /// A connector names a certificate that is not there, so that its port offers no STARTTLS.
    PinStale(Subject),
    /// A port is shut.
    PortShut(Subject),
    /// The directory could not be read.
    DirectoryUnread,
    /// A host's clock is off.
    ClockOff(String),
    /// Changes do not come over a link of replication.
    LinkBroken(Subject),
    /// Controllers hold different values of an object, and will not agree by themselves.
    Disagreement(Subject),
    /// A server's account is not there, or not in use.
    Account(String),
    /// An account has no key that a KDC may use.
    NoKey(Subject),
    /// An SPN is on no account, on two, or on the wrong one.
    SpnWrong(String),
    /// A certificate is bad.
    CertificateBad(String),
    /// A certificate is sent without what stands between it and its root.
    ChainUnsent(String),
    /// Exchange Online does not know the certificate by which mail comes, as far as its inbound connectors tell.
    SenderName(Subject),
    /// It does not know the address from which mail comes.
    SenderAddress,
    /// Neither a sender's domain nor the certificate's is one of the tenant's.
    SenderDomain(Subject),
    /// What servers show as clients is not known, of all or of one.
    ClientSideUntold(Subject),
}

/// A number with what is not known about it, for machines that watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// What was measured, kebab-case.
    pub name: &'static str,
    /// Between what and what.
    pub interval: Interval,
}

/// Where a finding was made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The vantage; the engine fills it in.
    pub vantage: Option<Vantage>,
    /// The address that was asked, if it mattered.
    pub address: Option<IpAddr>,
    /// The word at this place.
    pub verdict: Verdict,
    /// What was seen at this place.
    pub seen: String,
}

/// What one check says about one subject.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whose rule.
    pub check: &'static Meta,
    /// About what.
    pub subject: Subject,
    /// The subject as people call it, where its own text is for machines: a certificate by its name and places. `seen` may begin
    /// with it, and a colon.
    pub named: Option<String>,
    /// Other subjects for which it speaks as well: the ports at which a certificate is shown.
    pub speaks_for: Vec<Subject>,
    /// The word.
    pub verdict: Verdict,
    /// What should be.
    pub expected: String,
    /// What is.
    pub seen: String,
    /// What to do, a line a step.
    pub remedy: Vec<String>,
    /// Which of the troubles that the check knows this is, kebab-case: for machines, and for tests that leave prose alone.
    pub code: Option<&'static str>,
    /// Numbers.
    pub measures: Vec<Measure>,
    /// Where.
    pub places: Vec<Place>,
    /// The trouble that this is.
    pub is: Option<Trouble>,
    /// The troubles that would explain it.
    pub suspects: Vec<Trouble>,
    /// The finding that explains it, once that is known: check id and subject.
    pub because: Option<(&'static str, Subject)>,
}

impl Finding {
    /// A finding with nothing but its word; the rest is added.
    pub fn new(check: &'static Meta, subject: Subject, verdict: Verdict, seen: impl fmt::Display) -> Self {
        Self {
            check,
            subject,
            named: None,
            speaks_for: Vec::new(),
            verdict,
            expected: check.healthy.to_string(),
            seen: seen.to_string(),
            remedy: Vec::new(),
            code: None,
            measures: Vec::new(),
            places: Vec::new(),
            is: None,
            suspects: Vec::new(),
            because: None,
        }
    }

    /// What should have been, where the check's own sentence is not exact enough.
    pub fn expected(mut self, expected: impl fmt::Display) -> Self {
        self.expected = expected.to_string();
        self
    }

    /// A step of the remedy.
    pub fn remedy(mut self, step: impl fmt::Display) -> Self {
        self.remedy.push(step.to_string());
        self
    }

    /// Another subject for which it speaks as well.
    pub fn speaks_for(mut self, subject: Subject) -> Self {
        self.speaks_for.push(subject);
        self
    }

    /// Which of the troubles that the check knows this is.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// A number.
    pub fn measure(mut self, name: &'static str, interval: Interval) -> Self {
        self.measures.push(Measure { name, interval });
        self
    }

    /// The address at which it was made.
    pub fn at(mut self, address: Option<IpAddr>) -> Self {
        self.places = alloc::vec![Place { vantage: None, address, verdict: self.verdict, seen: self.seen.clone() }];
        self
    }

    /// The trouble that this is.
    pub fn is(mut self, trouble: Trouble) -> Self {
        self.is = Some(trouble);
        self
    }

    /// A trouble that would explain it.
    pub fn suspects(mut self, trouble: Trouble) -> Self {
        self.suspects.push(trouble);
        self
    }
}

/// Makes one finding of all that have the same check and subject. The result is ordered by check (as in `CHECKS`) and
/// then by subject; places are ordered by vantage and address.
pub fn fold(findings: Vec<Finding>, order_of: impl Fn(&str) -> usize) -> Vec<Finding> {
    let mut groups: BTreeMap<(usize, Subject), Finding> = BTreeMap::new();
    for finding in findings {
        let key = (order_of(finding.check.id), finding.subject.clone());
        match groups.remove(&key) {
            None => groups.insert(key, finding),
            Some(other) => groups.insert(key, merge(other, finding)),
        };
    }
    let mut folded: Vec<_> = groups.into_values().collect();
    for finding in &mut folded {
        finding.places.sort();
    }
    folded
}

/// How much a verdict weighs where several are folded.
fn weight(finding: &Finding) -> u8 {
    match (finding.check.fold, finding.verdict) {
        (Fold::BestInformed, Verdict::Unknown) => Verdict::Skip as u8,
        (_, verdict) => verdict as u8 + 1,
    }
}

/// The weightier of two findings speaks; the places of both are kept. Of two equals the one with the smaller place
/// speaks, so that the order of arrival cannot matter.
fn merge(one: Finding, other: Finding) -> Finding {
    let other_speaks = weight(&other) > weight(&one) || (weight(&other) == weight(&one) && other.places < one.places);
    let (mut speaker, mut listener) = if other_speaks { (other, one) } else { (one, other) };
    speaker.places.append(&mut listener.places);
    speaker.speaks_for.append(&mut listener.speaks_for);
    speaker.speaks_for.sort();
    speaker.speaks_for.dedup();
    speaker
}
