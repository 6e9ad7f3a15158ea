//! `certificate-single`: is one name served by one certificate, on every server, and shown as a client the right one of several?
//!
//! What ports show for a name is judged here; what goes out as a client, in `send`. What mends that is in `mend`.

mod mend;
mod send;

use crate::{
    facts::{
        certificate::{Certificate, Cover, Key},
        smtp::Upgrade,
    },
    model::{
        certificates::{Certificates, Shown, given_needs, judge_unseen, listener_needs},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Verdict},
        listeners::{Facing, Service, listeners},
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Single;

static META: Meta = Meta {
    id: "certificate-single",
    area: "certificate",
    title: "One name, one certificate",
    question: "Do all servers show the same certificate for one outward name?",
    healthy: "every SMTP server that is reached by a name shows the same certificate for it (one for RSA, one for ECDSA); and where mail goes out, none that peers do not trust is shown or competes with the right one",
    why: "Two certificates for one name are the trap of KB 2888788: Exchange picks one by rules that nobody has in mind, and mail to the cloud stops when it is the one that the cloud does not trust. One server of several that was forgotten at a renewal shows itself in the same way. Which one a server shows as a client, its ports do not tell: an export of its certificates does, and a send log (--input).",
    remedy: &[
        "Pin the right one: $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-SendConnector \"<NAME>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }",
        "Restart MSExchangeTransport on each source server; then, if it is not the internal transport certificate, give its other services to the good one and Remove-ExchangeCertificate. Services cannot be taken off a certificate.",
        "Exchange 2010: Get-ExchangeCertificate -Server <SERVER> | fl Thumbprint,Services; remove the certificate that must not be chosen",
    ],
    references: &["Microsoft KB 2888788", "Selection of outbound and inbound TLS certificates (Microsoft Learn)"],
    symptoms: &[
        "454 4.7.0 TLS channel could not be established: UntrustedRoot",
        "MSExchangeTransport event 2004",
        "550 5.7.64 TenantAttribution",
    ],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Single {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let outward: BTreeSet<_> = outward_ports(estate).into_iter().map(|(port, _)| port).collect();
        let shown = listener_needs(estate, evidence).into_iter().filter(|need| outward.contains(&need.subject));
        shown.chain(given_needs(estate, evidence)).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let certificates = Certificates::seen(estate, evidence);
        let mut findings = send::judge(estate, evidence);
        let ports = outward_ports(estate);
        if ports.is_empty() {
            let said = "no name was stated by which peers outside reach a server (outward in the plan)";
            findings.push(Finding::new(&META, Subject::Estate, Verdict::Skip, said));
        }
        let is_outward = |subject: &Subject| ports.iter().any(|(port, _)| port == subject);
        let unseen = certificates.unseen.iter().filter(|unseen| is_outward(&unseen.listener.subject()));
        findings.extend(unseen.map(|unseen| judge_unseen(&META, unseen)));
        let names: BTreeSet<&String> = ports.iter().flat_map(|(_, names)| names).collect();
        findings.extend(names.into_iter().filter_map(|name| judge(name, &certificates)));
        // Whoever trusts those that were given, it matters where they are shown, and there alone.
        let given = given_needs(estate, evidence).into_iter().map(|need| need.subject).collect::<BTreeSet<_>>();
        if let Some(first) = findings.first_mut() {
            first.speaks_for.extend(given);
        }
        findings
    }
}

/// The SMTP ports that peers outside reach by names of the plan.
fn outward_ports(estate: &Estate) -> Vec<(Subject, Vec<String>)> {
    let outward = listeners(estate).into_iter().filter(|listener| {
        listener.service == Service::Smtp && listener.facing == Facing::Outside && !listener.names.is_empty()
    });
    outward.map(|listener| (listener.subject(), listener.names)).collect()
}

/// All certificates that serve one name, each kind of key by itself: a server may have one of each on purpose.
fn judge(name: &str, certificates: &Certificates) -> Option<Finding> {
    let serves = |shown: &&Shown| {
        shown.listener.service == Service::Smtp
            && shown.upgrade != Some(Upgrade::AnonymousTls)
            && shown.listener.names.iter().any(|other| other == name)
    };
    let shown: Vec<&Shown> = certificates.shown.iter().filter(serves).collect();
    if shown.is_empty() {
        return None;
    }
    let mut kinds: BTreeMap<bool, BTreeMap<&str, (&Certificate, BTreeSet<String>)>> = BTreeMap::new();
    for shown in &shown {
        let leaf = certificates.leaf(shown);
        let is_self_made = leaf.is_self_issued();
        if is_self_made || leaf.covers(name) == Cover::No {
            continue;
        }
        let kind = kinds.entry(matches!(leaf.key, Key::Rsa(_))).or_default();
        kind.entry(&leaf.thumbprint).or_insert_with(|| (leaf, BTreeSet::new())).1.insert(shown.place());
    }
    let subject = Subject::Host(name.to_string());
    let finding = match kinds.values().find(|kind| kind.len() > 1) {
        None if kinds.is_empty() => {
            let said = format!("{} show no certificate of an authority that bears it", places(&shown));
            Finding::new(&META, subject, Verdict::Skip, said)
        }
        None => {
            Finding::new(&META, subject, Verdict::Pass, format!("{} serve it with one certificate", places(&shown)))
        }
        Some(kind) => two(subject, name, kind.values().collect()),
    };
    Some(shown.iter().fold(finding, |finding, shown| finding.speaks_for(shown.listener.subject())))
}

fn two(subject: Subject, name: &str, mut kind: Vec<&(&Certificate, BTreeSet<String>)>) -> Finding {
    kind.sort_by_key(|(certificate, _)| (certificate.not_before, certificate.thumbprint.clone()));
    let is_one_issuer = kind.windows(2).all(|pair| pair[0].0.issuer.der == pair[1].0.issuer.der);
    let code = if is_one_issuer { "not-renewed-everywhere" } else { "two-certificates" };
    let told = kind.iter().map(|(certificate, places)| {
        let places: Vec<_> = places.iter().map(String::as_str).collect();
        let since = certificate.not_before.strftime("%Y-%m-%d");
        format!("{} of \"{}\" since {since} at {}", certificate.thumbprint, certificate.issuer, places.join(", "))
    });
    let told: Vec<_> = told.collect();
    let newest = kind.last().map_or("<THUMBPRINT>", |(certificate, _)| certificate.thumbprint.as_str());
    let servers = kind.iter().rev().skip(1).flat_map(|(_, places)| places.iter().map(String::as_str));
    let servers: Vec<_> = servers.collect();
    let finding = Finding::new(
        &META,
        subject,
        Verdict::Warn,
        format!("{name} is served by {} certificates: {}", kind.len(), told.join("; ")),
    )
    .expected("one certificate for one name, on every server")
    .code(code);
    if is_one_issuer {
        return finding
            .remedy(format!("Import the newest one where the former is still shown ({}), and give it SMTP:", servers.join(", ")))
            .remedy(format!("    Enable-ExchangeCertificate -Thumbprint {newest} -Services SMTP"))
            .remedy("Answer No when asked to overwrite the default SMTP certificate; then restart MSExchangeTransport and MSExchangeFrontEndTransport.");
    }
    finding
        .remedy("Decide which of them peers outside trust (certificate-trusted says), and pin that one on the connectors that face outside:")
        .remedy("    $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-SendConnector \"<NAME>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }")
        .remedy("Restart MSExchangeTransport on each source server. Services cannot be taken off a certificate; if the other one is not the internal transport certificate, give its services to the good one and remove it.")
}

fn places(shown: &[&Shown]) -> String {
    let places: BTreeSet<_> = shown.iter().map(|shown| shown.place()).collect();
    places.into_iter().collect::<Vec<_>>().join(", ")
}
