//! `kerberos-realm`: does the KDC behind the port live, and serve this realm?

use crate::{
    facts::{
        dns::{locator, srv_name},
        kerberos::{KdcAnswer, KdcReply, KrbError, describe_error},
        net::{KERBEROS_PORT, Transport},
    },
    model::{
        ask::{Ask, Endpoint},
        check::{Check, Need},
        estate::Estate,
        evidence::{Answer, Evidence, Miss, Reason, Stage},
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{format, vec::Vec};

/// See the module.
pub struct Realm;

const SERVICE_UNAVAILABLE: i64 = 29;
const GENERIC: i64 = 60;
const WRONG_REALM: i64 = 68;

static META: Meta = Meta {
    id: "kerberos-realm",
    area: "kerberos",
    title: "KDCs serve the realm",
    question: "Does the KDC of each controller live and serve the domain's realm?",
    healthy: "the KDC answers for the domain's realm",
    why: "An open port is no KDC. A controller whose KDC has stopped, or serves another realm, hands out no tickets, and servers that pick it cannot authenticate.",
    remedy: &[
        "KDC stopped behind an open port: Restart-Service Kdc, then look into the System log for source KDC",
        "Another realm: the SRV or address records of <DC> lead to a controller of another domain",
        "29, service unavailable: see whether the controller reaches its own directory and, for an RODC, its hub: nltest /sc_verify:<DOMAIN>",
    ],
    references: &["RFC 4120 section 7.5.9", "MS-KILE section 3.3.5.6"],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "KDC_ERR_WRONG_REALM (68)",
        "KDC_ERR_SVC_UNAVAILABLE (29)",
    ],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Trace, Basis::Lab],
};

impl Check for Realm {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, _: &Evidence) -> Vec<Need> {
        let mut needs = Vec::new();
        for host in estate.controllers.keys() {
            for to in estate.endpoints(host, KERBEROS_PORT) {
                for transport in [Transport::Tcp, Transport::Udp] {
                    let ask = Ask::new(to.clone(), estate.as_req(transport));
                    needs.push(Need { subject: Subject::Host(host.clone()), ask });
                }
            }
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let kdcs: Vec<_> = estate.controllers.keys().flat_map(|host| estate.endpoints(host, KERBEROS_PORT)).collect();
        let heard: Vec<_> = kdcs.iter().map(|to| Heard::from(to, estate, evidence)).collect();
        let ordinary = heard.iter().filter(|heard| heard.codes().any(|error| !is_peculiar(error))).count();
        let over_tcp = heard.iter().filter(|heard| matches!(heard.tcp, Some(KdcAnswer::Error(_)))).count();
        let peers = Peers { answer_ordinarily: ordinary > 0, answer_over_tcp: over_tcp > 0 };
        heard.iter().filter_map(|heard| Some(judge_kdc(heard, peers, estate, evidence)?.at(heard.to.address))).collect()
    }
}

/// What one KDC answered.
struct Heard<'a> {
    to: &'a Endpoint,
    tcp: Option<KdcAnswer>,
    udp: Option<KdcAnswer>,
    tcp_miss: Option<&'a Miss>,
}

/// What the domain's KDCs do, by which one of them stands out. That every KDC answers a request without a name, and how,
/// is known only of those that were seen; it convicts one only beside others.
#[derive(Clone, Copy)]
struct Peers {
    answer_ordinarily: bool,
    answer_over_tcp: bool,
}

impl<'a> Heard<'a> {
    fn from(to: &'a Endpoint, estate: &Estate, evidence: &'a Evidence) -> Self {
        let [tcp, udp] = [Transport::Tcp, Transport::Udp].map(|transport| evidence.get(to, &estate.as_req(transport)));
        let answer = |told: &Answer<'_, KdcReply>| told.facts().map(KdcReply::answer);
        Self { to, tcp: answer(&tcp), udp: answer(&udp), tcp_miss: tcp.miss() }
    }

    fn answers(&self) -> impl Iterator<Item = &KdcAnswer> {
        self.tcp.iter().chain(&self.udp).filter(|answer| **answer != KdcAnswer::NotKerberos)
    }

    fn codes(&self) -> impl Iterator<Item = &KrbError> {
        self.answers().filter_map(|answer| if let KdcAnswer::Error(error) = answer { Some(error) } else { None })
    }
}

