//! The key service that SOPS files name: one request, `Decrypt`, for the data key of a file.
//!
//! The caller decides which keys may be used, not a file. AWS's answer is returned in memory that is wiped, and no
//! message of this module contains any of it.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::config::SharedCredentialsProvider;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::retry::RetryConfig;
use aws_sdk_kms::config::timeout::TimeoutConfig;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::operation::RequestId as _;
use aws_sdk_kms::operation::decrypt::DecryptError;
use aws_sdk_kms::primitives::Blob;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

/// Time limits of one attempt, of a connection, and of all attempts together.
const ATTEMPT: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(20);
/// Number of attempts, with the SDK's jittered back-off between them. Decrypting a key twice does no harm.
const ATTEMPTS: u32 = 4;

/// ARN of a key, or of an alias of one: `arn:aws:kms:REGION:ACCOUNT:key/ID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyArn {
    text: String,
    region: String,
}

impl KeyArn {
    /// The region that the key is in.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The whole ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for KeyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for KeyArn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/');
        let region = match parts[..] {
            ["arn", partition, "kms", region, account, key]
                if partition.starts_with("aws")
                    && region.contains('-')
                    && region
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                    && account.len() == 12
                    && account.chars().all(|c| c.is_ascii_digit())
                    && (key.starts_with("key/") || key.starts_with("alias/"))
                    && key.chars().all(plain) =>
            {
                region.to_owned()
            }
            _ => {
                return Err("a key of AWS KMS is written arn:aws:kms:REGION:ACCOUNT:key/ID (or alias/NAME)".to_owned());
            }
        };
        Ok(Self {
            text: text.to_owned(),
            region,
        })
    }
}

/// The credentials to use in one region.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KmsSettings {
    /// Region of the keys.
    pub region: String,
    /// Profile of the shared configuration files; None for that of the environment or the instance.
    pub profile: Option<String>,
    /// A role to assume with these credentials.
    pub role: Option<String>,
}

/// Why a data key was not decrypted. The text contains AWS's answer and never any of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct KmsError {
    /// Whether there was no answer, so that another file is not worth a request now.
    pub silent: bool,
    /// The message.
    pub said: String,
}

/// The key service in one region.
#[derive(Debug, Clone)]
pub struct Kms {
    client: Client,
}

impl Kms {
    /// Creates the client. Endpoints are AWS's own unless `AWS_ENDPOINT_URL_KMS` (or `AWS_ENDPOINT_URL`) says
    /// otherwise.
    pub async fn connect(settings: &KmsSettings) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(DEADLINE)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(settings.region.clone()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts);
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        let mut config = loader.load().await;
        if let Some(role) = &settings.role {
            let provider = aws_config::sts::AssumeRoleProvider::builder(role)
                .session_name("myelin-sops")
                .configure(&config)
                .build()
                .await;
            config = config
                .into_builder()
                .credentials_provider(SharedCredentialsProvider::new(provider))
                .build();
        }
        Self {
            client: Client::new(&config),
        }
    }

    /// Decrypts one data key. The request names the key, so that AWS refuses a ciphertext of another key.
    ///
    /// # Errors
    /// With AWS's answer, or that there was none.
    pub async fn decrypt(
        &self,
        key: &KeyArn,
        sealed: Vec<u8>,
        context: &BTreeMap<String, String>,
    ) -> Result<Zeroizing<Vec<u8>>, KmsError> {
        let context: HashMap<String, String> = context.clone().into_iter().collect();
        let answer = self
            .client
            .decrypt()
            .key_id(key.as_str())
            .ciphertext_blob(Blob::new(sealed))
            .set_encryption_context((!context.is_empty()).then_some(context))
            .send()
            .await
            .map_err(|error| told(&error))?;
        match answer.plaintext {
            Some(plain) => Ok(Zeroizing::new(plain.into_inner())),
            None => Err(KmsError {
                silent: false,
                said: "it answered without a key".to_owned(),
            }),
        }
    }
}

fn told(error: &SdkError<DecryptError>) -> KmsError {
    match error {
        SdkError::ServiceError(refused) => {
            let inner = refused.err();
            let code = inner.code().unwrap_or("no reason");
            // For a wrong context or another key's ciphertext, AWS says nothing but this code.
            let message = match (inner.message(), code) {
                (Some(message), _) => message,
                (None, "InvalidCiphertextException") => {
                    "the ciphertext, its encryption context or the key is not what it was made with"
                }
                (None, _) => "without more words",
            };
            let request = inner
                .request_id()
                .map_or(String::new(), |id| format!(" (request {id})"));
            KmsError {
                silent: refused.raw().status().is_server_error(),
                said: format!("{code}: {message}{request}"),
            }
        }
        SdkError::TimeoutError(_) => silent("it did not answer in time".to_owned()),
        SdkError::ResponseError(_) => silent("its answer could not be read".to_owned()),
        // No credentials, an unknown host, no server: the chain of causes says which.
        other => silent(causes(other)),
    }
}

fn silent(said: String) -> KmsError {
    KmsError { silent: true, said }
}

/// An error and its causes in one line. Nothing of a request's or an answer's body is in them.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let next = inner.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_of_a_key_says_its_region_and_other_arns_are_refused() {
        for (text, region) in [
            (
                "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
                Some("eu-central-1"),
            ),
            (
                "arn:aws-us-gov:kms:us-gov-west-1:111122223333:alias/sops",
                Some("us-gov-west-1"),
            ),
            (
                "arn:aws:kms:eu-central-1:111122223333:key/mrk-1234",
                Some("eu-central-1"),
            ),
            ("arn:aws:s3:eu-central-1:111122223333:key/a", None),
            ("arn:aws:kms::111122223333:key/a", None),
            ("arn:aws:kms:evil.example.com/-:111122223333:key/a", None),
            ("arn:aws:kms:eu-central-1:1111:key/a", None),
            ("arn:aws:kms:eu-central-1:111122223333:user/a", None),
            ("key/a", None),
            ("", None),
        ] {
            let read = text.parse::<KeyArn>();
            assert_eq!(read.as_ref().ok().map(KeyArn::region), region, "{text}: {read:?}");
        }
    }
}
