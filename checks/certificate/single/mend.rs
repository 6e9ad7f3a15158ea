//! What mends the trap of KB 2888788: the right one is named, and brought where it is missing; the wrong one goes last, if nothing
//! inside needs it.

use super::send::Trap;
use crate::{
    facts::{
        dns::{is_host_name, may_be_public},
        export::Services,
    },
    model::{
        connectors::in_command,
        estate::Estate,
        finding::Verdict,
        listeners::quote,
        organisation::ExchangeServer,
        outgoing::{Outgoing, enabled, holders, of_exchange, pin_to, remove_unless_internal, spelt_in_command},
        selection::{bears, is_alive, names_of},
        stock::{Standing, Stock, Stocked},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use jiff::Timestamp;

/// The right one, where another source server alone is known to have it; with that server.
pub(super) fn right_elsewhere<'s>(
    connector: &Outgoing,
    traps: &[Trap<'_>],
    stocks: &'s BTreeMap<String, Stock>,
    now: Timestamp,
) -> Option<(&'s str, &'s Stocked)> {
    let is_alike = |one: &Stocked| {
        let mut wrong = traps.iter().filter_map(|trap| trap.wrong);
        wrong.any(|wrong| names_of(wrong).any(|name| bears(one, &name)))
    };
    let is_right = |one: &Stocked| {
        one.standing == Standing::Public
            && one.has_key != Some(false)
            && is_alive(one, now) != Some(false)
            && is_alike(one)
    };
    let held = connector.sources.iter().filter_map(|host| stocks.get(host));
    let all = held.flat_map(|stock| stock.certificates.values().map(|one| (stock.host.as_str(), one)));
    all.filter(|(_, one)| is_right(one)).max_by_key(|(_, one)| (one.not_before, &one.thumbprint))
}

/// Lets the right one be shown, and takes the wrong one out of the way where nothing else needs it.
pub(super) fn mend(
    connector: &Outgoing,
    traps: &[Trap<'_>],
    elsewhere: Option<(&str, &Stocked)>,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
) -> Vec<String> {
    let mut steps = Vec::new();
    let with_right = traps.iter().find_map(|trap| Some((trap, trap.right?)));
    if traps.iter().all(|trap| trap.code == "untrusted-refused" && trap.verdict == Verdict::Warn) {
        steps.push("Look at the certificate of the other end first: import its root, and what stands between, on every source server.".to_string());
        if let Some((_, right)) = with_right {
            let why = "If that is well and its own is refused, let the connector show the one that peers outside trust";
            steps.extend(pin_to(why, connector, &right.thumbprint, holders(&right.thumbprint, stocks), estate));
        }
        return steps;
    }
    if let Some((trap, right)) = with_right {
        if right.serves_smtp == Some(false) {
            steps.push("Give the right one the service SMTP, answering No when asked to overwrite the default SMTP certificate:".to_string());
            steps.push(enabled(trap.host, &right.thumbprint, estate));
        }
        let why = "Let the connector show the one that peers outside trust, whatever else there is";
        let holders = [trap.host].into_iter().chain(holders(&right.thumbprint, stocks));
        steps.extend(pin_to(why, connector, &right.thumbprint, holders, estate));
    } else if let Some((holder, right)) = elsewhere {
        steps.push(format!(
            "{} has the one that peers outside trust. Import that with its key where it is missing, and give it SMTP, answering No \
             when asked to overwrite the default SMTP certificate:",
            spelt_in_command(holder)
        ));
        steps.extend(traps.iter().map(|trap| enabled(trap.host, &right.thumbprint, estate)));
        let why = "Then let the connector show that one, whatever else there is";
        let holders = [holder].into_iter().chain(holders(&right.thumbprint, stocks));
        steps.extend(pin_to(why, connector, &right.thumbprint, holders, estate));
    } else {
        steps.push(format!(
            "Have a certificate issued {} by a public authority, and import it on every source server.",
            for_whom(traps)
        ));
        let sources = connector.sources.iter().map(String::as_str);
        let holders = traps.iter().map(|trap| trap.host).chain(sources);
        steps.extend(pin_to("Then let the connector show that one", connector, "<THUMBPRINT>", holders, estate));
    }
    let is_of_2010 = |host: &String| estate.organisation.servers.get(host).is_some_and(ExchangeServer::is_of_2010);
    if estate.organisation.servers.is_empty() || connector.sources.iter().any(is_of_2010) {
        steps.push(
            "On Exchange 2010 see which servers send by it, and remove there the certificate that must not be shown:"
                .to_string(),
        );
        steps.push(format!(
            "    (Get-SendConnector {}).SourceTransportServers | % {{ Get-TransportServer $_.Name }}",
            in_command(&connector.name)
        ));
    }
    let is_private = |wrong: &&Stocked| wrong.standing == Standing::Private;
    if traps.iter().any(|trap| trap.wrong.as_ref().is_some_and(is_private)) {
        steps.push("A certificate keeps the services that it has: the other one stays a rival elsewhere until it is removed. Where no other connector names it:".to_string());
    }
    for trap in traps {
        let Some(wrong) = trap.wrong.filter(is_private) else { continue };
        let server = spelt_in_command(trap.host);
        let right = trap.right.or(elsewhere.map(|(_, right)| right));
        let inside = names_inside(wrong, right);
        if let Some(name) = inside.first() {
            steps.push(format!(
                "{} on {server} bears {} as well, by which it serves inside: leave it there.",
                wrong.thumbprint,
                quote(name)
            ));
            continue;
        }
        if wrong.is_internal {
            steps.push(format!(
                "{} is the internal transport certificate of {}: leave it there.",
                wrong.thumbprint, trap.host
            ));
            continue;
        }
        if wrong.services.is_some_and(|services| services.0 & FEDERATION != 0) {
            steps.push(format!("{} on {server} is used for federation as well: leave it there.", wrong.thumbprint));
            continue;
        }
        let right = right.map_or("<THUMBPRINT>", |right| right.thumbprint.as_str());
        let others = wrong.services.map(other_services).unwrap_or_default();
        if !others.is_empty() {
            let rest = format!("-Thumbprint {right} -Services {others}");
            steps.push(of_exchange("Enable-ExchangeCertificate", &rest, trap.host, estate));
        }
        steps.extend(remove_unless_internal(trap.host, &wrong.thumbprint, stocks, estate));
        steps.push(of_exchange("Get-ExchangeCertificate", "| fl Thumbprint,Services", trap.host, estate));
    }
    steps
}

/// For which names a public authority is asked: those of the wrong ones that it may sign for.
fn for_whom(traps: &[Trap<'_>]) -> String {
    let names: BTreeSet<_> = traps.iter().filter_map(|trap| trap.wrong).flat_map(hosts_of).collect();
    let is_own = names.iter().any(|name| !may_be_public(name));
    let public: Vec<_> = names.iter().filter(|name| may_be_public(name)).map(|name| quote(name)).collect();
    match (public.is_empty(), is_own) {
        (true, _) => {
            "for a name that mail comes to from outside, as no name of the company's own network can have one,".into()
        }
        (false, false) => "for the same names".into(),
        (false, true) => format!("for {} alone", public.join(", ")),
    }
}

/// The names by which somebody inside may look for a certificate, and which the other one does not bear.
fn names_inside(wrong: &Stocked, right: Option<&Stocked>) -> Vec<String> {
    let is_missed = |name: &String| right.map_or_else(|| !may_be_public(name), |right| !bears(right, name));
    hosts_of(wrong).filter(is_missed).collect()
}

/// The names of hosts and domains among all that a certificate bears.
fn hosts_of(one: &Stocked) -> impl Iterator<Item = String> {
    names_of(one).filter(|name| is_host_name(name.strip_prefix("*.").unwrap_or(name)))
}

/// The bit of the service Federation: such a certificate belongs to a trust with others.
const FEDERATION: u32 = 32;

/// What it is used for beside SMTP, as `-Services` takes it.
fn other_services(services: Services) -> String {
    let names =
        Services::NAMES.iter().filter(|(bit, name)| services.0 & bit != 0 && *bit != FEDERATION && *name != "SMTP");
    names.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}