fn judge_kdc(heard: &Heard<'_>, peers: Peers, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let subject = Subject::Host(heard.to.host.clone());
    let is_read_only = estate.controllers.get(&heard.to.host).is_some_and(|controller| controller.is_read_only);
    if is_read_only && heard.answers().next().is_none() {
        let seen = "it did not answer; a read-only controller, which Exchange does not use";
        return Some(Finding::new(&META, subject, Verdict::Skip, seen));
    }
    if let Some(mute) = judge_mute_tcp(heard, peers) {
        return Some(mute);
    }
    // Where TCP and UDP answer differently, the answer that says more against the KDC counts.
    match heard.codes().max_by_key(|error| (is_foreign(error, estate), is_peculiar(error))) {
        Some(error) => Some(judge_error(subject, heard.to, error, peers, estate)),
        None if heard.answers().next().is_some() => {
            Some(Finding::new(&META, subject, Verdict::Pass, "the KDC answers for the realm"))
        }
        None => judge_silence(subject, heard, evidence),
    }
}

/// It says that it serves another realm, and names it.
fn is_foreign(error: &KrbError, estate: &Estate) -> bool {
    error.code == WRONG_REALM && !error.realm.eq_ignore_ascii_case(&estate.plan.domain)
}

/// Not what a KDC in good health is known to answer; but some may answer every request without a name so.
fn is_peculiar(error: &KrbError) -> bool {
    matches!(error.code, SERVICE_UNAVAILABLE | GENERIC | WRONG_REALM)
}

fn judge_error(subject: Subject, to: &Endpoint, error: &KrbError, peers: Peers, estate: &Estate) -> Finding {
    let realm = estate.plan.domain.to_uppercase();
    let code = format!("KRB-ERROR {}, {}", error.code, describe_error(error.code));
    if is_foreign(error, estate) {
        return Finding::new(&META, subject, Verdict::Fail, format!("{code}; it serves {}", error.realm))
            .expected(format!("it serves {realm}"))
            .suspects(Trouble::Name(to.host.clone()))
            .remedy(format!("{} is no controller of this domain: correct its SRV and address records.", to.host))
            .remedy(format!("    nslookup -type=SRV {}", srv_name(locator::KDCS, &estate.plan.domain)));
    }
    let stands_out = error.code == SERVICE_UNAVAILABLE || (is_peculiar(error) && peers.answer_ordinarily);
    if stands_out {
        return Finding::new(&META, subject, Verdict::Warn, code)
            .suspects(Trouble::ClockOff(to.host.clone()))
            .remedy(format!("See whether {} reaches its own directory and its partners:", to.host))
            .remedy(format!("    dcdiag /s:{}", to.host))
            .remedy("and what its System log says under Kerberos-Key-Distribution-Center.");
    }
    Finding::new(
        &META,
        subject,
        Verdict::Pass,
        format!("the KDC answers for {realm} (our request without a name with {code})"),
    )
}

/// Port 88 takes connections and nothing comes: a KDC that is down behind its port, if KDCs do answer over TCP, or if this
/// very one answers over UDP.
fn judge_mute_tcp(heard: &Heard<'_>, peers: Peers) -> Option<Finding> {
    let host = &heard.to.host;
    let miss = heard.tcp_miss.filter(|miss| miss.stage > Stage::Connect && is_silence(&miss.reason))?;
    let port = Subject::Port(host.clone(), KERBEROS_PORT, Transport::Tcp);
    let is_known_to_answer = peers.answer_over_tcp || heard.udp.is_some();
    let verdict = if is_known_to_answer { Verdict::Fail } else { Verdict::Unknown };
    Some(
        Finding::new(
            &META,
            Subject::Host(host.clone()),
            verdict,
            format!("port 88 takes connections, but no KDC answers ({miss})"),
        )
        .is(Trouble::PortShut(port))
        .remedy(format!("On {host}, restart the KDC and look into the System log:"))
        .remedy("    Restart-Service Kdc"),
    )
}

fn is_silence(reason: &Reason) -> bool {
    matches!(reason, Reason::Silent | Reason::Closed)
}

/// Nothing of Kerberos came back, and the port took no connection either.
fn judge_silence(subject: Subject, heard: &Heard<'_>, evidence: &Evidence) -> Option<Finding> {
    let miss = heard.tcp_miss.filter(|miss| !miss.is_no_route() && !evidence.is_dead_address(heard.to))?;
    let host = heard.to.host.clone();
    Some(
        Finding::new(&META, subject, Verdict::Unknown, format!("{KERBEROS_PORT}: {miss}"))
            .suspects(Trouble::HostDark(host.clone()))
            .suspects(Trouble::PortShut(Subject::Port(host, KERBEROS_PORT, Transport::Tcp)))
            .remedy("Run from a place that reaches port 88 of the controller, or open it on the way."),
    )
}
