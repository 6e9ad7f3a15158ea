//! A check's identity and prose: data, from which `list`, `explain`, the README and every report are made.

/// A check's identity and prose.
#[derive(Debug)]
pub struct Meta {
    /// `<area>-<name>`, named for the healthy state, never used again for something else.
    pub id: &'static str,
    /// The area, which is the folder.
    pub area: &'static str,
    /// A few words.
    pub title: &'static str,
    /// The question it answers, one sentence.
    pub question: &'static str,
    /// What is expected, one sentence.
    pub healthy: &'static str,
    /// Why it matters for mail.
    pub why: &'static str,
    /// What mends it: steps with exact commands, `<NAME>` standing for what a finding fills in.
    pub remedy: &'static [&'static str],
    /// Where the rule stands written.
    pub references: &'static [&'static str],
    /// What an administrator sees that this explains: SMTP codes, event ids.
    pub symptoms: &'static [&'static str],
    /// Who can have it answered.
    pub tier: Tier,
    /// How several places become one word.
    pub fold: Fold,
    /// What the rule rests on.
    pub evidence: &'static [Basis],
}

/// Who can have a check answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Anybody; who has logged on may be told more.
    Anonymous,
    /// A user of the domain, without any rights beyond that.
    User,
    /// A user of the domain, or whoever gives a file: each is told a part.
    UserOrInput,
    /// A user of the domain, who logs on to servers that carry mail, and only on request (`--prove-login`).
    Proof,
    /// Whoever gives a file: an export of Exchange's cmdlets, or a log.
    Input,
}

/// What a rule rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// An RFC, a Microsoft specification or article.
    Spec,
    /// A recording of a real Windows or Exchange.
    Trace,
    /// Measured on Samba in the lab; it never decides alone on Windows.
    Lab,
    /// Reported from the field.
    Field,
}

impl Basis {
    /// The word that machines read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Spec => "spec",
            Self::Trace => "trace",
            Self::Lab => "lab",
            Self::Field => "field",
        }
    }
}

/// How the words of several vantages and addresses become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The worst counts: what one vantage cannot reach, somebody cannot reach.
    Worst,
    /// Whoever could tell counts: a value read once is known.
    BestInformed,
}
