//! The operations, without HTTP.

use super::*;
use crate::clock::Clock;
use crate::ec2::cloud::{State, Times};
use crate::ec2::faults::{Failure, Faults, NoCapacity};
use jiff::SignedDuration;
use std::time::Duration;

fn served() -> Served {
    let cloud = Cloud::new(Clock::new(0.0), Times::default());
    Served {
        cloud,
        metadata: Arc::default(),
        buckets: Arc::default(),
    }
}

fn call(served: &Served, form: &str) -> Result<String, String> {
    let p = Params::from_form(form.as_bytes());
    operate(served, &p.owned("Action"), &p, "r", &Caller::default()).map_err(|e| e.code)
}

const RUN: &str = "Action=RunInstances&ImageId=ami-08600000000000001&InstanceType=m5.large&MinCount=1&MaxCount=1";

fn ids(answer: &str) -> Vec<&str> {
    let parts = answer.split("<instanceId>").skip(1);
    parts.filter_map(|p| p.split('<').next()).collect()
}

#[test]
fn a_client_token_is_exact() {
    let s = served();
    let first = call(&s, &format!("{RUN}&ClientToken=t")).expect("launched");
    let again = call(&s, &format!("{RUN}&ClientToken=t")).expect("the same");
    assert_eq!(ids(&first), ids(&again));
    let other = call(&s, &format!("{}&ClientToken=t", RUN.replace("m5.large", "c6i.large")));
    assert_eq!(other, Err("IdempotentParameterMismatch".into()));
    let in_zone = format!("{RUN}&ClientToken=t&SubnetId=subnet-0bbbbbbbbbbbbbbb2");
    assert_ne!(
        ids(&call(&s, &in_zone).expect("another zone launches again")),
        ids(&first)
    );
    call(
        &s,
        &format!("Action=TerminateInstances&InstanceId.1={}", ids(&first)[0]),
    )
    .expect("terminated");
    assert_eq!(
        call(&s, &format!("{RUN}&ClientToken=t")),
        Err("IdempotentInstanceTerminated".into())
    );
}

#[test]
fn an_instance_lives_by_the_clock() {
    let s = served();
    let id = ids(&call(&s, RUN).expect("launched"))[0].to_owned();
    let state = |s: &Served| {
        let world = s.cloud.world();
        world
            .instances
            .get(&id)
            .and_then(|i| i.state(s.cloud.clock.now(), &s.cloud.times))
    };
    assert_eq!(state(&s), Some(State::Pending));
    s.cloud.clock.advance(Duration::from_secs(13));
    assert_eq!(state(&s), Some(State::Running));
    s.cloud.spot_notice(&id, SignedDuration::from_secs(120)).expect("given");
    s.cloud.clock.advance(Duration::from_secs(121));
    assert_eq!(state(&s), Some(State::ShuttingDown));
    s.cloud.clock.advance(Duration::from_secs(60));
    let listed = call(&s, "Action=DescribeInstances").expect("listed");
    assert!(listed.contains("Server.SpotInstanceTermination"), "{listed}");
    s.cloud.clock.advance(Duration::from_secs(7200));
    assert!(ids(&call(&s, "Action=DescribeInstances").expect("listed")).is_empty());
}

#[test]
fn faults_do_what_they_say() {
    let s = served();
    s.cloud.world().faults.no_capacity = vec![NoCapacity::default()];
    assert_eq!(call(&s, RUN), Err("InsufficientInstanceCapacity".into()));
    let lost = Failure {
        operation: "RunInstances".into(),
        code: "ConnectionReset".into(),
        after_effect: true,
        times: Some(1),
        ..Failure::default()
    };
    s.cloud.world().faults = Faults {
        failures: vec![lost],
        visibility_lag: 30,
        ..Faults::default()
    };
    assert_eq!(call(&s, &format!("{RUN}&ClientToken=x")), Err("ConnectionReset".into()));
    assert_eq!(s.cloud.world().launched, 1, "the effect happened");
    assert!(
        ids(&call(&s, "Action=DescribeInstances").expect("listed")).is_empty(),
        "not seen yet"
    );
    assert_eq!(ids(&call(&s, &format!("{RUN}&ClientToken=x")).expect("found")).len(), 1);
    assert_eq!(s.cloud.world().launched, 1, "the token found it");
}

