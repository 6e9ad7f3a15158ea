//! `kerberos-realm`: does the KDC behind the port live, and serve this realm?

use crate::{
    facts::{
        kerberos::{AsReq, KdcAnswer, KdcReply, KrbError, describe_error},
        net::Transport,
    },
    model::{
        ask::{Ask, Endpoint},
        cause::Trouble,
        check::{Basis, Check, Meta, Need},
        clocks::{KERBEROS_PORT, as_req},
        estate::Estate,
        evidence::{Answer, Evidence, Reason, Stage},
        finding::{Finding, Fold, Subject, Verdict},
    },
};
use alloc::{format, vec::Vec};

/// See the module.
pub struct Realm;

const SERVICE_UNAVAILABLE: i64 = 29;
const CLOCK_SKEW: i64 = 37;
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
                    let ask = Ask::new(to.clone(), as_req(estate, transport));
                    needs.push(Need { subject: Subject::Host(host.clone()), ask });
                }
            }
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let kdcs = estate.controllers.keys().flat_map(|host| estate.endpoints(host, KERBEROS_PORT));
        kdcs.filter_map(|to| Some(judge_kdc(&to, estate, evidence)?.at(to.address))).collect()
    }
}

fn judge_kdc(to: &Endpoint, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let subject = Subject::Host(to.host.clone());
    let answers = [Transport::Tcp, Transport::Udp].map(|transport| evidence.get(to, &as_req(estate, transport)));
    let told = answers
        .iter()
        .filter_map(super::super::model::evidence::Answer::facts)
        .map(super::super::facts::kerberos::KdcReply::answer);
    match told.filter(|answer| *answer != KdcAnswer::NotKerberos).min_by_key(weight) {
        Some(KdcAnswer::Error(error)) => Some(judge_error(subject, to, &error, estate, evidence)),
        Some(_) => Some(Finding::new(&META, subject, Verdict::Pass, "it answers")),
        None => judge_silence(subject, to, &answers[0], evidence),
    }
}

/// Where TCP and UDP answer differently, the answer that says more against the KDC counts.
fn weight(answer: &KdcAnswer) -> u8 {
    match answer {
        KdcAnswer::Error(KrbError { code: WRONG_REALM, .. }) => 0,
        KdcAnswer::Error(KrbError { code: SERVICE_UNAVAILABLE | GENERIC, .. }) => 1,
        _ => 2,
    }
}

fn judge_error(subject: Subject, to: &Endpoint, error: &KrbError, estate: &Estate, evidence: &Evidence) -> Finding {
    let realm = estate.plan.domain.to_uppercase();
    let seen = format!("KRB-ERROR {} ({})", error.code, describe_error(error.code));
    match error.code {
        WRONG_REALM => Finding::new(&META, subject, Verdict::Fail, format!("{seen}; it serves {}", error.realm))
            .expected(format!("it serves {realm}"))
            .suspects(Trouble::Name(to.host.clone()))
            .remedy(format!("{} is no controller of this domain: correct its SRV and address records.", to.host))
            .remedy(format!("    nslookup -type=SRV _kerberos._tcp.dc._msdcs.{}", estate.plan.domain)),
        SERVICE_UNAVAILABLE => Finding::new(&META, subject, Verdict::Warn, seen)
            .suspects(Trouble::ClockOff(to.host.clone()))
            .remedy(format!("On {}, see whether it reaches its own directory and its partners:", to.host))
            .remedy(format!("    dcdiag /s:{}", to.host)),
        // Some KDCs answer a request without a name so; it tells about one only where another answers differently.
        GENERIC if others_differ(to, estate, evidence) => Finding::new(&META, subject, Verdict::Warn, seen)
            .suspects(Trouble::ClockOff(to.host.clone()))
            .remedy(format!("Look into the System log of {} for source Kerberos-Key-Distribution-Center.", to.host)),
        CLOCK_SKEW => Finding::new(&META, subject, Verdict::Warn, seen).suspects(Trouble::ClockOff(to.host.clone())),
        _ => Finding::new(&META, subject, Verdict::Pass, seen),
    }
}

fn others_differ(to: &Endpoint, estate: &Estate, evidence: &Evidence) -> bool {
    let others = evidence.all::<AsReq>().filter(|(ask, question, _)| {
        ask.to.host != to.host
            && estate.controllers.contains_key(&ask.to.host)
            && question.realm == estate.plan.domain.to_uppercase()
    });
    let mut answers = others.filter_map(|(.., answer)| Some(answer.facts()?.answer()));
    answers.any(|answer| matches!(answer, KdcAnswer::Error(KrbError { code, .. }) if code != GENERIC))
}

/// Neither transport brought an answer of Kerberos; `tcp` tells whether a KDC ought to be there.
fn judge_silence(subject: Subject, to: &Endpoint, tcp: &Answer<'_, KdcReply>, evidence: &Evidence) -> Option<Finding> {
    let miss = tcp.miss()?;
    if miss.is_no_route() || evidence.is_dead_address(to) {
        return None;
    }
    let is_mute = miss.stage > Stage::Connect && matches!(miss.reason, Reason::Silent | Reason::Closed);
    // That every KDC answers a request without a name is known of those that were seen. It convicts one that is silent
    // only beside one that speaks.
    let others_speak =
        evidence.all::<AsReq>().any(|(ask, _, answer)| ask.to.host != to.host && answer.facts().is_some());
    if is_mute && others_speak {
        return Some(
            Finding::new(
                &META,
                subject,
                Verdict::Fail,
                format!("port 88 takes connections, but no KDC answers ({miss})"),
            )
            .remedy(format!("On {}, restart the KDC and look into the System log:", to.host))
            .remedy("    Restart-Service Kdc"),
        );
    }
    Some(
        Finding::new(&META, subject, Verdict::Unknown, miss)
            .suspects(Trouble::HostDark(to.host.clone()))
            .suspects(Trouble::PortShut(Subject::Port(to.host.clone(), KERBEROS_PORT, Transport::Tcp))),
    )
}
