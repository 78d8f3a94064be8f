//! Every operation of the port against the sandbox: answers, pages, classes of errors, and the content of requests.

use crate::conversation::{Place, talk};
use crate::world::{SPOT, World, body, filter, seat, tags};
use base64::Engine as _;
use myelin_engine::cloud::{
    Cloud as _, CloudError, CommandStatus, Completeness, FleetRequest, Kind, LaunchSpec, Lifecycle,
};
use myelin_sandbox::ec2::{Failure, Faults, NoCapacity, catalog};
use std::time::Duration;

pub(crate) fn place() -> Place {
    Place {
        image: catalog::IMAGES[0].id.into(),
        parameter: catalog::PARAMETERS[0].0.into(),
        subnets: [catalog::SUBNETS[0].id.into(), catalog::SUBNETS[1].id.into()],
    }
}

#[tokio::test]
async fn every_operation_is_understood_on_both_sides() {
    let world = World::new().await;
    let clock = world.cloud.clock.clone();
    let report = talk(&*world.port, &place(), || clock.advance(Duration::from_secs(120))).await;
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert!(report.checked.len() >= 30, "{}", report.checked.len());
}

/// A template and a fleet request of so many.
pub(crate) async fn prepared(world: &World, count: u32) -> FleetRequest {
    let made = world
        .port
        .create_template("t", &body(catalog::IMAGES[0].id), &tags(&[("a", "b")]), "tt")
        .await
        .expect("made");
    FleetRequest {
        token: "fleet".into(),
        template: made.id,
        version: 1,
        lifecycle: SPOT,
        count,
        seats: vec![
            seat("c6i.large", catalog::SUBNETS[0].id),
            seat("m5.large", catalog::SUBNETS[1].id),
        ],
        tags: tags(&[("a", "b")]),
        fleet_tags: tags(&[("a", "b")]),
    }
}

#[tokio::test]
async fn a_launch_carries_what_the_template_says() {
    let world = World::new().await;
    let request = prepared(&world, 1).await;
    world.port.create_fleet(&request).await.expect("launched");
    let instance = world.cloud.alive().remove(0);
    let user_data = base64::prelude::BASE64_STANDARD.decode(instance.user_data.as_deref().unwrap_or_default());
    assert_eq!(user_data.ok(), body("x").user_data);
    assert!(instance.metadata.tokens_required && instance.metadata.tags && instance.metadata.hops == 2);
    assert!(instance.volume.encrypted && instance.volume.size == 30 && instance.volume.kind == "gp3");
    assert!(!instance.public_address);
    assert_eq!(instance.volume.tags["a"], "b");
    assert_eq!(
        (instance.tags["a"].as_str(), instance.tags["Name"].as_str()),
        ("b", "wire & <test>")
    );
    assert_eq!(instance.client_token, "fleet");
}

#[tokio::test]
async fn pages_are_followed_and_a_torn_list_says_so() {
    let world = World::new().await;
    let request = prepared(&world, 2500).await;
    world.port.create_fleet(&request).await.expect("launched");
    let all = world.port.instances(&filter("a", "b")).await.expect("listed");
    assert_eq!((all.items.len(), all.pages), (2500, 3));
    assert_eq!(
        (all.completeness, world.served("DescribeInstances")),
        (Completeness::Complete, 3)
    );
    assert_eq!(world.port.calls().0["DescribeInstances"], 3, "each page is counted");
    world.fail(Failure {
        operation: "DescribeInstances".into(),
        code: "InternalError".into(),
        skip: 2,
        ..Failure::default()
    });
    let torn = world.port.instances(&filter("a", "b")).await.expect("two pages came");
    assert_eq!(torn.items.len(), 2000);
    assert!(matches!(torn.completeness, Completeness::Partial(why) if why.contains("InternalError")));
    let first = world
        .port
        .instances(&filter("a", "b"))
        .await
        .expect_err("the first page failed");
    assert_eq!(first.kind, Kind::Other);
}

