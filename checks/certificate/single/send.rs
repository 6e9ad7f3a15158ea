//! Which certificate goes out by the send connectors that face outside: the trap of KB 2888788, and source servers that differ.

use super::{
    META,
    mend::{mend, right_elsewhere},
};
use crate::{
    facts::protocol_log::SendSession,
    model::{
        clocks::estate_now,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Verdict},
        listeners::quote,
        outgoing::{
            Outgoing, Presented, at_work, enabled, holders, how_to_tell, outgoing, pin_to, presented, restarted,
            together,
        },
        selection::{By, bears, names_of},
        stock::{Standing, Stock, Stocked, stocks},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// Each of them of which anybody tells.
pub(super) fn judge(estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
    let stocks = stocks(estate, evidence);
    let connectors = outgoing(estate);
    let outward = connectors.iter().filter(|connector| connector.is_enabled && connector.faces_outside(estate));
    outward.filter_map(|connector| judge_one(connector, &stocks, estate, evidence)).collect()
}

/// The client's side of a send connector that faces outside. `None` where no export, log or supposition tells of any of its servers.
fn judge_one(
    connector: &Outgoing,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
    evidence: &Evidence,
) -> Option<Finding> {
    let presented = presented(connector, stocks, estate, evidence);
    let (at_work, away) = at_work(&presented);
    let (told, untold): (Vec<_>, Vec<_>) = at_work.into_iter().partition(|one| one.is_told());
    let new = |verdict, seen: String| Finding::new(&META, connector.subject(), verdict, seen);
    let is_looked_at = connector.is_looked_at(estate);
    // Where nobody looks, it is nothing to speak of that nobody tells.
    let open = if is_looked_at { Verdict::Unknown } else { Verdict::Skip };
    let of_untold = || untold.iter().map(|one| (one.host.as_str(), one.why_untold()));
    if told.is_empty() {
        // Which of those in the exports is shown hangs on whether the connector names one.
        let is_left_open = !connector.pin.is_read() && untold.iter().any(|one| one.is_chosen_from_all());
        return is_left_open.then(|| {
            new(open, together(of_untold())).remedy(
                "Give an export of the send connectors by --input; exchange-preflight explain inputs has the command.",
            )
        });
    }
    let of_away = || {
        let shown: BTreeSet<_> = told.iter().filter_map(|one| Some(&one.shows()?.thumbprint)).collect();
        let has = |one: &Presented<'_>, thumbprint: &String| {
            one.stock.is_some_and(|stock| stock.certificates.contains_key(thumbprint))
        };
        let is_ready = move |one: &Presented<'_>| shown.iter().all(|thumbprint| has(one, thumbprint));
        away.iter().map(move |one| (one.host.as_str(), one.why_away(is_ready(one))))
    };
    let traps = told.iter().filter_map(|one| trap(connector, one, is_looked_at)).collect::<Vec<_>>();
    if let Some(worst) = traps.iter().max_by_key(|trap| trap.verdict) {
        let said = traps.iter().map(|trap| (trap.host, trap.said.clone())).chain(of_untold()).chain(of_away());
        let finding = new(worst.verdict, together(said)).code(worst.code);
        let elsewhere = right_elsewhere(connector, &traps, stocks, estate_now(estate, evidence));
        let steps = mend(connector, &traps, elsewhere, stocks, estate);
        return Some(steps.into_iter().fold(finding, Finding::remedy));
    }
    if let Some(differing) = differing(&told).filter(|_| is_looked_at) {
        return Some(differ(connector, &differing, of_away(), stocks, estate));
    }
    let shows = told.iter().filter_map(|one| Some((one.host.as_str(), shown(one)?)));
    let shows: Vec<_> = shows.chain(of_away()).collect();
    let seldom = if is_looked_at { "" } else { "; peers of this connector seldom look at it" };
    // A connector that names one is held against that elsewhere.
    if connector.pin.value().is_none() && !untold.is_empty() {
        let how = how_to_tell(&untold, estate);
        if is_looked_at {
            return Some(how.into_iter().fold(new(open, together(of_untold())), Finding::remedy));
        }
        return Some(new(open, format!("{}{seldom}", together(shows.into_iter().chain(of_untold())))));
    }
    let said = if shows.is_empty() {
        "none of a private authority is in the way on its servers".to_string()
    } else {
        format!("{}{seldom}", together(shows))
    };
    Some(new(Verdict::Pass, said))
}

