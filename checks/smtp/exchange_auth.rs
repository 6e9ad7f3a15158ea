//! `smtp-exchange-auth`: the connectors that peers dial offer Exchange Server authentication (KB 979174, cause 6).

use crate::{
    facts::net::SMTP_PORT,
    model::{
        check::{Check, Need},
        estate::Estate,
        evidence::{Evidence, Reason},
        finding::{Finding, Trouble, Verdict},
        listeners::{
            Listener, Look, is_absent_in_2010, peer_listeners, server_name, servers_of_2010, smtp_port,
            unresolved_peers,
        },
        meta::{Basis, Fold, Meta, Tier},
        plan::{ServerRole, ServerState},
        reach::Reach,
    },
};
use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

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
            // Other ports have a word to say only where somebody writes into what they say.
            let finding = if let Some(why) = look.inspected() {
                inspected(&listener, why)
            } else if !is_dialled(&listener) {
                return None;
            } else if is_absent && look.reach() == Some(Reach::Refused) {
                let seen = "Exchange 2010 does not listen here; its peers authenticate on 25";
                Finding::new(&META, listener.subject(), Verdict::Skip, seen)
            } else {
                judge_listener(&listener, &look, estate, evidence, &of_2010)?
            };
            Some(finding.at(listener.to.address))
        };
        peer_listeners(estate).filter_map(judge_port).chain(unresolved_peers(&META, estate, evidence)).collect()
    }
}

fn is_dialled(listener: &Listener) -> bool {
    DIALLED.contains(&listener.to.port)
}

/// `None` where the engine has the right words: not asked, interrupted, a way that this machine does not have.
fn judge_listener(
    listener: &Listener,
    look: &Look<'_>,
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
    let seen = match (exps, anonymous) {
        (Some(_), Some(_)) => "X-EXPS and X-ANONYMOUSTLS are offered",
        // SuppressXAnonymousTls, as is set where a device between two sites compresses what they say.
        (Some(_), None) => "X-EXPS is offered; X-ANONYMOUSTLS is not, as where SuppressXAnonymousTls is set",
        (None, Some(_)) => "X-ANONYMOUSTLS is offered",
        (None, None) => return Some(not_offered(listener, &front(listener, estate, of_2010))),
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
    /// The connector of a Hub Transport server, which all its peers dial.
    Hub,
    /// A front end, to which this server hands mail by 25.
    Dialled(String),
    /// A front end that the wire shows nobody to dial; separate roles may.
    Spare,
}

/// Peers authenticate on a front end's 25 where an Edge subscription or Exchange 2010 uses it.
fn front(listener: &Listener, estate: &Estate, of_2010: &BTreeSet<String>) -> Front {
    if of_2010.contains(&listener.to.host) {
        return Front::Hub;
    }
    let is_edge = |state: ServerState, role: ServerRole| role == ServerRole::Edge && state != ServerState::Retired;
    let edges = estate.servers.iter().filter(|(_, server)| is_edge(server.state, server.role)).map(|(name, _)| name);
    edges.chain(of_2010).next().map_or(Front::Spare, |dialler| Front::Dialled(dialler.clone()))
}

fn not_offered(listener: &Listener, front: &Front) -> Finding {
    let port = listener.to.port;
    let host = server_name(&listener.to.host);
    let seen = "neither X-EXPS nor X-ANONYMOUSTLS is offered";
    let (verdict, seen) = match front {
        Front::Spare if port == SMTP_PORT => (Verdict::Warn, seen.into()),
        Front::Dialled(dialler) if port == SMTP_PORT => (Verdict::Fail, format!("{seen}, and {dialler} dials 25")),
        _ => (Verdict::Fail, seen.into()),
    };
    let finding = Finding::new(&META, listener.subject(), verdict, seen).code("not-offered");
    let (connector, mechanisms, groups) = match port {
        SMTP_PORT if matches!(front, Front::Hub) => (
            format!("Default {host}"),
            "Tls,BasicAuth,BasicAuthRequireTLS,Integrated,ExchangeServer",
            "ExchangeServers,ExchangeLegacyServers,ExchangeUsers",
        ),
        SMTP_PORT => (
            format!("Default Frontend {host}"),
            "Tls,BasicAuth,BasicAuthRequireTLS,Integrated,ExchangeServer",
            "AnonymousUsers,ExchangeServers,ExchangeLegacyServers",
        ),
        smtp_port::TRANSPORT => (
            format!("Default {host}"),
            "Tls,BasicAuth,Integrated,ExchangeServer",
            "ExchangeServers,ExchangeLegacyServers,ExchangeUsers",
        ),
        // Its connector is built in: nobody can have taken anything from it.
        _ => {
            return finding
                .remedy(format!("The connector behind {port} cannot be changed, so look on {host} what listens there:"))
                .remedy(format!("    Get-Process -Id (Get-NetTCPConnection -LocalPort {port} -State Listen).OwningProcess"))
                .remedy("If it is MSExchangeDelivery, restart it; if it still offers nothing, a device on the way takes the keywords out:")
                .remedy("    Restart-Service MSExchangeDelivery");
        }
    };
    let finding = if port == SMTP_PORT && matches!(front, Front::Hub) {
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
