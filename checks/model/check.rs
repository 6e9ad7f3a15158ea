//! What a check is, and the two things that an engine does with all of them: ask what they need, and let them judge.

use crate::model::{
    ask::{Ask, Endpoint, Question},
    estate::Estate,
    evidence::{End, Evidence, Reply},
    finding::{Finding, Subject, Trouble, Verdict},
    meta::{Meta, Tier},
    plan::Plan,
};
use alloc::{collections::BTreeSet, format, vec::Vec};

/// One rule. Both functions are pure: no clock, no socket, no order of arrival.
pub trait Check: Sync {
    /// Its identity and its prose.
    fn meta(&self) -> &'static Meta;

    /// What it wants asked, and about what. More evidence may add to it and never takes away.
    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need>;

    /// What it has to say.
    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding>;
}

/// A check wants this asked, about that subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// What the answer will be about.
    pub subject: Subject,
    /// The question.
    pub ask: Ask,
}

/// All that is to be asked, by what is known so far: what the estate itself has to learn, and what the chosen checks need.
/// Ordered, without repetition.
pub fn wanted(plan: &Plan, checks: &[&dyn Check], evidence: &Evidence) -> BTreeSet<Ask> {
    let estate = Estate::learn(plan, evidence);
    let mut asks: BTreeSet<Ask> = estate.discovery(plan, evidence).into_iter().collect();
    for check in checks.iter().filter(|check| skipped(plan, check.meta()).is_none()) {
        asks.extend(check.needs(&estate, evidence).into_iter().map(|need| need.ask));
    }
    asks
}

/// Lets every check judge what one vantage saw. A needed subject about which a check found nothing to say becomes
/// Unknown, and a check that was not to run says so: silence is never success.
pub fn judge(plan: &Plan, checks: &[&dyn Check], evidence: &Evidence) -> Vec<Finding> {
    let estate = Estate::learn(plan, evidence);
    let mut findings = Vec::new();
    for check in checks {
        let meta = check.meta();
        if let Some(reason) = skipped(plan, meta) {
            findings.push(Finding::new(meta, Subject::Estate, Verdict::Skip, reason).at(None));
            continue;
        }
        let mut found = check.judge(&estate, evidence);
        let subjects =
            |finding: &Finding| [&finding.subject].into_iter().chain(&finding.speaks_for).cloned().collect::<Vec<_>>();
        let judged: BTreeSet<Subject> = found.iter().flat_map(subjects).collect();
        let needs = check.needs(&estate, evidence);
        let answered: BTreeSet<&Question> =
            needs.iter().filter(|need| is_answered(need, evidence)).map(|need| &need.ask.what).collect();
        let is_silent = |need: &&Need| {
            // What somebody told about the estate as such may have become findings about its parts.
            let is_of_whole = need.subject == Subject::Estate && !judged.is_empty();
            let is_told = is_of_whole && answered.contains(&need.ask.what);
            !judged.contains(&need.subject) && !is_told
        };
        let needs: Vec<Need> = needs.iter().filter(is_silent).cloned().collect();
        let unanswered: Vec<_> = needs.into_iter().map(|need| unanswered(meta, need, evidence)).collect();
        // A way that this machine does not have says nothing beside one that it had and that led nowhere.
        let untold: BTreeSet<Subject> = unanswered
            .iter()
            .filter(|finding| finding.verdict != Verdict::Skip)
            .map(|finding| finding.subject.clone())
            .collect();
        found.extend(unanswered.into_iter().filter(|f| f.verdict != Verdict::Skip || !untold.contains(&f.subject)));
        for finding in found.iter_mut().filter(|finding| finding.places.is_empty()) {
            *finding = finding.clone().at(None);
        }
        findings.append(&mut found);
    }
    findings
}

fn skipped(plan: &Plan, meta: &Meta) -> Option<&'static str> {
    let not_for_nobody = || match meta.tier {
        Tier::User | Tier::Proof if plan.logon.is_none() => {
            Some("it needs a user of the domain, any will do: state one with --user")
        }
        Tier::UserOrInput if plan.logon.is_none() && plan.inputs.is_empty() => {
            Some("it needs a user of the domain, any will do (--user), or exports of Exchange (--input)")
        }
        Tier::Proof if !plan.prove_login => Some("it logs on to servers, and does so only with --prove-login"),
        Tier::Anonymous | Tier::User | Tier::UserOrInput | Tier::Proof | Tier::Input => None,
    };
    plan.selection.reason_to_skip(meta.id, meta.area).or_else(not_for_nobody)
}

fn is_answered(need: &Need, evidence: &Evidence) -> bool {
    evidence.find(&need.ask).is_some_and(|observation| observation.reply.end == End::Ok)
}

fn unanswered(meta: &'static Meta, need: Need, evidence: &Evidence) -> Finding {
    let Need { subject, ask } = need;
    let Endpoint { host, address, port } = ask.to.clone();
    let transport = ask.what.transport();
    let asked = format!("{port}/{transport}").to_lowercase();
    let reply = evidence.find(&ask).map(|observation| &observation.reply);
    let finding = match reply {
        Some(Reply { end: End::Miss(miss), .. }) if miss.is_no_route() || evidence.is_dead_address(&ask.to) => {
            Finding::new(meta, subject, Verdict::Skip, format!("{asked}: {miss}"))
        }
        Some(Reply { end: End::Miss(miss), .. }) => {
            Finding::new(meta, subject, Verdict::Unknown, format!("{asked}: {miss}")).remedy(format!(
                "Run from a place that reaches {transport} port {port} of {host}, or open it on the way."
            ))
        }
        Some(Reply { end: End::Ok, .. }) => {
            Finding::new(meta, subject, Verdict::Unknown, format!("{asked}: an answer from which nothing can be told"))
        }
        None => Finding::new(meta, subject, Verdict::Unknown, "the run ended before this was asked"),
    };
    finding.suspects(Trouble::HostDark(host)).at(address)
}
