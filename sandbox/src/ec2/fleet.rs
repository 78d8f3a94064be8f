//! CreateFleet of type `instant`: many types and places in one call, partial success with an error for each refused override.

use super::catalog;
use super::cloud::{Cloud, Lifecycle};
use super::error::Ec2Error;
use super::instances::dry_run;
use super::launch::Launch;
use super::params::Params;
use super::tokens;
use super::xml::Xml;

/// One place and type that a fleet may use.
struct Offering {
    launch: Launch,
    /// Lower comes first, where the strategy asks for it.
    priority: f64,
    template: (String, String),
}

struct Made {
    ids: Vec<String>,
    offering: usize,
    lifecycle: Lifecycle,
}

/// CreateFleet.
pub(crate) fn create(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    if p.text("Type") != Some("instant") {
        return Err(Ec2Error::new(
            "UnsupportedOperation",
            "this sandbox models fleets of type instant only",
        ));
    }
    let total = count(p, "TargetCapacitySpecification.TotalTargetCapacity")?;
    let on_demand = count(p, "TargetCapacitySpecification.OnDemandTargetCapacity").unwrap_or(0);
    let spot_named = count(p, "TargetCapacitySpecification.SpotTargetCapacity").ok();
    let default_spot = p.text("TargetCapacitySpecification.DefaultTargetCapacityType") != Some("on-demand");
    let rest = total.saturating_sub(on_demand + spot_named.unwrap_or(0));
    let (mut spot, mut on_demand) = (spot_named.unwrap_or(0), on_demand);
    if default_spot {
        spot += rest;
    } else {
        on_demand += rest;
    }

    let token = p.owned("ClientToken");
    let fingerprint = p.fingerprint(&["ClientToken", "Action", "Version"]);
    let now = cloud.clock.now();
    let mut world = cloud.world();
    let mut offerings = Vec::new();
    for config in p.items("LaunchTemplateConfigs") {
        let specification = config.at("LaunchTemplateSpecification");
        let template = super::templates::data(&world, specification)?;
        let named = specification.map_or_else(Default::default, |s| (s.owned("LaunchTemplateId"), s.owned("Version")));
        let overrides = config.items("Overrides");
        if overrides.is_empty() {
            let launch = template.clone().with_tags(p).checked(Some(Lifecycle::Spot))?;
            offerings.push(Offering {
                launch,
                priority: 0.0,
                template: named.clone(),
            });
        }
        for (n, o) in overrides.into_iter().enumerate() {
            let instance_type = o
                .text("InstanceType")
                .or(template.instance_type())
                .unwrap_or("m5.large");
            let subnet = o
                .text("SubnetId")
                .or(template.subnet())
                .unwrap_or(catalog::SUBNETS[0].id);
            let settings = template.clone().placed(instance_type, subnet).with_tags(p);
            let priority = o.text("Priority").and_then(|t| t.parse().ok()).unwrap_or(n as f64);
            offerings.push(Offering {
                launch: settings.checked(Some(Lifecycle::Spot))?,
                priority,
                template: named.clone(),
            });
        }
    }
    if offerings.is_empty() {
        return Err(Ec2Error::missing("LaunchTemplateConfigs"));
    }
    dry_run(p)?;
    let known = world
        .tokens
        .look("CreateFleet", catalog::REGION, &token, &fingerprint)?;
    if let Some(ids) = known {
        let gone = |id: &String| world.instances.get(id).is_none_or(|i| i.end(now).is_some());
        let (fleet, ids) = ids
            .split_first()
            .ok_or_else(|| Ec2Error::new("InternalError", "a token without a fleet"))?;
        if !ids.is_empty() && ids.iter().all(gone) {
            return Err(tokens::terminated(&token));
        }
        let made: Vec<Made> = ids
            .iter()
            .filter_map(|id| {
                let i = world.instances.get(id)?;
                let same = |o: &Offering| o.launch.instance_type == i.instance_type && o.launch.subnet.id == i.subnet;
                Some(Made {
                    ids: vec![id.clone()],
                    offering: offerings.iter().position(same)?,
                    lifecycle: i.lifecycle,
                })
            })
            .collect();
        return Ok(answer(request, fleet, &offerings, &made, &[]));
    }

    let fleet = world.id("fleet");
    let reservation = world.id("r");
    let mut made = Vec::new();
    let mut refused: Vec<(usize, Lifecycle)> = Vec::new();
    for (lifecycle, wanted, strategy) in [
        (
            Lifecycle::Spot,
            spot,
            p.text("SpotOptions.AllocationStrategy").unwrap_or("lowest-price"),
        ),
        (
            Lifecycle::OnDemand,
            on_demand,
            p.text("OnDemandOptions.AllocationStrategy").unwrap_or("lowest-price"),
        ),
    ] {
        let mut order: Vec<usize> = (0..offerings.len()).collect();
        let by_price = |i: &usize| catalog::instance_type(&offerings[*i].launch.instance_type).map_or(0, |t| t.price);
        if strategy.contains("prioritized") {
            order.sort_by(|a, b| offerings[*a].priority.total_cmp(&offerings[*b].priority));
        } else {
            order.sort_by_key(by_price);
        }
        let mut left = wanted;
        for at in order {
            let launch = offerings[at].launch.clone().of(lifecycle);
            let mut ids = Vec::new();
            while left > 0 {
                if !world
                    .faults
                    .has_capacity(&launch.instance_type, launch.subnet.zone, lifecycle)
                {
                    refused.push((at, lifecycle));
                    break;
                }
                ids.push(launch.launch(&mut world, now, &reservation, &token, Some(&fleet)));
                left -= 1;
            }
            if !ids.is_empty() {
                made.push(Made {
                    ids,
                    offering: at,
                    lifecycle,
                });
            }
            if left == 0 {
                break;
            }
        }
    }
    let all: Vec<String> = std::iter::once(fleet.clone())
        .chain(made.iter().flat_map(|m| m.ids.clone()))
        .collect();
    world
        .tokens
        .remember("CreateFleet", catalog::REGION, &token, fingerprint, all);
    Ok(answer(request, &fleet, &offerings, &made, &refused))
}

