//! A renewal before it happens: what a recording would say, were a certificate there that is not there yet. Nothing is asked of
//! the network. What only the network could tell stays unanswered, and is no alarm.

mod stage;

use crate::{
    recording::{Origin, Recording},
    renewal::{Kinship, Leaf},
    wire::stores::Stores,
};
use exchange_preflight_checks::{
    CHECKS,
    facts::{
        certificate::{Certificate, Key},
        raw::Raw,
        smtp::Upgrade,
        trust::{RootsFound, RootsNamed},
    },
    model::{
        ask::{Ask, Facts, Question},
        certificates::{Certificates, Shown},
        check::wanted,
        estate::Estate,
        evidence::{End, Evidence, Miss, Observation, Reason, Reply, Stage},
        inputs::Supposed,
        listeners::Service,
        stock::{Source, Stock, Stocked, host_called, stocks},
    },
};
use jiff::{SignedDuration, Timestamp};
use stage::set;
use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

/// What somebody has a mind to do.
#[derive(Clone, Debug, Default)]
pub struct Intention {
    /// The new certificate, and what came with it in its file.
    pub chain: Vec<Raw>,
    /// Its key is in its file, too.
    pub has_key: bool,
    /// The servers that are to have it; none for all that have one in whose place it would stand.
    pub on: Vec<String>,
    /// Thumbprints of certificates that are to be removed there.
    pub remove: Vec<String>,
    /// It is to become the internal transport certificate as well.
    pub overwrites_default: bool,
}

/// A rehearsal.
#[derive(Debug)]
pub struct Rehearsal {
    /// The new certificate.
    pub new: Certificate,
    /// Its key came in its file.
    pub has_key: bool,
    /// What was seen.
    pub before: Recording,
    /// What would be.
    pub supposed: Recording,
    /// In whose place it would stand.
    pub replaced: Vec<Replaced>,
    /// What is worth saying and judges nothing.
    pub notes: Vec<String>,
}

/// A certificate in whose place the new one would stand.
#[derive(Clone, Debug)]
pub struct Replaced {
    /// The certificate.
    pub leaf: Leaf,
    /// Where it is shown, on the servers that are to have the new one.
    pub places: BTreeSet<String>,
    /// The servers among them that have it.
    pub hosts: BTreeSet<String>,
}

impl Rehearsal {
    /// Supposes it. The error is a sentence.
    pub fn of(before: Recording, intention: Intention, stores: &Stores) -> Result<Self, String> {
        if before.origin == Origin::Supposed {
            return Err("the recording is of a rehearsal, supposed and not seen; rehearse on one of a run".into());
        }
        let first = intention.chain.first().ok_or("the file of the new certificate holds none")?;
        let new = Certificate::parse(&first.0).map_err(|wrong| format!("the new certificate: {wrong}"))?;
        let known = Known::of(&before);
        let on = known.hosts(&intention.on)?;
        let removed = known.removed(&intention.remove, &new)?;
        let replaced = known.replaced(&new);
        let on: BTreeSet<String> = match on {
            Some(on) => on,
            None => known.holders(&new, &replaced)?,
        };
        if let Some(stray) = removed.iter().find(|removed| !known.holders_of(removed).any(|host| on.contains(host))) {
            let hosts: Vec<_> = known.holders_of(stray).cloned().collect();
            return Err(format!(
                "--remove {stray}: no server has it that is to have the new one, but {}",
                hosts.join(", ")
            ));
        }
        let mut plan = before.plan.clone();
        plan.inputs.supposed = Some(Supposed {
            chain: intention.chain,
            on: on.iter().cloned().collect(),
            removed: removed.into_iter().collect(),
            is_internal: intention.overwrites_default,
            is_for_web_alone: known.is_for_web_alone(&replaced, &on),
        });
        let olds = replaced.iter().map(|old| old.thumbprint.clone()).collect();
        let evidence = set(&plan, &before.evidence, &known.seen, &new, &olds);
        let mut supposed = Recording { origin: Origin::Supposed, plan, evidence, ..before.clone() };
        let mut before = before;
        let untold: BTreeSet<String> =
            [&mut before, &mut supposed].into_iter().flat_map(|recording| answer(recording, stores)).collect();
        let mut notes = notes(&new, &known, &supposed, &untold);
        notes.splice(0..0, warnings(&new, &replaced, known.seen.now));
        let replaced = replaced.into_iter().map(|leaf| known.places_of(leaf, &on)).collect();
        Ok(Self { new, has_key: intention.has_key, before, supposed, replaced, notes })
    }

