//! The SDK's types ↔ the port's. Pure.

use aws_sdk_ec2::primitives::DateTime;
use aws_sdk_ec2::types as ec2;
use base64::Engine as _;
use myelin_engine::cloud::{
    FleetRequest, Instance, InstanceState, InstanceStatus, InstanceType, LaunchRefusal, LaunchTemplate, Launched,
    Lifecycle, TagFilter, Tags, TemplateBody,
};

type Moment = jiff::Timestamp;

/// A moment; the epoch for one that was not sent.
fn moment(at: Option<&DateTime>) -> Moment {
    at.and_then(|t| Moment::from_second(t.secs()).ok())
        .unwrap_or(Moment::UNIX_EPOCH)
}

fn text(value: Option<&str>) -> String {
    value.unwrap_or_default().to_owned()
}

fn filled(value: Option<&str>) -> Option<String> {
    value.filter(|v| !v.is_empty()).map(str::to_owned)
}

pub(crate) fn tags(from: &[ec2::Tag]) -> Tags {
    from.iter().map(|t| (text(t.key()), text(t.value()))).collect()
}

pub(crate) fn sdk_tags(from: &Tags) -> Vec<ec2::Tag> {
    from.iter()
        .map(|(k, v)| ec2::Tag::builder().key(k).value(v).build())
        .collect()
}

/// `tag:KEY` with values that match exactly: EC2 reads `*`, `?` and `\` in them.
pub(crate) fn filters(from: &[TagFilter]) -> Vec<ec2::Filter> {
    let one = |f: &TagFilter| {
        let values = f.values.iter().map(|v| escape(v)).collect();
        ec2::Filter::builder()
            .name(format!("tag:{}", f.key))
            .set_values(Some(values))
            .build()
    };
    from.iter().map(one).collect()
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '*' | '?' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// An instance; None without an id, or in a state that EC2 does not have.
pub(crate) fn instance(from: &ec2::Instance) -> Option<Instance> {
    let state = match from.state()?.name()? {
        ec2::InstanceStateName::Pending => InstanceState::Pending,
        ec2::InstanceStateName::Running => InstanceState::Running,
        ec2::InstanceStateName::Stopping => InstanceState::Stopping,
        ec2::InstanceStateName::Stopped => InstanceState::Stopped,
        ec2::InstanceStateName::ShuttingDown => InstanceState::ShuttingDown,
        ec2::InstanceStateName::Terminated => InstanceState::Terminated,
        _ => return None,
    };
    let spot = from.instance_lifecycle() == Some(&ec2::InstanceLifecycleType::Spot);
    Some(Instance {
        id: from.instance_id()?.to_owned(),
        state,
        state_reason: text(from.state_reason().and_then(|r| r.code())),
        instance_type: text(from.instance_type().map(ec2::InstanceType::as_str)),
        image: text(from.image_id()),
        subnet: text(from.subnet_id()),
        zone: text(from.placement().and_then(|p| p.availability_zone())),
        lifecycle: if spot { Lifecycle::Spot } else { Lifecycle::OnDemand },
        launched_at: moment(from.launch_time()),
        private_ip: filled(from.private_ip_address()),
        public_ip: filled(from.public_ip_address()),
        private_dns: filled(from.private_dns_name()),
        tags: tags(from.tags()),
    })
}

pub(crate) fn status(from: &ec2::InstanceStatus) -> Option<InstanceStatus> {
    let word = |s: Option<&ec2::InstanceStatusSummary>| {
        s.and_then(|s| s.status())
            .map_or_else(|| "insufficient-data".to_owned(), |s| s.as_str().to_owned())
    };
    let events = from
        .events()
        .iter()
        .filter(|e| !e.description().is_some_and(|d| d.starts_with("[Completed]")));
    Some(InstanceStatus {
        id: from.instance_id()?.to_owned(),
        system: word(from.system_status()),
        instance: word(from.instance_status()),
        events: events.filter_map(|e| e.code().map(|c| c.as_str().to_owned())).collect(),
    })
}

pub(crate) fn instance_type(from: &ec2::InstanceTypeInfo) -> Option<InstanceType> {
    let architectures = from
        .processor_info()
        .map(|p| p.supported_architectures())
        .unwrap_or_default();
    Some(InstanceType {
        name: from.instance_type()?.as_str().to_owned(),
        architectures: architectures.iter().map(|a| a.as_str().to_owned()).collect(),
        spot: from.supported_usage_classes().contains(&ec2::UsageClassType::Spot),
        vcpus: from
            .v_cpu_info()
            .and_then(|v| v.default_v_cpus())
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(0),
        memory_mib: from
            .memory_info()
            .and_then(|m| m.size_in_mib())
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0),
    })
}

pub(crate) fn template(from: &ec2::LaunchTemplate) -> Option<LaunchTemplate> {
    Some(LaunchTemplate {
        id: from.launch_template_id()?.to_owned(),
        name: text(from.launch_template_name()),
        latest_version: from
            .latest_version_number()
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(1),
        tags: tags(from.tags()),
        created_at: moment(from.create_time()),
    })
}

