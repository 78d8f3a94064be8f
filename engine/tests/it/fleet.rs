//! Pools against a cloud that loses answers, lags, refuses and forgets: no node is lost, duplicated or dropped.

use crate::fleet_cloud::{Blind, SimCloud};
use futures::FutureExt as _;
use myelin_engine::clock::Clock as _;
use myelin_engine::cloud::{Cloud as _, Kind, Lifecycle, kind_of};
use myelin_engine::diagnostic::Diagnostics;
use myelin_engine::document::{API_VERSION, NodePool, node_pool_from_value};
use myelin_engine::fleet::{
    DrainPolicy, FleetOutcome, FleetPlan, FleetRun, Known, NodeFate, PoolId, Ports, TAG_DRAIN, TAG_HASH,
    TAG_HASH_VERSION, TAG_SLOT, TAG_STATE, apply_pool, destroy_pool, observe_pool, plan_pool,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const TYPES: [&str; 3] = ["g4dn.xlarge", "g5.xlarge", "g6.xlarge"];

pub(crate) fn pool(change: Value) -> NodePool {
    let mut spec = json!({
        "cluster": "prod", "instanceTypes": TYPES, "image": {"parameter": "/aws/service/x"},
        "subnets": ["subnet-0aaaaaaaaaaaaaaa1", "subnet-0aaaaaaaaaaaaaaa2"],
        "discoveryTags": {"SynktiCluster": "prod", "SynktiRole": "worker"},
    });
    if change.get("min").is_none() && change.get("size").is_none() {
        spec["size"] = json!(3);
    }
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        spec[key] = value;
    }
    let document =
        json!({"apiVersion": API_VERSION, "kind": "NodePool", "metadata": {"name": "workers"}, "spec": spec});
    node_pool_from_value(document, &|_| None).unwrap_or_else(|e| panic!("{e:?}"))
}

pub(crate) fn ports(cloud: &SimCloud) -> Ports {
    Ports {
        cloud: Arc::new(cloud.clone()),
        cluster: None,
        clock: Arc::new(cloud.clone()),
    }
}

async fn look(cloud: &SimCloud, pool: &NodePool, known: &Known) -> Result<FleetPlan, Diagnostics> {
    let seen = observe_pool(&ports(cloud), pool, known, &FleetRun::default()).await?;
    Ok(plan_pool(pool, &seen, cloud.now()))
}

async fn converge(cloud: &SimCloud, pool: &NodePool) -> FleetOutcome {
    let plan = look(cloud, pool, &Known::default())
        .await
        .unwrap_or_else(|e| panic!("{e:?}"));
    apply_pool(&ports(cloud), &plan, &FleetRun::default()).await
}

/// Applies again and again until everything is as planned.
async fn insist(cloud: &SimCloud, pool: &NodePool) -> usize {
    let mut last = String::new();
    for tries in 1..=12 {
        match look(cloud, pool, &Known::default()).await {
            Err(e) => last = format!("{e:?}"),
            Ok(plan) => {
                let outcome = apply_pool(&ports(cloud), &plan, &FleetRun::default()).await;
                if outcome.ready {
                    return tries;
                }
                last = format!("{:?}", outcome.diagnostics);
            }
        }
        cloud.sim().advance(30);
    }
    panic!("twelve applies did not do: {last}");
}

fn text(diagnostics: &Diagnostics) -> String {
    diagnostics
        .0
        .iter()
        .map(|d| format!("{}: {}\n", d.summary, d.detail))
        .collect()
}

#[tokio::test]
async fn a_pool_is_launched_in_few_calls_and_a_steady_look_takes_one() {
    let cloud = SimCloud::new(1);
    let big = pool(json!({"size": 300}));
    let plan = look(&cloud, &big, &Known::default()).await.unwrap();
    assert_eq!(plan.count(NodeFate::Launch), 300);
    let outcome = apply_pool(&ports(&cloud), &plan, &FleetRun::default()).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    println!(
        "300 nodes: planned with {}, applied with {}",
        plan_calls(&plan),
        outcome.calls
    );
    assert_eq!((outcome.nodes.len(), cloud.sim().created), (300, 300));
    assert!(outcome.calls.total() <= 10, "{}", outcome.calls);

    let cloud = SimCloud::new(1);
    let huge = pool(json!({"size": 1000}));
    assert!(converge(&cloud, &huge).await.ready);
    cloud.sim().advance(3600);
    let before = cloud.calls();
    let plan = look(&cloud, &huge, &Known::default()).await.unwrap();
    assert!(plan.is_empty(), "{}", plan.text());
    let outcome = apply_pool(&ports(&cloud), &plan, &FleetRun::default()).await;
    let spent = cloud.calls().since(&before);
    assert!(
        outcome.ready && spent.total() == 1 && spent.0["DescribeInstances"] == 1,
        "{spent}"
    );
}