/// What one server shows, and why.
fn shown(one: &Presented<'_>) -> Option<String> {
    let name = |one: &Stocked| format!("{} ({})", one.thumbprint, quote(one.called()));
    let stale = one.stale_words();
    if let Some(shown) = one.shows() {
        let why = if one.was_shown().is_some() { "its log says".into() } else { one.selected.as_ref()?.words() };
        return Some(format!("{} is shown: {why}{stale}", name(shown)));
    }
    let selected = one.selected.as_ref().filter(|_| one.is_chosen_from_all())?;
    let any: Vec<_> = selected.candidates().into_iter().map(name).collect();
    let any = if any.is_empty() { "none".to_string() } else { format!("one of {}", any.join(", ")) };
    Some(format!("{any} is shown: {}{stale}", selected.words()))
}

/// What is wrong with what one source server of a send connector shows.
pub(super) struct Trap<'s> {
    pub(super) verdict: Verdict,
    pub(super) code: &'static str,
    said: String,
    pub(super) host: &'s str,
    /// The one that peers outside need not trust.
    pub(super) wrong: Option<&'s Stocked>,
    /// The one to be shown instead.
    pub(super) right: Option<&'s Stocked>,
}

/// The trap of KB 2888788: a certificate that the server trusts, and the other end does not. It breaks mail where the other end looks
/// at it; that Exchange Online does, and others seldom.
fn trap<'s>(connector: &Outgoing, one: &'s Presented<'s>, is_looked_at: bool) -> Option<Trap<'s>> {
    let host = one.host.as_str();
    let matters = if connector.is_to_exchange_online() { Verdict::Fail } else { Verdict::Warn };
    let selected = one.selected.as_ref().filter(|_| one.is_chosen_from_all());
    let fit: Vec<_> =
        selected.iter().flat_map(|it| it.candidates().into_iter().chain(it.others.iter().copied())).collect();
    let stands = |standing: Standing| move |one: &&Stocked| one.standing == standing;
    let is_over = |one: &Stocked| selected.is_some_and(|selected| selected.is_expired(one));
    let is_usable = |one: &&Stocked| one.has_key != Some(false) && !is_over(one);
    let passed_over = fit
        .iter()
        .copied()
        .filter(|one| one.serves_smtp != Some(false) && is_usable(one))
        .find(stands(Standing::Public));
    let public = |wrong: Option<&Stocked>| {
        let others = one.stock.into_iter().flat_map(|stock| stock.certificates.values());
        let alike = |other: &&Stocked| wrong.is_some_and(|wrong| names_of(wrong).any(|name| bears(other, &name)));
        let usable = others.filter(is_usable).filter(stands(Standing::Public)).filter(alike);
        passed_over.or_else(|| usable.max_by_key(|other| (other.not_before, &other.thumbprint)))
    };
    let name = |one: &Stocked| format!("{} of {}", one.thumbprint, quote(&one.issuer.text));
    if let Some((session, said)) = one.logged.filter(|_| !one.is_answer_stale).and_then(refused) {
        let wrong = one.was_shown();
        let is_untrusted = wrong.is_some_and(|one| matches!(one.standing, Standing::Private | Standing::SelfSigned));
        let is_reply = session.replies.iter().any(|reply| reply == said);
        let is_sure = is_reply || is_untrusted && connector.is_to_exchange_online();
        let shown = wrong.map(name);
        let said = if is_sure {
            let shown = shown.map_or_else(String::new, |shown| format!(", having shown {shown}"));
            format!("refused{shown}: {}", quote(said))
        } else {
            remark(session, said, shown)
        };
        return Some(Trap {
            verdict: if is_sure { Verdict::Fail } else { Verdict::Warn },
            code: "untrusted-refused",
            said,
            host,
            wrong,
            right: public(wrong),
        });
    }
    if !is_looked_at {
        return None;
    }
    if let Some(wrong) = one.was_shown().filter(|shown| shown.standing == Standing::Private) {
        let said = format!("by its log it showed {}, which is of a private authority", name(wrong));
        return Some(Trap {
            verdict: matters,
            code: "untrusted-first",
            said,
            host,
            wrong: Some(wrong),
            right: public(Some(wrong)),
        });
    }
    let selected = selected?;
    let chosen = selected.candidates();
    if let Some(wrong) = chosen.iter().copied().find(stands(Standing::Private)) {
        let is_sure = chosen.len() == 1 && (selected.is_certain || one.is_supposed);
        let verdict = if is_sure { matters } else { Verdict::Warn };
        let said = format!("it shows {}, which is of a private authority: {}", name(wrong), selected.words());
        return Some(Trap {
            verdict,
            code: "untrusted-first",
            said,
            host,
            wrong: Some(wrong),
            right: public(Some(wrong)),
        });
    }
    // Passed over for now: that counts where nothing but age decides between the two.
    let by_name = matches!(selected.by, By::Name(_));
    let first = chosen.first().copied().filter(|first| by_name && !first.is_self_signed)?;
    if first.standing == Standing::Untold && passed_over.is_some() {
        let said = format!("it shows {}, and who trusts that is not known: {}", name(first), selected.words());
        return Some(Trap {
            verdict: Verdict::Warn,
            code: "untrusted-first",
            said,
            host,
            wrong: Some(first),
            right: passed_over,
        });
    }
    let rival = selected.others.iter().copied().find(stands(Standing::Private))?;
    let said = format!(
        "it shows {}, and has {} beside it, which is of a private authority and will be shown when it is renewed: {}",
        name(first),
        name(rival),
        selected.words()
    );
    Some(Trap {
        verdict: Verdict::Warn,
        code: "untrusted-competes",
        said,
        host,
        wrong: Some(rival),
        right: Some(first),
    })
}

