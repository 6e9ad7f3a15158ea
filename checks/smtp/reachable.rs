//! `smtp-reachable`: every SMTP port of a server answers in SMTP, and soon.

use crate::{
    facts::{
        net::{SMTP_PORT, Transport},
        smtp::SmtpReply,
    },
    model::{
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Trouble, Verdict},
        listeners::{Listener, Look, is_absent_in_2010, server_name, servers_of_2010, smtp_listeners, smtp_port},
        meta::{Basis, Fold, Meta},
        plan::ServerRole,
        reach::{Reach, mend},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
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
        "421 4.3.2: Get-ServerComponentState <SERVER>; Set-ServerComponentState <SERVER> -Component <COMPONENT> -State Active -Requester Maintenance",
        "Slow: see whether something on the way looks addresses up backwards, and which TarpitInterval the connector has: Get-ReceiveConnector -Server <SERVER> | fl Identity,Bindings,TarpitInterval",
    ],
    references: &[
        "RFC 5321 section 3.1",
        "RFC 5321 section 3.8",
        "Network ports for clients and mail flow in Exchange (Microsoft Learn)",
        "Receive connectors in Exchange Server (Microsoft Learn)",
    ],
    symptoms: &["451 4.4.0", "441 4.4.1", "421 4.3.2 Service not active"],
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
            let finding = match reach {
                Reach::Open => judge_open(&listener, &look, estate),
                Reach::Refused if is_absent => {
                    let seen = "refused, as is every port that came with Exchange 2013: Exchange 2010 has none of them";
                    Finding::new(&META, listener.subject(), Verdict::Skip, seen)
                }
                _ => judge_shut(&listener, reach, estate, evidence),
            };
            let host = &listener.to.host;
            let suspects = [Trouble::HostDark(host.clone()), Trouble::Name(host.clone())];
            Some(suspects.into_iter().fold(finding, Finding::suspects).at(listener.to.address))
        };
        smtp_listeners(estate).filter_map(judge_port).collect()
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
    if to.port == smtp_port::OUTBOUND_PROXY {
        return finding.remedy("(Only send connectors with FrontendProxyEnabled use this port.)");
    }
    finding
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
        let host = server_name(&listener.to.host);
        return finding(Verdict::Unknown, format!("too busy, also when it was asked again: {said}"))
            .code("busy")
            .is(shut())
            .remedy("Look how many connections its connectors take, and whether it is short of memory or disk (events 15004, 15006):")
            .remedy(format!(
                "    Get-ReceiveConnector -Server {host} | fl Identity,Bindings,MaxInboundConnection,MaxInboundConnectionPerSource"
            ))
            .remedy("Then run again.");
    }
    if let Some(said) = look.turned_away() {
        return finding(Verdict::Pass, format!("it answers, and turns this machine away: {said}")).code("turned-away");
    }
    let end = look.miss.map(ToString::to_string).unwrap_or_default();
    finding(Verdict::Unknown, format!("it greets, and then: {end}")).is(shut()).remedy(format!(
        "See on {} itself whether port {} answers EHLO; if it does, a proxy stands between.",
        listener.to.host, listener.to.port
    ))
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
