//! A sequence of requests to an EC2, each step checked. What an emulator gets wrong is a failed step with a name.

use crate::world::{SPOT, body, filter, seat, tags};
use myelin_engine::cloud::{
    Cloud, CommandStatus, FleetRequest, ImageSource, InstanceState, Kind, LaunchSpec, Lifecycle, Listing,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// What is there.
pub(crate) struct Place {
    pub(crate) image: String,
    pub(crate) parameter: String,
    pub(crate) subnets: [String; 2],
}

/// What was checked, and what failed and why.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) checked: BTreeSet<&'static str>,
    pub(crate) failed: Vec<(&'static str, String)>,
}

impl Report {
    fn check(&mut self, step: &'static str, holds: bool, seen: impl std::fmt::Debug) {
        self.checked.insert(step);
        if !holds {
            self.failed.push((step, format!("{seen:?}")));
        }
    }
}

/// Talks. `settle` lets a while pass on the other side.
pub(crate) async fn talk(cloud: &dyn Cloud, place: &Place, settle: impl Fn()) -> Report {
    let mut r = Report::default();
    catalogue(cloud, place, &mut r).await;

    let own = tags(&[("myelin.dev:cluster", "wire"), ("odd", "*?\\ & <x>")]);
    let name = "wire-template";
    let made = cloud
        .create_template(name, &body(&place.image), &own, "token-template")
        .await;
    let Ok(template) = made else {
        r.check("CreateLaunchTemplate", false, made);
        return r;
    };
    r.check(
        "CreateLaunchTemplate",
        template.name == name && template.latest_version == 1,
        &template,
    );
    let again = cloud
        .create_template(name, &body(&place.image), &own, "token-other")
        .await;
    let exists = again
        .as_ref()
        .is_err_and(|e| e.kind == Kind::Invalid && e.code.contains("AlreadyExists"));
    r.check("a template's name is taken once", exists, again);
    let listed = cloud.templates(&filter("odd", "*?\\ & <x>")).await;
    r.check(
        "templates by a tag with every odd character",
        one(&listed, |t| t.id == template.id && t.tags == own),
        &listed,
    );
    let none = cloud.templates(&filter("odd", "*")).await;
    r.check(
        "a star in a filter is a star",
        none.as_ref().is_ok_and(|l| l.items.is_empty()),
        none,
    );
    let version = cloud
        .create_template_version(&template.id, &body(&place.image), "token-version")
        .await;
    r.check("CreateLaunchTemplateVersion", version == Ok(2), version);

    let fleet = FleetRequest {
        token: "token-fleet".into(),
        template: template.id.clone(),
        version: 1,
        lifecycle: SPOT,
        count: 3,
        seats: vec![
            seat("c6i.large", &place.subnets[0]),
            seat("m5.large", &place.subnets[1]),
        ],
        tags: tags(&[("myelin.dev:cluster", "wire"), ("slot", "0")]),
        fleet_tags: tags(&[("myelin.dev:cluster", "wire")]),
    };
    let launched = cloud.create_fleet(&fleet).await;
    let ids: Vec<String> = launched.as_ref().map(|l| l.ids.clone()).unwrap_or_default();
    r.check("CreateFleet instant", ids.len() == 3, &launched);
    settle();
    let seen = cloud.instances(&filter("slot", "0")).await;
    let right = |l: &Listing<myelin_engine::cloud::Instance>| {
        let fit = |i: &myelin_engine::cloud::Instance| {
            i.state == InstanceState::Running
                && i.image == place.image
                && place.subnets.contains(&i.subnet)
                && ["c6i.large", "m5.large"].contains(&i.instance_type.as_str())
        };
        l.items.len() == 3 && l.items.iter().all(fit)
    };
    r.check("DescribeInstances by tag", seen.as_ref().is_ok_and(right), &seen);
    let all = |f: &dyn Fn(&myelin_engine::cloud::Instance) -> bool| {
        seen.as_ref()
            .is_ok_and(|l| !l.items.is_empty() && l.items.iter().all(f))
    };
    r.check("fleet instances are spot", all(&|i| i.lifecycle == SPOT), &seen);
    r.check(
        "tags of a fleet's template",
        all(&|i| i.tags.get("Name").is_some_and(|n| n == "wire & <test>")),
        &seen,
    );
    r.check(
        "addresses",
        all(&|i| i.private_ip.is_some() && i.private_dns.is_some()),
        &seen,
    );

    let again = cloud.create_fleet(&fleet).await;
    let same = again.as_ref().is_ok_and(|l| sorted(&l.ids) == sorted(&ids));
    r.check("CreateFleet by its token", same, &again);
    let other = FleetRequest {
        count: 2,
        ..fleet.clone()
    };
    let other = cloud.create_fleet(&other).await;
    r.check(
        "CreateFleet with a used token",
        other.as_ref().is_err_and(|e| e.kind == Kind::TokenMismatch),
        other,
    );
    let run = LaunchSpec {
        token: "token-run".into(),
        template: template.id.clone(),
        version: 1,
        lifecycle: Lifecycle::OnDemand,
        count: 2,
        seat: seat("m5.large", &place.subnets[0]),
        tags: tags(&[("myelin.dev:cluster", "wire"), ("slot", "1")]),
    };
    let launched = cloud.run_instances(&run).await;
    let more: Vec<String> = launched.as_ref().map(|l| l.ids.clone()).unwrap_or_default();
    r.check("RunInstances", more.len() == 2, &launched);
    let again = cloud.run_instances(&run).await;
    r.check(
        "RunInstances by its token",
        again.as_ref().is_ok_and(|l| sorted(&l.ids) == sorted(&more)),
        &again,
    );
    settle();
    tagging(cloud, &more, &mut r).await;

    let statuses = cloud.statuses(&ids).await;
    let ok = statuses
        .as_ref()
        .is_ok_and(|l| l.items.len() == 3 && l.items.iter().all(|s| s.system == "ok"));
    r.check("DescribeInstanceStatus", ok, statuses);
    let asked = [ids.clone(), vec!["i-0123456789abcdef0".into()]].concat();
    let by_id = cloud.instances_by_id(&asked).await;
    r.check(
        "an unknown id is left out",
        by_id.as_ref().is_ok_and(|l| l.items.len() == 3),
        by_id,
    );
    let sent = cloud
        .send_command(&ids[..1.min(ids.len())], &["true".into()], Duration::from_secs(60))
        .await;
    settle();
    if let Ok(command) = &sent {
        let status = cloud.command_status(command, &ids[0]).await;
        r.check("GetCommandInvocation", status == Ok(CommandStatus::Succeeded), status);
    }
    r.check("SendCommand", sent.is_ok(), sent);

    ending(cloud, &ids, &mut r, &settle).await;
    let spent = cloud.run_instances(&run).await;
    r.check(
        "RunInstances still by its token",
        spent.as_ref().is_ok_and(|l| sorted(&l.ids) == sorted(&more)),
        spent,
    );
    let ended = cloud.terminate(&more).await;
    settle();
    let spent = cloud.run_instances(&run).await;
    let refused = spent.as_ref().is_err_and(|e| e.kind == Kind::TokenSpent);
    r.check("a token of ended instances", ended.is_ok() && refused, spent);
    let deleted = cloud.delete_template(&template.id).await;
    r.check("DeleteLaunchTemplate", deleted.is_ok(), deleted);
    let again = cloud.delete_template(&template.id).await;
    r.check(
        "a template that is gone",
        again.as_ref().is_err_and(|e| e.kind == Kind::NotFound),
        again,
    );
    r
}

async fn catalogue(cloud: &dyn Cloud, place: &Place, r: &mut Report) {
    let names = ["m5.large", "m7g.large", "z9.none"].map(str::to_owned);
    let types = cloud.instance_types(&names).await;
    let fits = types.as_ref().is_ok_and(|l| {
        let arm = l
            .items
            .iter()
            .any(|t| t.name == "m7g.large" && t.architectures == ["arm64"]);
        let m5 = l.items.iter().find(|t| t.name == "m5.large");
        l.items.len() == 2 && arm && m5.is_some_and(|t| t.vcpus == 2 && t.memory_mib == 8192 && t.spot)
    });
    r.check("DescribeInstanceTypes", fits, types);
    let offerings = cloud.offerings(&names[..1]).await;
    let fits = offerings
        .as_ref()
        .is_ok_and(|l| l.items.contains(&("m5.large".into(), "us-east-1a".into())));
    r.check("DescribeInstanceTypeOfferings", fits, offerings);
    let subnets = cloud.subnets(&place.subnets).await;
    let fits = subnets.as_ref().is_ok_and(|l| {
        l.items.len() == 2
            && l.items
                .iter()
                .all(|s| s.zone.starts_with("us-east-1") && s.free_addresses > 0)
    });
    r.check("DescribeSubnets", fits, subnets);
    let unknown = cloud.subnets(&["subnet-0123456789abcdef0".into()]).await;
    r.check(
        "an unknown subnet",
        unknown.as_ref().is_err_and(|e| e.kind == Kind::NotFound),
        unknown,
    );
    let image = cloud.image(&ImageSource::Id(place.image.clone())).await;
    let fits = image
        .as_ref()
        .is_ok_and(|i| i.id == place.image && i.available && i.architecture == "x86_64");
    r.check("DescribeImages", fits, image);
    let unknown = cloud.image(&ImageSource::Id("ami-0123456789abcdef0".into())).await;
    r.check(
        "an unknown image",
        unknown.as_ref().is_err_and(|e| e.kind == Kind::NotFound),
        unknown,
    );
    let named = cloud.image(&ImageSource::Parameter(place.parameter.clone())).await;
    r.check(
        "an image by parameter",
        named.as_ref().is_ok_and(|i| i.id.starts_with("ami-")),
        named,
    );
    let unknown = cloud.image(&ImageSource::Parameter("/aws/service/none".into())).await;
    r.check(
        "an unknown parameter",
        unknown.as_ref().is_err_and(|e| e.kind == Kind::NotFound),
        unknown,
    );
    let prices = cloud.spot_prices(&names[..1]).await;
    let fits = prices
        .as_ref()
        .is_ok_and(|l| !l.items.is_empty() && l.items.iter().all(|p| p.instance_type == "m5.large"));
    r.check("DescribeSpotPriceHistory", fits, prices);
}

async fn tagging(cloud: &dyn Cloud, ids: &[String], r: &mut Report) {
    let set = cloud
        .create_tags(ids, &tags(&[("later", "a=b;c"), ("empty", "")]))
        .await;
    let seen = cloud.instances(&filter("later", "a=b;c")).await;
    let fits = seen
        .as_ref()
        .is_ok_and(|l| l.items.len() == ids.len() && l.items.iter().all(|i| i.tags["empty"].is_empty()));
    r.check("CreateTags", set.is_ok() && fits, &seen);
    let unset = cloud.delete_tags(ids, &["later".into(), "never".into()]).await;
    let seen = cloud.instances_by_id(ids).await;
    let gone = seen
        .as_ref()
        .is_ok_and(|l| l.items.len() == ids.len() && l.items.iter().all(|i| !i.tags.contains_key("later")));
    r.check("DeleteTags", unset.is_ok() && gone, &seen);
    let unknown = cloud
        .create_tags(&["i-0123456789abcdef0".into()], &tags(&[("a", "b")]))
        .await;
    r.check(
        "tags on an unknown instance",
        unknown.as_ref().is_err_and(|e| e.kind == Kind::NotFound),
        unknown,
    );
    let reserved = cloud.create_tags(ids, &tags(&[("aws:x", "b")])).await;
    r.check(
        "a reserved tag",
        reserved.as_ref().is_err_and(|e| e.kind == Kind::Invalid),
        reserved,
    );
}

async fn ending(cloud: &dyn Cloud, ids: &[String], r: &mut Report, settle: impl Fn()) {
    let mixed = [ids.to_vec(), vec!["i-0123456789abcdef0".into()]].concat();
    let refused = cloud.terminate(&mixed).await;
    let seen = cloud.instances_by_id(ids).await;
    let untouched = seen
        .as_ref()
        .is_ok_and(|l| l.items.iter().all(|i| i.state == InstanceState::Running));
    let refused = refused.is_err_and(|e| e.kind == Kind::NotFound);
    r.check("one unknown id ends none", refused && untouched, &seen);
    let ended = cloud.terminate(ids).await;
    let again = cloud.terminate(ids).await;
    settle();
    let seen = cloud.instances_by_id(ids).await;
    let fits = seen
        .as_ref()
        .is_ok_and(|l| l.items.len() == ids.len() && l.items.iter().all(|i| i.state.is_ended()));
    r.check(
        "TerminateInstances, twice",
        ended.is_ok() && again.is_ok() && fits,
        &seen,
    );
}

fn one<T, E>(listing: &Result<Listing<T>, E>, fits: impl Fn(&T) -> bool) -> bool {
    listing.as_ref().is_ok_and(|l| l.items.len() == 1 && fits(&l.items[0]))
}

fn sorted(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}