fn plan_calls(plan: &FleetPlan) -> String {
    format!("{} nodes", plan.nodes.len())
}

/// Answers get lost, requests are throttled, lists lag by up to a minute: still exactly the wanted nodes.
pub(crate) async fn lossy_runs(runs: u64) -> (u64, u64) {
    let (mut doubles, mut orphans) = (0, 0);
    for seed in 0..runs {
        let cloud = SimCloud::new(seed);
        {
            let mut sim = cloud.sim();
            (sim.lost_after, sim.lost_before, sim.throttled, sim.lag) = (250, 100, 50, 60);
        }
        let size = 1 + seed % 5;
        let wanted = pool(json!({"size": size}));
        insist(&cloud, &wanted).await;
        let sim = cloud.sim();
        doubles += sim.created as u64 - size.min(sim.created as u64);
        orphans += sim.alive().len() as u64 - size.min(sim.alive().len() as u64);
        assert_eq!(sim.alive().len() as u64, size, "seed {seed}");
    }
    (doubles, orphans)
}

#[tokio::test]
async fn lost_answers_and_lagging_lists_double_and_orphan_nothing() {
    assert_eq!(lossy_runs(150).await, (0, 0));
}

/// What a process that is killed was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Create,
    Roll,
    ScaleIn,
    Destroy,
}

/// Kills a client at one request of a deed, starts another, and checks what there is. False when the deed took fewer requests.
async fn killed_at(deed: Deed, request: usize, after: bool, seed: u64) -> bool {
    let cloud = SimCloud::new(seed);
    cloud.sim().lag = 45;
    let wide = json!({"size": 3, "rollout": {"maxRemovedPercent": 100}});
    let before = pool(wide);
    if deed != Deed::Create {
        insist(&cloud, &before).await;
        cloud.sim().advance(3600);
    }
    let made = cloud.sim().created;
    let goal = match deed {
        Deed::Create | Deed::Destroy => before.clone(),
        Deed::Roll => pool(json!({"size": 3, "userData": "new", "rollout": {"maxRemovedPercent": 100}})),
        Deed::ScaleIn => pool(json!({"size": 1, "rollout": {"maxRemovedPercent": 100}})),
    };
    let id = PoolId::of(&goal);
    let drain = DrainPolicy::of(&goal);
    {
        let mut sim = cloud.sim();
        sim.fuse = Some((request, after));
        sim.least_serving = usize::MAX;
    }
    let deed_itself = async {
        if deed == Deed::Destroy {
            destroy_pool(&ports(&cloud), &id, &drain, &BTreeSet::new(), &FleetRun::default()).await;
        } else {
            converge(&cloud, &goal).await;
        }
    };
    let died = tokio::select! {
        () = cloud.died.notified() => true,
        () = deed_itself => false,
    };
    cloud.sim().fuse = None;
    let what = format!(
        "{deed:?} killed at request {request} {}",
        if after { "after" } else { "before" }
    );
    if deed == Deed::Destroy {
        let mut outcome = FleetOutcome::default();
        for _ in 0..5 {
            outcome = destroy_pool(&ports(&cloud), &id, &drain, &BTreeSet::new(), &FleetRun::default()).await;
            if outcome.ready {
                break;
            }
        }
        assert!(outcome.ready, "{what}: {}", text(&outcome.diagnostics));
        let sim = cloud.sim();
        assert!(sim.alive().is_empty() && sim.templates() == 0, "{what}");
        return died;
    }
    insist(&cloud, &goal).await;
    cloud.sim().advance(120);
    let plan = look(&cloud, &goal, &Known::default()).await.unwrap();
    assert!(plan.is_empty(), "{what}: {}", plan.text());
    {
        let sim = cloud.sim();
        let (alive, new) = (sim.alive().len(), sim.created - made);
        let (want_alive, want_new, promise) = match deed {
            Deed::Create => (3, 3, 0),
            Deed::Roll => (3, 3, 3),
            _ => (1, 0, 1),
        };
        assert_eq!((alive, new), (want_alive, want_new), "{what}: alive and newly created");
        assert!(
            sim.least_serving >= promise,
            "{what}: only {} served",
            sim.least_serving
        );
    }
    // A launch template may survive the death of the process that was about to delete it; nothing survives a destroy.
    let outcome = destroy_pool(&ports(&cloud), &id, &drain, &BTreeSet::new(), &FleetRun::default()).await;
    assert!(outcome.ready, "{what}: {}", text(&outcome.diagnostics));
    let sim = cloud.sim();
    assert!(sim.alive().is_empty() && sim.templates() == 0, "{what}: after destroy");
    died
}

