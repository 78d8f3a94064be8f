//! The keys of people (age, X25519) and the one key of a file that they open.

use super::layout::Metadata;
use age::armor::ArmoredReader;
use age::x25519::Identity;
use std::io::Read as _;
use std::path::Path;
use zeroize::Zeroizing;

/// Recipients of one file that are tried.
const MOST_RECIPIENTS: usize = 64;
/// Length of a file's key, in bytes.
const LENGTH: usize = 32;

/// Keys of age, as `age-keygen` writes them. Cannot be printed.
pub(crate) struct AgeKeys {
    identities: Vec<Identity>,
    file: String,
}

/// The key of one file. Cannot be printed.
pub(super) struct DataKey(pub(super) Zeroizing<[u8; LENGTH]>);

impl AgeKeys {
    /// Reads a file of keys: one in each line, comments after `#`.
    ///
    /// # Errors
    /// When it cannot be read, or a line of it is no key of age. The text never repeats the line.
    pub(crate) fn read(file: &Path) -> Result<Self, String> {
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map(Zeroizing::new)
            .map_err(|error| format!("the age keys {shown} cannot be read: {error}"))?;
        let mut identities = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = line
                .parse::<Identity>()
                .map_err(|_| format!("{shown}:{} is no key of age (AGE-SECRET-KEY-1…)", number + 1))?;
            identities.push(identity);
        }
        if identities.is_empty() {
            return Err(format!("there is no key in {shown}; `age-keygen -o FILE` makes one"));
        }
        Ok(Self {
            identities,
            file: shown,
        })
    }

    /// Opens the key of a file.
    ///
    /// # Errors
    /// When none of the keys does, with whose would.
    pub(super) fn open(&self, metadata: &Metadata) -> Result<DataKey, String> {
        if metadata.needs_several {
            return Err("its key is divided among several groups of keys (Shamir), which is not supported".to_owned());
        }
        if metadata.age.is_empty() {
            let others = metadata.others.join(", ");
            return Err(format!(
                "it is encrypted for {others} and not for age; only age keys are opened, so add one with `sops rotate --add-age …`"
            ));
        }
        for (_, sealed) in metadata.age.iter().take(MOST_RECIPIENTS) {
            if let Some(key) = self.identities.iter().find_map(|identity| unwrap(identity, sealed)) {
                return Ok(key);
            }
        }
        let recipients: Vec<&str> = metadata
            .age
            .iter()
            .take(8)
            .map(|(recipient, _)| recipient.as_str())
            .collect();
        Err(format!(
            "no key in {} opens it; it is encrypted for {}",
            self.file,
            recipients.join(", ")
        ))
    }
}

fn unwrap(identity: &Identity, sealed: &str) -> Option<DataKey> {
    let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(sealed.as_bytes())).ok()?;
    let identity: &dyn age::Identity = identity;
    let reader = decryptor.decrypt(std::iter::once(identity)).ok()?;
    let mut key = Zeroizing::new(Vec::with_capacity(LENGTH + 1));
    reader.take(LENGTH as u64 + 1).read_to_end(&mut key).ok()?;
    let key: [u8; LENGTH] = key.as_slice().try_into().ok()?;
    Some(DataKey(Zeroizing::new(key)))
}