    /// What is supposed.
    pub fn supposition(&self) -> Supposed {
        self.supposed.plan.inputs.supposed.clone().unwrap_or_default()
    }
}

/// What the recording shows of certificates.
struct Known {
    estate: Estate,
    seen: Rc<Certificates>,
    stocks: Rc<BTreeMap<String, Stock>>,
}

impl Known {
    fn of(recording: &Recording) -> Self {
        let Recording { plan, evidence, .. } = recording;
        let estate = Estate::learn(plan, evidence);
        let (seen, stocks) = (Certificates::seen(&estate, evidence), stocks(&estate, evidence));
        Self { estate, seen, stocks }
    }

    /// The servers that are named; `None` where none is.
    fn hosts(&self, named: &[String]) -> Result<Option<BTreeSet<String>>, String> {
        let known: Vec<_> = self.estate.servers.keys().cloned().collect();
        let host = |name: &String| {
            let host = host_called(name, &self.estate);
            let is_known = self.estate.servers.contains_key(&host);
            is_known.then_some(host).ok_or_else(|| {
                format!("--on {name}: the recording knows no such server; it knows {}", known.join(", "))
            })
        };
        let hosts: BTreeSet<_> = named.iter().map(host).collect::<Result<_, _>>()?;
        Ok((!hosts.is_empty()).then_some(hosts))
    }

    /// The thumbprints that are to be removed, as they are written here.
    fn removed(&self, named: &[String], new: &Certificate) -> Result<BTreeSet<String>, String> {
        named.iter().map(|text| self.removable(text, new)).collect()
    }

    fn removable(&self, text: &str, new: &Certificate) -> Result<String, String> {
        let bare = text.trim().strip_prefix("sha1:").unwrap_or(text.trim());
        let thumbprint: String =
            bare.chars().filter(|letter| !letter.is_whitespace()).collect::<String>().to_lowercase();
        if thumbprint == new.thumbprint {
            return Err(format!("--remove {text}: that is the new certificate itself"));
        }
        if self.holders_of(&thumbprint).next().is_some() {
            return Ok(thumbprint);
        }
        let mut known: BTreeMap<&str, (String, BTreeSet<&str>)> = BTreeMap::new();
        for (host, one) in
            self.stocks.iter().flat_map(|(host, stock)| stock.certificates.values().map(move |one| (host, one)))
        {
            let entry = known.entry(&one.thumbprint).or_insert_with(|| (Leaf::from(one).name(), BTreeSet::new()));
            entry.1.insert(host.as_str());
        }
        let list = known.iter().map(|(thumbprint, (name, hosts))| {
            let hosts: Vec<_> = hosts.iter().copied().collect();
            format!("\n  {thumbprint}  {name}  {}", hosts.join(", "))
        });
        let list: Vec<_> = list.collect();
        let what =
            if list.is_empty() { " of any certificate".to_string() } else { format!("; it knows:{}", list.concat()) };
        Err(format!("--remove {text}: the recording knows of no such certificate{what}"))
    }

    /// The servers that have a certificate.
    fn holders_of<'k>(&'k self, thumbprint: &'k str) -> impl Iterator<Item = &'k String> {
        let has = move |(_, stock): &(&String, &Stock)| stock.certificates.contains_key(thumbprint);
        self.stocks.iter().filter(has).map(|(host, _)| host)
    }

