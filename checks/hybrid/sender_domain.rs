//! `hybrid-sender-domain`: is the sender's domain, or the certificate's, one of the tenant's?

use crate::{
    facts::dns::canonical_name,
    model::{
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        hybrid::{
            Client, Fit, Refusal, Route, Sender, Shows, fit, inbound, is_accepted, is_pattern, nothing_to_judge,
            routes, strange, suspects_client_side,
        },
        listeners::quote,
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

/// See the module.
pub struct SenderDomain;

static META: Meta = Meta {
    id: "hybrid-sender-domain",
    area: "hybrid",
    title: "The tenant accepts the domain",
    question: "Is the domain of the certificate, or of those who send, an accepted domain of the tenant?",
    healthy: "the certificate's name, or a domain above it, is an accepted domain in Exchange Online",
    why: "A certificate tells Exchange Online which connector is meant, and a domain whose tenant it is: that of the certificate, else that of the sender. Where neither is an accepted domain, mail is refused with ATTR36. Where only the certificate's is missing, mail that is forwarded and reports without a sender are refused.",
    remedy: &[
        "Add the domain in the Microsoft 365 admin center, prove that it is yours, and see it accepted: Get-AcceptedDomain <DOMAIN>",
        "Or show a certificate with a name below an accepted domain, and run the Hybrid Configuration Wizard again.",
        "On the servers themselves, where senders of it are: New-AcceptedDomain -Name <DOMAIN> -DomainName <DOMAIN> -DomainType Authoritative",
    ],
    references: &[
        "Microsoft KB 4019940",
        "Updated requirements for SMTP relay through Exchange Online (Exchange Team blog)",
        "Microsoft 365 message center MC1226222",
    ],
    symptoms: &["550 5.7.64 Relay Access Denied ATTR36", "ATTR36", "550 5.7.64 TenantAttribution", "ATT36"],
    tier: Tier::Input,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field],
};

impl Check for SenderDomain {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, _: &Estate, _: &Evidence) -> Vec<Need> {
        Vec::new()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let inputs = &estate.plan.inputs;
        let is_given = inputs.accepted_domains.is_some() || inputs.send_log.is_some();
        let needed = "Get-AcceptedDomain of the tenant, or a send log";
        if let Some(nothing) = nothing_to_judge(&META, is_given, needed, estate, evidence) {
            return vec![nothing];
        }
        let routes = routes(estate, evidence);
        if routes.is_empty() {
            let names = asked(estate);
            return vec![judge(&names, &Subject::Estate, estate)];
        }
        routes.iter().map(|route| judge_route(route, estate)).collect()
    }
}

fn judge_route(route: &Route<'_>, estate: &Estate) -> Finding {
    let subject = route.connector.subject();
    if let Some(strange) = strange(&META, subject.clone(), route) {
        return suspects_client_side(strange, route);
    }
    let is_domain = |(refusal, _): &(Refusal, &str)| *refusal == Refusal::Domain;
    if let Some((_, said)) = route.refused().filter(is_domain) {
        let seen = format!("Exchange Online says so: {}", quote(said));
        let finding = Finding::new(&META, subject.clone(), Verdict::Fail, seen).code("not-accepted");
        let missing =
            estate.plan.inputs.accepted_domains.as_ref().map(|_| missing(&names_of(&route.senders, estate), estate));
        return mend(finding.is(Trouble::SenderDomain(subject)), missing.unwrap_or_default());
    }
    // Each server for itself: a name of one helps no other.
    let at_work = route.senders.iter().filter(|sender| !is_away(&sender.host, estate));
    let words = at_work.map(|sender| {
        let word = judge(&names_of(core::slice::from_ref(sender), estate), &subject, estate);
        let is_old = sender.is_of_before(estate) && word.verdict == Verdict::Fail;
        let verdict = if is_old { Verdict::Unknown } else { word.verdict };
        if route.senders.len() > 1 && word.verdict != Verdict::Skip {
            Finding { seen: format!("{}: {}", sender.host, word.seen), verdict, ..word }
        } else {
            Finding { verdict, ..word }
        }
    });
    let worst = words.reduce(|worst, other| if other.verdict > worst.verdict { other } else { worst });
    let worst = worst.unwrap_or_else(|| judge(&BTreeSet::new(), &subject, estate));
    suspects_client_side(worst, route)
}

