//! AWS Signature Version 4 for one POST with a body. Pure.
//!
//! The algorithm is AWS's ("Create a signed AWS API request", IAM user guide): a canonical request, a string to sign
//! over its hash, and a key derived from the secret, the day, the region and the service.

use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;
use std::fmt::Write as _;

/// What requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Id of the key.
    pub id: String,
    /// The secret half.
    pub secret: String,
    /// Session token of temporary keys.
    pub session: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What is signed: a POST to `/` of a host.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The `Host` header.
    pub host: &'a str,
    /// Region.
    pub region: &'a str,
    /// Service: `ec2` or `ssm`.
    pub service: &'a str,
    /// Headers beside `Host`, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}

fn sha256(data: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, data).as_ref())
}

fn mac(key: &[u8], data: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data.as_bytes())
        .as_ref()
        .to_vec()
}

/// The headers to add: `x-amz-date`, `authorization`, and the session token of temporary keys.
#[must_use]
pub fn sign(request: &Request<'_>, keys: &Keys, now: Timestamp) -> Vec<(&'static str, String)> {
    let stamp = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let day = &stamp[..8];
    let mut headers: Vec<(&str, &str)> = request.headers.to_vec();
    headers.push(("host", request.host));
    headers.push(("x-amz-date", &stamp));
    if let Some(session) = &keys.session {
        headers.push(("x-amz-security-token", session));
    }
    headers.sort_unstable();
    let canonical: String = headers.iter().map(|(n, v)| format!("{n}:{}\n", v.trim())).collect();
    let names: Vec<&str> = headers.iter().map(|(n, _)| *n).collect();
    let names = names.join(";");
    let whole = format!("POST\n/\n\n{canonical}\n{names}\n{}", sha256(request.body));
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{}", sha256(whole.as_bytes()));
    let mut key = mac(format!("AWS4{}", keys.secret).as_bytes(), day);
    for part in [request.region, request.service, "aws4_request"] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &text));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        keys.id
    );
    let mut out = vec![("x-amz-date", stamp), ("authorization", authorization)];
    if let Some(session) = &keys.session {
        out.push(("x-amz-security-token", session.clone()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session: None,
        }
    }

    /// `post-x-www-form-urlencoded` of AWS's published test suite for Signature Version 4.
    #[test]
    fn a_form_is_signed_as_the_published_example_is() {
        let request = Request {
            host: "example.amazonaws.com",
            region: "us-east-1",
            service: "service",
            headers: &[("content-type", "application/x-www-form-urlencoded")],
            body: b"Param1=value1",
        };
        let now = "2015-08-30T12:36:00Z".parse().expect("a time");
        let signed = sign(&request, &keys(), now);
        assert_eq!(signed[0].1, "20150830T123600Z");
        assert_eq!(
            signed[1].1,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }

    #[test]
    fn temporary_keys_send_and_sign_their_session_and_nothing_prints_the_secret() {
        let keys = Keys {
            session: Some("TOKEN".into()),
            ..keys()
        };
        let request = Request {
            host: "h",
            region: "r",
            service: "ec2",
            headers: &[],
            body: b"",
        };
        let signed = sign(&request, &keys, Timestamp::UNIX_EPOCH);
        assert!(
            signed[1]
                .1
                .contains("SignedHeaders=host;x-amz-date;x-amz-security-token")
        );
        assert_eq!(signed[2], ("x-amz-security-token", "TOKEN".to_owned()));
        let shown = format!("{keys:?}");
        assert!(!shown.contains("wJalr") && !shown.contains("TOKEN"), "{shown}");
    }
}
