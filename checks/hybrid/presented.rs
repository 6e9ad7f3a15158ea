//! `hybrid-presented`: does each server show Exchange Online the certificate that is expected, and is it taken?

use crate::{
    facts::{connector::CertificateName, net::SMTP_PORT},
    model::{
        certificates::{Certificates, trust_needs},
        check::{Check, Need},
        clocks::estate_now,
        connectors::in_command,
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        hybrid::{
            Client, Fit, GOES_NOWHERE, NOT_KNOWN, Refusal, Route, Sender, Shows, Since, Teller, Tenant, best_fit,
            goes_nowhere, inbound, is_accepted, is_known, is_known_by, is_settled, refusal, routes, strange,
            tenant_changed,
        },
        listeners::{quote, server_name},
        meta::{Basis, Fold, Meta, Tier},
        outgoing::{is_away, listed, mend_spelling, pin_to, restarted, returns},
    },
};
use alloc::{format, string::String, vec, vec::Vec};
use jiff::{SignedDuration, Timestamp};

/// See the module.
pub struct Presented;

static META: Meta = Meta {
    id: "hybrid-presented",
    area: "hybrid",
    title: "Exchange Online takes what servers show",
    question: "Does each server show Exchange Online the certificate that is meant, alive and with its chain, and is it taken?",
    healthy: "the last session of each source server shows the certificate that its connector names, and was not refused",
    why: "Which certificate a server shows as a client no port tells; its send log does. After a renewal one server of several may still show the former certificate, or one that the tenant does not know, or send it without its intermediate, and mail is refused (550 5.7.64) or waits (UntrustedRoot).",
    remedy: &[
        "Log what is sent: Set-SendConnector \"<CONNECTOR>\" -ProtocolLoggingLevel Verbose",
        "Find the logs of every source server: (Get-SendConnector \"<CONNECTOR>\").SourceTransportServers | % { Get-TransportService $_.Name } | fl Name,SendProtocolLogPath (Get-FrontendTransportService where FrontendProxyEnabled; Get-TransportServer on Exchange 2010)",
        "Show the one that is meant: $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-SendConnector \"<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }; Restart-Service MSExchangeTransport",
        "Send the chain: put the intermediate into the store Intermediate Certification Authorities of every source server (certutil -addstore CA <INTERMEDIATE.CER>), and restart MSExchangeTransport",
        "Run the Hybrid Configuration Wizard again.",
    ],
    references: &[
        "\"550 5.7.64 TenantAttribution\" when sending mail externally in Microsoft 365 (Microsoft Learn)",
        "Microsoft KB 3212877",
        "Microsoft KB 4019940",
        "Protocol logging (Microsoft Learn)",
    ],
    symptoms: &[
        "550 5.7.64 TenantAttribution",
        "Relay Access Denied SMTP",
        "454 4.7.0 TLS channel could not be established: UntrustedRoot",
        "MSExchangeTransport event 2004",
        "0x800B0109 CERT_E_UNTRUSTEDROOT",
    ],
    tier: Tier::Input,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field],
};

/// So long a change of an inbound connector may take to count (field reports, 2017).
const SPREADS: SignedDuration = SignedDuration::from_hours(1);

impl Check for Presented {
    fn meta(&self) -> &'static Meta {
        &META
    }

    /// What servers show on their own port 25, and the ways from there to a root: the same chain goes out with the client's side.
    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        if estate.plan.inputs.is_empty() || !is_settled(estate, evidence) {
            return Vec::new();
        }
        let routes = routes(estate, evidence);
        // Those of another tenant too: by what a port shows, a connector may prove to lead to the own one.
        let routes = routes.iter().filter(|route| !route.is_logged_alone || route.tenant == Tenant::Own);
        let senders: Vec<_> = routes.flat_map(|route| &route.senders).collect();
        let of = |need: &Need| {
            let Subject::Port(host, SMTP_PORT, _) = &need.subject else { return None };
            let sender = senders.iter().find(|sender| sender.is_named && sender.host == *host)?;
            Some(Need { subject: sender.subject.clone(), ask: need.ask.clone() })
        };
        trust_needs(estate, evidence).iter().filter_map(of).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        if !is_known(estate, evidence) {
            return vec![Finding::new(&META, Subject::Estate, Verdict::Skip, NOT_KNOWN)];
        }
        let routes = routes(estate, evidence);
        if goes_nowhere(&routes, estate, evidence) {
            return vec![Finding::new(&META, Subject::Estate, Verdict::Skip, GOES_NOWHERE)];
        }
        let (own, others): (Vec<_>, Vec<_>) = routes.into_iter().partition(|route| route.tenant == Tenant::Own);
        let of_others = others.iter().flat_map(judge_strange);
        if own.is_empty() && !others.is_empty() {
            return of_others.collect();
        }
        let is_told = |sender: &Sender<'_>| {
            !matches!(sender.shows, Shows::Untold) || !sender.sessions.is_empty() || !sender.handed_on.is_empty()
        };
        let at_work = |sender: &&Sender<'_>| !is_away(&sender.host, estate);
        let is_anyone_told = own.iter().flat_map(|route| &route.senders).filter(at_work).any(is_told);
        if estate.plan.inputs.is_empty() || !is_anyone_told {
            let untold = mend_spelling(estate).into_iter().fold(untold(&own, estate), Finding::remedy);
            return of_others.chain([untold]).collect();
        }
        let look =
            Look { estate, certificates: &Certificates::seen(estate, evidence), now: estate_now(estate, evidence) };
        let of_own = own.iter().flat_map(|route| look.judge_route(route));
        of_own.chain(of_others).collect()
    }
}