fn judge(names: &BTreeSet<String>, subject: &Subject, estate: &Estate) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, subject.clone(), verdict, seen);
    let Some(accepted) = &estate.plan.inputs.accepted_domains else {
        return finding(
            Verdict::Skip,
            "no session was refused for it; Get-AcceptedDomain of the tenant was not given".into(),
        );
    };
    let senders = &estate.plan.hybrid.sender_domains;
    let is_foreign = |name: &&String| !is_accepted(&canonical_name(name), accepted);
    let foreign: Vec<_> = senders.iter().filter(is_foreign).map(|name| told(name)).collect();
    if let Some(name) = names.iter().find(|name| is_accepted(name, accepted)) {
        return finding(
            Verdict::Pass,
            format!("{} of the certificate is, or stands below, an accepted domain", told(name)),
        );
    }
    if names.is_empty() && senders.is_empty() {
        return finding(
            Verdict::Unknown,
            "neither the certificate that is shown is known, nor a domain of senders stated".into(),
        )
        .remedy(
            "State the domains of those who send (sender-domains in the table hybrid of the plan), or give a send log.",
        );
    }
    if names.is_empty() && foreign.is_empty() {
        return finding(
            Verdict::Unknown,
            "every stated domain of senders is accepted; the certificate that is shown is not known".into(),
        );
    }
    if names.is_empty() {
        let seen = format!(
            "{} of senders is not accepted, and the certificate that is shown is not known",
            foreign.join(", ")
        );
        return finding(Verdict::Unknown, seen);
    }
    let of_certificate =
        format!("no name of the certificate is, or stands below, an accepted domain ({})", list(names));
    let missing = missing(names, estate);
    if foreign.is_empty() {
        let seen = format!("{of_certificate}: mail that is forwarded and reports without a sender are refused");
        return mend(
            finding(Verdict::Warn, seen).code("certificate-domain").is(Trouble::SenderDomain(subject.clone())),
            missing,
        );
    }
    let seen = format!("{of_certificate}, nor is {} of the senders", foreign.join(", "));
    mend(finding(Verdict::Fail, seen).code("not-accepted").is(Trouble::SenderDomain(subject.clone())), missing)
}

