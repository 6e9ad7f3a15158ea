//! `certificate-usage`: may a certificate be used for what it is used for?

use crate::{
    facts::certificate::{CLIENT_AUTH_ENDS, ExtendedUsage, Key},
    model::{
        certificates::{Certificates, Leaf, judge_leaves, trust_needs},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Verdict},
        holder::Holder,
        listeners::{Facing, Service, quote},
        meta::{Basis, Fold, Meta, Tier},
        outgoing::{Outgoing, at_work, how_to_tell, outgoing, presented},
        stock::{Stock, Stocked, stocks},
    },
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Usage;

static META: Meta = Meta {
    id: "certificate-usage",
    area: "certificate",
    title: "Certificates may be used so",
    question: "Does the usage written into every certificate allow what it is used for?",
    healthy: "serverAuth, or no extended usage at all; a key that may sign; clientAuth where the plan says that a peer demands it",
    why: "A certificate that says what it is for is refused for anything else. Public authorities stop writing clientAuth into certificates of servers, so that a renewal may take it away; some gateways demand it, and .NET silently sends no client certificate without it.",
    remedy: &[
        "Have the certificate issued with Server Authentication (1.3.6.1.5.5.7.3.1), and with Client Authentication (1.3.6.1.5.5.7.3.2) where a peer demands it",
        "Let its key be used for digital signatures: keyUsage digitalSignature, keyEncipherment",
    ],
    references: &[
        "RFC 5280 sections 4.2.1.3 and 4.2.1.12",
        "Chrome Root Program Policy 1.8",
        "CA/Browser Forum Baseline Requirements section 7.1.2.7",
    ],
    symptoms: &["454 4.7.5 Certificate validation failure", "unsuitable certificate purpose"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Usage {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        trust_needs(estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let mut findings = judge_leaves(&META, estate, evidence, |certificates, leaf| {
            let Some((verdict, code, said)) = word(certificates, leaf, estate) else {
                let said = format!("{}: {}", leaf.at(), usages(leaf.certificate.extended_usage));
                return Finding::new(&META, leaf.subject(), Verdict::Pass, said);
            };
            let finding = Finding::new(&META, leaf.subject(), verdict, format!("{}: {said}", leaf.at())).code(code);
            mend(leaf, code, estate).into_iter().fold(finding, Finding::remedy)
        });
        let stocks = stocks(estate, evidence);
        let connectors = outgoing(estate);
        let outward = connectors.iter().filter(|connector| connector.is_enabled && connector.faces_outside(estate));
        findings.extend(outward.filter_map(|connector| judge_client(connector, &stocks, estate, evidence)));
        findings
    }
}

/// What servers show as clients by a send connector that faces outside. `None` where no export, log or supposition tells of it.
fn judge_client(
    connector: &Outgoing,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
    evidence: &Evidence,
) -> Option<Finding> {
    let presented = presented(connector, stocks, estate, evidence);
    let (at_work, _) = at_work(&presented);
    let shown: Vec<_> = at_work.iter().filter_map(|one| Some((one.host.as_str(), one.shows()?))).collect();
    let inputs = &estate.plan.inputs;
    if shown.is_empty() && inputs.certificates.is_none() && inputs.send_log.is_none() {
        return None;
    }
    let new = |verdict, seen: String| Finding::new(&META, connector.subject(), verdict, seen);
    let is_demanded = |host: &str| estate.servers.get(host).is_some_and(|server| server.client_auth);
    let unseen: Vec<_> = at_work.into_iter().filter(|one| one.shows().is_none() && is_demanded(&one.host)).collect();
    if shown.is_empty() && unseen.is_empty() {
        return None;
    }
    let name = |host: &str, one: &Stocked| format!("{host} shows {} ({})", one.thumbprint, quote(one.called()));
    let lacks = |one: &Stocked| Some(one.certificate.as_ref()?.extended_usage.is_some_and(|usage| !usage.client));
    let lacking: Vec<_> = shown.iter().filter(|(_, one)| lacks(one) == Some(true)).collect();
    if !lacking.is_empty() {
        let named: Vec<_> = lacking.iter().map(|(host, one)| name(host, one)).collect();
        let is_demanded = lacking.iter().any(|(host, _)| is_demanded(host));
        let (verdict, who) = if is_demanded {
            (Verdict::Fail, "the plan says that a peer demands it")
        } else {
            (Verdict::Warn, "some gateways demand it; that Exchange Online does is not known")
        };
        let seen = format!("{}, without clientAuth: {who}", named.join("; "));
        return Some(
            without_client_auth().into_iter().fold(new(verdict, seen).code("no-client-auth"), Finding::remedy),
        );
    }
    if !unseen.is_empty() {
        let hosts: Vec<_> = unseen.iter().map(|one| one.host.as_str()).collect();
        let seen = format!(
            "what {} shows is not told, and the plan says that a peer demands clientAuth of it",
            hosts.join(", ")
        );
        return Some(how_to_tell(&unseen, estate).into_iter().fold(new(Verdict::Unknown, seen), Finding::remedy));
    }
    let untold: Vec<_> = shown.iter().filter(|(_, one)| lacks(one).is_none()).collect();
    if untold.is_empty() {
        let named: Vec<_> = shown.iter().map(|(host, one)| name(host, one)).collect();
        return Some(new(Verdict::Pass, format!("{}, which clients may use", named.join("; "))));
    }
    let named: Vec<_> = untold.iter().map(|(host, one)| name(host, one)).collect();
    let seen = format!("{}, of which the usage is not told: the export has no RawData", named.join("; "));
    let verdict = if untold.iter().any(|(host, _)| is_demanded(host)) { Verdict::Unknown } else { Verdict::Skip };
    Some(new(verdict, seen))
}

fn word(certificates: &Certificates, leaf: &Leaf<'_>, estate: &Estate) -> Option<(Verdict, &'static str, String)> {
    let certificate = leaf.certificate;
    let matters = if leaf.facing() == Facing::Inside { Verdict::Warn } else { Verdict::Fail };
    if certificate.extended_usage.is_some_and(|usage| !usage.server) {
        return Some((matters, "no-server-auth", "it may not be used by a server: serverAuth is missing".into()));
    }
    if certificate.extended_usage.is_some_and(|usage| !usage.names_server) {
        let said = "its only usage is \"any\", which Windows takes, and OpenSSL and rustls do not".to_string();
        return Some((Verdict::Warn, "any-usage", said));
    }
    // A link that names usages binds all that is below it; Windows, OpenSSL and rustls-webpki all hold it so.
    let mut ways = leaf.chains().into_iter().map(|shown| certificates.way_of(shown, false));
    let link = ways.find_map(|way| way.between().find(|link| link.extended_usage.is_some_and(|usage| !usage.server)));
    if let Some(link) = link {
        let said = format!("its issuer \"{}\" may not sign for servers: serverAuth is missing there", link.subject);
        return Some((matters, "no-server-auth", said));
    }
    if demands_client_auth(leaf, estate) && certificate.extended_usage.is_some_and(|usage| !usage.client) {
        let said = "clientAuth is missing, and the plan says that a peer demands it".to_string();
        return Some((Verdict::Fail, "no-client-auth", said));
    }
    let usage = certificate.key_usage?;
    if usage.signs || usage.enciphers && matches!(certificate.key, Key::Rsa(_)) {
        return None;
    }
    let said = "its key may neither sign nor encipher (keyUsage)";
    Some(if usage.agrees {
        (Verdict::Warn, "key-usage", format!("{said}: strict libraries such as GnuTLS refuse the handshake"))
    } else {
        (matters, "key-usage", format!("{said}: peers refuse it for a server"))
    })
}

fn demands_client_auth(leaf: &Leaf<'_>, estate: &Estate) -> bool {
    leaf.shown.iter().any(|shown| {
        shown.listener.service == Service::Smtp
            && shown.facing() == Facing::Outside
            && estate.servers.get(&shown.listener.to.host).is_some_and(|server| server.client_auth)
    })
}

fn usages(usage: Option<ExtendedUsage>) -> &'static str {
    match usage {
        None => "for any usage",
        Some(ExtendedUsage { client: true, .. }) => "for servers and clients",
        Some(ExtendedUsage { client: false, .. }) => "for servers (no clientAuth, which no peer is stated to demand)",
    }
}

fn mend(leaf: &Leaf<'_>, code: &str, estate: &Estate) -> Vec<String> {
    let replace = |what: &str| [what.to_string()].into_iter().chain(Holder::of(leaf, estate).replace()).collect();
    match code {
        "no-client-auth" => without_client_auth(),
        "key-usage" => replace("Its keyUsage has to be digitalSignature, keyEncipherment."),
        _ => replace(
            "It has to be for Server Authentication (1.3.6.1.5.5.7.3.1), and so has the authority that signs it.",
        ),
    }
}

fn without_client_auth() -> Vec<String> {
    let ends: Vec<_> = CLIENT_AUTH_ENDS.iter().map(|(authority, when)| format!("{authority}: {when}")).collect();
    [
        "Ask the peer whether it can do without; or have a certificate issued with Client Authentication, as long as authorities still do:".to_string(),
        ends.join("; ") + ".",
        "A company's own authority may go on; the peer has to trust its root.".to_string(),
    ]
    .into()
}
