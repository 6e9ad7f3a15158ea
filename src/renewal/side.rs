//! One of two recordings, as far as a renewal is concerned: which place shows what, and which server has what.

use crate::recording::Recording;
use exchange_preflight_checks::{
    facts::{
        certificate::{Certificate, Key},
        distinguished::DistinguishedName,
        raw::Raw,
        smtp::Upgrade,
        trust::{MOZILLA, RootsNamed},
        web::HttpFetch,
    },
    model::{
        certificates::{Certificates, Shown},
        estate::Estate,
        evidence::Evidence,
        listeners::{Service, smtp_listeners},
        stock::{Source, Stock, Stocked, stocks},
    },
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// A recording, learnt.
pub(super) struct Side {
    pub(super) estate: Estate,
    pub(super) stocks: Rc<BTreeMap<String, Stock>>,
    pub(super) seen: Rc<Certificates>,
    evidence: Evidence,
    /// What each place shows, by number.
    places: BTreeMap<Spot, Vec<usize>>,
    leaves: BTreeMap<String, Leaf>,
}

/// Where a certificate is shown, whichever address of the host answered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) service: Service,
    pub(super) upgrade: Option<Upgrade>,
    /// The name that was asked for: a web server may have a certificate for each.
    pub(super) asked: Option<String>,
}

impl Spot {
    fn of(shown: &Shown) -> Self {
        let (listener, upgrade, asked) = (&shown.listener, shown.upgrade, shown.asked.clone());
        Self { host: listener.to.host.clone(), port: listener.to.port, service: listener.service, upgrade, asked }
    }

    /// Servers of the organisation alone look here.
    pub(super) fn is_internal(&self) -> bool {
        self.upgrade == Some(Upgrade::AnonymousTls)
    }

    /// As findings name it.
    pub(super) fn place(&self) -> String {
        let suffix = if self.is_internal() { " (X-ANONYMOUSTLS)" } else { "" };
        format!("{}:{}{suffix}", self.host, self.port)
    }
}

/// A server may have one certificate for each kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Rsa,
    Other,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Rsa, Self::Other];

    fn of(certificate: &Certificate) -> Self {
        if matches!(certificate.key, Key::Rsa(_)) { Self::Rsa } else { Self::Other }
    }
}

/// A certificate, as far as it is told.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// 40 hexadecimal digits in lower case.
    pub thumbprint: String,
    /// Whose it is.
    pub subject: DistinguishedName,
    /// Who signed it.
    pub issuer: DistinguishedName,
    /// Its alternative names, lower case.
    pub names: Vec<String>,
    /// From when on it lives, if that is told.
    pub not_before: Option<Timestamp>,
    /// Until when it lives, if that is told.
    pub not_after: Option<Timestamp>,
    /// Issuer and subject are one.
    pub is_self_issued: bool,
    /// All of it, where it is known.
    pub certificate: Option<Certificate>,
}

impl PartialEq for Leaf {
    fn eq(&self, other: &Self) -> bool {
        self.thumbprint == other.thumbprint
    }
}

impl Eq for Leaf {}

impl From<&Certificate> for Leaf {
    fn from(certificate: &Certificate) -> Self {
        Self {
            thumbprint: certificate.thumbprint.clone(),
            subject: DistinguishedName::of(&certificate.subject),
            issuer: DistinguishedName::of(&certificate.issuer),
            names: certificate.dns_names.clone(),
            not_before: Some(certificate.not_before),
            not_after: Some(certificate.not_after),
            is_self_issued: certificate.is_self_issued(),
            certificate: Some(certificate.clone()),
        }
    }
}

impl From<&Stocked> for Leaf {
    fn from(one: &Stocked) -> Self {
        Self {
            thumbprint: one.thumbprint.clone(),
            subject: one.subject.clone(),
            issuer: one.issuer.clone(),
            names: one.names.clone(),
            not_before: one.not_before,
            not_after: one.not_after,
            is_self_issued: one.is_self_signed,
            certificate: one.certificate.clone(),
        }
    }
}

impl Side {
    pub(super) fn of(recording: &Recording) -> Self {
        let Recording { plan, evidence, .. } = recording;
        let estate = Estate::learn(plan, evidence);
        let (stocks, seen) = (stocks(&estate, evidence), Certificates::seen(&estate, evidence));
        let mut places: BTreeMap<Spot, Vec<usize>> = BTreeMap::new();
        for (number, shown) in seen.shown.iter().enumerate() {
            places.entry(Spot::of(shown)).or_default().push(number);
        }
        let mut leaves = BTreeMap::new();
        for certificate in seen.leaves().iter().map(|leaf| leaf.certificate) {
            leaves.insert(certificate.thumbprint.clone(), Leaf::from(certificate));
        }
        for one in stocks.values().flat_map(|stock| stock.certificates.values()) {
            leaves.entry(one.thumbprint.clone()).or_insert_with(|| Leaf::from(one));
        }
        Self { estate, stocks, seen, evidence: evidence.clone(), places, leaves }
    }

    /// Every place that shows a certificate.
    pub(super) fn spots(&self) -> impl Iterator<Item = &Spot> {
        self.places.keys()
    }

