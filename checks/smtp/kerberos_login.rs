//! `smtp-kerberos-login`: the end of the chain: a server takes a ticket for its name, and proves that it holds the key.

use crate::{
    facts::{login::SmtpLoginReply, smtp::Exchange},
    model::{
        ask::Endpoint,
        check::{Check, Need},
        estate::Estate,
        evidence::{Answer, Evidence, Miss},
        finding::{Finding, Subject, Trouble, Verdict},
        listeners::{quote, server_name},
        logins::{self, Place, Proof, Refusal, Service},
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{format, vec::Vec};

/// See the module.
pub struct SmtpKerberosLogin;

static META: Meta = Meta {
    id: "smtp-kerberos-login",
    area: "smtp",
    title: "SMTP takes a Kerberos ticket",
    question: "Asked to prove it (--prove-login), does each server take a Kerberos ticket for its name, and hold the key for it?",
    healthy: "AUTH GSSAPI ends in 235, and the server proves that it holds the key of SMTPSVC/<SERVER>",
    why: "It is what every other check of Kerberos is about, done once: a KDC gives a ticket for SMTPSVC/<SERVER>, and the server reads it, by its own clock. Where that fails, so does every peer, with 454 4.7.0 and event 1035.",
    remedy: &[
        "Another key: see who holds the SPN (setspn -F -Q SMTPSVC/<SERVER'S FULL NAME>); if it is the server alone, on the server:",
        "    Test-ComputerSecureChannel -Verbose",
        "    Reset-ComputerMachinePassword -Server <CONTROLLER> -Credential (Get-Credential)",
        "Its clock: w32tm /config /syncfromflags:domhier /update, then w32tm /resync /rediscover",
        "454 4.7.0: see what it says of itself, and whether it reaches a controller: nltest /server:<SERVER> /sc_verify:<DOMAIN>",
        "Tickets by an old key are kept for hours: klist -li 0x3e7 purge",
    ],
    references: &["Microsoft KB 979174", "RFC 4752", "RFC 4954", "RFC 4121", "RFC 4120 section 7.5.9"],
    symptoms: &[
        "454 4.7.0 Temporary authentication failure",
        "535 5.7.3 Authentication unsuccessful",
        "MSExchangeTransport event 1035",
        "KRB_AP_ERR_MODIFIED (41)",
    ],
    tier: Tier::Proof,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Trace, Basis::Field, Basis::Lab],
};

impl Check for SmtpKerberosLogin {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of_host = |host: &str| {
            let Proof { mut asks, answer, .. } = logins::smtp(host, estate, evidence);
            // SMTP does not say why it refuses, and the website does.
            if answer.facts().is_some_and(|reply| code(reply) == Some(REFUSED) && reply.error.is_none()) {
                asks.extend(logins::of_web(host, estate, evidence).asks);
            }
            logins::needs(host, asks, estate, evidence)
        };
        logins::asked(estate).flat_map(of_host).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let (hosts, others) = logins::servers(&META, estate, evidence);
        hosts.into_iter().map(|host| judge_host(host, estate, evidence)).chain(others).collect()
    }
}

/// The server does not let us in, for whatever reason.
const REFUSED: u16 = 535;

fn code(reply: &SmtpLoginReply) -> Option<u16> {
    reply.verdict().and_then(Exchange::code)
}

fn judge_host(host: &str, estate: &Estate, evidence: &Evidence) -> Finding {
    let proof = logins::smtp(host, estate, evidence);
    if let Some(hindrance) = logins::hindrance(&META, Service::Smtp, host, &proof, estate) {
        return hindrance;
    }
    let to = if let Place::At(to) = &proof.place { Some(to) } else { None };
    match proof.answer {
        Answer::Told(reply, miss) => judge_reply(host, to, reply, miss, estate, evidence),
        answer => logins::broken(&META, host, to, answer.miss()),
    }
}

