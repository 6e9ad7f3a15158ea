//! `hybrid-sender-address`: does the tenant know the address from which the servers come, where it goes by addresses?

use crate::{
    facts::export::InboundConnector,
    model::{
        check::{Check, Need},
        connectors::in_command,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        hybrid::{
            Fit, Route, Sender, Shows, Tenant, best_fit, inbound, inbound_subject, nothing_to_judge, routes, strange,
            suspects_client_side,
        },
        meta::{Basis, Fold, Meta, Tier},
        outgoing::is_away,
    },
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::net::IpAddr;

/// See the module.
pub struct SenderAddress;

static META: Meta = Meta {
    id: "hybrid-sender-address",
    area: "hybrid",
    title: "Exchange Online knows the address",
    question: "Where the tenant knows its servers by their addresses, is the one from which they come among them?",
    healthy: "every address from which the servers come is among SenderIPAddresses, or the connector goes by a certificate",
    why: "An inbound connector with SenderIPAddresses and without a certificate knows the servers by the address that they have behind every translation. When a provider or a firewall is changed, so is that address, and mail is refused (550 5.7.64). Addresses may also be shared with other tenants, so that a certificate is the better way.",
    remedy: &[
        "Go by the certificate: run the Hybrid Configuration Wizard again, or Set-InboundConnector \"<CONNECTOR>\" -TlsSenderCertificateName <NAME> -RequireTls $true -SenderIPAddresses $null",
        "Or add the address (IPv4, at most 256 at a time): Set-InboundConnector \"<CONNECTOR>\" -SenderIPAddresses @{Add=\"<ADDRESS>\"}",
    ],
    references: &[
        "\"550 5.7.64 TenantAttribution\" when sending mail externally in Microsoft 365 (Microsoft Learn)",
        "Set-InboundConnector, parameter SenderIPAddresses (Microsoft Learn)",
    ],
    symptoms: &["550 5.7.64 TenantAttribution", "Relay Access Denied SMTP"],
    tier: Tier::Input,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field],
};

impl Check for SenderAddress {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, _: &Estate, _: &Evidence) -> Vec<Need> {
        Vec::new()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let is_given = estate.plan.inputs.inbound.is_some();
        if let Some(nothing) = nothing_to_judge(&META, is_given, "Get-InboundConnector of the tenant", estate, evidence)
        {
            return vec![nothing];
        }
        let mut routes = routes(estate, evidence);
        if !routes.is_empty() && !routes.iter().any(|route| route.tenant == Tenant::Own) {
            // From nowhere known do the servers come to this tenant.
            let word = |route: &Route<'_>| {
                Some(suspects_client_side(strange(&META, route.connector.subject(), route)?, route))
            };
            let words = routes.iter().filter_map(word);
            return words.max_by_key(|word| word.verdict).into_iter().collect();
        }
        routes.retain(|route| route.tenant == Tenant::Own);
        let findings: Vec<_> = inbound(estate).map(|connector| judge(connector, &routes, estate)).collect();
        if findings.is_empty() {
            let seen = "the tenant has no inbound connector of type OnPremises in service";
            return vec![Finding::new(&META, Subject::Estate, Verdict::Skip, seen)];
        }
        findings
    }
}

