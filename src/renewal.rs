//! What the renewal of a certificate changed between two recordings of one estate: what was wanted, what was not, and what is
//! still to be done. It looks at places, names and pins, and at nothing that a check has said.

mod code;
mod lineage;
mod side;

use crate::{recording::Recording, render::text::count as counted};
pub use code::{Code, Told};
use exchange_preflight_checks::{
    facts::{
        certificate::{Certificate, ExtendedUsage},
        connector::CertificateName,
        dns::{canonical_name, is_host_name},
        export::{InboundConnector, Services},
    },
    model::{
        finding::Subject,
        hybrid::{Fit, fit},
        listeners::{Service, quote},
        outgoing::outgoing,
        selection::is_named,
        stock::{Source, host_called},
    },
};
use jiff::{SignedDuration, Timestamp};
use lineage::Lineage;
pub use side::Leaf;
use side::{Kind, Side, Spot};
use std::collections::{BTreeMap, BTreeSet};

/// What a renewal changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Which certificate stands in the place of which.
    pub pairs: Vec<Pair>,
    /// What changed by it, in the order in which it is told.
    pub changes: Vec<Change>,
}

/// A certificate, and the one that stands in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The former.
    pub old: Leaf,
    /// The one that stands where it stood.
    pub new: Leaf,
}

/// One thing that changed, or that did not and has to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// What it is.
    pub code: Code,
    /// About what, as findings name it; a place where X-ANONYMOUSTLS showed it says so.
    pub subject: String,
    /// A sentence.
    pub said: String,
}

/// Whether a change was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It is what a renewal is for.
    Wanted,
    /// It breaks something, or will.
    Unwanted,
    /// It is still to be done.
    Left,
}

impl Class {
    /// The word that people and machines read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Wanted => "wanted",
            Self::Unwanted => "unwanted",
            Self::Left => "left",
        }
    }
}

impl Renewal {
    /// What changed between two recordings of one estate; `None` where every place shows what it showed.
    pub fn between(before: &Recording, after: &Recording) -> Option<Self> {
        let (before, after) = (Side::of(before), Side::of(after));
        let search = Search::new(&before, &after);
        let mut changes: Vec<Change> = search.changes();
        changes.sort();
        // Several names of one web server are one port.
        changes.dedup_by(|one, other| (one.code, &one.subject) == (other.code, &other.subject));
        let is_nothing = search.pairs.is_empty() && changes.is_empty();
        (!is_nothing).then_some(Self { pairs: search.pairs, changes })
    }

    /// The changes of one class.
    pub fn of(&self, class: Class) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.code.class() == class)
    }

    /// Something changed that was not meant to, and that breaks something.
    pub fn is_marred(&self) -> bool {
        self.of(Class::Unwanted).any(|change| !change.code.is_harmless_alone())
    }

    /// Nothing is left to be done, but to take away the former certificates.
    pub fn is_complete(&self) -> bool {
        !self.is_marred() && self.of(Class::Left).all(|change| change.code == Code::OldStillThere)
    }

    /// Why it is complete or not, in a sentence without its end.
    pub fn reason(&self) -> String {
        let count = |class| self.of(class).count();
        let (unwanted, left) = (count(Class::Unwanted), count(Class::Left));
        if self.is_complete() {
            let still_there = match left {
                0 => ", and all that names it fits".into(),
                _ => format!("; the former one is still on {}, and goes last", counted(left, "server")),
            };
            let to_look_at = match unwanted {
                0 => String::new(),
                _ => format!("; {} to look at", counted(unwanted, "change")),
            };
            return format!("the new certificate stands everywhere{still_there}{to_look_at}");
        }
        let mut parts = Vec::new();
        if unwanted > 0 {
            parts.push(format!("{} that nobody wanted", counted(unwanted, "change")));
        }
        if left > 0 {
            parts.push(format!("{} still to be done", counted(left, "thing")));
        }
        parts.join(", ")
    }

    /// New thumbprint -> the former one's: findings about either are findings about one certificate and the next.
    pub fn predecessors(&self) -> BTreeMap<String, String> {
        let pairs = self.pairs.iter().rev();
        pairs.map(|pair| (pair.new.thumbprint.clone(), pair.old.thumbprint.clone())).collect()
    }
}

