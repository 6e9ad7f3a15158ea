//! `replication-agreement`: what mail hangs on is the same on every controller.

use crate::{
    facts::{
        account::{instant, is_disabled},
        certificate::Certificate,
        connector::AuthMechanism,
    },
    model::{
        check::{Check, Need},
        connectors::unread,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        held::{Difference, Held, Object, values},
        informants::estate_needs,
        link::{Link, Partition},
        meta::{Basis, Fold, Meta, Tier},
        organisation::{searches, serialized_certificate},
        principals::untold,
        replicas::{
            Replicas, account_needs, beside, groundwork, in_command, interrupted, names, span, unknown_accounts,
        },
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use jiff::SignedDuration;

/// See the module.
pub struct Agreement;

static META: Meta = Meta {
    id: "replication-agreement",
    area: "replication",
    title: "Controllers agree",
    question: "Do all controllers hold the same of the servers' accounts, of Exchange servers and of receive connectors?",
    healthy: "the same on every controller",
    why: "A server asks one controller for tickets and settings, and its peer another. Where the two differ in an SPN, an account or a connector, what is right for the one is wrong for the other, for as long as the change does not come through.",
    remedy: &[
        "Who has what, and since when: repadmin /showobjmeta <CONTROLLER> \"<DISTINGUISHED NAME>\"",
        "Let the one that lags behind take it: repadmin /replicate <IT> <THE ONE THAT HAS IT> <PARTITION>",
        "Never repadmin /syncall where two have not met for longer than tombstoneLifetime, or with 8606 or 8614: it brings back what was deleted.",
    ],
    references: &[
        "Microsoft KB 979174, step 2",
        "MS-ADTS section 3.1.1.4.4 (msDS-ReplAttributeMetaData)",
        "repadmin (Microsoft Learn)",
    ],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "MSExchangeTransport event 1035",
        "KRB_AP_ERR_MODIFIED (41)",
        "KRB5KDC_ERR_S_PRINCIPAL_UNKNOWN (7)",
    ],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Agreement {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let mut needs = estate_needs(&groundwork(estate), estate, evidence);
        if let Some(replicas) = Replicas::of(estate, evidence) {
            needs.extend(account_needs(estate, evidence));
            let asks = [replicas.link_asks(), replicas.object_asks(), replicas.stamp_asks()].concat();
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
        let mut findings = beside(&META, &replicas, replicas.is_alone(), |replica| replicas.missed(replica));
        if replicas.is_alone() {
            return findings;
        }
        findings.extend(untold(&META, &unknown_accounts(estate, evidence), estate, evidence));
        if let Some((code, seen)) = replicas.shortfall() {
            findings.retain(|finding| finding.subject != Subject::Estate);
            let finding = Finding::new(&META, Subject::Estate, Verdict::Unknown, seen).code(code);
            let more = replicas.not_looked_into().map(|object| object.subject.clone());
            findings.push(more.fold(finding, Finding::speaks_for));
        }
        let differences = replicas.differences();
        let slowest: BTreeMap<_, _> =
            Partition::ALL.into_iter().map(|partition| (partition, replicas.slowest_path(partition))).collect();
        let differing: BTreeSet<&Subject> = differences
            .iter()
            .map(|difference| &difference.object.subject)
            .chain(replicas.not_looked_into().map(|object| &object.subject))
            .collect();
        // A server's account and its object in the configuration are one to whoever reads this.
        let mut alike: BTreeMap<Subject, Finding> = BTreeMap::new();
        for finding in replicas.objects().iter().filter_map(judge_alike) {
            if !differing.contains(&finding.subject)
                && alike.get(&finding.subject).is_none_or(|known| known.verdict < finding.verdict)
            {
                alike.insert(finding.subject.clone(), finding);
            }
        }
        for (subject, domain) in replicas.elsewhere() {
            let seen = format!("its account is in {domain}, whose controllers are not asked: run there with --domain");
            match alike.get_mut(subject) {
                Some(finding) => finding.seen = format!("{}; {seen}", finding.seen),
                None if differing.contains(subject) => {}
                None => {
                    alike.insert(subject.clone(), Finding::new(&META, subject.clone(), Verdict::Skip, seen));
                }
            }
        }
        findings.extend(alike.into_values());
        findings.extend(differences.iter().map(|difference| {
            let slowest = slowest.get(&difference.object.kind.partition()).copied().unwrap_or_default();
            judge_difference(difference, slowest, &replicas)
        }));
        findings
    }
}

fn judge_alike(object: &Object<'_>) -> Option<Finding> {
    let finding = |verdict, seen: String| Some(Finding::new(&META, object.subject.clone(), verdict, seen));
    match object.shown().count() {
        // With one alone, or none, there is nothing to compare, and who did not tell is told of.
        _ if object.held.len() < 2 => None,
        0 if object.held.values().all(|held| *held == Held::Absent) => {
            finding(Verdict::Unknown, "the global catalog has it, and no controller shows it to us".to_string())
        }
        count @ 2.. => finding(Verdict::Pass, format!("the same on {count} controllers")),
        _ => finding(Verdict::Unknown, "fewer than two controllers show it to us".to_string()),
    }
}

fn judge_difference(difference: &Difference<'_>, slowest: SignedDuration, replicas: &Replicas<'_>) -> Finding {
    let subject = difference.object.subject.clone();
    let into = ways_into(difference, replicas);
    let failing = cut_off(difference, &into);
    let is_only_password = difference.attributes == ["pwdLastSet"] && !is_absent(&difference.object);
    let is_old = difference.age.is_some_and(|age| age > 2 * slowest);
    let (verdict, code) = match failing {
        // The key before the last still serves (MS-KILE section 3.3.5.7.5), so a password alone stops nobody yet.
        _ if is_only_password => (Verdict::Warn, "password"),
        Some(_) => (Verdict::Fail, "link-fails"),
        None if is_old && difference.is_diverged => (Verdict::Fail, "diverged"),
        None if is_old => (Verdict::Fail, "stale"),
        None => (Verdict::Warn, "travelling"),
    };
    let mut seen = [words(difference), since(difference)].concat();
    match failing {
        Some(link) => seen.push(format!("nothing comes over {}: replication-links tells of it", link.subject())),
        None if !is_old => seen.push(format!("it may still be under way: that takes {} at the most", span(slowest))),
        None if difference.is_diverged => {
            seen.push(
                "every controller takes itself for even with the others, so nothing will be passed on".to_string(),
            );
        }
        None => {}
    }
    let finding =
        Finding::new(&META, subject.clone(), verdict, seen.join("; ")).code(code).is(Trouble::Disagreement(subject));
    let finding = into.iter().fold(finding, |finding, link| finding.suspects(Trouble::LinkBroken(link.subject())));
    mend(finding, difference, &into, replicas)
}

/// The links by which those that are behind take this. Where it is not known who is behind, none of them is to blame.
fn ways_into<'r>(difference: &Difference<'_>, replicas: &'r Replicas<'_>) -> Vec<&'r Link> {
    let partition = difference.object.kind.partition();
    let is_way = |link: &&Link| {
        difference.lagging.contains(&link.destination) && link.parts.iter().any(|(of, _)| *of == partition)
    };
    if difference.has_laggards() { replicas.links().iter().filter(is_way).collect() } else { Vec::new() }
}