/// Kills at every request of every deed; how many deaths there were.
pub(crate) async fn killed_everywhere(seeds: u64) -> usize {
    let mut deaths = 0;
    for deed in [Deed::Create, Deed::Roll, Deed::ScaleIn, Deed::Destroy] {
        for seed in 0..seeds {
            for after in [false, true] {
                let mut request = 0;
                while killed_at(deed, request, after, seed).await {
                    request += 1;
                    deaths += 1;
                    assert!(request < 500);
                }
            }
        }
    }
    deaths
}

#[tokio::test]
async fn killed_at_every_request_a_pool_still_converges_without_orphan_or_double() {
    let deaths = killed_everywhere(1).await;
    println!("{deaths} deaths");
    assert!(deaths > 60);
}

#[tokio::test]
async fn tokens_never_meet_their_own_past() {
    let cloud = SimCloud::new(3);
    let wanted = pool(json!({"size": 2}));
    assert!(converge(&cloud, &wanted).await.ready);
    // All are taken away, and an hour later EC2 has forgotten them: the next launch must not ask with a spent token.
    let all = cloud.sim().alive();
    cloud.sim().reclaim(&all);
    cloud.sim().advance(120);
    assert!(converge(&cloud, &wanted).await.ready);
    assert_eq!(cloud.sim().alive().len(), 2);
    // The preferred type runs out: the rest is requested with another token, because the request is another.
    cloud.sim().full.insert((TYPES[0].into(), Lifecycle::Spot));
    let more = pool(json!({"size": 5}));
    let outcome = converge(&cloud, &more).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    let sim = cloud.sim();
    let once: BTreeSet<&String> = sim.fleet_tokens.iter().collect();
    assert_eq!(
        once.len(),
        sim.fleet_tokens.len(),
        "every new request has a token of its own"
    );
}

#[tokio::test]
async fn no_capacity_ends_soon_names_each_offering_and_keeps_what_there_is() {
    let cloud = SimCloud::new(4);
    assert!(converge(&cloud, &pool(json!({"size": 2}))).await.ready);
    for t in TYPES {
        cloud.sim().full.insert((t.into(), Lifecycle::Spot));
    }
    let before = cloud.now();
    let outcome = converge(&cloud, &pool(json!({"size": 4}))).await;
    assert!(!outcome.ready && outcome.nodes.len() == 2);
    let said = text(&outcome.diagnostics);
    for t in TYPES {
        for subnet in ["subnet-0aaaaaaaaaaaaaaa1", "subnet-0aaaaaaaaaaaaaaa2"] {
            let each = format!("{t} spot in zone-of-{subnet}: InsufficientInstanceCapacity");
            assert!(said.contains(&each), "{each} is not in {said}");
        }
    }
    assert_eq!(outcome.refusals.len(), 6);
    let took = cloud.now().duration_since(before).as_secs();
    assert!(took < 60, "it took {took} s");
    assert!(
        outcome.calls.0["CreateFleet"] <= 2,
        "a refused offering is not asked again: {}",
        outcome.calls
    );
}

