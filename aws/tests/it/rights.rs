//! The policies of `infra/iam`, enforced: the product makes no call outside the controller's, and a worker may change its own state
//! tag and nothing else.

use crate::world::{World, pool, tags, text};
use myelin_engine::cloud::{Cloud as _, ImageSource, Kind};
use myelin_engine::fleet::{FleetRun, TAG_STATE, apply_pool};
use myelin_sandbox::ec2::{Policy, catalog, instance_key};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const CONTROLLER: &str = "AKIACONTROLLER000001";
const PROFILE: &str = "arn:aws:iam::123456789012:instance-profile/prod/prod-worker";

/// A policy of `infra/iam` as Terraform fills it for the project `prod`.
fn policy(name: &str) -> Policy {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/iam").join(name);
    let mut text = std::fs::read_to_string(&file).expect("the policies are part of the repository");
    for (place, value) in [
        ("$${", "\u{1}"),
        ("${partition}", "aws"),
        ("${region}", catalog::REGION),
        ("${account_id}", catalog::ACCOUNT),
        ("${project}", "prod"),
        ("${cluster_tag}", "myelin.dev:cluster"),
        ("${worker_role_arn}", "arn:aws:iam::123456789012:role/prod/prod-worker"),
        ("${models_bucket}", "prod-models"),
        ("${checkpoints_bucket}", "prod-checkpoints"),
    ] {
        text = text.replace(place, value);
    }
    assert!(!text.contains("${"), "{name} has a place that this test does not fill");
    let document = serde_json::from_str(&text.replace('\u{1}', "${")).expect("JSON");
    Policy::read(&document).unwrap_or_else(|e| panic!("{name}: {e}"))
}

async fn controlled() -> World {
    let mut world = World::new().await;
    world.cloud.with_policy(CONTROLLER, policy("controller.json.tftpl"));
    world.port = world.signing_with(CONTROLLER).await;
    world
}

fn denied(world: &World) -> Vec<(String, String)> {
    let refused = ["UnauthorizedOperation", "AccessDeniedException"];
    let all = world.cloud.world();
    all.calls
        .iter()
        .filter(|(_, code)| refused.contains(&code.as_str()))
        .cloned()
        .collect()
}

#[tokio::test]
async fn a_pools_whole_life_stays_within_the_controllers_policy() {
    let world = controlled().await;
    let spec = |more: serde_json::Value| {
        let mut spec = json!({"size": 4, "capacity": {"onDemandBase": 1}, "instanceProfile": PROFILE,
            "drainHook": "systemctl stop worker", "undrainHook": "systemctl start worker"});
        for (k, v) in more.as_object().cloned().unwrap_or_default() {
            spec[k] = v;
        }
        pool(spec)
    };
    for wanted in [
        spec(json!({})),
        spec(json!({"userData": "v2"})),
        spec(json!({"size": 2, "userData": "v2"})),
    ] {
        let outcome = world.converge(&wanted).await;
        assert!(outcome.ready, "{}", text(&outcome.diagnostics));
        world.advance(3600);
    }
    // A drain that is cancelled, and what the port can do beside.
    let run = FleetRun::default();
    let stop = run.cancel.clone();
    let run = FleetRun {
        progress: Arc::new(move |p| {
            if p.text.starts_with("draining") {
                stop.cancel();
            }
        }),
        ..run
    };
    world
        .cloud
        .world()
        .instances
        .values_mut()
        .for_each(|i| drop(i.tags.insert(TAG_STATE.into(), "ready".into())));
    let plan = world.plan(&spec(json!({"size": 1, "userData": "v2"}))).await;
    assert!(apply_pool(&world.ports(), &plan, &run).await.cancelled);
    world
        .cloud
        .world()
        .instances
        .values_mut()
        .for_each(|i| drop(i.tags.remove(TAG_STATE)));
    let ids = world.alive();
    let port = &world.port;
    port.offerings(&["m5.large".into()]).await.expect("allowed");
    port.spot_prices(&["m5.large".into()]).await.expect("allowed");
    port.subnets(&[catalog::SUBNETS[0].id.into()]).await.expect("allowed");
    port.statuses(&ids).await.expect("allowed");
    let command = port
        .send_command(&ids, &["true".into()], Duration::from_secs(9))
        .await
        .expect("allowed");
    port.command_status(&command, &ids[0]).await.expect("allowed");
    let template = port.templates(&[]).await.expect("allowed").items.remove(0);
    let body = crate::world::body(catalog::IMAGES[0].id);
    port.create_template_version(&template.id, &body, "v")
        .await
        .expect("allowed");
    assert!(world.destroy(&spec(json!({}))).await.ready);
    assert_eq!(denied(&world), [], "and nothing was refused on the way");
    let scripts: std::collections::BTreeSet<String> = world
        .cloud
        .world()
        .commands
        .iter()
        .flat_map(|c| c.script.clone())
        .collect();
    assert!(scripts.contains("systemctl stop worker"), "{scripts:?}");
}

