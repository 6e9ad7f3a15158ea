//! `replication-progress`: a controller that lags behind comes nearer, or stands still.

use crate::model::{
    check::{Check, Need},
    connectors::unread,
    estate::Estate,
    evidence::Evidence,
    finding::{Finding, Subject, Trouble, Verdict},
    held::Difference,
    informants::estate_needs,
    link::{Link, Partition},
    meta::{Basis, Fold, Meta, Tier},
    organisation::searches,
    replicas::{Replica, Replicas, account_needs, beside, groundwork, interrupted, span},
};
use alloc::{
    collections::BTreeMap,
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
            let first = [replicas.link_asks(), replicas.object_asks(), replicas.stamp_asks()].concat();
            let asks = [first, replicas.second_asks().to_vec()].concat();
            needs.extend(asks.into_iter().map(|ask| Need { subject: Subject::Estate, ask }));
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let groundwork = [searches::sites, searches::servers, searches::receive_connectors];
        if let Some(untold) = unread(&META, &groundwork, estate, evidence) {
            return [untold].into();
        }
        let Some(replicas) = Replicas::of(estate, evidence) else { return [interrupted(&META)].into() };
        let missed = |replica: &Replica| replicas.links_missed(replica).or_else(|| replicas.missed(replica));
        let mut findings = beside(&META, &replicas, replicas.is_alone(), missed);
        for unread in findings.iter_mut().filter(|finding| finding.code == Some("unread")) {
            unread.verdict = Verdict::Skip;
            unread.seen = format!("{}: replication-links and replication-agreement tell of it", unread.seen);
        }
        if replicas.is_alone() {
            return findings;
        }
        // Without what is compared, nobody is known to lag.
        if let Some(("interrupted", seen)) = replicas.shortfall() {
            findings.retain(|finding| finding.subject != Subject::Estate);
            findings.push(Finding::new(&META, Subject::Estate, Verdict::Unknown, seen).code("interrupted"));
        }
        let differences = replicas.differences();
        let slowest = Partition::ALL.map(|partition| (partition, replicas.slowest_path(partition)));
        let known = replicas
            .links()
            .iter()
            .filter_map(|link| Some((link, replicas.called(&link.source)?, replicas.called(&link.destination)?)));
        findings.extend(known.map(|(link, source, destination)| {
            let way = Way { link, source, destination, replicas: &replicas };
            way.judge(differences, &slowest.into())
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
    fn judge(&self, differences: &[Difference<'_>], slowest: &BTreeMap<Partition, SignedDuration>) -> Finding {
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
        let second = if again.iter().all(|look| *look == Some(true)) { self.lag(2) } else { None };
        let Some(second) = second else {
            let seen = format!("{}; a second look at it failed, so whether it comes on is not known", behind(first));
            return finding(Verdict::Unknown, seen)
                .suspects(Trouble::LinkBroken(self.link.subject()))
                .suspects(Trouble::HostDark(self.destination.host.clone()))
                .suspects(Trouble::HostDark(self.source.host.clone()));
        };
        let way =
            |difference: &Difference<'_>| slowest.get(&difference.object.kind.partition()).copied().unwrap_or_default();
        let is_late = |difference: &Difference<'_>| difference.age.is_some_and(|age| age > 2 * way(difference));
        let old = waits.iter().find(|difference| is_late(difference) && self.stands_still(difference));
        let (verdict, code, seen) = match old {
            Some(difference) => {
                let age = difference.age.map(span).unwrap_or_default();
                let seen = format!(
                    "{}, and no nearer 5 s later; what it lacks of {} was written {age} ago, and the slowest way takes {} at the most",
                    behind(first),
                    difference.object.subject,
                    span(way(difference))
                );
                (Verdict::Fail, "standstill", seen)
            }
            None if self.link.fails() && second > first => {
                let seen = format!("{}; 5 s later {}", behind(first), behind(second));
                (Verdict::Warn, "falling-behind", seen)
            }
            None => return finding(Verdict::Pass, format!("{}; 5 s later {}", behind(first), behind(second))),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{replication::blobs, search::Value},
        model::testing::{DOMAIN, Forest, invocation, now},
    };

    const LINK: &str = "dc1.contoso.com -> dc2.contoso.com";
    const ACCOUNT: &str = "CN=EX02,CN=Computers,DC=contoso,DC=com";
    const DC2: &str = "dc2.contoso.com";

    /// dc1 has written an SPN three hours ago, and dc2 has come so far with its changes at the second look.
    fn lagging(second: i64) -> Forest {
        let mut forest = Forest::replicated();
        forest.held(DC2, ACCOUNT);
        forest.has_come(DC2, DOMAIN, "dc1", second);
        let later = forest.own[DC2][DOMAIN].clone();
        forest.later.entry(DC2.to_string()).or_default().insert(DOMAIN.to_string(), later);
        forest.has_come(DC2, DOMAIN, "dc1", 4000);
        forest.take("EX02", "SmtpSvc/ex02.contoso.com");
        for (host, version, usn) in [("dc1.contoso.com", 2, 4990), (DC2, 1, 100)] {
            let when = now() - SignedDuration::from_hours(3);
            let stamps = blobs::stamps(&[(0x9_0303, version, when, invocation("dc1"), usn)]);
            forest
                .held(host, ACCOUNT)
                .attributes
                .insert("replPropertyMetaData".to_string(), [Value::new(stamps)].into());
        }
        forest
    }

    fn second_looks(forest: &Forest) -> usize {
        forest.learn(&Progress).1.iter().filter(|observation| observation.ask.look == 2).count()
    }

    #[test]
    fn who_has_all_is_not_looked_at_twice() {
        let forest = Forest::replicated();
        forest.assert_steady(&Progress);
        assert_eq!(forest.troubles(&Progress), Vec::<String>::new());
        assert_eq!(second_looks(&forest), 0);
    }

    #[test]
    fn who_stands_still_fails_and_who_comes_on_passes() {
        let forest = lagging(4000);
        forest.assert_steady(&Progress);
        assert_eq!(forest.troubles(&Progress), [format!("{LINK} fail standstill")]);
        assert!(second_looks(&forest) > 0);
        assert_eq!(lagging(4500).troubles(&Progress), Vec::<String>::new());
    }

    #[test]
    fn the_link_comes_first_where_it_says_that_it_fails() {
        let mut forest = lagging(4000);
        assert!(forest.finding(&Progress, LINK).is.is_some());
        forest.hears(DC2, DOMAIN, "dc1", SignedDuration::from_mins(9), 1, 1722);
        assert!(forest.finding(&Progress, LINK).is.is_none());
    }

    #[test]
    fn who_does_not_show_how_far_it_is_is_unknown() {
        let mut forest = Forest::replicated();
        forest.held(DC2, DOMAIN).attributes.remove("replUpToDateVector");
        assert_eq!(forest.troubles(&Progress), [format!("{LINK} unknown hidden")]);
    }
}
