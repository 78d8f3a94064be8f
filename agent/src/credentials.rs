//! What requests are signed with: the environment's keys where it has them, else the role of the instance from the metadata
//! service, renewed before it ends.

use crate::metadata::{Metadata, MetadataError};
use crate::sign::Keys;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::sync::Arc;

/// How long before their end keys are renewed.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// Why there are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The metadata service cannot be asked.
    #[error("read the credentials of the instance's role: {0}")]
    Metadata(#[from] MetadataError),
    /// There is no role.
    #[error("this instance has no role: launch it with an instance profile (instanceProfile)")]
    NoRole,
    /// The answer is none.
    #[error("the metadata service's answer for role {0} holds no credentials ({1})")]
    Unreadable(String, String),
}

/// A source of keys.
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
    /// Of fixed keys, or of the instance's role.
    #[must_use]
    pub fn new(fixed: Option<Keys>, metadata: Arc<Metadata>) -> Self {
        Self {
            fixed,
            metadata,
            held: tokio::sync::Mutex::new(None),
        }
    }

    /// The keys of the environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    #[must_use]
    pub fn from_environment() -> Option<Keys> {
        let variable = |name| std::env::var(name).ok().filter(|v| !v.is_empty());
        Some(Keys {
            id: variable("AWS_ACCESS_KEY_ID")?,
            secret: variable("AWS_SECRET_ACCESS_KEY")?,
            session: variable("AWS_SESSION_TOKEN"),
        })
    }

    /// Keys that are good for now.
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
            // The old ones may be good for some minutes yet.
            Err(e) => match held.as_ref().filter(|(_, until)| now < *until) {
                Some((keys, _)) => Ok(keys.clone()),
                None => Err(e),
            },
        }
    }

    /// Drops keys of the role that AWS calls ended, whatever this machine's clock says: the next request asks for new ones.
    pub async fn forget(&self) {
        *self.held.lock().await = None;
    }

    async fn fetch(&self) -> Result<(Keys, Timestamp), CredentialsError> {
        let folder = "meta-data/iam/security-credentials/";
        let roles = self.metadata.get(folder).await?.unwrap_or_default();
        let role = roles.lines().next().map(str::trim).filter(|r| !r.is_empty());
        let role = role.ok_or(CredentialsError::NoRole)?;
        let text = self.metadata.get(&format!("{folder}{role}")).await?.unwrap_or_default();
        // The error of serde would quote the answer, and the answer holds secrets.
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
