//! `replication-links`: controllers pass changes on to one another, or the one knows what the other does not.

use crate::{
    facts::{
        net::Transport,
        replication::{Neighbour, Outcome},
    },
    model::{
        accounts::peers,
        check::{Check, Need},
        connectors::unread,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        informants::estate_needs,
        link::{Link, Partition},
        meta::{Basis, Fold, Meta, Tier},
        organisation::searches,
        replicas::{Replica, Replicas, beside, groundwork, in_command, interrupted, span},
    },
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};
use jiff::SignedDuration;

/// See the module.
pub struct Links;

static META: Meta = Meta {
    id: "replication-links",
    area: "replication",
    title: "Controllers take changes from one another",
    question: "Does every controller take the changes of its partners, and has it done so lately?",
    healthy: "the last attempt went well, for every partition",
    why: "SPNs, passwords and connectors are written on one controller and reach the others by replication. Where that stands still, servers that use different controllers have different keys and names for one another, and their logons fail.",
    remedy: &[
        "On any controller: repadmin /showrepl <CONTROLLER>, and repadmin /replsummary",
        "Where it was switched off: repadmin /options <CONTROLLER> -DISABLE_INBOUND_REPL",
        "When the cause is gone: repadmin /replicate <DESTINATION> <SOURCE> <PARTITION>",
        "Never repadmin /syncall where two have not met for longer than tombstoneLifetime, or with 8606 or 8614: it brings back what was deleted.",
    ],
    references: &[
        "Microsoft KB 979174, step 2",
        "MS-ADTS section 3.1.1.4.4 (msDS-NCReplInboundNeighbors)",
        "repadmin (Microsoft Learn)",
    ],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "KRB_AP_ERR_MODIFIED (41)",
        "ActiveDirectory_DomainService events 1311, 1925, 2042, 2087, 2095",
        "repadmin: 1722, 1753, 1908, 5, 8453, 8456, 8457, 8524, 8606, 8614",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

/// A link that has failed for so long does not come back by itself.
const LONG: SignedDuration = SignedDuration::from_hours(24);

/// A link that never went well and has failed so often is no new one.
const OFTEN: u32 = 10;

/// So many times the interval may pass before it is worth a word.
const PATIENCE: i32 = 3;

/// The endpoint mapper, at which replication begins.
const RPC_PORT: u16 = 135;

impl Check for Links {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of_links = Replicas::of(estate, evidence).map(|replicas| replicas.link_asks()).unwrap_or_default();
        let of_links = of_links.into_iter().map(|ask| Need { subject: Subject::Estate, ask });
        estate_needs(&groundwork(estate), estate, evidence).into_iter().chain(of_links).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        if let Some(untold) = unread(&META, &[searches::sites, searches::servers], estate, evidence) {
            return [untold].into();
        }
        let Some(replicas) = Replicas::of(estate, evidence) else { return [interrupted(&META)].into() };
        let is_alone = replicas.is_alone_in_forest();
        let mut findings = beside(&META, &replicas, is_alone, |replica| replicas.links_missed(replica));
        if is_alone {
            return findings;
        }
        let told = replicas.all.iter().filter(|replica| replicas.links_missed(replica).is_none());
        findings.extend(told.filter_map(|replica| judge_hidden(replica, &replicas, estate)));
        findings.extend(replicas.links().iter().map(|link| judge_link(link, &replicas, estate)));
        findings
    }
}

/// What a controller does not show of its partners, though it told all that it was asked.
fn judge_hidden(replica: &Replica, replicas: &Replicas<'_>, estate: &Estate) -> Option<Finding> {
    let (hidden, unreadable) = (replicas.hidden(replica), replicas.unreadable(replica));
    let mut seen = Vec::new();
    if !hidden.is_empty() {
        let names: Vec<_> = hidden.iter().map(|partition| name(*partition, estate)).collect();
        let names = names.join(" or ");
        seen.push(format!("it shows us no partner from which it takes {names}: it has none, or does not show them"));
    }
    if unreadable > 0 {
        seen.push(format!(
            "{unreadable} of the partners that it shows are in a form that is not known, and were not judged"
        ));
    }
    let code = if hidden.is_empty() { "unreadable" } else { "hidden" };
    (!seen.is_empty()).then(|| {
        Finding::new(&META, Subject::Host(replica.host.clone()), Verdict::Unknown, seen.join("; "))
            .code(code)
            .remedy("See what it says to an administrator:")
            .remedy(format!("    repadmin /showrepl {}", replica.host))
    })
}

