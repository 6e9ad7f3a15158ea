//! Replication as a controller's own attributes tell it: from whom it takes changes, how far it has come, and when each attribute
//! of an object was written (MS-ADTS sections 3.1.1.3.2 and 3.1.1.4.4, MS-DRSR section 5; `drsblobs.idl` of Samba for the stored
//! forms, which Windows does not document).
//!
//! Everything is read from bytes that a stranger sent: what is too short, of another version or longer than it says is refused.

use super::search::guid;
use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use jiff::{SignedDuration, Timestamp};

/// From whom a controller takes a partition, and how that went. All times are by its own clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The objectGUID of the source's NTDS Settings.
    pub source: String,
    /// When the last attempt that went well was over; `None` for never.
    pub last_success: Option<Timestamp>,
    /// How the last attempt ended.
    pub result: Outcome,
    /// How many have failed since one went well.
    pub failures: u32,
}

impl Neighbour {
    /// A value of `repsFrom`, version 1 or 2: they differ behind what is read here.
    pub fn stored(blob: &[u8]) -> Option<Self> {
        const SMALLEST: usize = 208;
        let is_known = matches!(u32_at(blob, 0)?, 1 | 2) && blob.len() >= SMALLEST;
        is_known.then_some(())?;
        Some(Self {
            failures: u32_at(blob, 12)?,
            last_success: instant(i64_at(blob, 16)?),
            result: Outcome(u32_at(blob, 32)?),
            source: guid_at(blob, 160)?,
        })
    }

    /// A value of `msDS-NCReplInboundNeighbors;binary`: `DS_REPL_NEIGHBORW_BLOB` (MS-ADTS section 2.2.9).
    pub fn shown(blob: &[u8]) -> Option<Self> {
        Some(Self {
            source: guid_at(blob, 40)?,
            last_success: instant(i64_at(blob, 104)?),
            result: Outcome(u32_at(blob, 120)?),
            failures: u32_at(blob, 124)?,
        })
    }

    /// Does it not work now? A result without a failure is that of an attempt which was put off.
    pub fn fails(&self) -> bool {
        self.result != Outcome::SUCCESS && self.failures > 0
    }
}

/// How an attempt ended: an error code of Windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome(pub u32);

impl Outcome {
    /// It went well.
    pub const SUCCESS: Self = Self(0);
    /// The source is told to send nothing (`ERROR_DS_DRA_SOURCE_DISABLED`).
    pub const SOURCE_DISABLED: Self = Self(8456);
    /// The destination is told to take nothing (`ERROR_DS_DRA_SINK_DISABLED`).
    pub const SINK_DISABLED: Self = Self(8457);

    /// Was it too long ago, or does an object live on that is deleted elsewhere? Whoever forces replication then brings it back
    /// everywhere.
    pub fn is_of_lingering(self) -> bool {
        matches!(self.0, 8606 | 8614)
    }

    fn meaning(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "done",
            5 => "access is denied: one of the two does not know the other's account, or its password",
            64 => "the connection broke off under way",
            1225 => "the source refuses the connection: a firewall, or its service does not run",
            1256 => "put off, because the attempt before had failed",
            1396 => "the source could not read the ticket: its account or its password differs between controllers",
            1398 => "the clocks of the two are too far apart",
            1722 => "no RPC server: the name, the network, a firewall, or it is down",
            1753 => "its port 135 answers, and behind it nothing takes replication",
            1908 => "no KDC was found for it",
            8418 | 8451 => "the destination's own database refuses the change",
            8453 => "the source refuses: no right to replicate",
            8456 => "the source is told to send nothing (DISABLE_OUTBOUND_REPL)",
            8457 => "the destination is told to take nothing (DISABLE_INBOUND_REPL)",
            8524 => "DNS does not know the source's alias below _msdcs",
            8606 => "an object that was deleted elsewhere lives on (a lingering object)",
            8614 => "too long ago: longer than deleted objects are kept (tombstoneLifetime)",
            // SEC_E_WRONG_PRINCIPAL, -2146893022.
            0x8009_0322 => "the target principal is wrong: the source's SPN or password differs between controllers",
            _ => return None,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Codes of security packages are known by their negative number.
        match self.meaning() {
            Some(meaning) => write!(f, "{} ({meaning})", self.0.cast_signed()),
            None => write!(f, "{}", self.0.cast_signed()),
        }
    }
}

/// How far a controller has come with each of the others, its own changes aside: invocation -> the last USN that it knows of all
/// up to there.
pub type Cursors = BTreeMap<String, i64>;

