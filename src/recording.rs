//! A recording: all that one run saw, to be judged again anywhere, on any day, by a better version.

use crate::{
    inputs::sound::sound,
    plan_file::{host_name, store_name},
};
use exchange_preflight_checks::model::{
    ask::Question,
    evidence::{Evidence, Observation, Vantage},
    plan::{Plan, PlannedServer},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// The version of recordings that this program writes. Additions do not raise it; only a higher one is refused.
const VERSION: u64 = 1;
const FORMAT: &str = "exchange-preflight recording";
/// A blob of more hex digits than this stands once, in the table of blobs.
const LONGEST_INLINE_HEX: usize = 512;
/// A file larger than this is no recording of ours.
const LARGEST_FILE: u64 = 1 << 30;

/// So many hex digits of blobs are restored at the most.
const MOST_RESTORED: usize = 1 << 28;

/// One run from one vantage.
#[derive(Clone, Debug)]
pub struct Recording {
    /// What looked.
    pub tool: String,
    /// From where.
    pub vantage: Vantage,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// It was interrupted.
    pub interrupted: bool,
    /// It was seen, or only supposed.
    pub origin: Origin,
    /// What was stated; no secret is in a plan.
    pub plan: Plan,
    /// What was seen.
    pub evidence: Evidence,
    /// Observations of kinds that a later version knows and this one does not: kept, and written again as they were.
    pub carried: Vec<Value>,
}

/// Where what a recording says comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The wire said it.
    #[default]
    Seen,
    /// A rehearsal changed what the wire had said.
    Supposed,
}

impl Origin {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_seen(&self) -> bool {
        *self == Self::Seen
    }
}

/// The file, but for its observations.
#[derive(Serialize, Deserialize)]
struct Header {
    tool: String,
    vantage: Vantage,
    started: Timestamp,
    finished: Timestamp,
    #[serde(default)]
    interrupted: bool,
    #[serde(default, skip_serializing_if = "Origin::is_seen")]
    origin: Origin,
    plan: Plan,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(flatten)]
    header: Header,
    #[serde(borrow)]
    observations: Vec<&'a RawValue>,
    #[serde(default)]
    blobs: BTreeMap<String, String>,
}

/// Only what tells whether the rest can be read.
#[derive(Deserialize)]
struct Preamble {
    #[serde(default)]
    format: String,
    #[serde(default)]
    version: u64,
}