/// A certificate that lives hardly longer than the one that was renewed was to be renewed with it.
const TOGETHER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Both sides, and what stands in whose place.
struct Search<'s> {
    before: &'s Side,
    after: &'s Side,
    lineage: Lineage,
    /// The gravest loss first: the one that most places show.
    pairs: Vec<Pair>,
    /// Thumbprints of certificates that came, at a place that showed another before.
    came: BTreeSet<String>,
}

impl<'s> Search<'s> {
    fn new(before: &'s Side, after: &'s Side) -> Self {
        let mut search =
            Self { before, after, lineage: Lineage::of(before, after), pairs: Vec::new(), came: BTreeSet::new() };
        let mut found: BTreeMap<(String, String), usize> = BTreeMap::new();
        for spot in before.spots() {
            for (old, new) in search.at(spot) {
                *found.entry((old, new)).or_default() += 1;
            }
        }
        let mut ordered: Vec<_> = found.into_iter().collect();
        ordered.sort_by_key(|(_, places)| std::cmp::Reverse(*places));
        for ((old, new), _) in ordered {
            search.pairs.extend(search.pair(&old, &new));
        }
        search.pairs.extend(search.pairs_of_stocks());
        search.came.extend(search.pairs.iter().map(|pair| pair.new.thumbprint.clone()));
        search
    }

    fn pair(&self, old: &str, new: &str) -> Option<Pair> {
        Some(Pair { old: self.before.leaf(old)?.clone(), new: self.after.leaf(new)?.clone() })
    }

    /// What stands in whose place at one spot, each kind of key by itself.
    fn at(&mut self, spot: &Spot) -> Vec<(String, String)> {
        let (was, is) = (self.before.shown_at(spot), self.after.shown_at(spot));
        let mut pairs = Vec::new();
        let (mut ended, mut begun) = (Vec::new(), Vec::new());
        for kind in Kind::ALL {
            let of = |shown: &BTreeMap<Kind, BTreeSet<String>>| shown.get(&kind).cloned().unwrap_or_default();
            let (was, is) = (of(&was), of(&is));
            match (was.is_empty(), is.is_empty()) {
                (false, true) => ended.extend(was),
                (true, false) => begun.extend(is),
                _ => pairs.extend(self.nearest(&was, is.difference(&was))),
            }
        }
        // Another kind of key in the place of the former one.
        let ended: BTreeSet<String> = ended.into_iter().collect();
        if !ended.is_empty() {
            pairs.extend(self.nearest(&ended, begun.iter()));
        }
        pairs.retain(|(old, new)| self.is_renewal(old, new, spot));
        pairs
    }

