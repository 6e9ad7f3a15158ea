//! `directory-reachable`: the ports of a controller, asked in their own protocols where they have one.

use crate::{
    facts::{
        directory::{NetlogonPing, RootDse},
        net::{Connect, GC_PORT, LDAP_PORT, SMB_PORT, Transport},
        smb::SmbNegotiate,
        tls::{GC_LDAPS_PORT, LDAPS_PORT, Offer, TlsSession},
    },
    model::{
        ask::{Ask, Endpoint, Question},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject},
        meta::{Basis, Fold, Meta, Tier},
        reach::{PortJudge, Reach, Weight},
    },
};
use alloc::{collections::BTreeMap, vec, vec::Vec};

/// See the module.
pub struct Reachable;

const RPC_PORT: u16 = 135;
/// As the certificate of the port is looked at, so that the port is asked once.
const LDAPS: TlsSession = TlsSession { offer: Offer::Usual, name: None };

static META: Meta = Meta {
    id: "directory-reachable",
    area: "directory",
    title: "Controllers are reached",
    question: "Do the ports answer that Exchange uses on every controller?",
    healthy: "the port answers in its own protocol",
    why: "Exchange needs free passage to its controllers; a port that a firewall or a stopped service shuts shows as failed authentication, missing recipients or a stopped transport.",
    remedy: &[
        "Refused: on the controller see which service should listen, and start it: Get-Service NTDS,Netlogon,Kdc,DNS,LanmanServer",
        "Filtered: open the port in every firewall between Exchange servers and controllers: Test-NetConnection <DC> -Port <PORT>",
        "Between Exchange servers and controllers any restriction is unsupported.",
    ],
    references: &["Microsoft KB 179442", "Exchange network ports (Microsoft Learn)", "MS-ADTS section 6.3.3"],
    symptoms: &["454 4.7.0 Temporary authentication failure", "MSExchange ADAccess events 2102, 2103", "451 4.7.0"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

/// A port, the question that goes to it, and whether mail hangs on it.
struct Port {
    to: Endpoint,
    ask: Question,
    transport: Transport,
    is_essential: bool,
}

impl Check for Reachable {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, _: &Evidence) -> Vec<Need> {
        let ports = estate.controllers.keys().flat_map(|host| ports_of(host, estate));
        ports.map(|port| Need { subject: subject_of(&port), ask: Ask::new(port.to, port.ask) }).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let judge = PortJudge { meta: &META, estate, evidence };
        let ports: Vec<_> = estate.controllers.keys().flat_map(|host| ports_of(host, estate)).collect();
        // Each port with what it showed, and for each service whether it is shut wherever it was tried.
        let seen: Vec<_> = ports.iter().filter_map(|port| Some((port, reach_of(port, evidence)?))).collect();
        let mut services: BTreeMap<(u16, Transport), Service> = BTreeMap::new();
        for (port, reach) in &seen {
            let is_read_only = estate.controllers.get(&port.to.host).is_some_and(|controller| controller.is_read_only);
            if !matches!(reach, Reach::NotTried(_)) && !evidence.is_dead_address(&port.to) && !is_read_only {
                let service = services.entry((port.to.port, port.transport)).or_default();
                service.is_filtered_somewhere |= matches!(reach, Reach::Filtered(_));
                service.answers_somewhere |= *reach == Reach::Open;
                service.is_shut_otherwise |= !matches!(reach, Reach::Filtered(_) | Reach::Open);
            }
        }
        let judged = seen.iter().map(|(port, reach)| {
            let service = services.get(&(port.to.port, port.transport)).copied().unwrap_or_default();
            let is_essential = match port.transport {
                Transport::Tcp => port.is_essential,
                // The DC locator lives on CLDAP, and takes any controller that answers: one that is silent stops nobody.
                Transport::Udp => !service.answers_somewhere,
            };
            let all_filtered =
                service.is_filtered_somewhere && !service.answers_somewhere && !service.is_shut_otherwise;
            let weight = if is_essential { Weight::Essential { all_filtered } } else { Weight::Useful };
            judge.judge(&port.to, port.transport, *reach, weight)
        });
        judged.collect()
    }
}

/// What a service showed on all controllers together.
#[derive(Clone, Copy, Default)]
struct Service {
    answers_somewhere: bool,
    is_filtered_somewhere: bool,
    is_shut_otherwise: bool,
}

fn ports_of(host: &str, estate: &Estate) -> Vec<Port> {
    let mut ports = Vec::new();
    for to in estate.endpoints(host, LDAP_PORT) {
        let port = |port, ask: Question, transport, is_essential| Port {
            to: Endpoint { port, ..to.clone() },
            ask,
            transport,
            is_essential,
        };
        let root_dse = || RootDse { transport: Transport::Tcp }.into();
        let ping = NetlogonPing { domain: estate.plan.domain.clone() };
        ports.extend(vec![
            port(LDAP_PORT, root_dse(), Transport::Tcp, true),
            port(LDAP_PORT, ping.into(), Transport::Udp, true),
            port(SMB_PORT, SmbNegotiate.into(), Transport::Tcp, true),
            port(RPC_PORT, Connect.into(), Transport::Tcp, true),
            port(LDAPS_PORT, LDAPS.into(), Transport::Tcp, false),
        ]);
        if estate.controllers.get(host).is_some_and(|controller| controller.is_gc) {
            ports.push(port(GC_PORT, root_dse(), Transport::Tcp, true));
            ports.push(port(GC_LDAPS_PORT, LDAPS.into(), Transport::Tcp, false));
        }
        if let Some(resolver) = estate.plan.resolver.filter(|resolver| Some(resolver.ip()) == to.address) {
            ports.push(port(resolver.port(), Connect.into(), Transport::Tcp, true));
        }
    }
    ports
}

fn subject_of(port: &Port) -> Subject {
    Subject::Port(port.to.host.clone(), port.to.port, port.transport)
}

fn reach_of<'e>(port: &Port, evidence: &'e Evidence) -> Option<Reach<'e>> {
    match &port.ask {
        Question::RootDse(question) => Reach::of(&evidence.get(&port.to, question)),
        Question::NetlogonPing(question) => Reach::of(&evidence.get(&port.to, question)),
        Question::SmbNegotiate(question) => Reach::of(&evidence.get(&port.to, question)),
        // Recordings of the first version hold a bare connection.
        Question::TlsSession(question) => Reach::of(&evidence.get(&port.to, question))
            .map(Reach::hello_is_enough)
            .or_else(|| Reach::of(&evidence.get(&port.to, &Connect))),
        Question::Connect(question) => Reach::of(&evidence.get(&port.to, question)),
        _ => None,
    }
}
