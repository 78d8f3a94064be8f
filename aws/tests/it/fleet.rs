//! The engine's fleet through the SDK and HTTP: created, rolled, shrunk, reclaimed, destroyed; with lost answers, under
//! the published rates, and with a client that is dropped at every request.

use crate::world::{TYPES, World, pool, text};
use jiff::SignedDuration;
use myelin_engine::cloud::Cloud as _;
use myelin_engine::document::NodePool;
use myelin_engine::fleet::{FleetRun, Known, NodeFate, TAG_DRAIN, TAG_SLOT, TAG_STATE, apply_pool};
use myelin_sandbox::ec2::{Failure, Faults, Lifecycle as Market, NoCapacity, catalog};
use serde_json::json;
use std::sync::Arc;

#[tokio::test]
async fn three_hundred_nodes_take_ten_calls_and_a_thousand_steady_ones_take_one_look() {
    let world = World::new().await;
    world.cloud.world().faults.rate_limits = true;
    let outcome = world.converge(&pool(json!({"size": 300}))).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    println!("300 nodes over the wire: {}", outcome.calls);
    assert!(outcome.calls.total() <= 10, "{}", outcome.calls);
    assert_eq!((outcome.nodes.len(), world.launched()), (300, 300));

    let huge = pool(json!({"size": 1000}));
    assert!(world.converge(&huge).await.ready);
    world.advance(3600);
    let (before, served) = (world.calls(), world.served("DescribeInstances"));
    let plan = world.plan(&huge).await;
    assert!(plan.is_empty(), "{}", plan.text());
    assert!(apply_pool(&world.ports(), &plan, &FleetRun::default()).await.ready);
    let spent = world.calls().since(&before);
    println!("1000 nodes, a steady look over the wire: {spent}");
    assert_eq!((spent.total(), spent.0["DescribeInstances"]), (1, 1), "{spent}");
    assert_eq!(world.served("DescribeInstances"), served + 1);
    let refused = world
        .cloud
        .world()
        .calls
        .iter()
        .any(|(_, code)| code == "RequestLimitExceeded");
    assert!(!refused, "the published rates were kept");
}

#[tokio::test]
async fn a_pool_lives_over_the_wire_from_create_to_destroy() {
    let world = World::new().await;
    let first = pool(json!({"size": 4, "capacity": {"onDemandBase": 1}, "userData": "v1"}));
    let plan = world.plan(&first).await;
    assert_eq!(plan.count(NodeFate::Launch), 4, "{}", plan.text());
    assert!(world.converge(&first).await.ready);
    assert_eq!((world.alive_of(Market::OnDemand), world.alive_of(Market::Spot)), (1, 3));
    for instance in world.cloud.alive() {
        for tag in [
            "SynktiCluster",
            "SynktiRole",
            "myelin.dev:pool",
            "myelin.dev:spec-hash",
            TAG_SLOT,
        ] {
            assert!(instance.tags.contains_key(tag), "{tag} of {}", instance.id);
            assert!(
                instance.volume.tags.contains_key(tag),
                "{tag} of the volume of {}",
                instance.id
            );
        }
        assert_eq!(instance.image, catalog::IMAGES[0].id, "what the parameter named");
    }
    assert!(world.plan(&first).await.is_empty());
    // A roll: one more, one less, four times.
    let second = pool(json!({"size": 4, "capacity": {"onDemandBase": 1}, "userData": "v2"}));
    world.advance(3600);
    let plan = world.plan(&second).await;
    assert_eq!(
        (plan.count(NodeFate::Replace), plan.count(NodeFate::Launch)),
        (4, 4),
        "{}",
        plan.text()
    );
    let least = Arc::new(std::sync::atomic::AtomicUsize::new(usize::MAX));
    let run = FleetRun {
        progress: {
            let (least, cloud) = (Arc::clone(&least), world.cloud.clone());
            Arc::new(move |_| {
                let up = cloud.alive().len();
                least.fetch_min(up, std::sync::atomic::Ordering::Relaxed);
            })
        },
        ..FleetRun::default()
    };
    let outcome = apply_pool(&world.ports(), &plan, &run).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    assert!(least.load(std::sync::atomic::Ordering::Relaxed) >= 4);
    assert_eq!((world.alive().len(), world.launched()), (4, 8));
    assert!(world.plan(&second).await.is_empty());
    // In, and out.
    let outcome = world
        .converge(&pool(
            json!({"size": 2, "capacity": {"onDemandBase": 1}, "userData": "v2"}),
        ))
        .await;
    assert!(
        outcome.ready && world.alive().len() == 2,
        "{}",
        text(&outcome.diagnostics)
    );
    assert_eq!(world.alive_of(Market::OnDemand), 1, "the base stays");
    let outcome = world.destroy(&second).await;
    assert!(
        outcome.ready && outcome.nodes.is_empty(),
        "{}",
        text(&outcome.diagnostics)
    );
    assert!(world.alive().is_empty());
    let left = world.port.templates(&[]).await.expect("listed");
    assert!(left.items.is_empty(), "{:?}", left.items);
}