    /// Each one that came, with the one of the former that is most like it.
    fn nearest<'n>(&self, was: &BTreeSet<String>, came: impl Iterator<Item = &'n String>) -> Vec<(String, String)> {
        let likeness = |old: &&String, new: &str| {
            let (old, new) = (self.before.leaf(old), self.after.leaf(new));
            old.zip(new).map(|(old, new)| old.kinship(new))
        };
        came.filter_map(|new| Some((was.iter().max_by_key(|old| likeness(old, new))?.clone(), new.clone()))).collect()
    }

    /// A certificate that Exchange made itself goes on elsewhere, rightly, when one of an authority takes its place at a port;
    /// and which of both peers are shown is no matter of names.
    fn is_renewal(&mut self, old: &str, new: &str, spot: &Spot) -> bool {
        let Some((old, new)) = self.before.leaf(old).zip(self.after.leaf(new)) else { return false };
        let is_alike = old.is_self_issued == new.is_self_issued;
        if !is_alike && old.is_self_issued && !spot.is_internal() {
            self.came.insert(new.thumbprint.clone());
        }
        is_alike || (new.is_self_issued && !spot.is_internal())
    }

    /// What no port shows, exports and logs may tell.
    fn pairs_of_stocks(&self) -> Vec<Pair> {
        let mut pairs: Vec<Pair> = Vec::new();
        for (host, stock) in self.after.stocks.iter() {
            let Some(former) = self.before.stocks.get(host) else { continue };
            let is_told = |one: &BTreeSet<Source>| {
                one.contains(&Source::Supposed)
                    || (one.contains(&Source::Export) && former.is_whole)
                    || (one.contains(&Source::Log)
                        && former.certificates.values().any(|old| old.sources.contains(&Source::Log)))
            };
            let came = stock.certificates.values().filter(|one| {
                is_told(&one.sources) && !one.is_self_signed && !former.certificates.contains_key(&one.thumbprint)
            });
            for new in
                came.map(Leaf::from).filter(|new| !self.pairs.iter().any(|pair| pair.new.thumbprint == new.thumbprint))
            {
                let olds = former.certificates.values().filter(|old| !old.is_self_signed).map(Leaf::from);
                let older = olds.filter(|old| old.kinship(&new) > Kinship::None && old.not_before <= new.not_before);
                let Some(old) = older.max_by_key(|old| (old.kinship(&new), old.not_before)) else { continue };
                let pair = Pair { old, new };
                if !pairs.contains(&pair) {
                    pairs.push(pair);
                }
            }
        }
        pairs
    }

    fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for pair in &self.pairs {
            changes.extend(self.of_pair(pair));
            changes.extend(self.left_behind(pair));
            changes.extend(self.not_seen(pair));
        }
        for spot in self.before.spots().chain(self.after.spots()).collect::<BTreeSet<_>>() {
            changes.extend(self.of_spot(spot));
        }
        changes.extend(self.internal());
        changes.extend(self.pins());
        changes.extend(self.tenant());
        changes.extend(self.still_there());
        changes
    }

    /// What the new certificate lost of the former one.
    fn of_pair(&self, pair: &Pair) -> Vec<Change> {
        let Pair { old, new } = pair;
        let subject = Subject::Certificate(new.thumbprint.clone()).to_string();
        let mut changes = Vec::new();
        let mut lost_or_changed = |code, said| changes.push(Change::new(code, &subject, said));
        let lost: Vec<String> = old.all_names().filter(|name| !new.bears(name)).map(|name| named(&name)).collect();
        if !lost.is_empty() {
            lost_or_changed(Code::NamesLost, format!("it does not bear {}, as {} did", some(&lost), old.short()));
        }
        if old.issuer != new.issuer && !(old.is_self_issued && new.is_self_issued) {
            let issuers = (quote(&old.issuer.text), quote(&new.issuer.text));
            lost_or_changed(
                Code::IssuerChanged,
                format!("it was issued by {}, and the former one by {}", issuers.1, issuers.0),
            );
        }
        let Some((was, is)) = old.certificate.as_ref().zip(new.certificate.as_ref()) else { return changes };
        if let Some(lost) = usage_lost(was, is, self.is_of_smtp(pair)) {
            lost_or_changed(Code::UsageLost, lost);
        }
        if was.key != is.key {
            lost_or_changed(Code::KeyChanged, format!("its key is {}, and that of the former one {}", is.key, was.key));
        }
        if self.lineage.is_public(was) && self.lineage.is_surely_not_public(is) {
            let said = "no public list of roots leads to it, as one did to the former: peers outside do not trust it";
            lost_or_changed(Code::NotPublic, said.into());
        }
        changes
    }

    /// Goes it out by SMTP, where a server is a client, too?
    fn is_of_smtp(&self, pair: &Pair) -> bool {
        let shows =
            |side: &Side, one: &str| side.spots().any(|spot| spot.service == Service::Smtp && side.shows(spot, one));
        let serves = |side: &Side, one: &str| {
            let mut all = side.stocks.values().filter_map(|stock| stock.certificates.get(one));
            all.any(|one| one.services.is_some_and(Services::smtp) || one.sources.contains(&Source::Log))
        };
        let pins = || outgoing(&self.after.estate).into_iter().filter_map(|connector| connector.pin.value().cloned());
        let is_pinned = || pins().any(|pin| pin_fits(&pin, &pair.old));
        let (old, new) = (&pair.old.thumbprint, &pair.new.thumbprint);
        shows(self.before, old) || shows(self.after, new) || serves(self.before, old) || is_pinned()
    }

    /// Places that go on with the former one, while the new one is in use.
    fn left_behind(&self, pair: &Pair) -> Vec<Change> {
        let Pair { old, new } = pair;
        let is_in_use = self.after.spots().any(|spot| self.after.shows(spot, &new.thumbprint))
            || self.after.stocks.values().any(|stock| stock.certificates.contains_key(&new.thumbprint));
        let behind = self.after.spots().filter(|spot| {
            is_in_use && self.after.shows(spot, &old.thumbprint) && self.before.shows(spot, &old.thumbprint)
        });
        let until = old.not_after.map(|end| format!(", until {}", day(end))).unwrap_or_default();
        let said = format!("it still shows the former one, {}{until}", old.short());
        behind.map(|spot| Change::new(Code::LeftBehind, &spot.place(), said.clone())).collect()
    }

    /// Places of which nobody knows what they show by now.
    fn not_seen(&self, pair: &Pair) -> Vec<Change> {
        let is_lost = |spot: &&Spot| {
            !spot.is_internal()
                && self.before.shows(spot, &pair.old.thumbprint)
                && self.after.at(spot).next().is_none()
                && !self.after.offers_no_tls(spot)
        };
        let said = format!("it showed the former one, {}, and no certificate was seen of it since", pair.old.short());
        let lost = self.before.spots().filter(is_lost);
        lost.map(|spot| Change::new(Code::NotSeen, &spot.place(), said.clone())).collect()
    }

    fn of_spot(&self, spot: &Spot) -> Vec<Change> {
        let (was, is) = (self.before.shown_at(spot), self.after.shown_at(spot));
        let place = spot.place();
        let mut changes = Vec::new();
        if spot.is_internal() {
            return changes;
        }
        let (before, now): (BTreeSet<_>, BTreeSet<_>) =
            (was.values().flatten().collect(), is.values().flatten().collect());
        for new in now.difference(&before).filter(|new| self.came.contains(**new)) {
            let leaf = self.after.leaf(new);
            let until =
                leaf.and_then(|leaf| leaf.not_after).map(|end| format!(", until {}", day(end))).unwrap_or_default();
            changes.push(Change::new(Code::Renewed, &place, format!("it shows the new one, {}{until}", short(new))));
            let (had, has) = (self.lineage.lacks(self.before, spot), self.lineage.lacks(self.after, spot));
            if let Some(said) = lineage::is_shorter(had, has) {
                changes.push(Change::new(Code::ChainShorter, &place, said));
            }
        }
        changes.extend(self.second_key(spot, &was, &is));
        // One that the server made itself is no matter of renewals, and smtp-starttls speaks of it.
        let is_issued = |old: &&String| self.before.leaf(old).is_some_and(|old| !old.is_self_issued);
        if before.iter().any(is_issued) && now.is_empty() && self.after.offers_no_tls(spot) {
            let said = "it offers no STARTTLS any more: mail that demands TLS stays outside (event 12014)";
            changes.push(Change::new(Code::StarttlsGone, &place, said.into()));
        }
        changes
    }

    /// A server may have a certificate for each kind of key; one that ends soon was to be renewed along.
    fn second_key(
        &self,
        spot: &Spot,
        was: &BTreeMap<Kind, BTreeSet<String>>,
        is: &BTreeMap<Kind, BTreeSet<String>>,
    ) -> Option<Change> {
        let is_renewed = |kind: &Kind| {
            let of = |shown: &BTreeMap<Kind, BTreeSet<String>>| shown.get(kind).cloned().unwrap_or_default();
            let pair = self.pairs.iter().find(|pair| of(was).contains(&pair.old.thumbprint))?;
            of(is).contains(&pair.new.thumbprint).then_some(pair)
        };
        let [one, other] = Kind::ALL;
        for (kind, second) in [(one, other), (other, one)] {
            let Some(pair) = is_renewed(&kind) else { continue };
            let both = was.get(&second).zip(is.get(&second));
            let kept = both.into_iter().flat_map(|(was, is)| was.intersection(is));
            let late = kept.filter_map(|kept| self.after.leaf(kept)).find(|kept| {
                let ends_with_it = kept
                    .not_after
                    .zip(pair.old.not_after)
                    .is_some_and(|(its, olds)| its <= olds.checked_add(TOGETHER).unwrap_or(olds));
                ends_with_it && kept.kinship(&pair.old) > Kinship::None && !kept.is_self_issued
            });
            if let Some(kept) = late {
                let key = kept.certificate.as_ref().map(|one| one.key.to_string()).unwrap_or_default();
                let until = kept.not_after.map(day).unwrap_or_default();
                let said = format!("beside the new one it still shows {} ({key}), which ends on {until}", kept.short());
                return Some(Change::new(Code::SecondKeyLeftBehind, &spot.place(), said));
            }
        }
        None
    }

    /// The certificate by which servers know one another is not the world's, and is not to go with it.
    fn internal(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (host, was) in self.before.internal() {
            let is = self.after.internal().remove(&host).unwrap_or_default();
            let came: BTreeSet<_> = is.difference(&was).cloned().collect();
            if was.is_empty() || came.is_empty() {
                continue;
            }
            let leaves: Vec<_> = came.iter().filter_map(|new| self.after.leaf(new)).collect();
            let is_own = leaves.iter().all(|leaf| leaf.is_self_issued);
            let is_here = |leaf: &Leaf| {
                self.after.stocks.get(&host).is_some_and(|stock| stock.certificates.contains_key(&leaf.thumbprint))
            };
            let has_public = self.pairs.iter().any(|pair| !pair.new.is_self_issued && is_here(&pair.new));
            if is_own && !has_public {
                let spots = self.after.spots().filter(|spot| spot.is_internal() && spot.host == host);
                let renewed = spots.filter(|spot| came.iter().any(|new| self.after.shows(spot, new)));
                changes.extend(renewed.map(|spot| {
                    Change::new(Code::Renewed, &spot.place(), "it shows the new one, which the server made".into())
                }));
                continue;
            }
            let names: Vec<_> = leaves.iter().map(|leaf| format!("{} ({})", leaf.name(), leaf.short())).collect();
            let was: Vec<_> = was.iter().map(|old| short(old)).collect();
            let why = if is_own {
                "it was made anew along with the renewal, which needs none: peers and Edge subscriptions have to learn it first"
            } else {
                "who answered Yes to \"overwrite the default SMTP certificate\" gave servers of the organisation one that has to \
                 be renewed with the public one"
            };
            let said = format!(
                "its internal transport certificate was {}, and is now {}: {why}",
                was.join(", "),
                some(&names)
            );
            changes.push(Change::new(Code::InternalReplaced, &host, said));
        }
        changes
    }

    /// What connectors name, held against the former certificate and the new one.
    fn pins(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        let estate = &self.after.estate;
        for connector in estate.organisation.receive_connectors.iter().filter(|connector| connector.is_enabled) {
            let Some((pin, host)) = connector.pin.value().zip(connector.host.clone()) else { continue };
            let was_there = |old: &Leaf| {
                let stocked =
                    self.before.stocks.get(&host).is_some_and(|stock| stock.certificates.contains_key(&old.thumbprint));
                stocked || self.before.spots().any(|spot| spot.host == host && self.before.shows(spot, &old.thumbprint))
            };
            let subject = Subject::Configured(connector.server.clone(), connector.name.clone());
            changes.extend(self.pin(pin, &subject, std::slice::from_ref(&host), was_there));
        }
        for connector in outgoing(estate).into_iter().filter(|connector| connector.is_enabled) {
            let Some(pin) = connector.pin.value() else { continue };
            let hosts: Vec<_> = connector.sources.iter().cloned().collect();
            changes.extend(self.pin(pin, &connector.subject(), &hosts, |_| true));
        }
        if let Some((hybrid, pin)) =
            estate.organisation.hybrid.as_ref().and_then(|hybrid| Some((hybrid, hybrid.pin.as_ref()?)))
        {
            let hosts: Vec<_> = hybrid.senders.iter().map(|name| host_called(name, estate)).collect();
            let subject = Subject::Configured("hybrid".into(), "TlsCertificateName".into());
            changes.extend(self.pin(pin, &subject, &hosts, |_| true));
        }
        changes
    }

    fn pin(&self, pin: &str, subject: &Subject, hosts: &[String], concerns: impl Fn(&Leaf) -> bool) -> Option<Change> {
        let fitting: Vec<_> =
            self.pairs.iter().filter(|pair| pin_fits(pin, &pair.old) && concerns(&pair.old)).collect();
        let first = fitting.first()?;
        let subject = subject.to_string();
        let Some(both) = fitting.iter().find(|pair| pin_fits(pin, &pair.new)) else {
            let said = format!(
                "it names {}, which fits the former one and not the new one, {} of {}",
                quote(pin),
                first.new.short(),
                quote(&first.new.issuer.text)
            );
            return Some(Change::new(Code::PinStale, &subject, said));
        };
        if !hosts.is_empty() && hosts.iter().all(|host| self.after.has_no_more(host, &both.old.thumbprint)) {
            return None;
        }
        let said = format!(
            "it names the former one and the new one alike: which of both is shown is not certain before {} is removed",
            both.old.short()
        );
        Some(Change::new(Code::SameNames, &subject, said))
    }

    /// What Exchange Online looks for in the certificate of whoever sends.
    fn tenant(&self) -> Vec<Change> {
        let inputs = |side: &'s Side| side.estate.plan.inputs.inbound.as_ref();
        let connectors = inputs(self.after).or(inputs(self.before)).into_iter().flatten();
        let looked_for = connectors.filter(|connector| connector.is_enabled && connector.is_on_premises);
        looked_for.filter_map(|connector| self.at_tenant(connector)).collect()
    }

    fn at_tenant(&self, connector: &InboundConnector) -> Option<Change> {
        let wanted = canonical_name(connector.certificate_name.as_ref()?);
        // What websites alone show, Exchange Online never sees.
        let mut fitting =
            self.pairs.iter().filter(|pair| pair.old.is_found_by(&wanted) && self.is_of_smtp(pair)).peekable();
        let first = *fitting.peek()?;
        if fitting.any(|pair| pair.new.is_found_by(&wanted)) {
            return None;
        }
        let subject = Subject::Configured("inbound connector".into(), connector.name.clone()).to_string();
        let said = format!(
            "Exchange Online looks for {}, which the former one bears and the new one ({}) does not: 550 5.7.64",
            named(&wanted),
            first.new.short()
        );
        Some(Change::new(Code::TenantMismatch, &subject, said))
    }

    fn still_there(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (host, stock) in self.after.stocks.iter() {
            let olds = self.pairs.iter().filter_map(|pair| stock.certificates.get(&pair.old.thumbprint));
            let exported: BTreeSet<_> =
                olds.filter(|old| old.sources.contains(&Source::Export)).map(|old| short(&old.thumbprint)).collect();
            if !exported.is_empty() {
                let all: Vec<_> = exported.into_iter().collect();
                let said = format!("it still has {}; remove it when all else is done", some(&all));
                changes.push(Change::new(Code::OldStillThere, host, said));
            }
        }
        changes
    }
}

