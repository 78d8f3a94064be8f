//! RunInstances, DescribeInstances, DescribeInstanceStatus, TerminateInstances.

use jiff::Timestamp;

use super::catalog;
use super::cloud::{Cloud, End, Instance, Lifecycle, State, World};
use super::error::Ec2Error;
use super::filters::Filter;
use super::launch::Settings;
use super::params::Params;
use super::tokens;
use super::xml::Xml;

/// Launches `MinCount` to `MaxCount` instances of one type in one place.
pub(crate) fn run(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let now = cloud.clock.now();
    let mut world = cloud.world();
    let template = super::templates::data(&world, p.at("LaunchTemplate"))?;
    let settings = Settings::read(p).over(&template);
    let scope = settings.token_scope();
    let launch = settings.checked(None)?;
    let (min, max) = (p.number("MinCount").unwrap_or(0), p.number("MaxCount").unwrap_or(0));
    if min < 1 || max < min || max > 1000 {
        return Err(Ec2Error::invalid(format!(
            "Invalid counts: MinCount {min}, MaxCount {max}"
        )));
    }
    dry_run(p)?;
    let token = p.owned("ClientToken");
    let fingerprint = p.fingerprint(&["ClientToken", "Action", "Version"]);
    if let Some(ids) = world.tokens.look("RunInstances", &scope, &token, &fingerprint)? {
        return repeated(cloud, &world, now, &ids, &token, request);
    }
    let mut capacity = 0;
    while capacity < max
        && world
            .faults
            .has_capacity(&launch.instance_type, launch.subnet.zone, launch.lifecycle)
    {
        capacity += 1;
    }
    if capacity < min {
        return Err(Ec2Error::no_capacity(&launch.instance_type, launch.subnet.zone));
    }
    let reservation = world.id("r");
    let ids: Vec<String> = (0..capacity)
        .map(|_| launch.launch(&mut world, now, &reservation, &token, None))
        .collect();
    world
        .tokens
        .remember("RunInstances", &scope, &token, fingerprint, ids.clone());
    let made: Vec<Instance> = ids.iter().filter_map(|id| world.instances.get(id).cloned()).collect();
    Ok(Xml::response("RunInstances", request, |x| {
        x.text("reservationId", &reservation);
        x.text("ownerId", catalog::ACCOUNT);
        x.list("instancesSet", &made, |x, i| write(x, i, State::Pending, now));
    }))
}

/// The answer to a token that was used before: the same instances, unless all of them are gone.
fn repeated(
    cloud: &Cloud,
    world: &World,
    now: Timestamp,
    ids: &[String],
    token: &str,
    request: &str,
) -> Result<String, Ec2Error> {
    let known: Vec<(&Instance, State)> = ids
        .iter()
        .filter_map(|id| world.instances.get(id))
        .filter_map(|i| Some((i, i.state(now, &cloud.times)?)))
        .collect();
    if known
        .iter()
        .all(|(_, s)| matches!(s, State::ShuttingDown | State::Terminated))
    {
        return Err(tokens::terminated(token));
    }
    Ok(Xml::response("RunInstances", request, |x| {
        x.text("reservationId", &known[0].0.reservation);
        x.text("ownerId", catalog::ACCOUNT);
        x.list("instancesSet", &known, |x, (i, s)| write(x, i, *s, now));
    }))
}

/// Lists instances by ids or filters, in pages.
pub(crate) fn describe(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let now = cloud.clock.now();
    let mut world = cloud.world();
    world.forget(now, &cloud.times);
    let (page, next) = selected(cloud, &world, p, now, "InstanceId")?;
    Ok(Xml::response("DescribeInstances", request, |x| {
        // One reservation an instance: legal, and what a client that counts reservations would trip over.
        x.list("reservationSet", &page, |x, (i, s)| {
            x.text("reservationId", &i.reservation);
            x.text("ownerId", catalog::ACCOUNT);
            x.list("instancesSet", [()], |x, ()| write(x, i, *s, now));
        });
        x.maybe("nextToken", next);
    }))
}

/// Lists status checks; of running instances only unless `IncludeAllInstances`.
pub(crate) fn status(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let now = cloud.clock.now();
    let mut world = cloud.world();
    world.forget(now, &cloud.times);
    let zones_down = world.faults.zones_down.clone();
    let (mut page, next) = selected(cloud, &world, p, now, "InstanceId")?;
    if !p.flag("IncludeAllInstances") {
        page.retain(|(_, s)| *s == State::Running);
    }
    Ok(Xml::response("DescribeInstanceStatus", request, |x| {
        x.list("instanceStatusSet", &page, |x, (i, s)| {
            let (name, code) = s.wire();
            let checked = i
                .running_at(&cloud.times)
                .saturating_add(cloud.times.checks)
                .unwrap_or(now)
                <= now;
            let check = match s {
                State::Running if zones_down.contains(&i.zone) => "impaired",
                State::Running if checked => "ok",
                State::Running => "initializing",
                _ => "not-applicable",
            };
            x.text("instanceId", &i.id);
            x.text("availabilityZone", &i.zone);
            x.node("instanceState", |x| {
                x.text("code", code);
                x.text("name", name);
            });
            for element in ["systemStatus", "instanceStatus"] {
                x.node(element, |x| x.text("status", check));
            }
        });
        x.maybe("nextToken", next);
    }))
}