fn name(partition: Partition, estate: &Estate) -> &str {
    match partition {
        Partition::Configuration => "the configuration",
        Partition::Domain => &estate.plan.domain,
    }
}

fn judge_link(link: &Link, replicas: &Replicas<'_>, estate: &Estate) -> Finding {
    let judged: Vec<_> = link
        .parts
        .iter()
        .map(|(partition, neighbour)| judge_part(link, *partition, neighbour, replicas, estate))
        .collect();
    let verdict = judged.iter().map(|(verdict, _)| *verdict).max().unwrap_or(Verdict::Unknown);
    let told: BTreeSet<&String> =
        judged.iter().filter(|(word, _)| verdict == Verdict::Pass || word.is_trouble()).map(|(_, seen)| seen).collect();
    let switched_off = match link {
        _ if link.takes_nothing() => {
            Some(format!("{} is told to take no changes (DISABLE_INBOUND_REPL)", link.destination))
        }
        _ if link.sends_nothing() => {
            Some(format!("{} is told to send no changes (DISABLE_OUTBOUND_REPL)", link.source))
        }
        _ => None,
    };
    let seen = switched_off.iter().chain(told).cloned().collect::<Vec<_>>().join("; ");
    let finding = Finding::new(&META, link.subject(), verdict, seen);
    if !verdict.is_trouble() {
        return finding;
    }
    if verdict == Verdict::Unknown {
        let is_new = link.parts.iter().any(|(_, neighbour)| neighbour.last_success.is_none());
        return finding
            .code(if is_new { "not-yet" } else { "no-clock" })
            .remedy("See in a while whether it goes well:")
            .remedy(format!("    repadmin /showrepl {}", link.destination));
    }
    let finding = finding.is(Trouble::LinkBroken(link.subject()));
    if !link.is_known {
        return finding
            .code("stranger")
            .remedy("The directory knows no controller behind this partner. If one was removed, the partner goes by itself in a day;")
            .remedy("if not, see who it is, and clean up after it (ntdsutil, metadata cleanup):")
            .remedy(format!("    repadmin /showrepl {}", link.destination));
    }
    mend(suspect(finding.code(code(link)), link), link, replicas)
}

fn code(link: &Link) -> &'static str {
    match link {
        _ if link.takes_nothing() => "inbound-disabled",
        _ if link.sends_nothing() => "outbound-disabled",
        _ if link.fails() => "failing",
        _ => "stale",
    }
}

/// A word about one partition.
fn judge_part(
    link: &Link,
    partition: Partition,
    neighbour: &Neighbour,
    replicas: &Replicas<'_>,
    estate: &Estate,
) -> (Verdict, String) {
    let of = name(partition, estate);
    let age = link.age(neighbour);
    let last = match (neighbour.last_success, age) {
        (Some(when), Some(age)) => {
            format!("it last went well {} ago ({} by its own clock)", span(age), when.strftime("%Y-%m-%d %H:%M:%S UTC"))
        }
        (Some(when), None) => format!("it last went well at {}", when.strftime("%Y-%m-%d %H:%M:%S UTC")),
        (None, _) => "it has not gone well yet".to_string(),
    };
    // A site without Exchange servers carries no mail, and a partition without their accounts no key of theirs.
    let is_needed = replicas.called(&link.destination).is_some_and(|replica| replica.is_of_exchange)
        && (partition == Partition::Configuration || !peers(estate).is_empty());
    // What never went well has no age; that it was tried often tells that the two have been partners for long.
    let is_never = neighbour.last_success.is_none();
    let is_long = age.is_some_and(|age| age > LONG) || (is_never && neighbour.failures >= OFTEN);
    let word = if is_long && is_needed && link.is_known { Verdict::Fail } else { Verdict::Warn };
    if link.takes_nothing() || link.sends_nothing() {
        return (word, format!("{of}: {last}"));
    }
    if neighbour.fails() {
        let times = if neighbour.failures == 1 { "once".to_string() } else { format!("{} times", neighbour.failures) };
        // A link that was just made may need more than one attempt.
        let word = if is_never && !is_long { Verdict::Unknown } else { word };
        return (word, format!("{of}: failed {times} in a row, at last with {}; {last}", neighbour.result));
    }
    if age.is_some_and(|age| age > PATIENCE * link.interval) {
        return (
            Verdict::Warn,
            format!("{of}: no failure, and yet {last}, though it is due every {}", span(link.interval)),
        );
    }
    let word = if age.is_some() { Verdict::Pass } else { Verdict::Unknown };
    let last = match age {
        None if !is_never => format!("{last}, and how long ago that is, its clock does not tell us"),
        _ => last,
    };
    let put_off =
        if neighbour.result == Outcome::SUCCESS { String::new() } else { format!("; put off: {}", neighbour.result) };
    (word, format!("{of}: {last}{put_off}"))
}

