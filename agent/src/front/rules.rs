//! What may be repeated, and which headers pass. Pure.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Version};
use std::net::IpAddr;

/// Set on requests that one node passes to another: such a request is served there or refused, and never passed on
/// again.
pub const PASSED_BY: HeaderName = HeaderName::from_static("myelin-passed-by");

/// Set on the refusal (503) of a passed request: the workload has not seen it, so it may be tried elsewhere.
pub const REFUSED: HeaderName = HeaderName::from_static("myelin-refused");

/// The chain of clients.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A client that sends this promises that repeating the request is safe (draft-ietf-httpapi-idempotency-key-header).
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
    // Two lengths allow request smuggling (RFC 9112, 6.1).
    let two = headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH);
    if two || headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return Some((400, "the request says two lengths of its body"));
    }
    let hosts = headers.get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && version == Version::HTTP_11) {
        return Some((400, "the request does not have exactly one Host"));
    }
    None
}

/// Makes of the head of a client's request that of the request which is sent on, whoever it will be sent to.
pub fn prepare(head: &mut Parts, client: IpAddr) {
    strip(&mut head.headers);
    head.headers.remove(REFUSED);
    // This front has said `100 Continue` itself by the time that a body comes.
    head.headers.remove(header::EXPECT);
    // The host of an absolute target counts, and not what is said beside it (RFC 9112, 3.2.2).
    let named = head
        .uri
        .authority()
        .map(|a| a.as_str().rsplit('@').next().unwrap_or_default());
    if let Some(host) = named.and_then(|host| HeaderValue::from_str(host).ok()) {
        head.headers.insert(header::HOST, host);
    }
    if let Some(chain) = forwarded_for(&head.headers, client) {
        head.headers.insert(FORWARDED_FOR, chain);
    }
    head.version = Version::HTTP_11;
}

/// The chain of clients, with this one at its end.
fn forwarded_for(headers: &HeaderMap, client: IpAddr) -> Option<HeaderValue> {
    let known = headers.get_all(FORWARDED_FOR);
    let mut chain: Vec<&str> = known.iter().filter_map(|v| v.to_str().ok()).collect();
    let client = client.to_string();
    chain.push(&client);
    HeaderValue::from_str(&chain.join(", ")).ok()
}

/// Removes headers that concern one connection only (RFC 9110, 7.6.1).
pub fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|n| n.trim().parse().ok())
        // A client must not get these removed by naming them in `Connection`.
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
        let two = headers(&[("host", "a"), ("host", "b")]);
        assert_eq!(refusal(&Method::GET, Version::HTTP_10, &two).map(|r| r.0), Some(400));
        assert_eq!(refusal(&Method::GET, Version::HTTP_10, &HeaderMap::new()), None);
        assert_eq!(status(&[]), Some(400));
        assert_eq!(status(&[("host", "a"), ("content-length", "1")]), None);
        assert_eq!(
            refusal(&Method::CONNECT, Version::HTTP_11, &HeaderMap::new()).map(|r| r.0),
            Some(405)
        );
    }

    #[test]
    fn what_is_sent_on_names_the_host_that_was_meant_and_the_clients_on_its_way() {
        let prepared = |target: &str, all: &[(&str, &str)]| {
            let (mut head, ()) = http::Request::builder()
                .uri(target)
                .body(())
                .expect("a request")
                .into_parts();
            head.version = Version::HTTP_10;
            head.headers = headers(all);
            prepare(&mut head, [10, 0, 0, 9].into());
            head
        };
        let text = |head: &Parts, name: &str| head.headers.get(name).map(|v| v.to_str().expect("text").to_owned());
        let head = prepared(
            "http://user@meant:81/x?y",
            &[("host", "other"), ("expect", "100-continue"), ("myelin-refused", "x")],
        );
        assert_eq!(text(&head, "host").as_deref(), Some("meant:81"));
        assert_eq!(text(&head, "x-forwarded-for").as_deref(), Some("10.0.0.9"));
        assert_eq!((text(&head, "expect"), text(&head, "myelin-refused")), (None, None));
        assert_eq!(head.version, Version::HTTP_11);
        let chain = [
            ("host", "other"),
            ("x-forwarded-for", "1.1.1.1, 2.2.2.2"),
            ("x-forwarded-for", "3.3.3.3"),
        ];
        let head = prepared("/x", &chain);
        assert_eq!(text(&head, "host").as_deref(), Some("other"));
        assert_eq!(
            text(&head, "x-forwarded-for").as_deref(),
            Some("1.1.1.1, 2.2.2.2, 3.3.3.3, 10.0.0.9")
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