/// Terminates; one unknown id and nothing happens.
pub(crate) fn terminate(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let now = cloud.clock.now();
    let mut world = cloud.world();
    let ids = p.texts("InstanceId");
    if ids.is_empty() {
        return Err(Ec2Error::missing("InstanceId"));
    }
    check_known(cloud, &world, &ids, now)?;
    if let Some(id) = ids
        .iter()
        .find(|id| world.instances.get(*id).is_some_and(|i| i.protected))
    {
        return Err(Ec2Error::new(
            "OperationNotPermitted",
            format!(
                "The instance '{id}' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again."
            ),
        ));
    }
    dry_run(p)?;
    let mut changes = Vec::new();
    for id in &ids {
        let Some(instance) = world.instances.get_mut(id) else {
            continue;
        };
        let before = instance.state(now, &cloud.times).unwrap_or(State::Terminated);
        if instance.end(now).is_none() {
            instance.ended = Some(End {
                at: now,
                code: "Client.UserInitiatedShutdown",
            });
        }
        changes.push((
            id.clone(),
            before,
            instance.state(now, &cloud.times).unwrap_or(State::Terminated),
        ));
    }
    Ok(Xml::response("TerminateInstances", request, |x| {
        x.list("instancesSet", &changes, |x, (id, before, after)| {
            x.text("instanceId", id);
            for (element, state) in [("currentState", after), ("previousState", before)] {
                let (name, code) = state.wire();
                x.node(element, |x| {
                    x.text("code", code);
                    x.text("name", name);
                });
            }
        });
    }))
}

/// What a real request would have been answered, for `DryRun`.
///
/// # Errors
/// `DryRunOperation`, which means that it would have worked.
pub(crate) fn dry_run(p: &Params) -> Result<(), Ec2Error> {
    if p.flag("DryRun") {
        return Err(Ec2Error::new(
            "DryRunOperation",
            "Request would have succeeded, but DryRun flag is set.",
        )
        .status(412));
    }
    Ok(())
}

fn check_known(cloud: &Cloud, world: &World, ids: &[String], now: Timestamp) -> Result<(), Ec2Error> {
    if let Some(id) = ids.iter().find(|id| !id.starts_with("i-")) {
        return Err(Ec2Error::new(
            "InvalidInstanceID.Malformed",
            format!("Invalid id: \"{id}\""),
        ));
    }
    let unknown: Vec<String> = ids
        .iter()
        .filter(|id| {
            world
                .instances
                .get(*id)
                .is_none_or(|i| !seen(world, i, now) || i.state(now, &cloud.times).is_none())
        })
        .cloned()
        .collect();
    if unknown.is_empty() {
        Ok(())
    } else {
        Err(Ec2Error::no_instances(&unknown))
    }
}

/// Whether the visibility lag is over.
fn seen(world: &World, instance: &Instance, now: Timestamp) -> bool {
    instance.launched.saturating_add(world.faults.lag()).unwrap_or(now) <= now
}

type Page = (Vec<(Instance, State)>, Option<String>);

fn selected(cloud: &Cloud, world: &World, p: &Params, now: Timestamp, ids: &str) -> Result<Page, Ec2Error> {
    let ids = p.texts(ids);
    let max = p.number("MaxResults");
    if !ids.is_empty() {
        if max.is_some() {
            return Err(Ec2Error::new(
                "InvalidParameterCombination",
                "The parameter instancesSet cannot be used with the parameter maxResults",
            ));
        }
        check_known(cloud, world, &ids, now)?;
    }
    if max.is_some_and(|m| !(5..=1000).contains(&m)) {
        return Err(Ec2Error::invalid(
            "Value for parameter maxResults is invalid. Expecting a value between 5 and 1000.",
        ));
    }
    let filters = Filter::of(p);
    let mut rows = Vec::new();
    for instance in world.instances.values() {
        let Some(state) = instance.state(now, &cloud.times) else {
            continue;
        };
        if world.faults.zones_down.contains(&instance.zone) && ids.contains(&instance.id) {
            return Err(Ec2Error::new("InternalError", "An internal error has occurred").status(500));
        }
        let chosen = ids.is_empty() || ids.contains(&instance.id);
        if chosen && seen(world, instance, now) && matches(&filters, instance, state, now)? {
            rows.push((instance.clone(), state));
        }
    }
    page(p, rows, max.unwrap_or(1000))
}

