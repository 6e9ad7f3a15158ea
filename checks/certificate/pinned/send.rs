//! What send connectors name, and the hybrid configuration: does every server that sends have that certificate, and show it as a
//! client? No port tells; exports and logs do.

use super::{
    META,
    alike::{alike, one_of_two},
    malformed,
};
use crate::{
    facts::{
        connector::CertificateName, distinguished::DistinguishedName, dns::canonical_name, protocol_log::SendSession,
    },
    model::{
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        hybrid::Refusal,
        listeners::quote,
        organisation::{Organisation, Told},
        outgoing::{
            Outgoing, Presented, at_work, enabled, holders, how_to_tell, is_away, listed, outgoing, pin_to, presented,
            restarted, spelt_in_command, together,
        },
        selection::{Choice, Selected, bears, is_pinnable, may_be_pinned, names_of},
        stock::{Standing, Stock, Stocked, host_called, stocks},
    },
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// What all of them name that name one.
pub(super) fn judge(estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
    let stocks = stocks(estate, evidence);
    let connectors = outgoing(estate);
    let judge = |subject, connector: &Outgoing| judge_one(subject, connector, &stocks, estate, evidence);
    let of_connectors = connectors.iter().filter_map(|connector| judge(connector.subject(), connector));
    let hybrid = as_sent_by_hybrid(estate).and_then(|hybrid| judge(hybrid_subject(), &hybrid)).map(|finding| {
        // The wizard's own note alone stops no mail, where the connectors name another one.
        let pin = hybrid_pin(&estate.organisation);
        let is_other = |it: &Outgoing| it.is_enabled && it.is_to_exchange_online() && it.pin.value() != pin;
        let is_note = finding.verdict == Verdict::Fail && connectors.iter().any(is_other);
        if is_note { Finding { verdict: Verdict::Warn, ..finding } } else { finding }
    });
    of_connectors.chain(hybrid).collect()
}

/// What a send connector or the hybrid configuration names, held against what its servers have.
fn judge_one(
    subject: Subject,
    connector: &Outgoing,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
    evidence: &Evidence,
) -> Option<Finding> {
    let pin = connector.pin.value()?;
    let Some(name) = CertificateName::read(pin) else { return Some(malformed(subject, pin)) };
    let new = |verdict, seen: String| Finding::new(&META, subject.clone(), verdict, seen);
    let presented = presented(connector, stocks, estate, evidence);
    let (at_work, away) = at_work(&presented);
    if at_work.is_empty() && !away.is_empty() {
        let away = away.iter().map(|one| (one.host.as_str(), one.why_away(false)));
        return Some(new(Verdict::Skip, format!("it names {}; {}", quote(pin), together(away))));
    }
    let (told, mut untold): (Vec<_>, Vec<_>) = at_work.into_iter().partition(|one| one.is_told());
    if told.is_empty() {
        let seen =
            format!("it names {}; what Exchange presents as a client is seen only in exports and logs", quote(pin));
        return Some(new(Verdict::Skip, seen));
    }
    if !connector.is_enabled {
        return Some(new(Verdict::Skip, "it is disabled".into()));
    }
    let is_supposed = told.iter().any(|one| one.is_supposed);
    let mut held: Vec<_> = told.iter().map(|one| hold(connector, &name, one)).collect();
    // A renewal is rehearsed on some of the servers, and nothing else is known of the others.
    if is_supposed && let [first, ..] = untold.as_slice() {
        let said = "it sends by it as well, and is not among those that get the new one".to_string();
        held.push(Held { host: &first.host, verdict: Verdict::Warn, code: Some("left-out"), said, chosen: None });
        untold.clear();
    }
    let said = |held: &[Held<'_>]| {
        let said = held.iter().map(|held| (held.host, held.said.clone()));
        let untold = untold.iter().map(|one| (one.host.as_str(), one.why_untold()));
        let away = away.iter().map(|one| {
            let is_ready = one.is_chosen_from_all() && hold(connector, &name, one).verdict == Verdict::Pass;
            (one.host.as_str(), one.why_away(is_ready))
        });
        format!("it names {}; {}", quote(pin), together(said.chain(untold).chain(away)))
    };
    let worst = held.iter().max_by_key(|held| held.verdict)?;
    if worst.verdict < Verdict::Warn && !untold.is_empty() {
        return Some(
            how_to_tell(&untold, estate).into_iter().fold(new(Verdict::Unknown, said(&held)), Finding::remedy),
        );
    }
    let Some(code) = worst.code else { return Some(new(worst.verdict, said(&held))) };
    let without = if worst.verdict == Verdict::Fail { WITHOUT } else { "" };
    let finding = new(worst.verdict, format!("{}{without}", said(&held))).code(code);
    // One cause, one alarm: the hybrid configuration names what its connector names.
    let finding = if connector.name.is_empty() {
        let alike = outgoing(estate).into_iter().filter(|other| other.pin.value() == Some(pin));
        alike.fold(finding, |finding, other| finding.suspects(Trouble::PinStale(other.subject())))
    } else {
        finding.is(Trouble::PinStale(subject.clone()))
    };
    if code == "two-fit" {
        let all: Vec<_> = told.iter().filter_map(|one| alike(one)).collect();
        return Some(one_of_two(finding, &all, &name, stocks, estate));
    }
    let in_trouble: Vec<_> = held.iter().filter(|held| held.code == Some(code)).collect();
    let at = At { connector, stocks, estate };
    Some(at.mend(&name, &told, &in_trouble, code).into_iter().fold(finding, Finding::remedy))
}

/// What a pin comes to on one source server.
struct Held<'s> {
    host: &'s str,
    verdict: Verdict,
    code: Option<&'static str>,
    said: String,
    /// The one that is shown there.
    chosen: Option<&'s str>,
}