/// What a server remarks in its own log: whose certificate it means, that does not say.
fn remark(session: &SendSession, said: &str, shown: Option<String>) -> String {
    let received = session.received.as_ref().filter(|received| !received.subject.is_empty());
    let theirs = received.map_or_else(String::new, |received| format!(", {}", quote(&received.subject)));
    let own = shown.map_or_else(String::new, |shown| format!("; having shown {shown}, it may mean that, too"));
    format!(
        "its own log remarks {}: likeliest of the other end's certificate{theirs}, whose root the server may lack{own}",
        quote(said)
    )
}

/// The word that somebody does not trust what it was shown.
fn refused(session: &SendSession) -> Option<(&SendSession, &str)> {
    // What the other end answered counts before what the server remarks.
    let mut all = session.replies.iter().chain(&session.refusals).map(String::as_str);
    all.find(|said| said.to_lowercase().contains("untrustedroot")).map(|said| (session, said))
}

/// Source servers that show different certificates, each with its own; none where they agree.
fn differing<'p>(told: &[&'p Presented<'_>]) -> Option<Vec<(&'p str, &'p Stocked)>> {
    let shown: Vec<_> = told.iter().filter_map(|one| Some((one.host.as_str(), one.shows()?))).collect();
    let all: BTreeSet<_> = shown.iter().map(|(_, one)| &one.thumbprint).collect();
    (all.len() > 1 && !shown.iter().any(|(_, one)| one.is_self_signed)).then_some(shown)
}

