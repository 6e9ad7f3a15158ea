//! Every certificate that was seen, where, and which roots it leads to: what the checks of the area certificate judge.

use crate::{
    facts::{
        certificate::Certificate,
        chain::{End, Fault, Way, best_way},
        distinguished::DistinguishedName,
        raw::Raw,
        smtp::{SmtpSession, Upgrade},
        tls::{Offer, TlsSeen, TlsSession},
        trust::{FOREST, MOZILLA, RootsNamed, SYSTEM},
        web::HttpFetch,
    },
    model::{
        ask::{Ask, Endpoint, Question},
        check::Need,
        clocks::estate_now,
        estate::Estate,
        evidence::{Evidence, Reason},
        fetch::Fetch,
        finding::{Finding, Subject, Trouble, Verdict},
        listeners::{Facing, Listener, listeners, quote},
        meta::Meta,
        stock::Standing,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::cell::RefCell;
use jiff::Timestamp;

/// So far up the URLs of issuers are followed.
const FETCHED_LEVELS: usize = 3;
/// Of so many certificates of one chain the lists are fetched: more than any lawful chain has.
const LISTED: usize = 8;
/// So many of a certificate's URLs are followed: a server must not send us around the world.
const MOST_URLS: usize = 3;
/// Of so many certificates that nobody shows and somebody gave, the way up is followed.
const MOST_GIVEN: usize = 500;

/// Everything seen of certificates.
#[derive(Debug)]
pub struct Certificates {
    /// Every certificate that could be read, sent or fetched, once.
    all: Vec<Certificate>,
    by_der: BTreeMap<Vec<u8>, usize>,
    /// Every time that a server showed one.
    pub shown: Vec<Shown>,
    /// Listeners that showed none, and those whose certificate could not be read.
    pub unseen: Vec<Unseen>,
    /// Certificates of issuers that were fetched.
    fetched: BTreeSet<usize>,
    /// Everything that may stand above another: what any server sent beside its own, and what was fetched.
    above: BTreeSet<usize>,
    /// The stores, each with the roots that bear the name of an issuer.
    stores: Vec<Store>,
    /// When the evidence was gathered, by the estate's clocks.
    pub now: Timestamp,
    /// Ways that were found already: many places send the same chain, and several questions ask for its way.
    ways: RefCell<BTreeMap<Errand, KnownWay>>,
}

/// A way that is looked for: from which certificate, by which others, and whether to public roots alone.
type Errand = (usize, Vec<usize>, bool);

/// A way by the numbers of its certificates.
#[derive(Clone, Debug)]
struct KnownWay {
    above: Vec<usize>,
    end: End<usize>,
    fault: Option<Fault>,
}

/// A server showed a chain.
#[derive(Debug)]
pub struct Shown {
    /// Where.
    pub listener: Listener,
    /// By which command of SMTP.
    pub upgrade: Option<Upgrade>,
    /// The name that was asked for, of a web server, which may have a certificate for each.
    pub asked: Option<String>,
    /// Whoever showed it does not hold its key.
    pub disproven: bool,
    /// The server's own certificate.
    leaf: usize,
    /// What else was sent, in its order; what could not be read is left out.
    others: Vec<usize>,
    /// The version of TLS.
    pub version: Option<u16>,
    /// It came by an offer of old, where nothing newer did.
    pub is_old: bool,
}

/// A listener from which no certificate is known.
#[derive(Debug)]
pub struct Unseen {
    /// Where.
    pub listener: Listener,
    /// Why, in words.
    pub why: String,
    /// There is nothing to see, or it does not matter: a port that need not be open, or that offers no TLS.
    pub is_harmless: bool,
}

#[derive(Debug)]
struct Store {
    name: String,
    is_public: bool,
    roots: Vec<usize>,
}

/// A store in which a way ends at a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    /// The store.
    pub store: String,
    /// Peers outside trust its roots.
    pub is_public: bool,
}

impl Certificates {
    /// Those of the evidence that the estate was learnt from.
    pub fn seen(estate: &Estate, evidence: &Evidence) -> Rc<Self> {
        Rc::clone(estate.derived.certificates.get_or_init(|| Rc::new(Self::read_out(estate, evidence))))
    }

    fn read_out(estate: &Estate, evidence: &Evidence) -> Self {
        let mut certificates = Self {
            all: Vec::new(),
            by_der: BTreeMap::new(),
            shown: Vec::new(),
            unseen: Vec::new(),
            fetched: BTreeSet::new(),
            above: BTreeSet::new(),
            stores: Vec::new(),
            now: estate_now(estate, evidence),
            ways: RefCell::default(),
        };
        for listener in listeners(estate) {
            certificates.look_at(&listener, estate, evidence);
        }
        for (name, is_public) in stores(estate) {
            certificates.stores.push(Store { name, is_public, roots: Vec::new() });
        }
        let of_forest: Vec<_> = estate.organisation.authorities.iter().cloned().map(Raw).collect();
        if !of_forest.is_empty() {
            let roots = certificates.read_all(&of_forest);
            certificates.stores.push(Store { name: FOREST.into(), is_public: false, roots });
        }
        for (_, question, answer) in evidence.all::<RootsNamed>() {
            let found: Vec<usize> =
                answer.facts().map(|found| certificates.read_all(&found.certificates)).unwrap_or_default();
            if let Some(store) = certificates.stores.iter_mut().find(|store| store.name == question.store) {
                store.roots.extend(found);
            }
        }
        for (_, _, answer) in evidence.all::<HttpFetch>() {
            if let Some(index) = answer.facts().and_then(|file| certificates.read(&file.body)) {
                certificates.fetched.insert(index);
            }
        }
        let sent: Vec<_> = certificates.shown.iter().flat_map(|shown| shown.others.clone()).collect();
        // What was given is looked up by what it is; what came with a supposed certificate, its server would send.
        for given in given(estate) {
            certificates.read(given);
        }
        let supposed: Vec<_> =
            estate.plan.inputs.supposed.iter().filter_map(|it| it.chain.get(1..)).flatten().collect();
        let supposed: Vec<_> = supposed.into_iter().filter_map(|der| certificates.read(der)).collect();
        certificates.above = sent.into_iter().chain(supposed).chain(certificates.fetched.iter().copied()).collect();
        certificates
    }

    fn look_at(&mut self, listener: &Listener, estate: &Estate, evidence: &Evidence) {
        let (mut why, mut has_shown, mut is_unreadable) = (None, false, false);
        let asks = listener.asks(estate, evidence);
        for ask in &asks {
            let look = listener.look(ask, evidence);
            let Some(seen) = look.seen() else {
                why = why.or_else(|| look.miss.map(ToString::to_string));
                continue;
            };
            match self.read_chain(seen) {
                Some((leaf, others)) => {
                    let (upgrade, is_old) = (upgrade_of(ask), is_old(ask));
                    // What an old hello shows counts where nothing newer showed anything.
                    if !is_old || !has_shown {
                        let listener = listener.clone();
                        let (asked, disproven, version) = (asked_name(ask), seen.disproven, seen.version);
                        self.shown.push(Shown { listener, upgrade, asked, disproven, leaf, others, version, is_old });
                    }
                    has_shown = true;
                }
                None => is_unreadable = true,
            }
        }
        if has_shown {
            return;
        }
        let first = listener.first_look(evidence);
        let talked = first.session.filter(|session| session.hello().is_some());
        let refused = talked.and_then(|session| session.upgrade()).filter(|upgrade| upgrade.code() != Some(220));
        let offers_nothing = talked.is_some_and(|session| session.upgrade().is_none()) || refused.is_some();
        let is_optional = listener.facing == Facing::Inside;
        let is_out_of_the_way = first.miss.is_some_and(|miss| miss.reason != Reason::Interrupted) && is_optional;
        let why = match refused {
            _ if is_unreadable => "it showed a certificate that cannot be read".to_string(),
            Some(refused) => format!("it refused to begin TLS: {}", quote(&refused.lines.join(" "))),
            None if offers_nothing => "it offers no TLS".to_string(),
            None => why.unwrap_or_else(|| "the run ended before it showed one".to_string()),
        };
        let is_harmless = !is_unreadable && (offers_nothing || is_out_of_the_way);
        self.unseen.push(Unseen { listener: listener.clone(), why, is_harmless });
    }

    fn read_chain(&mut self, seen: &TlsSeen) -> Option<(usize, Vec<usize>)> {
        let (leaf, others) = seen.chain.split_first()?;
        Some((self.read(leaf)?, self.read_all(others)))
    }

    fn read_all(&mut self, certificates: &[Raw]) -> Vec<usize> {
        certificates.iter().filter_map(|certificate| self.read(certificate)).collect()
    }

    fn read(&mut self, der: &Raw) -> Option<usize> {
        if let Some(known) = self.by_der.get(&der.0) {
            return Some(*known);
        }
        self.all.push(Certificate::parse(&der.0).ok()?);
        self.by_der.insert(der.0.clone(), self.all.len() - 1);
        Some(self.all.len() - 1)
    }

    /// The server's own certificate of a sighting.
    pub fn leaf(&self, shown: &Shown) -> &Certificate {
        &self.all[shown.leaf]
    }

    /// What else was sent with it, in its order.
    pub fn others(&self, shown: &Shown) -> Vec<&Certificate> {
        shown.others.iter().map(|index| &self.all[*index]).collect()
    }

    /// Every server's own certificate, with all places where it was shown.
    pub fn leaves(&self) -> Vec<Leaf<'_>> {
        let mut places: BTreeMap<&str, Vec<&Shown>> = BTreeMap::new();
        for shown in &self.shown {
            places.entry(&self.leaf(shown).thumbprint).or_default().push(shown);
        }
        let leaf = |shown: Vec<&Shown>| self.leaf(shown[0]);
        places.into_values().map(|shown| Leaf { certificate: leaf(shown.clone()), shown }).collect()
    }

    /// The best way up from what one server sent, to any root of these stores.
    pub fn way_as_sent(&self, shown: &Shown, public_only: bool) -> Way<'_> {
        self.way(&(shown.leaf, shown.others.clone(), public_only))
    }

    /// The way that a peer goes: by what the server sent if that is enough, else by whatever is known.
    pub fn way_of(&self, shown: &Shown, public_only: bool) -> Way<'_> {
        let sent = self.way_as_sent(shown, public_only);
        if sent.root().is_some() { sent } else { self.way_as_known(shown, public_only) }
    }

    /// The best way up with all that is known: what this server sent, what others sent, what could be fetched.
    pub fn way_as_known(&self, shown: &Shown, public_only: bool) -> Way<'_> {
        let elsewhere = self.above.iter().filter(|index| !shown.others.contains(index));
        self.way(&(shown.leaf, shown.others.iter().chain(elsewhere).copied().collect(), public_only))
    }

    fn way(&self, errand: &Errand) -> Way<'_> {
        let known = self.ways.borrow().get(errand).cloned();
        let known = known.unwrap_or_else(|| {
            let (leaf, others, public_only) = errand;
            let others: Vec<_> = others.iter().map(|index| &self.all[*index]).collect();
            let way = best_way(&self.all[*leaf], &others, &self.roots(*public_only), self.now);
            let number = |certificate: &Certificate| self.by_der[&certificate.der];
            let above = way.above.iter().copied().map(number).collect();
            let known = KnownWay { above, end: way.end.map(number), fault: way.fault };
            self.ways.borrow_mut().insert(errand.clone(), known.clone());
            known
        });
        let KnownWay { above, end, fault } = known;
        let named = |index: usize| &self.all[index];
        Way { leaf: named(errand.0), above: above.into_iter().map(named).collect(), end: end.map(named), fault }
    }

    /// Who trusts a server's certificate, by all that is known of what stands above it. The machine's own store decides nothing
    /// here: what is in it may be a public root that Mozilla does not have, or the company's.
    pub fn standing(&self, certificate: &Certificate) -> Standing {
        if certificate.is_self_issued() {
            return Standing::SelfSigned;
        }
        self.by_der.get(&certificate.der).map_or(Standing::Untold, |index| self.standing_of(*index))
    }

    /// The same of a certificate of which only the issuer's name is known: by the authorities that are known and bear it.
    pub fn standing_below(&self, issuer: &DistinguishedName) -> Standing {
        let bears = |authority: &&Certificate| authority.is_ca && DistinguishedName::of(&authority.subject).is(issuer);
        let authorities = self.all.iter().filter(bears).map(|authority| self.standing_of(self.by_der[&authority.der]));
        let told: BTreeSet<_> = authorities.filter(|standing| *standing != Standing::Untold).collect();
        match (told.first(), told.len()) {
            (Some(standing), 1) => *standing,
            _ => Standing::Untold,
        }
    }

    fn standing_of(&self, index: usize) -> Standing {
        let way = |public_only| self.way(&(index, self.above.iter().copied().collect(), public_only));
        if way(true).root().is_some() {
            return Standing::Public;
        }
        let stores = way(false).root().map(|root| self.stores_with(root)).unwrap_or_default();
        if stores.iter().any(|trust| trust.store != SYSTEM) { Standing::Private } else { Standing::Untold }
    }

    /// Was this certificate fetched by the URL in another, and not sent by any server?
    pub fn is_fetched(&self, certificate: &Certificate) -> bool {
        self.fetched.iter().any(|index| self.all[*index].der == certificate.der)
    }

    /// The stores that hold this root.
    pub fn stores_with(&self, root: &Certificate) -> Vec<Trust> {
        let holds = |store: &&Store| {
            store.roots.iter().any(|index| {
                self.all[*index].key_der == root.key_der && self.all[*index].subject.der == root.subject.der
            })
        };
        self.stores
            .iter()
            .filter(holds)
            .map(|store| Trust { store: store.name.clone(), is_public: store.is_public })
            .collect()
    }

    fn roots(&self, public_only: bool) -> Vec<&Certificate> {
        let stores = self.stores.iter().filter(|store| store.is_public || !public_only);
        let indexes: BTreeSet<usize> = stores.flat_map(|store| store.roots.iter().copied()).collect();
        indexes.into_iter().map(|index| &self.all[index]).collect()
    }
}

