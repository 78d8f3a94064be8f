//! A request → the actions on resources that it needs, with their condition keys (Service Authorization Reference: EC2,
//! SSM).
//!
//! This is conservative. A launch needs permission for each kind of resource that it creates or uses, for CreateFleet
//! and RunInstances alike, then for tagging with `ec2:CreateAction`, then for passing the role of its profile.
//! `aws:ARN` is the resource of a tagging request: the form that is in use for `${ec2:SourceInstanceARN}`
//! (research/aws.md, 3.8), not proved on real AWS here.

use std::collections::BTreeMap;

use serde_json::Value;

use super::policy::Ask;
use super::role_of;
use crate::ec2::catalog::{ACCOUNT, REGION, SECURITY_GROUP};
use crate::ec2::cloud::World;
use crate::ec2::launch::{Settings, tag_specifications};
use crate::ec2::params::Params;
use crate::ec2::{tags, templates};

type Tags = BTreeMap<String, String>;

fn arn(kind: &str, id: &str) -> String {
    let account = if matches!(kind, "image" | "snapshot") {
        ""
    } else {
        ACCOUNT
    };
    format!("arn:aws:ec2:{REGION}:{account}:{kind}/{id}")
}

fn kind_of(id: &str) -> &'static str {
    match id.split('-').next() {
        Some("i") => "instance",
        Some("lt") => "launch-template",
        Some("vol") => "volume",
        _ => "unknown",
    }
}

/// An ask about something that is there, with its tags.
fn existing(action: &str, id: &str, tags: Option<&Tags>) -> Ask {
    let mut ask = Ask::new(action, arn(kind_of(id), id));
    for (k, v) in tags.into_iter().flatten() {
        ask.add(&format!("aws:ResourceTag/{k}"), v);
    }
    ask
}

/// An ask about something that is made, with the tags that it is to have.
fn made(action: &str, kind: &str, tags: Option<&Tags>) -> Ask {
    let mut ask = Ask::new(action, arn(kind, "*"));
    for (k, v) in tags.into_iter().flatten() {
        ask.add(&format!("aws:RequestTag/{k}"), v);
        ask.add("aws:TagKeys", k);
    }
    ask
}

/// What tagging at creation asks for.
fn tagging(creation: &str, kind: &str, tags: &Tags) -> Ask {
    made("ec2:CreateTags", kind, Some(tags)).with("ec2:CreateAction", creation)
}

/// A request of EC2.
pub(crate) fn request(world: &World, operation: &str, p: &Params) -> Vec<Ask> {
    let action = format!("ec2:{operation}");
    match operation {
        "RunInstances" => {
            let template = templates::data(world, p.at("LaunchTemplate")).unwrap_or_default();
            let used = p.at("LaunchTemplate").map(|t| vec![t]).unwrap_or_default();
            launch(world, operation, &used, &Settings::read(p).over(&template))
        }
        "CreateFleet" => fleet(world, p),
        "CreateLaunchTemplate" => {
            let tags = tag_specifications(p).remove("launch-template").unwrap_or_default();
            let mut asks = vec![made(&action, "launch-template", Some(&tags))];
            if !tags.is_empty() {
                asks.push(tagging(operation, "launch-template", &tags));
            }
            asks
        }
        "CreateLaunchTemplateVersion" | "DeleteLaunchTemplate" => {
            let found = templates::find(world, p).ok();
            let id = found.map_or("lt-unknown", |t| t.id.as_str());
            vec![existing(&action, id, found.map(|t| &t.tags))]
        }
        "TerminateInstances" => {
            let one = |id: String| existing(&action, &id, tags::read(world, &id));
            p.texts("InstanceId").into_iter().map(one).collect()
        }
        "CreateTags" | "DeleteTags" => {
            let one = |id: String| {
                let mut ask = existing(&action, &id, tags::read(world, &id)).with("aws:ARN", arn(kind_of(&id), &id));
                for tag in p.items("Tag") {
                    ask.add("aws:TagKeys", tag.owned("Key"));
                    if operation == "CreateTags" {
                        ask.add(&format!("aws:RequestTag/{}", tag.owned("Key")), tag.owned("Value"));
                    }
                }
                ask
            };
            p.texts("ResourceId").into_iter().map(one).collect()
        }
        _ => vec![Ask::new(action, "*")],
    }
}

