//! `web-internal-url`: the addresses that servers hand out inside must be names, and lead somewhere.

use crate::{
    facts::dns::{DnsLookup, RecordKind, is_host_name},
    model::{
        accounts::{host_of_url, peers, short_name},
        ask::Ask,
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        informants::{Holding, unread},
        listeners::quote,
        meta::{Basis, Fold, Meta, Tier},
        organisation::{ExchangeServer, Told, VirtualDirectory, searches},
        principals::{bystanders, servers_unread},
    },
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;

/// See the module.
pub struct InternalUrl;

static META: Meta = Meta {
    id: "web-internal-url",
    area: "web",
    title: "Internal URLs lead somewhere",
    question: "Does the internal URL of every virtual directory hold a name, and one that resolves?",
    healthy: "a name that resolves",
    why: "Clients inside, and other servers' front ends, go where InternalUrl says. No SPN can be registered for an address, so nobody logs on by Kerberos there; Exchange 2010 then cannot proxy from one server to another (event 71).",
    remedy: &[
        "Set-OwaVirtualDirectory '<SERVER>\\owa (Default Web Site)' -InternalUrl https://<NAME>/owa (and Ecp, WebServices, ActiveSync, Oab, Mapi, PowerShell likewise)",
        "A name that does not resolve: add it to DNS, or set one that does.",
        "The change counts at once for new sessions; for all of them: iisreset on the server",
    ],
    references: &["Microsoft TechNet: MSExchange OWA event 71", "Set-OwaVirtualDirectory (Microsoft Learn)"],
    symptoms: &["MSExchange OWA event 71"],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

impl Check for InternalUrl {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, _: &Evidence) -> Vec<Need> {
        let lookups = |directory: &VirtualDirectory| {
            let subject = subject(directory);
            let name = name_of(directory).and_then(|host| looked_up(&host, estate));
            let asks = name.into_iter().flat_map(|name| lookups(&name, estate));
            asks.map(|ask| Need { subject: subject.clone(), ask }).collect::<Vec<_>>()
        };
        estate.organisation.virtual_directories.iter().flat_map(lookups).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let search = estate.informants.first().map(|first| (searches::virtual_directories(first), Holding::Domain));
        let untold = search.and_then(|search| unread(&META, &[search], estate, evidence));
        let mut findings: Vec<_> = servers_unread(&META, estate, evidence).or(untold).into_iter().collect();
        let directories = directories(estate);
        let mut dead = BTreeSet::new();
        for directory in &directories {
            let finding = judge_directory(directory, estate, evidence);
            // One dead name is one trouble: the first directory that has it tells, and the others follow from it.
            findings.push(match finding.is.clone() {
                Some(trouble) if !dead.insert(trouble.clone()) => Finding { is: None, ..finding }.suspects(trouble),
                _ => finding,
            });
        }
        // A server that is let alone is let alone with all its directories, of which some were looked up before it was known.
        findings.extend(bystanders(&META, estate).into_iter().map(|finding| {
            let is_its = |directory: &&VirtualDirectory| directory.host.as_deref() == finding.subject.host();
            let its: Vec<_> = estate.organisation.virtual_directories.iter().filter(is_its).map(subject).collect();
            its.into_iter().fold(finding, Finding::speaks_for)
        }));
        if findings.is_empty() {
            findings.push(Finding::new(
                &META,
                Subject::Estate,
                Verdict::Skip,
                "the organisation shows no virtual directory",
            ));
        }
        findings
    }
}

/// Those of servers that are meant to work, in the order of the report.
fn directories(estate: &Estate) -> Vec<&VirtualDirectory> {
    let peers = peers(estate);
    let is_judged =
        |directory: &&VirtualDirectory| directory.host.as_ref().is_none_or(|host| peers.contains(host.as_str()));
    let mut directories: Vec<_> = estate.organisation.virtual_directories.iter().filter(is_judged).collect();
    directories.sort_by_key(|directory| subject(directory));
    directories
}

fn subject(directory: &VirtualDirectory) -> Subject {
    Subject::Configured(directory.server.clone(), directory.name.clone())
}

fn name_of(directory: &VirtualDirectory) -> Option<String> {
    let host = host_of_url(directory.internal_url.value()?)?;
    (is_host_name(&host) && host.parse::<IpAddr>().is_err()).then_some(host)
}

/// A name without a dot is completed as a member of the domain does.
fn looked_up(host: &str, estate: &Estate) -> Option<String> {
    let name = if host.contains('.') { host.to_string() } else { format!("{host}.{}", estate.plan.domain) };
    is_host_name(&name).then_some(name)
}

fn lookups(name: &str, estate: &Estate) -> [Ask; 2] {
    [RecordKind::A, RecordKind::Aaaa].map(|kind| estate.lookup(name, kind))
}

fn judge_directory(directory: &VirtualDirectory, estate: &Estate, evidence: &Evidence) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, subject(directory), verdict, seen);
    let url = match &directory.internal_url {
        Told::Is(url) => url,
        Told::NotSet => return finding(Verdict::Skip, "no internal URL is set".to_string()),
        Told::Unread => {
            return finding(Verdict::Unknown, "its internal URL is not shown to us".to_string())
                .remedy("Log on as somebody who may read the virtual directory, and run again.");
        }
    };
    let Some(host) = host_of_url(url) else {
        return finding(Verdict::Unknown, format!("no host can be read from {}", quote(url)));
    };
    if host.parse::<IpAddr>().is_ok() {
        return judge_address(directory, &host, estate, finding);
    }
    let Some(name) = name_of(directory).and_then(|host| looked_up(&host, estate)) else {
        return finding(Verdict::Unknown, format!("{} is no name that can be looked up", quote(&host)));
    };
    if let Some(address) = estate.addresses(&name).next() {
        return finding(Verdict::Pass, format!("{name} resolves to {address}"));
    }
    let answers = lookups(&name, estate).map(|ask| evidence.answer::<DnsLookup>(&ask).miss().map(ToString::to_string));
    let is_answered = lookups(&name, estate).iter().all(|ask| evidence.answer::<DnsLookup>(ask).facts().is_some());
    if !is_answered {
        let why =
            answers.into_iter().flatten().next().unwrap_or_else(|| "the run ended before it was looked up".to_string());
        return finding(Verdict::Unknown, format!("whether {name} resolves is not known: {why}"))
            .suspects(Trouble::Name(estate.plan.domain.clone()));
    }
    // A short name may be completed by a suffix that only the servers know, or by WINS.
    if name != host {
        return finding(Verdict::Unknown, format!("{host} is a short name, and {name} does not resolve"))
            .code("short-name")
            .remedy("Set a full name:")
            .remedy(set(directory, estate))
            .remedy("    iisreset");
    }
    if estate.servers.contains_key(&name) {
        // `directory-located` says the same of the server, and no more than Unknown: it may be that only our DNS does not know it.
        return finding(Verdict::Unknown, format!("{name}, a server's own name, does not resolve"))
            .code("unresolved")
            .suspects(Trouble::Name(name.clone()))
            .remedy(format!("Let {name} register its name again; on it:"))
            .remedy("    ipconfig /registerdns");
    }
    let finding = finding(Verdict::Fail, format!("{name} does not resolve"))
        .code("unresolved")
        .is(Trouble::Name(name.clone()))
        .remedy(format!("Add {name} to DNS, or set a name that resolves:"));
    recycle(finding.remedy(set(directory, estate)))
}