/// A server's own certificate, and where it was shown.
pub struct Leaf<'c> {
    /// The certificate.
    pub certificate: &'c Certificate,
    /// Where, at least once.
    pub shown: Vec<&'c Shown>,
}

impl Leaf<'_> {
    /// Who of all that see it looks most strictly.
    pub fn facing(&self) -> Facing {
        self.shown.iter().map(|shown| shown.facing()).max().unwrap_or(Facing::Inside)
    }

    /// Each way in which it was shown, once: many places may send the same chain.
    pub fn chains(&self) -> Vec<&Shown> {
        let ways: BTreeMap<_, _> =
            self.shown.iter().rev().map(|shown| ((&shown.others, shown.facing()), *shown)).collect();
        ways.into_values().collect()
    }

    /// What findings about it name.
    pub fn subject(&self) -> Subject {
        Subject::Certificate(self.certificate.thumbprint.clone())
    }

    /// The trouble that it is bad.
    pub fn trouble(&self) -> Trouble {
        Trouble::CertificateBad(self.certificate.thumbprint.clone())
    }

    /// Its name and its places, with which every sentence about it begins: `CN=mail at ex01.contoso.com:25`.
    pub fn at(&self) -> String {
        let places: BTreeSet<String> = self.shown.iter().map(|shown| shown.place()).collect();
        let places: Vec<_> = places.into_iter().collect();
        format!("{} at {}", self.certificate.subject, places.join(", "))
    }
}