/// Of each server that sends by a connector which is not known to lead to the own tenant.
fn judge_strange(route: &Route<'_>) -> Vec<Finding> {
    let subjects = route.senders.iter().map(|sender| sender.subject.clone());
    let found = subjects.filter_map(|subject| {
        let is_untold = Trouble::ClientSideUntold(subject.clone());
        let finding = strange(&META, subject, route)?;
        Some(if finding.verdict == Verdict::Unknown { finding.is(is_untold) } else { finding })
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() { strange(&META, route.connector.subject(), route).into_iter().collect() } else { found }
}

/// The client's side is not known of anybody: said once.
fn untold(routes: &[Route<'_>], estate: &Estate) -> Finding {
    let inputs = &estate.plan.inputs;
    let why = if inputs.certificates.is_some() || inputs.send_log.is_some() {
        "what was given does not tell it: it is of other servers, or older than what their ports show"
    } else {
        "no send log or export of certificates was given"
    };
    let seen = format!("which certificate the servers show Exchange Online, no port tells, and {why}");
    let finding = Finding::new(&META, Subject::Estate, Verdict::Unknown, seen)
        .code("untold")
        .is(Trouble::ClientSideUntold(Subject::Estate))
        .remedy("Give the newest send log of every source server, and their certificates (--input):");
    let name = in_command(routes.first().map_or("", |route| &route.connector.name));
    let get = routes.first().map_or(TRANSPORT, service);
    let finding = finding
        .remedy(format!("    Set-SendConnector {name} -ProtocolLoggingLevel Verbose"))
        .remedy(format!("    (Get-SendConnector {name}).SourceTransportServers | % {{ {get} $_.Name }} | fl Name,SendProtocolLogPath"))
        .remedy("exchange-preflight explain inputs has the commands that export the certificates.");
    let subjects = routes.iter().flat_map(|route| &route.senders).map(|sender| sender.subject.clone());
    subjects.fold(finding, Finding::speaks_for)
}

const TRANSPORT: &str = "Get-TransportService";

/// The service whose log tells what goes out by a connector.
fn service(route: &Route<'_>) -> &'static str {
    let is_handed_on = route.senders.iter().any(|sender| !sender.handed_on.is_empty());
    if route.connector.is_proxied || is_handed_on { "Get-FrontendTransportService" } else { TRANSPORT }
}

struct Look<'l> {
    estate: &'l Estate,
    certificates: &'l Certificates,
    now: Timestamp,
}

impl Look<'_> {
    fn judge_route(&self, route: &Route<'_>) -> Vec<Finding> {
        route.senders.iter().map(|sender| self.judge(sender, route)).collect()
    }

    fn judge(&self, sender: &Sender<'_>, route: &Route<'_>) -> Finding {
        if is_away(&sender.host, self.estate) {
            return self.away(sender, route);
        }
        let troubles = [
            self.refused(sender, route),
            self.changed_since(sender),
            self.expired(sender),
            self.self_signed(sender, route),
            self.another(sender, route),
            self.unsent(sender),
        ];
        let worst = troubles.into_iter().flatten().reduce(
            |worst, other| {
                if other.verdict > worst.verdict { other } else { worst }
            },
        );
        worst.unwrap_or_else(|| self.well(sender, route))
    }

    /// It sends nothing now, whatever its log says of before.
    fn away(&self, sender: &Sender<'_>, route: &Route<'_>) -> Finding {
        let has = |thumbprint: &String| sender.stock.iter().any(|one| one.thumbprint == *thumbprint);
        let others = route.senders.iter().filter(|other| !is_away(&other.host, self.estate));
        let mut shown = others.flat_map(|other| match &other.shows {
            Shows::These(clients, _) => clients.as_slice(),
            Shows::Untold | Shows::Nothing => &[],
        });
        let seen = if !returns(&sender.host, self.estate) {
            "retired, as you stated; take it from the connector's sources"
        } else if shown.all(|client| has(&client.thumbprint)) {
            "in maintenance, as you stated: it sends nothing now"
        } else {
            "in maintenance, as you stated; before it returns, import there what the others show"
        };
        Finding::new(&META, sender.subject.clone(), Verdict::Skip, seen)
    }

    /// Nothing is wrong, as far as is known.
    fn well(&self, sender: &Sender<'_>, route: &Route<'_>) -> Finding {
        let finding = |verdict, seen: String| Finding::new(&META, sender.subject.clone(), verdict, seen);
        let untold = |seen: &str| {
            let (name, get) = (server_name(&sender.host), service(route));
            let finding = finding(Verdict::Unknown, seen.into())
                .is(Trouble::ClientSideUntold(sender.subject.clone()))
                .remedy(format!("Give its newest send log, or an export of its certificates (--input {name}=<FILE>):"))
                .remedy(format!("    {get} {name} | fl SendProtocolLogPath"));
            mend_spelling(self.estate).into_iter().fold(finding, Finding::remedy)
        };
        // The front end passes on what is answered, and not what it showed before.
        if let Some(session) = sender.handed_on.last()
            && let Some((Refusal::Domain | Refusal::Attribution, said)) = refusal(session)
            && tenant_changed(session.when, self.estate).is_none()
            && !self.is_rehearsed(sender)
        {
            let (when, said) = (session.when.strftime("%Y-%m-%d %H:%M UTC"), quote(said));
            return untold(&format!(
                "its session of {when} by a front end was refused: {said}; what that showed its own send log tells, and that was not given"
            ));
        }
        match &sender.shows {
            Shows::Untold if !sender.handed_on.is_empty() => untold(
                "by its log it hands all to a front end, which dials for it: what that shows its own send log tells, and that was not given",
            ),
            Shows::Untold => {
                untold("neither a log of it nor its certificates were given, so that what it shows is not known")
            }
            Shows::Nothing => {
                let pin = route.connector.pin.value().map_or(String::new(), |pin| format!(": it names {}", quote(pin)));
                let seen = format!("none of its certificates fits what the connector asks for{pin}");
                let finding = finding(Verdict::Fail, seen)
                    .code("none")
                    .suspects(Trouble::PinStale(route.connector.subject()))
                    .suspects(Trouble::PinStale(sender.subject.clone()));
                pin_anew(finding, "Name one that it has", (sender, route), None, self.estate)
            }
            Shows::These(clients, teller) => {
                let by = match teller {
                    Teller::Log(when) => format!("by its log of {}", when.strftime("%Y-%m-%d %H:%M UTC")),
                    Teller::Selection => "by what is known of its certificates".into(),
                };
                let clients: Vec<_> = clients.iter().map(told).collect();
                let finding = finding(Verdict::Pass, format!("it shows {}, {by}", clients.join(" or ")));
                let former = sender.sessions.iter().any(|session| refusal(session).is_some());
                let is_after = sender.sessions.last().is_some_and(|session| refusal(session).is_none());
                if former && is_after && matches!(teller, Teller::Log(_)) {
                    let seen = format!("{}; sessions before were refused, the last one was not", finding.seen);
                    return Finding { seen, ..finding };
                }
                finding
            }
        }
    }

    /// Its newest session was refused.
    fn refused(&self, sender: &Sender<'_>, route: &Route<'_>) -> Option<Finding> {
        let session = sender.sessions.last()?;
        let (kind, said) = sender.refused()?;
        if self.is_rehearsed(sender) {
            return None;
        }
        let since = self.changed(sender).filter(|since| session.when.duration_since(*since) <= SPREADS);
        let is_fresh = since.is_some_and(|since| since <= session.when);
        let verdict = if is_fresh { Verdict::Warn } else { Verdict::Fail };
        let shown = match &session.sent {
            Some(_) => Self::shown_names(sender),
            None => "it showed no certificate".into(),
        };
        let wait = if is_fresh { "; a change within the hour before may not count yet" } else { "" };
        let when = session.when.strftime("%Y-%m-%d %H:%M UTC");
        let seen = format!("its session of {when} was refused: {}; {shown}{wait}", quote(said));
        let (connector, client) = (route.connector.subject(), Self::client(sender));
        let finding = Finding::new(&META, sender.subject.clone(), verdict, seen);
        let certificates = sender.stock.iter().map(|one| Trouble::CertificateBad(one.thumbprint.clone()));
        let finding = match kind {
            Refusal::Domain => finding.code("refused-domain"),
            Refusal::Certificate => finding.code("refused-certificate"),
            Refusal::Attribution if session.sent.is_none() => finding.code("refused-without-certificate"),
            Refusal::Attribution if client.is_some_and(|client| self.is_all_right(client)) => {
                finding.code("chain-suspected")
            }
            Refusal::Attribution => finding.code("refused"),
        };
        let finding = finding.suspects(Trouble::SenderDomain(connector.clone()));
        let finding = match kind {
            Refusal::Domain => finding,
            Refusal::Attribution => finding.suspects(Trouble::SenderName(connector)).suspects(Trouble::SenderAddress),
            Refusal::Certificate => certificates.fold(finding, Finding::suspects),
        };
        let finding = client
            .iter()
            .fold(finding, |finding, client| finding.suspects(Trouble::ChainUnsent(client.thumbprint.clone())));
        Some(self.mend_refused(finding, sender, route))
    }

    fn mend_refused(&self, finding: Finding, sender: &Sender<'_>, route: &Route<'_>) -> Finding {
        match finding.code {
            Some("refused-domain") => finding.remedy("Have the domain of the certificate, or the sender's, accepted by the tenant; hybrid-sender-domain says which."),
            Some("chain-suspected" | "refused-certificate") => chain_remedy(
                finding.remedy("Name and domain are what the tenant asks for, or the certificate itself was not taken: likeliest is that it is sent without its chain."),
                sender,
            ),
            Some("refused-without-certificate") => {
                let finding = finding
                    .remedy("Let the connector demand TLS and name a certificate; the Hybrid Configuration Wizard does both:")
                    .remedy(format!("    Set-SendConnector {} -RequireTLS $true", in_command(&route.connector.name)));
                pin_anew(finding, "Name one that the tenant knows", (sender, route), None, self.estate)
            }
            _ => finding
                .remedy("Run the Hybrid Configuration Wizard again; or hold what it shows against the tenant's connectors, and give them both (--input):")
                .remedy("    Get-InboundConnector | ConvertTo-Json -Depth 4 | Out-File inbound.json")
                .remedy("    Get-AcceptedDomain | ConvertTo-Json -Depth 4 | Out-File accepteddomains.json"),
        }
    }

    /// Its certificate is another since its newest session, or that was refused and the tenant's connectors were changed since.
    fn changed_since(&self, sender: &Sender<'_>) -> Option<Finding> {
        let session = sender.sessions.last().filter(|_| !self.is_rehearsed(sender))?;
        let day = session.when.strftime("%Y-%m-%d %H:%M UTC");
        let seen = match sender.since.as_ref()? {
            Since::Certificate(now) => format!("its log of {day} is older than {}, which it has now", told(now)),
            Since::Connector(changed) => {
                let (_, said) = refusal(session)?;
                let changed = changed.strftime("%Y-%m-%d %H:%M UTC");
                format!(
                    "its session of {day} was refused: {}; an inbound connector was changed since ({changed})",
                    quote(said)
                )
            }
        };
        let finding = Finding::new(&META, sender.subject.clone(), Verdict::Unknown, seen).code("log-too-old");
        Some(finding.is(Trouble::ClientSideUntold(sender.subject.clone())).remedy("Give a log of today."))
    }

    /// When what matters was last changed: an inbound connector, or the certificate, where a log shows the one before.
    fn changed(&self, sender: &Sender<'_>) -> Option<Timestamp> {
        let connectors = inbound(self.estate).filter_map(|connector| connector.changed);
        let sent =
            |at: usize| Some((sender.sessions.get(at)?.when, &sender.sessions.get(at)?.sent.as_ref()?.thumbprint));
        let shown: Vec<_> = (0..sender.sessions.len()).filter_map(sent).collect();
        let changes = shown.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].0);
        let last = sender.sessions.last()?.when;
        connectors.chain(changes).filter(|when| *when <= last).max()
    }

    /// Name and domain are known to be what the tenant asks for.
    fn is_all_right(&self, client: &Client) -> bool {
        let accepted = self.estate.plan.inputs.accepted_domains.as_ref();
        let is_accepted = |name: &String| accepted.is_some_and(|accepted| is_accepted(name, accepted));
        is_known_by(client, self.estate) == Some(true) && client.names.iter().any(is_accepted)
    }

    fn expired(&self, sender: &Sender<'_>) -> Option<Finding> {
        let Shows::These(clients, teller) = &sender.shows else { return None };
        let client = clients.iter().find(|client| client.not_after.is_some_and(|end| end < self.now))?;
        let end = client.not_after?;
        let day = end.strftime("%Y-%m-%d");
        let finding = |verdict, seen| Finding::new(&META, sender.subject.clone(), verdict, seen);
        // Since the log ended it may have been renewed.
        if let Teller::Log(when) = teller
            && *when <= end
        {
            let seen = format!(
                "by its log of {} it shows {}, which expired on {day}: what it shows today is not known",
                when.strftime("%Y-%m-%d"),
                told(client)
            );
            let finding = finding(Verdict::Unknown, seen).code("log-too-old");
            return Some(finding.is(Trouble::ClientSideUntold(sender.subject.clone())).remedy("Give a log of today."));
        }
        let seen = format!("it shows {}, which expired on {day}", told(client));
        Some(
            finding(Verdict::Fail, seen)
                .code("expired")
                .suspects(Trouble::CertificateBad(client.thumbprint.clone()))
                .remedy("Renew it, import the new one on every source server, and name it on the connector; then run the Hybrid Configuration Wizard again:")
                .remedy("    Enable-ExchangeCertificate -Thumbprint <NEW> -Services SMTP")
                .remedy("Answer No when asked to overwrite the default SMTP certificate."),
        )
    }

    /// Exchange Online knows nobody by a certificate that no authority signed.
    fn self_signed(&self, sender: &Sender<'_>, route: &Route<'_>) -> Option<Finding> {
        let Shows::These(clients, _) = &sender.shows else { return None };
        let client = clients.iter().find(|client| client.is_self_signed)?;
        let is_asked = inbound(self.estate).any(|connector| connector.certificate_name.is_some());
        let verdict = if is_asked { Verdict::Fail } else { Verdict::Warn };
        let seen =
            format!("it shows {}, which no authority signed: Exchange Online knows nobody by that", told(client));
        let finding = Finding::new(&META, sender.subject.clone(), verdict, seen).code("self-signed");
        let better =
            sender.stock.iter().find(|other| is_known_by(other, self.estate) == Some(true) && !other.is_self_signed);
        let finding = finding.suspects(Trouble::CertificateBad(client.thumbprint.clone()));
        let why = "Name the certificate of a public authority on the connector";
        Some(match better {
            Some(better) => pin_anew(finding, why, (sender, route), Some(better), self.estate),
            None => finding.remedy(format!("{why}, once it is there:")).remedy(listed(&sender.host, self.estate)),
        })
    }

    /// It shows another certificate than its connector or the hybrid configuration names, or than follows from those that it has.
    fn another(&self, sender: &Sender<'_>, route: &Route<'_>) -> Option<Finding> {
        let Shows::These(clients, teller) = &sender.shows else { return None };
        let client = clients.first()?;
        let finding = |verdict, seen| Finding::new(&META, sender.subject.clone(), verdict, seen);
        let names = |pin: &String| Some((CertificateName::read(pin)?, pin.clone()));
        let is_other = |(name, _): &(CertificateName, String)| {
            // Where a log has cut subject and issuer off, there is nothing to compare.
            !client.subject.text.is_empty()
                && !client.issuer.text.is_empty()
                && !name.fits(&client.subject, &client.issuer)
        };
        let pin = route.connector.pin.value().and_then(names).filter(is_other);
        let hybrid = self.estate.organisation.hybrid.as_ref().and_then(|hybrid| hybrid.pin.as_ref());
        let hybrid = hybrid.and_then(names).filter(is_other);
        let is_unlike =
            |selected: &&Client| matches!(teller, Teller::Log(_)) && selected.thumbprint != client.thumbprint;
        let selected = sender.selected.as_ref().filter(is_unlike);
        let (code, expected) = match (&pin, selected, &hybrid) {
            (Some((_, pin)), ..) => ("another", format!("its connector names {}", quote(pin))),
            (None, Some(selected), _) => {
                ("another", format!("by its certificates Exchange would choose {}", told(selected)))
            }
            (None, None, Some((_, pin))) => {
                ("hybrid-configuration-stale", format!("the hybrid configuration names {}", quote(pin)))
            }
            (None, None, None) => return None,
        };
        // What the tenant knows all the same stops no mail.
        let is_unknown = match best_fit(client, self.estate) {
            Some((Fit::No, _)) => !sender.is_of_before(self.estate),
            Some((Fit::TooDeep(_), _)) => sender.refused().is_some(),
            _ => false,
        };
        let verdict = if is_unknown && code == "another" { Verdict::Fail } else { Verdict::Warn };
        let finding = finding(verdict, format!("it shows {}, and {expected}", told(client)))
            .code(code)
            .suspects(Trouble::SenderName(route.connector.subject()))
            .suspects(Trouble::PinStale(route.connector.subject()));
        Some(match code {
            "another" => {
                let finding = finding
                    .remedy("Let it look again:")
                    .remedy(restarted(&route.connector, &sender.host, self.estate));
                let why = "If it then still shows the same, name the one that is meant";
                pin_anew(finding, why, (sender, route), selected, self.estate)
            }
            _ => finding.remedy("Run the Hybrid Configuration Wizard again, and choose the certificate that is shown: it writes its name down, and sets both sides by it."),
        })
    }

    /// Its chain is known, and no port that shows the certificate sends it.
    fn unsent(&self, sender: &Sender<'_>) -> Option<Finding> {
        let Shows::These(clients, _) = &sender.shows else { return None };
        let is_unsent = |client: &&Client| {
            let shown = self.certificates.shown.iter();
            let mut shown =
                shown.filter(|shown| self.certificates.leaf(shown).thumbprint == client.thumbprint).peekable();
            shown.peek().is_some()
                && shown.all(|shown| {
                    let is_root = |way: crate::facts::chain::Way<'_>| way.root().is_some();
                    !is_root(self.certificates.way_as_sent(shown, true))
                        && is_root(self.certificates.way_as_known(shown, true))
                })
        };
        let client = clients.iter().find(is_unsent)?;
        let seen = format!(
            "it shows {}, and no server sends the intermediate with it: Exchange Online wants the whole chain",
            told(client)
        );
        let finding = Finding::new(&META, sender.subject.clone(), Verdict::Warn, seen).code("chain-not-sent");
        let finding = finding.suspects(Trouble::ChainUnsent(client.thumbprint.clone()));
        Some(chain_remedy(finding.suspects(Trouble::CertificateBad(client.thumbprint.clone())), sender))
    }

    fn is_rehearsed(&self, sender: &Sender<'_>) -> bool {
        self.estate.plan.inputs.supposed.is_some() && !matches!(sender.shows, Shows::These(_, Teller::Log(_)))
    }

    fn client<'s>(sender: &'s Sender<'_>) -> Option<&'s Client> {
        if let Shows::These(clients, Teller::Log(_)) = &sender.shows { clients.first() } else { None }
    }

    fn shown_names(sender: &Sender<'_>) -> String {
        Self::client(sender)
            .map_or_else(|| "it showed a certificate".into(), |client| format!("it showed {}", told(client)))
    }
}