/// Worker processes read the directory again after a while only.
fn recycle(finding: Finding) -> Finding {
    finding
        .remedy(
            "It counts after some minutes; to have it at once, on the server (who is logged on there, is logged off):",
        )
        .remedy("    iisreset")
}

fn judge_address(
    directory: &VirtualDirectory,
    host: &str,
    estate: &Estate,
    finding: impl Fn(Verdict, String) -> Finding,
) -> Finding {
    let server = estate.organisation.server_called(&directory.server).map(|(_, server)| server);
    // Since 2013 a front end goes to its back end by the server's own name, whatever InternalUrl holds.
    let verdict = if server.is_some_and(ExchangeServer::is_of_2010) { Verdict::Fail } else { Verdict::Warn };
    let finding =
        finding(verdict, format!("the address {host} stands in place of a name: no SPN can be registered for it"))
            .code("address")
            .remedy("Set a name:");
    recycle(finding.remedy(set(directory, estate)))
}

/// The name to be set. An address or another name of the server gives way to its own; a name that servers share to none of a server,
/// but to the one that all other directories have, if they have one.
fn better_name(directory: &VirtualDirectory, estate: &Estate) -> Option<String> {
    let organisation = &estate.organisation;
    let own = directory
        .host
        .as_deref()
        .or_else(|| organisation.server_called(&directory.server).map(|(host, _)| host.as_str()))
        .filter(|name| is_host_name(name));
    let old = host_of_url(directory.internal_url.value()?)?;
    let is_address = |host: &String| host.parse::<IpAddr>().is_ok();
    let is_of_server = own.is_some_and(|own| short_name(own).eq_ignore_ascii_case(short_name(&old)));
    if is_address(&old) || is_of_server {
        return own.filter(|own| *own != old).map(ToString::to_string);
    }
    let hosts = organisation.virtual_directories.iter().filter_map(|other| host_of_url(other.internal_url.value()?));
    let is_server = |host: &String| estate.servers.contains_key(host) || organisation.servers.contains_key(host);
    let mut names: BTreeSet<_> = hosts.filter(|host| *host != old && !is_address(host) && !is_server(host)).collect();
    let first = names.pop_first().filter(|name| is_host_name(name) && estate.addresses(name).next().is_some());
    first.filter(|_| names.is_empty())
}