/// The value of `replUpToDateVector`, version 1 or 2 (MS-DRSR section 5.208).
pub fn stored_cursors(blob: &[u8]) -> Option<Cursors> {
    let size = match u32_at(blob, 0)? {
        1 => 24,
        2 => 32,
        _ => return None,
    };
    let cursor = |cursor: &[u8]| Some((guid_at(cursor, 0)?, i64_at(cursor, 16)?));
    records(blob, size)?.map(cursor).collect()
}

/// A value of `msDS-NCReplCursors;binary`: `DS_REPL_CURSOR_BLOB` (MS-ADTS section 2.2.8).
pub fn shown_cursor(blob: &[u8]) -> Option<(String, i64)> {
    Some((guid_at(blob, 0)?, i64_at(blob, 16)?))
}

/// When an attribute was last written, and where: whoever holds the higher one holds the newer value (MS-DRSR section 5.11).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// How often it was written.
    pub version: u32,
    /// When, by the clock of the controller that was written to.
    pub when: Option<Timestamp>,
    /// Which one that was: its invocation.
    pub invocation: String,
    /// Its USN of that change.
    pub usn: i64,
    /// The attribute, lower case; `None` where only a controller knows its number.
    pub attribute: Option<String>,
}

/// The value of `replPropertyMetaData`, version 1. Its times are seconds. Names are left out: the last part of an object's name has
/// a stamp of each controller's own.
pub fn stored_stamps(blob: &[u8]) -> Option<Vec<Stamp>> {
    const SIZE: usize = 48;
    (u32_at(blob, 0)? == 1).then_some(())?;
    let is_compared = |record: &&[u8]| u32_at(record, 0).is_some_and(|number| number > LAST_OF_NAMES);
    let stamp = |record: &[u8]| {
        Some(Stamp {
            attribute: attribute(u32_at(record, 0)?).map(ToString::to_string),
            version: u32_at(record, 4)?,
            when: instant(i64_at(record, 8)?),
            invocation: guid_at(record, 16)?,
            usn: i64_at(record, 32)?,
        })
    };
    records(blob, SIZE)?.filter(is_compared).map(stamp).collect()
}

/// Attributes of X.520, `cn` and `ou` among them, have the first 65,536 numbers (MS-DRSR section 5.16.4).
const LAST_OF_NAMES: u32 = 0xffff;

/// A value of `msDS-ReplAttributeMetaData;binary`: `DS_REPL_ATTR_META_DATA_BLOB` (MS-ADTS section 2.2.11).
pub fn shown_stamp(blob: &[u8]) -> Option<Stamp> {
    Some(Stamp {
        attribute: Some(text_at(blob, usize::try_from(u32_at(blob, 0)?).ok()?)?.to_lowercase()),
        version: u32_at(blob, 4)?,
        when: instant(i64_at(blob, 8)?),
        invocation: guid_at(blob, 16)?,
        usn: i64_at(blob, 32)?,
    })
}

/// The numbers of attributes that are the same in every forest (MS-DRSR section 5.16.4): those of Active Directory's own that are
/// compared. Those of Exchange are numbered by each controller for itself.
fn attribute(number: u32) -> Option<&'static str> {
    Some(match number {
        0x0009_0008 => "useraccountcontrol",
        0x0009_0060 => "pwdlastset",
        0x0009_0303 => "serviceprincipalname",
        0x0009_07ab => "msds-supportedencryptiontypes",
        _ => return None,
    })
}

/// How long a schedule stays shut at the longest (MS-ADTS section 6.1.4.5): a week of hours, each open or not, round and round.
/// `None` for what is no schedule, or one that never opens.
pub fn longest_pause(schedule: &[u8]) -> Option<SignedDuration> {
    const HOURS: usize = 168;
    const INTERVAL: u32 = 0;
    let (kind, offset) = (u32_at(schedule, 12)?, usize::try_from(u32_at(schedule, 16)?).ok()?);
    let hours = schedule.get(offset..)?.get(..HOURS)?;
    let is_open = |hour: &u8| hour & 0xf != 0;
    (kind == INTERVAL && hours.iter().any(is_open)).then_some(())?;
    // Twice round, so that a pause over the end of the week counts as one.
    let pauses = hours.iter().chain(hours).scan(0, |pause: &mut i64, hour| {
        *pause = if is_open(hour) { 0 } else { *pause + 1 };
        Some(*pause)
    });
    pauses.max().map(SignedDuration::from_hours)
}

/// What stands behind a head of version, 0, count, 0. The count may not promise more than there is.
fn records(blob: &[u8], size: usize) -> Option<impl Iterator<Item = &[u8]>> {
    const HEAD: usize = 16;
    let count = usize::try_from(u32_at(blob, 8)?).ok()?;
    let records = blob.get(HEAD..)?;
    (records.len() / size >= count).then(|| records.chunks_exact(size).take(count))
}

