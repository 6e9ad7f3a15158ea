//! `hybrid-sender-name`: does Exchange Online know the servers by the certificate that they show?

use crate::{
    facts::{connector::CertificateName, dns::canonical_name, export::InboundConnector},
    model::{
        check::{Check, Need},
        connectors::in_command,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        hybrid::{
            Client, Fit, Route, Sender, Shows, best_fit, fit, inbound, is_accepted, is_pattern, nothing_to_judge,
            routes, strange, suspects_client_side,
        },
        listeners::quote,
        meta::{Basis, Fold, Meta, Tier},
        outgoing::{is_away, pin_to},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// See the module.
pub struct SenderName;

static META: Meta = Meta {
    id: "hybrid-sender-name",
    area: "hybrid",
    title: "Exchange Online knows the certificate",
    question: "Does the certificate that servers show to Exchange Online bear the name that its inbound connector asks for?",
    healthy: "a name of the certificate is TlsSenderCertificateName, or stands right below its *.",
    why: "Exchange Online first looks at the certificate of whoever sends: the inbound connector whose TlsSenderCertificateName fits it makes the mail the tenant's own. Where none fits, because the certificate was renewed with another name or the connector has a wildcard for another depth, mail that leaves through Exchange Online is refused (550 5.7.64).",
    remedy: &[
        "Run the Hybrid Configuration Wizard again, and choose the certificate on its transport certificate page: it sets both sides.",
        "Or, in Exchange Online: Set-InboundConnector \"<CONNECTOR>\" -TlsSenderCertificateName <NAME>. It counts after up to an hour.",
        "Or show the certificate that fits: $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-SendConnector \"<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }; Restart-Service MSExchangeTransport",
        "Exchange 2010 knows no TlsCertificateName of send connectors; there the connector's Fqdn chooses: Set-SendConnector \"<CONNECTOR>\" -Fqdn <NAME>",
    ],
    references: &[
        "\"550 5.7.64 TenantAttribution\" when sending mail externally in Microsoft 365 (Microsoft Learn)",
        "Set-InboundConnector, parameter TlsSenderCertificateName (Microsoft Learn)",
        "Certificate requirements for hybrid deployments (Microsoft Learn)",
        "Microsoft 365 message center MC1226222",
    ],
    symptoms: &["550 5.7.64 TenantAttribution", "Relay Access Denied SMTP"],
    tier: Tier::Input,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field],
};

impl Check for SenderName {
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
        let routes = routes(estate, evidence);
        if routes.is_empty() {
            let seen = "no send connector to Exchange Online is known, so that nothing can be compared";
            return vec![
                Finding::new(&META, Subject::Estate, Verdict::Unknown, seen)
                    .suspects(Trouble::ClientSideUntold(Subject::Estate))
                    .suspects(Trouble::DirectoryUnread)
                    .remedy("Log on as any user of the domain (--user), or give the send connectors:")
                    .remedy("exchange-preflight explain inputs has the command that exports them."),
            ];
        }
        routes.iter().map(|route| judge(route, estate)).collect()
    }
}

/// One word about what one server shows.
struct Word<'r> {
    verdict: Verdict,
    code: Option<&'static str>,
    said: String,
    /// The server, and what it shows that does not fit.
    about: Option<(&'r Sender<'r>, &'r Client)>,
}

fn judge(route: &Route<'_>, estate: &Estate) -> Finding {
    let subject = route.connector.subject();
    if let Some(strange) = strange(&META, subject.clone(), route) {
        return suspects_client_side(strange, route);
    }
    if let Some(unnamed) = unnamed(route, estate) {
        return unnamed;
    }
    if route.senders.is_empty() {
        let seen = "its source servers are not known";
        return suspects_client_side(Finding::new(&META, subject, Verdict::Unknown, seen), route);
    }
    let at_work = route.senders.iter().filter(|sender| !is_away(&sender.host, estate));
    let words = at_work.map(|sender| word(sender, route, estate));
    let Some(worst) = words.reduce(|worst, word| if word.verdict > worst.verdict { word } else { worst }) else {
        return Finding::new(&META, subject, Verdict::Skip, "its source servers send nothing now, as you stated");
    };
    let finding = Finding::new(&META, subject.clone(), worst.verdict, &worst.said);
    let finding = match worst.verdict {
        Verdict::Unknown => {
            suspects_client_side(finding, route).suspects(Trouble::PinStale(subject)).suspects(Trouble::SenderAddress)
        }
        Verdict::Fail | Verdict::Warn => {
            finding.is(Trouble::SenderName(subject.clone())).suspects(Trouble::SenderDomain(subject))
        }
        Verdict::Skip | Verdict::Pass => finding,
    };
    let Some(code) = worst.code else { return finding };
    let finding = finding.code(code);
    match worst.about {
        Some((sender, client)) => mend(finding, code, sender, client, route, estate),
        None => finding,
    }
}

