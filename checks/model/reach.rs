//! Can a port be reached? The one rule that every area applies to its own ports.

use crate::facts::net::Transport;
use crate::model::{
    ask::Endpoint,
    cause::Trouble,
    check::Meta,
    estate::Estate,
    evidence::{Answer, Evidence, Miss, Reason, Stage},
    finding::{Finding, Subject, Verdict},
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// What an answer says of the port, whatever it says of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'e> {
    /// Something listens, and it may even have answered.
    Open,
    /// The host says that nothing listens.
    Refused,
    /// Something listens that speaks another protocol.
    Foreign(&'e Miss),
    /// Nothing came back, or a firewall said no.
    Filtered(&'e Miss),
    /// It says nothing about the port: this machine has no route, no socket, no time.
    NotTried(&'e Miss),
}

impl<'e> Reach<'e> {
    /// Reads it off an answer; `None` where nobody asked.
    pub fn of<F>(answer: &Answer<'e, F>) -> Option<Self> {
        let miss = match answer {
            Answer::NotAsked => return None,
            Answer::Told(..) => return Some(Self::Open),
            Answer::Missed(miss) => *miss,
        };
        Some(match (&miss.reason, miss.stage) {
            (Reason::NoRoute | Reason::Local(_) | Reason::Interrupted, _) => Self::NotTried(miss),
            (Reason::NotTheProtocol(_), _) => Self::Foreign(miss),
            (_, Stage::Greet | Stage::Tls | Stage::Bind | Stage::Reply) => Self::Open,
            (Reason::Refused, _) => Self::Refused,
            _ => Self::Filtered(miss),
        })
    }
}

/// How much hangs on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Mail stops without it: refused is a Fail from anywhere, filtered only where it surely concerns mail.
    Essential {
        /// It is filtered on every controller that was asked.
        all_filtered: bool,
    },
    /// Mail goes on without it.
    Useful,
}

/// Judges ports in the name of a check.
pub struct PortJudge<'a> {
    /// The check.
    pub meta: &'static Meta,
    /// Whose ports.
    pub estate: &'a Estate,
    /// What was seen.
    pub evidence: &'a Evidence,
}

impl PortJudge<'_> {
    /// Judges one port of one controller at one address.
    pub fn judge(&self, to: &Endpoint, transport: Transport, reach: Reach<'_>, weight: Weight) -> Finding {
        let subject = Subject::Port(to.host.clone(), to.port, transport);
        let seen = match reach {
            Reach::Open => "open".to_string(),
            Reach::Refused => "refused: the host answers, but nothing listens on this port".to_string(),
            Reach::Foreign(miss) | Reach::Filtered(miss) | Reach::NotTried(miss) => miss.to_string(),
        };
        let finding = Finding::new(self.meta, subject.clone(), self.verdict(to, reach, weight), seen)
            .suspects(Trouble::HostDark(to.host.clone()))
            .suspects(Trouble::Name(to.host.clone()));
        let finding = match reach {
            Reach::Open | Reach::NotTried(_) => finding,
            _ => mend(to, reach).into_iter().fold(finding.is(Trouble::PortShut(subject)), Finding::remedy),
        };
        finding.at(to.address)
    }

    fn verdict(&self, to: &Endpoint, reach: Reach<'_>, weight: Weight) -> Verdict {
        let controller = self.estate.controllers.get(&to.host);
        match (reach, weight) {
            (Reach::Open, _) => Verdict::Pass,
            (Reach::NotTried(miss), _) if !miss.is_no_route() => Verdict::Unknown,
            (Reach::NotTried(_), _) => Verdict::Skip,
            // Exchange uses no read-only controller, and a dead address is one trouble: `host-answers` tells it.
            _ if controller.is_some_and(|controller| controller.is_read_only) => Verdict::Skip,
            _ if self.evidence.is_dead_address(to) => Verdict::Skip,
            (Reach::Filtered(_), _) if self.evidence.is_dark(&to.host) => Verdict::Unknown,
            (Reach::Refused | Reach::Foreign(_), Weight::Essential { .. }) => Verdict::Fail,
            (Reach::Filtered(_), Weight::Essential { all_filtered }) if self.concerns_mail(&to.host, all_filtered) => {
                Verdict::Fail
            }
            _ => Verdict::Warn,
        }
    }

    /// From where an Exchange server stands, a filtered port breaks mail when it is a writable controller's of that site,
    /// or when it is filtered on all of the domain's controllers. From elsewhere it only tells about this machine's way.
    fn concerns_mail(&self, host: &str, all_filtered: bool) -> bool {
        let in_our_site = self.estate.controllers.get(host).is_some_and(|controller| {
            controller.site.is_some() && controller.site.as_ref() == self.estate.our_site.agreed()
        });
        self.estate.plan.exchange_vantage && (all_filtered || in_our_site)
    }
}

fn mend(to: &Endpoint, reach: Reach<'_>) -> Vec<String> {
    let Endpoint { host, port, .. } = to;
    match reach {
        Reach::Refused => start_what_listens(host, *port),
        Reach::Foreign(_) => {
            vec![format!("See what answers at {to}: a proxy, a port forwarding, or a wrong address in DNS.")]
        }
        _ => vec![
            format!("Open port {port} to {host} in the firewalls on the way, also from every Exchange server:"),
            format!("    Test-NetConnection {host} -Port {port}"),
        ],
    }
}

/// What brings back the service behind a port that refuses.
fn start_what_listens(host: &str, port: u16) -> Vec<String> {
    let start = |service: &str| {
        vec![format!("On {host}, start the service behind port {port}:"), format!("    Start-Service {service}")]
    };
    match port {
        53 => start("DNS"),
        88 | 464 => start("Kdc"),
        135 => start("RpcSs"),
        389 => start("NTDS"),
        445 => start("LanmanServer"),
        636 | 3269 => vec![
            format!(
                "LDAPS needs a certificate with {host} in it and the key usage Server Authentication. See which there are:"
            ),
            format!(
                "    Invoke-Command {host} {{ Get-ChildItem Cert:\\LocalMachine\\My | Format-List DnsNameList,NotAfter,EnhancedKeyUsageList }}"
            ),
        ],
        3268 => vec![
            "DNS or the controller itself says that it is a global catalog. If it is to be one:".to_string(),
            format!("    repadmin /options {host} +IS_GC"),
            "If not, let it withdraw its records; on it:".to_string(),
            "    nltest /dsregdns".to_string(),
        ],
        _ => vec![format!("On {host}, see what should listen on port {port}, and start it.")],
    }
}
