//! Files that SOPS encrypted are decrypted where they are read, in memory: values, keys and plain texts are never
//! written, shown or logged. The format is that of <https://github.com/getsops/sops>. The MAC of the whole file is
//! checked before any of it is used.
//!
//! Supported keys are age's (X25519) and those of AWS KMS that the configuration allows. A file that only another
//! cloud's key or a PGP key decrypts is an error that says so.

mod dotenv;
mod flat;
mod ini;
mod key;
mod kms;
mod layout;
mod value;

pub(crate) use key::KeyChoice;
pub(crate) use kms::KmsKey;

use key::Keys;

use layout::Layout;
use myelin_engine::diagnostic::Diagnostics;
use myelin_engine::tree::{Opener, Sealed, TreePath};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// Opens the sealed files of one commit. Cannot be printed.
pub(crate) struct Decryption {
    keys: Keys,
    opened: Mutex<Opened>,
    /// Whether a file's key could not be had: that may change without the file.
    lacked: AtomicBool,
}

#[derive(Default)]
struct Opened {
    /// Content by the hash of the sealed one: files are read more than once.
    files: BTreeMap<[u8; 32], Result<Arc<[u8]>, Sealed>>,
    values: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for Decryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decryption")
    }
}

impl Decryption {
    /// With the keys that may be used; those in a file are read now. Without a key, encrypted files are recognized and
    /// refused.
    pub(crate) fn with(choice: &KeyChoice) -> Arc<Self> {
        Arc::new(Self {
            keys: Keys::of(choice),
            opened: Mutex::default(),
            lacked: AtomicBool::new(false),
        })
    }

    /// Whether a key was not available: the same commit may be good later, when a service answers or allows it.
    pub(crate) fn lacked_a_key(&self) -> bool {
        self.lacked.load(Ordering::Relaxed)
    }

    fn decrypt(&self, text: &str, layout: Layout) -> Result<Arc<[u8]>, Sealed> {
        let found = layout::read(text, layout)?;
        let key = self.keys.open(&found.metadata).map_err(|why| {
            self.lacked.store(true, Ordering::Relaxed);
            Sealed {
                line: found.metadata.line,
                why,
            }
        })?;
        let values = value::open_all(&found, &key)?;
        let plain = layout::write(text, &found, &values)?;
        if let Ok(mut opened) = self.opened.lock() {
            let secret = values.into_iter().map(|value| value.text);
            opened.values.extend(secret.filter(|text| !text.is_empty()));
        }
        Ok(plain.as_bytes().into())
    }
}

impl Opener for Decryption {
    fn open(&self, path: &TreePath, sealed: &[u8]) -> Option<Result<Arc<[u8]>, Sealed>> {
        let text = std::str::from_utf8(sealed).ok()?;
        let layout = Layout::of(path.name(), text)?;
        let hash: [u8; 32] = Sha256::new()
            .chain_update(path.name().as_bytes())
            .chain_update([0])
            .chain_update(sealed)
            .finalize()
            .into();
        if let Some(known) = self
            .opened
            .lock()
            .ok()
            .and_then(|opened| opened.files.get(&hash).cloned())
        {
            return Some(known);
        }
        let result = self.decrypt(text, layout);
        if let Ok(mut opened) = self.opened.lock() {
            opened.files.insert(hash, result.clone());
        }
        Some(result)
    }

    fn values(&self) -> Vec<String> {
        let opened = self.opened.lock();
        opened.map_or_else(
            |_| Vec::new(),
            |opened| opened.values.iter().map(|value| value.to_string()).collect(),
        )
    }
}

/// What stands for a value that is not shown.
const HIDDEN: &str = "(decrypted)";

/// Problems without any of the values: a reader's error may repeat a part of a file.
pub(crate) fn without(values: &[String], problems: Diagnostics) -> Diagnostics {
    let mut values: Vec<&String> = values.iter().filter(|value| !value.is_empty()).collect();
    // The longest first: a short one may be a part of it.
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let clean = |text: &str| {
        values
            .iter()
            .fold(text.to_owned(), |text, value| match text.contains(value.as_str()) {
                // A short one cannot be cut out without tearing the sentence.
                true if value.len() < 4 => text,
                true => text.replace(value.as_str(), HIDDEN),
                false => text,
            })
    };
    let cleaned = problems.into_iter().map(|mut problem| {
        problem.summary = clean(&problem.summary);
        problem.detail = clean(&problem.detail);
        problem
    });
    cleaned.collect()
}

/// Hides the values, and all data of a Secret, in an object that is to be printed.
pub(crate) fn hide(values: &[String], object: &mut Value) {
    if object.get("kind").and_then(Value::as_str) == Some("Secret") {
        for field in ["data", "stringData"] {
            if let Some(data) = object.get_mut(field).and_then(Value::as_object_mut) {
                data.values_mut().for_each(|value| *value = HIDDEN.into());
            }
        }
    }
    hide_values(values, object);
}

fn hide_values(values: &[String], node: &mut Value) {
    match node {
        Value::Object(map) => map.values_mut().for_each(|value| hide_values(values, value)),
        Value::Array(items) => items.iter_mut().for_each(|item| hide_values(values, item)),
        Value::String(text) => {
            let holds = |value: &String| text.contains(value.as_str()) && (value.len() >= 4 || value == text);
            if values.iter().any(|value| !value.is_empty() && holds(value)) {
                *node = HIDDEN.into();
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
