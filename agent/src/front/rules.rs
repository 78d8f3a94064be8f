//! What may be repeated, and which headers pass. Pure.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Version};

/// Set on what one node passes to another: it is served there or refused, and never passed on again.
pub const PASSED_BY: HeaderName = HeaderName::from_static("myelin-passed-by");

/// Set on a refusal (503) of what was passed: the workload has not seen it, so it may be tried elsewhere.
pub const REFUSED: HeaderName = HeaderName::from_static("myelin-refused");

/// A client that sends this promises that repeating does no harm (draft-ietf-httpapi-idempotency-key-header).
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whether a request that may have reached a workload may be sent again (RFC 9110, 9.2.2).
#[must_use]
pub fn is_idempotent(method: &Method, headers: &HeaderMap) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE
    ) || headers.contains_key(IDEMPOTENCY_KEY)
}

/// Why a request is not passed at all.
#[must_use]
pub fn refusal(method: &Method, version: Version, headers: &HeaderMap) -> Option<(u16, &'static str)> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Some((405, "this front passes neither CONNECT nor TRACE"));
    }
    // Two lengths are how requests are smuggled (RFC 9112, 6.1).
    let two = headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH);
    if two || headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Some((400, "the request says two lengths of its body"));
    }
    if version == Version::HTTP_11 && headers.get_all(header::HOST).iter().count() != 1 {
        return Some((400, "the request does not have exactly one Host"));
    }
    None
}

/// Removes what concerns one connection alone (RFC 9110, 7.6.1).
pub fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|n| n.trim().parse().ok())
        // A client must not have what it cannot have itself removed.
        .filter(|n| *n != PASSED_BY && *n != header::HOST && *n != header::CONTENT_LENGTH)
        .collect();
    let always = [
        header::CONNECTION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    for name in named.iter().chain(&always) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            map.append(
                name.parse::<HeaderName>().expect("a name"),
                value.parse().expect("a value"),
            );
        }
        map
    }

    #[test]
    fn repeatable_is_what_http_says_and_what_a_client_promises() {
        for (method, extra, expected) in [
            (Method::GET, &[][..], true),
            (Method::HEAD, &[], true),
            (Method::PUT, &[], true),
            (Method::DELETE, &[], true),
            (Method::POST, &[], false),
            (Method::PATCH, &[], false),
            (Method::POST, &[("idempotency-key", "x")], true),
        ] {
            assert_eq!(is_idempotent(&method, &headers(extra)), expected, "{method} {extra:?}");
        }
    }

    #[test]
    fn what_could_be_smuggled_is_refused() {
        let status = |all: &[(&str, &str)]| refusal(&Method::POST, Version::HTTP_11, &headers(all)).map(|r| r.0);
        assert_eq!(
            status(&[("host", "a"), ("content-length", "1"), ("transfer-encoding", "chunked")]),
            Some(400)
        );
        assert_eq!(
            status(&[("host", "a"), ("content-length", "1"), ("content-length", "2")]),
            Some(400)
        );
        assert_eq!(status(&[("host", "a"), ("host", "b")]), Some(400));
        assert_eq!(status(&[]), Some(400));
        assert_eq!(status(&[("host", "a"), ("content-length", "1")]), None);
        assert_eq!(
            refusal(&Method::CONNECT, Version::HTTP_11, &HeaderMap::new()).map(|r| r.0),
            Some(405)
        );
    }

    #[test]
    fn headers_of_the_connection_do_not_pass_and_a_client_cannot_remove_ours() {
        let mut all = headers(&[
            ("host", "a"),
            ("connection", "close, X-Mine, myelin-passed-by, host"),
            ("x-mine", "1"),
            ("x-other", "2"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("myelin-passed-by", "i-1"),
        ]);
        strip(&mut all);
        let mut left: Vec<&str> = all.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "myelin-passed-by", "x-other"]);
    }
}