impl Shown {
    /// Who looks at it: the internal transport certificate is for peers alone, whoever else could ask for it.
    pub fn facing(&self) -> Facing {
        if self.upgrade == Some(Upgrade::AnonymousTls) { Facing::Inside } else { self.listener.facing }
    }

    /// Where it was shown.
    pub fn place(&self) -> String {
        let suffix = if self.upgrade == Some(Upgrade::AnonymousTls) { " (X-ANONYMOUSTLS)" } else { "" };
        format!("{}:{}{suffix}", self.listener.to.host, self.listener.to.port)
    }
}

/// Judges every server's own certificate in the name of a check, and says of every listener without one that it has none.
pub fn judge_leaves(
    meta: &'static Meta,
    estate: &Estate,
    evidence: &Evidence,
    judge: impl Fn(&Certificates, &Leaf<'_>) -> Finding,
) -> Vec<Finding> {
    let certificates = Certificates::seen(estate, evidence);
    let unseen = certificates.unseen.iter().map(|unseen| judge_unseen(meta, unseen));
    let leaves = certificates.leaves();
    let seen = leaves.iter().map(|leaf| {
        let finding = Finding { named: Some(leaf.at()), ..judge(&certificates, leaf) };
        leaf.shown.iter().fold(finding, |finding, shown| finding.speaks_for(shown.listener.subject()))
    });
    let nameless = estate.unresolved_servers().map(|server| judge_nameless(meta, &server.name));
    unseen.chain(seen).chain(nameless).collect()
}

/// What a check says of a stated server whose name leads nowhere.
fn judge_nameless(meta: &'static Meta, name: &str) -> Finding {
    Finding::new(meta, Subject::Host(name.to_string()), Verdict::Unknown, "its name has no address")
        .suspects(Trouble::Name(name.to_string()))
        .suspects(Trouble::HostDark(name.to_string()))
        .suspects(Trouble::CertificateBad(name.to_string()))
        .remedy("See whether the name is spelt as DNS knows it, and whole: ex01.contoso.com and not ex01.")
}

/// What every check of certificates needs asked of the listeners.
pub fn listener_needs(estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let needs = listeners(estate).into_iter().flat_map(|listener| {
        let asks = listener.asks(estate, evidence).into_iter();
        asks.map(move |ask| Need { subject: listener.subject(), ask })
    });
    needs.collect()
}

/// What the checks need that follow a certificate to its root: the roots that bear an issuer's name, and the issuers that were
/// not sent, as far as certificates say where those can be fetched.
pub fn trust_needs(estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let derived = estate.derived.trust_needs.get_or_init(|| Rc::new(find_trust_needs(estate, evidence)));
    derived.as_ref().clone()
}

fn find_trust_needs(estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let mut needs = listener_needs(estate, evidence);
    let mut reader = Reader::default();
    let mut known: BTreeSet<&[Raw]> = BTreeSet::new();
    for listener in listeners(estate) {
        let looks = listener.asks(estate, evidence).into_iter().map(|ask| listener.look(&ask, evidence));
        // Many places may send the same chain, and each is followed once.
        for seen in looks.filter_map(|look| look.seen()).filter(|seen| known.insert(&seen.chain)) {
            let asks = follow(&seen.chain, &mut reader, estate, evidence);
            needs.extend(asks.into_iter().map(|ask| Need { subject: listener.subject(), ask }));
        }
    }
    needs
}

/// What is to be asked so that the roots above certificates are known which nobody shows and somebody gave: rows of an export, a
/// supposed one. Whoever needs this says something about each of these certificates.
pub fn given_needs(estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let mut reader = Reader::default();
    let supposed = estate.plan.inputs.supposed.as_ref().map(|supposed| &supposed.chain[..]);
    let mut needs = Vec::new();
    for der in given(estate) {
        let chain = supposed.filter(|chain| chain.first() == Some(der)).unwrap_or(core::slice::from_ref(der));
        let Some(certificate) = reader.read(&der.0) else { continue };
        let subject = Subject::Certificate(certificate.thumbprint.clone());
        let asks = follow(chain, &mut reader, estate, evidence);
        needs.extend(asks.into_iter().map(|ask| Need { subject: subject.clone(), ask }));
    }
    needs
}

/// The certificates that somebody gave, each once.
fn given(estate: &Estate) -> impl Iterator<Item = &Raw> {
    let inputs = &estate.plan.inputs;
    let exported = inputs.certificates.iter().flatten().filter_map(|row| row.der.as_ref());
    let all: BTreeSet<_> = inputs.supposed.iter().filter_map(|it| it.chain.first()).chain(exported).collect();
    all.into_iter().take(MOST_GIVEN)
}

/// What is to be asked to follow a chain, as somebody sent or gave it, to its root.
fn follow(chain: &[Raw], reader: &mut Reader, estate: &Estate, evidence: &Evidence) -> Vec<Ask> {
    let mut wanted = Vec::new();
    let chain: Vec<_> = chain.iter().filter_map(|raw| reader.read(&raw.0)).collect();
    let mut ends: Vec<Rc<Certificate>> = Vec::new();
    for certificate in &chain {
        let (asks, is_unknown) = roots_named(certificate, estate, evidence);
        wanted.extend(asks);
        if is_unknown && is_end(certificate, &chain) {
            ends.push(Rc::clone(certificate));
        }
    }
    for _ in 0..FETCHED_LEVELS {
        let mut above = Vec::new();
        for end in &ends {
            let Some(fetch) = end.issuer_urls.iter().find_map(|url| Fetch::of(url, estate, evidence)) else { continue };
            wanted.extend(fetch.asks);
            let Some(issuer) = fetch.file.and_then(|file| reader.read(&file.body.0)) else { continue };
            let (asks, is_unknown) = roots_named(&issuer, estate, evidence);
            wanted.extend(asks);
            if is_unknown && !issuer.is_self_issued() {
                above.push(issuer);
            }
        }
        ends = above;
    }
    wanted
}

/// What the lists of revoked certificates take beyond that: each certificate below a root names the place of its issuer's list.
pub fn list_needs(estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let mut needs = trust_needs(estate, evidence);
    let mut known = BTreeSet::new();
    let all = listeners(estate);
    for listener in &all {
        let looks = listener.asks(estate, evidence).into_iter().map(|ask| listener.look(&ask, evidence));
        let sent = looks.filter_map(|look| look.seen()).flat_map(|seen| seen.chain.iter().take(LISTED));
        for raw in sent.filter(|raw| known.insert(*raw)) {
            let asks = list_asks(&raw.0, estate, evidence).into_iter();
            needs.extend(asks.map(|ask| Need { subject: listener.subject(), ask }));
        }
    }
    // Issuers that were fetched stand above what some listener shows; which one, is no matter here.
    let Some(some) = all.first() else { return needs };
    for raw in evidence.all::<HttpFetch>().filter_map(|(.., answer)| Some(&answer.facts()?.body)) {
        let asks = list_asks(&raw.0, estate, evidence).into_iter();
        needs.extend(asks.map(|ask| Need { subject: some.subject(), ask }));
    }
    needs
}

/// The questions for the list on which a certificate would stand, were it revoked.
fn list_asks(der: &[u8], estate: &Estate, evidence: &Evidence) -> Vec<Ask> {
    let mut asks = Vec::new();
    let Ok(certificate) = Certificate::parse(der) else { return asks };
    for fetch in lists(&certificate, estate, evidence).map(|(_, fetch)| fetch) {
        let is_enough = fetch.why_not.is_none();
        asks.extend(fetch.asks);
        // The next URL is another way to the same list.
        if is_enough {
            break;
        }
    }
    asks
}

/// The first URLs of a certificate's lists that can be followed, with what has come of them.
pub fn lists<'a>(
    certificate: &'a Certificate,
    estate: &'a Estate,
    evidence: &'a Evidence,
) -> impl Iterator<Item = (&'a String, Fetch<'a>)> {
    let urls = certificate.list_urls.iter().filter(|_| !certificate.is_self_issued());
    urls.filter_map(|url| Some((url, Fetch::of(url, estate, evidence)?))).take(MOST_URLS)
}

