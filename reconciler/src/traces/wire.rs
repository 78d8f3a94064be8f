//! Spans in OTLP's JSON form (opentelemetry-proto, `ExportTraceServiceRequest`): ids in hexadecimal, 64-bit numbers as
//! text.

use super::{Datum, Span};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// `SPAN_KIND_INTERNAL` and `SPAN_KIND_CLIENT`.
const INTERNAL: u8 = 1;
const CLIENT: u8 = 3;
/// `STATUS_CODE_ERROR`.
const FAILED: u8 = 2;

/// One request's body.
pub(super) fn body(resource: &[(String, String)], spans: &[Span]) -> Value {
    let text = |(name, value): &(String, String)| json!({"key": name, "value": {"stringValue": value}});
    json!({"resourceSpans": [{
        "resource": {"attributes": resource.iter().map(text).collect::<Vec<_>>()},
        "scopeSpans": [{
            "scope": {"name": "myelin", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans.iter().map(one).collect::<Vec<_>>(),
        }],
    }]})
}

fn one(span: &Span) -> Value {
    let attributes: Vec<Value> = span
        .attributes
        .iter()
        .map(|(name, datum)| {
            let value = match datum {
                Datum::Text(text) => json!({"stringValue": text}),
                Datum::Whole(number) => json!({"intValue": number.to_string()}),
                Datum::Flag(flag) => json!({"boolValue": flag}),
            };
            json!({"key": name, "value": value})
        })
        .collect();
    let mut written = json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.id),
        "name": span.name,
        "kind": if span.name == super::REQUEST { CLIENT } else { INTERNAL },
        "startTimeUnixNano": nanoseconds(span.begin),
        "endTimeUnixNano": nanoseconds(span.end.max(span.begin)),
        "attributes": attributes,
    });
    if let Some(parent) = span.parent {
        written["parentSpanId"] = format!("{parent:016x}").into();
    }
    if span.failed {
        written["status"] = json!({"code": FAILED});
    }
    written
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos())
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_span_is_written_as_the_protocol_says() {
        let begin = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001);
        let span = Span {
            trace: 0xab,
            id: 7,
            parent: Some(0x10),
            name: "request",
            begin,
            // A clock that was set back makes no span that ends before it begins.
            end: begin - Duration::from_secs(1),
            attributes: vec![
                ("url.path", Datum::Text("/api".into())),
                ("http.response.status_code", Datum::Whole(404)),
            ],
            failed: true,
        };
        let written = body(&[("service.name".into(), "myelin".into())], &[span]);
        let scope = &written["resourceSpans"][0];
        assert_eq!(scope["resource"]["attributes"][0]["value"]["stringValue"], "myelin");
        assert_eq!(
            scope["scopeSpans"][0]["spans"][0],
            json!({
                "traceId": "000000000000000000000000000000ab", "spanId": "0000000000000007", "parentSpanId": "0000000000000010",
                "name": "request", "kind": 3,
                "startTimeUnixNano": "1700000000000000001", "endTimeUnixNano": "1700000000000000001",
                "attributes": [
                    {"key": "url.path", "value": {"stringValue": "/api"}},
                    {"key": "http.response.status_code", "value": {"intValue": "404"}},
                ],
                "status": {"code": 2},
            })
        );
    }
}