impl Recording {
    /// Reads a file. The error is a sentence with the file, the line and the field.
    pub fn load(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let size = fs::metadata(path).map_err(|error| format!("{shown}: cannot be read: {error}"))?.len();
        if size > LARGEST_FILE {
            return Err(format!("{shown}: {size} bytes are too many for a recording"));
        }
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => {
                format!("{shown}: not a recording: it is no text in UTF-8; exports and logs are given by --input")
            }
            _ => format!("{shown}: cannot be read: {error}"),
        })?;
        Self::parse(&text).map_err(|error| format!("{shown}: {error}"))
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim_start_matches('\u{feff}').trim_start().chars().next() {
            None => return Err("not a recording: it is empty".into()),
            Some('{') => {}
            Some(_) => return Err("not a recording of `run --record`; exports and logs are given by --input".into()),
        }
        let preamble: Preamble = serde_json::from_str(text).map_err(|error| format!("not a recording: {error}"))?;
        if preamble.format != FORMAT {
            return Err(format!("not a recording: its field `format` is not {FORMAT:?}"));
        }
        if preamble.version > VERSION {
            let newer = preamble.version;
            return Err(format!(
                "a recording of version {newer}; this program reads up to version {VERSION}: update it"
            ));
        }
        let file: File<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let is_newer = is_newer(&file.header.tool);
        let mut budget = MOST_RESTORED;
        let (mut evidence, mut carried) = (Evidence::default(), Vec::new());
        for (index, raw) in file.observations.iter().enumerate() {
            let at = || format!("line {}, observations[{index}]", line_of(text, raw.get()));
            let mut value: Value = serde_json::from_str(raw.get()).map_err(|error| format!("{}: {error}", at()))?;
            if !is_known(&value) {
                carried.push(value);
                continue;
            }
            let kept = value.clone();
            restore_blobs(&mut value, &file.blobs, &mut budget).map_err(|error| format!("{}: {error}", at()))?;
            match Observation::deserialize(&value) {
                Ok(observation) => evidence.insert(observation),
                // A newer version may have added to a kind that we know.
                Err(_) if is_newer => carried.push(kept),
                Err(error) => return Err(format!("{}: {error}", at())),
            }
        }
        stated_names(&file.header.plan)?;
        let Header { tool, vantage, started, finished, interrupted, origin, plan } = file.header;
        Ok(Self { tool, vantage, started, finished, interrupted, origin, plan, evidence, carried })
    }

    /// The text of the file. A person can read it: what was stated first, then one observation a line, in an order that
    /// does not depend on arrival.
    pub fn to_json(&self) -> String {
        let mut observations: Vec<Value> = self.evidence.iter().map(to_value).collect();
        observations.extend(self.carried.iter().cloned());
        let mut blobs = BTreeMap::new();
        for observation in &mut observations {
            move_blobs(observation, &mut blobs);
        }
        let header = to_value(&Header {
            tool: self.tool.clone(),
            vantage: self.vantage.clone(),
            started: self.started,
            finished: self.finished,
            interrupted: self.interrupted,
            origin: self.origin,
            plan: self.plan.clone(),
        });
        let mut fields = vec![("format".to_string(), FORMAT.into()), ("version".to_string(), VERSION.into())];
        if let Value::Object(header) = header {
            fields.extend(header);
        }
        let fields: Vec<_> =
            fields.into_iter().map(|(name, value): (_, Value)| format!("  \"{name}\": {value},\n")).collect();
        let observations: Vec<_> = observations.iter().map(|observation| format!("    {observation}")).collect();
        let blobs = if blobs.is_empty() { String::new() } else { format!(",\n  \"blobs\": {}", to_value(&blobs)) };
        format!("{{\n{}  \"observations\": [\n{}\n  ]{blobs}\n}}\n", fields.concat(), observations.join(",\n"))
    }

    /// Where a file is written before it has its name.
    pub fn beside(path: &Path) -> PathBuf {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".part");
        beside.into()
    }

    /// Writes the file beside its final name first, so that a full disk never leaves half a recording under it.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let beside = Self::beside(path);
        fs::write(&beside, self.to_json())?;
        fs::rename(&beside, path)
    }
}

fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("types of the model have text for keys and no failing serialiser")
}

/// Is the question of a kind that this version knows?
fn is_known(observation: &Value) -> bool {
    let kind = |what: &Value| match what {
        Value::Object(kind) => kind.keys().next().cloned(),
        Value::String(kind) => Some(kind.clone()),
        _ => None,
    };
    let what = observation.pointer("/ask/what").and_then(kind);
    what.is_none_or(|kind| Question::KINDS.contains(&kind.as_str()))
}

fn line_of(text: &str, part: &str) -> usize {
    let offset = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}

/// `{"hex": long}` becomes `{"sha256": digest}`.
fn move_blobs(value: &mut Value, blobs: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            let long = fields.get("hex").and_then(Value::as_str).filter(|hex| hex.len() > LONGEST_INLINE_HEX);
            if let Some(hex) = long.map(str::to_string) {
                let digest = hex::encode(Sha256::digest(&hex));
                fields.remove("hex");
                fields.insert("sha256".into(), digest.clone().into());
                blobs.insert(digest, hex);
            } else {
                fields.values_mut().for_each(|field| move_blobs(field, blobs));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| move_blobs(item, blobs)),
        _ => {}
    }
}