fn hold<'s>(connector: &Outgoing, name: &CertificateName, one: &'s Presented<'_>) -> Held<'s> {
    let host = one.host.as_str();
    let chosen = one.selected.as_ref().and_then(Selected::one).map(|one| one.thumbprint.as_str());
    let new = |verdict, code, said: String| Held { host, verdict, code: Some(code), said, chosen };
    let well = |said| Held { host, verdict: Verdict::Pass, code: None, said, chosen };
    let matters = if connector.is_to_exchange_online() { Verdict::Fail } else { Verdict::Warn };
    let Some(selected) = one.selected.as_ref().filter(|_| one.is_chosen_from_all()) else {
        let sent = one.logged.and_then(|session| session.sent.as_ref());
        let fits = sent.is_some_and(|sent| {
            name.fits(&DistinguishedName::read(&sent.subject), &DistinguishedName::read(&sent.issuer))
        });
        let shown =
            sent.map_or_else(|| "none".into(), |sent| format!("{} ({})", sent.thumbprint, quote(&sent.subject)));
        let when = one.logged.map_or_else(String::new, |session| session.when.strftime("%Y-%m-%d").to_string());
        if fits {
            return well(format!("it showed that one on {when}, {shown}"));
        }
        // It may have been named since, and the tenant's connector mended.
        let is_refused = !one.is_answer_stale && one.logged.is_some_and(is_refused);
        let verdict = if is_refused { matters } else { Verdict::Warn };
        return new(verdict, "pin-fits-none", format!("it showed another on {when}, {shown}"));
    };
    if !is_pinnable(name) {
        let said = "the common name is no domain, and by such a name it finds none".to_string();
        return new(Verdict::Warn, "cannot-be-pinned", said);
    }
    let none = || selected.words();
    match (&selected.choice, one.stock.and_then(Stock::supposed)) {
        // Of what was not seen, one may fit; unless the one that was named is what was taken away.
        (Choice::Nothing, _) if one.stock.is_some_and(|stock| !stock.is_whole) && !one.loses_named => {
            let said = "of the certificates that it is known to have, none fits; what it sends only an export tells";
            Held { host: &one.host, verdict: Verdict::Skip, code: None, said: said.into(), chosen: None }
        }
        (Choice::Nothing, _) => new(Verdict::Fail, "pin-fits-none", none()),
        (Choice::Any(any), _) => {
            new(Verdict::Warn, "two-fit", format!("{} fit, and it shows whichever it finds first", any.len()))
        }
        (Choice::One(chosen), _) if chosen.serves_smtp == Some(false) => {
            let said =
                format!("{} fits and has not the service SMTP: TLS fails with UnknownCredentials", chosen.thumbprint);
            new(Verdict::Fail, "pin-without-smtp", said)
        }
        (Choice::One(chosen), _) if !selected.is_valid(chosen) => {
            let said = format!("{} fits, and is not valid (any more)", chosen.thumbprint);
            // Whoever looks at the dates refuses it; what the server thinks of it otherwise, it may yet show.
            let is_sure = selected.is_certain || selected.is_expired(chosen);
            new(if is_sure { matters } else { Verdict::Warn }, "pin-not-valid", said)
        }
        (Choice::One(_), Some(new_one)) if !may_be_pinned(new_one) => {
            let said = format!(
                "it goes on with another: no connector can name the new one, {}, which has no common name that is a domain",
                new_one.thumbprint
            );
            new(Verdict::Warn, "cannot-be-pinned", said)
        }
        // It goes on with one of its own, unless that is the one in whose place the new one comes.
        (Choice::One(chosen), Some(new_one))
            if chosen.thumbprint != new_one.thumbprint && chosen.subject.is(&new_one.subject) =>
        {
            let said = format!(
                "it goes on with {}: the new one, {}, is not what the connector names",
                chosen.thumbprint, new_one.thumbprint
            );
            new(Verdict::Warn, "keeps-the-old", said)
        }
        (Choice::One(chosen), _) => well(format!("it shows {}{}", chosen.thumbprint, one.stale_words())),
    }
}