/// Steps of 100 ns since 1601 (MS-DTYP section 2.3.3), or seconds since then (`DSTIME`, MS-DRSR section 5.52). No instant of this
/// field can be taken for the other kind. `None` for never: 0, or 1970 where Samba keeps no time.
fn instant(time: i64) -> Option<Timestamp> {
    const FROM_1601_TO_1970: i64 = 11_644_473_600;
    const STEPS: i64 = 10_000_000;
    const MOST_SECONDS: i64 = 1_000_000_000_000;
    let seconds = if time > MOST_SECONDS { time / STEPS } else { time };
    let since_1970 = seconds.checked_sub(FROM_1601_TO_1970).filter(|seconds| *seconds > 0)?;
    Timestamp::from_second(since_1970).ok()
}

fn u32_at(blob: &[u8], at: usize) -> Option<u32> {
    blob.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn i64_at(blob: &[u8], at: usize) -> Option<i64> {
    blob.get(at..)?.first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
}

fn guid_at(blob: &[u8], at: usize) -> Option<String> {
    guid(blob.get(at..)?.first_chunk::<16>()?)
}

/// UTF-16 up to a zero.
fn text_at(blob: &[u8], at: usize) -> Option<String> {
    const LONGEST: usize = 256;
    let units = blob.get(at..)?.chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let units: Vec<_> = units.take_while(|unit| *unit != 0).take(LONGEST).collect();
    String::from_utf16(&units).ok()
}

/// The forms as a controller writes them, for tests.
#[cfg(test)]
pub(crate) mod blobs {
    use super::{Timestamp, Vec};

    const FROM_1601_TO_1970: i64 = 11_644_473_600;

    pub(crate) fn seconds(when: Timestamp) -> i64 {
        when.as_second() + FROM_1601_TO_1970
    }

    /// `repsFrom`.
    pub(crate) fn reps_from(source: [u8; 16], success: Timestamp, failures: u32, result: u32) -> Vec<u8> {
        let mut blob = alloc::vec![0; 268];
        let mut put = |at: usize, bytes: &[u8]| blob[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &1u32.to_le_bytes());
        put(8, &268u32.to_le_bytes());
        put(12, &failures.to_le_bytes());
        put(16, &seconds(success).to_le_bytes());
        put(32, &result.to_le_bytes());
        put(160, &source);
        blob
    }

    /// `DS_REPL_NEIGHBORW_BLOB`.
    pub(crate) fn neighbour(source: [u8; 16], success: Timestamp, failures: u32, result: u32) -> Vec<u8> {
        let mut blob = alloc::vec![0; 128];
        let mut put = |at: usize, bytes: &[u8]| blob[at..at + bytes.len()].copy_from_slice(bytes);
        put(40, &source);
        put(104, &(seconds(success) * 10_000_000).to_le_bytes());
        put(120, &result.to_le_bytes());
        put(124, &failures.to_le_bytes());
        blob
    }

    fn head(version: u32, count: usize) -> Vec<u8> {
        [version, 0, u32::try_from(count).unwrap(), 0].into_iter().flat_map(u32::to_le_bytes).collect()
    }

    /// `replUpToDateVector`.
    pub(crate) fn vector(cursors: &[([u8; 16], i64)]) -> Vec<u8> {
        let record = |(invocation, usn): &([u8; 16], i64)| {
            [&invocation[..], &usn.to_le_bytes(), &116_444_736_000_000_000i64.to_le_bytes()].concat()
        };
        [head(2, cursors.len()), cursors.iter().flat_map(record).collect()].concat()
    }

    /// `replPropertyMetaData`: number, version, when, where, USN.
    pub(crate) fn stamps(stamps: &[(u32, u32, Timestamp, [u8; 16], i64)]) -> Vec<u8> {
        let record = |(number, version, when, invocation, usn): &(u32, u32, Timestamp, [u8; 16], i64)| {
            let numbers = [number.to_le_bytes(), version.to_le_bytes()].concat();
            let rest = [&seconds(*when).to_le_bytes()[..], invocation, &usn.to_le_bytes(), &[0; 8]].concat();
            [numbers, rest].concat()
        };
        [head(1, stamps.len()), stamps.iter().flat_map(record).collect()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Of a Samba controller.
    const REPS_FROM: &str =
        "0100000000000000 0c010000 00000000 82f4132103000000 82f4132103000000 00000000 d0000000 3c000000 64000000";
    const SOURCE: [u8; 16] = [7; 16];

    fn when() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn invocation() -> String {
        guid(&SOURCE).unwrap()
    }

    #[test]
    fn a_stored_neighbour_is_read() {
        let mut blob = hex::decode(REPS_FROM.replace(' ', "")).unwrap();
        blob.resize(268, 0);
        let neighbour = Neighbour::stored(&blob).unwrap();
        assert_eq!(neighbour.last_success.unwrap().to_string(), "2026-11-22T21:49:54Z");
        assert!(!neighbour.fails());
        let neighbour = Neighbour::stored(&blobs::reps_from(SOURCE, when(), 3, 1722)).unwrap();
        assert_eq!((neighbour.failures, neighbour.result, neighbour.source.clone()), (3, Outcome(1722), invocation()));
        assert!(neighbour.fails());
        assert_eq!(Neighbour::shown(&blobs::neighbour(SOURCE, when(), 3, 1722)), Some(neighbour));
        assert_eq!(Neighbour::stored(&[0; 268]), None);
        assert_eq!(Neighbour::stored(&blobs::reps_from(SOURCE, when(), 0, 0)[..207]), None);
    }

    #[test]
    fn vectors_and_stamps_are_read() {
        let vector = blobs::vector(&[(SOURCE, 4321)]);
        assert_eq!(stored_cursors(&vector), Some([(invocation(), 4321)].into()));
        let blob = blobs::stamps(&[
            (3, 1, when(), [9; 16], 1),
            (0x9_0303, 5, when(), SOURCE, 4000),
            (0x1234_0001, 1, when(), SOURCE, 9),
        ]);
        let stamps = stored_stamps(&blob).unwrap();
        assert_eq!(stamps.len(), 2, "each controller stamps a name for itself");
        assert_eq!(stamps[0].attribute.as_deref(), Some("serviceprincipalname"));
        assert_eq!((stamps[0].version, stamps[0].when, stamps[0].usn), (5, Some(when()), 4000));
        assert_eq!(stamps[1].attribute, None);
        for mut promised in [vector, blob] {
            promised[8] = 9;
            assert_eq!((stored_cursors(&promised), stored_stamps(&promised)), (None, None), "more than there is");
        }
    }

    #[test]
    fn a_constructed_stamp_is_read() {
        let name: Vec<u8> = "pwdLastSet\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let filetime = (blobs::seconds(when()) * 10_000_000).to_le_bytes();
        let blob = [
            &52u32.to_le_bytes()[..],
            &2u32.to_le_bytes(),
            &filetime,
            &SOURCE,
            &77i64.to_le_bytes(),
            &78i64.to_le_bytes(),
            &[0; 4],
            &name,
        ]
        .concat();
        let stamp = shown_stamp(&blob).unwrap();
        assert_eq!((stamp.attribute.as_deref(), stamp.version, stamp.usn), (Some("pwdlastset"), 2, 77));
        assert_eq!(stamp.when, Some(when()));
    }

    #[test]
    fn never_is_no_instant() {
        assert_eq!(
            (instant(0), instant(116_444_736_000_000_000), instant(i64::MAX), instant(i64::MIN)),
            (None, None, None, None)
        );
    }

    #[test]
    fn a_schedule_pauses_over_the_end_of_the_week() {
        let mut schedule: Vec<u8> = [188u32, 0, 1, 0, 20].into_iter().flat_map(u32::to_le_bytes).collect();
        schedule.extend([0xff; 168]);
        assert_eq!(longest_pause(&schedule), Some(SignedDuration::ZERO));
        schedule[20..22].fill(0);
        schedule[185..].fill(0);
        assert_eq!(longest_pause(&schedule), Some(SignedDuration::from_hours(5)));
        schedule[20..].fill(0);
        assert_eq!(longest_pause(&schedule), None);
        assert_eq!(longest_pause(&schedule[..187]), None);
    }

    #[test]
    fn results_are_told_as_they_are_known() {
        assert!(Outcome(0x8009_0322).to_string().starts_with("-2146893022 ("));
        assert_eq!(Outcome(4711).to_string(), "4711");
    }

    fn read_all(blob: &[u8]) {
        let _ = (Neighbour::stored(blob), Neighbour::shown(blob), stored_cursors(blob), shown_cursor(blob));
        let _ = (stored_stamps(blob), shown_stamp(blob), longest_pause(blob));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(blob in proptest::collection::vec(any::<u8>(), 0..400)) {
            read_all(&blob);
        }

        #[test]
        fn real_blobs_may_be_changed_anywhere(kind in 0usize..4, at in 0usize..300, value: u8, length in 0usize..300) {
            let mut blob = match kind {
                0 => blobs::reps_from(SOURCE, when(), 1, 5),
                1 => blobs::neighbour(SOURCE, when(), 1, 5),
                2 => blobs::vector(&[(SOURCE, 1), ([8; 16], 2)]),
                _ => blobs::stamps(&[(0x9_0303, 5, when(), SOURCE, 4000), (0x9_0060, 1, when(), SOURCE, 9)]),
            };
            if let Some(byte) = blob.get_mut(at) { *byte = value; }
            read_all(&blob);
            blob.truncate(length);
            read_all(&blob);
        }
    }
}