    /// In whose place it would stand: certificates of an authority that SMTP or a website shows, or that exports and logs tell
    /// of, and that are most like it by name. What servers made themselves is never among them.
    fn replaced(&self, new: &Certificate) -> Vec<Leaf> {
        let like = Leaf::from(new);
        let mut candidates: BTreeMap<String, Leaf> = BTreeMap::new();
        let shown = self.seen.shown.iter().filter(is_of_mail).map(|shown| Leaf::from(self.seen.leaf(shown)));
        let is_alive = |one: &&Stocked| one.not_after.is_none_or(|end| end >= self.seen.now);
        let told = |one: &&Stocked| one.sources.contains(&Source::Export) || one.sources.contains(&Source::Log);
        let stocked = self.stocks.values().flat_map(|stock| stock.certificates.values());
        for leaf in shown.chain(stocked.filter(is_alive).filter(told).map(Leaf::from)) {
            if !leaf.is_self_issued && leaf.thumbprint != new.thumbprint {
                candidates.entry(leaf.thumbprint.clone()).or_insert(leaf);
            }
        }
        // Where it is in use already, it takes the place of its like alone.
        let is_in_use = self.holders_of(&new.thumbprint).next().is_some();
        let itself = is_in_use.then_some(Kinship::SameCommonName);
        let nearest = candidates.values().map(|leaf| leaf.kinship(&like)).chain(itself).max();
        let stated = self.stated_names();
        let serves_alike = |leaf: &Leaf| stated.iter().any(|name| leaf.bears(name) && like.bears(name));
        let is_near = |leaf: &Leaf| match nearest {
            Some(kinship) if kinship > Kinship::None => leaf.kinship(&like) == kinship,
            _ => serves_alike(leaf),
        };
        let near: Vec<Leaf> = candidates.into_values().filter(is_near).collect();
        // Where there is one for each kind of key, it is for its own.
        let is_of_kind = |leaf: &Leaf| leaf.certificate.as_ref().is_none_or(|one| is_rsa(one) == is_rsa(new));
        let of_kind: Vec<_> = near.iter().filter(|leaf| is_of_kind(leaf)).cloned().collect();
        if of_kind.is_empty() { near } else { of_kind }
    }

    /// Names by which servers are reached, as the plan states them.
    fn stated_names(&self) -> BTreeSet<&String> {
        self.estate.servers.values().flat_map(|server| server.outward.iter().chain(&server.web)).collect()
    }

    /// The servers that have one of these, or the new one already.
    fn holders(&self, new: &Certificate, replaced: &[Leaf]) -> Result<BTreeSet<String>, String> {
        let thumbprints = replaced.iter().map(|leaf| leaf.thumbprint.as_str()).chain([new.thumbprint.as_str()]);
        let hosts: BTreeSet<String> = thumbprints.flat_map(|one| self.holders_of(one)).cloned().collect();
        if !hosts.is_empty() {
            return Ok(hosts);
        }
        let leaf = Leaf::from(new);
        let of_mail = self.seen.shown.iter().filter(is_of_mail).map(|shown| self.seen.leaf(shown));
        let shown: BTreeSet<String> =
            of_mail.filter(|one| !one.is_self_issued()).map(|one| Leaf::from(one).name()).collect();
        let shown: Vec<_> = shown.into_iter().collect();
        let seen = if shown.is_empty() { "none of an authority".to_string() } else { shown.join(", ") };
        Err(format!(
            "the new certificate ({}) shares no name with any that SMTP or a website shows, or that a file tells of ({seen}): say \
             which servers are to have it, by --on",
            leaf.name()
        ))
    }

    /// Does it come in the place of certificates that websites have and SMTP has not?
    fn is_for_web_alone(&self, replaced: &[Leaf], on: &BTreeSet<String>) -> bool {
        let is_old = |thumbprint: &str| replaced.iter().any(|leaf| leaf.thumbprint == thumbprint);
        let is_here = |shown: &&Shown| on.contains(&shown.listener.to.host) && is_of_mail(shown);
        let here = || self.seen.shown.iter().filter(is_here).filter(|s| is_old(&self.seen.leaf(s).thumbprint));
        let is_of_web = here().next().is_some() && here().all(|shown| shown.listener.service == Service::Web);
        let stocked = on.iter().filter_map(|host| self.stocks.get(host)).flat_map(|stock| stock.certificates.values());
        // Where no export tells, a certificate that only a website shows may serve SMTP as a client all the same.
        let mut told = stocked.filter(|one| is_old(&one.thumbprint));
        is_of_web && told.all(|one| one.serves_smtp == Some(false))
    }

    fn places_of(&self, leaf: Leaf, on: &BTreeSet<String>) -> Replaced {
        let shown = self.seen.shown.iter().filter(|shown| {
            on.contains(&shown.listener.to.host)
                && self.seen.leaf(shown).thumbprint == leaf.thumbprint
                && is_of_mail(shown)
        });
        let places = shown.map(Shown::place).collect();
        let hosts = self.holders_of(&leaf.thumbprint).filter(|host| on.contains(*host)).cloned().collect();
        Replaced { leaf, places, hosts }
    }
}

/// Is it shown to others than servers of the organisation, by SMTP or a website?
#[expect(clippy::trivially_copy_pass_by_ref, reason = "iterators of references filter by it")]
fn is_of_mail(shown: &&Shown) -> bool {
    shown.upgrade != Some(Upgrade::AnonymousTls) && shown.listener.service != Service::Directory
}

