//! What the wire would say: the replies of servers, changed as little as a renewal changes them.

use exchange_preflight_checks::{
    facts::{
        certificate::Certificate,
        chain::best_way,
        raw::Raw,
        search::Value,
        smtp::{Exchange, SmtpReply, SmtpSession, Upgrade},
        tls::{Offer, TlsSeen},
        trust::RootsNamed,
    },
    model::{
        ask::{Endpoint, Facts, Question},
        certificates::Certificates,
        clocks::estate_now,
        connectors::Connectors,
        estate::Estate,
        evidence::{End, Evidence, Miss, Observation, Reason, Reply, Stage},
        inputs::Supposed,
        plan::Plan,
        selection::{Choice, Selected, Wanted, select},
        stock::{Stock, Stocked, stocks},
    },
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    rc::Rc,
};

/// The evidence as it would be with what `plan` supposes. `olds` are those in whose place the new one stands.
pub(super) fn set(
    plan: &Plan,
    evidence: &Evidence,
    seen: &Certificates,
    new: &Certificate,
    olds: &BTreeSet<String>,
) -> Evidence {
    let Some(supposed) = &plan.inputs.supposed else { return evidence.clone() };
    let mut without = plan.clone();
    without.inputs.supposed = None;
    let (was, is) = (Estate::learn(&without, evidence), Estate::learn(plan, evidence));
    let stage = Scene {
        supposed,
        had: stocks(&was, evidence),
        has: stocks(&is, evidence),
        now: estate_now(&is, evidence),
        estate: &was,
        evidence,
        seen,
        new,
        olds,
    };
    let gone = stage.ports_without_tls();
    let kept = evidence.iter().filter(|observation| !is_pointless(observation, &gone));
    kept.map(|observation| stage.changed(observation.clone(), &gone)).collect()
}

/// What a port shows in the place of what it showed.
enum Shows {
    /// The same.
    Same,
    /// This one, with these intermediates.
    Other(Vec<Raw>),
    /// None: it has none to show.
    Nothing,
}

/// A keyword of SMTP that a port does not offer any more.
type Gone = BTreeSet<(Endpoint, Upgrade)>;

struct Scene<'s> {
    supposed: &'s Supposed,
    /// What each server had, and has.
    had: Rc<BTreeMap<String, Stock>>,
    has: Rc<BTreeMap<String, Stock>>,
    now: Timestamp,
    /// As it was before.
    estate: &'s Estate,
    evidence: &'s Evidence,
    seen: &'s Certificates,
    new: &'s Certificate,
    olds: &'s BTreeSet<String>,
}

