//! `smtp-exchange-auth`: the connectors that peers dial offer Exchange Server authentication (KB 979174, cause 6).

use crate::{
    facts::{
        connector::{AuthMechanism, suppresses_anonymous_tls},
        net::SMTP_PORT,
    },
    model::{
        check::{Check, Need},
        connectors::{Connectors, absent_by_role, identity, ranges},
        estate::Estate,
        evidence::{Evidence, Reason},
        finding::{Finding, Trouble, Verdict},
        listeners::{
            Listener, Look, is_absent_in_2010, peer_listeners, quote, server_name, servers_of_2010, smtp_port,
            unresolved_peers,
        },
        meta::{Basis, Fold, Meta, Tier},
        organisation::{ExchangeServer, ReceiveConnector},
        plan::{ServerRole, ServerState},
        reach::Reach,
    },
};
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};
use core::net::SocketAddr;

/// See the module.
pub struct ExchangeAuth;

static META: Meta = Meta {
    id: "smtp-exchange-auth",
    area: "smtp",
    title: "Peers can authenticate",
    question: "Do the connectors that other Exchange servers dial offer Exchange Server authentication?",
    healthy: "X-EXPS or X-ANONYMOUSTLS is offered before TLS",
    why: "Servers of one organisation prove to each other who they are before they hand mail over. A receive connector without ExchangeServer offers neither X-EXPS nor X-ANONYMOUSTLS, and mail for it waits in the queues of its peers.",
    remedy: &[
        "Set-ReceiveConnector replaces both lists, so all of them are named; of a connector made by Exchange:",
        "    Set-ReceiveConnector \"<SERVER>\\Default <SERVER>\" -AuthMechanism Tls,BasicAuth,Integrated,ExchangeServer -PermissionGroups ExchangeServers,ExchangeLegacyServers,ExchangeUsers",
        "    Set-ReceiveConnector \"<SERVER>\\Default Frontend <SERVER>\" -AuthMechanism Tls,BasicAuth,BasicAuthRequireTLS,Integrated,ExchangeServer -PermissionGroups AnonymousUsers,ExchangeServers,ExchangeLegacyServers",
        "ExchangeServer needs the permission group ExchangeServers, and cannot stand beside ExternalAuthoritative.",
        "Keywords written over (XXXXXXXA): switch the inspection of SMTP off between Exchange servers.",
    ],
    references: &[
        "Microsoft KB 979174, cause 6",
        "Receive connectors in Exchange Server (Microsoft Learn)",
        "Set-ReceiveConnector (Microsoft Learn)",
        "MS-SMTPNTLM",
    ],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "451 5.7.3 Cannot achieve Exchange Server authentication",
        "MSExchangeTransport event 1035",
    ],
    tier: Tier::Anonymous,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Trace, Basis::Field, Basis::Lab],
};

/// The ports on which peers authenticate.
const DIALLED: [u16; 3] = [SMTP_PORT, smtp_port::TRANSPORT, smtp_port::DELIVERY];

impl Check for ExchangeAuth {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of_listener = |listener: Listener| -> Vec<Need> {
            listener.first_asks(evidence).into_iter().map(|ask| listener.need(ask)).collect()
        };
        peer_listeners(estate).filter(is_dialled).flat_map(of_listener).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let of_2010 = servers_of_2010(estate, evidence);
        let judge_port = |listener: Listener| {
            let look = listener.first_look(evidence);
            let is_absent = of_2010.contains(&listener.to.host) && is_absent_in_2010(listener.to.port);
            let behind = Behind::of(&listener, estate, evidence);
            let finding = if let Some(behind) = behind.as_ref().filter(|behind| !behind.mechanisms.exchange_server()) {
                flag_off(&listener, &look, behind, &front(&listener, estate, &of_2010))
            // Other ports have a word to say only where somebody writes into what they say.
            } else if let Some(why) = look.inspected() {
                inspected(&listener, why)
            } else if !is_dialled(&listener) {
                return None;
            } else if is_absent && look.reach().is_some_and(|reach| reach != Reach::Open) {
                let seen = "Exchange 2010 does not listen here; its peers authenticate on 25";
                Finding::new(&META, listener.subject(), Verdict::Skip, seen)
            } else if let Some(why) = absent_by_role(&listener.to, estate, evidence)
                .filter(|_| look.reach().is_some_and(|reach| reach != Reach::Open))
            {
                Finding::new(&META, listener.subject(), Verdict::Skip, why)
            } else {
                judge_listener(&listener, &look, behind.as_ref(), estate, evidence, &of_2010)?
            };
            Some(finding.at(listener.to.address))
        };
        peer_listeners(estate).filter_map(judge_port).chain(unresolved_peers(&META, estate, evidence)).collect()
    }
}

