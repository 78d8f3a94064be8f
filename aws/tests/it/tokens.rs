//! The three traps of client tokens (research/aws.md, 3.1), first on the wire and then as the fleet avoids them.

use crate::port::prepared;
use crate::world::{World, pool, seat, text};
use myelin_engine::cloud::{Cloud as _, FleetRequest, Kind, LaunchSpec, Lifecycle};
use myelin_sandbox::ec2::{Faults, NoCapacity, catalog};
use serde_json::json;

#[tokio::test]
async fn the_traps_are_there() {
    let world = World::new().await;
    let request = prepared(&world, 1).await;
    let run = LaunchSpec {
        token: "t".into(),
        template: request.template.clone(),
        version: 1,
        lifecycle: Lifecycle::OnDemand,
        count: 1,
        seat: seat("m5.large", catalog::SUBNETS[0].id),
        tags: request.tags.clone(),
    };
    let first = world.port.run_instances(&run).await.expect("launched");
    // The list of places changes, the token does not.
    let other = LaunchSpec {
        seat: seat("c6i.large", catalog::SUBNETS[0].id),
        ..run.clone()
    };
    let mismatch = world.port.run_instances(&other).await.expect_err("another request");
    assert_eq!(mismatch.kind, Kind::TokenMismatch, "{mismatch}");
    // Tokens are zonal when the request names a place.
    let elsewhere = LaunchSpec {
        seat: seat("m5.large", catalog::SUBNETS[1].id),
        ..run.clone()
    };
    let second = world.port.run_instances(&elsewhere).await.expect("launched again");
    assert_ne!(first.ids, second.ids);
    // The instances are gone, the token is not.
    world.port.terminate(&first.ids).await.expect("ended");
    let spent = world.port.run_instances(&run).await.expect_err("spent");
    assert_eq!(spent.kind, Kind::TokenSpent, "{spent}");
    // A fleet's token with other overrides.
    world.port.create_fleet(&request).await.expect("launched");
    let fewer = FleetRequest {
        seats: request.seats[1..].to_vec(),
        ..request
    };
    let mismatch = world.port.create_fleet(&fewer).await.expect_err("another request");
    assert_eq!(mismatch.kind, Kind::TokenMismatch);
}

#[tokio::test]
async fn the_fleet_never_meets_its_tokens_past() {
    let world = World::new().await;
    let wanted = pool(json!({"size": 2}));
    assert!(world.converge(&wanted).await.ready);
    for id in world.alive() {
        world.cloud.reclaim(&id).expect("there");
    }
    world.advance(120);
    let outcome = world.converge(&wanted).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    // The preferred type runs out half-way: the rest is another request and has another token.
    world.set(Faults {
        no_capacity: vec![NoCapacity {
            instance_type: Some("g4dn.xlarge".into()),
            after: 1,
            ..NoCapacity::default()
        }],
        ..Faults::default()
    });
    let outcome = world.converge(&pool(json!({"size": 6}))).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    assert_eq!(world.alive().len(), 6);
    let world_calls = world.cloud.world();
    let tokens = world_calls
        .calls
        .iter()
        .filter(|(_, code)| code.starts_with("Idempotent"));
    assert_eq!(tokens.count(), 0, "no request met a token of another");
}