#[tokio::test]
async fn lost_answers_throttling_and_lagging_lists_double_and_orphan_nothing() {
    for seed in 0..25 {
        let world = World::new().await;
        let one = |code: &str, per_mille, after_effect| Failure {
            operation: "*".into(),
            code: code.into(),
            status: 503,
            after_effect,
            per_mille: Some(per_mille),
            ..Failure::default()
        };
        world.set(Faults {
            failures: vec![
                one("ConnectionReset", 250, true),
                one("ConnectionReset", 100, false),
                one("RequestLimitExceeded", 50, false),
            ],
            visibility_lag: 60,
            tag_lag: 30,
            seed,
            ..Faults::default()
        });
        let size = 1 + seed % 5;
        world.insist(&pool(json!({"size": size}))).await;
        assert_eq!(
            (world.alive().len() as u64, world.launched()),
            (size, size),
            "seed {seed}"
        );
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Create,
    Roll,
    ScaleIn,
    Destroy,
}

/// Drops a client at one request of a deed, starts another, and checks what there is. False when the deed took fewer requests.
async fn dropped_at(deed: Deed, request: u32, after_effect: bool) -> bool {
    let mut world = World::new().await;
    world.cloud.world().faults.visibility_lag = 45;
    // A roll asks the most; of one node it asks everything.
    let size: u64 = if deed == Deed::Roll { 1 } else { 2 };
    let before = pool(json!({"size": size}));
    if deed != Deed::Create {
        world.insist(&before).await;
        world.advance(3600);
    }
    let made = world.launched();
    let goal = match deed {
        Deed::Create | Deed::Destroy => before.clone(),
        Deed::Roll => pool(json!({"size": size, "userData": "new"})),
        Deed::ScaleIn => pool(json!({"size": 1})),
    };
    world.fail(Failure {
        operation: "*".into(),
        code: "Hang".into(),
        skip: request,
        times: Some(1),
        after_effect,
        ..Failure::default()
    });
    let died = {
        let doing = async {
            if deed == Deed::Destroy {
                world.destroy(&goal).await;
            } else {
                world.converge(&goal).await;
            }
        };
        tokio::select! {
            () = world.cloud.hung() => true,
            () = doing => false,
        }
    };
    world.cloud.world().faults.failures.clear();
    world.port = world.signing_with(myelin_sandbox::ec2::ADMINISTRATOR).await;
    let what = format!(
        "{deed:?} dropped at request {request}, {}",
        if after_effect { "after" } else { "before" }
    );
    if deed == Deed::Destroy {
        let mut outcome = world.destroy(&goal).await;
        for _ in 0..4 {
            if !outcome.ready {
                outcome = world.destroy(&goal).await;
            }
        }
        assert!(outcome.ready, "{what}: {}", text(&outcome.diagnostics));
        assert!(world.alive().is_empty(), "{what}");
        return died;
    }
    world.insist(&goal).await;
    world.advance(120);
    let plan = world.plan(&goal).await;
    assert!(plan.is_empty(), "{what}: {}", plan.text());
    let (alive, new) = if deed == Deed::ScaleIn {
        (1, 0)
    } else {
        (usize::try_from(size).expect("small"), size)
    };
    assert_eq!((world.alive().len(), world.launched() - made), (alive, new), "{what}");
    died
}

/// Drops a client at every request of a deed, before and after its effect.
async fn dropped_everywhere(deed: Deed, least: u32) {
    let mut deaths = 0;
    for after_effect in [false, true] {
        let mut request = 0;
        while dropped_at(deed, request, after_effect).await {
            request += 1;
            deaths += 1;
            assert!(request < 300);
        }
    }
    assert!(deaths >= least, "{deed:?}: dropped {deaths} times only");
}

#[tokio::test]
async fn a_create_dropped_at_every_request_leaves_no_orphan_and_no_double() {
    dropped_everywhere(Deed::Create, 10).await;
}

#[tokio::test]
async fn a_roll_dropped_at_every_request_leaves_no_orphan_and_no_double() {
    dropped_everywhere(Deed::Roll, 20).await;
}

#[tokio::test]
async fn a_scale_in_dropped_at_every_request_leaves_no_orphan_and_no_double() {
    dropped_everywhere(Deed::ScaleIn, 8).await;
}

#[tokio::test]
async fn a_destroy_dropped_at_every_request_leaves_nothing() {
    dropped_everywhere(Deed::Destroy, 8).await;
}

#[tokio::test]
async fn all_offerings_without_capacity_end_soon_with_every_refusal_named() {
    let world = World::new().await;
    assert!(world.converge(&pool(json!({"size": 2}))).await.ready);
    world.cloud.world().faults.no_capacity = vec![NoCapacity::default()];
    let (before, began) = (world.cloud.clock.now(), world.served("CreateFleet"));
    let outcome = world.converge(&pool(json!({"size": 4}))).await;
    assert!(!outcome.ready && outcome.nodes.len() == 2);
    let said = text(&outcome.diagnostics);
    for t in TYPES {
        for zone in ["us-east-1a", "us-east-1b"] {
            let each = format!("{t} spot in {zone}: InsufficientInstanceCapacity");
            assert!(said.contains(&each), "{each} is not in {said}");
        }
    }
    let took = world.cloud.clock.now().duration_since(before);
    assert!(took < SignedDuration::from_secs(60), "it took {took}");
    assert!(
        world.served("CreateFleet") - began <= 2,
        "a refused offering is not asked again"
    );
}

#[tokio::test]
async fn spot_notices_reclaims_and_a_zone_that_fails_are_made_good() {
    let world = World::new().await;
    let wanted = pool(json!({"size": 6}));
    assert!(world.converge(&wanted).await.ready);
    world.advance(3600);
    let all = world.alive();
    world
        .cloud
        .spot_notice(&all[0], SignedDuration::from_secs(120))
        .expect("there");
    world.cloud.reclaim(&all[1]).expect("there");
    let plan = world.plan(&wanted).await;
    assert_eq!(
        plan.count(NodeFate::Launch),
        1,
        "the noticed one still runs: {}",
        plan.text()
    );
    world.advance(125);
    let seen = world.port.instances_by_id(&all[..2]).await.expect("listed").items;
    assert!(
        seen.iter().all(|i| i.state_reason == "Server.SpotInstanceTermination"),
        "{seen:?}"
    );
    let outcome = world.converge(&wanted).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    assert_eq!((world.alive().len(), world.launched()), (6, 8));
    // A zone is out: the replacements come up in the other one.
    world.advance(3600);
    let in_zone: Vec<String> = world
        .cloud
        .alive()
        .iter()
        .filter(|i| i.zone == "us-east-1a")
        .map(|i| i.id.clone())
        .collect();
    assert!(!in_zone.is_empty());
    world.cloud.world().faults.zones_down = vec!["us-east-1a".into()];
    let known = Known {
        check_health: true,
        ..Known::default()
    };
    let plan = world.look(&wanted, &known).await;
    let blind = plan.expect_err("a question that names instances there fails");
    assert!(
        text(&blind).contains("InternalError"),
        "nothing is decided on it: {}",
        text(&blind)
    );
    assert_eq!(world.alive().len(), 6);
    for id in &in_zone {
        world.cloud.reclaim(id).expect("there");
    }
    world.advance(1200);
    let outcome = world.converge(&wanted).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    assert!(world.cloud.alive().iter().all(|i| i.zone == "us-east-1b") && world.alive().len() == 6);
}

#[tokio::test]
async fn an_empty_denied_or_torn_list_launches_and_ends_nothing() {
    let wanted = pool(json!({"size": 3}));
    for (code, status) in [
        ("UnauthorizedOperation", 403),
        ("InternalError", 500),
        ("ConnectionReset", 500),
    ] {
        let world = World::new().await;
        assert!(world.converge(&wanted).await.ready);
        world.fail(Failure {
            operation: "DescribeInstances".into(),
            code: code.into(),
            status,
            ..Failure::default()
        });
        let refused = world.look(&wanted, &Known::default()).await.expect_err(code);
        assert!(text(&refused).contains("DescribeInstances"), "{}", text(&refused));
        assert!(!world.destroy(&wanted).await.ready);
        assert_eq!((world.launched(), world.alive().len()), (3, 3), "{code}");
    }
    let world = World::new().await;
    assert!(world.converge(&wanted).await.ready);
    world.cloud.world().faults.visibility_lag = 86_000;
    let refused = world
        .look(&wanted, &Known::default())
        .await
        .expect_err("an empty list against better knowledge");
    assert!(
        text(&refused).contains("again") || text(&refused).contains("lists no"),
        "{}",
        text(&refused)
    );
    assert_eq!((world.launched(), world.alive().len()), (3, 3));
}

#[tokio::test]
async fn leaks_are_found_by_tag_and_removed_only_when_old_and_a_run_that_takes_too_much_stops() {
    let world = World::new().await;
    assert!(world.converge(&pool(json!({"size": 4}))).await.ready);
    let stray = world.alive()[0].clone();
    world
        .port
        .delete_tags(std::slice::from_ref(&stray), &[TAG_SLOT.into()])
        .await
        .expect("untagged");
    let wanted = pool(json!({"size": 3}));
    let fate = |plan: &myelin_engine::fleet::FleetPlan| plan.nodes.iter().find(|n| n.id == stray).map(|n| n.fate);
    assert_eq!(
        fate(&world.plan(&wanted).await),
        Some(NodeFate::Watch),
        "too young to be judged"
    );
    world.advance(3600);
    let plan = world.plan(&wanted).await;
    assert!(plan.text().contains("a leak"), "{}", plan.text());
    assert!(world.converge(&wanted).await.ready && !world.alive().contains(&stray));
    let careful = pool(json!({"size": 1, "rollout": {"maxRemovedPercent": 20}}));
    let plan = world.plan(&careful).await;
    assert!(plan.diagnostics.has_errors(), "{}", plan.text());
    let outcome = apply_pool(&world.ports(), &plan, &FleetRun::default()).await;
    assert!(
        !outcome.ready && world.launched() == 4,
        "{}",
        text(&outcome.diagnostics)
    );
}

#[tokio::test]
async fn a_removal_that_is_called_off_takes_its_mark_back() {
    let world = World::new().await;
    assert!(world.converge(&pool(json!({"size": 3}))).await.ready);
    let ready = crate::world::tags(&[(TAG_STATE, "ready")]);
    world
        .port
        .create_tags(&world.alive(), &ready)
        .await
        .expect("agents say so");
    world.advance(3600);
    let plan = world.plan(&pool(json!({"size": 2}))).await;
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
    let outcome = apply_pool(&world.ports(), &plan, &run).await;
    assert!(outcome.cancelled && outcome.nodes.len() == 3);
    assert!(world.cloud.alive().iter().all(|i| !i.tags.contains_key(TAG_DRAIN)));
    assert!(world.served("DeleteTags") >= 1);
}

#[tokio::test]
async fn an_image_by_parameter_is_pinned_and_a_newer_one_is_only_told() {
    let world = World::new().await;
    let wanted: NodePool = pool(json!({"size": 2}));
    let made = world.converge(&wanted).await;
    assert!(made.ready && made.image == catalog::IMAGES[0].id);
    let newer = catalog::IMAGES[1].id;
    let parameter = catalog::PARAMETERS[0].0.to_owned();
    world.cloud.world().parameters.insert(parameter, newer.into());
    let known = Known {
        image: Some(made.image.clone()),
        look_for_newer: true,
        ..Known::default()
    };
    let plan = world.look(&wanted, &known).await.expect("planned");
    assert!(plan.is_empty(), "{}", plan.text());
    assert_eq!(plan.newer_image.as_deref(), Some(newer));
    assert!(
        plan.text().contains(&format!("image {newer} is available")),
        "{}",
        plan.text()
    );
    let known = Known {
        update_image: true,
        ..known
    };
    let plan = world.look(&wanted, &known).await.expect("planned");
    assert_eq!(
        (plan.image.as_str(), plan.count(NodeFate::Replace)),
        (newer, 2),
        "{}",
        plan.text()
    );
}