#[tokio::test]
async fn errors_are_told_apart_and_nothing_is_sent_twice() {
    let world = World::new().await;
    let request = prepared(&world, 1).await;
    for (code, status, kind) in [
        ("InsufficientInstanceCapacity", 500, Kind::Capacity),
        ("RequestLimitExceeded", 503, Kind::Throttled),
        ("UnauthorizedOperation", 403, Kind::Denied),
        ("InternalError", 500, Kind::Other),
        ("Unavailable", 503, Kind::Other),
        ("InvalidParameterValue", 400, Kind::Invalid),
        ("InvalidLaunchTemplateId.NotFound", 400, Kind::NotFound),
        ("ConnectionReset", 500, Kind::Lost),
    ] {
        let sent = world.served("CreateFleet");
        world.fail(Failure {
            operation: "CreateFleet".into(),
            code: code.into(),
            status,
            times: Some(1),
            ..Failure::default()
        });
        let error: CloudError = world.port.create_fleet(&request).await.expect_err(code);
        assert_eq!((error.kind, error.operation), (kind, "CreateFleet"), "{error}");
        assert!(kind == Kind::Lost || error.code == code, "{error}");
        assert_eq!(
            world.served("CreateFleet"),
            sent + 1,
            "{code} was sent again by the SDK"
        );
    }
    for (code, kind) in [
        ("ThrottlingException", Kind::Throttled),
        ("AccessDeniedException", Kind::Denied),
    ] {
        world.fail(Failure {
            operation: "GetParameter".into(),
            code: code.into(),
            status: 400,
            times: Some(1),
            ..Failure::default()
        });
        let source = myelin_engine::cloud::ImageSource::Parameter(place().parameter);
        let error = world.port.image(&source).await.expect_err(code);
        assert_eq!(error.kind, kind, "{error}");
    }
    assert_eq!(world.launched(), 0);
}

#[tokio::test]
async fn a_lost_answer_after_the_effect_is_found_by_its_token() {
    let world = World::new().await;
    let request = prepared(&world, 4).await;
    world.set(Faults {
        failures: vec![Failure {
            operation: "CreateFleet".into(),
            code: "ConnectionReset".into(),
            after_effect: true,
            times: Some(1),
            ..Failure::default()
        }],
        visibility_lag: 60,
        ..Faults::default()
    });
    assert_eq!(
        world.port.create_fleet(&request).await.expect_err("lost").kind,
        Kind::Lost
    );
    assert_eq!(world.launched(), 4);
    assert!(
        world
            .port
            .instances(&filter("a", "b"))
            .await
            .expect("listed")
            .items
            .is_empty(),
        "not to be seen yet"
    );
    let again = world.port.create_fleet(&request).await.expect("the same");
    assert_eq!((again.ids.len(), world.launched()), (4, 4));
    world.advance(61);
    assert_eq!(
        world
            .port
            .instances(&filter("a", "b"))
            .await
            .expect("listed")
            .items
            .len(),
        4
    );
}

#[tokio::test]
async fn no_capacity_is_a_partial_answer_of_a_fleet_and_an_error_of_a_run() {
    let world = World::new().await;
    let request = prepared(&world, 5).await;
    let full = |after| {
        let all = ["c6i.large", "m5.large"].map(|t| NoCapacity {
            instance_type: Some(t.into()),
            after,
            ..NoCapacity::default()
        });
        Faults {
            no_capacity: all.into(),
            ..Faults::default()
        }
    };
    world.set(full(1));
    let some = world.port.create_fleet(&request).await.expect("partly");
    assert_eq!((some.ids.len(), some.refusals.len()), (2, 2));
    let places: Vec<(&str, &str, &str, &str)> = some
        .refusals
        .iter()
        .map(|r| {
            (
                r.instance_type.as_str(),
                r.subnet.as_str(),
                r.zone.as_str(),
                r.code.as_str(),
            )
        })
        .collect();
    let code = "InsufficientInstanceCapacity";
    assert!(
        places.contains(&("c6i.large", catalog::SUBNETS[0].id, "us-east-1a", code)),
        "{places:?}"
    );
    assert!(
        places.contains(&("m5.large", catalog::SUBNETS[1].id, "us-east-1b", code)),
        "{places:?}"
    );
    world.set(full(0));
    let none = FleetRequest {
        token: "other".into(),
        ..request.clone()
    };
    let none = world.port.create_fleet(&none).await.expect("an answer");
    assert_eq!((none.ids.len(), none.refusals.len()), (0, 2));
    let run = LaunchSpec {
        token: "run".into(),
        template: request.template.clone(),
        version: 1,
        lifecycle: Lifecycle::Spot,
        count: 1,
        seat: request.seats[0].clone(),
        tags: request.tags.clone(),
    };
    let refused = world.port.run_instances(&run).await.expect_err("no capacity");
    assert_eq!(
        refused.kind,
        Kind::Capacity,
        "an HTTP 500 that is no fault of the server"
    );
    world.set(Faults::default());
    world.port.run_instances(&run).await.expect("spot by RunInstances");
    assert_eq!(world.alive_of(myelin_sandbox::ec2::Lifecycle::Spot), 3);
}