    /// What one place shows, by the kind of its key: several, where addresses differ.
    pub(super) fn shown_at(&self, spot: &Spot) -> BTreeMap<Kind, BTreeSet<String>> {
        let mut kinds: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
        for shown in self.at(spot) {
            let leaf = self.seen.leaf(shown);
            kinds.entry(Kind::of(leaf)).or_default().insert(leaf.thumbprint.clone());
        }
        kinds
    }

    pub(super) fn at(&self, spot: &Spot) -> impl Iterator<Item = &Shown> {
        self.places.get(spot).into_iter().flatten().map(|number| &self.seen.shown[*number])
    }

    pub(super) fn shows(&self, spot: &Spot, thumbprint: &str) -> bool {
        self.at(spot).any(|shown| self.seen.leaf(shown).thumbprint == thumbprint)
    }

    /// A certificate that a place shows or a server has.
    pub(super) fn leaf(&self, thumbprint: &str) -> Option<&Leaf> {
        self.leaves.get(thumbprint)
    }

    /// By host, what servers of the organisation are shown, and what the directory has for them.
    pub(super) fn internal(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut hosts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for shown in self.seen.shown.iter().filter(|shown| shown.upgrade == Some(Upgrade::AnonymousTls)) {
            let leaf = self.seen.leaf(shown).thumbprint.clone();
            hosts.entry(shown.listener.to.host.clone()).or_default().insert(leaf);
        }
        for (host, stock) in self.stocks.iter() {
            let told =
                stock.certificates.values().filter(|one| one.is_internal && one.sources.contains(&Source::Directory));
            let told: Vec<_> = told.map(|one| one.thumbprint.clone()).collect();
            if !told.is_empty() {
                hosts.entry(host.clone()).or_default().extend(told);
            }
        }
        hosts
    }

    /// Did the server say what it offers, and STARTTLS is not among it?
    pub(super) fn offers_no_tls(&self, spot: &Spot) -> bool {
        let is_its = |host: &str, port: u16| host == spot.host && port == spot.port;
        let mut here = smtp_listeners(&self.estate).filter(|listener| is_its(&listener.to.host, listener.to.port));
        spot.upgrade == Some(Upgrade::StartTls)
            && here.any(|listener| {
                let look = listener.first_look(&self.evidence);
                look.inspected().is_none()
                    && look.talked().is_some_and(|session| session.offers(Upgrade::StartTls.keyword()).is_none())
            })
    }

    /// Is it known that a server has this certificate no longer?
    pub(super) fn has_no_more(&self, host: &str, thumbprint: &str) -> bool {
        let supposed = self.estate.plan.inputs.supposed.as_ref();
        let is_removed = supposed.is_some_and(|supposed| {
            supposed.on.iter().any(|on| on == host) && supposed.removed.iter().any(|removed| removed == thumbprint)
        });
        let stock = self.stocks.get(host);
        is_removed || stock.is_some_and(|stock| stock.is_whole && !stock.certificates.contains_key(thumbprint))
    }

    /// Certificates that may stand above another: what servers sent, what was fetched, and what a rehearsal brought along.
    pub(super) fn above(&self) -> Vec<Certificate> {
        let sent: BTreeMap<&[u8], &Certificate> = self
            .seen
            .shown
            .iter()
            .flat_map(|shown| self.seen.others(shown))
            .map(|sent| (sent.der.as_slice(), sent))
            .collect();
        let read = |raw: &Raw| Certificate::parse(&raw.0).ok();
        let files = self.evidence.all::<HttpFetch>().filter_map(|(.., answer)| read(&answer.facts()?.body));
        let supposed = self.estate.plan.inputs.supposed.iter().flat_map(|supposed| supposed.chain.iter().skip(1));
        sent.into_values().cloned().chain(files).chain(supposed.filter_map(read)).collect()
    }

    /// The roots of all stores, each with whether peers outside trust it.
    pub(super) fn roots(&self) -> Vec<(Certificate, bool)> {
        let read = |der: &[u8]| Certificate::parse(der).ok();
        let named = self.evidence.all::<RootsNamed>().flat_map(|(_, question, answer)| {
            let is_public = self.is_public(&question.store);
            let found = answer.facts().map(|found| found.certificates.as_slice()).unwrap_or_default();
            found.iter().filter_map(move |raw| Some((read(&raw.0)?, is_public)))
        });
        let forest = self.estate.organisation.authorities.iter().filter_map(|der| Some((read(der)?, false)));
        named.chain(forest).collect()
    }

    /// Names that were looked for in every store whose roots peers outside trust.
    pub(super) fn looked_up(&self) -> BTreeSet<Vec<u8>> {
        let mut stores: BTreeMap<&str, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (_, question, answer) in self.evidence.all::<RootsNamed>() {
            if answer.facts().is_some() {
                stores.entry(question.store.as_str()).or_default().insert(question.subject.0.clone());
            }
        }
        let stated = self.estate.plan.stores.iter().filter(|store| store.public).map(|store| store.name.as_str());
        let public = [MOZILLA].into_iter().chain(stated);
        let of = |store: &str| stores.get(store).cloned().unwrap_or_default();
        public.map(of).reduce(|one, other| one.intersection(&other).cloned().collect()).unwrap_or_default()
    }

    fn is_public(&self, store: &str) -> bool {
        store == MOZILLA || self.estate.plan.stores.iter().any(|stated| stated.name == store && stated.public)
    }
}