fn judge(connector: &InboundConnector, routes: &[Route<'_>], estate: &Estate) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, inbound_subject(connector), verdict, seen);
    if connector.certificate_name.is_some() {
        return finding(Verdict::Skip, "it goes by the certificate".into());
    }
    if connector.addresses.is_empty() {
        return finding(Verdict::Skip, "it names neither a certificate nor an address".into());
    }
    let by_certificate = are_known_by_certificate(routes, estate);
    if by_certificate == Known::Yes {
        let seen = "the servers are known by their certificate already; this one is for others, or for nobody";
        return finding(Verdict::Skip, seen.into());
    }
    let ranges = list(connector.addresses.iter().map(ToString::to_string));
    let is_held = |address: &IpAddr| {
        let by_address = inbound(estate).filter(|connector| connector.certificate_name.is_none());
        by_address.flat_map(|connector| &connector.addresses).any(|range| range.holds(*address))
    };
    let is_own = |address: &IpAddr| connector.addresses.iter().any(|range| range.holds(*address));
    let stated = &estate.plan.hybrid.egress;
    if stated.is_empty() {
        let logged: BTreeSet<IpAddr> = routes
            .iter()
            .flat_map(|route| route.senders.iter().flat_map(|sender| &sender.sessions))
            .filter_map(|session| session.local)
            .collect();
        if !logged.is_empty() && logged.iter().all(is_held) {
            let seen = format!(
                "by the log servers come from {}, which is among {ranges}",
                list(logged.iter().map(ToString::to_string))
            );
            return finding(Verdict::Pass, seen);
        }
        return finding(
            Verdict::Unknown,
            format!(
                "it takes {ranges}, and from which address the servers come, behind any translation, was not stated"
            ),
        )
        .is(Trouble::SenderAddress)
        .remedy("State it in the plan; it is in the Received lines of any mail that the tenant has taken:")
        .remedy("    [hybrid]")
        .remedy("    egress = [\"<ADDRESS>\"]");
    }
    let strange: Vec<_> = stated.iter().filter(|address| !is_held(address)).collect();
    if strange.is_empty() && !stated.iter().any(is_own) {
        return finding(Verdict::Skip, "another connector holds the addresses from which the servers come".into());
    }
    if strange.is_empty() {
        return finding(Verdict::Pass, format!("{} is among {ranges}", list(stated.iter().map(ToString::to_string))));
    }
    if by_certificate == Known::Untold {
        // A connector for relays stands beside the one of the organisation; then addresses decide nothing.
        let told = list(strange.iter().map(ToString::to_string));
        let seen = format!(
            "it takes {ranges}, and the servers come from {told}; whether they are known by their certificate, for which another connector asks, is not known"
        );
        let finding = finding(Verdict::Unknown, seen);
        return routes.iter().fold(finding.suspects(Trouble::ClientSideUntold(Subject::Estate)), suspects_client_side);
    }
    mend(connector, &strange, &ranges, finding)
}

/// Does the tenant know the servers by what they show?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Every one.
    Yes,
    /// That is not known of every one.
    Untold,
    /// One of them shows nothing that any connector asks for, or no connector asks for any.
    No,
}

fn are_known_by_certificate(routes: &[Route<'_>], estate: &Estate) -> Known {
    if !inbound(estate).any(|connector| connector.certificate_name.is_some()) {
        return Known::No;
    }
    let all = routes.iter().flat_map(|route| &route.senders);
    let senders = all.filter(|sender| !is_away(&sender.host, estate));
    let known = |sender: &Sender<'_>| {
        let Shows::These(clients, _) = &sender.shows else { return Known::Untold };
        let fits = || clients.iter().map(|client| best_fit(client, estate).map_or(Fit::No, |(fit, _)| fit));
        let is_named = clients.iter().all(|client| !client.names.is_empty());
        if fits().all(|fit| matches!(fit, Fit::Yes(_))) {
            Known::Yes
        } else if is_named && !sender.is_of_before(estate) && fits().all(|fit| fit == Fit::No) {
            Known::No
        } else {
            Known::Untold
        }
    };
    let all: Vec<_> = senders.map(known).collect();
    if all.contains(&Known::No) {
        Known::No
    } else if all.is_empty() || all.contains(&Known::Untold) {
        Known::Untold
    } else {
        Known::Yes
    }
}

fn mend(
    connector: &InboundConnector,
    strange: &[&IpAddr],
    ranges: &str,
    finding: impl Fn(Verdict, String) -> Finding,
) -> Finding {
    let told = list(strange.iter().map(ToString::to_string));
    let name = in_command(&connector.name);
    let by_certificate = if strange.iter().any(|address| address.is_ipv6()) {
        "It can hold no address of IPv6. Go by the certificate: run the Hybrid Configuration Wizard again, or, in Exchange Online:"
    } else {
        "Better go by the certificate: run the Hybrid Configuration Wizard again, or, in Exchange Online:"
    };
    let finding = finding(Verdict::Fail, format!("it takes {ranges}, and the servers come from {told}"))
        .code("address")
        .is(Trouble::SenderAddress)
        .remedy(by_certificate)
        .remedy(format!("    Set-InboundConnector {name} -TlsSenderCertificateName <NAME> -RequireTls $true -SenderIPAddresses $null"));
    let v4: Vec<_> =
        strange.iter().filter(|address| address.is_ipv4()).map(|address| format!("\"{address}\"")).collect();
    if v4.is_empty() {
        return finding;
    }
    finding
        .remedy("Or add the address, if it is yours alone:")
        .remedy(format!("    Set-InboundConnector {name} -SenderIPAddresses @{{Add={}}}", v4.join(",")))
}

