//! `clock-source`: a controller hands out time; does it have any?

use crate::{
    facts::{
        net::NTP_PORT,
        ntp::{NtpHeader, NtpTime},
    },
    model::{
        ask::Ask,
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Source;

static META: Meta = Meta {
    id: "clock-source",
    area: "clock",
    title: "Controllers follow a time source",
    question: "Does each controller's time service say that it is synchronised?",
    healthy: "a synchronised time service: leap indicator 0 to 2, stratum 1 to 15",
    why: "Members take their time from controllers. A controller that follows nobody runs free, and takes its site along until Kerberos fails.",
    remedy: &[
        "See what it follows: w32tm /query /status /verbose",
        "On the forest root's PDC emulator: w32tm /config /manualpeerlist:\"<NTP SERVER>,0x8\" /syncfromflags:manual /reliable:yes /update",
        "On any other controller: w32tm /config /syncfromflags:domhier /update",
        "Then: w32tm /resync /rediscover",
    ],
    references: &["RFC 5905 section 7.3", "RFC 5905 section 7.4", "MS-SNTP section 3.2.5"],
    symptoms: &["W32Time events 36, 47, 50, 129"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Source {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, _: &Evidence) -> Vec<Need> {
        let mut needs = Vec::new();
        for host in estate.controllers.keys() {
            for to in estate.endpoints(host, NTP_PORT) {
                needs.push(Need { subject: Subject::Host(host.clone()), ask: Ask::new(to, NtpTime) });
            }
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let endpoints = estate.controllers.keys().flat_map(|host| estate.endpoints(host, NTP_PORT));
        let judged = endpoints.filter_map(|to| {
            let header = evidence.get(&to, &NtpTime).facts()?.header()?;
            Some(judge_header(&to.host, &header, estate).at(to.address))
        });
        judged.collect()
    }
}

fn judge_header(host: &str, header: &NtpHeader, estate: &Estate) -> Finding {
    let subject = Subject::Host(host.to_string());
    let Some(trouble) = trouble(header) else {
        return Finding::new(&META, subject, Verdict::Pass, format!("stratum {}, synchronised", header.stratum));
    };
    let configure = if estate.time_root() == Some(host) {
        "    w32tm /config /manualpeerlist:\"<NTP SERVER>,0x8\" /syncfromflags:manual /reliable:yes /update"
    } else {
        "    w32tm /config /syncfromflags:domhier /update"
    };
    Finding::new(&META, subject, Verdict::Warn, trouble)
        .suspects(Trouble::ClockOff(host.to_string()))
        .remedy(format!("On {host}, see what its time service follows, and give it a source again:"))
        .remedy("    w32tm /query /status /verbose")
        .remedy(configure)
        .remedy("    w32tm /resync /rediscover")
}

fn trouble(header: &NtpHeader) -> Option<String> {
    const UNSYNCHRONISED: u8 = 3;
    if let Some(code) = header.kiss_code() {
        return Some(format!("it refuses to serve time (kiss-o'-death {code})"));
    }
    let free = header.leap == UNSYNCHRONISED || !(1..=15).contains(&header.stratum);
    free.then(|| {
        let (leap, stratum) = (header.leap, header.stratum);
        format!("it says of itself that it is not synchronised (leap indicator {leap}, stratum {stratum})")
    })
}