/// Whoever tells the tenant by its certificate takes mail of one server and not of the other.
fn differ<'p>(
    connector: &Outgoing,
    shown: &[(&'p str, &'p Stocked)],
    away: impl Iterator<Item = (&'p str, String)>,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
) -> Finding {
    let newest = shown.iter().map(|(_, one)| *one).max_by_key(|one| (one.not_before, &one.thumbprint));
    let is_one_issuer = newest.is_some_and(|newest| shown.iter().all(|(_, one)| one.issuer == newest.issuer));
    let code = if is_one_issuer { "not-renewed-everywhere" } else { "two-certificates" };
    let each =
        shown.iter().map(|(host, one)| (*host, format!("it shows {} of {}", one.thumbprint, quote(&one.issuer.text))));
    let finding = Finding::new(&META, connector.subject(), Verdict::Warn, together(each.chain(away)))
        .expected("one certificate on all servers that send by a connector")
        .code(code);
    let thumbprint = newest.map_or("<THUMBPRINT>", |newest| &newest.thumbprint);
    let behind: Vec<_> = shown.iter().filter(|(_, one)| one.thumbprint != thumbprint).map(|(host, _)| *host).collect();
    let mut steps = vec![
        "Import the newest one where the former is still shown, and answer No when asked to overwrite the default SMTP certificate:".to_string(),
    ];
    steps.extend(behind.iter().map(|host| enabled(host, thumbprint, estate)));
    if connector.pin.value().is_some() {
        steps.extend(pin_to("Then name it", connector, thumbprint, holders(thumbprint, stocks), estate));
    } else {
        // The connector names none, and need not: of those that bear its name the newest is shown.
        steps.push("Then let them look again:".to_string());
        steps.extend(behind.iter().map(|host| restarted(connector, host, estate)));
    }
    steps.into_iter().fold(finding, Finding::remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{
            export::{ExportedCertificate, RootKind, Services},
            protocol_log::LoggedCertificate,
        },
        model::{
            connectors::testing::{estate, words},
            organisation::{SendConnector, Told},
            plan::ServerState,
        },
    };

    const TO_CLOUD: &str = "Outbound to Office 365";

    /// The evidence of these tests is of 1970.
    fn row(server: &str, number: u8, root: RootKind, since: &str) -> ExportedCertificate {
        ExportedCertificate {
            server: server.into(),
            thumbprint: hex::encode([number; 20]),
            subject: "CN=mail.contoso.com".into(),
            issuer: format!("CN={root:?} CA"),
            domains: vec!["mail.contoso.com".into()],
            services: Some(Services(24)),
            not_before: since.parse().ok(),
            not_after: "2030-01-01T00:00:00Z".parse().ok(),
            has_private_key: Some(true),
            root: Some(root),
            ..ExportedCertificate::default()
        }
    }

    fn connector(name: &str, smart_host: &str) -> SendConnector {
        SendConnector {
            name: name.into(),
            smart_hosts: vec![smart_host.into()],
            address_spaces: vec!["SMTP:*;1".into()],
            fqdn: Some("mail.contoso.com".into()),
            pin: Told::NotSet,
            sources: vec!["EX01".into(), "EX02".into()],
            is_enabled: true,
            flags: 0,
            tls_domain: None,
        }
    }

    fn cloud() -> SendConnector {
        connector(TO_CLOUD, "contoso-com.mail.protection.outlook.com")
    }

    fn judged(connectors: &[SendConnector], rows: &[ExportedCertificate], log: &[SendSession]) -> Vec<Finding> {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        estate.organisation.send_connectors = connectors.to_vec();
        estate.plan.inputs.certificates = (!rows.is_empty()).then(|| rows.to_vec());
        estate.plan.inputs.send_log = (!log.is_empty()).then(|| log.to_vec());
        judge(&estate, &evidence)
    }

    fn told(connectors: &[SendConnector], rows: &[ExportedCertificate], log: &[SendSession]) -> Vec<String> {
        words(judged(connectors, rows, log))
    }

    #[test]
    fn the_trap_is_named_and_the_right_one_pinned() {
        let (public, private) = (RootKind::ThirdParty, RootKind::Enterprise);
        let old = |server| row(server, 1, public, "1969-01-01T00:00:00Z");
        let rows = [old("EX01"), row("EX01", 2, private, "1969-06-01T00:00:00Z"), old("EX02")];
        let found = judged(&[cloud()], &rows, &[]);
        let remedy = found[0].remedy.join("\n");
        assert_eq!(words(found), [format!("fail send connector/{TO_CLOUD} untrusted-first")]);
        let (right, wrong) = (hex::encode([1; 20]), hex::encode([2; 20]));
        assert!(remedy.contains(&format!(
            "Get-ExchangeCertificate -Server ex01.contoso.com {right}; if ($c) {{ Set-SendConnector"
        )));
        assert!(remedy.contains("Invoke-Command ex02.contoso.com { Restart-Service MSExchangeTransport }"), "{remedy}");
        let at = |step: String| remedy.find(&step).unwrap_or_else(|| panic!("{step} in {remedy}"));
        let gives = format!("Enable-ExchangeCertificate -Server ex01.contoso.com -Thumbprint {right} -Services IIS");
        assert!(at(gives) < at(format!("Remove-ExchangeCertificate -Server ex01.contoso.com -Thumbprint {wrong}")));
        assert!(!remedy.contains("Services IIS,POP,IMAP") && !remedy.contains("-Services None"));
        // Another peer does not look.
        let gateway = connector("Internet", "gateway.fabrikam.example");
        let found = judged(&[gateway], &rows, &[]);
        assert!(found[0].seen.contains(&wrong) && found[0].seen.contains("seldom look"), "{}", found[0].seen);
        assert_eq!(words(found), ["pass send connector/Internet"]);
        // Passed over for now.
        let rows = [
            row("EX01", 1, public, "1969-09-01T00:00:00Z"),
            rows[1].clone(),
            row("EX02", 1, public, "1969-09-01T00:00:00Z"),
        ];
        assert_eq!(told(&[cloud()], &rows, &[]), [format!("warn send connector/{TO_CLOUD} untrusted-competes")]);
        let rows = [rows[0].clone(), rows[2].clone()];
        assert_eq!(told(&[cloud()], &rows, &[]), [format!("pass send connector/{TO_CLOUD}")]);
    }

    #[test]
    fn the_right_one_of_another_server_is_brought_and_pinned() {
        let rows = [
            row("EX01", 2, RootKind::Enterprise, "1969-06-01T00:00:00Z"),
            row("EX02", 1, RootKind::ThirdParty, "1969-01-01T00:00:00Z"),
        ];
        let found = judged(&[cloud()], &rows, &[]);
        let remedy = found[0].remedy.join("\n");
        assert_eq!(words(found), [format!("fail send connector/{TO_CLOUD} untrusted-first")]);
        let right = hex::encode([1; 20]);
        let at = |step: String| remedy.find(&step).unwrap_or_else(|| panic!("{step} in {remedy}"));
        let gives = format!("Enable-ExchangeCertificate -Server ex01.contoso.com -Thumbprint {right} -Services SMTP");
        let pins = format!("Get-ExchangeCertificate -Server ex02.contoso.com {right}; if ($c) {{ Set-SendConnector");
        assert!(at(gives) < at(pins), "{remedy}");
        assert!(!remedy.contains("issued"), "{remedy}");
        // One that has expired is not the right one.
        let mut rows = rows;
        rows[1].not_after = "1969-12-01T00:00:00Z".parse().ok();
        assert!(judged(&[cloud()], &rows, &[])[0].remedy.join("\n").contains("issued for the same names"));
    }

    #[test]
    fn it_matters_where_somebody_looks() {
        let (public, private) = (RootKind::ThirdParty, RootKind::Enterprise);
        let by_mx = SendConnector { smart_hosts: Vec::new(), ..connector("Internet", "") };
        let (old, new) = ("1969-01-01T00:00:00Z", "1969-06-01T00:00:00Z");
        let said = |rows: &[ExportedCertificate], is_demanded: bool| {
            let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
            estate.organisation.send_connectors = vec![by_mx.clone()];
            estate.plan.inputs.certificates = Some(rows.to_vec());
            estate.servers.get_mut("ex01.contoso.com").unwrap().client_auth = is_demanded;
            words(judge(&estate, &evidence)).concat()
        };
        let trap = [row("EX01", 1, public, old), row("EX01", 2, private, new), row("EX02", 1, public, old)];
        assert_eq!(said(&trap, false), "pass send connector/Internet");
        assert_eq!(said(&trap, true), "warn send connector/Internet untrusted-first");
        let competes = [row("EX01", 1, public, new), row("EX01", 2, private, old), row("EX02", 1, public, new)];
        assert_eq!(said(&competes, false), "pass send connector/Internet");
        assert_eq!(said(&competes, true), "warn send connector/Internet untrusted-competes");
        let each_its_own = [row("EX01", 1, public, old), row("EX02", 2, public, new)];
        assert_eq!(said(&each_its_own, false), "pass send connector/Internet");
        assert_eq!(said(&each_its_own, true), "warn send connector/Internet not-renewed-everywhere");
        assert_eq!(said(&each_its_own[..1], false), "skip send connector/Internet", "of EX02 nobody told");
        assert_eq!(said(&each_its_own[..1], true), "unknown send connector/Internet");
    }

    #[test]
    fn what_serves_inside_stays_and_no_authority_is_asked_for_its_names() {
        let private = ExportedCertificate {
            domains: vec!["mail.contoso.com".into(), "ex01.corp.local".into()],
            ..row("EX01", 2, RootKind::Enterprise, "1969-06-01T00:00:00Z")
        };
        let remedy = |rows: &[ExportedCertificate]| judged(&[cloud()], rows, &[])[0].remedy.join("\n");
        let alone = remedy(core::slice::from_ref(&private));
        assert!(alone.contains("issued for \"mail.contoso.com\" alone by a public authority"), "{alone}");
        assert!(alone.contains("\"ex01.corp.local\" as well") && !alone.contains("Remove-Exchange"), "{alone}");
        let beside = remedy(&[private, row("EX01", 1, RootKind::ThirdParty, "1969-01-01T00:00:00Z")]);
        assert!(beside.contains("leave it there") && !beside.contains("Remove-Exchange"), "{beside}");
    }

    #[test]
    fn what_is_in_maintenance_does_not_count() {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        estate.organisation.send_connectors = vec![cloud()];
        estate.servers.get_mut("ex02.contoso.com").unwrap().state = ServerState::Maintenance;
        let said = |rows: &[ExportedCertificate]| {
            let mut estate = estate.clone();
            estate.plan.inputs.certificates = Some(rows.to_vec());
            let found = judge(&estate, &evidence);
            (found[0].seen.clone(), words(found).concat())
        };
        let new = row("EX01", 2, RootKind::ThirdParty, "1969-06-01T00:00:00Z");
        let old = row("EX02", 1, RootKind::ThirdParty, "1969-01-01T00:00:00Z");
        for rows in [&[new.clone(), old][..], core::slice::from_ref(&new)] {
            let (seen, word) = said(rows);
            assert_eq!(word, format!("pass send connector/{TO_CLOUD}"));
            assert!(seen.contains("ex02.contoso.com: in maintenance") && seen.contains("before it returns"), "{seen}");
        }
    }

    #[test]
    fn what_servers_show_as_clients_is_one_certificate() {
        let new = row("EX01", 2, RootKind::ThirdParty, "1969-06-01T00:00:00Z");
        let rows = [new.clone(), row("EX02", 1, RootKind::ThirdParty, "1969-01-01T00:00:00Z")];
        assert_eq!(told(&[cloud()], &rows, &[]), [format!("warn send connector/{TO_CLOUD} not-renewed-everywhere")]);
        assert_eq!(
            told(&[cloud()], &[new], &[]),
            [format!("unknown send connector/{TO_CLOUD}")],
            "of EX02 nobody told"
        );
        let remedy = |servers: [&str; 2]| {
            let rows = servers.map(|server| row(server, 2, RootKind::ThirdParty, "1969-06-01T00:00:00Z"));
            judged(&[cloud()], &rows, &[])[0].remedy.join("\n")
        };
        assert!(remedy(["EX01", "EX2"]).contains("tells of ex2 too"), "misspelt");
        assert!(!remedy(["EX01", "EX01"]).contains("tells of"), "ex02 is known, and its file is missing");
        assert!(told(&[cloud()], &[], &[]).is_empty(), "said once, elsewhere");
    }

    #[test]
    fn a_log_tells_of_the_trap_as_well() {
        let session = |server: &str, number: u8, refusals: &[&str]| SendSession {
            server: Some(server.into()),
            local: None,
            connector: TO_CLOUD.into(),
            remote: None,
            is_to_front_end: false,
            remote_name: None,
            when: "2026-11-22T10:00:00Z".parse().unwrap(),
            sent: Some(LoggedCertificate { thumbprint: hex::encode([number; 20]), ..LoggedCertificate::default() }),
            received: None,
            refusals: refusals.iter().map(ToString::to_string).collect(),
            replies: Vec::new(),
        };
        let refusal = "454 4.7.0 TLS channel could not be established: UntrustedRoot: Access Denied";
        let log = [session("EX01", 7, &[refusal]), session("EX02", 1, &[])];
        assert_eq!(
            told(&[cloud()], &[], &log),
            [format!("warn send connector/{TO_CLOUD} untrusted-refused")],
            "who does not trust whom is not told"
        );
        // Its own log may mean the other end's certificate, whatever it showed itself.
        let partner = connector("Partner", "gateway.fabrikam.example");
        let to_partner = log.clone().map(|session| SendSession { connector: "Partner".into(), ..session });
        let private = [
            row("EX01", 7, RootKind::Enterprise, "1969-01-01T00:00:00Z"),
            row("EX02", 1, RootKind::Enterprise, "1969-01-01T00:00:00Z"),
        ];
        let found = judged(core::slice::from_ref(&partner), &private, &to_partner);
        assert!(found[0].seen.contains("likeliest of the other end's certificate"), "{}", found[0].seen);
        let remedy = found[0].remedy.join("\n");
        assert!(remedy.starts_with("Look at the certificate of the other end first") && !remedy.contains("Remove-"));
        assert_eq!(words(found), ["warn send connector/Partner untrusted-refused"]);
        let to_cloud = [private[0].clone(), row("EX02", 1, RootKind::ThirdParty, "1969-01-01T00:00:00Z")];
        let found = told(&[cloud()], &to_cloud, &log);
        assert_eq!(found, [format!("fail send connector/{TO_CLOUD} untrusted-refused")]);
        let mut log = log;
        log[0].replies = log[0].refusals.clone();
        assert_eq!(told(&[cloud()], &[], &log), [format!("fail send connector/{TO_CLOUD} untrusted-refused")]);
        assert_eq!(told(&[cloud()], &[], &log[1..]), [format!("unknown send connector/{TO_CLOUD}")]);
        let rows = [
            row("EX01", 1, RootKind::ThirdParty, "1969-01-01T00:00:00Z"),
            row("EX01", 2, RootKind::GroupPolicy, "1968-01-01T00:00:00Z"),
            row("EX02", 1, RootKind::ThirdParty, "1969-01-01T00:00:00Z"),
        ];
        // The certificate of a log that its export has no more was shown before.
        let log = [session("EX01", 9, &[refusal])];
        assert_eq!(told(&[cloud()], &rows[..1], &log), [format!("unknown send connector/{TO_CLOUD}")]);
        assert_eq!(
            told(&[cloud()], &[rows[0].clone(), rows[2].clone()], &log),
            [format!("pass send connector/{TO_CLOUD}")]
        );
        // One that came after its last session is shown by now.
        let mut before = session("EX01", 2, &[refusal]);
        before.when = "1968-06-01T00:00:00Z".parse().unwrap();
        assert_eq!(told(&[cloud()], &rows, &[before]), [format!("warn send connector/{TO_CLOUD} untrusted-competes")]);
        let unread = SendConnector { pin: Told::Unread, ..cloud() };
        assert_eq!(told(&[unread], &rows, &[]), [format!("unknown send connector/{TO_CLOUD}")]);
        let log = [session("EX01", 2, &[])];
        assert_eq!(told(&[cloud()], &rows, &log), [format!("fail send connector/{TO_CLOUD} untrusted-first")]);
    }
}