fn judge_reply(
    host: &str,
    to: Option<&Endpoint>,
    reply: &SmtpLoginReply,
    miss: Option<&Miss>,
    estate: &Estate,
    evidence: &Evidence,
) -> Finding {
    let at = to.map(|to| format!("{}: ", to.port)).unwrap_or_default();
    let finding = |verdict, seen: &str| {
        let finding = Finding::new(&META, Subject::Host(host.into()), verdict, format!("{at}{seen}"));
        finding.at(to.and_then(|to| to.address))
    };
    let said = reply.verdict().map(|exchange| quote(&exchange.lines.join(" "))).unwrap_or_default();
    let spn = Service::Smtp.spn(host);
    if let Some(error) = reply.error {
        return refused(&finding, error, Service::Smtp, host, estate, evidence);
    }
    match code(reply) {
        Some(235) if reply.is_proven => finding(Verdict::Pass, &format!("235, and it holds the key of {spn}")),
        Some(235) => finding(Verdict::Unknown, "it said 235 without proving that it holds the key")
            .code("unproven")
            .remedy(format!(
                "Exchange proves it. See what answers there: Get-ReceiveConnector -Server {} | fl Identity,Bindings",
                server_name(host)
            )),
        Some(454) => temporary(finding(Verdict::Fail, &format!("it said {said}")), host, estate),
        Some(REFUSED) => {
            if let Some(error) = error_of_website(host, estate, evidence) {
                return refused(&finding, error, Service::Web, host, estate, evidence);
            }
            unexplained(finding(Verdict::Warn, &format!("it said {said}, which is no word on why")), host)
        }
        Some(500..=504 | 530 | 538) => {
            finding(Verdict::Skip, &format!("it takes no AUTH GSSAPI here after all: {said}"))
        }
        None if !reply.is_begun() && miss.is_none() => finding(Verdict::Skip, "AUTH GSSAPI is not offered inside TLS"),
        Some(_) if miss.is_none() => finding(Verdict::Unknown, &format!("it said {said}")).code("no-answer"),
        _ => logins::broken(&META, host, to, miss),
    }
}

/// An error of Kerberos, which the server's token held, or that of its website.
fn refused(
    finding: &impl Fn(Verdict, &str) -> Finding,
    error: i64,
    heard_by: Service,
    host: &str,
    estate: &Estate,
    evidence: &Evidence,
) -> Finding {
    let by = if heard_by == Service::Web { "535, and its website says why: " } else { "" };
    let found =
        logins::turned_down(finding, (error, by), Service::Smtp, host, estate, |finding| unexplained(finding, host));
    // With the SPN on the right account alone, it is that account's password which differs.
    let is_of_account = Refusal::of(error) == Refusal::Key
        && logins::is_held_rightly(Service::Smtp, host, estate, evidence) == Some(true);
    if is_of_account { found.is(Trouble::Account(host.into())) } else { found }
}

/// What the server's website said to a ticket for the same account. That of another account would be no word on this one.
fn error_of_website(host: &str, estate: &Estate, evidence: &Evidence) -> Option<i64> {
    let is_of_own = |service| logins::is_held_rightly(service, host, estate, evidence) == Some(true);
    let error = logins::of_web(host, estate, evidence).answer.facts()?.error?;
    let is_told = match Refusal::of(error) {
        Refusal::Clock => true,
        Refusal::Key => is_of_own(Service::Web) && is_of_own(Service::Smtp),
        Refusal::Other => false,
    };
    is_told.then_some(error)
}

fn temporary(finding: Finding, host: &str, estate: &Estate) -> Finding {
    let short = server_name(host);
    logins::suspects(finding.code("temporary"), Service::Smtp, host)
        .remedy("It is what peers hear as well. See what the server says of it, and whether it reaches a controller:")
        .remedy(format!("    Get-WinEvent -ComputerName {short} -MaxEvents 5 -FilterHashtable @{{LogName='Application'; Id=1035}} | fl"))
        .remedy(format!("    nltest /server:{host} /sc_verify:{}", estate.plan.domain))
}