fn told(client: &Client) -> String {
    let name = client.name().map(|name| format!("{} ", quote(name))).unwrap_or_default();
    format!("{name}({})", client.thumbprint)
}

/// Names another certificate on the connector: the one that is meant, where that is known.
fn pin_anew(
    finding: Finding,
    why: &str,
    (sender, route): (&Sender<'_>, &Route<'_>),
    meant: Option<&Client>,
    estate: &Estate,
) -> Finding {
    let thumbprint = meant.map_or("<THUMBPRINT>", |client| &client.thumbprint);
    let has_it = |other: &&Sender<'_>| {
        meant.is_none_or(|meant| other.stock.iter().any(|one| one.thumbprint == meant.thumbprint))
    };
    let others = route.senders.iter().filter(has_it).map(|other| other.host.as_str());
    let holders = [sender.host.as_str()].into_iter().chain(others);
    pin_to(why, &route.connector, thumbprint, holders, estate).into_iter().fold(finding, Finding::remedy)
}

fn chain_remedy(finding: Finding, sender: &Sender<'_>) -> Finding {
    finding
        .remedy(format!("Put the intermediate of its authority into the store of {} (KB 3212877), and let transport build the chain anew:", sender.host))
        .remedy("    certutil -addstore CA <INTERMEDIATE.CER>")
        .remedy("    Restart-Service MSExchangeTransport")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{
            export::{ExportedCertificate, ExportedSendConnector},
            protocol_log::SendSession,
        },
        model::{
            connectors::testing::words,
            hybrid::testing::*,
            inputs::Inputs,
            plan::{PlannedServer, ServerRole, ServerState},
        },
    };

    const MAIL: [&str; 1] = ["mail.contoso.com"];
    const REFUSED: &str = "550 5.7.64 TenantAttribution; Relay Access Denied SMTP";

    fn judge(inputs: Inputs) -> Vec<String> {
        let estate = estate(inputs);
        let words = words(Presented.judge(&estate, &Evidence::default()));
        words.iter().map(|word| word.replace("/Outbound to Office 365", "")).collect()
    }

    fn logged(pin: Option<&str>, sessions: Vec<SendSession>) -> Inputs {
        Inputs {
            send_connectors: Some(vec![sender(pin, &["EX01"])]),
            inbound: Some(vec![comes_in(Some("mail.contoso.com"), &[])]),
            accepted_domains: Some(accepted(&["contoso.com"])),
            send_log: Some(sessions),
            ..Inputs::default()
        }
    }

    #[test]
    fn the_client_side_is_untold_once() {
        assert_eq!(judge(Inputs::default()), ["skip estate"]);
        let only =
            |sources: &[&str]| Inputs { send_connectors: Some(vec![sender(None, sources)]), ..Inputs::default() };
        assert_eq!(judge(only(&["EX01", "EX02"])), ["unknown estate untold"]);
        let one =
            Inputs { send_log: Some(vec![session("1969-12-31T00:00:00Z", 1, &MAIL, &[])]), ..only(&["EX01", "EX02"]) };
        assert_eq!(judge(one), ["pass ex01", "unknown ex02"]);
    }

    #[test]
    fn a_refused_session_fails_and_within_the_hour_after_a_change_warns() {
        let at = |when, refusals: &[&str]| session(when, 1, &MAIL, refusals);
        let refused = |inputs: Inputs| judge(inputs);
        assert_eq!(refused(logged(None, vec![at("1969-12-31T10:00:00Z", &[REFUSED])])), ["fail ex01 chain-suspected"]);
        let mut fresh = logged(None, vec![at("1969-12-31T10:00:00Z", &[REFUSED])]);
        fresh.inbound.as_mut().unwrap()[0].changed = Some(instant("1969-12-31T09:30:00Z"));
        assert_eq!(refused(fresh.clone()), ["warn ex01 chain-suspected"]);
        let untold = Inputs { accepted_domains: None, ..logged(None, vec![at("1969-12-31T10:00:00Z", &[REFUSED])]) };
        assert_eq!(refused(untold), ["fail ex01 refused"], "whether the domain is the tenant's is not known");
        let mut mended = fresh.clone();
        mended.inbound.as_mut().unwrap()[0].changed = Some(instant("1969-12-31T10:30:00Z"));
        assert_eq!(refused(mended), ["unknown ex01 log-too-old"], "nobody tried again");
        let later = ExportedCertificate { not_before: Some(instant("1969-12-31T12:00:00Z")), ..held(2, &MAIL) };
        let renewed =
            Inputs { certificates: Some(vec![later]), ..logged(None, vec![at("1969-12-31T10:00:00Z", &[REFUSED])]) };
        assert_eq!(refused(renewed), ["unknown ex01 log-too-old"]);
        fresh.inbound.as_mut().unwrap()[0].changed = Some(instant("1969-12-31T08:30:00Z"));
        assert_eq!(refused(fresh), ["fail ex01 chain-suspected"]);
        let renewed = session("1969-12-31T09:45:00Z", 2, &MAIL, &[]);
        let back = vec![renewed, at("1969-12-31T10:00:00Z", &[REFUSED])];
        assert_eq!(refused(logged(None, back)), ["warn ex01 chain-suspected"], "the certificate is new");
        let healed = vec![at("1969-12-31T10:00:00Z", &[REFUSED]), at("1969-12-31T12:00:00Z", &[])];
        assert_eq!(refused(logged(None, healed)), ["pass ex01"]);
        let domain = vec![at("1969-12-31T10:00:00Z", &["550 5.7.64 Relay Access Denied ATTR36"])];
        assert_eq!(refused(logged(None, domain)), ["fail ex01 refused-domain"]);
        let strange = vec![session("1969-12-31T10:00:00Z", 1, &["smtp.contoso.com"], &[REFUSED])];
        assert_eq!(refused(logged(None, strange)), ["fail ex01 refused"]);
        let root = vec![at("1969-12-31T10:00:00Z", &["UntrustedRoot"])];
        assert_eq!(refused(logged(None, root)), ["fail ex01 refused-certificate"]);
    }

    #[test]
    fn what_a_front_end_shows_the_log_of_transport_does_not_tell() {
        let hop = |refusals: &[&str]| SendSession {
            is_to_front_end: true,
            ..session("1969-12-31T10:00:00Z", 2, &["ex01.contoso.com"], refusals)
        };
        let with_export = |hop| Inputs { certificates: Some(vec![held(1, &MAIL)]), ..logged(None, vec![hop]) };
        assert_eq!(judge(with_export(hop(&[]))), ["pass ex01"]);
        assert_eq!(judge(with_export(hop(&[REFUSED]))), ["unknown ex01"]);
        let two = Some(vec![sender(None, &["EX01", "EX02"])]);
        let inputs = Inputs { send_connectors: two, ..logged(None, vec![hop(&[])]) };
        let judged = Presented.judge(&estate(inputs), &Evidence::default());
        let remedy = judged[0].remedy.join("\n");
        assert!(remedy.contains("Get-FrontendTransportService ex01 | fl SendProtocolLogPath"), "{remedy}");
        let words = words(judged);
        assert_eq!(words, ["unknown ex01/Outbound to Office 365", "unknown ex02/Outbound to Office 365"]);
    }

    #[test]
    fn who_refused_a_connector_that_only_a_log_tells_of_is_not_known() {
        let sessions = vec![session("1969-12-31T10:00:00Z", 1, &["ex01.contoso.com"], &[REFUSED])];
        let alone = Inputs { send_connectors: None, ..logged(None, sessions.clone()) };
        let judged = Presented.judge(&estate(alone), &Evidence::default());
        assert!(judged[0].remedy.join("\n").contains("Get-SendConnector"), "{judged:?}");
        assert_eq!(words(judged), ["unknown ex01/Outbound to Office 365"]);
        let gateway = ExportedSendConnector { name: "Gateway".into(), ..ExportedSendConnector::default() };
        let known = Inputs { send_connectors: Some(vec![gateway]), ..logged(None, sessions) };
        assert_eq!(judge(known), ["skip estate"]);
    }

    #[test]
    fn another_than_is_named_matters_where_the_tenant_does_not_know_it() {
        let pin = |name: &str| format!("<I>{ISSUER}<S>CN={name}");
        let shown =
            |pin: &str, name: &str| judge(logged(Some(pin), vec![session("1969-12-31T10:00:00Z", 1, &[name], &[])]));
        assert_eq!(shown(&pin("mail.contoso.com"), "mail.contoso.com"), ["pass ex01"]);
        assert_eq!(shown(&pin("old.contoso.com"), "mail.contoso.com"), ["warn ex01 another"]);
        assert_eq!(shown(&pin("mail.contoso.com"), "smtp.contoso.com"), ["fail ex01 another"]);
        let with_export = |held: ExportedCertificate| Inputs {
            certificates: Some(vec![held]),
            ..logged(None, vec![session("1969-12-31T10:00:00Z", 1, &MAIL, &[])])
        };
        assert_eq!(judge(with_export(held(1, &MAIL))), ["pass ex01"]);
        let later = ExportedCertificate { not_before: Some(instant("1969-12-31T12:00:00Z")), ..held(2, &MAIL) };
        assert_eq!(judge(with_export(later)), ["unknown ex01 log-too-old"]);
    }

    #[test]
    fn what_expired_or_signed_itself_is_not_taken() {
        let with = |change: fn(&mut ExportedCertificate)| {
            let mut row = held(1, &MAIL);
            change(&mut row);
            judge(Inputs { certificates: Some(vec![row]), send_log: None, ..logged(None, Vec::new()) })
        };
        assert_eq!(with(|_| ()), ["pass ex01"]);
        assert_eq!(with(|row| row.not_after = Some(instant("1969-12-01T00:00:00Z"))), ["fail ex01 expired"]);
        assert_eq!(with(|row| row.issuer = row.subject.clone()), ["fail ex01 self-signed"]);
        let mut old = session("1969-11-01T00:00:00Z", 1, &MAIL, &[]);
        old.sent.as_mut().unwrap().not_after = Some(instant("1969-12-01T00:00:00Z"));
        assert_eq!(judge(logged(None, vec![old.clone()])), ["unknown ex01 log-too-old"]);
        old.when = instant("1969-12-15T00:00:00Z");
        assert_eq!(judge(logged(None, vec![old])), ["fail ex01 expired"]);
    }

    #[test]
    fn where_nothing_fits_the_pin_there_is_none_to_show() {
        let inputs = Inputs {
            send_connectors: Some(vec![sender(Some("<I>CN=Old CA<S>CN=mail.contoso.com"), &["EX01"])]),
            certificates: Some(vec![held(1, &MAIL)]),
            ..Inputs::default()
        };
        assert_eq!(judge(inputs), ["fail ex01 none"]);
    }

    #[test]
    fn what_is_in_maintenance_sends_nothing() {
        let refused = session("1969-12-31T10:00:00Z", 1, &MAIL, &[REFUSED]);
        let mut estate = estate(logged(None, vec![refused]));
        estate.plan.inputs.send_connectors = Some(vec![sender(None, &["EX01", "EX02"])]);
        let said =
            |estate: &Estate| words(Presented.judge(estate, &Evidence::default())).join(" | ").replace(CLOUD, "");
        assert_eq!(said(&estate), "fail ex01/ chain-suspected | unknown ex02/");
        let mut ex01 = PlannedServer::new("ex01".into(), ServerRole::Mailbox);
        ex01.state = ServerState::Maintenance;
        estate.servers.insert("ex01".into(), ex01);
        assert_eq!(said(&estate), "unknown estate untold", "of the other nobody tells");
        let mut ex02 = session("1969-12-31T10:00:00Z", 2, &MAIL, &[]);
        ex02.server = Some("EX02".into());
        estate.plan.inputs.send_log.as_mut().unwrap().push(ex02);
        assert_eq!(said(&estate), "pass ex02/ | skip ex01/");
    }

    #[test]
    fn a_remedy_names_the_connector() {
        let inputs = Inputs { send_connectors: Some(vec![sender(None, &["EX01"])]), ..Inputs::default() };
        let remedy = Presented.judge(&estate(inputs), &Evidence::default())[0].remedy.join("\n");
        assert!(remedy.contains("(Get-SendConnector \"Outbound to Office 365\").SourceTransportServers"), "{}", remedy);
    }
}