impl Scene<'_> {
    fn is_on(&self, host: &str) -> bool {
        self.supposed.on.iter().any(|on| on == host)
    }

    fn is_removed(&self, thumbprint: &str) -> bool {
        self.supposed.removed.iter().any(|removed| removed == thumbprint)
    }

    fn ports_without_tls(&self) -> Gone {
        let of = |observation: &Observation| {
            let Question::SmtpSession(question) = &observation.ask.what else { return None };
            let leaf = leaf_of(tls_of(observation)?)?;
            let shows = self.shows(&observation.ask.to, Some(question.upgrade), &leaf);
            matches!(shows, Shows::Nothing).then(|| (observation.ask.to.clone(), question.upgrade))
        };
        self.evidence.iter().filter_map(of).collect()
    }

    fn changed(&self, mut observation: Observation, gone: &Gone) -> Observation {
        let to = observation.ask.to.clone();
        if let Some(Facts::DirectorySearch(found)) = &mut observation.reply.facts {
            if self.supposed.is_internal {
                self.name_in_directory(&mut found.entries);
            }
            return observation;
        }
        if !self.is_on(&to.host) {
            return observation;
        }
        let upgrade =
            if let Question::SmtpSession(question) = &observation.ask.what { Some(question.upgrade) } else { None };
        let leaf = tls_of(&observation).and_then(leaf_of);
        let shows = leaf.map_or(Shows::Same, |leaf| self.shows(&to, upgrade, &leaf));
        match (&mut observation.reply.facts, shows) {
            (Some(Facts::SmtpSession(session)), shows) => {
                for upgrade in [Upgrade::StartTls, Upgrade::AnonymousTls] {
                    if gone.contains(&(to.clone(), upgrade)) {
                        withhold(session, upgrade);
                    }
                }
                match (shows, &mut session.tls) {
                    (Shows::Other(chain), Some(tls)) => show(tls, chain),
                    (Shows::Nothing, _) => end_before_tls(session),
                    _ => {}
                }
            }
            (Some(Facts::HttpsGet(reply)), Shows::Other(chain)) => show(&mut reply.tls, chain),
            (Some(Facts::TlsSession(seen)), Shows::Other(chain)) => show(seen, chain),
            (Some(Facts::HttpsGet(_) | Facts::TlsSession(_)), Shows::Nothing) => {
                // A website whose certificate is gone ends every handshake.
                let miss = Miss { stage: Stage::Tls, reason: Reason::Closed, took: SignedDuration::ZERO };
                observation.reply = Reply { facts: None, end: End::Miss(miss) };
            }
            _ => {}
        }
        observation
    }

    /// What a port shows that showed this one.
    fn shows(&self, to: &Endpoint, upgrade: Option<Upgrade>, shown: &str) -> Shows {
        if !self.is_on(&to.host) || shown == self.new.thumbprint && upgrade != Some(Upgrade::AnonymousTls) {
            return Shows::Same;
        }
        let (is_old, is_removed) = (self.olds.contains(shown), self.is_removed(shown));
        match upgrade {
            Some(Upgrade::AnonymousTls) if self.supposed.is_internal => self.new_one(&to.host),
            Some(Upgrade::AnonymousTls) if is_removed => Shows::Nothing,
            Some(Upgrade::AnonymousTls) => Shows::Same,
            _ if !is_old && !is_removed => Shows::Same,
            Some(Upgrade::StartTls) => self.selected(to, shown),
            // Websites are bound to one by hand, whatever its names.
            None if is_old => self.new_one(&to.host),
            None => Shows::Nothing,
        }
    }

    /// What Exchange's own selection makes of it, where that explains what was seen before; else the new one stands where the
    /// old one stood.
    fn selected(&self, to: &Endpoint, shown: &str) -> Shows {
        let (had, has) = (self.had.get(&to.host), self.has.get(&to.host));
        let Some((had, has)) = had.zip(has) else { return self.in_its_place(to, shown) };
        let place = to.address.map(|address| SocketAddr::new(address, to.port));
        let connectors = Connectors::of(&to.host, self.estate, self.evidence);
        let connector = connectors.zip(place).and_then(|(connectors, place)| connectors.default_at(place));
        let wanted = match connector {
            Some(connector) if connector.pin.is_read() => {
                let pin = connector.pin.value().map(String::as_str);
                Wanted { pin, fqdn: connector.fqdn.as_deref(), host: &to.host }
            }
            _ => return self.in_its_place(to, shown),
        };
        let before = select(had, &wanted, self.now);
        let is_explained = fits(&before).any(|one| one.thumbprint == shown);
        if !is_explained {
            return self.in_its_place(to, shown);
        }
        let after = select(has, &wanted, self.now);
        let chosen = fits(&after).next();
        match chosen {
            // Of several that a connector names alike the newest comes first; that it is not certain, is told of the connector.
            Some(one) => self.this_one(to, one, shown),
            None => Shows::Nothing,
        }
    }

    fn in_its_place(&self, to: &Endpoint, shown: &str) -> Shows {
        if self.olds.contains(shown) {
            return self.new_one(&to.host);
        }
        let wanted = Wanted { pin: None, fqdn: None, host: &to.host };
        let selected = self.has.get(&to.host).map(|stock| select(stock, &wanted, self.now));
        selected.and_then(|selected| Some(self.this_one(to, selected.one()?, shown))).unwrap_or(Shows::Nothing)
    }

    fn this_one(&self, to: &Endpoint, one: &Stocked, shown: &str) -> Shows {
        if one.thumbprint == self.new.thumbprint {
            return self.new_one(&to.host);
        }
        match &one.certificate {
            _ if one.thumbprint == shown => Shows::Same,
            Some(certificate) => Shows::Other(self.chain_of(certificate, &to.host)),
            // An export without the certificate itself: what would be shown is known, and not how it looks.
            None => Shows::Same,
        }
    }

    fn new_one(&self, host: &str) -> Shows {
        Shows::Other(self.chain_of(self.new, host))
    }

    /// The chain that Windows builds from its own stores: of what came in the new one's file, of what this server sends already,
    /// and of what the forest passes on. The root stays at home.
    fn chain_of(&self, leaf: &Certificate, host: &str) -> Vec<Raw> {
        let read = |raw: &Raw| Certificate::parse(&raw.0).ok();
        let file = self.supposed.chain.iter().skip(1).filter_map(read);
        let sent = self.seen.shown.iter().filter(|shown| shown.listener.to.host == host);
        let sent = sent.flat_map(|shown| self.seen.others(shown)).cloned();
        let forest = self.estate.organisation.authorities.iter().filter_map(|der| Certificate::parse(der).ok());
        let others: Vec<Certificate> = file.chain(sent).chain(forest).collect();
        let found = self.evidence.all::<RootsNamed>().filter_map(|(.., answer)| answer.facts());
        let roots: Vec<Certificate> = found.flat_map(|found| &found.certificates).filter_map(read).collect();
        let way = best_way(leaf, &others.iter().collect::<Vec<_>>(), &roots.iter().collect::<Vec<_>>(), self.now);
        let between = way.between().filter(|step| !step.is_self_issued());
        [leaf].into_iter().chain(between).map(|one| Raw(one.der.clone())).collect()
    }

    /// The new one, in the directory, where servers have their internal transport certificate.
    fn name_in_directory(&self, entries: &mut [exchange_preflight_checks::facts::search::Entry]) {
        const INTERNAL: &str = "msExchServerInternalTLSCert";
        let servers = &self.estate.organisation.servers;
        let dns: BTreeSet<&String> =
            servers.iter().filter(|(host, _)| self.is_on(host)).map(|(_, server)| &server.dn).collect();
        for entry in entries.iter_mut().filter(|entry| dns.contains(&entry.dn)) {
            let attributes = entry.attributes.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case(INTERNAL));
            attributes.for_each(|(_, values)| *values = vec![Value::Bytes(Raw(self.new.der.clone()))]);
        }
    }
}

