//! `kerberos-reachable`: a real AS-REQ over TCP and UDP 88, and the password service on 464.

use crate::{
    facts::{
        kerberos::Kpasswd,
        net::{KERBEROS_PORT, KPASSWD_PORT, Transport},
    },
    model::{
        ask::{Ask, Endpoint},
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
        reach::{PortJudge, Reach, Weight},
    },
};
use alloc::vec::Vec;

/// See the module.
pub struct Reachable;

static META: Meta = Meta {
    id: "kerberos-reachable",
    area: "kerberos",
    title: "Kerberos ports are reached",
    question: "Does every controller answer Kerberos over TCP and UDP 88, and password changes over 464?",
    healthy: "the port answers in Kerberos",
    why: "Servers fetch their tickets here. Windows uses TCP by default, so TCP 88 is what mail hangs on; other systems begin with UDP.",
    remedy: &[
        "Refused: on the controller start the KDC: Start-Service Kdc",
        "Filtered: open 88/tcp, 88/udp and 464/tcp between servers and controllers: Test-NetConnection <DC> -Port 88",
    ],
    references: &["Microsoft KB 979174, cause 4", "RFC 4120 section 7.2", "RFC 3244", "Microsoft KB 179442"],
    symptoms: &["454 4.7.0 Temporary authentication failure", "MSExchangeTransport event 1035"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

const KPASSWD_UDP: Kpasswd = Kpasswd { transport: Transport::Udp };
const KPASSWD_TCP: Kpasswd = Kpasswd { transport: Transport::Tcp };

impl Check for Reachable {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, _: &Evidence) -> Vec<Need> {
        let mut needs = Vec::new();
        for to in kdcs(estate) {
            for transport in [Transport::Tcp, Transport::Udp] {
                let ask = Ask::new(to.clone(), estate.as_req(transport));
                needs.push(Need { subject: subject_of(&to, transport), ask });
            }
            let kpasswd = kpasswd_at(&to);
            let mut need = |question: Kpasswd| {
                let subject = subject_of(&kpasswd, question.transport);
                needs.push(Need { subject, ask: Ask::new(kpasswd.clone(), question) });
            };
            need(KPASSWD_TCP);
            // No mail hangs on it, and whether Windows answers this over UDP nobody has seen: silence would be an
            // Unknown on every healthy forest.
            if estate.plan.deep {
                need(KPASSWD_UDP);
            }
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let ports = PortJudge { meta: &META, estate, evidence };
        let kdcs = kdcs(estate);
        let [tcp, udp] = [Transport::Tcp, Transport::Udp].map(|transport| estate.as_req(transport));
        let tcp_reach = |to: &Endpoint| Reach::of(&evidence.get(to, &tcp));
        let is_read_only =
            |to: &Endpoint| estate.controllers.get(&to.host).is_some_and(|controller| controller.is_read_only);
        let counts = |to: &&Endpoint| !evidence.is_dead_address(to) && !is_read_only(to);
        let tried = || kdcs.iter().filter(counts).filter_map(tcp_reach);
        let mut tried_at_all = tried().filter(|reach| !matches!(reach, Reach::NotTried(_))).peekable();
        let all_filtered =
            tried_at_all.peek().is_some() && tried_at_all.all(|reach| matches!(reach, Reach::Filtered(_)));
        let essential = Weight::Essential { all_filtered };
        let mut findings = Vec::new();
        for to in &kdcs {
            let kpasswd = kpasswd_at(to);
            let kpasswd_reach = Reach::of(&evidence.get(&kpasswd, &KPASSWD_TCP)).map(Reach::connection_is_enough);
            // Over UDP only an answer tells: silence is left to the engine, which says Unknown.
            let udp_kpasswd = evidence.get(&kpasswd, &KPASSWD_UDP);
            let asked = [
                (to, Transport::Tcp, tcp_reach(to), essential),
                (to, Transport::Udp, Reach::of(&evidence.get(to, &udp)), Weight::Useful),
                (&kpasswd, Transport::Tcp, kpasswd_reach, Weight::Useful),
                (&kpasswd, Transport::Udp, udp_kpasswd.facts().map(|_| Reach::Open), Weight::Useful),
            ];
            for (to, transport, reach, weight) in asked {
                findings.extend(reach.map(|reach| ports.judge(to, transport, reach, weight)));
            }
        }
        findings.extend(kdcs.is_empty().then(|| no_kdc(estate)));
        findings
    }
}

fn kdcs(estate: &Estate) -> Vec<Endpoint> {
    estate.controllers.keys().flat_map(|host| estate.endpoints(host, KERBEROS_PORT)).collect()
}

fn kpasswd_at(to: &Endpoint) -> Endpoint {
    Endpoint { port: KPASSWD_PORT, ..to.clone() }
}

fn subject_of(to: &Endpoint, transport: Transport) -> Subject {
    Subject::Port(to.host.clone(), to.port, transport)
}

fn no_kdc(estate: &Estate) -> Finding {
    Finding::new(&META, Subject::Estate, Verdict::Unknown, "no controller was found whose ports could be asked")
        .suspects(Trouble::Name(estate.plan.domain.clone()))
}