#[tokio::test]
async fn the_controller_may_not_touch_another_cluster_or_rewrite_who_a_node_is() {
    let world = controlled().await;
    let admin = world.signing_with(myelin_sandbox::ec2::ADMINISTRATOR).await;
    assert!(world.converge(&pool(json!({"size": 1}))).await.ready);
    let own = world.alive();
    let refused = |what: &str, kind: Option<Kind>| assert_eq!(kind, Some(Kind::Denied), "{what}");
    let other = pool(json!({"size": 1, "cluster": "test"}));
    let outcome = world.converge(&other).await;
    assert!(
        text(&outcome.diagnostics).contains("UnauthorizedOperation"),
        "{}",
        text(&outcome.diagnostics)
    );
    assert_eq!(world.alive(), own, "nothing of another cluster was launched");
    let identity = world
        .port
        .create_tags(&own, &tags(&[("myelin.dev:cluster", "test")]))
        .await;
    refused("the cluster tag", identity.err().map(|e| e.kind));
    let slot = world.port.delete_tags(&own, &["myelin.dev:slot".into()]).await;
    refused("the slot tag", slot.err().map(|e| e.kind));
    admin
        .create_tags(&own, &tags(&[("myelin.dev:cluster", "test")]))
        .await
        .expect("by the administrator");
    let ended = world.port.terminate(&own).await;
    refused("another cluster's instance", ended.err().map(|e| e.kind));
    let drained = world.port.create_tags(&own, &tags(&[("myelin.dev:drain", "x")])).await;
    refused("another cluster's drain", drained.err().map(|e| e.kind));
    let hook = world
        .port
        .send_command(&own, &["true".into()], Duration::from_secs(9))
        .await;
    refused("a command on another cluster's instance", hook.err().map(|e| e.kind));
    let secret = world.port.image(&ImageSource::Parameter("/prod/secret".into())).await;
    refused("a parameter that is not AWS's", secret.err().map(|e| e.kind));
}

#[tokio::test]
async fn a_worker_may_change_only_its_own_state_tag() {
    let world = World::new().await;
    world.cloud.with_role_policy("prod-worker", policy("worker.json.tftpl"));
    assert!(
        world
            .converge(&pool(json!({"size": 2, "instanceProfile": PROFILE})))
            .await
            .ready
    );
    let [me, peer] = <[String; 2]>::try_from(world.alive()).expect("two");
    let worker = world.signing_with(&instance_key(&me)).await;
    let one = |id: &String| vec![id.clone()];
    worker
        .create_tags(&one(&me), &tags(&[(TAG_STATE, "ready")]))
        .await
        .expect("its own state");
    worker
        .delete_tags(&one(&me), &[TAG_STATE.into()])
        .await
        .expect("its own state");
    assert_eq!(worker.instances(&[]).await.expect("peers").items.len(), 2);
    for (what, id, key) in [
        ("a peer's state", &peer, TAG_STATE),
        ("its own cluster", &me, "myelin.dev:cluster"),
        ("its own role", &me, "SynktiRole"),
        ("its own drain", &me, "myelin.dev:drain"),
    ] {
        let set = worker
            .create_tags(&one(id), &tags(&[(key, "x")]))
            .await
            .expect_err(what);
        let unset = worker.delete_tags(&one(id), &[key.into()]).await.expect_err(what);
        assert_eq!((set.kind, unset.kind), (Kind::Denied, Kind::Denied), "{what}");
    }
    let both = worker
        .create_tags(&one(&me), &tags(&[(TAG_STATE, "x"), ("SynktiRole", "x")]))
        .await;
    assert_eq!(both.expect_err("one bad key").kind, Kind::Denied);
    assert_eq!(
        worker.terminate(&one(&me)).await.expect_err("itself").kind,
        Kind::Denied
    );
    let send = worker
        .send_command(&one(&peer), &["true".into()], Duration::from_secs(9))
        .await;
    assert_eq!(send.expect_err("a command").kind, Kind::Denied);
    let role = world.cloud.world().instances[&peer].tags["SynktiRole"].clone();
    assert_eq!(role, "worker");
}
