//! The instance metadata service, version 2 only. A session token that is refused (401) is renewed once. Without a
//! session nothing is requested, and version 1 is never tried: a metadata service that gives no session is an error.

use crate::wire::{self, Url, WireError};
use bytes::Bytes;
use http::Method;
use std::time::Duration;

/// The endpoint if `AWS_EC2_METADATA_SERVICE_ENDPOINT` names no other.
const ENDPOINT: &str = "http://169.254.169.254";

/// Lifetime of a session in seconds; EC2's maximum.
const SESSION: &str = "21600";

/// Time limit of one request. The service answers in milliseconds, but a fully loaded machine is slower to send.
const DEADLINE: Duration = Duration::from_secs(4);

/// Largest answer.
const LIMIT: usize = 64 << 10;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It could not be reached.
    #[error("{0}; is this an EC2 instance, and does its hop limit let containers ask (metadataHops: 2)?")]
    Wire(#[from] WireError),
    /// It gave no session.
    #[error("the metadata service gave no session (status {0}); version 1 is never asked instead")]
    NoSession(u16),
    /// It refused a session that it had just given, or failed.
    #[error("the metadata service answered {path} with status {status}")]
    Status {
        /// What was asked.
        path: String,
        /// Its answer.
        status: u16,
    },
    /// The answer is no text.
    #[error("the metadata service answered {0} with something that is no text")]
    Text(String),
    /// The answer is something else than what EC2 says there.
    #[error("the metadata service answered {0} with something that EC2 never says; is it one?")]
    Unreadable(String),
    /// The address cannot be parsed.
    #[error("AWS_EC2_METADATA_SERVICE_ENDPOINT is not of the form http://host[:port]: {0}")]
    Endpoint(String),
}

/// A client that sends one request at a time.
#[derive(Debug)]
pub struct Metadata {
    endpoint: Url,
    session: tokio::sync::Mutex<Option<String>>,
}

impl Metadata {
    /// For an endpoint, or the one that the environment names, or the default one.
    ///
    /// # Errors
    /// When the endpoint is not a valid address.
    pub fn new(endpoint: Option<&str>) -> Result<Self, MetadataError> {
        let text = endpoint.unwrap_or(ENDPOINT);
        let endpoint = Url::parse(text).ok_or_else(|| MetadataError::Endpoint(text.to_owned()))?;
        Ok(Self {
            endpoint,
            session: tokio::sync::Mutex::new(None),
        })
    }

    /// Requests `path` below `/latest/`; None if it does not exist (404).
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn get(&self, path: &str) -> Result<Option<String>, MetadataError> {
        let mut session = self.session.lock().await;
        for fresh in [false, true] {
            if session.is_none() || fresh {
                *session = None;
                *session = Some(self.open().await?);
            }
            let token = session.as_deref().unwrap_or_default();
            let url = self.endpoint.join(&format!("/latest/{path}"));
            let headers = [("x-aws-ec2-metadata-token", token)];
            let answer = wire::send(&url, Method::GET, &headers, Bytes::new(), LIMIT, DEADLINE).await?;
            match answer.status {
                200 => {
                    let text = String::from_utf8(answer.body.to_vec());
                    return text.map(Some).map_err(|_| MetadataError::Text(path.to_owned()));
                }
                404 => return Ok(None),
                401 if !fresh => {}
                status => {
                    return Err(MetadataError::Status {
                        path: path.to_owned(),
                        status,
                    });
                }
            }
        }
        Err(MetadataError::Status {
            path: path.to_owned(),
            status: 401,
        })
    }

    async fn open(&self) -> Result<String, MetadataError> {
        let url = self.endpoint.join("/latest/api/token");
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", SESSION)];
        let answer = wire::send(&url, Method::PUT, &headers, Bytes::new(), LIMIT, DEADLINE).await?;
        match (answer.status, String::from_utf8(answer.body.to_vec())) {
            (200, Ok(token)) if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) => Ok(token),
            (status, _) => Err(MetadataError::NoSession(status)),
        }
    }
}