fn suspect(finding: Finding, link: &Link) -> Finding {
    let Link { source, destination, .. } = link;
    [
        Trouble::HostDark(source.clone()),
        Trouble::Name(source.clone()),
        Trouble::PortShut(Subject::Port(source.clone(), RPC_PORT, Transport::Tcp)),
        Trouble::ClockOff(source.clone()),
        Trouble::ClockOff(destination.clone()),
    ]
    .into_iter()
    .fold(finding, Finding::suspects)
}

fn mend(finding: Finding, link: &Link, replicas: &Replicas<'_>) -> Finding {
    let Link { source, destination, .. } = link;
    let show = format!("    repadmin /showrepl {destination}");
    if !link.may_be_forced(replicas.tombstone_lifetime()) {
        return finding
            .remedy(format!("The two have not met for longer than deleted objects are kept ({}): do not force it, or what was deleted", span(replicas.tombstone_lifetime())))
            .remedy(format!("comes back everywhere. Either demote {destination} and promote it anew, or see first what lingers on it:"))
            .remedy(format!("    repadmin /removelingeringobjects {destination} <GUID OF A GOOD CONTROLLER> <PARTITION> /advisory_mode"))
            .remedy(show);
    }
    let (host, option) = match code(link) {
        "inbound-disabled" => (destination, "DISABLE_INBOUND_REPL"),
        "outbound-disabled" => (source, "DISABLE_OUTBOUND_REPL"),
        _ => return retry(by_result(finding, link), link, replicas).remedy(show),
    };
    let finding = finding
        .remedy(format!("Find out who switched it off, and why. Windows does so itself when {host} was set back to an old state (event 2095):"))
        .remedy("then demote it and promote it anew. If it was only forgotten:")
        .remedy(format!("    repadmin /options {host} -{option}"));
    retry(finding, link, replicas).remedy(show)
}

/// What the last result points to.
fn by_result(finding: Finding, link: &Link) -> Finding {
    let Link { source, destination, .. } = link;
    let failing = link.parts.iter().map(|(_, neighbour)| neighbour).find(|neighbour| neighbour.fails());
    match failing.map(|neighbour| neighbour.result.0) {
        Some(8524) => finding
            .remedy(format!("On {source}, register its alias again, and see that {destination} finds it:"))
            .remedy("    nltest /dsregdns")
            .remedy(format!("    dcdiag /test:dns /v /s:{destination}")),
        Some(8453) => finding
            .remedy(format!("See on {source} who may replicate: the head of each partition has to grant that to its controllers."))
            .remedy(format!("    dcdiag /test:ncsecdesc /s:{source}")),
        Some(5) => finding
            .remedy(format!("See on {destination} whether {source} takes its logon, and if not, why:"))
            .remedy(format!("    repadmin /bind {source}"))
            .remedy(format!("    dcdiag /test:checksecurityerror /s:{destination} /replsource:{source}"))
            .remedy(format!(
                "Only if these say so, {destination} has an old password: with its KDC stopped and tickets purged, on it:"
            ))
            .remedy(format!("    netdom resetpwd /server:{source} /userd:<DOMAIN>\\<ADMINISTRATOR> /passwordd:*")),
        Some(1396 | 1398 | 1908 | 0x8009_0322) => finding
            .remedy(format!("See first that the clocks agree, on {destination}:"))
            .remedy(format!("    w32tm /stripchart /computer:{source} /samples:1 /dataonly"))
            .remedy(format!(
                "If they do, {destination} may have an old password: with its KDC stopped and tickets purged, on it:"
            ))
            .remedy(format!("    netdom resetpwd /server:{source} /userd:<DOMAIN>\\<ADMINISTRATOR> /passwordd:*")),
        Some(_) => finding
            .remedy(format!(
                "See on {destination} that it reaches {source}, at port 135 and at the RPC ports (49152 to 65535):"
            ))
            .remedy(format!("    Test-NetConnection {source} -Port 135"))
            .remedy(format!("    dcdiag /test:replications /s:{destination}")),
        None => finding.remedy(format!("See on {destination} what it waits for:")).remedy("    repadmin /queue"),
    }
}