/// What there is to say where no inbound connector asks for a certificate.
fn unnamed(route: &Route<'_>, estate: &Estate) -> Option<Finding> {
    let finding = |verdict, seen: &str| Finding::new(&META, route.connector.subject(), verdict, seen);
    if inbound(estate).any(|connector| connector.certificate_name.is_some()) {
        return None;
    }
    if inbound(estate).any(|connector| !connector.addresses.is_empty()) {
        return Some(finding(
            Verdict::Skip,
            "the tenant knows its servers by their addresses, see hybrid-sender-address",
        ));
    }
    let seen =
        "the tenant has no inbound connector of type OnPremises in service that names a certificate or an address";
    let verdict = if route.refused().is_some() { Verdict::Fail } else { Verdict::Warn };
    let finding = finding(verdict, seen).code("no-connector").is(Trouble::SenderName(route.connector.subject()));
    Some(finding.remedy("Run the Hybrid Configuration Wizard again: it makes one."))
}

fn word<'r>(sender: &'r Sender<'r>, route: &Route<'_>, estate: &Estate) -> Word<'r> {
    let word = |verdict, code, said| Word { verdict, code, said, about: None };
    let clients = match &sender.shows {
        Shows::Untold => {
            return word(Verdict::Unknown, None, format!("what {} shows as a client is not known", sender.host));
        }
        Shows::Nothing => {
            let said = format!("no certificate of {} fits what this connector asks for", sender.host);
            return word(Verdict::Unknown, None, said);
        }
        Shows::These(clients, _) => clients,
    };
    let words: Vec<_> = clients.iter().map(|client| word_of(client, sender, route, estate)).collect();
    let is_good = |word: &&Word<'_>| !word.verdict.is_trouble();
    let good = words.iter().filter(is_good).count();
    let is_split = good > 0 && good < words.len();
    let Some(worst) = words.into_iter().max_by_key(|word| word.verdict) else {
        return word(Verdict::Unknown, None, format!("what {} shows as a client is not known", sender.host));
    };
    if is_split && worst.verdict == Verdict::Fail {
        let said = format!(
            "{} has several certificates that its connector names alike, and of one {}",
            sender.host, worst.said
        );
        return Word { verdict: Verdict::Warn, code: Some("ambiguous"), said, ..worst };
    }
    worst
}