#[tokio::test]
async fn a_zone_that_is_down_has_no_capacity_and_fails_who_names_what_is_in_it() {
    let world = World::new().await;
    let request = prepared(&world, 2).await;
    world.set(Faults {
        no_capacity: vec![NoCapacity {
            instance_type: Some("c6i.large".into()),
            after: 1,
            ..NoCapacity::default()
        }],
        ..Faults::default()
    });
    let made = world.port.create_fleet(&request).await.expect("launched");
    world.advance(120);
    world.set(Faults {
        zones_down: vec!["us-east-1b".into()],
        ..Faults::default()
    });
    let by_tag = world.port.instances(&filter("a", "b")).await.expect("filters go on");
    assert_eq!(by_tag.items.len(), 2);
    let by_id = world
        .port
        .instances_by_id(&made.ids)
        .await
        .expect_err("names one in the zone");
    assert_eq!(by_id.kind, Kind::Other);
    let more = FleetRequest {
        token: "more".into(),
        ..request
    };
    let more = world.port.create_fleet(&more).await.expect("launched");
    assert_eq!(more.ids.len(), 2, "all in the zone that is up");
    assert!(
        world
            .cloud
            .alive()
            .iter()
            .filter(|i| more.ids.contains(&i.id))
            .all(|i| i.zone == "us-east-1a")
    );
}

#[tokio::test]
async fn tags_lag_in_lists_when_they_are_to() {
    let world = World::new().await;
    let request = prepared(&world, 1).await;
    world.set(Faults {
        tag_lag: 30,
        ..Faults::default()
    });
    let made = world.port.create_fleet(&request).await.expect("launched");
    world
        .port
        .create_tags(&made.ids, &tags(&[("late", "x")]))
        .await
        .expect("tagged");
    assert!(
        world
            .port
            .instances(&filter("late", "x"))
            .await
            .expect("listed")
            .items
            .is_empty()
    );
    world.advance(31);
    assert_eq!(
        world
            .port
            .instances(&filter("late", "x"))
            .await
            .expect("listed")
            .items
            .len(),
        1
    );
}

#[tokio::test]
async fn commands_end_as_they_end() {
    let world = World::new().await;
    let request = prepared(&world, 1).await;
    let made = world.port.create_fleet(&request).await.expect("launched");
    let script = ["systemctl stop worker".to_owned()];
    let limit = Duration::from_secs(60);
    let early = world
        .port
        .send_command(&made.ids, &script, limit)
        .await
        .expect_err("still pending");
    assert_eq!(early.kind, Kind::Invalid, "{early}");
    world.advance(60);
    let command = world.port.send_command(&made.ids, &script, limit).await.expect("sent");
    let status = world.port.command_status(&command, &made.ids[0]).await;
    assert_eq!(status, Ok(CommandStatus::Running));
    world.advance(5);
    assert_eq!(
        world.port.command_status(&command, &made.ids[0]).await,
        Ok(CommandStatus::Succeeded)
    );
    world.cloud.world().faults.commands_end = Some("Execution Timed Out".into());
    let failed = world.port.command_status(&command, &made.ids[0]).await;
    assert_eq!(failed, Ok(CommandStatus::Failed("Execution Timed Out".into())));
    let unknown = world
        .port
        .command_status("cmd-none", &made.ids[0])
        .await
        .expect_err("unknown");
    assert_eq!(unknown.kind, Kind::NotFound);
    assert_eq!(world.cloud.world().commands[0].script, script);
}
