//! The census: every SPN of a forest, streamed from one global catalog and reduced to what collides.

use super::{
    search::guid,
    spn::{self, class},
};
use alloc::{
    collections::BTreeSet,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::mem::take;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

/// All SPNs that a global catalog holds, page by page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpnScan {
    /// The classes for which `HOST` stands, as the forest's `sPNMappings` has them, lower case.
    pub aliases: Vec<String>,
}

impl SpnScan {
    /// The filter of the search: every object that has an SPN.
    pub const FILTER: &'static str = "(servicePrincipalName=*)";
    /// All that is asked of each of them.
    pub const ATTRIBUTES: [&'static str; 2] = ["servicePrincipalName", "objectGUID"];
}

/// What was counted, and what collided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpnScanned {
    /// Objects that hold an SPN.
    pub objects: u64,
    /// SPNs.
    pub spns: u64,
    /// The result code of the last page; none where the scan broke off before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u32>,
    /// Objects that seem to share an SPN, letter case and look aside: to be confirmed by what they really hold.
    pub shared: Vec<Shared>,
    /// Objects among them that seem to share one only by an alias: `HOST/x` on one, `http/x` on the other.
    pub aliased: Vec<Shared>,
    /// Collisions beyond those that are kept as `shared`.
    #[serde(default)]
    pub left_out: u64,
    /// Collisions beyond those that are kept as `aliased`.
    #[serde(default)]
    pub aliased_left_out: u64,
    /// SPNs that are not plain ASCII.
    #[serde(default)]
    pub strange: u64,
    /// Some of the objects that hold such ones.
    #[serde(default)]
    pub strange_on: Vec<String>,
    /// Objects that do not show their objectGUID, so that nothing can be said of them.
    #[serde(default)]
    pub nameless: u64,
}

/// Objects that share something, by their objectGUIDs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shared(pub Vec<String>);

/// The census is full: there are more SPNs than it has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// So many SPNs are counted: at twelve bytes each what they take is below 300 MiB. The largest forests that people tell of have
/// a third of it. Three bytes number the objects, of which there are never more than SPNs.
pub const MOST_SPNS: u64 = 16_000_000;

/// So many collisions of a kind are kept, and so many objects of them all: each is looked up again.
const MOST_GROUPS: usize = 1_000;
const MOST_OBJECTS: usize = 5_000;

/// So many objects of one collision are kept.
pub const MOST_OF_A_GROUP: usize = 100;

/// So many objects are kept that hold something strange.
const MOST_STRANGE: usize = 100;

/// Counts while SPNs stream by, and keeps twelve bytes of each: enough to know which may be the same.
///
/// Two SPNs are compared by hashes of how they look once their class is replaced by the alias that stands for it. What is told of
/// collisions is therefore a guess, good but for a few in millions, and is looked up before anybody speaks of it. It misses
/// nothing.
pub struct SpnCensus {
    /// The alias and the classes for which it stands, each with a number from 1 on.
    classes: Classes,
    /// How each letter of ASCII looks.
    looks: Vec<Look>,
    guids: Vec<[u8; 16]>,
    /// How many of these stand for an object that is counted already.
    again: usize,
    /// By the first byte of the hash, so that growing one moves little.
    buckets: Vec<Vec<Record>>,
    spns: u64,
    strange: u64,
    strange_on: BTreeSet<[u8; 16]>,
    /// Room to write one SPN in, lower case, and how it looks.
    plain: Vec<u8>,
    look: Vec<u8>,
}

impl SpnCensus {
    /// Nothing is counted yet.
    pub fn new(scan: &SpnScan) -> Self {
        let all = [class::HOST.to_lowercase()].into_iter().chain(scan.aliases.iter().map(|class| class.to_lowercase()));
        Self {
            classes: Classes::new(all),
            looks: (0..=0x7f).map(Look::of).collect(),
            guids: Vec::new(),
            again: 0,
            buckets: vec![Vec::new(); 256],
            spns: 0,
            strange: 0,
            strange_on: BTreeSet::new(),
            plain: Vec::new(),
            look: Vec::new(),
        }
    }