#[test]
fn the_published_rates_hold_when_asked() {
    let s = served();
    s.cloud.world().faults.rate_limits = true;
    let outcomes: Vec<bool> = (0..8).map(|_| call(&s, RUN).is_ok()).collect();
    assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 5);
    s.cloud.clock.advance(Duration::from_secs(1));
    assert!(call(&s, RUN).is_ok());
}

#[test]
fn limits_that_other_emulators_miss_are_errors() {
    let s = served();
    let big = base64_of(16 * 1024 + 1);
    let tags: String = (1..=51)
        .map(|n| format!("&TagSpecification.1.Tag.{n}.Key=k{n}"))
        .collect();
    let metadata = "&MetadataOptions.InstanceMetadataTags=enabled&TagSpecification.1.ResourceType=instance";
    for (more, code) in [
        (format!("&UserData={big}"), "InvalidParameterValue"),
        (
            format!("&TagSpecification.1.ResourceType=instance{tags}"),
            "TagLimitExceeded",
        ),
        (
            "&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=aws:x".into(),
            "InvalidParameterValue",
        ),
        (
            format!("{metadata}&TagSpecification.1.Tag.1.Key=a/b"),
            "InvalidParameterValue",
        ),
        ("&SubnetId=subnet-1".into(), "InvalidSubnetID.NotFound"),
        ("&MaxResults=1&DryRun=true".into(), "DryRunOperation"),
    ] {
        assert_eq!(call(&s, &format!("{RUN}{more}")), Err(code.into()), "{more:.60}");
    }
    assert_eq!(call(&s, "Action=MoveAddressToVpc"), Err("UnsupportedOperation".into()));
}

fn base64_of(bytes: usize) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_URL_SAFE.encode(vec![b'a'; bytes])
}

#[test]
fn a_fleet_takes_what_there_is_and_names_what_there_is_not() {
    let s = served();
    let template =
        "Action=CreateLaunchTemplate&LaunchTemplateName=pool&LaunchTemplateData.ImageId=ami-08600000000000001";
    call(&s, template).expect("made");
    s.cloud.world().faults.no_capacity = vec![NoCapacity {
        instance_type: Some("c6i.large".into()),
        ..NoCapacity::default()
    }];
    let fleet = "Action=CreateFleet&Type=instant&ClientToken=f&TargetCapacitySpecification.TotalTargetCapacity=3\
        &TargetCapacitySpecification.DefaultTargetCapacityType=spot\
        &LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateName=pool\
        &LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version=1\
        &LaunchTemplateConfigs.1.Overrides.1.InstanceType=c6i.large\
        &LaunchTemplateConfigs.1.Overrides.2.InstanceType=m5.large";
    let answer = call(&s, fleet).expect("partly");
    assert!(
        answer.contains("<errorCode>InsufficientInstanceCapacity</errorCode>"),
        "{answer}"
    );
    assert_eq!(s.cloud.alive().len(), 3);
    assert!(s.cloud.alive().iter().all(|i| i.instance_type == "m5.large"));
    call(&s, fleet).expect("the same again");
    assert_eq!(s.cloud.alive().len(), 3, "the token launched nothing");
}

#[test]
fn the_metadata_service_speaks_version_two_only() {
    let s = served();
    let id = ids(&call(&s, &format!("{RUN}&MetadataOptions.InstanceMetadataTags=enabled&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=Role&TagSpecification.1.Tag.1.Value=worker")).expect("launched"))[0].to_owned();
    let mut service = Metadata::new(s.cloud.clone(), &id);
    assert_eq!(service.get("/latest/meta-data/instance-id", None).0, 401);
    let (status, token) = service.token(Some("60"));
    assert_eq!(status, 200);
    assert_eq!(
        service.get("/latest/meta-data/instance-id", Some(&token)),
        (200, id.clone())
    );
    assert_eq!(
        service.get("/latest/meta-data/tags/instance/Role", Some(&token)),
        (200, "worker".into())
    );
    assert_eq!(
        service.get("/latest/meta-data/spot/instance-action", Some(&token)).0,
        404
    );
    s.cloud.spot_notice(&id, SignedDuration::from_secs(120)).expect("given");
    assert_eq!(
        service.get("/latest/meta-data/spot/instance-action", Some(&token)).0,
        200
    );
    s.cloud.clock.advance(Duration::from_secs(61));
    assert_eq!(
        service.get("/latest/meta-data/instance-id", Some(&token)).0,
        401,
        "the session is over"
    );
}
