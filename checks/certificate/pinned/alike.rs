//! Two certificates that a connector names alike, after a renewal by the same authority: Exchange shows whichever it finds first.

use super::send::as_sent_by_hybrid;
use crate::{
    facts::{connector::CertificateName, distinguished::DistinguishedName},
    model::{
        connectors::in_command,
        estate::Estate,
        finding::Finding,
        outgoing::{
            Presented, SYNC, fetched, holders, is_away, is_inside, naming, of_windows, outgoing,
            remove_unless_internal, returns, spelt_in_command, synchronised,
        },
        selection::Choice,
        stock::Stock,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use jiff::Timestamp;

/// Certificates of one server that a connector names alike, by thumbprint, with the beginnings of their lives.
pub(super) struct Alike<'s> {
    pub(super) host: &'s str,
    pub(super) certificates: BTreeMap<&'s str, Option<Timestamp>>,
}

/// Those of a source server, if its connector names more than one of them.
pub(super) fn alike<'s>(one: &'s Presented<'_>) -> Option<Alike<'s>> {
    let selected = one.selected.as_ref().filter(|selected| matches!(selected.choice, Choice::Any(_)))?;
    let all = selected.candidates().into_iter().map(|one| (one.thumbprint.as_str(), one.not_before));
    Some(Alike { host: &one.host, certificates: all.collect() })
}

/// Leaves the newest of those that are named alike, in the order that is safe. Nothing is removed before every server that has to
/// show the new one has it.
pub(super) fn one_of_two(
    finding: Finding,
    alike: &[Alike<'_>],
    name: &CertificateName,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
) -> Finding {
    let newest =
        alike.iter().flat_map(|one| &one.certificates).max_by_key(|(thumbprint, since)| (**since, **thumbprint));
    let Some((new, _)) = newest else { return finding };
    let has_new = |host: &str| {
        alike.iter().any(|one| one.host == host && one.certificates.contains_key(new))
            || stocks.get(host).is_some_and(|stock| stock.certificates.contains_key(*new))
    };
    let (subject, issuer) =
        (DistinguishedName::read(&name.subject), name.issuer.as_deref().map(DistinguishedName::read));
    let names_it = |pin: &String| {
        CertificateName::read(pin).is_some_and(|other| match &issuer {
            Some(issuer) => other.fits(&subject, issuer),
            None => DistinguishedName::read(&other.subject) == subject,
        })
    };
    let connectors = outgoing(estate);
    let senders: Vec<_> = connectors.iter().filter(|c| c.pin.value().is_some_and(names_it)).collect();
    let hybrid = as_sent_by_hybrid(estate).filter(|c| c.pin.value().is_some_and(names_it));
    let sources: BTreeSet<_> = senders.iter().copied().chain(&hybrid).flat_map(|sender| &sender.sources).collect();
    let is_hybrid = hybrid.is_some();
    let (away, sources): (Vec<_>, Vec<_>) =
        sources.into_iter().map(String::as_str).partition(|host| is_away(host, estate));
    let all = alike.iter().map(|one| one.host).chain(sources.iter().copied());
    let lacking: BTreeSet<_> = all.filter(|host| !has_new(host)).collect();
    if !lacking.is_empty() {
        let lacking: Vec<_> = lacking.into_iter().map(spelt_in_command).collect();
        return finding.remedy(format!(
            "Import {new} on the others first ({}), which are not known to have it; then give exports of all of them (--input) and run again. Remove nothing before that.",
            lacking.join(", ")
        ));
    }
    let removals: Vec<_> = alike
        .iter()
        .flat_map(|one| one.certificates.keys().filter(|thumbprint| *thumbprint != new).map(|old| (one.host, *old)))
        .flat_map(|(host, old)| remove_unless_internal(host, old, stocks, estate))
        .collect();
    if senders.is_empty() && !is_hybrid {
        let finding = finding.remedy("Once every service that needs it has the new one, remove the old one, and let both transport services look again:");
        return removals
            .into_iter()
            .fold(finding, Finding::remedy)
            .remedy("    Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport");
    }
    let names: Vec<_> = match senders.as_slice() {
        [] => vec![in_command("")],
        senders => senders.iter().map(|sender| in_command(&sender.name)).collect(),
    };
    let set = |name: &String| format!("Set-SendConnector {name}");
    let hosts = alike.iter().map(|one| one.host).chain(holders(new, stocks));
    let fetched = fetched(new, hosts, estate);
    let synchronised = || [SYNC.to_string()].into_iter().chain(synchronised(sources.iter().copied(), estate));
    let on_each = |command: &str, of_front_end: &str| -> Vec<String> {
        let of = |host: &&str| {
            let front_end = if is_inside(host, estate) { of_front_end } else { "" };
            of_windows(&format!("{command}{front_end}"), host, estate)
        };
        if sources.is_empty() { vec![format!("    {command}{of_front_end}")] } else { sources.iter().map(of).collect() }
    };
    let mut steps = vec![
        format!(
            "A send connector or the hybrid configuration names it too, and Exchange keeps what is named. Once every service that needs it has the new one, go on only if this shows {new}:"
        ),
        format!("    $c = $null; {fetched}; $c | fl Thumbprint,Subject,Issuer"),
        "On every source server keep mail from going out meanwhile:".to_string(),
    ];
    steps.extend(on_each("Stop-Service MSExchangeTransport", ""));
    steps.push("Take the name away, let controllers replicate, and remove the old one:".into());
    steps.extend(names.iter().map(|name| format!("    {} -TlsCertificateName $null", set(name))));
    steps.extend(synchronised());
    steps.extend(removals);
    steps.push("Name the new one again, let controllers replicate, and start what was stopped:".into());
    steps.extend(names.iter().map(|name| naming(&fetched, &set(name))));
    steps.extend(synchronised());
    steps.extend(on_each("Start-Service MSExchangeTransport", "; Restart-Service MSExchangeFrontEndTransport"));
    let away: Vec<_> = away.into_iter().filter(|host| returns(host, estate)).map(spelt_in_command).collect();
    if !away.is_empty() {
        steps.push(format!(
            "Before {} returns, let it have the new one, too, and no longer the old one.",
            away.join(", ")
        ));
    }
    steps.into_iter().fold(finding, Finding::remedy)
}

#[cfg(test)]
mod tests {
    use super::{super::META, *};
    use crate::model::{
        connectors::testing::estate,
        finding::{Subject, Verdict},
        organisation::{SendConnector, Told},
        plan::{PlannedServer, ServerRole},
    };

    const PIN: &str = "<S>CN=mail.contoso.com";

    #[test]
    fn what_a_send_connector_names_is_set_free_before_it_is_removed() {
        let (old, new) = (hex::encode([1; 20]), hex::encode([2; 20]));
        let certificates = BTreeMap::from([(new.as_str(), Some(Timestamp::UNIX_EPOCH)), (old.as_str(), None)]);
        let on_ex01 = Alike { host: "ex01.contoso.com", certificates };
        let (estate, _) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        let remedy = |send_connectors: Vec<SendConnector>| {
            let mut estate = estate.clone();
            estate.organisation.send_connectors = send_connectors;
            let (name, finding) =
                (CertificateName::read(PIN).unwrap(), Finding::new(&META, Subject::Estate, Verdict::Warn, ""));
            one_of_two(finding, core::slice::from_ref(&on_ex01), &name, &BTreeMap::new(), &estate).remedy.join("\n")
        };
        let alone = remedy(Vec::new());
        assert!(alone.contains("Remove-ExchangeCertificate -Server ex01") && !alone.contains("Set-SendConnector"));
        let sender = |name: &str, pin: &str| SendConnector {
            name: name.into(),
            smart_hosts: Vec::new(),
            address_spaces: Vec::new(),
            fqdn: None,
            pin: Told::Is(pin.into()),
            sources: vec!["EX01".into()],
            is_enabled: true,
            flags: 0,
            tls_domain: None,
        };
        let send_connectors = vec![sender("Out", PIN), sender("Other", "<S>CN=other.contoso.com")];
        let far = SendConnector { sources: vec!["EX02".into()], ..sender("Far", PIN) };
        let lacking = remedy(vec![far]);
        assert!(
            lacking.contains("ex02") && !lacking.contains("Remove-Exchange") && !lacking.contains("$null"),
            "{lacking}"
        );
        let named = remedy(send_connectors);
        let at = |step: &str| named.find(step).unwrap_or_else(|| panic!("{step} in {named}"));
        let order = [
            "Stop-Service",
            "\"Out\" -TlsCertificateName $null",
            "Remove-Exchange",
            "\"Out\" -TlsCertificateName \"<I>",
        ];
        assert!(order.map(at).is_sorted(), "{named}");
        assert!(!named.contains("Other"));
        assert!(named.contains("$c = $null; ") && named.contains("if ($c) { Set-SendConnector \"Out\""), "{named}");
    }

    #[test]
    fn an_edge_is_stopped_and_started_on_itself() {
        const EDGE: &str = "edge01.contoso.com";
        let (old, new) = (hex::encode([1; 20]), hex::encode([2; 20]));
        let certificates = BTreeMap::from([(new.as_str(), Some(Timestamp::UNIX_EPOCH)), (old.as_str(), None)]);
        let (mut estate, _) = estate(&[("EX01", "10.0.0.1")]);
        estate.servers.insert(EDGE.into(), PlannedServer::new(EDGE.into(), ServerRole::Edge));
        estate.organisation.send_connectors = vec![SendConnector {
            name: "Out".into(),
            smart_hosts: Vec::new(),
            address_spaces: Vec::new(),
            fqdn: None,
            pin: Told::Is(PIN.into()),
            sources: vec!["edge01".into()],
            is_enabled: true,
            flags: 0,
            tls_domain: None,
        }];
        let name = CertificateName::read(PIN).unwrap();
        let finding = Finding::new(&META, Subject::Estate, Verdict::Warn, "");
        let alike = [Alike { host: EDGE, certificates }];
        let remedy = one_of_two(finding, &alike, &name, &BTreeMap::new(), &estate).remedy.join("\n");
        let at = |step: &str| remedy.find(step).unwrap_or_else(|| panic!("{step} in {remedy}"));
        let order = [
            "    Stop-Service MSExchangeTransport    # on edge01",
            "Start-EdgeSynchronization",
            "    Remove-ExchangeCertificate -Thumbprint 0101",
            "X509Certificate2 '<NEW.CER>'; if ($c) {",
            "    Start-Service MSExchangeTransport    # on edge01",
        ];
        assert!(order.map(at).is_sorted(), "{remedy}");
        assert!(!remedy.contains("FrontEnd") && !remedy.contains("-Server"), "{remedy}");
    }
}