/// The page of some rows for `NextToken`, and the token of the next page.
///
/// # Errors
/// When the token was never given out.
pub(super) fn page<T>(p: &Params, rows: Vec<T>, size: i64) -> Result<(Vec<T>, Option<String>), Ec2Error> {
    let from = match p.text("NextToken") {
        None => 0,
        Some(token) => token
            .strip_prefix("page-")
            .and_then(|n| n.parse::<usize>().ok())
            .ok_or_else(|| Ec2Error::new("InvalidNextToken", "The token is not valid"))?,
    };
    let size = usize::try_from(size).unwrap_or(1000);
    let next = (rows.len() > from.saturating_add(size)).then(|| format!("page-{}", from + size));
    Ok((rows.into_iter().skip(from).take(size).collect(), next))
}

fn matches(filters: &[Filter], i: &Instance, state: State, now: Timestamp) -> Result<bool, Ec2Error> {
    let tags = i.listed_tags(now);
    for filter in filters {
        let taken = match filter.name.as_str() {
            "instance-state-name" => filter.takes(state.wire().0),
            "instance-id" => filter.takes(&i.id),
            "instance-type" => filter.takes(&i.instance_type),
            "availability-zone" => filter.takes(&i.zone),
            "subnet-id" => filter.takes(&i.subnet),
            "image-id" => filter.takes(&i.image),
            "client-token" => filter.takes(&i.client_token),
            "private-ip-address" => filter.takes(&i.address),
            "vpc-id" => filter.takes(catalog::VPC),
            // On-demand instances have no lifecycle at all, so no value takes them.
            "instance-lifecycle" => i.lifecycle == Lifecycle::Spot && filter.takes("spot"),
            "tag-key" => filter.takes_any(tags.keys().map(String::as_str)),
            "tag-value" => filter.takes_any(tags.values().map(String::as_str)),
            name => match name.strip_prefix("tag:") {
                Some(key) => tags.get(key).is_some_and(|v| filter.takes(v)),
                None => return Err(Ec2Error::invalid(format!("The filter '{name}' is invalid"))),
            },
        };
        if !taken {
            return Ok(false);
        }
    }
    Ok(true)
}

/// An instance as Describe and Run show it.
pub(crate) fn write(x: &mut Xml, i: &Instance, state: State, now: Timestamp) {
    let (name, code) = state.wire();
    x.text("instanceId", &i.id);
    x.text("imageId", &i.image);
    x.node("instanceState", |x| {
        x.text("code", code);
        x.text("name", name);
    });
    if let Some(end) = i.end(now) {
        x.text("reason", format!("{} ({})", end.code, end.at));
        x.node("stateReason", |x| {
            x.text("code", end.code);
            x.text("message", format!("{}: the instance was ended", end.code));
        });
    }
    x.text("instanceType", &i.instance_type);
    x.text("launchTime", i.launched);
    x.text("clientToken", &i.client_token);
    x.node("placement", |x| x.text("availabilityZone", &i.zone));
    x.node("monitoring", |x| x.text("state", "disabled"));
    if matches!(state, State::Pending | State::Running) {
        x.text("privateIpAddress", &i.address);
        x.text(
            "privateDnsName",
            format!("ip-{}.ec2.internal", i.address.replace('.', "-")),
        );
        if i.public_address {
            x.text(
                "ipAddress",
                format!("203.0.113.{}", i.address.rsplit('.').next().unwrap_or("1")),
            );
        }
        x.text("subnetId", &i.subnet);
        x.text("vpcId", catalog::VPC);
    }
    if i.lifecycle == Lifecycle::Spot {
        x.text("instanceLifecycle", "spot");
        x.text("spotInstanceRequestId", format!("sir-{}", &i.id[2..]));
    }
    if let Some(profile) = &i.profile {
        x.node("iamInstanceProfile", |x| x.text("arn", profile));
    }
    x.list("groupSet", &i.security_groups, |x, g| x.text("groupId", g));
    x.list("tagSet", i.listed_tags(now), |x, (k, v)| {
        x.text("key", k);
        x.text("value", v);
    });
    x.list("blockDeviceMapping", [&i.volume], |x, v| {
        x.text("deviceName", "/dev/xvda");
        x.node("ebs", |x| {
            x.text("volumeId", &v.id);
            x.text("status", "attached");
        });
    });
    x.node("metadataOptions", |x| {
        x.text("state", "applied");
        x.text(
            "httpTokens",
            if i.metadata.tokens_required {
                "required"
            } else {
                "optional"
            },
        );
        x.text("httpPutResponseHopLimit", i.metadata.hops);
        x.text("httpEndpoint", "enabled");
        x.text(
            "instanceMetadataTags",
            if i.metadata.tags { "enabled" } else { "disabled" },
        );
    });
}
