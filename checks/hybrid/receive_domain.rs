//! `hybrid-receive-domain`: is what comes from Exchange Online taken for the organisation's own?

use crate::{
    facts::{
        connector::{IpRange, TransportRole},
        net::SMTP_PORT,
    },
    model::{
        check::{Check, Need},
        connectors::{identity, needs, unread},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        listeners::quote,
        meta::{Basis, Fold, Meta, Tier},
        organisation::{ExchangeServer, ReceiveConnector, SearchOf, searches},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// See the module.
pub struct ReceiveDomain;

static META: Meta = Meta {
    id: "hybrid-receive-domain",
    area: "hybrid",
    title: "Mail from Exchange Online counts as one's own",
    question: "Does a connector that Exchange Online reaches take its mail as that of the organisation?",
    healthy: "port 25 of each receiving server has a connector with mail.protection.outlook.com:AcceptCloudServicesMail",
    why: "The headers by which both halves of a hybrid organisation trust each other are taken from Exchange Online only where the receive connector says so (TlsDomainCapabilities). Without it mail from colleagues arrives as that of strangers: refused by groups that take none from outside, marked as spam, answered by the wrong out-of-office text.",
    remedy: &[
        "Run the Hybrid Configuration Wizard again with this server as a receiving one.",
        "Or: Set-ReceiveConnector \"<SERVER>\\<CONNECTOR>\" -TlsDomainCapabilities mail.protection.outlook.com:AcceptCloudServicesMail",
        "Exchange 2010: Set-ReceiveConnector \"<SERVER>\\<CONNECTOR>\" -TlsDomainCapabilities mail.protection.outlook.com:AcceptOorgProtocol",
    ],
    references: &[
        "Set-ReceiveConnector, parameter TlsDomainCapabilities (Microsoft Learn)",
        "Transport routing in Exchange hybrid deployments (Microsoft Learn)",
    ],
    symptoms: &["550 5.7.1 RESOLVER.RST.AuthRequired", "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup"],
    tier: Tier::User,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field],
};

const SEARCHES: [SearchOf; 3] = [searches::servers, searches::receive_connectors, searches::names];

impl Check for ReceiveDomain {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        needs(&SEARCHES, estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let finding = unread(&META, &SEARCHES, estate, evidence);
        vec![finding.unwrap_or_else(|| judge(estate))]
    }
}

/// What is known of one receiving server.
enum Taken<'e> {
    /// This connector takes it as the organisation's own.
    Yes(&'e ReceiveConnector),
    /// None does; this one answers whoever comes.
    No(Option<&'e ReceiveConnector>),
    /// Its connectors are not shown to this user.
    Unread,
}

fn judge(estate: &Estate) -> Finding {
    let skip = |seen: &str| Finding::new(&META, Subject::Estate, Verdict::Skip, seen);
    let Some(hybrid) = &estate.organisation.hybrid else {
        return skip("the directory shows no hybrid configuration");
    };
    let organisation = &estate.organisation;
    let unmatched = hybrid.receivers.iter().find(|name| organisation.server_called(name).is_none());
    if let Some(name) = unmatched.map(|name| quote(name)).or(hybrid.receivers.is_empty().then(String::new)) {
        let seen = if name.is_empty() {
            "the hybrid configuration shows no receiving server to this user, or has none".to_string()
        } else {
            format!(
                "the hybrid configuration names {name} as a receiving server, and the directory shows none of that name"
            )
        };
        let subject = Subject::Configured("hybrid".into(), "TlsDomainCapabilities".into());
        return Finding::new(&META, subject, Verdict::Unknown, seen)
            .suspects(Trouble::DirectoryUnread)
            .remedy("See which they are:")
            .remedy("    Get-HybridConfiguration | fl ReceivingTransportServers,EdgeTransportServers");
    }
    let receivers = hybrid.receivers.iter().filter_map(|name| organisation.server_called(name));
    // An Edge keeps its connectors to itself.
    let receivers: Vec<_> = receivers.filter(|(_, server)| !server.is_edge()).collect();
    if receivers.is_empty() {
        return skip(
            "the hybrid configuration names no receiving server but Edge ones, whose connectors the directory does not have",
        );
    }
    let taken: Vec<_> = receivers.iter().map(|(host, server)| (*server, look(host, server, estate))).collect();
    let named = |which: fn(&Taken<'_>) -> bool| -> Vec<String> {
        taken.iter().filter(|(_, taken)| which(taken)).map(|(server, _)| quote(&server.name)).collect()
    };
    let (yes, no, unread) = (
        named(|taken| matches!(taken, Taken::Yes(_))),
        named(|taken| matches!(taken, Taken::No(_))),
        named(|taken| matches!(taken, Taken::Unread)),
    );
    let subject = Subject::Configured("hybrid".into(), "TlsDomainCapabilities".into());
    let finding = |verdict, seen: String| Finding::new(&META, subject.clone(), verdict, seen);
    if no.is_empty() && unread.is_empty() {
        let by = taken.iter().find_map(|(_, taken)| if let Taken::Yes(by) = taken { Some(by) } else { None });
        let by = by.map(|connector| format!(" ({})", quote(&connector.name))).unwrap_or_default();
        return finding(Verdict::Pass, format!("{} take it so{by}", yes.join(", ")));
    }
    if no.is_empty() || yes.is_empty() && !unread.is_empty() {
        return finding(
            Verdict::Unknown,
            format!("the connectors of {} are not shown to this user", unread.join(", ")),
        );
    }
    let (verdict, seen) = if yes.is_empty() {
        (
            Verdict::Fail,
            format!(
                "no connector on port 25 of {} takes mail of Exchange Online as the organisation's own",
                no.join(", ")
            ),
        )
    } else {
        (Verdict::Warn, format!("{} take it so, and {} do not", yes.join(", "), no.join(", ")))
    };
    let code = if yes.is_empty() { "nowhere" } else { "not-everywhere" };
    let finding = finding(verdict, seen)
        .code(code)
        .remedy("Run the Hybrid Configuration Wizard again with these as receiving servers; or set it by hand, on the connector that Exchange Online meets:");
    let lacking = taken.iter().filter_map(|(server, taken)| {
        let Taken::No(front) = taken else { return None };
        let name = front.map_or_else(|| "\"<CONNECTOR>\"".to_string(), identity);
        let capability = if server.is_of_2010() { "AcceptOorgProtocol" } else { "AcceptCloudServicesMail" };
        Some(format!("    Set-ReceiveConnector {name} -TlsDomainCapabilities mail.protection.outlook.com:{capability}"))
    });
    lacking.fold(finding, Finding::remedy)
}

fn look<'e>(host: &'e str, server: &ExchangeServer, estate: &'e Estate) -> Taken<'e> {
    let all: Vec<_> = estate.organisation.receive_connectors_of(host).collect();
    if all.is_empty() || all.iter().all(|connector| connector.bindings.is_empty()) {
        return Taken::Unread;
    }
    let role = if server.is_of_2010() { TransportRole::Hub } else { TransportRole::FrontEnd };
    let is_reached = |connector: &&&ReceiveConnector| {
        connector.is_enabled
            && (connector.role == Some(role) || server.is_back_alone())
            && connector.bindings.iter().any(|binding| binding.port() == SMTP_PORT)
    };
    let reached = || all.iter().filter(is_reached).copied();
    if let Some(connector) = reached().find(|connector| has_capability(connector)) {
        return Taken::Yes(connector);
    }
    let breadth = |connector: &&ReceiveConnector| connector.ranges.iter().map(IpRange::breadth).max();
    Taken::No(reached().max_by_key(breadth))
}

/// `mail.protection.outlook.com:AcceptCloudServicesMail`; before 2013 its forerunner was `AcceptOorgProtocol`, and several stand
/// side by side.
fn has_capability(connector: &ReceiveConnector) -> bool {
    connector.capabilities.iter().any(|text| {
        let text = text.to_lowercase();
        text.contains("outlook.com")
            && (text.contains("acceptcloudservicesmail") || text.contains("acceptoorgprotocol"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        connectors::testing::{EVERYBODY, connector, estate, words},
        organisation::Hybrid,
    };

    const TAKES: &str = "mail.protection.outlook.com:AcceptCloudServicesMail";

    fn judge(receivers: &[&str], capable: &[&str], change: impl FnOnce(&mut Estate)) -> Vec<String> {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        let receivers: Vec<_> = receivers.iter().map(ToString::to_string).collect();
        estate.organisation.hybrid = Some(Hybrid { receivers, ..Hybrid::default() });
        for server in ["EX01", "EX02"] {
            let mut front = connector(server, "Front", 25, TransportRole::FrontEnd, 31, &EVERYBODY);
            if capable.contains(&server) {
                front.capabilities.push(TAKES.into());
            }
            estate.organisation.receive_connectors.push(front);
        }
        change(&mut estate);
        words(ReceiveDomain.judge(&estate, &evidence))
    }

    #[test]
    fn every_receiving_server_needs_one() {
        let subject = "hybrid/TlsDomainCapabilities";
        let both = ["EX01", "EX02"];
        assert_eq!(judge(&both, &both, |_| ()), [format!("pass {subject}")]);
        assert_eq!(judge(&both, &["EX01"], |_| ()), [format!("warn {subject} not-everywhere")]);
        assert_eq!(judge(&both, &[], |_| ()), [format!("fail {subject} nowhere")]);
        assert_eq!(judge(&["EX02"], &["EX02"], |_| ()), [format!("pass {subject}")], "the other one receives nothing");
        let disabled = |estate: &mut Estate| estate.organisation.receive_connectors[0].is_enabled = false;
        assert_eq!(judge(&["EX01"], &["EX01"], disabled), [format!("fail {subject} nowhere")]);
    }

    #[test]
    fn what_is_not_shown_is_not_judged() {
        let hidden = |estate: &mut Estate| estate.organisation.receive_connectors.clear();
        assert_eq!(judge(&["EX01"], &[], hidden), ["unknown hybrid/TlsDomainCapabilities"]);
        assert_eq!(judge(&[], &[], |_| ()), ["unknown hybrid/TlsDomainCapabilities"]);
        assert_eq!(judge(&["EX01", "EX09"], &["EX01"], |_| ()), ["unknown hybrid/TlsDomainCapabilities"]);
        assert_eq!(judge(&["EX01"], &[], |estate| estate.organisation.hybrid = None), ["skip estate"]);
    }
}