/// The way back. A few bytes of a hostile file can name one large blob many times, so what is restored has a bound.
fn restore_blobs(value: &mut Value, blobs: &BTreeMap<String, String>, budget: &mut usize) -> Result<(), String> {
    match value {
        Value::Object(fields) => match fields.get("sha256").and_then(Value::as_str) {
            Some(digest) if fields.len() == 1 => {
                let hex = blobs.get(digest).ok_or_else(|| format!("field sha256: there is no blob {digest:?}"))?;
                *budget = budget.checked_sub(hex.len()).ok_or("the blobs are too many to be restored")?;
                *fields = [("hex".to_string(), hex.clone().into())].into_iter().collect();
                Ok(())
            }
            _ => fields.values_mut().try_for_each(|field| restore_blobs(field, blobs, budget)),
        },
        Value::Array(items) => items.iter_mut().try_for_each(|item| restore_blobs(item, blobs, budget)),
        _ => Ok(()),
    }
}

/// Names of the plan are printed inside commands: they have to be names here too.
fn stated_names(plan: &Plan) -> Result<(), String> {
    let of_server = |server: &'_ PlannedServer| {
        [&server.name].into_iter().chain(&server.outward).chain(&server.web).cloned().collect::<Vec<_>>()
    };
    let mut names = plan.servers.iter().flat_map(of_server).chain([plan.domain.clone()]);
    let mut stores = plan.stores.iter().map(|store| &store.name);
    names
        .try_for_each(|name| host_name(&name).map(drop))
        .and_then(|()| stores.try_for_each(|name| store_name(name).map(drop)))
        .and_then(|()| sound(&plan.inputs, &plan.hybrid))
        .map_err(|error| format!("field plan: {error}"))
}

/// Was it written by a later version of this program than this one?
fn is_newer(tool: &str) -> bool {
    let numbers = |version: &str| -> Vec<u64> { version.split('.').filter_map(|part| part.parse().ok()).collect() };
    numbers(tool) > numbers(env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_long_blob_stands_once_and_comes_back() {
        let long = "ab".repeat(LONGEST_INLINE_HEX);
        let mut value =
            serde_json::json!([{ "packet": { "hex": long } }, { "packet": { "hex": long } }, { "hex": "ab" }]);
        let (before, mut blobs) = (value.clone(), BTreeMap::new());
        move_blobs(&mut value, &mut blobs);
        assert_eq!(blobs.len(), 1);
        assert_eq!(value[2], serde_json::json!({ "hex": "ab" }));
        restore_blobs(&mut value, &blobs, &mut MOST_RESTORED.clone()).unwrap();
        assert_eq!(value, before);
        let lost = restore_blobs(&mut serde_json::json!({ "sha256": "none" }), &blobs, &mut MOST_RESTORED.clone());
        assert!(lost.is_err());
        let mut attribute = serde_json::json!({ "sha256": ["a value that a server chose"], "currentTime": ["x"] });
        assert!(restore_blobs(&mut attribute, &blobs, &mut MOST_RESTORED.clone()).is_ok(), "no reference to a blob");
        let mut short = LONGEST_INLINE_HEX;
        assert!(restore_blobs(&mut value, &blobs, &mut short).is_ok(), "nothing is left to restore");
        move_blobs(&mut value, &mut BTreeMap::new());
        assert!(restore_blobs(&mut value, &blobs, &mut short).is_err(), "beyond the budget");
    }

    proptest! {
        /// Whatever happens to a file, it is read or refused with a sentence.
        #[test]
        fn a_damaged_file_is_read_or_refused(cut in 0usize..40_000, at in 0usize..40_000, byte in 0x20u8..0x7f) {
            let mut bytes = include_bytes!("../fixtures/runs/v1.json").to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            bytes.truncate(cut.max(at));
            if let Err(message) = Recording::parse(&String::from_utf8_lossy(&bytes)) {
                prop_assert!(!message.is_empty());
            }
        }
    }
}