impl Change {
    fn new(code: Code, subject: &str, said: String) -> Self {
        Self { code, subject: subject.to_string(), said }
    }
}

/// How much alike two certificates are by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kinship {
    /// They share no name.
    None,
    /// They share one.
    SharedName,
    /// They have the same common name.
    SameCommonName,
}

/// Does a connector that names `pin` name this one?
pub fn pin_fits(pin: &str, leaf: &Leaf) -> bool {
    CertificateName::read(pin).is_some_and(|name| name.fits(&leaf.subject, &leaf.issuer))
}

impl Leaf {
    /// How much alike they are by name.
    pub fn kinship(&self, other: &Self) -> Kinship {
        let common = |leaf: &Self| leaf.subject.common_name().map(str::to_lowercase);
        if common(self).is_some() && common(self) == common(other) {
            return Kinship::SameCommonName;
        }
        if self.all_names().any(|name| other.all_names().any(|its| its == name)) {
            return Kinship::SharedName;
        }
        Kinship::None
    }

    /// Its alternative names and its common name, if that can be a host's.
    pub fn all_names(&self) -> impl Iterator<Item = String> {
        let common = self.subject.common_name().map(str::to_lowercase);
        let common = common.filter(|name| is_name(name) && !self.names.contains(name));
        self.names.iter().cloned().chain(common)
    }

