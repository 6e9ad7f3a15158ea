//! Commands for servers that send, as text to be copied: where each is typed, and in an order that is safe. An Edge server is in no
//! domain: no shell of the organisation reaches it, it has no front end, and of connectors it learns by its subscription alone
//! ("Edge subscriptions in Exchange Server", Microsoft Learn).

use super::{Outgoing, is_away, returns};
use crate::{
    facts::dns::is_host_name,
    model::{connectors::in_command, estate::Estate, organisation::ExchangeServer, plan::ServerRole, stock::Stock},
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::net::IpAddr;

/// Hurries replication between controllers.
pub const SYNC: &str = "    repadmin /syncall /AdeP";

/// Lets a send connector show this certificate, and its source servers take that up. `why` is what is done by it, without a stop at
/// its end; `holders` are those that have the certificate.
pub fn pin_to<'h>(
    why: &str,
    connector: &Outgoing,
    thumbprint: &str,
    holders: impl IntoIterator<Item = &'h str>,
    estate: &Estate,
) -> Vec<String> {
    let set = format!("Set-SendConnector {}", in_command(&connector.name));
    let away: Vec<_> = connector.sources.iter().filter(|host| returns(host, estate)).map(String::as_str).collect();
    let away = if away.is_empty() { String::new() } else { format!(" ({} before it returns)", away.join(", ")) };
    let fetched = fetched(thumbprint, holders, estate);
    let is_plain = thumbprint.starts_with('<') || fetched.contains(thumbprint);
    let whose = if is_plain { String::new() } else { format!("    # the file of {thumbprint}") };
    let steps = vec![
        format!("{why}; every source server has to have it first, with its key{away}:"),
        naming(&fetched, &set) + &whose,
        "Once controllers have replicated:".to_string(),
    ];
    steps.into_iter().chain(taken_up(connector, estate)).collect()
}

/// Lets the source servers of a connector take up what was set. What sends nothing now does so when it returns.
fn taken_up(connector: &Outgoing, estate: &Estate) -> Vec<String> {
    let sources = || connector.sources.iter().map(String::as_str).filter(|host| !is_away(host, estate));
    let mut steps = synchronised(sources(), estate);
    steps.extend(sources().map(|host| restarted(connector, host, estate)));
    let unknown: Vec<_> =
        sources().filter(|host| place(host, estate) == Place::Unknown).map(spelt_in_command).collect();
    if !unknown.is_empty() {
        steps.push(format!(
            "Whether {} is an Edge server nobody tells (--user, or the plan); an Edge learns of it by Start-EdgeSynchronization.",
            unknown.join(", ")
        ));
    }
    steps
}

/// A server that sends by a connector looks for its certificate again.
pub fn restarted(connector: &Outgoing, host: &str, estate: &Estate) -> String {
    let is_of_2010 = estate.organisation.servers.get(host).is_some_and(ExchangeServer::is_of_2010);
    let has_front_end = is_inside(host, estate) && !is_of_2010;
    let front_end = if connector.is_proxied && has_front_end { ",MSExchangeFrontEndTransport" } else { "" };
    of_windows(&format!("Restart-Service MSExchangeTransport{front_end}"), host, estate)
}

/// What lets an Edge know what was set inside, if one is among these.
pub fn synchronised<'h>(mut hosts: impl Iterator<Item = &'h str>, estate: &Estate) -> Vec<String> {
    let has_edge = hosts.any(|host| place(host, estate) == Place::Edge);
    has_edge.then(|| "    Start-EdgeSynchronization".to_string()).into_iter().collect()
}

/// Gives a connector the name of the certificate that `fetched` finds. Without one the connector keeps what it names: `$c` may hold
/// another one from before, and a name of nothing leaves it without TLS.
pub fn naming(fetched: &str, set: &str) -> String {
    format!("    $c = $null; {fetched}; if ($c) {{ {set} -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }}")
}