#[tokio::test]
async fn a_roll_keeps_its_promise_stops_at_the_first_sick_node_and_goes_on_later() {
    let cloud = SimCloud::new(5);
    let rollout = json!({"surge": 0, "maxUnavailable": "10%"});
    let old = pool(json!({"size": 300, "rollout": rollout}));
    assert!(converge(&cloud, &old).await.ready);
    cloud.sim().advance(3600);
    cloud.sim().least_serving = usize::MAX;
    let new = pool(json!({"size": 300, "rollout": rollout, "userData": "v2"}));
    let plan = look(&cloud, &new, &Known::default()).await.unwrap();
    assert_eq!(
        (plan.count(NodeFate::Replace), plan.count(NodeFate::Launch)),
        (300, 300)
    );
    assert!(plan.text().contains("launched from specification"));
    let hash = plan.spec_hash.clone();
    cloud.sim().sick_templates.insert(hash);
    let outcome = apply_pool(&ports(&cloud), &plan, &FleetRun::default()).await;
    assert!(
        !outcome.ready && text(&outcome.diagnostics).contains("is paused"),
        "{}",
        text(&outcome.diagnostics)
    );
    assert!(cloud.sim().least_serving >= 270 && cloud.sim().created <= 330);
    // The cause is mended.
    cloud.sim().sick_templates.clear();
    let tries = insist(&cloud, &new).await;
    assert_eq!(tries, 1);
    assert!(cloud.sim().least_serving >= 270, "{}", cloud.sim().least_serving);
    cloud.sim().advance(60);
    let plan = look(&cloud, &new, &Known::default()).await.unwrap();
    assert!(plan.is_empty() && cloud.sim().alive().len() == 300, "{}", plan.text());
}

#[tokio::test]
async fn a_blind_cloud_launches_and_ends_nothing() {
    for (blind, remembers) in [
        (Blind::Empty, false),
        (Blind::Empty, true),
        (Blind::Denied, false),
        (Blind::Half, true),
    ] {
        let cloud = SimCloud::new(6);
        let wanted = pool(json!({}));
        let made = converge(&cloud, &wanted).await;
        assert!(made.ready);
        let mut known = Known::default();
        if remembers {
            known.nodes = made.nodes.iter().map(|n| n.id.clone()).collect();
        }
        cloud.sim().blind = blind;
        let refused = look(&cloud, &wanted, &known).await.expect_err("a plan on a blind look");
        assert!(
            text(&refused).contains("again") || blind == Blind::Denied,
            "{blind:?}: {}",
            text(&refused)
        );
        let destroyed = destroy_pool(
            &ports(&cloud),
            &PoolId::of(&wanted),
            &DrainPolicy::of(&wanted),
            &known.nodes,
            &FleetRun::default(),
        )
        .await;
        assert!(!destroyed.ready, "{blind:?}");
        let sim = cloud.sim();
        assert_eq!(
            (sim.created, sim.alive().len(), sim.templates()),
            (3, 3, 1),
            "{blind:?}"
        );
    }
}

#[tokio::test]
async fn cloud_going_blind_during_a_roll_stops_it() {
    let cloud = SimCloud::new(6);
    assert!(converge(&cloud, &pool(json!({}))).await.ready);
    cloud.sim().advance(3600);
    let new = pool(json!({"userData": "v2"}));
    let plan = look(&cloud, &new, &Known::default()).await.unwrap();
    cloud.sim().blind = Blind::Denied;
    let outcome = apply_pool(&ports(&cloud), &plan, &FleetRun::default()).await;
    assert!(!outcome.ready && text(&outcome.diagnostics).contains("UnauthorizedOperation"));
    assert_eq!(
        (cloud.sim().created, outcome.nodes.len()),
        (3, 3),
        "and the outcome keeps the nodes it knew"
    );
}

#[tokio::test]
async fn what_is_no_drift_changes_nothing() {
    let cloud = SimCloud::new(7);
    let wanted = pool(json!({"min": 2, "max": 5}));
    let made = converge(&cloud, &wanted).await;
    assert!(made.ready && made.nodes.len() == 2);
    // Somebody scales inside the range.
    assert!(converge(&cloud, &pool(json!({"size": 4}))).await.ready);
    assert!(look(&cloud, &wanted, &Known::default()).await.unwrap().is_empty());
    // Another version of the tool hashes otherwise.
    let ids = cloud.sim().alive();
    for id in ids {
        cloud.sim().retag(&id, |tags| {
            tags.insert(TAG_HASH.into(), "0123456789abcdef".into());
            tags.insert(TAG_HASH_VERSION.into(), "0".into());
        });
    }
    assert!(look(&cloud, &wanted, &Known::default()).await.unwrap().is_empty());
    // A newer image is reported; a lost state does not unpin the old one; the new one is used only on request.
    let cloud = SimCloud::new(8);
    let made = converge(&cloud, &pool(json!({}))).await;
    cloud.sim().newest_image = "ami-00000002".into();
    let ask = |update, image: Option<String>| Known {
        image,
        update_image: update,
        look_for_newer: true,
        ..Known::default()
    };
    for image in [Some(made.image.clone()), None] {
        let plan = look(&cloud, &pool(json!({})), &ask(false, image)).await.unwrap();
        assert!(
            plan.is_empty() && plan.newer_image.as_deref() == Some("ami-00000002"),
            "{}",
            plan.text()
        );
    }
    let plan = look(&cloud, &pool(json!({})), &ask(true, Some(made.image)))
        .await
        .unwrap();
    assert_eq!(
        (plan.count(NodeFate::Replace), plan.image.as_str()),
        (3, "ami-00000002")
    );
}