fn count(p: &Params, path: &str) -> Result<u32, Ec2Error> {
    p.number(path)
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n <= 10_000)
        .ok_or_else(|| Ec2Error::missing(path))
}

fn answer(request: &str, fleet: &str, offerings: &[Offering], made: &[Made], refused: &[(usize, Lifecycle)]) -> String {
    let place = |x: &mut Xml, o: &Offering| {
        x.node("launchTemplateAndOverrides", |x| {
            x.node("launchTemplateSpecification", |x| {
                x.text("launchTemplateId", &o.template.0);
                x.text("version", &o.template.1);
            });
            x.node("overrides", |x| {
                x.text("instanceType", &o.launch.instance_type);
                x.text("subnetId", o.launch.subnet.id);
                x.text("availabilityZone", o.launch.subnet.zone);
            });
        });
    };
    Xml::response("CreateFleet", request, |x| {
        x.text("fleetId", fleet);
        x.list("fleetInstanceSet", made, |x, m| {
            place(x, &offerings[m.offering]);
            x.text("lifecycle", m.lifecycle.name());
            x.text("instanceType", &offerings[m.offering].launch.instance_type);
            x.list("instanceIds", &m.ids, |x, id| {
                // A bare item: the list is one of texts.
                x.raw(id);
            });
        });
        x.list("errorSet", refused, |x, (at, lifecycle)| {
            let o = &offerings[*at];
            let error = Ec2Error::no_capacity(&o.launch.instance_type, o.launch.subnet.zone);
            place(x, o);
            x.text("lifecycle", lifecycle.name());
            x.text("errorCode", &error.code);
            x.text("errorMessage", &error.message);
        });
    })
}