/// A link that fails, to a controller that no other link brings the change to.
fn cut_off<'l>(difference: &Difference<'_>, into: &[&'l Link]) -> Option<&'l Link> {
    let partition = difference.object.kind.partition();
    let has_other = |host: &String| into.iter().any(|link| link.destination == *host && link.is_well_for(partition));
    into.iter().copied().find(|link| link.fails_for(partition) && !has_other(&link.destination))
}

fn is_absent(object: &Object<'_>) -> bool {
    object.held.values().any(|held| *held == Held::Absent)
}

/// Who holds what.
fn words(difference: &Difference<'_>) -> Vec<String> {
    const SHOWN: usize = 3;
    let object = &difference.object;
    let absent: Vec<_> =
        object.held.iter().filter(|(_, held)| **held == Held::Absent).map(|(host, _)| host.as_str()).collect();
    let mut words = Vec::new();
    if !absent.is_empty() {
        words.push(format!(
            "{} has it; {} does not",
            names(object.shown().map(|(host, _)| host)),
            names(absent.into_iter())
        ));
    }
    words.extend(difference.attributes.iter().take(SHOWN).map(|attribute| attribute_words(object, attribute)));
    let more = difference.attributes.len().saturating_sub(SHOWN);
    if more > 0 {
        words.push(format!("{more} attributes more differ"));
    }
    words
}

/// `servicePrincipalName: dc1.contoso.com has smtpsvc/ex01.contoso.com; dc2.contoso.com has none of it`
fn attribute_words(object: &Object<'_>, attribute: &str) -> String {
    let mut groups: BTreeMap<BTreeSet<Vec<u8>>, Vec<&str>> = BTreeMap::new();
    for (host, entry) in object.shown() {
        groups.entry(values(entry, attribute)).or_default().push(host);
    }
    let shared = groups.keys().cloned().reduce(|one, other| &one & &other).unwrap_or_default();
    let group = |(values, hosts): (&BTreeSet<Vec<u8>>, &Vec<&str>)| {
        let own: Vec<_> = (values - &shared).iter().map(|value| value_words(attribute, value)).collect();
        let hosts = names(hosts.iter().copied());
        match own.is_empty() {
            true if values.is_empty() => format!("{hosts} has none"),
            true => format!("{hosts} has none of that"),
            false => format!("{hosts} has {}", names(own.iter().map(String::as_str))),
        }
    };
    let mut groups: Vec<_> = groups.iter().collect();
    groups.sort_by_key(|(values, hosts)| (**values == shared, hosts.first().copied()));
    format!("{attribute}: {}", groups.into_iter().map(group).collect::<Vec<_>>().join(", "))
}

/// A value as people read it: cut, and with nothing in it that a terminal obeys.
fn value_words(attribute: &str, value: &[u8]) -> String {
    const LONGEST: usize = 100;
    let Ok(text) = core::str::from_utf8(value) else {
        let certificate = serialized_certificate(value).and_then(|der| Certificate::parse(&der).ok());
        let named = certificate.map(|certificate| format!("the certificate {}", certificate.thumbprint));
        return named.unwrap_or_else(|| format!("{} bytes", value.len()));
    };
    let number = || text.parse::<i64>().ok();
    let meaning = match attribute {
        "pwdLastSet" => number().and_then(instant).map(|when| when.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
        "userAccountControl" if number().is_some_and(is_disabled) => Some(format!("{text} (disabled)")),
        "msExchSMTPReceiveInboundSecurityFlag" => number().map(|flags| AuthMechanism(flags).names()),
        _ => None,
    };
    meaning.unwrap_or_else(|| {
        let cut: String = text.chars().take(LONGEST).collect();
        let more = if cut.len() < text.len() { "..." } else { "" };
        format!("{}{more}", cut.escape_debug())
    })
}

/// Which is the newer one, and since when.
fn since(difference: &Difference<'_>) -> Vec<String> {
    let ago = difference.age.map(|age| format!("{} ago", span(age)));
    let mut words = Vec::new();
    match (&difference.newest, &difference.written_at) {
        (Some(newest), written_at) => {
            let place = written_at.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
            let when = newest.when.map(|when| when.strftime(" at %Y-%m-%d %H:%M:%S UTC by its own clock").to_string());
            let ago = ago.map(|ago| format!(", {ago}")).unwrap_or_default();
            words.push(format!("the last change was written{place}{}{ago}", when.unwrap_or_default()));
        }
        (None, _) => words.extend(ago.map(|ago| format!("it last changed {ago}; where, nobody shows us"))),
    }
    if difference.lagging.len() < difference.object.held.len() {
        words.push(format!("not yet on {}", names(difference.lagging.iter().map(String::as_str))));
    }
    words
}

fn mend(finding: Finding, difference: &Difference<'_>, into: &[&Link], replicas: &Replicas<'_>) -> Finding {
    let guid = &difference.object.guid;
    let shows =
        difference.object.held.keys().take(2).map(|host| format!("    repadmin /showobjmeta {host} \"<GUID={guid}>\""));
    let finding = shows.fold(finding.remedy("See what each has, and since when:"), Finding::remedy);
    if difference.is_diverged {
        return finding
            .remedy("repadmin /replicate does not mend this: none sees that the other has something else. Find out which value is right, and write")
            .remedy("the attribute anew, with any change and back, on the controller that has it; or let one take the whole object again:")
            .remedy(format!("    repadmin /replsingleobj <IT> <THE ONE THAT IS RIGHT> \"<GUID={guid}>\""))
            .remedy("It comes about where a controller was set back to an old state (event 2095): demote that one and promote it anew.");
    }
    let lifetime = replicas.tombstone_lifetime();
    if into.iter().any(|link| !link.may_be_forced(lifetime)) {
        return finding.remedy("Do not force replication: the two have not met for longer than deleted objects are kept. replication-links tells what then.");
    }
    let Some(source) = difference.written_at.as_ref().filter(|host| !difference.lagging.contains(*host)) else {
        return finding;
    };
    let behind = difference.lagging.iter().filter_map(|host| replicas.called(host)).take(3);
    let commands = behind.map(|replica| {
        let partition = in_command(replica.name_of(difference.object.kind.partition()));
        format!("    repadmin /replicate {} {source} {partition}", replica.host)
    });
    commands.fold(
        finding.remedy("Let those that lag behind take it; where that fails, mend the link first:"),
        Finding::remedy,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{
            replication::blobs,
            search::{Entry, Value},
        },
        model::testing::{CONFIGURATION, DOMAIN, Forest, SITE, invocation, now},
    };

    const ACCOUNT: &str = "CN=EX02,CN=Computers,DC=contoso,DC=com";
    const DC2: &str = "dc2.contoso.com";
    const SPN: u32 = 0x9_0303;

    /// An attribute of ex02's account as dc1 wrote it so long ago, and dc2 has it still as it was.
    fn written(attribute: &str, number: u32, ago: SignedDuration) -> Forest {
        let mut forest = Forest::replicated();
        let old = (number, 1, now() - SignedDuration::from_hours(2000), invocation("dc1"), 100);
        let new = (number, 2, now() - ago, invocation("dc1"), 4990);
        let stamps = |stamp| vec_of(Value::new(blobs::stamps(&[stamp])));
        let before = forest.held(DC2, ACCOUNT);
        before.attributes.insert("replPropertyMetaData".to_string(), stamps(old));
        let object = forest.object("EX02");
        object.attributes.insert("replPropertyMetaData".to_string(), stamps(new));
        object.attributes.insert(attribute.to_string(), vec_of(Value::Text("134000000000000000".to_string())));
        forest
    }

    fn vec_of(value: Value) -> Vec<Value> {
        [value].into()
    }

    /// A connector that dc1 has and dc2 has not.
    fn with_connector(usn: i64) -> Forest {
        let mut forest = Forest::replicated();
        let server = forest.entries.iter().find(|entry| entry.dn.starts_with("CN=EX02,CN=Servers")).unwrap().dn.clone();
        let dn = format!("CN=Relay,CN=SMTP Receive Connectors,CN=Protocols,{server}");
        let connector: &mut Entry = forest.entry(
            &dn,
            &[("objectClass", &["msExchSmtpReceiveConnector"]), ("msExchSmtpReceiveBindings", &["0.0.0.0:25"])],
        );
        let stamp = (0x1234_0001, 1, now() - SignedDuration::from_hours(9), invocation("dc1"), usn);
        connector.attributes.insert("replPropertyMetaData".to_string(), vec_of(Value::new(blobs::stamps(&[stamp]))));
        forest.own.entry(DC2.to_string()).or_default().insert(dn, None);
        forest
    }

    #[test]
    fn what_is_the_same_everywhere_passes() {
        let forest = Forest::replicated();
        forest.assert_steady(&Agreement);
        let passed = forest.words(&Agreement, |_| true);
        assert_eq!(passed, ["estate pass -", "ex01.contoso.com pass -", "ex02.contoso.com pass -"]);
    }

    #[test]
    fn a_change_travels_before_it_is_late() {
        let forest = written("servicePrincipalName", SPN, SignedDuration::from_mins(5));
        forest.assert_steady(&Agreement);
        assert_eq!(forest.troubles(&Agreement), ["ex02.contoso.com warn travelling"]);
        let forest = written("servicePrincipalName", SPN, SignedDuration::from_mins(31));
        assert_eq!(forest.troubles(&Agreement), ["ex02.contoso.com fail stale"]);
    }

    #[test]
    fn both_values_are_told_and_which_is_newer() {
        let forest = written("servicePrincipalName", SPN, SignedDuration::from_hours(3));
        let findings = forest.findings(&Agreement);
        let finding = findings.iter().find(|finding| finding.verdict == Verdict::Fail).unwrap();
        for part in [
            "dc1.contoso.com has 134000000000000000",
            "dc2.contoso.com has exchangeab/ex02",
            "written on dc1.contoso.com",
            "3 hours ago",
            "not yet on dc2.contoso.com",
        ] {
            assert!(finding.seen.contains(part), "{part}: {}", finding.seen);
        }
        let command = format!("    repadmin /replicate dc2.contoso.com dc1.contoso.com {DOMAIN}");
        assert!(finding.remedy.contains(&command), "{:?}", finding.remedy);
    }

    #[test]
    fn over_a_link_that_fails_nothing_travels() {
        let mut forest = written("servicePrincipalName", SPN, SignedDuration::from_mins(1));
        forest.hears(DC2, DOMAIN, "dc1", SignedDuration::from_mins(9), 1, 1722);
        forest.assert_steady(&Agreement);
        assert_eq!(forest.troubles(&Agreement), ["ex02.contoso.com fail link-fails"]);
    }

    #[test]
    fn a_link_decides_nothing_for_another_partition_or_beside_one_that_works() {
        let minute = SignedDuration::from_mins(1);
        let mut forest = written("servicePrincipalName", SPN, minute);
        forest.hears(DC2, CONFIGURATION, "dc1", SignedDuration::from_mins(9), 1, 1722);
        assert_eq!(forest.troubles(&Agreement), ["ex02.contoso.com warn travelling"]);
        let mut forest = written("servicePrincipalName", SPN, minute);
        forest.controller("dc3", SITE, true);
        forest.hears(DC2, DOMAIN, "dc3", minute, 0, 0);
        let well = forest.held(DC2, DOMAIN).attributes["repsFrom"].clone();
        forest.hears(DC2, DOMAIN, "dc1", SignedDuration::from_mins(9), 1, 1722);
        forest.held(DC2, DOMAIN).attributes.get_mut("repsFrom").unwrap().extend(well);
        assert!(forest.troubles(&Agreement).contains(&"ex02.contoso.com warn travelling".to_string()));
    }

    #[test]
    fn where_nobody_shows_who_is_behind_no_link_decides() {
        let mut forest = Forest::replicated();
        forest.held(DC2, ACCOUNT);
        forest.take("EX02", "SmtpSvc/ex02.contoso.com");
        forest.hears(DC2, DOMAIN, "dc1", SignedDuration::from_mins(9), 1, 1722);
        assert_eq!(forest.troubles(&Agreement), ["ex02.contoso.com warn travelling"]);
    }

    #[test]
    fn other_values_under_the_same_stamps_never_meet() {
        let diverged = |ago| {
            let mut forest = written("servicePrincipalName", SPN, ago);
            let stamps = forest.object("EX02").attributes["replPropertyMetaData"].clone();
            forest.held(DC2, ACCOUNT).attributes.insert("replPropertyMetaData".to_string(), stamps);
            // Nothing that it does not know comes over a link, whole or broken.
            forest.hears(DC2, DOMAIN, "dc1", SignedDuration::from_mins(9), 1, 1722);
            forest
        };
        let forest = diverged(SignedDuration::from_hours(5));
        forest.assert_steady(&Agreement);
        assert_eq!(forest.troubles(&Agreement), ["ex02.contoso.com fail diverged"]);
        let findings = forest.findings(&Agreement);
        let finding = findings.iter().find(|finding| finding.verdict == Verdict::Fail).unwrap();
        assert!(finding.remedy.iter().any(|line| line.contains("/replsingleobj")), "{:?}", finding.remedy);
        assert!(
            !finding.remedy.iter().any(|line| line.starts_with("    repadmin /replicate ")),
            "{:?}",
            finding.remedy
        );
        let troubles = diverged(SignedDuration::from_mins(5)).troubles(&Agreement);
        assert_eq!(troubles, ["ex02.contoso.com warn travelling"]);
    }

    #[test]
    fn more_than_are_looked_into_are_not_taken_for_alike() {
        let mut forest = Forest::replicated();
        let server = forest.entries.iter().find(|entry| entry.dn.starts_with("CN=EX02,CN=Servers")).unwrap().dn.clone();
        for number in 0..130 {
            let dn = format!("CN=Relay {number},CN=SMTP Receive Connectors,CN=Protocols,{server}");
            forest.entry(
                &dn,
                &[("objectClass", &["msExchSmtpReceiveConnector"]), ("msExchSmtpReceiveBindings", &["0.0.0.0:25"])],
            );
            forest.own.entry(DC2.to_string()).or_default().insert(dn, None);
        }
        forest.assert_steady(&Agreement);
        let findings = forest.findings(&Agreement);
        let estate = findings.iter().find(|finding| finding.subject == Subject::Estate).unwrap();
        assert_eq!((estate.verdict, estate.code, estate.speaks_for.len()), (Verdict::Unknown, Some("too-many"), 10));
        assert_eq!(findings.iter().filter(|finding| finding.code == Some("travelling")).count(), 120);
    }

    #[test]
    fn an_account_of_another_domain_is_told_of() {
        let mut forest = Forest::replicated();
        forest.object("EX02").dn = "CN=EX02,CN=Computers,DC=child,DC=contoso,DC=com".to_string();
        forest.assert_steady(&Agreement);
        assert_eq!(forest.troubles(&Agreement), Vec::<String>::new());
        let findings = forest.findings(&Agreement);
        let finding = findings.iter().find(|finding| finding.subject.to_string() == "ex02.contoso.com").unwrap();
        assert!(finding.seen.contains("its account is in child.contoso.com"), "{}", finding.seen);
    }

    #[test]
    fn a_password_alone_is_a_warning() {
        let forest = written("pwdLastSet", 0x9_0060, SignedDuration::from_hours(9));
        assert_eq!(forest.troubles(&Agreement), ["ex02.contoso.com warn password"]);
    }

    #[test]
    fn without_stamps_it_is_as_old_as_it_was_changed_last() {
        for (changed, word) in [("20261122115500.0Z", "warn travelling"), ("20261122090000.0Z", "fail stale")] {
            let mut forest = Forest::replicated();
            forest.set("EX02", "whenChanged", &[changed]);
            forest.held(DC2, ACCOUNT);
            forest.take("EX02", "SmtpSvc/ex02.contoso.com");
            assert_eq!(forest.troubles(&Agreement), [format!("ex02.contoso.com {word}")]);
        }
        let mut forest = Forest::replicated();
        forest.held(DC2, ACCOUNT);
        forest.take("EX02", "SmtpSvc/ex02.contoso.com");
        assert_eq!(forest.troubles(&Agreement), ["ex02.contoso.com warn travelling"], "nobody tells how old it is");
    }

    #[test]
    fn what_never_came_is_told_from_what_was_deleted() {
        let forest = with_connector(5001);
        forest.assert_steady(&Agreement);
        assert_eq!(forest.troubles(&Agreement), ["EX02/Relay fail stale"]);
        assert_eq!(
            with_connector(4000).troubles(&Agreement),
            ["EX02/Relay warn travelling"],
            "dc2 had it, and deleted it"
        );
    }

    #[test]
    fn what_is_hidden_does_not_differ() {
        let mut forest = Forest::replicated();
        forest.held(DC2, ACCOUNT).attributes.remove("sAMAccountName");
        forest.held(DC2, ACCOUNT).attributes.remove("servicePrincipalName");
        assert_eq!(forest.troubles(&Agreement), ["ex02.contoso.com unknown -"]);
    }

    #[test]
    fn letter_case_and_order_of_names_are_nothing() {
        let mut forest = Forest::replicated();
        let spns = forest.held(DC2, ACCOUNT).attributes.get_mut("servicePrincipalName").unwrap();
        spns.reverse();
        spns[0] = Value::Text(spns[0].text().unwrap().to_uppercase());
        assert_eq!(forest.troubles(&Agreement), Vec::<String>::new());
    }

    #[test]
    fn who_does_not_tell_is_unknown() {
        let mut forest = Forest::replicated();
        forest.mute.insert(DC2.to_string());
        forest.assert_steady(&Agreement);
        assert_eq!(forest.words(&Agreement, |_| true), ["dc2.contoso.com unknown unread", "estate pass -"]);
    }
}
