//! What happens to drift: reverted, only reported, or given up in a field war.

use crate::house::{House, map, stack};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams};
use myelin_sandbox::faults::{Effect, Rule};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn where_drift_is_only_reported_it_stays_is_told_once_and_goes_with_the_next_manifest() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", "  drift: report\n")),
            ("one/map.yaml", &map("paint", "red")),
            ("two.yaml", &stack("two", "")),
            ("two/map.yaml", &map("other", "red")),
        ],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    house.meddle("paint", json!({"color": "green"})).await;
    let status = house
        .eventually("reported", async || {
            let status = house.status().await;
            status["drift"]["shop/one"][0].is_string().then_some(status)
        })
        .await;
    for arguments in [&["diff", "repository"][..], &["diff", "repository", "--drift"]] {
        let shown = house.says(2, arguments);
        assert!(
            shown.contains("left alone") && shown.contains("- data.color: \"green\""),
            "{arguments:?}\n{shown}"
        );
    }
    let said = status["drift"]["shop/one"][0].as_str().unwrap();
    assert!(
        said.contains("ConfigMap shop/paint") && said.contains("data.color"),
        "{said}"
    );
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("green"));
    house
        .eventually("an event", async || {
            house.says(0, &["events"]).contains("DriftReported").then_some(())
        })
        .await;
    assert!(house.says(0, &["status"]).contains("ConfigMap shop/paint: drifted"));
    // Known and left: it costs nothing.
    house.eventually("silence", async || house.is_silent().await).await;
    // The other stack takes its own back all the same.
    house.meddle("other", json!({"color": "green"})).await;
    house
        .eventually("reverted", async || {
            (house.value("other", "color").await.as_deref() == Some("red")).then_some(())
        })
        .await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("green"));
    let second = house.commit("blue", &[("one/map.yaml", &map("paint", "blue"))]);
    let status = house.reaches("ready", &second).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("blue"));
    assert!(status["drift"].is_null(), "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_war_ends_with_a_report_and_then_costs_nothing() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    // The other side writes whenever its value is gone.
    let status = house
        .eventually("given up", async || {
            if house.value("paint", "color").await.as_deref() == Some("red") {
                house.meddle("paint", json!({"color": "green"})).await;
            }
            let status = house.status().await;
            status["drift"]["shop/one"][0].is_string().then_some(status)
        })
        .await;
    assert!(status.to_string().contains("left alone"), "{status:#}");
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("green"));
    let said = house.says(0, &["why", "cm/shop/paint"]);
    assert!(
        said.contains("drifted") && said.contains("5 foreign changes within the hour"),
        "{said}"
    );
    house.eventually("silence", async || house.is_silent().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_whose_repair_takes_long_holds_up_no_other_and_no_repair_lists_what_others_own() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[
            ("slow.yaml", &stack("slow", "")),
            ("slow/map.yaml", &map("slow", "red")),
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("paint", "red")),
            ("two.yaml", &stack("two", "")),
            ("two/map.yaml", &map("other", "red")),
        ],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    house.eventually("silence", async || house.is_silent().await).await;
    let before = house.sandbox.faults().sequence();
    let rule = house.hang_patches("slow");
    house.meddle("slow", json!({"color": "green"})).await;
    house.met("its repair hangs", &rule).await;
    for name in ["paint", "other"] {
        house.meddle(name, json!({"color": "green"})).await;
        house
            .eventually("reverted beside it", async || {
                (house.value(name, "color").await.as_deref() == Some("red")).then_some(())
            })
            .await;
    }
    assert_eq!(house.value("slow", "color").await.as_deref(), Some("green"));
    house.sandbox.faults().clear();
    house
        .eventually("reverted at last", async || {
            (house.value("slow", "color").await.as_deref() == Some("red")).then_some(())
        })
        .await;
    house.eventually("silence", async || house.is_silent().await).await;
    let whole: Vec<String> = house
        .sandbox
        .faults()
        .log(before)
        .into_iter()
        .filter(|line| line.user_agent.starts_with("myelin/") && line.verb == "list")
        .filter(|line| line.path == "/api/v1/configmaps" || line.path == "/api/v1/secrets")
        .map(|line| format!("{} {}", line.path, line.query))
        .collect();
    assert!(whole.is_empty(), "{whole:#?}");
}

/// Repairs and the reports about them share a limit on requests. A loop once waited for room for a report while it let
/// no repair continue that held some, and stood still forever.
#[tokio::test(flavor = "multi_thread")]
async fn many_changes_at_once_are_all_taken_back_however_often() {
    const STACKS: usize = 48;
    let house = House::new().await;
    let names: Vec<String> = (0..STACKS).map(|number| format!("app-{number}")).collect();
    let files: Vec<(String, String)> = names
        .iter()
        .flat_map(|name| {
            let maps: String = (0..3).map(|n| format!("---\n{}", map(&format!("{name}-{n}"), "red"))).collect();
            let service = format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n");
            [
                (format!("{name}.yaml"), stack(name, "")),
                (format!("{name}/all.yaml"), format!("{service}{maps}")),
            ]
        })
        .collect();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect();
    let first = house.commit("first", &files);
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    house.sandbox.faults().add(Rule {
        user_agent: "myelin/".to_owned(),
        verbs: ["get", "list", "patch", "update"].map(str::to_owned).to_vec(),
        effect: Effect::Latency { millis: 30 },
        ..Rule::default()
    });
    for round in 0..4 {
        let services: Api<Service> = Api::namespaced(house.client.clone(), "shop");
        let theirs = json!({"spec": {"selector": {"app": format!("elsewhere-{round}")}}});
        let patch = Patch::Merge(&theirs);
        let ours = PatchParams::default();
        let meddling = names.iter().map(async |name| {
            for number in 0..3 {
                house
                    .meddle(&format!("{name}-{number}"), json!({"color": "green"}))
                    .await;
            }
            services.patch(name, &ours, &patch).await.unwrap();
        });
        futures::future::join_all(meddling).await;
        for name in &names {
            house
                .eventually("everything taken back", async || {
                    let service = services.get(name).await.unwrap();
                    let selector = service.spec.and_then(|spec| spec.selector).unwrap_or_default();
                    let mut red = selector.get("app") == Some(name);
                    for number in 0..3 {
                        red &= house.value(&format!("{name}-{number}"), "color").await.as_deref() == Some("red");
                    }
                    red.then_some(())
                })
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_take_the_status_delays_no_revert() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let rule = house.hang_patches("myelin-source-git");
    house.commit("bad", &[("one.yaml", &stack("one", "  sorce: x\n"))]);
    house.met("the word of it hangs", &rule).await;
    house.meddle("paint", json!({"color": "green"})).await;
    house
        .eventually("reverted beside it", async || {
            (house.value("paint", "color").await.as_deref() == Some("red")).then_some(())
        })
        .await;
    let log = house.log();
    assert!(
        !log.contains("could not be written"),
        "the first attempt to write it still hangs:\n{log}"
    );
    house.sandbox.faults().clear();
    house.reaches("rejected", &first).await;
}
