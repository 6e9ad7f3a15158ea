//! `server-addresses`: at every address that DNS gives for a server, that server takes mail.

use crate::{
    facts::net::{SMTP_PORT, Transport},
    model::{
        ask::Endpoint,
        check::{Check, Need},
        estate::Estate,
        evidence::{Evidence, Miss, Reason},
        finding::{Finding, Subject, Trouble, Verdict},
        listeners::{Listener, Look, peer_listeners, quote, rivals, server_name, smtp_port, unresolved_peers},
        meta::{Basis, Fold, Meta, Tier},
        reach::Reach,
    },
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;

/// See the module.
pub struct Addresses;

static META: Meta = Meta {
    id: "server-addresses",
    area: "server",
    title: "Every address of a server takes mail",
    question: "Does each server answer SMTP at every address that DNS gives for it, and as the same server?",
    healthy: "the same server answers SMTP at each of its addresses",
    why: "Peers try a server's addresses in turn. One that leads nowhere, as of a replication or backup network that registered itself in DNS, delays mail or stops it, whichever comes first.",
    remedy: &[
        "If the server should not be reached there, on it, for that adapter:",
        "    Set-DnsClient -InterfaceAlias <ADAPTER> -RegisterThisConnectionsAddress $false; ipconfig /registerdns",
        "If it should, see what its connectors are bound to: Get-ReceiveConnector -Server <SERVER> | fl Identity,Bindings",
        "If another machine answers there, delete the stale record in DNS.",
    ],
    references: &[
        "RFC 5321 section 5.1",
        "Set-DnsClient (Microsoft Learn)",
        "Planning for high availability and site resilience (Microsoft Learn)",
    ],
    symptoms: &["451 4.4.0", "441 4.4.1"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

/// What one address showed on 25 and on 2525.
struct Place<'e> {
    address: IpAddr,
    front: Look<'e>,
    back: Look<'e>,
}

impl Check for Addresses {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of_listener = |listener: Listener| -> Vec<Need> {
            let subject = Subject::Host(listener.to.host.clone());
            let asks = listener.first_asks(evidence).into_iter();
            asks.map(|ask| Need { subject: subject.clone(), ask }).collect()
        };
        mail_listeners(estate).flat_map(of_listener).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let mut hosts: BTreeMap<String, Vec<Place<'_>>> = BTreeMap::new();
        for listener in mail_listeners(estate).filter(|listener| listener.to.port == SMTP_PORT) {
            let Some(address) = listener.to.address else { continue };
            let to = Endpoint { port: smtp_port::TRANSPORT, ..listener.to.clone() };
            let back = Listener { to, ..listener.clone() }.first_look(evidence);
            let place = Place { address, front: listener.first_look(evidence), back };
            hosts.entry(listener.to.host).or_default().push(place);
        }
        let judged = hosts.iter().map(|(host, places)| judge_host(host, places, estate));
        judged.chain(unresolved_peers(&META, estate, evidence)).collect()
    }
}

fn mail_listeners(estate: &Estate) -> impl Iterator<Item = Listener> {
    peer_listeners(estate).filter(|listener| [SMTP_PORT, smtp_port::TRANSPORT].contains(&listener.to.port))
}

fn judge_host(host: &str, places: &[Place<'_>], estate: &Estate) -> Finding {
    let subject = Subject::Host(host.to_string());
    let finding = |verdict, seen: String| Finding::new(&META, subject.clone(), verdict, seen);
    if let Some(why) = places.iter().find_map(untold) {
        return finding(Verdict::Unknown, why).remedy("Run again, and let it come to its end.");
    }
    // Where this machine has no way, as without IPv6, nothing can be told and nothing is wrong.
    let has_way = |place: &&Place<'_>| !place.front.miss.is_some_and(Miss::is_no_route);
    let places: Vec<_> = places.iter().filter(has_way).collect();
    match places[..] {
        [] => return finding(Verdict::Skip, "this machine has no route to any of its addresses".to_string()),
        [only] => {
            return finding(Verdict::Pass, format!("one address to which this machine has a way: {}", only.address));
        }
        _ => {}
    }
    if !places.iter().any(|place| answers(&place.front)) {
        return finding(Verdict::Unknown, format!("none of its {} addresses answers SMTP", places.len()))
            .suspects(Trouble::HostDark(host.to_string()))
            .suspects(Trouble::PortShut(Subject::Port(host.to_string(), SMTP_PORT, Transport::Tcp)))
            .remedy("Run from a place that reaches the server on port 25.");
    }
    // Exchange 2010 has no 2525 at any address.
    let is_back_seen = places.iter().any(|place| answers(&place.back));
    let silent: Vec<_> = places.iter().filter_map(|place| silence(place, is_back_seen, estate)).collect();
    let silence = silent.iter().map(|(verdict, _)| *verdict).max().map(|verdict| {
        let seen: Vec<_> = silent.iter().map(|(_, seen)| seen.as_str()).collect();
        address_silent(finding(verdict, seen.join("; ")), host)
    });
    let difference = difference(host, &places, estate)
        .map(|(verdict, seen)| address_differs(finding(verdict, seen), host))
        .filter(|difference| silence.as_ref().is_none_or(|silence| silence.verdict < difference.verdict));
    if let Some(trouble) = difference.or(silence) {
        return trouble;
    }
    finding(Verdict::Pass, format!("it answers SMTP at each of {} addresses", places.len()))
}

/// The names, where they cannot all be of one server.
fn difference(host: &str, places: &[&Place<'_>], estate: &Estate) -> Option<(Verdict, String)> {
    let [fronts, backs] = [front_name, back_name].map(|name_at| -> Vec<(IpAddr, String)> {
        places.iter().filter_map(|place| Some((place.address, name_at(place)?))).collect()
    });
    let differ =
        |named: &[(IpAddr, String)]| !is_one_server(&named.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>());
    if !differ(&fronts) && !differ(&backs) {
        return None;
    }
    // A connector on 25 may bear any name: 2525 has to agree, or, where it cannot be heard, the name to be another server's.
    let is_anothers = |name: &str| rivals(host, estate).any(|other| name == other || name == server_name(other));
    let is_another = differ(&backs) || backs.is_empty() && fronts.iter().any(|(_, name)| is_anothers(name));
    let verdict = if is_another { Verdict::Fail } else { Verdict::Warn };
    let named = if differ(&fronts) { fronts } else { backs };
    let told: Vec<_> = named.iter().map(|(address, name)| format!("{} at {address}", quote(name))).collect();
    Some((verdict, told.join(", ")))
}

/// Why it is not known what an address shows, where that is our own doing.
fn untold(place: &Place<'_>) -> Option<String> {
    [&place.front, &place.back].into_iter().find_map(|look| match look.miss {
        _ if !look.is_answered => Some(format!("{}: the run ended before this was asked", place.address)),
        Some(miss) if matches!(miss.reason, Reason::Interrupted | Reason::Local(_)) => {
            Some(format!("{}: {miss}", place.address))
        }
        _ => None,
    })
}

/// It speaks SMTP, be it to turn us away.
fn answers(look: &Look<'_>) -> bool {
    look.reach() == Some(Reach::Open)
}

/// How an address does not take mail. What a firewall drops before this machine it need not drop before peers.
fn silence(place: &Place<'_>, is_back_seen: bool, estate: &Estate) -> Option<(Verdict, String)> {
    let of_port = |port: u16, look: &Look<'_>| {
        let reach = look.reach().filter(|reach| *reach != Reach::Open)?;
        let verdict = match reach {
            Reach::Refused | Reach::Foreign(_) => Verdict::Fail,
            Reach::Filtered(_) | Reach::Mute(_) if estate.plan.exchange_vantage => Verdict::Fail,
            _ => Verdict::Warn,
        };
        Some((verdict, format!("at {} port {port} is {reach}", place.address)))
    };
    of_port(SMTP_PORT, &place.front).or_else(|| of_port(smtp_port::TRANSPORT, &place.back).filter(|_| is_back_seen))
}

fn front_name(place: &Place<'_>) -> Option<String> {
    place.front.talked()?.own_name()
}

fn back_name(place: &Place<'_>) -> Option<String> {
    place.back.talked()?.own_name()
}

/// Can all these be names of one server? One may be the short name of another.
fn is_one_server(names: &[&str]) -> bool {
    let is_same = |one: &str, other: &str| one == other || server_name(one) == other || one == server_name(other);
    names.iter().all(|one| names.iter().all(|other| is_same(one, other)))
}

fn address_silent(finding: Finding, host: &str) -> Finding {
    let server = server_name(host);
    finding
        .code("address-silent")
        .suspects(Trouble::Name(host.to_string()))
        .remedy(format!(
            "If {host} should not be reached there (a replication or backup network), on it, for that adapter:"
        ))
        .remedy(
            "    Set-DnsClient -InterfaceAlias <ADAPTER> -RegisterThisConnectionsAddress $false; ipconfig /registerdns",
        )
        .remedy(
            "If it should, see what its connectors are bound to, and whether a firewall stands before that address:",
        )
        .remedy(format!("    Get-ReceiveConnector -Server {server} | fl Identity,Bindings"))
}

fn address_differs(finding: Finding, host: &str) -> Finding {
    let server = server_name(host);
    finding
        .code("address-differs")
        .suspects(Trouble::Name(host.to_string()))
        .remedy(format!("See whether {host} has all of these addresses; on it:"))
        .remedy("    Get-NetIPAddress | ft IPAddress,InterfaceAlias")
        .remedy("If not, delete the stale record in DNS. If so, connectors bound to one address bear another name:")
        .remedy(format!("    Get-ReceiveConnector -Server {server} | fl Identity,Bindings,Fqdn"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_and_its_full_name_are_one_server() {
        assert!(is_one_server(&[]));
        assert!(is_one_server(&["ex01.contoso.com", "ex01", "ex01.contoso.com"]));
        assert!(!is_one_server(&["ex01.contoso.com", "ex02.contoso.com"]));
        assert!(!is_one_server(&["ex01.contoso.com", "ex01", "ex01.fabrikam.com"]));
    }
}
