//! Traces of the real program, as a collector on loopback receives them: the tree of a pass, without secrets. A missing
//! collector costs one line in the log.

use crate::house::{House, map, stack};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

const SECRET: &str = "c2VjcmV0LW9mLXRoZS10ZXN0";

/// A collector, and every span that it was given.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Value>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let take = async |State(collector): State<Collector>, body: Bytes| {
            let request: Value = serde_json::from_slice(&body).unwrap();
            let resource = &request["resourceSpans"][0];
            assert_eq!(
                resource["resource"]["attributes"][0]["key"], "service.name",
                "{request:#}"
            );
            let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap().clone();
            collector.0.lock().unwrap().extend(spans);
            "{}"
        };
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (collector, url)
    }

    fn spans(&self) -> Vec<Value> {
        self.0.lock().unwrap().clone()
    }

    /// The trace of which this root is told: by id, with the root.
    fn trace(&self, name: &str, revision: &str) -> Option<(Value, BTreeMap<String, Value>)> {
        let all = self.spans();
        let root = all.iter().find(|span| {
            span["name"] == name && span["parentSpanId"].is_null() && said(span, "myelin.revision") == revision
        })?;
        let of = all.iter().filter(|span| span["traceId"] == root["traceId"]);
        let by_id = of.map(|span| (span["spanId"].as_str().unwrap().to_owned(), span.clone()));
        Some((root.clone(), by_id.collect()))
    }
}

/// The value of an attribute.
fn said(span: &Value, name: &str) -> Value {
    let attributes = span["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == name);
    found
        .and_then(|attribute| attribute["value"].as_object()?.values().next().cloned())
        .unwrap_or_default()
}

/// The names from the root to a span: `pass/apply/stack`.
fn way(span: &Value, all: &BTreeMap<String, Value>) -> String {
    let name = span["name"].as_str().unwrap();
    match span["parentSpanId"].as_str() {
        None => name.to_owned(),
        Some(parent) => {
            let parent = all
                .get(parent)
                .unwrap_or_else(|| panic!("a parent nobody told of: {span:#}"));
            format!("{}/{name}", way(parent, all))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_a_tree_of_spans_and_holds_no_secret() {
    let mut house = House::new().await;
    let (collector, url) = Collector::start().await;
    house.set("OTEL_EXPORTER_OTLP_ENDPOINT", &url);
    let secret = format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: hidden}}\ndata: {{key: {SECRET}}}\n");
    let parts = "  components:\n    base: {path: base}\n    web: {path: web, after: [base]}\n";
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", parts)),
            ("one/base/secret.yaml", &secret),
            ("one/web/map.yaml", &map("paint", "red")),
        ],
    );
    let reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let (root, all) = house
        .eventually("the pass", async || collector.trace("pass", &first))
        .await;
    assert_eq!(said(&root, "myelin.source"), "git");
    let mut ways: BTreeMap<String, usize> = BTreeMap::new();
    for span in all.values() {
        *ways.entry(way(span, &all)).or_default() += 1;
        let time = |name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
        assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"), "{span:#}");
    }
    for (expected, times) in [
        ("pass", 1..=1),
        ("pass/fetch", 1..=1),
        ("pass/render", 1..=1),
        ("pass/plan", 1..=1),
        ("pass/plan/request", 1..=50),
        ("pass/apply", 1..=1),
        ("pass/apply/stack", 1..=1),
        ("pass/apply/stack/request", 4..=50),
        ("pass/apply/stack/component", 2..=2),
        ("pass/apply/stack/component/gate", 2..=2),
    ] {
        let found = ways.get(expected).copied().unwrap_or_default();
        assert!(times.contains(&found), "{expected}: {found} of {times:?}\n{ways:#?}");
    }
    let find = |name: &str, attribute: &str, value: &str| {
        let found = all
            .values()
            .find(|span| span["name"] == name && said(span, attribute) == value);
        found
            .unwrap_or_else(|| panic!("no {name} with {attribute} {value}: {ways:#?}"))
            .clone()
    };
    find("stack", "myelin.stack", "shop/one");
    let gate = find("gate", "myelin.object", "core/ConfigMap/shop/paint");
    let component = &all[gate["parentSpanId"].as_str().unwrap()];
    assert_eq!(said(component, "myelin.component"), "web");
    let request = find("request", "url.path", "/api/v1/namespaces/shop/configmaps/paint");
    assert_eq!(
        (said(&request, "http.request.method"), &request["kind"]),
        (json!("PATCH"), &json!(3))
    );

    // What drifts is a trace of its own.
    house.meddle("paint", json!({"color": "green"})).await;
    let (root, all) = house
        .eventually("the repair", async || collector.trace("repair", &first))
        .await;
    assert_eq!(said(&root, "myelin.stack"), "shop/one");
    let ways: Vec<String> = all.values().map(|span| way(span, &all)).collect();
    for expected in ["repair/plan", "repair/apply", "repair/apply/stack/component/gate"] {
        assert!(ways.iter().any(|way| way == expected), "{expected}: {ways:#?}");
    }

    // A commit that is not taken is a failed pass, and what is wrong with it is in no span.
    let bad = house.commit("bad", &[("one.yaml", &stack("one", "  broken-secret: x\n"))]);
    let (root, _) = house
        .eventually("the bad pass", async || collector.trace("pass", &bad))
        .await;
    assert_eq!(root["status"]["code"], 2, "{root:#}");

    reconciler.terminate();
    let text = json!(collector.spans()).to_string();
    for hidden in [SECRET, "secret-of-the-test", "broken-secret"] {
        assert!(!text.contains(hidden), "{hidden} is in a span");
    }
    // A line of the log is as it is without traces.
    assert!(!house.log().contains("\"span") && !house.log().contains("traces are not taken"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_costs_a_line_in_the_log() {
    let mut house = House::new().await;
    // A port that was free a moment ago and that has no listener.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    house.set(
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        &format!("http://127.0.0.1:{port}/v1/traces"),
    );
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    house
        .eventually("a word about it", async || {
            house.log().contains("traces are not taken").then_some(())
        })
        .await;
    for color in ["green", "blue"] {
        house.meddle("paint", json!({"color": color})).await;
        house
            .eventually("reverted", async || {
                (house.value("paint", "color").await.as_deref() == Some("red")).then_some(())
            })
            .await;
    }
    let second = house.commit("second", &[("one/map.yaml", &map("paint", "white"))]);
    house.reaches("ready", &second).await;
    assert_eq!(
        house.log().matches("traces are not taken").count(),
        1,
        "{}",
        house.log()
    );
}