fn word_of<'r>(client: &'r Client, sender: &'r Sender<'r>, route: &Route<'_>, estate: &Estate) -> Word<'r> {
    let about = Some((sender, client));
    let word = |verdict, code, said| Word { verdict, code, said, about };
    let shown = format!("{} shows {} ({})", sender.host, names(client), client.thumbprint);
    let Some((best, connector)) = best_fit(client, estate) else {
        return word(Verdict::Skip, None, "no inbound connector names a certificate".into());
    };
    let (asked, by) = (pattern(connector), quote(&connector.name));
    if client.names.is_empty() {
        let said =
            format!("the log names {} by its thumbprint alone, so that its names are not known", client.thumbprint);
        return word(Verdict::Unknown, None, said);
    }
    let was_refused = sender.refused().is_some();
    if sender.is_of_before(estate) && !matches!(best, Fit::Yes(_)) {
        let said = format!(
            "its log is older than what the tenant asks for: {shown}, and {by} asks for {asked}; what it shows today is not known"
        );
        return word(Verdict::Unknown, None, said);
    }
    match best {
        Fit::Yes(name) => {
            let is_wild = asked.starts_with("*.") || name.starts_with("*.");
            let domain = name.strip_prefix("*.").unwrap_or(&name);
            if is_wild && accepts(domain, estate) == Some(false) {
                let said = format!(
                    "{shown}, which fits {by} by {asked}; that domain is not the tenant's, so that others may have certificates of it"
                );
                return word(Verdict::Warn, Some("shared-wildcard"), said);
            }
            word(Verdict::Pass, None, format!("{shown}, and {by} asks for {asked}"))
        }
        Fit::ItsWildcard(name) => {
            let verdict = if was_refused { Verdict::Fail } else { Verdict::Warn };
            let said = format!("{shown}; {by} asks for {asked}, for which only its wildcard {name} stands");
            word(verdict, Some("certificate-wildcard"), said)
        }
        Fit::TooDeep(name) => {
            let said = format!(
                "{shown}; {by} asks for {asked}, and between that and {name} a wildcard, which is for exactly one label, does not reach"
            );
            // That Exchange Online holds to it as strictly nobody has written down.
            word(if was_refused { Verdict::Fail } else { Verdict::Warn }, Some("wildcard"), said)
        }
        Fit::No if goes_by_address(estate) => {
            let said = format!(
                "{shown}, which no inbound connector asks for; whether one knows its address, hybrid-sender-address says"
            );
            word(if was_refused { Verdict::Fail } else { Verdict::Unknown }, Some("name"), said)
        }
        Fit::No => {
            let renamed = former(client, sender, route, estate);
            let was = renamed.as_ref().map(|was| format!("; {was}")).unwrap_or_default();
            let code = if renamed.is_some() { "renamed" } else { "name" };
            word(Verdict::Fail, Some(code), format!("{shown}; {by} asks for {asked}{was}"))
        }
    }
}

/// Whose name fitted before this one was shown: of an earlier session, or of what a connector or the hybrid configuration still
/// names.
fn former(client: &Client, sender: &Sender<'_>, route: &Route<'_>, estate: &Estate) -> Option<String> {
    let is_asked = |names: &[String]| {
        inbound(estate)
            .filter_map(|connector| connector.certificate_name.as_ref())
            .any(|asked| matches!(fit(&canonical_name(asked), names), Fit::Yes(_)))
    };
    let earlier = sender.sessions.iter().rev().filter_map(|session| Some((session.when, session.sent.as_ref()?)));
    let mut fitting = earlier.filter(|(_, sent)| sent.thumbprint != client.thumbprint && is_asked(&sent.names));
    if let Some((when, sent)) = fitting.next() {
        return Some(format!("until {} it had shown {}, which fits", when.strftime("%Y-%m-%d %H:%M"), sent.thumbprint));
    }
    let hybrid = estate.organisation.hybrid.as_ref().and_then(|hybrid| hybrid.pin.as_ref());
    let pins = [("its TlsCertificateName", route.connector.pin.value()), ("the hybrid configuration", hybrid)];
    pins.into_iter().find_map(|(whose, pin)| {
        let name = CertificateName::read(pin?)?;
        let subject = crate::facts::distinguished::DistinguishedName::read(&name.subject);
        let common = canonical_name(subject.common_name()?);
        let fits = !name.fits(&client.subject, &client.issuer) && is_asked(&[common]);
        fits.then(|| format!("{whose} still names {}, which fits", quote(&name.subject)))
    })
}

fn goes_by_address(estate: &Estate) -> bool {
    inbound(estate).any(|connector| connector.certificate_name.is_none() && !connector.addresses.is_empty())
}

fn accepts(domain: &str, estate: &Estate) -> Option<bool> {
    let accepted = estate.plan.inputs.accepted_domains.as_ref()?;
    Some(is_accepted(domain, accepted))
}

fn pattern(connector: &InboundConnector) -> String {
    let name = canonical_name(connector.certificate_name.as_deref().unwrap_or_default());
    if is_pattern(&name) { name } else { quote(&name) }
}

fn names(client: &Client) -> String {
    const FEW: usize = 4;
    let shown: Vec<_> = client.names.iter().take(FEW).map(|name| short(name)).collect();
    match client.names.len() {
        0 => "a certificate without a name".into(),
        count if count > FEW => format!("{} and {} more names", shown.join(", "), count - FEW),
        _ => shown.join(", "),
    }
}