/// `$c`, a certificate: from the first server inside that has it, else from its file.
pub fn fetched<'h>(thumbprint: &str, holders: impl IntoIterator<Item = &'h str>, estate: &Estate) -> String {
    let is_reached = |host: &&str| is_inside(host, estate) && !is_away(host, estate);
    let inside = holders.into_iter().find(is_reached);
    inside.map_or_else(
        || "$c = New-Object System.Security.Cryptography.X509Certificates.X509Certificate2 '<NEW.CER>'".to_string(),
        |host| format!("$c = Get-ExchangeCertificate -Server {} {thumbprint}", spelt_in_command(host)),
    )
}

/// Those that are known to have a certificate.
pub fn holders<'s>(thumbprint: &str, stocks: &'s BTreeMap<String, Stock>) -> Vec<&'s str> {
    let has_it = |stock: &&Stock| stock.certificates.contains_key(thumbprint);
    stocks.values().filter(has_it).map(|stock| stock.host.as_str()).collect()
}

/// A command of Exchange about one server: `cmdlet` with the rest of its line.
pub fn of_exchange(cmdlet: &str, rest: &str, host: &str, estate: &Estate) -> String {
    let server = spelt_in_command(host);
    match place(host, estate) {
        Place::Inside => format!("    {cmdlet} -Server {server} {rest}"),
        Place::Edge | Place::Unknown => format!("    {cmdlet} {rest}    # on {server} itself"),
    }
}

/// A command of Windows for one server.
pub fn of_windows(command: &str, host: &str, estate: &Estate) -> String {
    let server = spelt_in_command(host);
    match place(host, estate) {
        Place::Inside => format!("    Invoke-Command {server} {{ {command} }}"),
        Place::Edge | Place::Unknown => format!("    {command}    # on {server} itself"),
    }
}

/// Gives a certificate of one server the service SMTP.
pub fn enabled(host: &str, thumbprint: &str, estate: &Estate) -> String {
    of_exchange("Enable-ExchangeCertificate", &format!("-Thumbprint {thumbprint} -Services SMTP"), host, estate)
}

/// Shows which certificates a server has.
pub fn listed(host: &str, estate: &Estate) -> String {
    of_exchange("Get-ExchangeCertificate", "| fl Thumbprint,Issuer,Subject,Services,NotAfter", host, estate)
}

/// Removes a certificate of a server, unless servers of the organisation know the server by it.
pub fn remove_unless_internal(
    host: &str,
    thumbprint: &str,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
) -> Vec<String> {
    let is_internal =
        stocks.get(host).and_then(|stock| stock.certificates.get(thumbprint)).is_some_and(|one| one.is_internal);
    if is_internal {
        return vec![format!("{thumbprint} is the internal transport certificate of {host}: leave it there.")];
    }
    let is_known = estate
        .organisation
        .servers
        .get(host)
        .is_some_and(|server| matches!(server.internal_certificate.value(), Some(Ok(_))));
    let remove = of_exchange("Remove-ExchangeCertificate", &format!("-Thumbprint {thumbprint}"), host, estate);
    if is_known {
        return vec![remove];
    }
    vec![
        format!(
            "Unless it is the internal transport certificate of {}, which certificate-internal tells a user of the domain:",
            spelt_in_command(host)
        ),
        remove,
    ]
}

/// A host as a command takes it. What is no name is left for the reader to fill in.
pub fn spelt_in_command(host: &str) -> &str {
    if is_host_name(host) && host.parse::<IpAddr>().is_err() { host } else { "<SERVER>" }
}

/// Is it a Mailbox server, which any shell of the organisation reaches?
pub fn is_inside(host: &str, estate: &Estate) -> bool {
    place(host, estate) == Place::Inside
}

/// From where a server takes commands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A Mailbox server: from any shell of the organisation.
    Inside,
    /// An Edge server: from its own alone.
    Edge,
    /// Nobody tells which of both it is. What is typed on itself reaches either.
    Unknown,
}