fn is_dialled(listener: &Listener) -> bool {
    DIALLED.contains(&listener.to.port)
}

/// What the directory has behind a port that peers dial.
struct Behind<'e> {
    /// The connector that answers whoever has no other.
    connector: &'e ReceiveConnector,
    mechanisms: AuthMechanism,
    /// Those that answer narrower ranges.
    others: Vec<&'e ReceiveConnector>,
}

impl<'e> Behind<'e> {
    /// `None` where the directory does not tell it for certain. That of 475 is built in and stands in no directory.
    fn of(listener: &'e Listener, estate: &'e Estate, evidence: &Evidence) -> Option<Self> {
        if !is_dialled(listener) || listener.to.port == smtp_port::DELIVERY {
            return None;
        }
        let connectors = Connectors::of(&listener.to.host, estate, evidence)?;
        let to = SocketAddr::new(listener.to.address?, listener.to.port);
        let connector = connectors.default_at(to).filter(|_| connectors.unreadable().next().is_none())?;
        let others = connectors.at(to).into_iter().filter(|other| *other != connector).collect();
        Some(Self { connector, mechanisms: *connector.mechanisms.value()?, others })
    }

    /// Connectors that would say what was heard: they let no server log on.
    fn deaf(&self) -> Vec<String> {
        const SHOWN: usize = 3;
        let is_deaf = |other: &&&ReceiveConnector| other.mechanisms.value().is_some_and(|m| !m.exchange_server());
        let deaf = self.others.iter().filter(is_deaf).take(SHOWN);
        deaf.map(|other| format!("{} for {}", quote(&other.name), ranges(other))).collect()
    }
}

/// `None` where the engine has the right words: not asked, interrupted, a way that this machine does not have.
fn judge_listener(
    listener: &Listener,
    look: &Look<'_>,
    behind: Option<&Behind<'_>>,
    estate: &Estate,
    evidence: &Evidence,
    of_2010: &BTreeSet<String>,
) -> Option<Finding> {
    let subject = listener.subject();
    if let Some(why) = look.unwilling() {
        return Some(Finding::new(&META, subject, Verdict::Skip, why));
    }
    let Some(session) = look.talked() else {
        let miss = look.miss.filter(|miss| {
            !matches!(miss.reason, Reason::NoRoute | Reason::Local(_) | Reason::Interrupted)
                && !evidence.is_dead_address(&listener.to)
        })?;
        let finding = Finding::new(&META, subject.clone(), Verdict::Unknown, format!("it could not be asked: {miss}"));
        return Some(
            finding
                .suspects(Trouble::HostDark(listener.to.host.clone()))
                .suspects(Trouble::PortShut(subject))
                .remedy("Run from where an Exchange server stands, or on one."),
        );
    };
    let (exps, anonymous) = (session.offers("X-EXPS"), session.offers("X-ANONYMOUSTLS"));
    let is_suppressed = behind.is_some_and(|behind| suppresses_anonymous_tls(behind.connector.options));
    let seen = match (exps, anonymous) {
        (Some(_), Some(_)) => "X-EXPS and X-ANONYMOUSTLS are offered",
        (Some(_), None) if is_suppressed => "X-EXPS is offered, and no X-ANONYMOUSTLS, as SuppressXAnonymousTls has it",
        (Some(_), None) if behind.is_some() => "X-EXPS is offered; X-ANONYMOUSTLS is not, see certificate-internal",
        // SuppressXAnonymousTls, as is set where a device between two sites compresses what they say.
        (Some(_), None) => "X-EXPS is offered; X-ANONYMOUSTLS is not, as where SuppressXAnonymousTls is set",
        (None, Some(_)) => "X-ANONYMOUSTLS is offered",
        (None, None) => {
            return Some(match behind {
                Some(behind) if !estate.plan.exchange_vantage => wire_off(listener, behind),
                _ => not_offered(listener, &front(listener, estate, of_2010)),
            });
        }
    };
    Some(Finding::new(&META, subject, Verdict::Pass, seen))
}