    /// How many objects were counted.
    pub fn objects(&self) -> usize {
        self.guids.len() - self.again
    }

    /// Counts more SPNs of an object that is counted already.
    pub fn more<'s>(&mut self, guid: &[u8; 16], spns: impl Iterator<Item = &'s [u8]>) -> Result<(), Full> {
        let before = self.guids.len();
        let pushed = self.push(guid, spns);
        self.again += self.guids.len() - before;
        pushed
    }

    /// Counts the SPNs of one object. What holds none is none.
    pub fn push<'s>(&mut self, guid: &[u8; 16], spns: impl Iterator<Item = &'s [u8]>) -> Result<(), Full> {
        let object = u32::try_from(self.guids.len()).map_err(|_| Full)?;
        let before = self.spns;
        for spn in spns {
            if self.spns == MOST_SPNS {
                return Err(Full);
            }
            if self.spns == before {
                add(&mut self.guids, *guid);
            }
            self.spns += 1;
            let record = self.record(spn, object);
            if record.is_strange() {
                self.strange += 1;
                if self.strange_on.len() < MOST_STRANGE {
                    self.strange_on.insert(*guid);
                }
            }
            add(&mut self.buckets[record.bucket()], record);
        }
        Ok(())
    }

    /// What collided.
    pub fn finish(self) -> SpnScanned {
        let objects = self.objects();
        let Self { guids, buckets, spns, strange, strange_on, .. } = self;
        let (mut shared, mut aliased) = (Groups::default(), Groups::default());
        for mut bucket in buckets {
            bucket.sort_unstable();
            for run in bucket.chunk_by_mut(|one, other| one.has_look_of(*other)).filter(|run| run.len() > 1) {
                if run[0].is_strange() {
                    // It is none of the spellings of the others, and may be taken for any of them.
                    run.sort_unstable_by_key(|record| record.0[2]);
                    note(run, &guids, &mut shared, &mut aliased);
                } else {
                    // Of plain ones that only look alike (`1` and `l`) nobody takes one for the other.
                    for same in run.chunk_by(|one, other| one.is_spelt_as(*other)).filter(|same| same.len() > 1) {
                        note(same, &guids, &mut shared, &mut aliased);
                    }
                }
            }
        }
        SpnScanned {
            objects: u64::try_from(objects).unwrap_or(u64::MAX),
            spns,
            left_out: shared.left_out,
            shared: shared.kept.into_iter().collect(),
            aliased_left_out: aliased.left_out,
            aliased: aliased.kept.into_iter().collect(),
            strange,
            strange_on: strange_on.iter().filter_map(|bytes| guid(bytes)).collect(),
            ..SpnScanned::default()
        }
    }

    fn record(&mut self, spn: &[u8], object: u32) -> Record {
        if !spn.is_ascii() {
            return self.strange_record(spn, object);
        }
        let (mut plain, mut look) = (take(&mut self.plain), take(&mut self.look));
        plain.clear();
        let (class, rest) = self.split(spn, &mut plain);
        plain.extend(rest.iter().map(u8::to_ascii_lowercase));
        let length = self.write_look(&plain, &mut look);
        let spelling = u8::try_from(hash(&plain) % 255).map_or(1, |spelling| spelling + 1);
        let record = Record::new(hash(&look[..length]), spelling, class, object);
        (self.plain, self.look) = (plain, look);
        record
    }

    /// Writes how plain letters look, and says how long that is. All eight bytes of a look are written at once and the next ones
    /// over what was too much: a copy of a length that is known costs next to nothing, and there are a hundred million letters.
    fn write_look(&self, plain: &[u8], to: &mut Vec<u8>) -> usize {
        let room = plain.len() * Look::LONGEST;
        if to.len() < room {
            to.resize(room, 0);
        }
        let mut length = 0;
        for letter in plain {
            let look = &self.looks[usize::from(*letter)];
            to[length..length + Look::LONGEST].copy_from_slice(&look.letters);
            length += look.length;
        }
        length
    }

    /// Of what is no text there is no look: it is compared byte by byte.
    fn strange_record(&self, spn: &[u8], object: u32) -> Record {
        let Ok(text) = core::str::from_utf8(spn) else { return Record::new(hash(spn), Record::STRANGE, 0, object) };
        let folded = spn::folded(text);
        let mut mapped = Vec::new();
        let (class, rest) = self.split(folded.as_bytes(), &mut mapped);
        mapped.extend(rest);
        let look = String::from_utf8(mapped).map_or(folded, |mapped| spn::look_of_folded(&mapped));
        Record::new(hash(look.as_bytes()), Record::STRANGE, class, object)
    }

    /// Writes the class that an SPN stands under, and gives its number (0 for one without an alias) and what follows it.
    fn split<'s>(&self, spn: &'s [u8], to: &mut Vec<u8>) -> (u8, &'s [u8]) {
        let end = spn.iter().position(|byte| *byte == b'/').unwrap_or(0);
        let (class, rest) = spn.split_at(end);
        to.extend(class.iter().map(u8::to_ascii_lowercase));
        let number = self.classes.number(to);
        if number != 0 {
            to.clear();
            to.extend(class::HOST.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        (number, rest)
    }
}

/// How a letter of ASCII looks: one or two letters as a rule, and three of another kind for `%`.
#[derive(Clone, Debug)]
struct Look {
    letters: [u8; 8],
    length: usize,
}

impl Look {
    const LONGEST: usize = 8;

    fn of(letter: u8) -> Self {
        let look = spn::look_of_folded(&char::from(letter).to_string());
        let mut letters = [0; Self::LONGEST];
        let length = look.len().min(letters.len());
        letters[..length].copy_from_slice(&look.as_bytes()[..length]);
        Self { letters, length }
    }
}

/// Classes by their first letter: of each SPN one is looked up.
struct Classes(Vec<Vec<(Vec<u8>, u8)>>);

impl Classes {
    /// Beyond what a byte numbers (Windows has 51) classes stand for themselves alone.
    fn new(all: impl Iterator<Item = String>) -> Self {
        let mut classes = Self(vec![Vec::new(); 256]);
        let mut next = Some(1_u8);
        for class in all.map(String::into_bytes).filter(|class| !class.is_empty()) {
            let Some(number) = next.filter(|_| classes.number(&class) == 0) else { continue };
            next = number.checked_add(1);
            classes.0[usize::from(class[0])].push((class, number));
        }
        classes
    }

    /// 0 for one that is none of them.
    fn number(&self, class: &[u8]) -> u8 {
        let Some(first) = class.first() else { return 0 };
        let known = self.0[usize::from(*first)].iter().find(|(known, _)| known == class);
        known.map_or(0, |(_, number)| *number)
    }
}

/// What is kept of an SPN: 56 bits of how it looks, 8 of its spelling, 8 for its class and 24 for the object that holds it. In
/// order, those that may be the same stand together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Record([u32; 3]);

impl Record {
    /// The spelling of what is not plain ASCII.
    const STRANGE: u8 = 0;

    #[expect(clippy::cast_possible_truncation, reason = "each is a part of the hash")]
    fn new(look: u64, spelling: u8, class: u8, object: u32) -> Self {
        let low = look as u32 & !0xff | u32::from(spelling);
        Self([(look >> 32) as u32, low, u32::from(class) << 24 | object])
    }

    fn bucket(self) -> usize {
        usize::from(self.0[0].to_be_bytes()[0])
    }

    fn has_look_of(self, other: Self) -> bool {
        self.0[0] == other.0[0] && self.0[1] >> 8 == other.0[1] >> 8
    }

    fn is_spelt_as(self, other: Self) -> bool {
        self.0[..2] == other.0[..2]
    }

    fn is_strange(self) -> bool {
        self.0[1] & 0xff == u32::from(Self::STRANGE)
    }

    fn class(self) -> u32 {
        self.0[2] >> 24
    }

    fn object(self) -> usize {
        usize::try_from(self.0[2] & 0x00ff_ffff).unwrap_or(usize::MAX)
    }
}

/// Always the same: who could make collisions could as well make duplicates, and each is looked up.
fn hash(bytes: &[u8]) -> u64 {
    SipHasher13::new().hash(bytes)
}

/// Doubling would take twice the memory at times.
fn add<T>(to: &mut Vec<T>, item: T) {
    const LEAST: usize = 64;
    if to.len() == to.capacity() {
        to.reserve_exact(to.len() / 4 + LEAST);
    }
    to.push(item);
}

/// Collisions that are kept.
#[derive(Default)]
struct Groups {
    kept: BTreeSet<Shared>,
    objects: usize,
    left_out: u64,
}

impl Groups {
    /// What objects have in common as a rule are several SPNs, which is one collision.
    fn keep(&mut self, objects: &Objects) {
        let group = Shared(objects.iter().filter_map(|bytes| guid(bytes)).collect());
        if self.kept.contains(&group) {
            return;
        }
        if self.kept.len() == MOST_GROUPS || self.objects + group.0.len() > MOST_OBJECTS {
            self.left_out += 1;
        } else {
            self.objects += group.0.len();
            self.kept.insert(group);
        }
    }
}

type Objects = BTreeSet<[u8; 16]>;

/// Takes SPNs that may be the same but for their class, by which they are in order. What a page shows twice is one object.
fn note(records: &[Record], guids: &[[u8; 16]], shared: &mut Groups, aliased: &mut Groups) {
    let objects = |records: &[Record]| {
        let mut objects = Objects::new();
        for guid in records.iter().filter_map(|record| guids.get(record.object())) {
            if objects.len() == MOST_OF_A_GROUP {
                break;
            }
            objects.insert(*guid);
        }
        objects
    };
    let all = objects(records);
    if all.len() < 2 {
        return;
    }
    let mut is_told = false;
    for of_class in records.chunk_by(|one, other| one.class() == other.class()) {
        let objects = objects(of_class);
        is_told |= objects == all;
        if objects.len() > 1 {
            shared.keep(&objects);
        }
    }
    if !is_told {
        aliased.keep(&all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{collections::BTreeMap, format};
    use proptest::prelude::*;

    fn scan() -> SpnScan {
        SpnScan { aliases: ["alerter", "http", "www"].map(ToString::to_string).into() }
    }

    fn guid_of(number: u8) -> [u8; 16] {
        [number; 16]
    }

    fn count(objects: &[(u8, Vec<String>)]) -> SpnScanned {
        let mut census = SpnCensus::new(&scan());
        for (object, spns) in objects {
            assert_eq!(census.push(&guid_of(*object), spns.iter().map(String::as_bytes)), Ok(()));
        }
        census.finish()
    }

    fn of(objects: &[(u8, &[&str])]) -> SpnScanned {
        let objects: Vec<_> =
            objects.iter().map(|(object, spns)| (*object, spns.iter().map(ToString::to_string).collect())).collect();
        count(&objects)
    }

    fn group(objects: &[u8]) -> Shared {
        Shared(objects.iter().filter_map(|object| guid(&guid_of(*object))).collect())
    }

    #[test]
    fn letter_case_makes_no_difference_and_one_object_is_no_duplicate() {
        let scanned = of(&[(1, &["HTTP/a", "http/A", "SMTP/b"]), (2, &["smtp/B"]), (3, &["SMTP/bb"])]);
        assert_eq!((scanned.objects, scanned.spns), (3, 5));
        assert_eq!((scanned.shared, scanned.aliased), (vec![group(&[1, 2])], vec![]));
    }

    #[test]
    fn what_a_page_shows_twice_is_one_object() {
        assert_eq!(of(&[(1, &["HTTP/a"]), (1, &["HTTP/a"])]).shared, vec![]);
    }

    #[test]
    fn what_comes_in_ranges_is_of_one_object() {
        let mut census = SpnCensus::new(&scan());
        census.push(&guid_of(1), [&b"HTTP/a"[..]].into_iter()).unwrap();
        census.push(&guid_of(2), [&b"HTTP/b"[..]].into_iter()).unwrap();
        census.more(&guid_of(1), [&b"HTTP/b"[..], b"http/A"].into_iter()).unwrap();
        let scanned = census.finish();
        assert_eq!((scanned.objects, scanned.spns, scanned.shared), (2, 4, vec![group(&[1, 2])]));
    }

    #[test]
    fn an_alias_is_told_apart_from_a_duplicate() {
        let scanned = of(&[(1, &["HOST/a", "HOST/b"]), (2, &["http/A"]), (3, &["www/b", "http/c"]), (4, &["SMTP/a"])]);
        assert_eq!((scanned.shared, scanned.aliased), (vec![], vec![group(&[1, 2]), group(&[1, 3])]));
        let both = of(&[(1, &["HOST/a", "http/a"]), (2, &["http/a"]), (3, &["www/a"])]);
        assert_eq!((both.shared, both.aliased), (vec![group(&[1, 2])], vec![group(&[1, 2, 3])]));
    }

    #[test]
    fn what_looks_alike_counts_where_one_of_them_is_not_plain() {
        for twin in ["SMTP/\u{435}x01", "SMTP/ex0\u{ff11}", "SMTP/ex\u{200b}01", "SMT\u{ff30}/ex01"] {
            let scanned = of(&[(1, &["SMTP/ex01"]), (2, &[twin])]);
            assert_eq!(scanned.shared, vec![group(&[1, 2])], "{twin:?}");
            assert_eq!((scanned.strange, scanned.strange_on), (1, group(&[2]).0), "{twin:?}");
        }
        assert_eq!(of(&[(1, &["SMTP/ex1"]), (2, &["SMTP/exl"])]).shared, vec![], "many are called so");
        let alias = of(&[(1, &["HOST/ex01"]), (2, &["http/\u{435}x01"])]);
        assert_eq!((alias.shared, alias.aliased), (vec![], vec![group(&[1, 2])]));
    }

    #[test]
    fn what_is_no_text_is_counted_as_it_is() {
        let mut census = SpnCensus::new(&scan());
        for object in [1, 2] {
            census.push(&guid_of(object), [&b"HTTP/\xff"[..], b"", b"/", b"host/"].into_iter()).unwrap();
        }
        census.push(&guid_of(3), [&b"HTTP/\xfe"[..]].into_iter()).unwrap();
        census.push(&guid_of(4), core::iter::empty()).unwrap();
        let scanned = census.finish();
        assert_eq!((scanned.objects, scanned.spns, scanned.strange), (3, 9, 3));
        assert_eq!(scanned.shared, vec![group(&[1, 2])]);
    }

    #[test]
    fn of_too_many_collisions_some_are_kept_and_all_are_counted() {
        let mut census = SpnCensus::new(&scan());
        for number in 0..4000_u128 {
            let spn = format!("HTTP/{}", number / 2);
            census.push(&number.to_be_bytes(), [spn.as_bytes()].into_iter()).unwrap();
        }
        let scanned = census.finish();
        assert_eq!((scanned.shared.len(), scanned.left_out), (MOST_GROUPS, 1000));
        let mut census = SpnCensus::new(&scan());
        for number in 0..4000_u128 {
            census.push(&number.to_be_bytes(), [&b"HTTP/a"[..]].into_iter()).unwrap();
        }
        let scanned = census.finish();
        assert_eq!((scanned.shared[0].0.len(), scanned.left_out), (MOST_OF_A_GROUP, 0));
    }

    /// The same by maps of whole texts.
    fn naive(objects: &[(u8, Vec<String>)]) -> (BTreeSet<Shared>, BTreeSet<Shared>) {
        type Holders = BTreeMap<String, BTreeSet<u8>>;
        let mut by_look: BTreeMap<String, Vec<(Option<String>, String, u8)>> = BTreeMap::new();
        for (object, spns) in objects {
            for held in spns {
                let folded = spn::folded(held);
                let (class, rest) = folded.split_at(folded.find('/').unwrap_or(0));
                let is_alias = class == "host" || scan().aliases.iter().any(|alias| alias == class);
                let mapped = format!("{}{rest}", if is_alias { "host" } else { class });
                let spelling = held.is_ascii().then(|| mapped.clone());
                // A class that nothing stands for is a part of the look.
                let class = if is_alias { class } else { "" };
                by_look.entry(spn::look_of_folded(&mapped)).or_default().push((spelling, class.to_string(), *object));
            }
        }
        let (mut shared, mut aliased) = (BTreeSet::new(), BTreeSet::new());
        for held in by_look.values() {
            let is_any_strange = held.iter().any(|(spelling, ..)| spelling.is_none());
            let mut alike: BTreeMap<Option<&String>, Holders> = BTreeMap::new();
            for (spelling, class, object) in held {
                let spelling = spelling.as_ref().filter(|_| !is_any_strange);
                alike.entry(spelling).or_default().entry(class.clone()).or_default().insert(*object);
            }
            for classes in alike.values() {
                let all: BTreeSet<u8> = classes.values().flatten().copied().collect();
                let told = |objects: &BTreeSet<u8>| group(&objects.iter().copied().collect::<Vec<_>>());
                shared.extend(classes.values().filter(|objects| objects.len() > 1).map(told));
                if all.len() > 1 && !classes.values().any(|objects| *objects == all) {
                    aliased.insert(told(&all));
                }
            }
        }
        (shared, aliased)
    }

    fn spn() -> impl Strategy<Value = String> {
        let class =
            prop::sample::select(vec!["HOST", "host", "http", "HTTP", "www", "SMTP", "\u{ff28}TTP", "smt\u{440}"]);
        let name = prop::sample::select(vec![
            "a",
            "A",
            "ex1",
            "exl",
            "EX1",
            "e\u{445}1",
            "ex\u{ff11}",
            "m",
            "rn",
            "a/b",
            "\u{130}",
            "",
        ]);
        (class, name, any::<bool>()).prop_map(|(class, name, is_whole)| {
            if is_whole { format!("{class}/{name}") } else { format!("{class}{name}") }
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_maps_of_whole_texts_find(
            objects in prop::collection::vec((0u8..6, prop::collection::vec(spn(), 0..6)), 0..12),
        ) {
            let scanned = count(&objects);
            let (shared, aliased) = naive(&objects);
            prop_assert_eq!(scanned.shared, shared.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(scanned.aliased, aliased.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn the_order_of_arrival_does_not_matter(
            objects in prop::collection::vec((0u8..6, prop::collection::vec(spn(), 0..6)), 0..12),
        ) {
            let reversed: Vec<_> = objects.iter().rev().cloned().collect();
            prop_assert_eq!(count(&objects), count(&reversed));
        }

        #[test]
        fn plain_letters_look_as_they_do_elsewhere(text in "[\\x00-\\x7f]{0,40}") {
            let census = SpnCensus::new(&scan());
            let mut look = Vec::new();
            let length = census.write_look(text.to_ascii_lowercase().as_bytes(), &mut look);
            look.truncate(length);
            prop_assert_eq!(String::from_utf8(look), Ok(spn::look(&text)));
        }

        #[test]
        fn any_bytes_are_counted(spns in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let mut census = SpnCensus::new(&scan());
            census.push(&guid_of(1), spns.iter().map(Vec::as_slice)).unwrap();
            prop_assert_eq!(census.finish().spns, u64::try_from(spns.len()).unwrap());
        }
    }
}