fn short(name: &str) -> String {
    if is_pattern(name) { name.to_string() } else { quote(name) }
}

fn mend(
    finding: Finding,
    code: &str,
    sender: &Sender<'_>,
    client: &Client,
    route: &Route<'_>,
    estate: &Estate,
) -> Finding {
    if !finding.verdict.is_trouble() {
        return finding;
    }
    let fits = |other: &&Client| matches!(best_fit(other, estate), Some((Fit::Yes(_), _)));
    let better =
        sender.stock.iter().find(|other| other.thumbprint != client.thumbprint && !other.is_self_signed && fits(other));
    let finding = match code {
        "shared-wildcard" => {
            return finding
                .remedy("Show a certificate with a name of the tenant's own, and ask for that name; it has to be an accepted domain, or stand below one:")
                .remedy(format!("    {}", set_inbound(estate, "<NAME>")));
        }
        "ambiguous" => {
            finding.remedy("Remove the certificate that does not fit, once nothing needs it (certificate-pinned); or:")
        }
        _ => finding,
    };
    let own = client.names.iter().find(|name| is_pattern(name) && accepts(name, estate) != Some(false));
    let finding = finding
        .remedy("Run the Hybrid Configuration Wizard again, and choose the certificate that is shown on its transport certificate page. Or, in Exchange Online:")
        .remedy(format!("    {}", set_inbound(estate, own.map_or("<NAME>", String::as_str))))
        .remedy("It counts after up to an hour.");
    let Some(better) = better else { return finding };
    let has_it = |other: &&Sender<'_>| other.stock.iter().any(|one| one.thumbprint == better.thumbprint);
    let holders = route.senders.iter().filter(has_it).map(|other| other.host.as_str());
    let holders = [sender.host.as_str()].into_iter().chain(holders);
    let why = "Or show the one that fits (Exchange 2010 knows no such parameter, there the connector's Fqdn chooses)";
    pin_to(why, &route.connector, &better.thumbprint, holders, estate).into_iter().fold(finding, Finding::remedy)
}

