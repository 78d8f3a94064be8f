//! One health check of the workload. Redirects count as healthy and are not followed.

use crate::config;
use crate::wire::{self, Url};
use bytes::Bytes;
use http::Method;
use std::time::Duration;

/// Largest answer to a health check.
const LIMIT: usize = 1 << 20;

/// Checks once.
///
/// # Errors
/// Why it is not healthy.
pub async fn ask(health: &config::Health) -> Result<(), String> {
    let end: Duration = health.timeout.0;
    if let Some(text) = &health.http {
        let url = Url::parse(text).ok_or_else(|| format!("{text} is not a URL"))?;
        let answer = wire::send(&url, Method::GET, &[], Bytes::new(), LIMIT, end).await;
        return match answer.map_err(|e| e.to_string())?.status {
            200..=399 => Ok(()),
            status => Err(format!("{url} answers {status}")),
        };
    }
    let address = health.tcp.as_deref().unwrap_or_default();
    match tokio::time::timeout(end, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(format!("connect to {address}: {e}")),
        Err(_) => Err(format!("connect to {address}: no answer within {} ms", end.as_millis())),
    }
}