fn fleet(world: &World, p: &Params) -> Vec<Ask> {
    let own = tag_specifications(p).remove("fleet").unwrap_or_default();
    let mut asks = vec![made("ec2:CreateFleet", "fleet", Some(&own))];
    if !own.is_empty() {
        asks.push(tagging("CreateFleet", "fleet", &own));
    }
    let spot = p.text("TargetCapacitySpecification.DefaultTargetCapacityType") != Some("on-demand");
    for config in p.items("LaunchTemplateConfigs") {
        let used = config.at("LaunchTemplateSpecification");
        let template = templates::data(world, used).unwrap_or_default();
        for o in config.items("Overrides") {
            let subnet = o.text("SubnetId").unwrap_or_default();
            let mut settings = template
                .clone()
                .placed(o.text("InstanceType").unwrap_or_default(), subnet);
            settings.spot = Some(spot);
            let settings = settings.with_tags(p);
            for operation in ["CreateFleet", "RunInstances"] {
                asks.extend(launch(
                    world,
                    operation,
                    &used.into_iter().collect::<Vec<_>>(),
                    &settings,
                ));
            }
        }
    }
    asks.dedup();
    asks
}

fn launch(world: &World, operation: &str, templates: &[&Params], settings: &Settings) -> Vec<Ask> {
    let action = format!("ec2:{operation}");
    let mut asks = Vec::new();
    for template in templates {
        let found = templates::find(world, template).ok();
        asks.push(existing(
            &action,
            found.map_or("lt-unknown", |t| t.id.as_str()),
            found.map(|t| &t.tags),
        ));
    }
    asks.extend(settings.image.iter().map(|id| Ask::new(&action, arn("image", id))));
    asks.extend(settings.subnet().map(|id| Ask::new(&action, arn("subnet", id))));
    let default = [SECURITY_GROUP.to_owned()];
    let groups: &[String] = if settings.security_groups.is_empty() {
        &default
    } else {
        &settings.security_groups
    };
    asks.extend(groups.iter().map(|id| Ask::new(&action, arn("security-group", id))));
    let mut kinds = vec!["instance", "volume", "network-interface"];
    if settings.spot == Some(true) {
        kinds.push("spot-instances-request");
    }
    for kind in kinds {
        asks.push(made(&action, kind, settings.tags.get(kind)));
    }
    for (kind, tags) in settings
        .tags
        .iter()
        .filter(|(kind, tags)| *kind != "fleet" && !tags.is_empty())
    {
        asks.push(tagging(operation, kind, tags));
    }
    if let Some(profile) = &settings.profile {
        // A role has the name and the path of its profile here.
        let path = profile
            .split_once(":instance-profile/")
            .map_or(role_of(profile), |(_, path)| path);
        asks.push(
            Ask::new("iam:PassRole", format!("arn:aws:iam::{ACCOUNT}:role/{path}"))
                .with("iam:PassedToService", "ec2.amazonaws.com"),
        );
    }
    asks
}

/// A request of SSM.
pub(crate) fn command(world: &World, operation: &str, body: &Value) -> Vec<Ask> {
    let action = format!("ssm:{operation}");
    let text = |field: &str| body.get(field).and_then(Value::as_str).unwrap_or_default();
    match operation {
        "GetParameter" => {
            let account = if text("Name").starts_with("/aws/") { "" } else { ACCOUNT };
            vec![Ask::new(
                action,
                format!("arn:aws:ssm:{REGION}:{account}:parameter{}", text("Name")),
            )]
        }
        "SendCommand" => {
            let mut asks = vec![Ask::new(
                &action,
                format!("arn:aws:ssm:{REGION}::document/{}", text("DocumentName")),
            )];
            let ids = body.get("InstanceIds").and_then(Value::as_array);
            for id in ids.into_iter().flatten().filter_map(Value::as_str) {
                let mut ask = existing(&action, id, None);
                for (k, v) in tags::read(world, id).into_iter().flatten() {
                    ask.add(&format!("ssm:resourceTag/{k}"), v);
                }
                asks.push(ask);
            }
            asks
        }
        _ => vec![Ask::new(action, "*")],
    }
}
