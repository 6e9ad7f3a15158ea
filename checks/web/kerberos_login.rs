//! `web-kerberos-login`: a website takes a ticket for the server's name, as front ends of other servers hand it one.

use crate::{
    facts::login::HttpLoginReply,
    model::{
        ask::Endpoint,
        check::{Check, Need},
        estate::Estate,
        evidence::{Answer, Evidence, Miss},
        finding::{Finding, Subject, Trouble, Verdict},
        logins::{self, Place, Service},
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{format, vec::Vec};

/// See the module.
pub struct WebKerberosLogin;

static META: Meta = Meta {
    id: "web-kerberos-login",
    area: "web",
    title: "Websites take a Kerberos ticket",
    question: "Asked to prove it (--prove-login), does each server's website take a Kerberos ticket for its name, and hold the key for it?",
    healthy: "Negotiate is answered with a token by which the website proves that it holds the key of HTTP/<SERVER>",
    why: "Front ends log on to the back ends of other servers with a ticket for HTTP/<SERVER>. Where that fails, clients see the front end refuse them whoever they are.",
    remedy: &[
        "Another key: see who holds the SPN (setspn -F -Q HTTP/<SERVER'S FULL NAME>, and HOST, which stands for it); if it is the server alone, on the server:",
        "    Test-ComputerSecureChannel -Verbose",
        "    Reset-ComputerMachinePassword -Server <CONTROLLER> -Credential (Get-Credential)",
        "Its clock: w32tm /config /syncfromflags:domhier /update, then w32tm /resync /rediscover",
        "Extended Protection refuses whoever comes through a device that ends TLS with another certificate: .\\ExchangeExtendedProtectionManagement.ps1 -ShowExtendedProtection",
    ],
    references: &[
        "RFC 4559",
        "RFC 5929 section 4",
        "MS-SPNG",
        "RFC 4120 section 7.5.9",
        "Configure Windows Extended Protection in Exchange Server (Microsoft Learn)",
    ],
    symptoms: &["MSExchange OWA event 71", "KRB_AP_ERR_MODIFIED (41)", "Kerberos event 4"],
    tier: Tier::Proof,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

impl Check for WebKerberosLogin {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of_host = |host: &str| logins::needs(host, logins::of_web(host, estate, evidence).asks, estate, evidence);
        logins::asked(estate).flat_map(of_host).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let (hosts, others) = logins::servers(&META, estate, evidence);
        hosts.into_iter().map(|host| judge_host(host, estate, evidence)).chain(others).collect()
    }
}

fn judge_host(host: &str, estate: &Estate, evidence: &Evidence) -> Finding {
    let proof = logins::of_web(host, estate, evidence);
    if let Some(hindrance) = logins::hindrance(&META, Service::Web, host, &proof, estate) {
        return hindrance;
    }
    let to = if let Place::At(to) = &proof.place { Some(to) } else { None };
    match proof.answer {
        Answer::Told(reply, miss) => judge_reply(host, to, reply, miss, estate),
        answer => logins::broken(&META, host, to, answer.miss()),
    }
}

fn judge_reply(
    host: &str,
    to: Option<&Endpoint>,
    reply: &HttpLoginReply,
    miss: Option<&Miss>,
    estate: &Estate,
) -> Finding {
    let at = to.map(|to| format!("{}: ", to.port)).unwrap_or_default();
    let finding = |verdict, seen: &str| {
        let finding = Finding::new(&META, Subject::Host(host.into()), verdict, format!("{at}{seen}"));
        finding.at(to.and_then(|to| to.address))
    };
    let spn = Service::Web.spn(host);
    if reply.is_proven {
        let status = reply.answer.answer.as_ref().map(|answer| format!("{}, and ", answer.status)).unwrap_or_default();
        return finding(Verdict::Pass, &format!("{status}it holds the key of {spn}"));
    }
    if let Some(error) = reply.error {
        let unexplained = |finding| unexplained(finding, host);
        return logins::turned_down(&finding, (error, ""), Service::Web, host, estate, unexplained);
    }
    match (&reply.answer.answer, miss) {
        (Some(answer), None) if answer.status == 401 => {
            unexplained(finding(Verdict::Warn, "401, which is no word on why"), host)
        }
        (Some(answer), None) => {
            let seen = format!("it said {} without proving that it holds the key", answer.status);
            finding(Verdict::Unknown, &seen).code("unproven")
        }
        _ => logins::broken(&META, host, to, miss),
    }
}

/// Extended Protection says nothing but 401, and so do others.
fn unexplained(finding: Finding, host: &str) -> Finding {
    let spn = Service::Web.spn(host);
    logins::suspects(finding.code("refused"), Service::Web, host)
        .suspects(Trouble::Name(host.into()))
        .remedy("If a device between this machine and the server ends TLS with another certificate, Extended Protection refuses everybody who comes through it. See what it is set to:")
        .remedy("    .\\ExchangeExtendedProtectionManagement.ps1 -ShowExtendedProtection")
        .remedy("Or the server holds another key. See who holds the SPN (HOST stands for it where nobody does), and on the server whether its password is the one of the directory:")
        .remedy(format!("    setspn -F -Q {spn}"))
        .remedy("    Test-ComputerSecureChannel -Verbose")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::logins::testing::{Said, WELL, WELL_ON_WEB, forest, logons};
    use alloc::string::String;

    fn said(web: Said) -> Vec<String> {
        forest(WELL, web).troubles(&WebKerberosLogin)
    }

    #[test]
    fn each_website_is_asked_once() {
        let healthy = forest(WELL, WELL_ON_WEB);
        healthy.assert_steady(&WebKerberosLogin);
        let passed = ["ex01.contoso.com pass -", "ex02.contoso.com pass -"];
        assert_eq!(healthy.words(&WebKerberosLogin, |_| true), passed);
        let asked = logons(&healthy.learn(&WebKerberosLogin).1);
        assert_eq!(asked, ["443 HTTP/ex01.contoso.com", "443 HTTP/ex02.contoso.com"]);
    }

    #[test]
    fn a_proof_counts_whatever_the_status() {
        assert!(said((401, true, None)).is_empty());
        assert!(said((500, true, None)).is_empty());
        assert_eq!(said((200, false, None)), ["ex01.contoso.com unknown unproven"]);
    }

    #[test]
    fn only_an_error_of_kerberos_fails() {
        assert_eq!(said((401, false, Some(41))), ["ex01.contoso.com fail key"]);
        assert_eq!(said((401, false, Some(33))), ["ex01.contoso.com fail clock"]);
        assert_eq!(said((401, false, Some(60))), ["ex01.contoso.com warn refused"]);
        assert_eq!(said((401, false, None)), ["ex01.contoso.com warn refused"]);
    }
}
