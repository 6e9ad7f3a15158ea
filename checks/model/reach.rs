//! Can a port be reached? The one rule that every area applies to its own ports.

use crate::facts::net::{KERBEROS_PORT, Transport};
use crate::model::{
    ask::Endpoint,
    estate::Estate,
    evidence::{Answer, Evidence, Miss, Reason, Stage},
    finding::{Finding, Subject, Trouble, Verdict},
    meta::Meta,
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::fmt;

/// What an answer says of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach<'e> {
    /// It answered in its protocol, or said in words that it would not.
    Open,
    /// It takes connections and says nothing.
    Mute(&'e Miss),
    /// The host, or a firewall in its name, says that nothing listens.
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
        match answer {
            Answer::NotAsked => None,
            Answer::Told(..) => Some(Self::Open),
            Answer::Missed(miss) => Some(Self::after(miss)),
        }
    }

    /// Reads it off what went wrong, where nothing was learnt before.
    pub fn after(miss: &'e Miss) -> Self {
        match (&miss.reason, miss.stage) {
            (Reason::NoRoute | Reason::Local(_) | Reason::Interrupted, _) => Self::NotTried(miss),
            (Reason::NotTheProtocol(_), _) => Self::Foreign(miss),
            (Reason::ServerSaid(_), _) => Self::Open,
            (_, Stage::Greet | Stage::Tls | Stage::Bind | Stage::Reply) => Self::Mute(miss),
            (Reason::Refused, _) => Self::Refused,
            _ => Self::Filtered(miss),
        }
    }

    /// For a service of which it is not proven that it answers what we ask: that it takes connections is all it can show.
    pub fn connection_is_enough(self) -> Self {
        if let Self::Mute(_) = self { Self::Open } else { self }
    }

    /// For a port where TLS begins with the first byte: who takes the connection has it open. What comes of the handshake,
    /// the checks of certificates say.
    pub fn hello_is_enough(self) -> Self {
        match self {
            Self::Mute(miss) | Self::Foreign(miss) if miss.stage == Stage::Tls => Self::Open,
            _ => self,
        }
    }
}

impl fmt::Display for Reach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("open"),
            Self::Refused => f.write_str("refused: nothing listens, or a firewall rejects in the host's name"),
            Self::Mute(miss) | Self::Foreign(miss) | Self::Filtered(miss) | Self::NotTried(miss) => miss.fmt(f),
        }
    }
}

/// How much hangs on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Mail stops without it: refused is a Fail from anywhere, filtered only where it surely concerns mail.
    Essential {
        /// It is filtered wherever it was asked.
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
        let finding = Finding::new(self.meta, subject.clone(), self.verdict(to, reach, weight), reach)
            .suspects(Trouble::HostDark(to.host.clone()))
            .suspects(Trouble::Name(to.host.clone()))
            // What a stream cannot reach, a datagram need not be looked into for itself.
            .suspects(Trouble::PortShut(Subject::Port(to.host.clone(), to.port, Transport::Tcp)));
        let finding = match reach {
            Reach::Open | Reach::NotTried(_) => finding,
            // A mute KDC is the trouble of `kerberos-realm`, which asks over both transports.
            Reach::Mute(_) if to.port == KERBEROS_PORT => finding,
            _ => finding.is(Trouble::PortShut(subject)),
        };
        mend(to, transport, reach).into_iter().fold(finding, Finding::remedy).at(to.address)
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
            // Where all are dark, `host-answers` fails for them.
            (Reach::Filtered(_), _) if self.evidence.is_dark(&to.host) => Verdict::Unknown,
            (Reach::Filtered(_), Weight::Essential { all_filtered: true }) if self.estate.plan.exchange_vantage => {
                Verdict::Fail
            }
            (Reach::Mute(_), Weight::Essential { .. }) => Verdict::Unknown,
            (Reach::Refused | Reach::Foreign(_), Weight::Essential { .. }) => Verdict::Fail,
            (Reach::Filtered(_), Weight::Essential { .. }) if self.stands_in_site_of(&to.host) => Verdict::Fail,
            _ => Verdict::Warn,
        }
    }

    /// Do we stand where an Exchange server of the controller's own site stands? What is filtered there breaks mail; so does
    /// what is filtered on all controllers. From elsewhere it only tells about this machine's way.
    fn stands_in_site_of(&self, host: &str) -> bool {
        let site = self.estate.controllers.get(host).and_then(|controller| controller.site.as_ref());
        self.estate.plan.exchange_vantage && self.estate.our_site.values().any(|ours| Some(ours) == site)
    }
}