/// Who has no mailbox, or may not submit mail, is refused however good the ticket is.
fn unexplained(finding: Finding, host: &str) -> Finding {
    let spn = Service::Smtp.spn(host);
    logins::suspects(finding.code("refused"), Service::Smtp, host)
        .remedy("It may be this user: who has no mailbox, or for whom SMTP AUTH is switched off, is refused whatever the ticket. See, or run as one who has a mailbox:")
        .remedy("    Get-CASMailbox <USER> | fl SmtpClientAuthenticationDisabled")
        .remedy("    Get-TransportConfig | fl SmtpClientAuthenticationDisabled")
        .remedy("Or the server holds another key. See who holds the SPN, and on the server whether its password is the one of the directory:")
        .remedy(format!("    setspn -F -Q {spn}"))
        .remedy("    Test-ComputerSecureChannel -Verbose")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        logins::testing::{Said, WELL, WELL_ON_WEB, forest, logons},
        testing::{Forest, KdcSays},
    };
    use alloc::string::String;

    const EX01: &str = "ex01.contoso.com";

    /// What is said of ex01, which is all that is wrong.
    fn said(smtp: Said, web: Said) -> Vec<String> {
        forest(smtp, web).troubles(&SmtpKerberosLogin)
    }

    #[test]
    fn each_server_is_asked_once_where_users_log_on() {
        let healthy = forest(WELL, WELL_ON_WEB);
        healthy.assert_steady(&SmtpKerberosLogin);
        let passed = ["ex01.contoso.com pass -", "ex02.contoso.com pass -"];
        assert_eq!(healthy.words(&SmtpKerberosLogin, |_| true), passed);
        let asked = logons(&healthy.learn(&SmtpKerberosLogin).1);
        assert_eq!(asked, ["587 SMTPSVC/ex01.contoso.com", "587 SMTPSVC/ex02.contoso.com"]);
    }

    #[test]
    fn nobody_is_asked_who_was_not_to_be() {
        let mut silent = forest(WELL, WELL_ON_WEB);
        silent.servers_say = None;
        assert!(logons(&silent.learn(&SmtpKerberosLogin).1).is_empty());
        assert_eq!(silent.troubles(&SmtpKerberosLogin).len(), 2);
    }

    #[test]
    fn a_server_that_gets_no_ticket_is_not_asked() {
        let mut forest = forest(WELL, WELL_ON_WEB);
        forest.kdc_says("dc1.contoso.com", "SMTPSVC/ex01.contoso.com", KdcSays::Error(7));
        assert_eq!(forest.troubles(&SmtpKerberosLogin), ["ex01.contoso.com unknown no-ticket"]);
        assert_eq!(logons(&forest.learn(&SmtpKerberosLogin).1), ["587 SMTPSVC/ex02.contoso.com"]);
    }

    #[test]
    fn a_server_of_another_domain_is_left_out() {
        let mut forest = forest(WELL, WELL_ON_WEB);
        forest.kdc_says("dc1.contoso.com", "SMTPSVC/ex01.contoso.com", KdcSays::Refers("CHILD.CONTOSO.COM"));
        assert_eq!(forest.troubles(&SmtpKerberosLogin), Vec::<String>::new());
        let found = forest.finding(&SmtpKerberosLogin, EX01);
        assert!(found.seen.starts_with("its account is in another domain"), "{}", found.seen);
    }

    #[test]
    fn the_server_says_in_its_token_why() {
        assert_eq!(said((535, false, Some(41)), WELL_ON_WEB), ["ex01.contoso.com fail key"]);
        assert_eq!(said((535, false, Some(37)), WELL_ON_WEB), ["ex01.contoso.com fail clock"]);
        assert_eq!(said((535, false, Some(34)), WELL_ON_WEB), ["ex01.contoso.com warn refused"]);
        assert_eq!(said((454, false, None), WELL_ON_WEB), ["ex01.contoso.com fail temporary"]);
        assert_eq!(said((235, false, None), WELL_ON_WEB), ["ex01.contoso.com unknown unproven"]);
        assert!(said((504, false, None), WELL_ON_WEB).is_empty());
    }

    #[test]
    fn where_it_says_nothing_its_website_is_asked() {
        const REFUSED: Said = (535, false, None);
        forest(REFUSED, (401, false, Some(41))).assert_steady(&SmtpKerberosLogin);
        assert_eq!(said(REFUSED, (401, false, Some(41))), ["ex01.contoso.com fail key"]);
        assert_eq!(said(REFUSED, (401, false, Some(37))), ["ex01.contoso.com fail clock"]);
        for web in [WELL_ON_WEB, (401, false, None)] {
            assert_eq!(said(REFUSED, web), ["ex01.contoso.com warn refused"]);
        }
        let mut foreign: Forest = forest(REFUSED, (401, false, Some(41)));
        foreign.user("svc-web", &[("servicePrincipalName", &["HTTP/ex01.contoso.com"])]);
        assert_eq!(
            foreign.troubles(&SmtpKerberosLogin),
            ["ex01.contoso.com warn refused"],
            "a ticket for another account"
        );
    }

    #[test]
    fn a_key_is_the_accounts_only_where_the_spn_is_its_own() {
        let found = forest((535, false, Some(41)), WELL_ON_WEB).finding(&SmtpKerberosLogin, EX01);
        assert_eq!(found.is, Some(Trouble::Account(EX01.into())));
        let reset = "    Reset-ComputerMachinePassword -Server dc1.contoso.com -Credential (Get-Credential)";
        assert!(found.remedy.iter().any(|step| step == reset), "{:?}", found.remedy);
        let mut foreign = forest((535, false, Some(41)), WELL_ON_WEB);
        foreign.take("EX01", "SmtpSvc/ex01.contoso.com");
        foreign.user("svc-relay", &[("servicePrincipalName", &["SMTPSVC/ex01.contoso.com"])]);
        let found = foreign.finding(&SmtpKerberosLogin, EX01);
        assert_eq!((found.code, &found.is), (Some("key"), &None));
        assert!(found.suspects.contains(&Trouble::SpnWrong("SMTPSVC/ex01.contoso.com".into())));
    }
}