/// Was it refused for what it showed: by an answer of the other end, or by the tenant's word, which nobody else has?
fn is_refused(session: &SendSession) -> bool {
    let is_of_tenant = |said: &String| matches!(Refusal::of(said), Some(Refusal::Domain | Refusal::Attribution));
    session.refusals.iter().any(is_of_tenant) || session.replies.iter().any(|said| Refusal::of(said).is_some())
}

/// What becomes of mail without the certificate that is named.
const WITHOUT: &str = ". Then TLS fails (NoCredentials) and mail waits, or goes without a certificate, for which Exchange Online refuses it with 550 5.7.64";

/// The one to be named: what a rehearsal supposes; else the newest that is alive, that SMTP may show on every source server, that
/// bears the connector's name and that the other end trusts. With a server that has it. `at_work`: so many servers send by it.
fn right_one<'s>(
    connector: &Outgoing,
    name: &CertificateName,
    told: &[&Presented<'s>],
    at_work: usize,
) -> Option<(&'s str, &'s Stocked)> {
    let supposed = told.iter().find_map(|one| Some((one.stock?.host.as_str(), one.stock?.supposed()?)));
    if let Some(supposed) = supposed.filter(|(_, one)| may_be_pinned(one)) {
        return Some(supposed);
    }
    let common = DistinguishedName::read(&name.subject);
    let wanted = canonical_name(connector.fqdn.as_deref().or(common.common_name())?);
    let looks_right = |held: &Presented<'_>, one: &Stocked| {
        let is_alive =
            held.selected.as_ref().is_some_and(|selected| selected.is_valid(one) && !selected.is_expired(one));
        let is_trusted = one.standing == Standing::Public || !connector.is_to_exchange_online() && !one.is_self_signed;
        let is_usable = one.has_key != Some(false) && one.serves_smtp == Some(true) && may_be_pinned(one);
        is_usable && is_alive && is_trusted && bears(one, &wanted)
    };
    let first = told.first()?;
    let of_first = first.stock?.certificates.values().filter(|one| {
        let has_it = |held: &&Presented<'_>| {
            held.stock
                .and_then(|stock| stock.certificates.get(&one.thumbprint))
                .is_some_and(|one| looks_right(held, one))
        };
        told.len() == at_work && told.iter().copied().all(|held| has_it(&held))
    });
    let newest = of_first.max_by_key(|one| (one.not_before, &one.thumbprint))?;
    Some((first.stock?.host.as_str(), newest))
}

