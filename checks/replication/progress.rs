//! `replication-progress`: a controller that lags behind comes nearer, or stands still.

use crate::model::{
    check::{Check, Need},
    connectors::unread,
    estate::Estate,
    evidence::Evidence,
    finding::{Finding, Subject, Trouble, Verdict},
    informants::estate_needs,
    meta::{Basis, Fold, Meta, Tier},
    organisation::searches,
    replicas::{Difference, Link, Partition, Replica, Replicas, account_needs, beside, groundwork, span},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use jiff::SignedDuration;

/// See the module.
pub struct Progress;

static META: Meta = Meta {
    id: "replication-progress",
    area: "replication",
    title: "Replication comes on",
    question: "Does a controller that lags behind its partners come nearer?",
    healthy: "it has come as far as its partner, or comes nearer",
    why: "A change may take its time between sites. Where a controller stands still at what it knew before, though the change is older than any way takes, the change will not come by itself.",
    remedy: &[
        "How far each has come with the changes of the others: repadmin /showutdvec <CONTROLLER> <PARTITION>",
        "What waits, and why: repadmin /queue <CONTROLLER>, and repadmin /showrepl <CONTROLLER>",
    ],
    references: &[
        "Microsoft KB 979174, step 2",
        "MS-ADTS section 3.1.1.4.4 (msDS-NCReplCursors)",
        "MS-DRSR section 5.208",
    ],
    symptoms: &["454 4.7.0 Temporary authentication failure", "repadmin /showutdvec"],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Progress {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let mut needs = estate_needs(&groundwork(estate), estate, evidence);
        if let Some(replicas) = Replicas::of(estate, evidence) {
            needs.extend(account_needs(estate, evidence));
            let asks =
                [replicas.link_asks(), replicas.object_asks(), replicas.stamp_asks(), replicas.second_asks()].concat();
            needs.extend(asks.into_iter().map(|ask| Need { subject: Subject::Estate, ask }));
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let groundwork = [searches::sites, searches::servers, searches::receive_connectors];
        if let Some(untold) = unread(&META, &groundwork, estate, evidence) {
            return [untold].into();
        }
        let Some(replicas) = Replicas::of(estate, evidence) else { return Vec::new() };
        let missed = |replica: &Replica| replicas.links_missed(replica).or_else(|| replicas.missed(replica));
        let mut findings = beside(&META, &replicas, missed);
        if replicas.is_alone() {
            return findings;
        }
        let (differences, slowest) = (replicas.differences(), replicas.slowest_path());
        let links = replicas.links();
        let known = links
            .iter()
            .filter_map(|link| Some((link, replicas.called(&link.source)?, replicas.called(&link.destination)?)));
        findings.extend(known.map(|(link, source, destination)| {
            let way = Way { link, source, destination, replicas: &replicas };
            way.judge(&differences, slowest)
        }));
        findings
    }
}

/// A link between two controllers that were both asked.
struct Way<'w, 'e> {
    link: &'w Link,
    source: &'w Replica,
    destination: &'w Replica,
    replicas: &'w Replicas<'e>,
}

impl Way<'_, '_> {
    fn judge(&self, differences: &[Difference<'_>], slowest: SignedDuration) -> Finding {
        let finding = |verdict, seen: String| Finding::new(&META, self.link.subject(), verdict, seen);
        let Some(first) = self.lag(1) else {
            return finding(Verdict::Unknown, "how far the destination has come is not shown to us".to_string())
                .code("hidden")
                .remedy("See what it says to an administrator:")
                .remedy(format!("    repadmin /showrepl {}", self.destination.host));
        };
        let behind = |lag: i64| match lag {
            0 => "as far as its partner".to_string(),
            lag => format!("{lag} changes behind its partner"),
        };
        let waits = differences.iter().filter(|difference| self.waits_for(difference)).collect::<Vec<_>>();
        let again = [self.source, self.destination].map(|replica| self.replicas.looked_again(replica));
        if waits.is_empty() && !self.link.fails() || again.contains(&None) {
            return finding(Verdict::Pass, behind(first));
        }
        let second = if again.iter().all(|look| *look == Some(Ok(()))) { self.lag(2) } else { None };
        let Some(second) = second else {
            let seen = format!("{}; a second look at it failed, so whether it comes on is not known", behind(first));
            return finding(Verdict::Unknown, seen)
                .suspects(Trouble::LinkBroken(self.link.subject()))
                .suspects(Trouble::HostDark(self.destination.host.clone()))
                .suspects(Trouble::HostDark(self.source.host.clone()));
        };
        let old = waits
            .iter()
            .find(|difference| difference.age.is_some_and(|age| age > 2 * slowest) && self.stands_still(difference));
        let (verdict, code, seen) = match old {
            Some(difference) => {
                let age = difference.age.map(span).unwrap_or_default();
                let seen = format!(
                    "{}, and no nearer 5 s later, though what it lacks of {} was written {age} ago, and the slowest way takes {}",
                    behind(first),
                    difference.object.subject,
                    span(slowest)
                );
                (Verdict::Fail, "standstill", seen)
            }
            None if self.link.fails() && second > first => {
                let seen = format!("{}, and {second} 5 s later", behind(first));
                (Verdict::Warn, "falling-behind", seen)
            }
            None => return finding(Verdict::Pass, format!("{}, and 5 s later {}", behind(first), behind(second))),
        };
        let finding = finding(verdict, seen).code(code);
        // What the link itself says comes first; where it says that all is well, this is the trouble.
        let finding = if self.link.fails() {
            finding.suspects(Trouble::LinkBroken(self.link.subject()))
        } else {
            finding.is(Trouble::LinkBroken(self.link.subject()))
        };
        finding
            .suspects(Trouble::ClockOff(self.source.host.clone()))
            .suspects(Trouble::ClockOff(self.destination.host.clone()))
            .remedy(format!("See on {} what waits, and why:", self.destination.host))
            .remedy(format!("    repadmin /queue {}", self.destination.host))
            .remedy(format!("    repadmin /showrepl {}", self.destination.host))
            .remedy(format!("    dcdiag /test:replications /s:{}", self.destination.host))
    }

    /// How many changes of the source the destination does not know of, in the partition where it lags most. Every change counts,
    /// those of other partitions too, so that a few are always under way.
    fn lag(&self, look: u8) -> Option<i64> {
        let highest = self.replicas.highest(self.source, look)?;
        let invocation = self.replicas.invocation(self.source)?;
        let cursor = |partition: &Partition| self.replicas.cursor(self.destination, *partition, &invocation, look);
        let parts: Option<Vec<i64>> = self.link.parts.iter().map(|(partition, _)| cursor(partition)).collect();
        parts?.into_iter().min().map(|cursor| highest.saturating_sub(cursor).max(0))
    }

    /// The source has a change that the destination has not.
    fn waits_for(&self, difference: &Difference<'_>) -> bool {
        let lags = |replica: &Replica| difference.lagging.contains(&replica.host);
        lags(self.destination) && !lags(self.source)
    }

    /// The destination knows no more of whoever made the change than it did before, and less than that.
    fn stands_still(&self, difference: &Difference<'_>) -> bool {
        let Some(stamp) = &difference.newest else { return false };
        let partition = difference.object.kind.partition();
        let cursor = |look| self.replicas.cursor(self.destination, partition, &stamp.invocation, look);
        let (first, second) = (cursor(1), cursor(2));
        first == second && second.is_some_and(|cursor| cursor < stamp.usn)
    }
}