/// Does what was sent end here, without its issuer?
fn is_end(certificate: &Certificate, chain: &[Rc<Certificate>]) -> bool {
    let is_leaf = chain.first().is_some_and(|leaf| leaf.der == certificate.der);
    let stands_above = || chain.iter().any(|below| below.issuer.der == certificate.subject.der);
    let has_issuer = chain.iter().any(|other| other.subject.der == certificate.issuer.der);
    !has_issuer && (is_leaf || stands_above())
}

/// The questions for the roots that bear the name of a certificate's issuer; and whether it is known by now that there are none.
pub(crate) fn roots_named(certificate: &Certificate, estate: &Estate, evidence: &Evidence) -> (Vec<Ask>, bool) {
    let subject = Raw(certificate.issuer.der.clone());
    let question = |(store, _)| RootsNamed { store, subject: subject.clone() };
    let asks: Vec<_> =
        stores(estate).into_iter().map(|store| Ask::new(Endpoint::this_machine(), question(store))).collect();
    let has_none =
        |ask: &Ask| evidence.answer::<RootsNamed>(ask).facts().is_none_or(|found| found.certificates.is_empty());
    let is_unknown = asks.iter().all(|ask| evidence.holds(ask) && has_none(ask));
    (asks, is_unknown)
}

/// The names of all stores, and whether peers outside trust their roots.
pub(crate) fn stores(estate: &Estate) -> Vec<(String, bool)> {
    let own = [(MOZILLA.to_string(), true), (SYSTEM.to_string(), false)];
    let stated = estate.plan.stores.iter().map(|store| (store.name.clone(), store.public));
    own.into_iter().chain(stated).collect()
}