/// The one of another source server that fits and is valid, where the connector names the right one, and these servers alone lack it.
fn renewed_elsewhere<'s>(told: &[&'s Presented<'_>], in_trouble: &[&Held<'_>]) -> Option<(&'s str, &'s Stocked)> {
    let is_well = |one: &&&'s Presented<'_>| in_trouble.iter().all(|held| held.host != one.host);
    let valid = told.iter().filter(is_well).filter_map(|one| {
        let selected = one.selected.as_ref().filter(|_| one.is_chosen_from_all())?;
        let chosen = selected.one().filter(|chosen| selected.is_valid(chosen) && chosen.serves_smtp != Some(false))?;
        Some((one.host.as_str(), chosen))
    });
    let (holder, right) = valid.max_by_key(|(_, one)| (one.not_before, &one.thumbprint))?;
    // What a server in trouble has that is younger may be the one to be named.
    let is_younger = |held: &&Held<'_>| {
        let stock = told.iter().find(|one| one.host == held.host).and_then(|one| one.stock);
        let mut others = stock.into_iter().flat_map(|stock| stock.certificates.values());
        others.any(|one| {
            one.has_key != Some(false)
                && one.not_before > right.not_before
                && names_of(right).any(|name| bears(one, &name))
        })
    };
    (!in_trouble.iter().any(is_younger)).then_some((holder, right))
}

/// A connector in trouble, and what is known around it.
struct At<'a> {
    connector: &'a Outgoing,
    stocks: &'a BTreeMap<String, Stock>,
    estate: &'a Estate,
}