/// A port other than that of the scheme.
fn port_of(url: &str) -> Option<u16> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest).split(['/', '?', '#']).next()?;
    authority
        .rsplit_once(':')
        .and_then(|(host, port)| (!host.contains(':') || host.ends_with(']')).then_some(port))?
        .parse()
        .ok()
}

/// The command that sets it. What could be more than a word is left to whoever reads it.
fn set(directory: &VirtualDirectory, estate: &Estate) -> String {
    let is_plain =
        |text: &str, also: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || also.contains(letter));
    let class = directory.class.to_ascii_lowercase();
    let kind = match class.strip_prefix("msexch").and_then(|class| class.strip_suffix("virtualdirectory")) {
        Some("owa") => "Owa",
        Some("ecp") => "Ecp",
        Some("webservices") => "WebServices",
        Some("mobile") => "ActiveSync",
        Some("oab") => "Oab",
        Some("mapi") => "Mapi",
        Some("powershell") => "PowerShell",
        Some("autodiscover") => "Autodiscover",
        _ => "<KIND>",
    };
    let identity = format!("{}\\{}", directory.server, directory.name);
    let identity = if is_plain(&identity, "\\ ()-_.") { identity } else { "<SERVER>\\<DIRECTORY>".to_string() };
    let url = directory.internal_url.value().map_or("", String::as_str);
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", ""));
    let scheme = if scheme.eq_ignore_ascii_case("http") { "http" } else { "https" };
    let path = rest.find('/').and_then(|at| rest.get(at..)).filter(|path| is_plain(path, "/-_.")).unwrap_or("/<PATH>");
    let name = better_name(directory, estate).unwrap_or_else(|| "<NAME>".to_string());
    let port = port_of(url).map(|port| format!(":{port}")).unwrap_or_default();
    format!("    Set-{kind}VirtualDirectory '{identity}' -InternalUrl {scheme}://{name}{port}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{plan::ServerState, testing::Forest};

    const OWA: &str = "owa (Default Web Site)";
    const SUBJECT: &str = "EX01/owa (Default Web Site)";

    fn with(url: Option<&str>) -> Forest {
        let mut forest = Forest::new();
        forest.virtual_directory("EX01", OWA, url);
        forest
    }

    /// The command that the remedy has.
    fn set_by(forest: &Forest, subject: &str) -> String {
        let remedy = forest.finding(&InternalUrl, subject).remedy;
        remedy.iter().find(|line| line.starts_with("    Set-")).unwrap().trim().to_string()
    }

    #[test]
    fn a_dead_common_name_gives_way_to_another_and_to_no_servers_own() {
        let url = |forest: &Forest| set_by(forest, SUBJECT).rsplit_once(' ').unwrap().1.to_string();
        let mut forest = with(Some("https://gone.contoso.com:444/owa"));
        assert_eq!(url(&forest), "https://<NAME>:444/owa");
        forest.virtual_directory("EX01", "PowerShell (Default Web Site)", Some("http://ex01.contoso.com/powershell"));
        forest.virtual_directory("EX02", OWA, Some("https://mail.contoso.com/owa"));
        assert_eq!(url(&forest), "https://<NAME>:444/owa", "that one does not resolve either");
        forest.name("mail.contoso.com");
        assert_eq!(url(&forest), "https://mail.contoso.com:444/owa");
        forest.virtual_directory("EX02", "ecp (Default Web Site)", Some("https://ecp.contoso.com/ecp"));
        forest.name("ecp.contoso.com");
        assert_eq!(url(&forest), "https://<NAME>:444/owa");
        assert_eq!(url(&with(Some("https://ex01.old.contoso.com/owa"))), "https://ex01.contoso.com/owa");
    }

    #[test]
    fn a_servers_own_name_that_is_gone_is_told_of_the_server() {
        let mut forest = with(Some("https://ex01.contoso.com/owa"));
        forest.names.remove("ex01.contoso.com");
        let finding = forest.finding(&InternalUrl, SUBJECT);
        assert_eq!((finding.verdict, finding.code), (Verdict::Unknown, Some("unresolved")));
        assert_eq!(finding.suspects, [Trouble::Name("ex01.contoso.com".to_string())]);
    }

    #[test]
    fn a_name_that_resolves_passes_and_none_is_skipped() {
        let mut forest = with(Some("https://mail.contoso.com/owa"));
        forest.name("mail.contoso.com");
        forest.virtual_directory("EX01", "PowerShell (Default Web Site)", Some("http://ex01.contoso.com/powershell"));
        forest.virtual_directory("EX01", "Autodiscover (Default Web Site)", None);
        forest.assert_steady(&InternalUrl);
        let words = forest.words(&InternalUrl, |_| true);
        assert_eq!(
            words,
            [
                "EX01/Autodiscover (Default Web Site) skip -",
                "EX01/PowerShell (Default Web Site) pass -",
                "EX01/owa (Default Web Site) pass -"
            ]
        );
    }

    #[test]
    fn an_address_stops_the_proxies_of_2010_alone() {
        for url in ["https://10.0.0.3/owa", "https://[fd53::1]/owa"] {
            assert_eq!(with(Some(url)).troubles(&InternalUrl), ["EX01/owa (Default Web Site) warn address"]);
        }
        let mut forest = Forest::new();
        forest.exchange_server(
            "EX10",
            &[("serialNumber", &["Version 14.3 (Build 30123.4)"]), ("msExchCurrentServerRoles", &["36"])],
        );
        forest.virtual_directory("EX10", OWA, Some("https://10.0.0.3/owa"));
        assert_eq!(forest.troubles(&InternalUrl), ["EX10/owa (Default Web Site) fail address"]);
        assert_eq!(
            set_by(&forest, "EX10/owa (Default Web Site)"),
            "Set-OwaVirtualDirectory 'EX10\\owa (Default Web Site)' -InternalUrl https://ex10.contoso.com/owa"
        );
    }

    #[test]
    fn a_name_that_is_gone_fails_and_its_first_directory_tells() {
        let mut forest = with(Some("https://gone.contoso.com/owa"));
        forest.virtual_directory("EX02", OWA, Some("https://gone.contoso.com/owa"));
        let findings = forest.findings(&InternalUrl);
        let of = |subject: &str| findings.iter().find(|finding| finding.subject.to_string() == subject).unwrap();
        assert_eq!((of(SUBJECT).verdict, of(SUBJECT).code), (Verdict::Fail, Some("unresolved")));
        let trouble = Trouble::Name("gone.contoso.com".to_string());
        assert_eq!(of(SUBJECT).is, Some(trouble.clone()));
        assert_eq!(of("EX02/owa (Default Web Site)").suspects, [trouble]);
    }

    #[test]
    fn what_cannot_be_looked_up_is_unknown() {
        let mut forest = with(Some("https://lost.contoso.com/owa"));
        forest.lost_names.insert("lost.contoso.com".to_string());
        assert_eq!(forest.troubles(&InternalUrl), ["EX01/owa (Default Web Site) unknown -"]);
        assert_eq!(with(Some("https://m\u{fc}ll/owa")).finding(&InternalUrl, SUBJECT).verdict, Verdict::Unknown);
        assert_eq!(with(Some("https:///owa")).finding(&InternalUrl, SUBJECT).verdict, Verdict::Unknown);
    }

    #[test]
    fn a_short_name_is_completed() {
        assert_eq!(with(Some("https://ex02/owa")).finding(&InternalUrl, SUBJECT).verdict, Verdict::Pass);
        assert_eq!(
            with(Some("https://gone/owa")).troubles(&InternalUrl),
            ["EX01/owa (Default Web Site) unknown short-name"]
        );
    }

    #[test]
    fn what_is_in_no_order_enters_no_command() {
        let mut forest = Forest::new();
        forest.virtual_directory("EX01", "x' ; calc '", Some("https://10.0.0.3/a';calc"));
        assert_eq!(
            set_by(&forest, "EX01/x' ; calc '"),
            "Set-OwaVirtualDirectory '<SERVER>\\<DIRECTORY>' -InternalUrl https://ex01.contoso.com/<PATH>"
        );
    }

    #[test]
    fn servers_that_do_not_work_are_left_out() {
        let mut forest = with(Some("https://10.0.0.3/owa"));
        forest.planned("ex01.contoso.com", crate::model::plan::ServerRole::Mailbox).state = ServerState::Retired;
        assert_eq!(forest.words(&InternalUrl, |_| true), ["ex01.contoso.com skip -"]);
        assert_eq!(Forest::new().words(&InternalUrl, |_| true), ["estate skip -"]);
    }

    #[test]
    fn an_unread_directory_is_one_unknown() {
        let mut forest = with(Some("https://10.0.0.3/owa"));
        forest.refuses = true;
        assert_eq!(forest.troubles(&InternalUrl), ["estate unknown -"]);
    }
}