#[tokio::test]
async fn a_plan_says_why_each_node_goes_and_refuses_to_take_too_many() {
    let cloud = SimCloud::new(9);
    assert!(converge(&cloud, &pool(json!({"size": 6}))).await.ready);
    cloud.sim().advance(3600);
    let plan = look(&cloud, &pool(json!({"size": 1})), &Known::default())
        .await
        .unwrap();
    assert!(
        plan.diagnostics.has_errors() && plan.count(NodeFate::Remove) == 5,
        "{}",
        plan.text()
    );
    let outcome = apply_pool(&ports(&cloud), &plan, &FleetRun::default()).await;
    assert!(!outcome.ready && cloud.sim().alive().len() == 6 && outcome.nodes.len() == 6);
    let plan = look(&cloud, &pool(json!({"size": 4})), &Known::default())
        .await
        .unwrap();
    assert!(!plan.diagnostics.has_errors() && plan.count(NodeFate::Remove) == 2);
    assert!(plan.text().contains("the pool is to have 4 nodes"), "{}", plan.text());
    let again = look(&cloud, &pool(json!({"size": 4})), &Known::default())
        .await
        .unwrap();
    assert_eq!(plan.hash, again.hash);
    assert!(apply_pool(&ports(&cloud), &plan, &FleetRun::default()).await.ready);
    // A type that is not wanted any more replaces its nodes, and only those.
    let plan = look(
        &cloud,
        &pool(json!({"size": 4, "instanceTypes": TYPES[1..]})),
        &Known::default(),
    )
    .await
    .unwrap();
    assert!(
        plan.text().contains("is not in instanceTypes any more"),
        "{}",
        plan.text()
    );
    // Half on-demand.
    let mixed = pool(json!({"size": 4, "capacity": {"onDemandBase": 1, "spotPercent": 50}}));
    assert!(converge(&cloud, &mixed).await.ready);
    let outcome = converge(&cloud, &mixed).await;
    assert_eq!(
        outcome
            .nodes
            .iter()
            .filter(|n| n.lifecycle == Lifecycle::OnDemand)
            .count(),
        3
    );
}

#[tokio::test]
async fn an_instance_with_our_tags_and_no_identity_is_a_leak_only_when_it_is_old() {
    let cloud = SimCloud::new(10);
    assert!(converge(&cloud, &pool(json!({"size": 4}))).await.ready);
    let stray = cloud.sim().alive()[0].clone();
    cloud.sim().retag(&stray, |tags| drop(tags.remove(TAG_SLOT)));
    let wanted = pool(json!({"size": 3}));
    let plan = look(&cloud, &wanted, &Known::default()).await.unwrap();
    assert!(
        plan.nodes.iter().any(|n| n.id == stray && n.fate == NodeFate::Watch),
        "{}",
        plan.text()
    );
    cloud.sim().advance(3600);
    let plan = look(&cloud, &wanted, &Known::default()).await.unwrap();
    assert!(plan.text().contains("a leak"), "{}", plan.text());
    assert!(apply_pool(&ports(&cloud), &plan, &FleetRun::default()).await.ready);
    assert!(!cloud.sim().alive().contains(&stray) && cloud.sim().alive().len() == 3);
}

#[tokio::test]
async fn reclaimed_and_sick_nodes_are_replaced_and_a_whole_zone_at_once() {
    let cloud = SimCloud::new(11);
    let wanted = pool(json!({"size": 10}));
    assert!(converge(&cloud, &wanted).await.ready);
    cloud.sim().advance(3600);
    let some: Vec<String> = cloud.sim().alive().into_iter().take(4).collect();
    cloud.sim().reclaim(&some[..3]);
    cloud.sim().fall_ill(&some[3]);
    let known = Known {
        check_health: true,
        ..Known::default()
    };
    let plan = look(&cloud, &wanted, &known).await.unwrap();
    assert!(plan.text().contains("not healthy: status checks"), "{}", plan.text());
    let outcome = apply_pool(&ports(&cloud), &plan, &FleetRun::default()).await;
    assert!(
        outcome.ready && cloud.sim().serving() == 10,
        "{}",
        text(&outcome.diagnostics)
    );
    assert_eq!(cloud.sim().created, 14);
}

