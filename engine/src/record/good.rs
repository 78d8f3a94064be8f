//! The last state in which everything was ready, stored for `onFailure: rollback`: what was applied, object by object.
//!
//! Only stacks that ask for a rollback have one. It contains the manifests as they were sent, including values of
//! Secrets. So it is stored in the record, which is a Secret itself, and nowhere else. Nothing here decides when to
//! roll back.

use crate::document::Check;
use crate::object::ObjectKey;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::time::Duration;

/// What a packed state may have at most, so that the inventory has room beside it in one Secret.
const LARGEST: usize = 600 << 10;

/// Size limit of an unpacked state. We never write a larger one.
const LARGEST_TEXT: u64 = 64 << 20;

/// A state in which everything was ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Good {
    /// Every object as it was sent.
    pub(crate) objects: Vec<GoodObject>,
    /// The components by name.
    pub(crate) components: BTreeMap<String, GoodTerms>,
}

/// An object as it was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GoodObject {
    pub(crate) key: ObjectKey,
    pub(crate) value: Value,
    pub(crate) component: Option<String>,
    pub(crate) file: String,
    pub(crate) write_only: BTreeSet<String>,
    pub(crate) implicit: bool,
}

/// A component's terms.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct GoodTerms {
    pub(crate) after: BTreeSet<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) verify: Vec<Check>,
}

impl Good {
    /// As bytes for the record; the same state gives the same bytes.
    ///
    /// # Errors
    /// When it is too large; the text says how large.
    pub(crate) fn pack(&self) -> Result<Vec<u8>, String> {
        let text = serde_json::to_vec(self).map_err(|e| e.to_string())?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let packed = encoder.write_all(&text).and_then(|()| encoder.finish());
        let packed = packed.map_err(|e| e.to_string())?;
        if packed.len() > LARGEST {
            return Err(format!(
                "compressed it has {} bytes, and {LARGEST} are the most",
                packed.len()
            ));
        }
        Ok(packed)
    }

    /// Reads what [`Good::pack`] made. Errors name places and types, never values.
    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self, String> {
        let mut text = Vec::new();
        GzDecoder::new(bytes)
            .take(LARGEST_TEXT)
            .read_to_end(&mut text)
            .map_err(|e| e.to_string())?;
        serde_json::from_slice(&text).map_err(|e| format!("line {} column {}", e.line(), e.column()))
    }
}