/// Of several connectors that name certificates nobody knows which one is meant.
fn set_inbound(estate: &Estate, name: &str) -> String {
    let mut named = inbound(estate).filter(|connector| connector.certificate_name.is_some());
    let connector = named.next().filter(|_| named.next().is_none()).map_or("", |connector| &connector.name);
    format!("Set-InboundConnector {} -TlsSenderCertificateName {name}", in_command(connector))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::export::{ExportedCertificate, ExportedSendConnector},
        model::{
            connectors::testing::words,
            hybrid::testing::*,
            inputs::Inputs,
            plan::{PlannedServer, ServerRole, ServerState},
        },
    };

    fn judge(asked: &[&str], names: &[&str], change: impl FnOnce(&mut Inputs)) -> Vec<String> {
        let mut inputs = Inputs {
            send_connectors: Some(vec![sender(None, &["EX01"])]),
            inbound: Some(asked.iter().map(|name| comes_in(Some(name), &[])).collect()),
            send_log: Some(vec![session("1970-01-01T00:00:00Z", 1, names, &[])]),
            ..Inputs::default()
        };
        change(&mut inputs);
        let words = words(SenderName.judge(&estate(inputs), &Evidence::default()));
        words.iter().map(|word| word.replace("send connector/Outbound to Office 365", "cloud")).collect()
    }

    #[test]
    fn a_name_fits_or_does_not() {
        let mail = ["mail.contoso.com"];
        assert_eq!(judge(&["mail.contoso.com"], &mail, |_| ()), ["pass cloud"]);
        assert_eq!(judge(&["*.contoso.com"], &mail, |_| ()), ["pass cloud"]);
        assert_eq!(judge(&["mail.contoso.com", "other.contoso.com"], &mail, |_| ()), ["pass cloud"]);
        assert_eq!(judge(&["smtp.contoso.com"], &mail, |_| ()), ["fail cloud name"]);
        assert_eq!(judge(&["*.contoso.com"], &["contoso.com"], |_| ()), ["warn cloud wildcard"]);
        let deep = ["a.b.contoso.com"];
        assert_eq!(judge(&["*.contoso.com"], &deep, |_| ()), ["warn cloud wildcard"]);
        let refused = |inputs: &mut Inputs| {
            inputs.send_log = Some(vec![session("1970-01-01T00:00:00Z", 1, &deep, &["550 5.7.64 TenantAttribution"])]);
        };
        assert_eq!(judge(&["*.contoso.com"], &deep, refused), ["fail cloud wildcard"]);
        assert_eq!(judge(&["mail.contoso.com"], &["*.contoso.com"], |_| ()), ["warn cloud certificate-wildcard"]);
    }

    #[test]
    fn a_wildcard_of_a_domain_that_is_not_the_tenants_is_shared() {
        let of_tenant =
            |domain: &'static str| move |inputs: &mut Inputs| inputs.accepted_domains = Some(accepted(&[domain]));
        let wild = ["*.contoso.com"];
        assert_eq!(judge(&wild, &wild, |_| ()), ["pass cloud"]);
        assert_eq!(judge(&wild, &wild, of_tenant("contoso.com")), ["pass cloud"]);
        assert_eq!(judge(&wild, &wild, of_tenant("fabrikam.com")), ["warn cloud shared-wildcard"]);
    }

    #[test]
    fn a_renewal_with_another_name_is_told_as_one() {
        let (old, new) = (["mail.contoso.com"], ["smtp.contoso.com"]);
        let renewed = |inputs: &mut Inputs| {
            inputs.send_log = Some(vec![
                session("1970-01-01T00:00:00Z", 1, &old, &[]),
                session("1970-01-02T00:00:00Z", 2, &new, &["550 5.7.64 TenantAttribution"]),
            ]);
        };
        assert_eq!(judge(&["mail.contoso.com"], &old, renewed), ["fail cloud renamed"]);
        let still_pinned = |inputs: &mut Inputs| {
            inputs.send_connectors = Some(vec![sender(Some("<I>CN=Public CA<S>CN=mail.contoso.com"), &["EX01"])]);
        };
        assert_eq!(judge(&["mail.contoso.com"], &new, still_pinned), ["fail cloud renamed"]);
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let mail = ["mail.contoso.com"];
        assert_eq!(judge(&mail, &mail, |inputs| inputs.send_log = None), ["unknown cloud"]);
        assert_eq!(judge(&mail, &mail, |inputs| inputs.inbound = None), ["skip estate"]);
        assert_eq!(judge(&mail, &mail, |inputs| *inputs = Inputs::default()), ["skip estate"]);
        assert_eq!(judge(&[], &mail, |_| ()), ["warn cloud no-connector"]);
        let by_address = |inputs: &mut Inputs| inputs.inbound = Some(vec![comes_in(None, &["203.0.113.7"])]);
        assert_eq!(judge(&[], &mail, by_address), ["skip cloud"]);
        let only_thumbprint = |inputs: &mut Inputs| {
            let mut session = session("1970-01-01T00:00:00Z", 1, &mail, &[]);
            let sent = session.sent.as_mut().unwrap();
            (sent.subject, sent.names) = (String::new(), Vec::new());
            inputs.send_log = Some(vec![session]);
        };
        assert_eq!(judge(&mail, &mail, only_thumbprint), ["unknown cloud"]);
        let two_servers = |inputs: &mut Inputs| inputs.send_connectors = Some(vec![sender(None, &["EX01", "EX02"])]);
        assert_eq!(judge(&mail, &mail, two_servers), ["unknown cloud"], "one of them is not known");
        let mut estate = estate(Inputs {
            send_connectors: Some(vec![sender(None, &["EX01", "EX02"])]),
            inbound: Some(vec![comes_in(Some("mail.contoso.com"), &[])]),
            send_log: Some(vec![session("1970-01-01T00:00:00Z", 1, &mail, &[])]),
            ..Inputs::default()
        });
        let ex02 =
            PlannedServer { state: ServerState::Maintenance, ..PlannedServer::new("ex02".into(), ServerRole::Mailbox) };
        estate.servers.insert("ex02".into(), ex02);
        let words = words(SenderName.judge(&estate, &Evidence::default()));
        assert_eq!(words, ["pass send connector/Outbound to Office 365"], "that one sends nothing now");
    }

    #[test]
    fn a_log_from_before_a_change_does_not_decide() {
        let (old, new) = (["mail.contoso.com"], ["smtp.contoso.com"]);
        let renewed = |name: &'static str| {
            move |inputs: &mut Inputs| {
                let begin = Some(instant("1970-01-02T00:00:00Z"));
                inputs.certificates = Some(vec![ExportedCertificate { not_before: begin, ..held(2, &[name]) }]);
                inputs.send_connectors.as_mut().unwrap()[0].fqdn = Some(name.into());
            }
        };
        assert_eq!(judge(&new, &old, renewed("smtp.contoso.com")), ["pass cloud"]);
        assert_eq!(judge(&old, &old, renewed("smtp.contoso.com")), ["fail cloud renamed"]);
        let changed = |inputs: &mut Inputs| {
            inputs.inbound.as_mut().unwrap()[0].changed = Some(instant("1970-01-02T00:00:00Z"));
        };
        assert_eq!(judge(&new, &old, changed), ["unknown cloud"], "both may have been changed");
        assert_eq!(judge(&old, &old, changed), ["pass cloud"]);
    }

    #[test]
    fn what_goes_to_strangers_is_none_of_the_tenants_business() {
        let own = ["ex01.contoso.com"];
        let asked = ["mail.contoso.com"];
        let of = |change: fn(&mut ExportedSendConnector)| {
            move |inputs: &mut Inputs| {
                inputs.accepted_domains = Some(accepted(&["contoso.com", "contoso.onmicrosoft.com"]));
                change(&mut inputs.send_connectors.as_mut().unwrap()[0]);
            }
        };
        assert_eq!(judge(&asked, &own, of(|_| ())), ["fail cloud name"]);
        let to_partner = |connector: &mut ExportedSendConnector| {
            (connector.is_cloud, connector.address_spaces) = (false, vec!["SMTP:fabrikam.com;1".into()]);
            connector.smart_hosts = vec!["fabrikam-com.mail.protection.outlook.com".into()];
        };
        assert_eq!(judge(&asked, &own, of(to_partner)), ["skip cloud"]);
        let to_gateway = |connector: &mut ExportedSendConnector| {
            (connector.is_cloud, connector.tls_domain) = (false, None);
            connector.smart_hosts = vec!["gateway.provider.example".into()];
        };
        assert_eq!(judge(&asked, &own, of(to_gateway)), ["skip estate"]);
        assert_eq!(judge(&asked, &own, |inputs| inputs.send_connectors = None), ["unknown estate"]);
        let refused = |inputs: &mut Inputs| {
            inputs.send_connectors = None;
            inputs.send_log = Some(vec![session("1970-01-01T00:00:00Z", 1, &own, &["550 5.7.64 TenantAttribution"])]);
        };
        assert_eq!(judge(&asked, &own, refused), ["unknown cloud"]);
    }

    #[test]
    fn the_remedy_has_real_values() {
        let inputs = Inputs {
            send_connectors: Some(vec![sender(None, &["EX01"])]),
            inbound: Some(vec![comes_in(Some("mail.contoso.com"), &[])]),
            certificates: Some(vec![held(3, &["mail.contoso.com"])]),
            send_log: Some(vec![session("1970-01-01T00:00:00Z", 1, &["smtp.contoso.com"], &[])]),
            ..Inputs::default()
        };
        let mut estate = estate(inputs);
        let remedy = |estate: &Estate| SenderName.judge(estate, &Evidence::default())[0].remedy.join("\n");
        let (set, right) = (
            "Set-InboundConnector \"Inbound from Contoso\" -TlsSenderCertificateName smtp.contoso.com",
            "0303030303030303030303030303030303030303",
        );
        let unknown = remedy(&estate);
        assert!(unknown.contains(set), "{unknown}");
        assert!(
            unknown.contains(&format!("# the file of {right}")) && unknown.contains("is an Edge server"),
            "{unknown}"
        );
        estate.servers.insert("ex01".into(), PlannedServer::new("ex01".into(), ServerRole::Mailbox));
        let known = remedy(&estate);
        let pin = format!(
            "Get-ExchangeCertificate -Server ex01 {right}; if ($c) {{ Set-SendConnector \"Outbound to Office 365\""
        );
        assert!(known.contains(&pin), "{known}");
    }
}
