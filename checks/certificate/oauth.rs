//! `certificate-oauth`: is the certificate alive by which servers sign tokens for one another and for Exchange Online?

use crate::{
    facts::{
        certificate::{Certificate, days},
        dns::RecordKind,
        net::Transport,
        web::{HTTPS_PORT, HttpsGet, METADATA_PATH, signing_certificates},
    },
    model::{
        accounts::peers,
        ask::Ask,
        check::{Check, Need},
        clocks::estate_now,
        estate::Estate,
        evidence::{Answer, Evidence, Miss},
        finding::{Finding, Subject, Trouble, Verdict},
        listeners::unresolved_peers,
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use jiff::Timestamp;

/// See the module.
pub struct OAuth;

/// So many addresses of a server are tried, one after the other.
const TRIES: usize = 2;
/// As of every certificate: a month is enough to renew it.
const MONTH: i64 = 30;

static META: Meta = Meta {
    id: "certificate-oauth",
    area: "certificate",
    title: "The Auth certificate lives",
    question: "Is the Auth certificate alive that each server publishes, and the same on all of them?",
    healthy: "every Mailbox server publishes the same one, with more than 30 days of its life left",
    why: "Servers sign with it whatever they ask of Exchange Online, of Teams or of one another on a user's behalf. When it expires after its five years, free/busy and calendars of a hybrid organisation fall silent, and OWA and ECP may refuse logons. Mail itself goes on.",
    remedy: &[
        "See which one is in use, and which servers have it: Get-AuthConfig | fl *Thumbprint,*EffectiveDate",
        "Make the next one, answering No when asked to overwrite the default SMTP certificate: New-ExchangeCertificate -KeySize 2048 -PrivateKeyExportable $true -SubjectName \"CN=Microsoft Exchange Server Auth Certificate\" -FriendlyName \"Microsoft Exchange Server Auth Certificate\" -DomainName @()",
        "Name it as the next one, of a day by which every server has it; it then takes over by itself: Set-AuthConfig -NewCertificateThumbprint <NEW> -NewCertificateEffectiveDate (Get-Date).AddHours(49)",
        "Only where the one in use has expired on every server, put the next one into service at once: Set-AuthConfig -NewCertificateThumbprint <NEW> -NewCertificateEffectiveDate (Get-Date); Set-AuthConfig -PublishCertificate; Set-AuthConfig -ClearPreviousCertificate",
        "Then, on every Mailbox server: Restart-Service MSExchangeServiceHost; iisreset",
        "In a hybrid organisation run the Hybrid Configuration Wizard again, once it has taken over",
    ],
    references: &[
        "Maintain (rotate) the Exchange Server Auth Certificate (Microsoft Learn)",
        "MS-SPS2SAUTH",
        "RFC 7517 section 4.7",
    ],
    symptoms: &["HMACProvider.GetCertificates:protectionCertificates.Length<1", "free/busy shows no information"],
    tier: Tier::Anonymous,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for OAuth {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of = |host: &str| -> Vec<Need> {
            let asks = asks(host, estate, evidence).into_iter();
            asks.map(|ask| Need { subject: Subject::Host(host.to_string()), ask }).collect()
        };
        peers(estate).into_iter().flat_map(of).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let told: BTreeMap<_, _> =
            peers(estate).into_iter().filter_map(|host| Some((host, published(host, estate, evidence)?))).collect();
        let all = told.values().filter_map(|told| if let Published::These(these) = told { Some(these) } else { None });
        // What one server publishes and is alive, the others should know by now: AuthConfig is the organisation's.
        let now = estate_now(estate, evidence);
        let alive = all.flatten().filter(|certificate| certificate.not_before <= now && now <= certificate.not_after);
        let newest = alive.max_by_key(|one| (one.not_before, &one.thumbprint));
        let findings = told.iter().map(|(host, told)| judge(host, told, newest, now));
        findings.chain(unresolved_peers(&META, estate, evidence)).collect()
    }
}

/// One GET a server: of its second address only where the first one does not answer. None before all addresses are known: what is
/// asked must not depend on who was faster.
fn asks(host: &str, estate: &Estate, evidence: &Evidence) -> Vec<Ask> {
    let lookups = [RecordKind::A, RecordKind::Aaaa].map(|kind| estate.lookup(host, kind));
    let mut asks = Vec::new();
    if !lookups.iter().all(|lookup| evidence.holds(lookup)) {
        return asks;
    }
    for to in estate.endpoints(host, HTTPS_PORT).into_iter().take(TRIES) {
        let ask = Ask::new(to, HttpsGet { name: host.to_string(), path: METADATA_PATH.into() });
        let is_silent = matches!(evidence.answer::<HttpsGet>(&ask), Answer::Missed(_));
        asks.push(ask);
        if !is_silent {
            break;
        }
    }
    asks
}

/// What a server publishes.
enum Published {
    These(Vec<Certificate>),
    /// Nothing, with the status.
    Nothing(u16),
    /// The recording has no word of it.
    Unasked,
    /// Something that cannot be read, or that was not heard to its end.
    Unclear(String),
    /// It was not reached, and web clients use it by stated names, or not.
    Unreached {
        miss: Miss,
        is_stated: bool,
    },
}

fn published(host: &str, estate: &Estate, evidence: &Evidence) -> Option<Published> {
    let ask = asks(host, estate, evidence).pop()?;
    Some(match evidence.answer::<HttpsGet>(&ask) {
        Answer::NotAsked if evidence.was_cut_short(host) => {
            Published::Unclear("the run ended before it was asked".into())
        }
        // It is of a version that did not ask yet, and mail does not hang on it.
        Answer::NotAsked => Published::Unasked,
        Answer::Missed(miss) => {
            let is_stated = estate.servers.get(host).is_some_and(|server| !server.web.is_empty());
            Published::Unreached { miss: miss.clone(), is_stated }
        }
        Answer::Told(reply, miss) => match &reply.answer {
            Some(answer) if answer.status == 200 => {
                let found = signing_certificates(&answer.body.0).unwrap_or_default();
                let found: Vec<_> = found.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
                if found.is_empty() {
                    Published::Unclear("it answers, and what it publishes holds no certificate that can be read".into())
                } else {
                    Published::These(found)
                }
            }
            Some(answer) if [401, 403, 404].contains(&answer.status) => Published::Nothing(answer.status),
            Some(answer) => Published::Unclear(format!("it answers with HTTP status {}", answer.status)),
            None => Published::Unclear(miss.map_or_else(|| "it did not answer".into(), ToString::to_string)),
        },
    })
}

fn judge(host: &str, told: &Published, newest: Option<&Certificate>, now: Timestamp) -> Finding {
    let new = |verdict, seen: String| {
        Finding::new(&META, Subject::Host(host.to_string()), verdict, seen)
            .suspects(Trouble::Name(host.to_string()))
            .suspects(Trouble::HostDark(host.to_string()))
            .suspects(Trouble::PortShut(Subject::Port(host.to_string(), HTTPS_PORT, Transport::Tcp)))
    };
    let these = match told {
        Published::These(these) => these,
        Published::Nothing(status @ (401 | 403)) => {
            return new(
                Verdict::Skip,
                format!("it does not show its Auth certificate to strangers (HTTP status {status})"),
            );
        }
        Published::Nothing(status) => {
            return new(Verdict::Skip, format!("it publishes no Auth certificate (HTTP status {status})"));
        }
        Published::Unasked => return new(Verdict::Skip, "the run did not ask for it".into()),
        Published::Unclear(why) => return new(Verdict::Unknown, why.clone()),
        Published::Unreached { miss, is_stated } => {
            let verdict = if *is_stated { Verdict::Unknown } else { Verdict::Skip };
            return new(verdict, format!("{HTTPS_PORT}/tcp: {miss}"));
        }
    };
    let begun = || these.iter().filter(|one| one.not_before <= now);
    // The one before it may be published beside it, long dead; the one after it, not yet born.
    let current = begun().max_by_key(|one| (one.not_after, &one.thumbprint));
    let last = these.iter().map(|one| one.not_after).max().unwrap_or(now);
    let Some(current) = current else {
        let seen = format!("it publishes {} alone, which has not begun to live", these[0].thumbprint);
        return remedy(new(Verdict::Warn, seen).code("not-yet-valid"), "not-yet-valid", host);
    };
    let (thumbprint, ends) = (&current.thumbprint, current.not_after.strftime("%Y-%m-%d"));
    let is_over = current.not_after < now;
    let (code, seen) =
        if let Some(newest) = newest.filter(|newest| begun().all(|one| one.thumbprint != newest.thumbprint)) {
            let since = newest.not_before.strftime("%Y-%m-%d");
            let over = if is_over { format!(", which expired on {ends}") } else { String::new() };
            let other = &newest.thumbprint;
            ("differs", format!("it publishes {thumbprint}{over}, and others {other} (since {since})"))
        } else if is_over {
            let what = "free/busy and calendars, not mail";
            ("expired", format!("its Auth certificate {thumbprint} expired on {ends}: {what}"))
        } else if last.duration_since(now) < (current.lifetime() / 3).min(days(MONTH)) {
            let said = format!("its Auth certificate {thumbprint} lives until {ends}, and none after it is published");
            ("ends-soon", said)
        } else {
            return new(Verdict::Pass, format!("its Auth certificate {thumbprint} lives until {ends}"));
        };
    remedy(new(Verdict::Warn, seen).code(code), code, host)
}

fn remedy(finding: Finding, code: &str, host: &str) -> Finding {
    let [_, make, stage, at_once, restart, hybrid] = META.remedy else { return finding };
    let look = |why: &str| {
        let look =
            "Get-AuthConfig | fl CurrentCertificateThumbprint,NextCertificateThumbprint,NextCertificateEffectiveDate";
        vec![why.to_string(), format!("    {look}")]
    };
    let take_up = || format!("    Invoke-Command {host} {{ {} }}", command(restart));
    let steps = match code {
        "differs" | "not-yet-valid" => [
            look("See which one is meant to be in use:"),
            vec![
                "If this server only has to take it up, let it. One that does not have it yet is given it by MSExchangeServiceHost of the others, in some hours:".to_string(),
                take_up(),
            ],
        ]
        .concat(),
        "ends-soon" => [
            look("See whether a next one is set already; then only wait:"),
            vec![
                "If none is, make it, answering No when asked to overwrite the default SMTP certificate:".to_string(),
                format!("    {}", command(make)),
                "Name it as the next one. Servers are given it meanwhile, and let it take over then by themselves; publish or clear nothing before:".to_string(),
                format!("    {}", command(stage)),
                format!("{hybrid}."),
            ],
        ]
        .concat(),
        _ => [
            look("No server is seen to publish one that is alive. See whether a next one is set already; if so, only publish that (Set-AuthConfig -PublishCertificate):"),
            vec![
                "If none is, make it, answering No when asked to overwrite the default SMTP certificate, and put it into service at once:".to_string(),
                format!("    {}", command(make)),
                format!("    {}", command(at_once)),
                "Then, on every Mailbox server:".to_string(),
                take_up(),
                format!("{hybrid}."),
            ],
        ]
        .concat(),
    };
    steps.into_iter().fold(finding, Finding::remedy)
}

/// The command of a step `what it does: command`.
fn command(step: &str) -> &str {
    step.split_once(": ").map_or(step, |(_, command)| command)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{
            raw::Raw,
            time::Span,
            tls::TlsSeen,
            web::{HttpAnswer, HttpsReply},
        },
        model::{
            ask::Facts,
            connectors::testing::{estate, told, words},
        },
    };
    use base64::{Engine as _, prelude::BASE64_STANDARD};

    const ONE: &[u8] = include_bytes!("../../tests/chains/samples/pinned.der");
    const OTHER: &[u8] = include_bytes!("../../tests/chains/samples/server.der");
    /// Of the same days as the one before.
    const THIRD: &[u8] = include_bytes!("../../tests/chains/samples/authority.der");

    fn answer(status: u16, body: &str) -> HttpAnswer {
        let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
        HttpAnswer { span, status, fields: Vec::new(), body: Raw(body.as_bytes().to_vec()) }
    }

    fn publishes(der: &[u8]) -> HttpAnswer {
        let value = BASE64_STANDARD.encode(der);
        answer(200, &format!(r#"{{"keys":[{{"usage":"signing","keyvalue":{{"value":"{value}"}}}}]}}"#))
    }

    fn judged(ex01: HttpAnswer, ex02: HttpAnswer, now: Timestamp) -> Vec<String> {
        words(found(ex01, ex02, now))
    }

    fn found(ex01: HttpAnswer, ex02: HttpAnswer, now: Timestamp) -> Vec<Finding> {
        let (estate, mut evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        let needs = OAuth.needs(&estate, &evidence);
        assert_eq!(needs.len(), 2);
        for (need, answer) in needs.into_iter().zip([ex01, ex02]) {
            told(
                &mut evidence,
                need.ask,
                Facts::HttpsGet(HttpsReply { tls: TlsSeen::default(), answer: Some(answer) }),
            );
        }
        let mut evidence_of_now = evidence.clone();
        let later = evidence.iter().next().cloned().map(|mut observation| {
            observation.when = now;
            observation
        });
        evidence_of_now.insert(later.unwrap());
        OAuth.judge(&estate, &evidence_of_now)
    }

    #[test]
    fn the_certificate_that_signs_tokens_is_alive_and_one() {
        let certificate = Certificate::parse(ONE).unwrap();
        let day = |after: i64| certificate.not_before + days(1) * i32::try_from(after).unwrap();
        let both = |now| judged(publishes(ONE), publishes(ONE), now);
        assert_eq!(both(day(1)), ["pass ex01.contoso.com", "pass ex02.contoso.com"]);
        let soon = certificate.not_after - days(3);
        assert_eq!(both(soon), ["warn ex01.contoso.com ends-soon", "warn ex02.contoso.com ends-soon"]);
        let late = certificate.not_after + days(3);
        assert_eq!(both(late), ["warn ex01.contoso.com expired", "warn ex02.contoso.com expired"]);
        let early = certificate.not_before - days(3);
        assert_eq!(both(early), ["warn ex01.contoso.com not-yet-valid", "warn ex02.contoso.com not-yet-valid"]);
    }

    #[test]
    fn servers_publish_one() {
        let now = Certificate::parse(OTHER).unwrap().not_before + days(1);
        let found = judged(publishes(OTHER), publishes(THIRD), now);
        let differing: Vec<_> = found.iter().filter(|word| word.ends_with("differs")).collect();
        assert_eq!((differing.len(), found.len()), (1, 2), "{found:?}");
    }

    #[test]
    fn a_server_whose_own_has_expired_takes_up_what_others_publish() {
        let now = Certificate::parse(ONE).unwrap().not_before + days(1);
        assert!(Certificate::parse(OTHER).unwrap().not_after < now);
        let found = found(publishes(OTHER), publishes(ONE), now);
        let remedy = found[0].remedy.join("\n");
        assert_eq!(words(found), ["pass ex02.contoso.com", "warn ex01.contoso.com differs"]);
        assert!(remedy.contains("Invoke-Command ex01.contoso.com { Restart-Service MSExchangeServiceHost; iisreset }"));
        assert!(!remedy.contains("Set-AuthConfig") && !remedy.contains("New-ExchangeCertificate"), "{remedy}");
    }

    #[test]
    fn only_where_none_is_alive_it_is_put_into_service_at_once() {
        let certificate = Certificate::parse(ONE).unwrap();
        let remedy = |now| found(publishes(ONE), publishes(ONE), now)[0].remedy.join("\n");
        let soon = remedy(certificate.not_after - days(3));
        assert!(soon.contains("-NewCertificateEffectiveDate (Get-Date).AddHours(49)"), "{soon}");
        assert!(!soon.contains("-PublishCertificate") && !soon.contains("-Clear"), "{soon}");
        let late = remedy(certificate.not_after + days(3));
        assert!(late.contains("(Get-Date); Set-AuthConfig -PublishCertificate; Set-AuthConfig -Clear"), "{late}");
    }

    #[test]
    fn what_publishes_nothing_is_skipped_and_what_is_no_answer_unknown() {
        let found = judged(answer(404, ""), answer(200, "<html>"), Timestamp::UNIX_EPOCH);
        assert_eq!(found, ["skip ex01.contoso.com", "unknown ex02.contoso.com"]);
        let found = judged(answer(302, ""), answer(404, ""), Timestamp::UNIX_EPOCH);
        assert_eq!(found, ["skip ex02.contoso.com", "unknown ex01.contoso.com"], "sent elsewhere");
        let found = judged(answer(401, ""), answer(503, ""), Timestamp::UNIX_EPOCH);
        assert_eq!(found, ["skip ex01.contoso.com", "unknown ex02.contoso.com"]);
    }
}