fn inspected(listener: &Listener, why: String) -> Finding {
    let host = &listener.to.host;
    Finding::new(&META, listener.subject(), Verdict::Warn, why)
        .code("inspected")
        .remedy(format!(
            "A firewall that inspects SMTP stands between this machine and {host}; it is likelier than the connector. If it stands between Exchange servers too, they cannot authenticate: switch the inspection off there (Cisco: no inspect esmtp)."
        ))
        .remedy("Run again from where an Exchange server stands; only then the connector is seen.")
}

/// What port 25 is to peers.
enum Front {
    /// The connector of a Hub Transport server of Exchange 2010, which all its peers dial.
    OldHub,
    /// The same of Exchange 2013 where it has the Mailbox role alone.
    Hub,
    /// A front end, to which this server hands mail by 25.
    Dialled(String),
    /// A front end that the wire shows nobody to dial; separate roles may.
    Spare,
}

/// Peers authenticate on a front end's 25 where an Edge subscription or Exchange 2010 uses it.
fn front(listener: &Listener, estate: &Estate, of_2010: &BTreeSet<String>) -> Front {
    if of_2010.contains(&listener.to.host) {
        return Front::OldHub;
    }
    if estate.organisation.servers.get(&listener.to.host).is_some_and(ExchangeServer::is_back_alone) {
        return Front::Hub;
    }
    let is_edge = |state: ServerState, role: ServerRole| role == ServerRole::Edge && state != ServerState::Retired;
    let edges = estate.servers.iter().filter(|(_, server)| is_edge(server.state, server.role)).map(|(name, _)| name);
    edges.chain(of_2010).next().map_or(Front::Spare, |dialler| Front::Dialled(dialler.clone()))
}

/// How bad it is that nobody can authenticate here, and the reason where that is not the port alone.
fn gravity(port: u16, front: &Front) -> (Verdict, String) {
    match front {
        Front::Spare if port == SMTP_PORT => (Verdict::Warn, String::new()),
        Front::Dialled(dialler) if port == SMTP_PORT => (Verdict::Fail, format!(", and {dialler} dials 25")),
        _ => (Verdict::Fail, String::new()),
    }
}

/// The groups that Setup gives such a connector. Which it has now stands in its access control list, that few may read.
fn groups(port: u16, front: &Front) -> &'static str {
    match front {
        Front::Dialled(_) | Front::Spare if port == SMTP_PORT => "AnonymousUsers,ExchangeServers,ExchangeLegacyServers",
        _ => "ExchangeServers,ExchangeLegacyServers,ExchangeUsers",
    }
}

/// The directory has the connector without `ExchangeServer`, whatever this machine was offered.
fn flag_off(listener: &Listener, look: &Look<'_>, behind: &Behind<'_>, front: &Front) -> Finding {
    let Behind { connector, mechanisms, .. } = behind;
    let port = listener.to.port;
    let session = look.talked();
    let offered = session.map(|session| ["X-EXPS", "X-ANONYMOUSTLS"].iter().any(|word| session.offers(word).is_some()));
    let heard = match offered {
        Some(false) => "; neither X-EXPS nor X-ANONYMOUSTLS is offered",
        Some(true) => {
            "; this machine is offered it all the same: the server has not taken notice yet, or another connector answered"
        }
        None => "; the port itself could not be asked",
    };
    let (verdict, dialler) = gravity(port, front);
    let seen = format!(
        "{} has AuthMechanism {}, without ExchangeServer{heard}{dialler}",
        quote(&connector.name),
        mechanisms.names()
    );
    let (identity, groups) = (identity(connector), groups(port, front));
    let finding = Finding::new(&META, listener.subject(), verdict, seen)
        .code("flag-off")
        .expected("ExchangeServer among the mechanisms of the connector that peers dial")
        .remedy("Both lists are replaced. See which groups it has now, and name them too if they are not among these:")
        .remedy(format!("    Get-ReceiveConnector {identity} | fl AuthMechanism,PermissionGroups"))
        .remedy(format!(
            "    Set-ReceiveConnector {identity} -AuthMechanism {} -PermissionGroups {groups}",
            mechanisms.with_exchange_server().names()
        ));
    if mechanisms.external_authoritative() {
        return finding.remedy("ExternalAuthoritative is left out: Exchange takes no ExchangeServer beside it. Whoever needs it gets a connector of their own, for their addresses alone.");
    }
    finding
}