/// What nobody would ask, because the first answer gives no reason for it any more.
fn is_pointless(observation: &Observation, gone: &Gone) -> bool {
    let to = &observation.ask.to;
    match &observation.ask.what {
        Question::SmtpSession(SmtpSession { upgrade: Upgrade::AnonymousTls, .. }) => {
            gone.contains(&(to.clone(), Upgrade::AnonymousTls))
        }
        Question::SmtpSession(SmtpSession { upgrade: Upgrade::StartTls, offer }) => {
            *offer != Offer::Usual && gone.contains(&(to.clone(), Upgrade::StartTls))
        }
        _ => false,
    }
}

fn fits<'c, 's>(selected: &'c Selected<'s>) -> impl Iterator<Item = &'s Stocked> + use<'c, 's> {
    let all: Vec<&'s Stocked> = match &selected.choice {
        Choice::One(one) => vec![*one],
        Choice::Any(any) => any.clone(),
        Choice::Nothing => Vec::new(),
    };
    all.into_iter()
}

fn tls_of(observation: &Observation) -> Option<&TlsSeen> {
    match observation.reply.facts.as_ref()? {
        Facts::SmtpSession(session) => session.tls.as_ref(),
        Facts::HttpsGet(reply) => Some(&reply.tls),
        Facts::TlsSession(seen) => Some(seen),
        _ => None,
    }
}

fn leaf_of(seen: &TlsSeen) -> Option<String> {
    Some(Certificate::parse(&seen.chain.first()?.0).ok()?.thumbprint)
}

fn show(seen: &mut TlsSeen, chain: Vec<Raw>) {
    seen.chain = chain;
    (seen.has_staple, seen.unproven, seen.disproven) = (false, None, false);
}

/// Takes a keyword out of what is offered before TLS.
fn withhold(session: &mut SmtpReply, upgrade: Upgrade) {
    let is_it = |line: &String| {
        let text = line.get(4..).unwrap_or_default();
        text.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case(upgrade.keyword()))
    };
    for Exchange { lines, .. } in session.exchanges.iter_mut().filter(|exchange| is_hello(exchange)) {
        lines.retain(|line| !is_it(line));
        // The last line of a reply has a blank behind its code (RFC 5321 section 4.2.1).
        if let Some(last) = lines.last_mut().filter(|last| last.as_bytes().get(3) == Some(&b'-')) {
            last.replace_range(3..4, " ");
        }
    }
}

fn is_hello(exchange: &Exchange) -> bool {
    !exchange.is_inside && exchange.command.starts_with("EHLO")
}

fn end_before_tls(session: &mut SmtpReply) {
    session.tls = None;
    session
        .exchanges
        .retain(|exchange| !exchange.is_inside && !matches!(exchange.command.as_str(), "STARTTLS" | "X-ANONYMOUSTLS"));
}
