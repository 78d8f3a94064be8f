//! Answers on their way out: status, media type, warnings, compression.

use std::io::Write;

use axum::body::Body;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::negotiate::{Accept, Media};
use crate::kubernetes::registry::Failure;

/// From this size on, answers are compressed for clients that accept it.
const GZIP_FROM: usize = 128 * 1024;

/// An answer.
pub(crate) struct Reply {
    response: Response<Payload>,
}

enum Payload {
    Bytes(Bytes),
    Stream(Body),
}

impl Reply {
    /// An answer with a media type.
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(Payload::Bytes(body.into()));
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_str(content_type).unwrap_or(HeaderValue::from_static("application/json"));
        headers.insert("content-type", content_type);
        headers.insert("cache-control", HeaderValue::from_static("no-cache, private"));
        Self { response }
    }

    /// Plain text.
    pub(crate) fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.to_owned())
    }

    /// A JSON value in the form that was asked for.
    pub(crate) fn value(status: u16, value: &Value, media: Media) -> Self {
        match media {
            Media::Json => Self::new(status, "application/json", to_bytes(value)),
            Media::Yaml => Self::new(status, "application/yaml", to_yaml(value)),
        }
    }

    /// JSON text that is already rendered, in the requested form.
    pub(crate) fn json(status: u16, json: Vec<u8>, media: Media) -> Self {
        match media {
            Media::Json => Self::new(status, "application/json", json),
            Media::Yaml => match serde_json::from_slice::<Value>(&json) {
                Ok(value) => Self::value(status, &value, media),
                Err(_) => Self::new(status, "application/json", json),
            },
        }
    }

    /// A stream of JSON documents.
    pub(crate) fn stream(body: Body, content_type: &'static str) -> Self {
        let mut reply = Self::new(200, content_type, Bytes::new());
        *reply.response.body_mut() = Payload::Stream(body);
        reply
    }

    /// An answer that somebody else has made whole.
    pub(crate) fn whole(response: Response<Body>) -> Self {
        Self {
            response: response.map(Payload::Stream),
        }
    }

    /// Add warnings.
    pub(crate) fn warn(mut self, warnings: &[String]) -> Self {
        for warning in warnings {
            let text: String = warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
                self.response.headers_mut().append("warning", value);
            }
        }
        self
    }

    /// Add a header.
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }

    /// The status.
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The response, compressed if that is wanted and worth it.
    pub(crate) fn into_response(self, gzip: bool) -> Response<Body> {
        let (mut parts, payload) = self.response.into_parts();
        let body = match payload {
            Payload::Stream(body) => body,
            Payload::Bytes(bytes) if gzip && bytes.len() >= GZIP_FROM => match compress(&bytes) {
                Some(small) => {
                    parts
                        .headers
                        .insert("content-encoding", HeaderValue::from_static("gzip"));
                    parts
                        .headers
                        .insert("vary", HeaderValue::from_static("Accept-Encoding"));
                    Body::from(small)
                }
                None => Body::from(bytes),
            },
            Payload::Bytes(bytes) => Body::from(bytes),
        };
        Response::from_parts(parts, body)
    }
}

fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// A refusal as a `Status`.
pub(crate) fn failure(failure: &Failure, accept: &Accept) -> Reply {
    let mut reply = Reply::value(failure.code, &failure.status(), accept.lenient()).warn(&failure.warnings);
    if let Some(seconds) = failure.retry_after() {
        reply = reply.with("retry-after", &seconds.to_string());
    }
    reply
}

pub(crate) fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("JSON values with string keys always render")
}

fn to_yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}