impl At<'_> {
    fn mend(
        &self,
        name: &CertificateName,
        told: &[&Presented<'_>],
        in_trouble: &[&Held<'_>],
        code: &str,
    ) -> Vec<String> {
        let (connector, estate) = (self.connector, self.estate);
        let host = in_trouble.first().map_or("<SERVER>", |held| held.host);
        if connector.name.is_empty() {
            return vec![
                "Run the Hybrid Configuration Wizard again, and choose the certificate that is in service on its page of transport certificates:".into(),
                listed(host, estate),
            ];
        }
        let mut steps = vec!["See which certificates its servers have:".to_string(), listed(host, estate)];
        if code == "pin-without-smtp" {
            steps.push("Give the one that is named the service SMTP, answering No when asked to overwrite the default SMTP certificate:".into());
            let named = |held: &&Held<'_>| enabled(held.host, held.chosen.unwrap_or("<THUMBPRINT>"), estate);
            steps.extend(in_trouble.iter().map(named));
            return steps;
        }
        if ["pin-not-valid", "pin-fits-none"].contains(&code)
            && let Some((holder, renewed)) = renewed_elsewhere(told, in_trouble)
        {
            steps.push(format!(
                "The connector's name is right: {} has {} by it. Import that with its key where it is missing, and answer No when asked \
                 to overwrite the default SMTP certificate:",
                spelt_in_command(holder),
                renewed.thumbprint
            ));
            steps.extend(in_trouble.iter().map(|held| enabled(held.host, &renewed.thumbprint, estate)));
            steps.extend(in_trouble.iter().map(|held| restarted(connector, held.host, estate)));
            return steps;
        }
        if code == "cannot-be-pinned" {
            steps.push(
                "Have one issued whose common name is one of its names (CN=mail.contoso.com), and import it.".into(),
            );
        }
        let at_work = connector.sources.iter().filter(|host| !is_away(host, estate)).count();
        let right = right_one(connector, name, told, at_work).filter(|_| code != "cannot-be-pinned");
        let thumbprint = right.map_or("<THUMBPRINT>", |(_, one)| one.thumbprint.as_str());
        // Which one it is nobody knows; then one of its servers has it, or will.
        let sources = connector.sources.iter().map(String::as_str).filter(|_| right.is_none());
        let first = right.map_or(host, |(holder, _)| holder);
        let holders = [first].into_iter().chain(holders(thumbprint, self.stocks)).chain(sources);
        steps.extend(pin_to("Name the one that is to be shown", connector, thumbprint, holders, estate));
        steps
    }
}

fn hybrid_subject() -> Subject {
    Subject::Configured("hybrid".into(), "TlsCertificateName".into())
}

fn hybrid_pin(organisation: &Organisation) -> Option<&String> {
    organisation.hybrid.as_ref()?.pin.as_ref()
}

/// The certificate of the hybrid configuration, as if it were a send connector of the servers that it names as senders.
pub(super) fn as_sent_by_hybrid(estate: &Estate) -> Option<Outgoing> {
    let organisation = &estate.organisation;
    let (hybrid, pin) = (organisation.hybrid.as_ref()?, hybrid_pin(organisation)?.clone());
    let sources = hybrid.senders.iter().map(|name| host_called(name, estate)).collect();
    Some(Outgoing {
        name: String::new(),
        pin: Told::Is(pin),
        fqdn: None,
        sources,
        smart_hosts: Vec::new(),
        address_spaces: Vec::new(),
        tls_domain: None,
        is_enabled: true,
        is_cloud: true,
        is_proxied: false,
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{PUBLIC, THE_PIN, row},
        *,
    };
    use crate::{
        facts::{
            certificate::{Certificate, Name},
            export::{ExportedCertificate, RootKind, Services},
            protocol_log::LoggedCertificate,
            raw::Raw,
        },
        model::{
            connectors::testing::{estate, words},
            inputs::Supposed,
            organisation::SendConnector,
            plan::ServerState,
        },
    };

    const NEW: &[u8] = include_bytes!("../../../tests/chains/samples/server.der");

    fn client(pin: &str, change: impl Fn(&mut Estate)) -> Vec<String> {
        words(found(pin, change))
    }

    fn found(pin: &str, change: impl Fn(&mut Estate)) -> Vec<Finding> {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        estate.organisation.send_connectors = vec![SendConnector {
            name: "Out".into(),
            smart_hosts: vec!["contoso-com.mail.protection.outlook.com".into()],
            address_spaces: Vec::new(),
            fqdn: None,
            pin: Told::Is(pin.into()),
            sources: vec!["EX01".into(), "EX02".into()],
            is_enabled: true,
            flags: 0,
            tls_domain: None,
        }];
        change(&mut estate);
        judge(&estate, &evidence)
    }

    fn exported(pin: &str, rows: &[ExportedCertificate]) -> String {
        client(pin, |estate| estate.plan.inputs.certificates = Some(rows.to_vec())).join(" | ")
    }

    #[test]
    fn what_is_named_for_clients_is_held_against_exports() {
        let on = |number, issuer| {
            [row("ex01", number, issuer, "1969-01-01T00:00:00Z"), row("EX02", number, issuer, "1969-01-01T00:00:00Z")]
        };
        assert_eq!(client(THE_PIN, |_| ()), ["skip send connector/Out"]);
        assert_eq!(exported(THE_PIN, &on(1, PUBLIC)), "pass send connector/Out");
        assert_eq!(exported(THE_PIN, &on(1, PUBLIC)[..1]), "unknown send connector/Out");
        assert_eq!(exported(THE_PIN, &on(1, "CN=New CA")), "fail send connector/Out pin-fits-none");
        let two = [&on(1, PUBLIC)[..], &on(2, PUBLIC)[..]].concat();
        assert_eq!(exported(THE_PIN, &two), "warn send connector/Out two-fit");
        let changed = |change: &dyn Fn(&mut ExportedCertificate)| {
            let mut rows = on(1, PUBLIC);
            rows.iter_mut().for_each(change);
            exported(THE_PIN, &rows)
        };
        assert_eq!(changed(&|row| row.services = Some(Services(8))), "fail send connector/Out pin-without-smtp");
        assert_eq!(changed(&|row| row.has_private_key = Some(false)), "fail send connector/Out pin-fits-none");
        // The evidence of these tests is of 1970.
        assert_eq!(
            changed(&|row| row.not_after = "1969-12-01T00:00:00Z".parse().ok()),
            "fail send connector/Out pin-not-valid"
        );
        let rows = on(1, PUBLIC).map(|row| ExportedCertificate { subject: "O=Contoso".into(), ..row });
        assert_eq!(
            exported("<I>CN=Public CA, O=Trust, C=US<S>O=Contoso", &rows),
            "warn send connector/Out cannot-be-pinned"
        );
    }

    #[test]
    fn nothing_is_removed_where_the_new_one_is_not() {
        let on = |server, number, since| row(server, number, PUBLIC, since);
        let (old, new) = ("1969-01-01T00:00:00Z", "1969-06-01T00:00:00Z");
        let remedy = |rows: &[ExportedCertificate]| {
            let found = found(THE_PIN, |estate| estate.plan.inputs.certificates = Some(rows.to_vec()));
            let found = found.into_iter().find(|finding| finding.code == Some("two-fit")).unwrap();
            found.remedy.join("\n")
        };
        let rows = [on("EX01", 1, old), on("EX02", 1, old), on("EX02", 2, new)];
        let lacking = remedy(&rows);
        assert!(lacking.contains("ex01.contoso.com") && !lacking.contains("Remove-Exchange"), "{lacking}");
        let (first, second) = (hex::encode([1; 20]), hex::encode([2; 20]));
        let rows = [on("EX01", 2, new), on("EX02", 1, old), on("EX02", 2, new)];
        let both = remedy(&rows);
        assert!(
            both.contains(&format!("Remove-ExchangeCertificate -Server ex02.contoso.com -Thumbprint {first}")),
            "{both}"
        );
        assert!(
            !both.contains("-Server ex01.contoso.com -Thumbprint") && !both.contains(&format!("-Thumbprint {second}"))
        );
        assert!(both.contains("internal transport certificate"), "whether it is that one nobody told: {both}");
    }

    #[test]
    fn a_server_that_alone_lacks_the_renewed_one_is_given_it_under_the_same_name() {
        let renewed = row("EX01", 2, PUBLIC, "1969-06-01T00:00:00Z");
        let old = row("EX02", 1, PUBLIC, "1969-01-01T00:00:00Z");
        let expired = ExportedCertificate { not_after: "1969-12-01T00:00:00Z".parse().ok(), ..old.clone() };
        let elsewhere = ExportedCertificate { issuer: "CN=Old CA".into(), ..old };
        for (lacking, code) in [(expired, "pin-not-valid"), (elsewhere, "pin-fits-none")] {
            let rows = vec![renewed.clone(), lacking];
            let found = found(THE_PIN, |estate| estate.plan.inputs.certificates = Some(rows.clone()));
            assert_eq!(found[0].code, Some(code));
            let (remedy, new) = (found[0].remedy.join("\n"), hex::encode([2; 20]));
            let gives = format!("Enable-ExchangeCertificate -Server ex02.contoso.com -Thumbprint {new} -Services SMTP");
            assert!(remedy.contains(&gives) && !remedy.contains("Set-SendConnector"), "{remedy}");
        }
    }

    #[test]
    fn what_is_in_maintenance_closes_no_gate() {
        let expired = |server| ExportedCertificate {
            not_after: "1969-12-01T00:00:00Z".parse().ok(),
            ..row(server, 1, PUBLIC, "1969-01-01T00:00:00Z")
        };
        let renewed = row("EX01", 2, PUBLIC, "1969-06-01T00:00:00Z");
        let said = |rows: &[ExportedCertificate], state: ServerState| {
            found(THE_PIN, |estate| {
                estate.plan.inputs.certificates = Some(rows.to_vec());
                estate.servers.get_mut("ex02.contoso.com").unwrap().state = state;
            })
        };
        let rows = [renewed.clone(), expired("EX02")];
        assert_eq!(words(said(&rows, ServerState::Active)), ["fail send connector/Out pin-not-valid"]);
        let away = said(&rows, ServerState::Maintenance);
        assert!(away[0].seen.contains("before it returns, import there"), "{}", away[0].seen);
        assert_eq!(words(away), ["pass send connector/Out"]);
        assert_eq!(words(said(&[renewed], ServerState::Maintenance)), ["pass send connector/Out"], "no export of EX02");
        let remedy = said(&[expired("EX01"), expired("EX02")], ServerState::Maintenance)[0].remedy.join("\n");
        assert!(remedy.contains("(ex02.contoso.com before it returns)") && !remedy.contains("Invoke-Command ex02"));
    }

    #[test]
    fn the_one_to_be_named_is_one_that_the_cloud_trusts() {
        let remedy = |root: RootKind| {
            let of = |server| ExportedCertificate {
                domains: vec!["mail.contoso.com".into()],
                root: Some(root),
                ..row(server, 3, "CN=Some CA", "1969-01-01T00:00:00Z")
            };
            let rows = vec![of("EX01"), of("EX02")];
            let found = found(THE_PIN, |estate| estate.plan.inputs.certificates = Some(rows.clone()));
            found.into_iter().find(|finding| finding.code == Some("pin-fits-none")).unwrap().remedy.join("\n")
        };
        let it = hex::encode([3; 20]);
        assert!(remedy(RootKind::ThirdParty).contains(&it));
        assert!(!remedy(RootKind::Enterprise).contains(&it));
    }

    #[test]
    fn what_was_shown_once_may_have_been_named_since() {
        let logged = |issuer: &str, refusals: &[&str]| {
            let sent = LoggedCertificate {
                thumbprint: hex::encode([1; 20]),
                subject: "CN=mail.contoso.com".into(),
                issuer: issuer.into(),
                ..LoggedCertificate::default()
            };
            let session = |server: &str| SendSession {
                server: Some(server.into()),
                local: None,
                connector: "OUT".into(),
                remote: None,
                is_to_front_end: false,
                remote_name: None,
                when: "2026-11-22T10:00:00Z".parse().unwrap(),
                sent: Some(sent.clone()),
                received: None,
                refusals: refusals.iter().map(ToString::to_string).collect(),
                replies: Vec::new(),
            };
            let sessions = vec![session("EX01"), session("EX02")];
            client(THE_PIN, |estate| estate.plan.inputs.send_log = Some(sessions.clone())).join(" | ")
        };
        assert_eq!(logged(PUBLIC, &[]), "pass send connector/Out");
        assert_eq!(logged("CN=Other CA", &[]), "warn send connector/Out pin-fits-none");
        assert_eq!(logged("CN=Other CA", &["550 5.7.64 TenantAttribution"]), "fail send connector/Out pin-fits-none");
    }

    #[test]
    fn a_rehearsal_tells_what_a_pin_will_come_to() {
        let chain = vec![Raw(NEW.to_vec())];
        let new = Certificate::parse(NEW).unwrap();
        let supposed = |pin: &str, on: &[&str], removed: &[u8]| {
            let on = on.iter().map(ToString::to_string).collect();
            let removed = removed.iter().map(|number| hex::encode([*number; 20])).collect();
            let supposed = Supposed { chain: chain.clone(), on, removed, ..Supposed::default() };
            let rows = ["ex01", "ex02"].map(|server| row(server, 1, PUBLIC, "1969-06-01T00:00:00Z"));
            let change = |estate: &mut Estate| {
                estate.plan.inputs.certificates = Some(rows.to_vec());
                estate.plan.inputs.supposed = Some(supposed.clone());
            };
            client(pin, change).join(" | ")
        };
        let both = ["ex01.contoso.com", "ex02.contoso.com"];
        assert_eq!(supposed(THE_PIN, &both, &[]), "pass send connector/Out", "the new one is for another name");
        assert_eq!(supposed(THE_PIN, &both, &[1]), "fail send connector/Out pin-fits-none");
        let bare = |removed: u8| {
            let removed = vec![hex::encode([removed; 20])];
            let on = both.iter().map(ToString::to_string).collect();
            let supposed = Supposed { chain: chain.clone(), on, removed, ..Supposed::default() };
            client(THE_PIN, |estate| estate.plan.inputs.supposed = Some(supposed.clone())).join(" | ")
        };
        assert_eq!(bare(9), "skip send connector/Out", "what was removed is not what is named");
        let name = |name: &Name| name.text.clone();
        let pin = format!("<I>{}<S>{}", name(&new.issuer), name(&new.subject));
        assert_eq!(supposed(&pin, &both[..1], &[]), "fail send connector/Out pin-fits-none", "EX02 does not have it");
    }
}