fn retry(finding: Finding, link: &Link, replicas: &Replicas<'_>) -> Finding {
    let Some(replica) = replicas.called(&link.destination) else { return finding };
    let partitions: BTreeSet<Partition> = link.parts.iter().map(|(partition, _)| *partition).collect();
    let start = finding.remedy("When the cause is gone:");
    partitions.into_iter().fold(start, |finding, partition| {
        let partition = in_command(replica.name_of(partition));
        finding.remedy(format!("    repadmin /replicate {} {} {partition}", link.destination, link.source))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        plan::ServerRole,
        testing::{CONFIGURATION, DOMAIN, Forest, SITE},
    };

    const LINK: &str = "dc1.contoso.com -> dc2.contoso.com";

    fn failing(ago: SignedDuration, failures: u32, result: u32) -> Forest {
        let mut forest = Forest::replicated();
        forest.hears("dc2.contoso.com", DOMAIN, "dc1", ago, failures, result);
        forest
    }

    #[test]
    fn what_went_well_lately_passes() {
        let forest = Forest::replicated();
        forest.assert_steady(&Links);
        let passed = forest.words(&Links, |_| true);
        assert_eq!(passed, [&format!("{LINK} pass -"), "dc2.contoso.com -> dc1.contoso.com pass -", "estate pass -"]);
    }

    #[test]
    fn a_failure_is_a_warning_until_it_has_lasted_a_day() {
        let forest = failing(SignedDuration::from_hours(2), 1, 1722);
        forest.assert_steady(&Links);
        assert_eq!(forest.troubles(&Links), [format!("{LINK} warn failing")]);
        let forest = failing(SignedDuration::from_hours(26), 30, 1722);
        assert_eq!(forest.troubles(&Links), [format!("{LINK} fail failing")]);
        let finding = forest.finding(&Links, LINK);
        assert!(finding.seen.contains("30 times") && finding.seen.contains("26 hours ago"), "{}", finding.seen);
        let retry = "    repadmin /replicate dc2.contoso.com dc1.contoso.com DC=contoso,DC=com".to_string();
        assert!(finding.remedy.contains(&retry), "{:?}", finding.remedy);
    }

    #[test]
    fn without_exchange_beside_it_a_broken_link_stays_a_warning() {
        let mut forest = failing(SignedDuration::from_hours(26), 30, 1722);
        for server in forest.entries.iter_mut().filter(|entry| entry.is_a("msExchExchangeServer")) {
            server.attributes.remove("msExchServerSite");
        }
        assert_eq!(forest.troubles(&Links), [format!("{LINK} warn failing")]);
    }

    #[test]
    fn a_result_without_a_failure_was_only_put_off() {
        assert_eq!(failing(SignedDuration::from_mins(5), 0, 8461).troubles(&Links), Vec::<String>::new());
    }

    #[test]
    fn a_link_that_is_due_and_silent_is_a_warning() {
        assert_eq!(failing(SignedDuration::from_hours(5), 0, 0).troubles(&Links), [format!("{LINK} warn stale")]);
    }

    #[test]
    fn switched_off_is_told_by_the_option_before_anything_fails() {
        let mut forest = Forest::replicated();
        let settings = forest.entries.iter_mut().find(|entry| entry.dn.starts_with("CN=NTDS Settings,CN=DC2")).unwrap();
        settings.attributes.insert("options".to_string(), [crate::facts::search::Value::Text("3".to_string())].into());
        assert_eq!(forest.troubles(&Links), [format!("{LINK} warn inbound-disabled")]);
        let remedy = forest.finding(&Links, LINK).remedy;
        assert!(
            remedy.contains(&"    repadmin /options dc2.contoso.com -DISABLE_INBOUND_REPL".to_string()),
            "{remedy:?}"
        );
        let forest = failing(SignedDuration::from_hours(30), 2, 8457);
        assert_eq!(forest.troubles(&Links), [format!("{LINK} fail inbound-disabled")]);
    }

    #[test]
    fn nothing_is_forced_after_too_long() {
        for forest in
            [failing(SignedDuration::from_hours(24 * 70), 900, 1722), failing(SignedDuration::from_hours(30), 9, 8606)]
        {
            let remedy = forest.finding(&Links, LINK).remedy;
            assert!(!remedy.iter().any(|line| line.contains("/replicate") || line.contains("/syncall")), "{remedy:?}");
        }
    }

    #[test]
    fn what_never_went_well_never_passes() {
        let never = |failures, result| {
            let mut forest = Forest::replicated();
            let ago = SignedDuration::from_secs(crate::model::testing::now().as_second());
            forest.hears("dc2.contoso.com", DOMAIN, "dc1", ago, failures, result);
            forest.troubles(&Links)
        };
        assert_eq!(never(0, 0), [format!("{LINK} unknown not-yet")]);
        assert_eq!(never(2, 1722), [format!("{LINK} unknown not-yet")]);
        assert_eq!(never(10, 1722), [format!("{LINK} fail failing")]);
    }

    #[test]
    fn one_partition_that_is_hidden_is_told_beside_the_other() {
        let mut forest = Forest::replicated();
        forest.held("dc2.contoso.com", DOMAIN).attributes.remove("repsFrom");
        assert_eq!(forest.troubles(&Links), ["dc2.contoso.com unknown hidden"]);
        assert!(forest.words(&Links, |_| true).contains(&format!("{LINK} pass -")));
        let mut forest = Forest::replicated();
        let shown = forest.held("dc2.contoso.com", DOMAIN).attributes.get_mut("repsFrom").unwrap();
        shown.push(crate::facts::search::Value::Text("?".to_string()));
        assert_eq!(forest.troubles(&Links), ["dc2.contoso.com unknown unreadable"]);
    }

    #[test]
    fn a_password_is_set_anew_only_where_that_is_what_is_wrong() {
        let remedy = |result| failing(SignedDuration::from_hours(2), 1, result).finding(&Links, LINK).remedy.join("\n");
        assert!(remedy(8453).contains("ncsecdesc") && !remedy(8453).contains("resetpwd"));
        let remedy = remedy(5);
        assert!(remedy.find("checksecurityerror").unwrap() < remedy.find("resetpwd").unwrap(), "{remedy}");
    }

    #[test]
    fn who_shows_no_partner_is_unknown() {
        let mut forest = Forest::replicated();
        for partition in [DOMAIN, CONFIGURATION] {
            forest.held("dc2.contoso.com", partition).attributes.remove("repsFrom");
        }
        assert_eq!(forest.troubles(&Links), ["dc2.contoso.com unknown hidden"]);
    }

    #[test]
    fn who_does_not_tell_is_unknown_and_stops_nobody_else() {
        let mut forest = Forest::replicated();
        forest.mute.insert("dc2.contoso.com".to_string());
        forest.assert_steady(&Links);
        assert_eq!(forest.troubles(&Links), ["dc2.contoso.com unknown unread"]);
        assert!(forest.words(&Links, |_| true).contains(&"dc2.contoso.com -> dc1.contoso.com pass -".to_string()));
    }

    #[test]
    fn one_controller_alone_is_let_be() {
        let mut forest = Forest::new();
        forest.planned("ex01.contoso.com", ServerRole::Mailbox);
        assert_eq!(forest.words(&Links, |_| true), ["estate skip -"]);
    }

    #[test]
    fn one_controller_of_its_domain_takes_the_configuration_from_others() {
        let mut forest = Forest::new();
        forest.planned("ex01.contoso.com", ServerRole::Mailbox);
        forest.entry(CONFIGURATION, &[("objectClass", &["configuration"])]);
        let dn = format!("CN=DC9,CN=Servers,CN={SITE},CN=Sites,{CONFIGURATION}");
        forest.entry(&dn, &[("objectClass", &["server"]), ("dNSHostName", &["dc9.child.contoso.com"])]);
        forest.entry(
            &format!("CN=NTDS Settings,{dn}"),
            &[("objectClass", &["nTDSDSA"]), ("msDS-HasMasterNCs", &["DC=child,DC=contoso,DC=com", CONFIGURATION])],
        );
        assert_eq!(forest.troubles(&Links), ["dc1.contoso.com unknown hidden"]);
        forest.hears("dc1.contoso.com", CONFIGURATION, "dc9", SignedDuration::from_hours(26), 30, 1722);
        forest.assert_steady(&Links);
        assert_eq!(forest.troubles(&Links), ["dc9.child.contoso.com -> dc1.contoso.com fail failing"]);
        let words = forest.words(&crate::replication::agreement::Agreement, |_| true);
        assert_eq!(words, ["estate skip -"]);
    }

    #[test]
    fn a_refused_password_is_one_unknown() {
        let mut forest = Forest::replicated();
        forest.refuses = true;
        assert_eq!(forest.words(&Links, |_| true), ["estate unknown -"]);
    }
}
