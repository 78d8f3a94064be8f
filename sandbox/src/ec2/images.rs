//! What the region offers, as the Describe operations show it.

use super::catalog::{self, IMAGES, SUBNETS, TYPES, VPC, ZONES};
use super::cloud::Cloud;
use super::error::Ec2Error;
use super::filters::Filter;
use super::params::Params;
use super::xml::Xml;

/// Takes the values that every filter takes; `field` answers a filter's name with the value's texts, or None when unknown.
fn chosen<T: Copy>(p: &Params, all: &[T], field: impl Fn(&T, &str) -> Option<Vec<String>>) -> Result<Vec<T>, Ec2Error> {
    let filters = Filter::of(p);
    let mut out = Vec::new();
    for value in all {
        let mut taken = true;
        for filter in &filters {
            let texts = field(value, &filter.name)
                .ok_or_else(|| Ec2Error::invalid(format!("The filter '{}' is invalid", filter.name)))?;
            taken &= filter.takes_any(texts.iter().map(String::as_str));
        }
        if taken {
            out.push(*value);
        }
    }
    Ok(out)
}

/// DescribeInstanceTypes.
pub(crate) fn types(p: &Params, request: &str) -> Result<String, Ec2Error> {
    let names = p.texts("InstanceType");
    if let Some(unknown) = names.iter().find(|n| catalog::instance_type(n).is_none()) {
        return Err(Ec2Error::new(
            "InvalidInstanceType",
            format!("The following supplied instance types do not exist: [{unknown}]"),
        ));
    }
    let rows = chosen(p, &TYPES, |t, name| match name {
        "instance-type" => Some(vec![t.name.into()]),
        "processor-info.supported-architecture" => Some(vec![t.architecture.into()]),
        _ => None,
    })?;
    let rows = rows
        .into_iter()
        .filter(|t| names.is_empty() || names.iter().any(|n| n == t.name));
    Ok(Xml::response("DescribeInstanceTypes", request, |x| {
        x.list("instanceTypeSet", rows, |x, t| {
            x.text("instanceType", t.name);
            x.text("currentGeneration", true);
            x.list("supportedUsageClasses", ["on-demand", "spot"], |x, c| x.raw(c));
            x.node("processorInfo", |x| {
                x.list("supportedArchitectures", [t.architecture], |x, a| x.raw(a));
            });
            x.node("vCpuInfo", |x| x.text("defaultVCpus", t.vcpus));
            x.node("memoryInfo", |x| x.text("sizeInMiB", t.memory));
            if t.gpus > 0 {
                x.node("gpuInfo", |x| x.list("gpus", [t.gpus], |x, n| x.text("count", n)));
            }
        });
    }))
}

/// DescribeInstanceTypeOfferings, by zone; the newest GPU type is not offered in the last zone.
pub(crate) fn offerings(p: &Params, request: &str) -> Result<String, Ec2Error> {
    let by_zone = p.text("LocationType") == Some("availability-zone");
    let places: &[&'static str] = if by_zone { &ZONES } else { &[catalog::REGION] };
    let all: Vec<(&str, &str)> = TYPES
        .iter()
        .flat_map(|t| places.iter().map(move |z| (t.name, *z)))
        .filter(|(t, z)| !(*t == "g6.xlarge" && *z == ZONES[2]))
        .collect();
    let rows = chosen(p, &all, |(t, z), name| match name {
        "instance-type" => Some(vec![(*t).into()]),
        "location" => Some(vec![(*z).into()]),
        _ => None,
    })?;
    Ok(Xml::response("DescribeInstanceTypeOfferings", request, |x| {
        x.list("instanceTypeOfferingSet", rows, |x, (t, z)| {
            x.text("instanceType", t);
            x.text("locationType", if by_zone { "availability-zone" } else { "region" });
            x.text("location", z);
        });
    }))
}

/// DescribeImages.
pub(crate) fn images(p: &Params, request: &str) -> Result<String, Ec2Error> {
    let ids = p.texts("ImageId");
    if let Some(unknown) = ids.iter().find(|id| catalog::image(id).is_none()) {
        return Err(Ec2Error::new(
            "InvalidAMIID.NotFound",
            format!("The image id '[{unknown}]' does not exist"),
        ));
    }
    let rows = chosen(p, &IMAGES, |i, name| match name {
        "name" => Some(vec![i.name.into()]),
        "architecture" => Some(vec![i.architecture.into()]),
        "image-id" => Some(vec![i.id.into()]),
        "state" => Some(vec!["available".into()]),
        _ => None,
    })?;
    let rows = rows
        .into_iter()
        .filter(|i| ids.is_empty() || ids.iter().any(|id| id == i.id));
    Ok(Xml::response("DescribeImages", request, |x| {
        x.list("imagesSet", rows, |x, i| {
            x.text("imageId", i.id);
            x.text("name", i.name);
            x.text("architecture", i.architecture);
            x.text("imageState", "available");
            x.text("creationDate", i.created);
            x.text("rootDeviceName", "/dev/xvda");
        });
    }))
}

/// DescribeSubnets.
pub(crate) fn subnets(p: &Params, request: &str) -> Result<String, Ec2Error> {
    let ids = p.texts("SubnetId");
    if let Some(unknown) = ids.iter().find(|id| catalog::subnet(id).is_none()) {
        return Err(Ec2Error::new(
            "InvalidSubnetID.NotFound",
            format!("The subnet ID '{unknown}' does not exist"),
        ));
    }
    let rows = chosen(p, &SUBNETS, |s, name| match name {
        "availability-zone" => Some(vec![s.zone.into()]),
        "vpc-id" => Some(vec![VPC.into()]),
        "subnet-id" => Some(vec![s.id.into()]),
        _ => None,
    })?;
    let rows = rows
        .into_iter()
        .filter(|s| ids.is_empty() || ids.iter().any(|id| id == s.id));
    Ok(Xml::response("DescribeSubnets", request, |x| {
        x.list("subnetSet", rows, |x, s| {
            x.text("subnetId", s.id);
            x.text("availabilityZone", s.zone);
            x.text("vpcId", VPC);
            x.text("cidrBlock", format!("{}.0/24", s.prefix));
            x.text("availableIpAddressCount", 251);
            x.text("state", "available");
        });
    }))
}

/// DescribeSpotPriceHistory: one current price for each type and zone.
pub(crate) fn spot_prices(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let names = p.texts("InstanceType");
    let zone = p.text("AvailabilityZone");
    let now = cloud.clock.now();
    let rows = TYPES
        .iter()
        .filter(|t| names.is_empty() || names.iter().any(|n| n == t.name))
        .flat_map(|t| {
            ZONES
                .iter()
                .enumerate()
                .map(move |(n, z)| (t, *z, t.price * (30 + u32::try_from(n).unwrap_or(0)) / 100))
        })
        .filter(|(_, z, _)| zone.is_none_or(|wanted| wanted == *z));
    Ok(Xml::response("DescribeSpotPriceHistory", request, |x| {
        x.list("spotPriceHistorySet", rows, |x, (t, z, price)| {
            x.text("instanceType", t.name);
            x.text("productDescription", "Linux/UNIX");
            x.text("spotPrice", format!("{}.{:03}000", price / 1000, price % 1000));
            x.text("timestamp", now);
            x.text("availabilityZone", z);
        });
    }))
}
