//! `smtp-reachable`: every SMTP port of a server answers in SMTP, and soon.

use crate::{
    facts::{
        net::{SMTP_PORT, Transport},
        smtp::SmtpReply,
    },
    model::{
        check::{Check, Need},
        connectors::{Connectors, absent_by_role, identity},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Trouble, Verdict},
        listeners::{
            Listener, Look, is_absent_in_2010, peer_listeners, server_name, servers_of_2010, smtp_listeners, smtp_port,
            unresolved,
        },
        meta::{Basis, Fold, Meta, Tier},
        plan::ServerRole,
        reach::{Reach, mend},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::SocketAddr;
use jiff::SignedDuration;

/// See the module.
pub struct Reachable;

static META: Meta = Meta {
    id: "smtp-reachable",
    area: "smtp",
    title: "SMTP ports are reached",
    question: "Does every SMTP port of each server answer in SMTP, and soon?",
    healthy: "the port answers in SMTP within 5 s",
    why: "Mail enters by 25, and goes on to 2525 and 475 of whichever server holds the mailbox. Where one of these is shut, mail waits in a queue of the server before it.",
    remedy: &[
        "Refused: on the server, Get-Service MSExchangeTransport,MSExchangeFrontEndTransport,MSExchangeDelivery | Start-Service",
        "Filtered: open 25, 2525 and 475 between all Mailbox servers; any restriction between them is unsupported: Test-NetConnection <SERVER> -Port 2525",
        "421 4.3.2 Service not active: Get-ServerComponentState <SERVER>; Set-ServerComponentState <SERVER> -Component <COMPONENT> -State Active -Requester Maintenance",
        "Too many connections: Get-ReceiveConnector -Server <SERVER> | fl Identity,Bindings,MaxInboundConnection,MaxInboundConnectionPerSource; 452 4.3.1: memory or disk, events 15004 and 15006",
        "Slow: see whether something on the way looks addresses up backwards, and which TarpitInterval the connector has: Get-ReceiveConnector -Server <SERVER> | fl Identity,Bindings,TarpitInterval",
    ],
    references: &[
        "RFC 5321 section 3.1",
        "RFC 5321 section 3.8",
        "RFC 5321 section 4.2.1",
        "Understanding back pressure (Microsoft Learn)",
        "Network ports for clients and mail flow in Exchange (Microsoft Learn)",
        "Receive connectors in Exchange Server (Microsoft Learn)",
    ],
    symptoms: &["451 4.4.0", "441 4.4.1", "421 4.3.2 Service not active", "452 4.3.1 Insufficient system resources"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

/// A greeting takes a round trip. Exchange holds back answers for so long where it distrusts somebody (`TarpitInterval`).
const SLOW: SignedDuration = SignedDuration::from_secs(5);

impl Check for Reachable {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of_listener = |listener: Listener| -> Vec<Need> {
            listener.first_asks(evidence).into_iter().map(|ask| listener.need(ask)).collect()
        };
        smtp_listeners(estate).flat_map(of_listener).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let of_2010 = servers_of_2010(estate, evidence);
        let judge_port = |listener: Listener| {
            let look = listener.first_look(evidence);
            let reach = look.reach()?;
            let is_absent = of_2010.contains(&listener.to.host) && is_absent_in_2010(listener.to.port);
            let by_role = absent_by_role(&listener.to, estate, evidence);
            let finding = match reach {
                Reach::Open => judge_open(&listener, &look, estate),
                _ if by_role.is_some() => {
                    Finding::new(&META, listener.subject(), Verdict::Skip, by_role.unwrap_or_default())
                }
                _ if is_absent => {
                    let seen = "Exchange 2010 has none of the ports that came with Exchange 2013";
                    Finding::new(&META, listener.subject(), Verdict::Skip, seen)
                }
                _ => judge_shut(&listener, reach, estate, evidence),
            };
            let finding = match why_shut(&listener, reach, estate, evidence) {
                _ if by_role.is_some() => finding,
                Some(why) => shut_on_purpose(finding, &listener, why, estate, evidence),
                None => finding,
            };
            let host = &listener.to.host;
            let suspects = [Trouble::HostDark(host.clone()), Trouble::Name(host.clone())];
            Some(suspects.into_iter().fold(finding, Finding::suspects).at(listener.to.address))
        };
        let ports = smtp_listeners(estate).filter_map(judge_port);
        // Where `directory-located` does not run, this is what the other checks' words about such a server follow from.
        let nameless = unresolved(&META, estate, evidence)
            .map(|(server, finding)| finding.is(Trouble::HostDark(server.name.clone())));
        ports.chain(nameless).collect()
    }
}

fn judge_shut(listener: &Listener, reach: Reach<'_>, estate: &Estate, evidence: &Evidence) -> Finding {
    let to = &listener.to;
    let is_outsider = role(listener, estate) != ServerRole::Mailbox;
    let is_essential = is_outsider || [SMTP_PORT, smtp_port::TRANSPORT, smtp_port::DELIVERY].contains(&to.port);
    let verdict = match reach {
        Reach::Open => Verdict::Pass,
        Reach::NotTried(miss) if miss.is_no_route() => Verdict::Skip,
        // A dead address is one trouble: `host-answers` tells it.
        _ if evidence.is_dead_address(to) => Verdict::Skip,
        Reach::NotTried(_) | Reach::Mute(_) => Verdict::Unknown,
        // `host-answers` speaks for a dark member of the domain. It says nothing of one outside, so its port has to.
        Reach::Filtered(_) if !is_outsider && evidence.is_dark(&to.host) => Verdict::Unknown,
        Reach::Filtered(_) if is_essential && estate.plan.exchange_vantage => Verdict::Fail,
        Reach::Refused | Reach::Foreign(_) if is_essential => Verdict::Fail,
        _ => Verdict::Warn,
    };
    let finding = Finding::new(&META, listener.subject(), verdict, reach);
    if !verdict.is_trouble() {
        return finding;
    }
    let shut = || Trouble::PortShut(listener.subject());
    let finding = match reach {
        Reach::Refused => finding.code("refused").is(shut()),
        Reach::Foreign(_) => finding.code("not-smtp").is(shut()),
        Reach::Filtered(_) => finding.code("filtered").is(shut()),
        Reach::Mute(_) => finding.is(shut()),
        Reach::Open | Reach::NotTried(_) => finding,
    };
    let finding = match reach {
        Reach::Refused if role(listener, estate) == ServerRole::Gateway => finding
            .remedy(format!("On {}, see whether its mail service runs, and listens on port {}.", to.host, to.port)),
        _ => mend(to, Transport::Tcp, reach).into_iter().fold(finding, Finding::remedy),
    };
    let finding = if to.port == smtp_port::OUTBOUND_PROXY {
        finding.remedy("(Only send connectors with FrontendProxyEnabled use this port.)")
    } else {
        finding
    };
    if !is_front_alone(&to.host, estate, evidence) {
        return finding;
    }
    finding.remedy("(It is taken for a Mailbox server; state its role in a plan if it is an Edge or a gateway.)")
}

/// Why the directory expects nobody to answer here. The connector of 475 is built in and stands in no directory; those of an Edge
/// stand in its own.
fn why_shut(listener: &Listener, reach: Reach<'_>, estate: &Estate, evidence: &Evidence) -> Option<String> {
    let is_told = role(listener, estate) == ServerRole::Mailbox && listener.to.port != smtp_port::DELIVERY;
    if !is_told || !matches!(reach, Reach::Refused | Reach::Filtered(_) | Reach::Mute(_) | Reach::Foreign(_)) {
        return None;
    }
    let connectors = Connectors::of(&listener.to.host, estate, evidence)?;
    connectors.why_shut(SocketAddr::new(listener.to.address?, listener.to.port))
}

/// Peers need 25 and 2525 whatever somebody had in mind; without the others mail goes on.
fn shut_on_purpose(
    finding: Finding,
    listener: &Listener,
    why: String,
    estate: &Estate,
    evidence: &Evidence,
) -> Finding {
    let port = listener.to.port;
    if !matches!(port, SMTP_PORT | smtp_port::TRANSPORT) {
        return Finding::new(&META, listener.subject(), Verdict::Skip, why);
    }
    if !finding.verdict.is_trouble() {
        return finding;
    }
    let seen = format!("{}; {why}", finding.seen);
    let to = listener.to.address.map(|address| SocketAddr::new(address, port));
    let disabled = Connectors::of(&listener.to.host, estate, evidence)
        .zip(to)
        .and_then(|(connectors, to)| connectors.bound(to).first().copied());
    let step = match disabled {
        Some(connector) => format!("    Set-ReceiveConnector {} -Enabled $true", identity(connector)),
        None => format!(
            "    Get-ReceiveConnector -Server {} | fl Identity,Enabled,Bindings",
            server_name(&listener.to.host)
        ),
    };
    let remedy = [format!("Peers dial {port}, so a connector has to be in service there:"), step].into();
    Finding { seen, remedy, ..finding }.code("no-connector")
}

/// Does it answer on 25, and on none of the other ports of a Mailbox server? So does what is no Mailbox server.
fn is_front_alone(host: &str, estate: &Estate, evidence: &Evidence) -> bool {
    let listeners = peer_listeners(estate).filter(|listener| listener.to.host == host);
    let is_open = |listener: &Listener| listener.first_look(evidence).reach() == Some(Reach::Open);
    let open: Vec<_> = listeners.filter(is_open).map(|listener| listener.to.port).collect();
    !open.is_empty() && open.iter().all(|port| *port == SMTP_PORT)
}

fn judge_open(listener: &Listener, look: &Look<'_>, estate: &Estate) -> Finding {
    let finding = |verdict, seen| Finding::new(&META, listener.subject(), verdict, seen);
    let shut = || Trouble::PortShut(listener.subject());
    let said = look.rejection().unwrap_or_default();
    if let Some(session) = look.talked() {
        return match greeting_took(session).filter(|took| *took > SLOW) {
            Some(took) => slow(finding(Verdict::Warn, greeted_after(took)), listener, estate),
            None => finding(Verdict::Pass, "it answers in SMTP".to_string()),
        };
    }
    if look.is_in_maintenance() {
        let finding = finding(Verdict::Warn, format!("the component behind it is out of service: {said}"));
        return in_maintenance(finding.code("maintenance").is(shut()), listener, estate);
    }
    if look.is_busy() {
        let finding = finding(Verdict::Unknown, format!("too busy, also when it was asked again: {said}"));
        return busy(finding.code("busy").is(shut()), listener, look, estate);
    }
    if let Some(said) = look.turned_away() {
        let is_dialled = [SMTP_PORT, smtp_port::TRANSPORT, smtp_port::DELIVERY].contains(&listener.to.port);
        let seen = format!("it answers, and turns this machine away: {said}");
        // What stands where an Exchange server stands is turned away as that server is.
        if is_dialled && estate.plan.exchange_vantage {
            return turned_away(finding(Verdict::Fail, seen).code("turned-away").is(shut()), listener, estate);
        }
        return finding(Verdict::Pass, seen).code("turned-away");
    }
    let end = look.miss.map(ToString::to_string).unwrap_or_default();
    finding(Verdict::Unknown, format!("it greets, and then: {end}")).is(shut()).remedy(format!(
        "See on {} itself whether port {} answers EHLO; if it does, a proxy stands between.",
        listener.to.host, listener.to.port
    ))
}

fn busy(finding: Finding, listener: &Listener, look: &Look<'_>, estate: &Estate) -> Finding {
    let host = server_name(&listener.to.host);
    if role(listener, estate) == ServerRole::Gateway {
        return finding.remedy(format!("See on {host} why its mail service puts senders off. Then run again."));
    }
    let counts = format!(
        "    Get-ReceiveConnector -Server {host} | fl Identity,Bindings,MaxInboundConnection,MaxInboundConnectionPerSource"
    );
    let finding = if look.is_crowded() {
        finding
            .remedy("Look how many connections its connectors take; the one that answers here has as many as it may:")
            .remedy(counts)
            .remedy("If that is too few for its peers, and nobody floods it, let it take more:")
            .remedy("    Set-ReceiveConnector \"<CONNECTOR>\" -MaxInboundConnection <COUNT> -MaxInboundConnectionPerSource <COUNT>")
    } else {
        finding
            .remedy("See whether it is short of memory or disk, and so under back pressure (events 15004, 15006):")
            .remedy(format!(
                "    Get-WinEvent -ComputerName {host} -MaxEvents 9 -FilterHashtable @{{ LogName = 'Application'; Id = 15004,15005,15006,15007 }}"
            ))
            .remedy("If it is not, look how many connections its connectors take:")
            .remedy(counts)
    };
    finding.remedy("Then run again.")
}

fn turned_away(finding: Finding, listener: &Listener, estate: &Estate) -> Finding {
    let host = server_name(&listener.to.host);
    if role(listener, estate) == ServerRole::Gateway {
        return finding.remedy(format!("On {host}, let its mail service talk with the address of this machine."));
    }
    finding
        .remedy(format!("See which connector answers on {}, and whose addresses it takes:", listener.to.port))
        .remedy(format!("    Get-ReceiveConnector -Server {host} | fl Identity,Enabled,Bindings,RemoteIPRanges"))
        .remedy(
            "If they are right, an anti-spam agent or another filter keeps a list that holds this machine's address:",
        )
        .remedy("    Get-TransportAgent; Get-IPBlockListEntry")
}

fn greeting_took(session: &SmtpReply) -> Option<SignedDuration> {
    let span = session.greeting()?.span;
    Some(span.received.duration_since(span.sent))
}

fn greeted_after(took: SignedDuration) -> String {
    format!("it greets after {:.1} s", took.as_secs_f64())
}

fn slow(finding: Finding, listener: &Listener, estate: &Estate) -> Finding {
    let host = server_name(&listener.to.host);
    let finding = finding
        .code("slow-greeting")
        .remedy("Somebody looks this machine's address up backwards in DNS and waits in vain (a virus scanner, a firewall that inspects SMTP), or holds it back on purpose. See which:")
        .remedy("    nslookup <THIS MACHINE'S ADDRESS>");
    if role(listener, estate) == ServerRole::Gateway {
        return finding;
    }
    finding
        .remedy(format!("    Get-ReceiveConnector -Server {host} | fl Identity,Bindings,RemoteIPRanges,TarpitInterval"))
}

fn in_maintenance(finding: Finding, listener: &Listener, estate: &Estate) -> Finding {
    let host = server_name(&listener.to.host);
    let component = match (role(listener, estate), listener.to.port) {
        (ServerRole::Gateway, _) => return finding.remedy(format!("Put {host} back into service.")),
        (ServerRole::Edge, _) => "EdgeTransport",
        (_, SMTP_PORT | smtp_port::SUBMISSION | smtp_port::OUTBOUND_PROXY) => "FrontendTransport",
        (_, smtp_port::TRANSPORT | smtp_port::CLIENT_PROXY) => "HubTransport",
        _ => "<COMPONENT>",
    };
    finding
        .remedy("If nobody works on it, see what is not active, and who asked for that; then take it back:")
        .remedy(format!("    Get-ServerComponentState {host} | ? State -ne Active"))
        .remedy(format!(
            "    Set-ServerComponentState {host} -Component {component} -State Active -Requester Maintenance"
        ))
        .remedy("If somebody does, say so in the plan (state = \"maintenance\"), and it is not asked.")
}

fn role(listener: &Listener, estate: &Estate) -> ServerRole {
    estate.servers.get(&listener.to.host).map(|server| server.role).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{
            connector::TransportRole::{FrontEnd, Hub},
            smtp::{SmtpSession, Upgrade},
            tls::Offer,
        },
        model::{
            ask::{Ask, Endpoint},
            connectors::testing::{EVERYBODY, connector, estate, heard, words},
            evidence::{End, Miss, Observation, Reason, Reply, Stage},
            organisation::{ReceiveConnector, Told},
        },
    };
    use jiff::Timestamp;

    #[test]
    fn one_role_of_2013_has_its_own_ports_alone() {
        for (roles, role, absent) in [(54, Hub, [587, 717, 2525]), (16385, FrontEnd, [465, 475, 2525])] {
            let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
            let server = estate.organisation.servers.get_mut("ex01.contoso.com").unwrap();
            (server.version, server.roles) = (Told::Is((15, 0)), Told::Is(roles));
            estate.organisation.receive_connectors = [connector("EX01", "Default", 25, role, 31, &EVERYBODY)].into();
            for port in absent {
                let to = Endpoint { host: "ex01.contoso.com".into(), address: Some([10, 0, 0, 1].into()), port };
                let ask = Ask::new(to, SmtpSession { upgrade: Upgrade::StartTls, offer: Offer::Usual });
                let miss = Miss { stage: Stage::Connect, reason: Reason::Refused, took: SignedDuration::ZERO };
                let reply = Reply { facts: None, end: End::Miss(miss) };
                evidence.insert(Observation { ask, reply, when: Timestamp::UNIX_EPOCH });
            }
            let mut said = absent.map(|port| format!("skip ex01.contoso.com:{port}"));
            said.sort();
            assert_eq!(words(Reachable.judge(&estate, &evidence)), said);
        }
    }

    #[test]
    fn what_is_disabled_is_not_missed() {
        let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
        let off = |connector: ReceiveConnector| ReceiveConnector { is_enabled: false, ..connector };
        estate.organisation.receive_connectors = [
            off(connector("EX01", "Client Frontend EX01", 587, FrontEnd, 15, &EVERYBODY)),
            off(connector("EX01", "Default Frontend EX01", 25, FrontEnd, 31, &EVERYBODY)),
            connector("EX01", "Client Proxy EX01", 465, Hub, 31, &EVERYBODY),
        ]
        .into();
        for port in [25, 475, 587, 465, 2525] {
            let to = Endpoint { host: "ex01.contoso.com".into(), address: Some([10, 0, 0, 1].into()), port };
            let ask = Ask::new(to, SmtpSession { upgrade: Upgrade::StartTls, offer: Offer::Usual });
            let miss = Miss { stage: Stage::Connect, reason: Reason::Refused, took: SignedDuration::ZERO };
            let reply = Reply { facts: None, end: End::Miss(miss) };
            evidence.insert(Observation { ask, reply, when: Timestamp::UNIX_EPOCH });
        }
        heard(&mut evidence, ("EX01", "10.0.0.1", 717), Upgrade::StartTls, &[], None);
        let findings = Reachable.judge(&estate, &evidence);
        let remedy =
            findings.iter().find(|finding| finding.subject.to_string().ends_with(":25")).map(|f| f.remedy.join("\n"));
        assert!(remedy.is_some_and(|steps| steps.contains("\"EX01\\Default Frontend EX01\" -Enabled $true")));
        let said = [
            "fail ex01.contoso.com:25 no-connector",
            "fail ex01.contoso.com:2525 no-connector",
            "fail ex01.contoso.com:475 refused",
            "pass ex01.contoso.com:717",
            "skip ex01.contoso.com:587",
            "warn ex01.contoso.com:465 refused",
        ];
        assert_eq!(words(findings), said);
    }
}