/// The names by which the certificates that are shown can be known: those that an inbound connector asks for, else all.
fn names_of(senders: &[Sender<'_>], estate: &Estate) -> BTreeSet<String> {
    let clients = senders.iter().filter_map(|sender| match &sender.shows {
        Shows::These(clients, _) => Some(clients),
        Shows::Untold | Shows::Nothing => None,
    });
    let clients: Vec<&Client> = clients.flatten().collect();
    let patterns = asked(estate);
    let all = || clients.iter().flat_map(|client| &client.names);
    let is_asked = |name: &&String| {
        patterns.iter().any(|pattern| matches!(fit(pattern, core::slice::from_ref(*name)), Fit::Yes(_)))
    };
    let fitting: BTreeSet<String> = all().filter(is_asked).cloned().collect();
    if fitting.is_empty() { all().cloned().collect() } else { fitting }
}

/// What inbound connectors ask for.
fn asked(estate: &Estate) -> BTreeSet<String> {
    inbound(estate).filter_map(|connector| connector.certificate_name.as_deref()).map(canonical_name).collect()
}

/// The names that could be added.
fn missing(names: &BTreeSet<String>, estate: &Estate) -> Vec<String> {
    let accepted = estate.plan.inputs.accepted_domains.as_deref().unwrap_or_default();
    let bare = |name: &String| canonical_name(name.strip_prefix("*.").unwrap_or(name));
    let senders = estate.plan.hybrid.sender_domains.iter();
    let all: BTreeSet<_> = names.iter().chain(senders).map(bare).collect();
    all.into_iter().filter(|name| is_pattern(name) && !is_accepted(name, accepted)).collect()
}

fn mend(finding: Finding, missing: Vec<String>) -> Finding {
    const FEW: usize = 3;
    let which = match missing.len() {
        0 => "the domain of the certificate".to_string(),
        _ => missing.iter().take(FEW).cloned().collect::<Vec<_>>().join(" or "),
    };
    let domain = missing.into_iter().next().unwrap_or_else(|| "<DOMAIN>".into());
    finding
        .remedy(format!("Add {which}, or a domain above it, to the tenant (Microsoft 365 admin center, Domains), prove that it is yours, and see it accepted:"))
        .remedy(format!("    Get-AcceptedDomain {domain}"))
        .remedy("Or show a certificate with a name below an accepted domain, and run the Hybrid Configuration Wizard again.")
}

fn list(names: &BTreeSet<String>) -> String {
    const FEW: usize = 4;
    let shown: Vec<_> = names.iter().take(FEW).map(|name| told(name)).collect();
    let more = names.len().saturating_sub(FEW);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

fn told(name: &str) -> String {
    if is_pattern(name) { name.to_string() } else { quote(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        connectors::testing::words,
        hybrid::testing::*,
        inputs::{HybridPlan, Inputs},
        plan::Plan,
    };

    fn judge(names: &[&str], tenant: Option<&[&str]>, senders: &[&str], refusals: &[&str]) -> Vec<String> {
        let inputs = Inputs {
            send_connectors: Some(vec![sender(None, &["EX01"])]),
            accepted_domains: tenant.map(accepted),
            send_log: (!names.is_empty()).then(|| vec![session("1970-01-01T00:00:00Z", 1, names, refusals)]),
            ..Inputs::default()
        };
        let hybrid =
            HybridPlan { sender_domains: senders.iter().map(ToString::to_string).collect(), ..HybridPlan::default() };
        let plan = Plan { hybrid, inputs, ..Plan::of("contoso.com") };
        let words = words(SenderDomain.judge(&Estate::learn(&plan, &Evidence::default()), &Evidence::default()));
        words.iter().map(|word| word.replace("send connector/Outbound to Office 365", "cloud")).collect()
    }

    #[test]
    fn one_of_both_domains_has_to_be_the_tenants() {
        let mail = ["mail.contoso.com"];
        assert_eq!(judge(&mail, Some(&["contoso.com"]), &[], &[]), ["pass cloud"]);
        assert_eq!(judge(&mail, Some(&["fabrikam.com"]), &["fabrikam.com"], &[]), ["warn cloud certificate-domain"]);
        assert_eq!(judge(&mail, Some(&["fabrikam.com"]), &[], &[]), ["warn cloud certificate-domain"]);
        assert_eq!(judge(&mail, Some(&["fabrikam.com"]), &["contoso.com"], &[]), ["fail cloud not-accepted"]);
    }

    #[test]
    fn a_log_that_says_so_is_believed() {
        let refusals = ["550 5.7.64 Relay Access Denied ATTR36"];
        assert_eq!(judge(&["mail.contoso.com"], None, &[], &refusals), ["fail cloud not-accepted"]);
        assert_eq!(judge(&["mail.contoso.com"], None, &[], &["550 5.7.64 TenantAttribution"]), ["skip cloud"]);
    }

    #[test]
    fn one_server_that_is_not_known_leaves_it_open() {
        let inputs = Inputs {
            send_connectors: Some(vec![sender(None, &["EX01", "EX02"])]),
            accepted_domains: Some(accepted(&["contoso.com"])),
            send_log: Some(vec![session("1970-01-01T00:00:00Z", 1, &["mail.contoso.com"], &[])]),
            ..Inputs::default()
        };
        let words = words(SenderDomain.judge(&estate(inputs), &Evidence::default()));
        assert_eq!(words, ["unknown send connector/Outbound to Office 365"]);
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        assert_eq!(judge(&[], None, &[], &[]), ["skip estate"]);
        assert_eq!(judge(&[], Some(&["contoso.com"]), &[], &[]), ["unknown cloud"]);
        assert_eq!(judge(&[], Some(&["contoso.com"]), &["contoso.com"], &[]), ["unknown cloud"]);
    }
}