/// Reads each certificate once.
#[derive(Default)]
struct Reader(BTreeMap<Vec<u8>, Option<Rc<Certificate>>>);

impl Reader {
    fn read(&mut self, der: &[u8]) -> Option<Rc<Certificate>> {
        if let Some(known) = self.0.get(der) {
            return known.clone();
        }
        let read = Certificate::parse(der).ok().map(Rc::new);
        self.0.insert(der.to_vec(), read.clone());
        read
    }
}

fn upgrade_of(ask: &Ask) -> Option<Upgrade> {
    if let Question::SmtpSession(session) = &ask.what { Some(session.upgrade) } else { None }
}

fn asked_name(ask: &Ask) -> Option<String> {
    match &ask.what {
        Question::HttpsGet(get) => Some(get.name.clone()),
        Question::TlsSession(session) => session.name.clone(),
        _ => None,
    }
}

fn is_old(ask: &Ask) -> bool {
    matches!(
        ask.what,
        Question::SmtpSession(SmtpSession { offer: Offer::UpTo(_), .. })
            | Question::TlsSession(TlsSession { offer: Offer::UpTo(_), .. })
    )
}

/// What a check says of a listener whose certificate is not known.
pub fn judge_unseen(meta: &'static Meta, unseen: &Unseen) -> Finding {
    let Unseen { listener, why, is_harmless } = unseen;
    let verdict = if *is_harmless { Verdict::Skip } else { Verdict::Unknown };
    Finding::new(meta, listener.subject(), verdict, format!("no certificate was seen: {why}"))
        .suspects(Trouble::HostDark(listener.to.host.clone()))
        .suspects(Trouble::Name(listener.to.host.clone()))
        .suspects(Trouble::PortShut(listener.subject()))
        .suspects(Trouble::CertificateBad(listener.subject().to_string()))
        .at(listener.to.address)
}