/// The directory has `ExchangeServer`, and this machine, which is no peer, was not offered it.
fn wire_off(listener: &Listener, behind: &Behind<'_>) -> Finding {
    let (host, name) = (server_name(&listener.to.host), quote(&behind.connector.name));
    let deaf = behind.deaf();
    let why = if deaf.is_empty() {
        "no other connector of this port lets servers in less, so a device on the way that inspects SMTP is likelier"
            .into()
    } else {
        format!("likelier another connector answers this machine: {}", deaf.join("; "))
    };
    let seen = format!("neither X-EXPS nor X-ANONYMOUSTLS is offered, though {name} has ExchangeServer; {why}");
    let finding = Finding::new(&META, listener.subject(), Verdict::Warn, seen).code("wire-off");
    let finding = if deaf.is_empty() {
        finding.remedy("If the device stands between Exchange servers too, switch its inspection of SMTP off there (Cisco: no inspect esmtp).")
    } else {
        finding
            .remedy("See which ranges hold this machine's address; smtp-connector-scope tells whether peers are in them, too:")
            .remedy(format!("    Get-ReceiveConnector -Server {host} | fl Identity,Bindings,RemoteIPRanges,AuthMechanism"))
    };
    finding.remedy(
        "Run again from where an Exchange server stands (--exchange-vantage); only then the peers' connector is seen.",
    )
}