/// What to do about a port, as far as it is not open.
pub fn mend(to: &Endpoint, transport: Transport, reach: Reach<'_>) -> Vec<String> {
    let Endpoint { host, port, .. } = to;
    match reach {
        Reach::Open => Vec::new(),
        Reach::NotTried(miss) if miss.is_no_route() => Vec::new(),
        Reach::NotTried(_) => vec!["Mend what keeps this machine from asking, and run again.".to_string()],
        Reach::Mute(_) => vec![format!(
            "See on {host} itself whether the service behind port {port} answers; if it does, a proxy stands between."
        )],
        Reach::Refused => refused(host, *port, transport),
        Reach::Foreign(_) => {
            vec![format!("See what answers at {to}: a proxy, a port forwarding, or a wrong address in DNS.")]
        }
        Reach::Filtered(_) => filtered(host, *port, transport),
    }
}

fn filtered(host: &str, port: u16, transport: Transport) -> Vec<String> {
    let open =
        format!("Open {transport} port {port} to {host} in the firewalls on the way, also from every Exchange server:");
    let test = match transport {
        Transport::Tcp => format!("    Test-NetConnection {host} -Port {port}"),
        Transport::Udp => format!("    portqry -n {host} -p udp -e {port}"),
    };
    let tool = "(Test-NetConnection knows no UDP; PortQry is a download of Microsoft's.)".to_string();
    if transport == Transport::Udp { vec![open, test, tool] } else { vec![open, test] }
}

/// What brings back a port that refuses: first whether anything listens, then what ought to.
fn refused(host: &str, port: u16, transport: Transport) -> Vec<String> {
    match port {
        636 | 3269 => {
            return vec![
                format!("LDAPS needs a certificate with {host} in it, for Server Authentication. See which there are:"),
                format!(
                    "    Invoke-Command {host} {{ dir Cert:\\LocalMachine\\My | fl DnsNameList,NotAfter,EnhancedKeyUsageList }}"
                ),
            ];
        }
        3268 => {
            return vec![
                "DNS or the controller itself says that it is a global catalog. If it is to be one:".to_string(),
                format!("    repadmin /options {host} +IS_GC"),
                "If not, let it withdraw its records; on it:".to_string(),
                "    nltest /dsregdns".to_string(),
            ];
        }
        _ => {}
    }
    let listeners = match transport {
        Transport::Tcp => format!("    Get-NetTCPConnection -LocalPort {port} -State Listen"),
        Transport::Udp => format!("    Get-NetUDPEndpoint -LocalPort {port}"),
    };
    let restart = match port {
        25 | 465 | 475 | 587 | 717 | 2525 => {
            "    Get-Service MSExchangeTransport,MSExchangeFrontEndTransport,MSExchangeDelivery | Start-Service"
        }
        53 => "    Restart-Service DNS",
        88 | 464 => "    Restart-Service Kdc",
        389 => "    Restart-Service NTDS -Force",
        445 => "    Restart-Service LanmanServer -Force",
        // RPC cannot be restarted without the machine.
        135 => "    Restart-Computer",
        _ => "    Get-Service | ? Status -ne Running",
    };
    let look = format!("On {host}, see whether anything listens:");
    let then = "If it does, a firewall rejects it in the host's name. If not, bring the service back:";
    [look, listeners, then.to_string(), restart.to_string()].into()
}