fn list(all: impl Iterator<Item = String>) -> String {
    const FEW: usize = 6;
    let all: Vec<_> = all.collect();
    let shown = all.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    let more = all.len().saturating_sub(FEW);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::export::ExportedSendConnector,
        model::{
            connectors::testing::words,
            hybrid::testing::*,
            inputs::{HybridPlan, Inputs},
            plan::Plan,
        },
    };

    fn judge(inbound: Vec<InboundConnector>, egress: &[&str], logged: bool) -> Vec<String> {
        let inputs = Inputs {
            send_connectors: Some(vec![sender(None, &["EX01"])]),
            inbound: Some(inbound),
            send_log: logged.then(|| vec![session("1970-01-01T00:00:00Z", 1, &["mail.contoso.com"], &[])]),
            ..Inputs::default()
        };
        let hybrid =
            HybridPlan { egress: egress.iter().map(|text| text.parse().unwrap()).collect(), ..HybridPlan::default() };
        let plan = Plan { hybrid, inputs, ..Plan::of("contoso.com") };
        let words = words(SenderAddress.judge(&Estate::learn(&plan, &Evidence::default()), &Evidence::default()));
        words.iter().map(|word| word.replace("inbound connector/Inbound from Contoso", "in")).collect()
    }

    #[test]
    fn the_stated_address_is_among_them_or_not() {
        let scoped = || vec![comes_in(None, &["203.0.113.0/29", "198.51.100.4"])];
        assert_eq!(judge(scoped(), &["203.0.113.7"], false), ["pass in"]);
        assert_eq!(judge(scoped(), &["203.0.113.7", "203.0.113.8"], false), ["fail in address"]);
        assert_eq!(judge(scoped(), &["2001:db8::7"], false), ["fail in address"]);
        assert_eq!(judge(scoped(), &[], false), ["unknown in"]);
        assert_eq!(judge(scoped(), &[], true), ["unknown in"], "10.0.0.1 may be translated");
        assert_eq!(judge(vec![comes_in(None, &["10.0.0.1"])], &[], true), ["pass in"]);
    }

    #[test]
    fn who_goes_by_the_certificate_is_left_alone() {
        assert_eq!(
            judge(vec![comes_in(Some("mail.contoso.com"), &["203.0.113.7"])], &["192.0.2.1"], false),
            ["skip in"]
        );
        let relay = InboundConnector { name: "Relay".into(), ..comes_in(None, &["203.0.113.7"]) };
        let both = || vec![comes_in(Some("mail.contoso.com"), &[]), relay.clone()];
        assert_eq!(judge(both(), &["192.0.2.1"], true), ["skip in", "skip inbound connector/Relay"]);
        assert_eq!(judge(both(), &["192.0.2.1"], false), ["skip in", "unknown inbound connector/Relay"]);
        let other = || vec![comes_in(Some("smtp.contoso.com"), &[]), relay.clone()];
        assert_eq!(judge(other(), &["192.0.2.1"], true), ["fail inbound connector/Relay address", "skip in"]);
        assert_eq!(judge(Vec::new(), &[], true), ["skip estate"]);
        assert_eq!(judge(vec![comes_in(None, &[])], &[], true), ["skip in"]);
    }
    #[test]
    fn behind_a_gateway_the_address_of_the_servers_is_nobodys_business() {
        let judge = |change: fn(&mut ExportedSendConnector)| {
            let mut connector = sender(None, &["EX01"]);
            (connector.is_cloud, connector.tls_domain) = (false, None);
            change(&mut connector);
            let inputs = Inputs {
                send_connectors: Some(vec![connector]),
                inbound: Some(vec![comes_in(None, &["203.0.113.0/24"])]),
                ..Inputs::default()
            };
            let hybrid = HybridPlan { egress: vec!["198.51.100.7".parse().unwrap()], ..HybridPlan::default() };
            let plan = Plan { hybrid, inputs, ..Plan::of("contoso.com") };
            let judged = SenderAddress.judge(&Estate::learn(&plan, &Evidence::default()), &Evidence::default());
            (judged[0].seen.contains("to Exchange Online itself"), words(judged))
        };
        let (_, told) = judge(|_| ());
        assert_eq!(told, ["fail inbound connector/Inbound from Contoso address"]);
        let through =
            |connector: &mut ExportedSendConnector| connector.smart_hosts = vec!["mx.provider.example".into()];
        assert_eq!(judge(through), (true, vec!["skip estate".to_string()]));
        let to_whom = |connector: &mut ExportedSendConnector| {
            connector.address_spaces = vec!["SMTP:fabrikam.com;1".into()];
            connector.smart_hosts = vec!["fabrikam-com.mail.protection.outlook.com".into()];
        };
        assert_eq!(judge(to_whom).1, ["skip send connector/Outbound to Office 365"]);
    }
}