fn not_offered(listener: &Listener, front: &Front) -> Finding {
    let port = listener.to.port;
    let host = server_name(&listener.to.host);
    let (verdict, dialler) = gravity(port, front);
    let seen = format!("neither X-EXPS nor X-ANONYMOUSTLS is offered{dialler}");
    let finding = Finding::new(&META, listener.subject(), verdict, seen).code("not-offered");
    let (connector, mechanisms) = match port {
        SMTP_PORT if matches!(front, Front::Hub | Front::OldHub) => {
            (format!("Default {host}"), "Tls,BasicAuth,BasicAuthRequireTLS,Integrated,ExchangeServer")
        }
        SMTP_PORT => {
            (format!("Default Frontend {host}"), "Tls,BasicAuth,BasicAuthRequireTLS,Integrated,ExchangeServer")
        }
        smtp_port::TRANSPORT => (format!("Default {host}"), "Tls,BasicAuth,Integrated,ExchangeServer"),
        // Its connector is built in: nobody can have taken anything from it.
        _ => {
            return finding
                .remedy(format!("The connector behind {port} cannot be changed, so look on {host} what listens there:"))
                .remedy(format!("    Get-Process -Id (Get-NetTCPConnection -LocalPort {port} -State Listen).OwningProcess"))
                .remedy("If it is MSExchangeDelivery, restart it; if it still offers nothing, a device on the way takes the keywords out:")
                .remedy("    Restart-Service MSExchangeDelivery");
        }
    };
    let groups = groups(port, front);
    let finding = if port == SMTP_PORT && matches!(front, Front::OldHub) {
        finding.remedy("It is taken for Exchange 2010; state its role in a plan if it is an Edge or a gateway.")
    } else {
        finding
    };
    finding
        .remedy(format!("See which connector answers on {port}; one of your own whose RemoteIPRanges hold this machine's address may have answered instead:"))
        .remedy(format!("    Get-ReceiveConnector -Server {host} | fl Identity,Bindings,RemoteIPRanges,AuthMechanism,PermissionGroups"))
        .remedy("If it is the one that Exchange made, give it back what it had. Both lists are replaced: name what else it has, too.")
        .remedy(format!(
            "    Set-ReceiveConnector \"{host}\\{connector}\" -AuthMechanism {mechanisms} -PermissionGroups {groups}"
        ))
        .remedy("ExchangeServer needs the group ExchangeServers, and cannot stand beside ExternalAuthoritative.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{
            connector::TransportRole::{FrontEnd, Hub},
            smtp::Upgrade,
        },
        model::{
            connectors::testing::{EVERYBODY, connector, estate, heard, words},
            organisation::Told,
        },
    };

    /// What is said of 2525 and 25 of one server, by its flags in the directory and its keywords on the wire.
    fn judge(hub: i64, front: i64, keywords: &[&str], change: impl Fn(&mut Estate)) -> Vec<String> {
        let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
        estate.organisation.receive_connectors = [
            connector("EX01", "Default EX01", 2525, Hub, hub, &EVERYBODY),
            connector("EX01", "Default Frontend EX01", 25, FrontEnd, front, &EVERYBODY),
        ]
        .into();
        change(&mut estate);
        for port in [25, 2525] {
            heard(&mut evidence, ("EX01", "10.0.0.1", port), Upgrade::StartTls, keywords, None);
        }
        words(ExchangeAuth.judge(&estate, &evidence))
    }

    const OFFERED: [&str; 2] = ["X-ANONYMOUSTLS", "X-EXPS GSSAPI NTLM"];

    #[test]
    fn the_directory_counts_more_than_what_this_machine_is_offered() {
        assert_eq!(judge(31, 31, &OFFERED, |_| {}), ["pass ex01.contoso.com:25", "pass ex01.contoso.com:2525"]);
        let off = ["fail ex01.contoso.com:2525 flag-off", "warn ex01.contoso.com:25 flag-off"];
        assert_eq!(judge(15, 15, &OFFERED, |_| {}), off);
        assert_eq!(judge(15, 15, &[], |_| {}), off);
    }

    #[test]
    fn what_only_this_machine_misses_warns() {
        let off = judge(31, 31, &[], |_| {});
        assert_eq!(off, ["warn ex01.contoso.com:25 wire-off", "warn ex01.contoso.com:2525 wire-off"]);
        let peer = judge(31, 31, &[], |estate| estate.plan.exchange_vantage = true);
        assert_eq!(peer, ["fail ex01.contoso.com:2525 not-offered", "warn ex01.contoso.com:25 not-offered"]);
    }

    #[test]
    fn a_mailbox_role_alone_is_dialled_on_25() {
        let separate = |estate: &mut Estate| {
            let server = estate.organisation.servers.get_mut("ex01.contoso.com").unwrap();
            (server.version, server.roles) = (Told::Is((15, 0)), Told::Is(54));
            estate.organisation.receive_connectors =
                [connector("EX01", "Default EX01", 25, Hub, 15, &EVERYBODY)].into();
        };
        assert!(judge(15, 15, &[], separate).iter().any(|said| said == "fail ex01.contoso.com:25 flag-off"));
    }

    #[test]
    fn without_a_directory_the_wire_alone_speaks() {
        let unread = judge(15, 15, &OFFERED, |estate| estate.informants.clear());
        assert_eq!(unread, ["pass ex01.contoso.com:25", "pass ex01.contoso.com:2525"]);
        let off = judge(31, 31, &[], |estate| estate.informants.clear());
        assert_eq!(off, ["fail ex01.contoso.com:2525 not-offered", "warn ex01.contoso.com:25 not-offered"]);
    }

    #[test]
    fn what_excludes_it_is_left_out_of_the_remedy() {
        let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
        estate.organisation.receive_connectors = [connector("EX01", "Default EX01", 2525, Hub, 33, &EVERYBODY)].into();
        heard(&mut evidence, ("EX01", "10.0.0.1", 2525), Upgrade::StartTls, &[], None);
        let finding = ExchangeAuth.judge(&estate, &evidence).remove(0);
        let command = "    Set-ReceiveConnector \"EX01\\Default EX01\" -AuthMechanism Tls,ExchangeServer -PermissionGroups ExchangeServers,ExchangeLegacyServers,ExchangeUsers";
        assert!(finding.remedy.iter().any(|step| step == command), "{:#?}", finding.remedy);
    }
}