/// A server that is stated by its name alone is taken for a Mailbox server, unless the directory knows better.
fn place(host: &str, estate: &Estate) -> Place {
    let stated = estate.servers.get(host).map(|server| server.role);
    let told = estate.organisation.servers.get(host).and_then(ExchangeServer::role);
    match (stated, told) {
        (Some(ServerRole::Edge), _) | (_, Some(ServerRole::Edge)) => Place::Edge,
        (Some(ServerRole::Mailbox), _) | (_, Some(ServerRole::Mailbox)) => Place::Inside,
        _ => Place::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        connectors::testing::estate,
        organisation::Told,
        plan::{PlannedServer, ServerState},
    };

    const EDGE: &str = "edge01.contoso.com";

    fn connector(sources: &[&str]) -> Outgoing {
        Outgoing {
            name: "Out".into(),
            pin: Told::NotSet,
            fqdn: None,
            sources: sources.iter().map(ToString::to_string).collect(),
            smart_hosts: Vec::new(),
            address_spaces: Vec::new(),
            tls_domain: None,
            is_enabled: true,
            is_cloud: false,
            is_proxied: true,
        }
    }

    fn with_edge() -> Estate {
        let (mut estate, _) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        estate.servers.insert(EDGE.into(), PlannedServer::new(EDGE.into(), ServerRole::Edge));
        estate
    }

    #[test]
    fn what_is_for_an_edge_is_typed_on_itself() {
        let estate = with_edge();
        let steps =
            pin_to("Name it", &connector(&["ex01.contoso.com", EDGE]), "0101", [EDGE, "ex01.contoso.com"], &estate);
        assert!(
            steps[1].contains("$c = Get-ExchangeCertificate -Server ex01.contoso.com 0101; if ($c) {"),
            "{steps:?}"
        );
        assert_eq!(
            steps[3..],
            [
                "    Start-EdgeSynchronization",
                "    Restart-Service MSExchangeTransport    # on edge01.contoso.com itself",
                "    Invoke-Command ex01.contoso.com { Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport }"
            ]
        );
        let alone = pin_to("Name it", &connector(&[EDGE]), "0101", [EDGE], &estate);
        assert!(alone[1].contains("X509Certificate2 '<NEW.CER>'; if ($c) { Set-SendConnector"), "{alone:?}");
        let removed = remove_unless_internal(EDGE, "0101", &BTreeMap::new(), &estate);
        assert_eq!(
            removed.last().map(String::as_str),
            Some("    Remove-ExchangeCertificate -Thumbprint 0101    # on edge01.contoso.com itself")
        );
    }

    #[test]
    fn of_a_server_that_nobody_knows_it_is_said_that_it_may_be_an_edge() {
        let steps = pin_to("Name it", &connector(&["edge09"]), "0101", ["edge09"], &with_edge());
        assert!(steps[1].contains("'<NEW.CER>'") && steps[1].ends_with("    # the file of 0101"), "{steps:?}");
        assert_eq!(steps[3], "    Restart-Service MSExchangeTransport    # on edge09 itself");
        assert!(steps[4].starts_with("Whether edge09 is an Edge server nobody tells"), "{steps:?}");
    }

    #[test]
    fn what_is_in_maintenance_is_not_restarted() {
        let mut estate = with_edge();
        estate.servers.get_mut("ex02.contoso.com").unwrap().state = ServerState::Maintenance;
        let steps = pin_to(
            "Name it",
            &connector(&["ex01.contoso.com", "ex02.contoso.com"]),
            "0101",
            ["ex02.contoso.com", "ex01.contoso.com"],
            &estate,
        );
        assert!(steps[0].contains("(ex02.contoso.com before it returns)"), "{steps:?}");
        assert!(steps[1..].iter().all(|step| !step.contains("ex02")), "{steps:?}");
    }
}