fn is_rsa(certificate: &Certificate) -> bool {
    matches!(certificate.key, Key::Rsa(_))
}

/// Answers what this machine can answer without any network: which roots its stores have. Returns the names of stores that are not
/// here.
fn answer(recording: &mut Recording, stores: &Stores) -> BTreeSet<String> {
    // Each root that is found may lead to another question, and no chain is as long as this.
    const MOST_ROUNDS: usize = 16;
    let mut untold = BTreeSet::new();
    for _ in 0..MOST_ROUNDS {
        let asks = wanted(&recording.plan, CHECKS, &recording.evidence);
        let open = asks.into_iter().filter(|ask| !recording.evidence.holds(ask));
        let answered: Vec<Observation> =
            open.filter_map(|ask| roots(ask, &recording.evidence, stores, &mut untold)).collect();
        if answered.is_empty() {
            break;
        }
        for observation in answered {
            recording.evidence.insert(observation);
        }
    }
    untold
}

fn roots(ask: Ask, evidence: &Evidence, stores: &Stores, untold: &mut BTreeSet<String>) -> Option<Observation> {
    let Question::RootsNamed(question) = &ask.what else { return None };
    let found = stores.find(question).or_else(|why| recorded(question, evidence).ok_or(why));
    let reply = match found {
        Ok(found) => Reply { facts: Some(Facts::RootsNamed(found)), end: End::Ok },
        Err(_) if !stores.has(&question.store) => {
            untold.insert(question.store.clone());
            return None;
        }
        Err(why) => {
            let miss = Miss { stage: Stage::Reply, reason: Reason::Local(why), took: SignedDuration::ZERO };
            Reply { facts: None, end: End::Miss(miss) }
        }
    };
    Some(Observation { ask, reply, when: evidence.latest() })
}

/// Roots of a store that is elsewhere, as far as the recording has them. That it has none says nothing.
fn recorded(question: &RootsNamed, evidence: &Evidence) -> Option<RootsFound> {
    let of_store = evidence.all::<RootsNamed>().filter(|(_, other, _)| other.store == question.store);
    let mut found: Option<RootsFound> = None;
    for told in of_store.filter_map(|(.., answer)| answer.facts()) {
        let is_it = |raw: &&Raw| Certificate::parse(&raw.0).is_ok_and(|root| root.subject.der == question.subject.0);
        for raw in told.certificates.iter().filter(is_it) {
            let all = found.get_or_insert_with(|| RootsFound { digest: told.digest.clone(), certificates: Vec::new() });
            if !all.certificates.contains(raw) {
                all.certificates.push(raw.clone());
            }
        }
    }
    found
}

/// What speaks against the new certificate at once.
fn warnings(new: &Certificate, replaced: &[Leaf], now: Timestamp) -> Vec<String> {
    const DAY: &str = "%Y-%m-%d";
    let end = new.not_after.strftime(DAY);
    if new.not_after < now {
        return vec![format!("It expired on {end}: do not install it.")];
    }
    let latest = replaced.iter().filter_map(|leaf| leaf.not_after).max().filter(|latest| new.not_after < *latest);
    let latest = latest.map(|latest| latest.strftime(DAY));
    latest
        .map(|latest| format!("It ends on {end}, before the one that it replaces ({latest}): is it the right file?"))
        .into_iter()
        .collect()
}

fn notes(new: &Certificate, known: &Known, supposed: &Recording, untold: &BTreeSet<String>) -> Vec<String> {
    let mut notes = Vec::new();
    if new.not_before > known.seen.now {
        let since = minute(new.not_before);
        notes.push(format!(
            "The new certificate begins to live after the recording was made: all is judged as of {since}."
        ));
    }
    let after = Known::of(supposed);
    let mut shown = after.seen.shown.iter().filter(|shown| after.seen.leaf(shown).thumbprint == new.thumbprint);
    let is_rooted = shown.any(|shown| after.seen.way_of(shown, false).root().is_some());
    for store in untold.iter().filter(|_| !is_rooted) {
        notes.push(format!(
            "Roots of the store {store} are not on this machine; where the recording lacks them, give them by --trust {store}.pem."
        ));
    }
    if known.estate.plan.inputs.certificates.is_none() {
        notes.push(
            "Without an export of Get-ExchangeCertificate (--input) it is not known which other certificates the servers have."
                .into(),
        );
    }
    notes
}

fn minute(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%d %H:%M UTC").to_string()
}