/// The data of a launch template: tokens of the metadata service required, volumes that end with their instance.
pub(crate) fn template_data(body: &TemplateBody) -> ec2::RequestLaunchTemplateData {
    let volume = &body.root_volume;
    let ebs = ec2::LaunchTemplateEbsBlockDeviceRequest::builder()
        .encrypted(volume.encrypted)
        .delete_on_termination(true)
        .volume_size(i32::try_from(volume.size).unwrap_or(i32::MAX))
        .volume_type(ec2::VolumeType::from(volume.kind.as_str()))
        .set_kms_key_id(volume.kms_key.clone())
        .build();
    let device = ec2::LaunchTemplateBlockDeviceMappingRequest::builder()
        .device_name(&volume.device)
        .ebs(ebs)
        .build();
    let network = ec2::LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
        .device_index(0)
        .delete_on_termination(true)
        .associate_public_ip_address(body.public_address)
        .set_groups((!body.security_groups.is_empty()).then(|| body.security_groups.clone()))
        .build();
    let metadata = ec2::LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_tokens(ec2::LaunchTemplateHttpTokensState::Required)
        .http_endpoint(ec2::LaunchTemplateInstanceMetadataEndpointState::Enabled)
        .http_put_response_hop_limit(i32::from(body.metadata_hops))
        .instance_metadata_tags(if body.metadata_tags {
            ec2::LaunchTemplateInstanceMetadataTagsState::Enabled
        } else {
            ec2::LaunchTemplateInstanceMetadataTagsState::Disabled
        })
        .build();
    let profile = body.instance_profile.as_ref().map(|p| {
        let profile = ec2::LaunchTemplateIamInstanceProfileSpecificationRequest::builder();
        if p.starts_with("arn:") {
            profile.arn(p)
        } else {
            profile.name(p)
        }
        .build()
    });
    let kinds = [
        ec2::ResourceType::Instance,
        ec2::ResourceType::Volume,
        ec2::ResourceType::NetworkInterface,
    ];
    let tagged = kinds.map(|kind| {
        let tags = Some(sdk_tags(&body.tags));
        ec2::LaunchTemplateTagSpecificationRequest::builder()
            .resource_type(kind)
            .set_tags(tags)
            .build()
    });
    ec2::RequestLaunchTemplateData::builder()
        .image_id(&body.image)
        .block_device_mappings(device)
        .network_interfaces(network)
        .metadata_options(metadata)
        .set_iam_instance_profile(profile)
        .set_user_data(
            body.user_data
                .as_ref()
                .map(|d| base64::prelude::BASE64_STANDARD.encode(d)),
        )
        .instance_initiated_shutdown_behavior(ec2::ShutdownBehavior::Terminate)
        .set_tag_specifications(Some(tagged.into()))
        .build()
}

/// Where a fleet may launch: one template, every seat an override.
pub(crate) fn fleet_template(request: &FleetRequest) -> ec2::FleetLaunchTemplateConfigRequest {
    let overrides = request.seats.iter().enumerate().map(|(at, seat)| {
        ec2::FleetLaunchTemplateOverridesRequest::builder()
            .instance_type(ec2::InstanceType::from(seat.instance_type.as_str()))
            .subnet_id(&seat.subnet)
            .priority(f64::from(u32::try_from(at).unwrap_or(u32::MAX)))
            .build()
    });
    let template = ec2::FleetLaunchTemplateSpecificationRequest::builder()
        .launch_template_id(&request.template)
        .version(request.version.to_string())
        .build();
    ec2::FleetLaunchTemplateConfigRequest::builder()
        .launch_template_specification(template)
        .set_overrides(Some(overrides.collect()))
        .build()
}

/// Tags of what a launch makes.
pub(crate) fn tag_specifications(tags: &Tags, kinds: &[ec2::ResourceType]) -> Vec<ec2::TagSpecification> {
    let one = |kind: &ec2::ResourceType| {
        ec2::TagSpecification::builder()
            .resource_type(kind.clone())
            .set_tags(Some(sdk_tags(tags)))
            .build()
    };
    kinds.iter().map(one).collect()
}

/// What CreateFleet gave and refused.
pub(crate) fn launched(
    instances: &[ec2::CreateFleetInstance],
    errors: &[ec2::CreateFleetError],
    lifecycle: Lifecycle,
) -> Launched {
    let ids = instances
        .iter()
        .flat_map(|i| i.instance_ids().iter().cloned())
        .collect();
    let refusal = |e: &ec2::CreateFleetError| {
        let place = e.launch_template_and_overrides().and_then(|l| l.overrides());
        LaunchRefusal {
            instance_type: text(place.and_then(|p| p.instance_type()).map(ec2::InstanceType::as_str)),
            subnet: text(place.and_then(|p| p.subnet_id())),
            zone: text(place.and_then(|p| p.availability_zone())),
            lifecycle,
            code: text(e.error_code()),
            message: text(e.error_message()),
        }
    };
    Launched {
        ids,
        refusals: errors.iter().map(refusal).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_matches_its_value_and_nothing_else() {
        assert_eq!(escape(r"a*b?c\d"), r"a\*b\?c\\d");
        let made = filters(&[TagFilter {
            key: "myelin.dev:pool".into(),
            values: vec!["w".into()],
        }]);
        assert_eq!(made[0].name(), Some("tag:myelin.dev:pool"));
    }
}