#[tokio::test]
async fn a_removal_that_is_called_off_lets_the_node_go_on() {
    let cloud = SimCloud::new(12);
    assert!(converge(&cloud, &pool(json!({"size": 3}))).await.ready);
    cloud.sim().advance(3600);
    // Agents on the nodes: the drain waits for them.
    let ids = cloud.sim().alive();
    for id in ids {
        cloud
            .sim()
            .retag(&id, |tags| drop(tags.insert(TAG_STATE.into(), "ready".into())));
    }
    let plan = look(&cloud, &pool(json!({"size": 2})), &Known::default())
        .await
        .unwrap();
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
    let outcome = apply_pool(&ports(&cloud), &plan, &run).await;
    assert!(outcome.cancelled && !outcome.ready && outcome.nodes.len() == 3);
    let ids = cloud.sim().alive();
    assert!(ids.iter().all(|id| !cloud.sim().tags_of(id).contains_key(TAG_DRAIN)));
    // Killed instead, the mark stays, and the next plan that keeps the node cancels it.
    cloud.sim().retag(&ids[0], |tags| {
        drop(tags.insert(TAG_DRAIN.into(), "2026-11-20T01:00:00Z".into()));
    });
    let plan = look(&cloud, &pool(json!({"size": 3})), &Known::default())
        .await
        .unwrap();
    assert_eq!(plan.count(NodeFate::Undrain), 1, "{}", plan.text());
    assert!(apply_pool(&ports(&cloud), &plan, &FleetRun::default()).await.ready);
    assert!(!cloud.sim().tags_of(&ids[0]).contains_key(TAG_DRAIN));
}

#[tokio::test]
async fn destroy_takes_what_only_tags_know_and_waits_until_it_has_ended() {
    let cloud = SimCloud::new(13);
    let wanted = pool(json!({"size": 3}));
    assert!(converge(&cloud, &wanted).await.ready);
    let stray = cloud.sim().alive()[0].clone();
    cloud.sim().retag(&stray, |tags| drop(tags.remove(TAG_SLOT)));
    let outcome = destroy_pool(
        &ports(&cloud),
        &PoolId::of(&wanted),
        &DrainPolicy::of(&wanted),
        &BTreeSet::new(),
        &FleetRun::default(),
    )
    .await;
    assert!(
        outcome.ready && outcome.nodes.is_empty() && outcome.ended.len() == 3,
        "{}",
        text(&outcome.diagnostics)
    );
    assert!(cloud.sim().alive().is_empty() && cloud.sim().templates() == 0);
    // And the pool can come back at once: its tokens are others.
    assert!(converge(&cloud, &wanted).await.ready);
    assert_eq!(cloud.sim().alive().len(), 3);
}

#[tokio::test]
async fn wrong_types_for_the_image_are_refused_at_plan() {
    let cloud = SimCloud::new(14);
    let mixed = pool(json!({"instanceTypes": ["m7i.large", "m7g.large"]}));
    let refused = look(&cloud, &mixed, &Known::default())
        .await
        .expect_err("mixed architectures");
    assert!(
        text(&refused).contains("m7g.large runs arm64, image ami-00000001 is x86_64"),
        "{}",
        text(&refused)
    );
    assert_eq!(kind_of("InsufficientInstanceCapacity"), Kind::Capacity);
}

/// `cargo xtask bench fleet` runs this with its own number of runs and prints what it counts.
#[tokio::test]
async fn bench_of_the_fleet() {
    let runs = std::env::var("MYELIN_FLEET_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(20);
    let begun = std::time::Instant::now();
    let (doubles, orphans) = lossy_runs(runs).boxed().await;
    println!(
        "{runs} seeded runs with lost answers, throttling and lists that lag up to 60 s: {doubles} doubled, {orphans} orphaned ({:.1} s)",
        begun.elapsed().as_secs_f64()
    );
    let begun = std::time::Instant::now();
    let deaths = killed_everywhere(5).boxed().await;
    println!(
        "killed {deaths} times, at every request of create, roll, scale-in and destroy: 0 doubled, 0 orphaned, promise kept ({:.1} s)",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!((doubles, orphans), (0, 0));
}
