//! The data key of a file, and the keys that decrypt it: those of users (age, X25519), and those of AWS KMS that a
//! source may use.

use super::kms::{KmsKey, KmsKeys};
use super::layout::Metadata;
use age::armor::ArmoredReader;
use age::x25519::Identity;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Recipients of one file that are tried.
const MOST_RECIPIENTS: usize = 64;
/// Length of a file's key, in bytes.
const LENGTH: usize = 32;

/// Which keys may be used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KeyChoice {
    /// File with age keys.
    pub(crate) age_key_file: Option<PathBuf>,
    /// Keys of AWS KMS.
    pub(crate) kms: Vec<KmsKey>,
}

impl KeyChoice {
    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.age_key_file.is_none() && self.kms.is_empty()
    }
}

/// The keys that may be used, as they were when a commit was read. Cannot be printed.
pub(super) struct Keys {
    age: Option<Result<AgeKeys, String>>,
    kms: KmsKeys,
}

/// Keys of age, as `age-keygen` writes them. Cannot be printed.
pub(super) struct AgeKeys {
    identities: Vec<Identity>,
    file: String,
}

/// The key of one file. Cannot be printed.
pub(super) struct DataKey(pub(super) Zeroizing<[u8; LENGTH]>);

impl Keys {
    pub(super) fn of(choice: &KeyChoice) -> Self {
        Self {
            age: choice.age_key_file.as_ref().map(|file| AgeKeys::read(file)),
            kms: KmsKeys::new(choice.kms.clone()),
        }
    }

    /// Decrypts the data key of a file. Age comes first, because it needs no request.
    ///
    /// # Errors
    /// When no key works, with the keys that would, and the answer for each.
    pub(super) fn open(&self, metadata: &Metadata) -> Result<DataKey, String> {
        if metadata.needs_several {
            return Err("its key is divided among several groups of keys (Shamir), which is not supported".to_owned());
        }
        if self.age.is_none() && self.kms.is_empty() {
            return Err(
                "it is encrypted by SOPS, and there is no key; pass --age-key-file or --kms-key, or write `decryption: {ageKeyFile: FILE}` or \
                 `decryption: {kms: [ARN]}` in the configuration"
                    .to_owned(),
            );
        }
        let mut refusals = Vec::new();
        match &self.age {
            Some(Ok(keys)) if !metadata.age.is_empty() => match keys.open(metadata) {
                Ok(key) => return Ok(key),
                Err(why) => refusals.push(why),
            },
            // Wrong in any case, and perhaps why nothing opens.
            Some(Err(why)) => refusals.push(why.clone()),
            None if !metadata.age.is_empty() => {
                refusals.push("there is no file of age keys (ageKeyFile, --age-key-file)".to_owned());
            }
            Some(Ok(_)) | None => {}
        }
        if !metadata.kms.is_empty() {
            let opened = self.kms.open(&metadata.kms).and_then(|key| {
                let key: Result<[u8; LENGTH], _> = key.as_slice().try_into();
                key.map(|key| DataKey(Zeroizing::new(key)))
                    .map_err(|_| "AWS KMS opened something that is no key of 32 bytes".to_owned())
            });
            match opened {
                Ok(key) => return Ok(key),
                Err(why) => refusals.push(why),
            }
        }
        if metadata.age.is_empty() && metadata.kms.is_empty() {
            let others = metadata.others.join(", ");
            refusals.push(format!(
                "it is encrypted for {others} and neither for age nor for AWS KMS, which alone are opened; add one with `sops rotate --add-age …` \
                 or `--add-kms …`"
            ));
        }
        Err(refusals.join("; "))
    }
}

impl AgeKeys {
    /// Reads a file of keys: one in each line, comments after `#`.
    ///
    /// # Errors
    /// When it cannot be read, or a line of it is no key of age. The text never repeats the line.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
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

    fn open(&self, metadata: &Metadata) -> Result<DataKey, String> {
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
