//! Flags that say which keys may decrypt files that SOPS encrypted.

use crate::sops::{KeyChoice, KmsKey};
use clap::Args;
use std::path::PathBuf;

/// Keys that may be used.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyArguments {
    /// File with the age keys that open files encrypted by SOPS.
    #[arg(long, value_name = "FILE", env = "MYELIN_AGE_KEY_FILE")]
    age_key_file: Option<PathBuf>,
    /// ARN of an AWS KMS key that may be used to decrypt files encrypted by SOPS; may be given several times.
    /// Credentials are found as by every AWS tool.
    #[arg(long = "kms-key", value_name = "ARN", env = "MYELIN_KMS_KEYS", value_delimiter = ',')]
    kms_keys: Vec<KmsKey>,
}

impl KeyArguments {
    /// The keys, in the form that readers of files take.
    pub(crate) fn choice(&self) -> KeyChoice {
        KeyChoice {
            age_key_file: self.age_key_file.clone(),
            kms: self.kms_keys.clone(),
        }
    }
}
