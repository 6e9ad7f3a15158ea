//! Bytes exactly as the wire gave them.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A message as it came in, kept whole so that a better parser needs no new recording.
///
/// In a recording it stands as `{"hex": "..."}`; the recording may move a long one to its table of blobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// Nothing came.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Serialize, Deserialize)]
struct Hex {
    hex: String,
}

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Hex { hex: hex::encode(&self.0) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Hex::deserialize(deserializer)?.hex;
        hex::decode(&text).map(Raw).map_err(serde::de::Error::custom)
    }
}
