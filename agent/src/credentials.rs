//! Credentials for signing requests: those of the environment if present, otherwise those of the instance's role from
//! the metadata service, renewed before they expire.

use crate::metadata::{Metadata, MetadataError};
use crate::sign::Keys;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::sync::Arc;

/// How long before their expiry credentials are renewed.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Why there are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The metadata service cannot be reached.
    #[error("read the credentials of the instance's role: {0}")]
    Metadata(#[from] MetadataError),
    /// There is no role.
    #[error("this instance has no role: launch it with an instance profile (instanceProfile)")]
    NoRole,
    /// The answer cannot be parsed.
    #[error("the metadata service's answer for role {0} holds no credentials ({1})")]
    Unreadable(String, String),
}

/// A source of credentials.
#[derive(Debug)]
pub struct Credentials {
    fixed: Option<Keys>,
    metadata: Arc<Metadata>,
    held: tokio::sync::Mutex<Option<(Keys, Timestamp)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    access_key_id: String,
    secret_access_key: String,
    token: String,
    expiration: Timestamp,
}

impl Credentials {
    /// From fixed credentials, or from the instance's role.
    #[must_use]
    pub fn new(fixed: Option<Keys>, metadata: Arc<Metadata>) -> Self {
        Self {
            fixed,
            metadata,
            held: tokio::sync::Mutex::new(None),
        }
    }

    /// The credentials of the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    #[must_use]
    pub fn from_environment() -> Option<Keys> {
        let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        Some(Keys {
            id: variable("AWS_ACCESS_KEY_ID")?,
            secret: variable("AWS_SECRET_ACCESS_KEY")?,
            session: variable("AWS_SESSION_TOKEN"),
        })
    }

    /// Currently valid credentials.
    ///
    /// # Errors
    /// When there are none.
    pub async fn keys(&self, now: Timestamp) -> Result<Keys, CredentialsError> {
        if let Some(keys) = &self.fixed {
            return Ok(keys.clone());
        }
        let mut held = self.held.lock().await;
        if let Some((keys, until)) = held.as_ref()
            && now.duration_since(*until) < -AHEAD
        {
            return Ok(keys.clone());
        }
        match self.fetch().await {
            Ok((keys, until)) => {
                *held = Some((keys.clone(), until));
                Ok(keys)
            }
            // The old ones may still be valid for some minutes.
            Err(e) => match held.as_ref().filter(|(_, until)| now < *until) {
                Some((keys, _)) => Ok(keys.clone()),
                None => Err(e),
            },
        }
    }

    /// Drops credentials of the role that AWS calls expired, whatever this machine's clock says: the next request gets
    /// new ones.
    pub async fn forget(&self) {
        *self.held.lock().await = None;
    }

    async fn fetch(&self) -> Result<(Keys, Timestamp), CredentialsError> {
        let folder = "meta-data/iam/security-credentials/";
        let roles = self.metadata.get(folder).await?.unwrap_or_default();
        let role = roles.lines().next().map(str::trim).filter(|r| !r.is_empty());
        let role = role.ok_or(CredentialsError::NoRole)?;
        let text = self.metadata.get(&format!("{folder}{role}")).await?.unwrap_or_default();
        // serde's error would quote the answer, and the answer contains secrets.
        let answer: Answer = serde_json::from_str(&text).map_err(|e| {
            let place = format!("line {}, column {}", e.line(), e.column());
            CredentialsError::Unreadable(role.to_owned(), place)
        })?;
        let keys = Keys {
            id: answer.access_key_id,
            secret: answer.secret_access_key,
            session: Some(answer.token),
        };
        Ok((keys, answer.expiration))
    }
}