    /// Does it bear this name, by itself or by a wildcard?
    pub fn bears(&self, name: &str) -> bool {
        self.all_names().any(|pattern| pattern == name || (!name.starts_with("*.") && is_named(&pattern, name)))
    }

    /// Does Exchange Online find in it what an inbound connector looks for?
    fn is_found_by(&self, pattern: &str) -> bool {
        let names: Vec<String> = self.all_names().collect();
        matches!(fit(pattern, &names), Fit::Yes(_) | Fit::ItsWildcard(_))
    }

    /// As people call it.
    pub fn name(&self) -> String {
        self.subject.common_name().map_or_else(|| "(no name)".to_string(), named)
    }

    /// As findings name it.
    pub fn short(&self) -> String {
        short(&self.thumbprint)
    }
}

fn usage_lost(was: &Certificate, is: &Certificate, is_client: bool) -> Option<String> {
    const ANY: ExtendedUsage = ExtendedUsage { server: true, names_server: true, client: true };
    let usage = |one: &Certificate| one.extended_usage.unwrap_or(ANY);
    let signs = |one: &Certificate| one.key_usage.is_none_or(|usage| usage.signs);
    let (had, has) = (usage(was), usage(is));
    let lost = [
        (had.server && !has.server, "to be a server's (serverAuth)"),
        (is_client && had.client && !has.client, "to be a client's (clientAuth), as which a server sends"),
        (signs(was) && !signs(is), "to sign (digitalSignature)"),
    ];
    let lost: Vec<_> = lost.into_iter().filter(|(is_lost, _)| *is_lost).map(|(_, what)| what).collect();
    (!lost.is_empty()).then(|| format!("it is not allowed {}, as the former one was", lost.join(", nor ")))
}

/// Is it a host's name, by itself or as a wildcard, so that it can stand in a command? A server's short name is one, too, which
/// Exchange Online knows nothing of (`hybrid::is_pattern`).
pub fn is_name(name: &str) -> bool {
    is_host_name(name.strip_prefix("*.").unwrap_or(name))
}

/// A name as a report tells it: hostile, where it is no host's.
fn named(name: &str) -> String {
    if is_name(name) { name.to_string() } else { quote(name) }
}

fn short(thumbprint: &str) -> String {
    Subject::Certificate(thumbprint.to_string()).to_string()
}

/// The first of many.
fn some(all: &[String]) -> String {
    const FEW: usize = 6;
    let more = all.len().saturating_sub(FEW);
    let first = all.iter().take(FEW).cloned().collect::<Vec<_>>().join(", ");
    if more == 0 { first } else { format!("{first} and {more} more") }
}

fn day(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%d").to_string()
}
