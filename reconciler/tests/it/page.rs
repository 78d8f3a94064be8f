//! The HTTP endpoints for users and machines: the checks, the live page, the page of one stack, the drift metric.

use crate::house::{House, map, stack};
use myelin_sandbox::faults::{Effect, Rule};
use serde_json::{Value, json};

/// The address that the reconciler listens on.
pub(crate) async fn address(house: &House) -> String {
    house
        .eventually("it listens", async || {
            let log = house.log();
            let line = log.lines().find(|line| line.contains("\"listening\""))?;
            let line: Value = serde_json::from_str(line).ok()?;
            line["fields"]["address"].as_str().map(str::to_owned)
        })
        .await
}

/// One GET over plain HTTP; status line, headers and body as one text.
pub(crate) async fn get(address: &str, path: &str, header: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_was_not_looked_at_yet_is_alive_and_not_ready() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    // The records are never listed: the first pass cannot end.
    let rule = house.sandbox.faults().add(Rule {
        verbs: vec!["list".to_owned()],
        resources: vec!["secrets".to_owned()],
        effect: Effect::HangBefore,
        ..Rule::default()
    });
    let _reconciler = house.reconciler();
    let address = address(&house).await;
    house.met("it waits for the records", &rule).await;
    let answer = get(&address, "/readyz", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("source git: not looked at yet"),
        "{answer}"
    );
    assert!(get(&address, "/healthz", "").await.starts_with("HTTP/1.1 200"));
    house.sandbox.faults().clear();
    house.reaches("ready", &first).await;
    house
        .eventually("it is ready", async || {
            let answer = get(&address, "/readyz", "").await;
            answer.starts_with("HTTP/1.1 200").then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_each_object_with_its_reason_while_it_is_waited_for_and_a_page_for_each_stack() {
    let house = House::new().await;
    let stuck = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: nginx, envFrom: [{secretRef: {name: absent}}]}]}\n";
    let components = "  components:\n    base: {path: base}\n    web: {path: web, after: [base]}\n";
    house.commit(
        "<script>alert(1)</script>",
        &[
            ("one.yaml", &stack("one", components)),
            ("one/base/map.yaml", &map("paint", "red")),
            ("one/web/web.yaml", stuck),
        ],
    );
    let _reconciler = house.reconciler();
    let address = address(&house).await;
    let page = house
        .eventually("the page tells what is waited for", async || {
            let page = get(&address, "/", "").await;
            (page.contains("Pod shop/web") && page.contains("absent")).then_some(page)
        })
        .await;
    for words in ["Source git", "component web", "after base", "ConfigMap shop/paint"] {
        assert!(page.contains(words), "{words} is missing: {page}");
    }
    assert!(!page.contains("<script"), "{page}");
    let one = get(&address, "/stacks/git/shop/one", "").await;
    assert!(
        one.starts_with("HTTP/1.1 200") && one.contains("Pod shop/web") && one.contains("absent"),
        "{one}"
    );
    let none = get(&address, "/stacks/git/shop/%3Cscript%3E", "").await;
    assert!(none.starts_with("HTTP/1.1 404") && !none.contains("<script"), "{none}");
    let state = get(&address, "/debug/state.json", "").await;
    let state: Value = serde_json::from_str(state.split_once("\r\n\r\n").unwrap().1).unwrap();
    let stacks = state["git"]["tree"]["stacks"].as_array().unwrap();
    assert_eq!(stacks[0]["name"], "shop/one", "{state:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_that_is_left_is_counted_until_it_is_gone() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", "  drift: report\n")),
            ("one/map.yaml", &map("paint", "red")),
        ],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let address = address(&house).await;
    let counted = async |number: u32| {
        let line = format!("myelin_stack_drifted_objects{{source=\"git\",stack=\"shop/one\"}} {number}");
        house
            .eventually(&line, async || {
                get(&address, "/metrics", "").await.contains(&line).then_some(())
            })
            .await;
    };
    counted(0).await;
    house.meddle("paint", json!({"color": "green"})).await;
    counted(1).await;
    let page = get(&address, "/", "").await;
    assert!(page.contains("Drift that is reported and left"), "{page}");
    house.meddle("paint", json!({"color": "red"})).await;
    let second = house.commit("blue", &[("one/map.yaml", &map("paint", "blue"))]);
    house.reaches("ready", &second).await;
    counted(0).await;
}
