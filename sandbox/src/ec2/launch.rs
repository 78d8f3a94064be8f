//! The common part of every launch: the settings of a request merged over those of a launch template, their checks, and
//! the resulting instance.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;

use super::catalog::{self, Subnet};
use super::cloud::{Instance, Lifecycle, MetadataOptions, Volume, World};
use super::error::Ec2Error;
use super::params::Params;

/// User data after decoding, in bytes.
const USER_DATA_LIMIT: usize = 16 * 1024;
/// Tags of one resource.
const TAG_LIMIT: usize = 50;

/// Settings of a launch, each as far as it is said.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// The image.
    pub(super) image: Option<String>,
    instance_type: Option<String>,
    subnet: Option<String>,
    zone: Option<String>,
    /// Security groups.
    pub(super) security_groups: Vec<String>,
    /// Name or ARN of the instance profile.
    pub(super) profile: Option<String>,
    user_data: Option<String>,
    /// Whether spot is asked for.
    pub(super) spot: Option<bool>,
    /// Tags by kind of resource.
    pub(super) tags: BTreeMap<String, BTreeMap<String, String>>,
    metadata: Option<MetadataOptions>,
    volume: Option<Volume>,
    public_address: Option<bool>,
    protected: Option<bool>,
}

impl Settings {
    /// The settings of a request's level: a RunInstances, or the `LaunchTemplateData` of a template.
    pub(crate) fn read(p: &Params) -> Self {
        let interface = p.items("NetworkInterface").into_iter().next();
        let mut security_groups = p.texts("SecurityGroupId");
        security_groups.extend(interface.map(|i| i.texts("SecurityGroupId")).unwrap_or_default());
        let owned = |path: &str| p.text(path).map(str::to_owned);
        let metadata = p.at("MetadataOptions").map(|m| MetadataOptions {
            tokens_required: m.text("HttpTokens") == Some("required"),
            tags: m.text("InstanceMetadataTags") == Some("enabled"),
            hops: m.number("HttpPutResponseHopLimit").unwrap_or(1),
        });
        let volume = p
            .items("BlockDeviceMapping")
            .into_iter()
            .next()
            .and_then(|b| b.at("Ebs"))
            .map(|ebs| Volume {
                encrypted: ebs.flag("Encrypted"),
                size: ebs.number("VolumeSize").unwrap_or(8),
                kind: ebs.text("VolumeType").unwrap_or("gp3").to_owned(),
                ..Volume::default()
            });
        Self {
            image: owned("ImageId"),
            instance_type: owned("InstanceType"),
            subnet: owned("SubnetId").or_else(|| interface.and_then(|i| i.text("SubnetId")).map(str::to_owned)),
            zone: owned("Placement.AvailabilityZone"),
            security_groups,
            profile: owned("IamInstanceProfile.Arn").or_else(|| owned("IamInstanceProfile.Name")),
            user_data: owned("UserData"),
            spot: p
                .at("InstanceMarketOptions")
                .map(|m| m.text("MarketType") == Some("spot")),
            tags: tag_specifications(p),
            metadata,
            volume,
            public_address: interface
                .and_then(|i| i.text("AssociatePublicIpAddress"))
                .map(|t| t == "true"),
            protected: p.text("DisableApiTermination").map(|t| t == "true"),
        }
    }

    /// These settings where they say something, `under` elsewhere. Tags of a request win key by key.
    #[must_use]
    pub(crate) fn over(self, under: &Settings) -> Self {
        let mut tags = under.tags.clone();
        for (resource, own) in self.tags {
            tags.entry(resource).or_default().extend(own);
        }
        let or = |own: Option<String>, other: &Option<String>| own.or_else(|| other.clone());
        Self {
            image: or(self.image, &under.image),
            instance_type: or(self.instance_type, &under.instance_type),
            subnet: or(self.subnet, &under.subnet),
            zone: or(self.zone, &under.zone),
            security_groups: if self.security_groups.is_empty() {
                under.security_groups.clone()
            } else {
                self.security_groups
            },
            profile: or(self.profile, &under.profile),
            user_data: or(self.user_data, &under.user_data),
            spot: self.spot.or(under.spot),
            tags,
            metadata: self.metadata.or_else(|| under.metadata.clone()),
            volume: self.volume.or_else(|| under.volume.clone()),
            public_address: self.public_address.or(under.public_address),
            protected: self.protected.or(under.protected),
        }
    }

    /// Adds the tags of a request's own `TagSpecification`s.
    #[must_use]
    pub(crate) fn with_tags(mut self, p: &Params) -> Self {
        for (resource, own) in tag_specifications(p) {
            self.tags.entry(resource).or_default().extend(own);
        }
        self
    }

    /// With a place and type, as a fleet's override gives them.
    #[must_use]
    pub(crate) fn placed(mut self, instance_type: &str, subnet: &str) -> Self {
        self.instance_type = Some(instance_type.into());
        self.subnet = Some(subnet.into());
        self
    }

    /// The type that is asked for.
    pub(crate) fn instance_type(&self) -> Option<&str> {
        self.instance_type.as_deref()
    }

    /// The subnet that is asked for.
    pub(crate) fn subnet(&self) -> Option<&str> {
        self.subnet.as_deref()
    }

    /// The scope of the client token: the zone when the request says where, the region otherwise.
    pub(crate) fn token_scope(&self) -> String {
        let zone = self
            .subnet
            .as_deref()
            .and_then(catalog::subnet)
            .map(|s| s.zone.to_owned());
        zone.or_else(|| self.zone.clone())
            .unwrap_or_else(|| catalog::REGION.into())
    }

    /// Checks what can be checked before anything is launched.
    ///
    /// # Errors
    /// The first problem, as EC2 would word its code.
    pub(crate) fn checked(self, market: Option<Lifecycle>) -> Result<Launch, Ec2Error> {
        let image_id = self.image.ok_or_else(|| Ec2Error::missing("ImageId"))?;
        let image = catalog::image(&image_id).ok_or_else(|| {
            Ec2Error::new(
                "InvalidAMIID.NotFound",
                format!("The image id '[{image_id}]' does not exist"),
            )
        })?;
        let name = self.instance_type.unwrap_or_else(|| "m5.large".into());
        let instance_type = catalog::instance_type(&name)
            .ok_or_else(|| Ec2Error::invalid(format!("Invalid value '{name}' for InstanceType.")))?;
        if instance_type.architecture != image.architecture {
            return Err(Ec2Error::invalid(format!(
                "The architecture '{}' of the specified instance type does not match the architecture '{}' of the specified AMI.",
                instance_type.architecture, image.architecture
            )));
        }
        let subnet = match &self.subnet {
            Some(id) => catalog::subnet(id).ok_or_else(|| {
                Ec2Error::new(
                    "InvalidSubnetID.NotFound",
                    format!("The subnet ID '{id}' does not exist"),
                )
            })?,
            None => {
                let zone = self.zone.as_deref().unwrap_or(catalog::ZONES[0]);
                let in_zone = catalog::SUBNETS.iter().find(|s| s.zone == zone);
                in_zone.ok_or_else(|| Ec2Error::invalid(format!("Invalid availability zone: [{zone}]")))?
            }
        };
        for group in &self.security_groups {
            if !group.starts_with("sg-") {
                return Err(Ec2Error::new(
                    "InvalidGroup.NotFound",
                    format!("The security group '{group}' does not exist"),
                ));
            }
        }
        check_user_data(self.user_data.as_deref())?;
        let metadata = self.metadata.unwrap_or(MetadataOptions {
            hops: 1,
            ..MetadataOptions::default()
        });
        for (resource, tags) in &self.tags {
            check_tags(tags)?;
            let for_metadata =
                |key: &&String| !key.chars().all(|c| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c));
            if let Some(key) = tags
                .keys()
                .find(for_metadata)
                .filter(|_| metadata.tags && resource == "instance")
            {
                return Err(Ec2Error::invalid(format!(
                    "'{key}' is not a valid tag key. Tag keys must match pattern ([0-9a-zA-Z\\-_+=,.@:]{{1,255}}), and must not be a reserved name ('.', '..', '_index')"
                )));
            }
        }
        let lifecycle = market.unwrap_or(if self.spot == Some(true) {
            Lifecycle::Spot
        } else {
            Lifecycle::OnDemand
        });
        let mut tags = self.tags;
        Ok(Launch {
            image: image_id,
            instance_type: name,
            subnet,
            lifecycle,
            security_groups: self.security_groups,
            profile: self.profile,
            user_data: self.user_data,
            tags: tags.remove("instance").unwrap_or_default(),
            volume: Volume {
                tags: tags.remove("volume").unwrap_or_default(),
                ..self.volume.unwrap_or_default()
            },
            metadata,
            public_address: self.public_address.unwrap_or(false),
            protected: self.protected.unwrap_or(false),
        })
    }
}

/// A launch that passed its checks.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    image: String,
    /// The type.
    pub instance_type: String,
    /// The subnet.
    pub subnet: &'static Subnet,
    /// Spot or on-demand.
    pub lifecycle: Lifecycle,
    security_groups: Vec<String>,
    profile: Option<String>,
    user_data: Option<String>,
    tags: BTreeMap<String, String>,
    volume: Volume,
    metadata: MetadataOptions,
    public_address: bool,
    protected: bool,
}

impl Launch {
    /// The same launch with another lifecycle.
    #[must_use]
    pub(crate) fn of(mut self, lifecycle: Lifecycle) -> Self {
        self.lifecycle = lifecycle;
        self
    }

    /// Makes one instance; its id.
    pub(crate) fn launch(
        &self,
        world: &mut World,
        now: Timestamp,
        reservation: &str,
        token: &str,
        fleet: Option<&str>,
    ) -> String {
        let id = world.id("i");
        let mut volume = self.volume.clone();
        volume.id = world.id("vol");
        world.launched += 1;
        let host = 4 + world.launched % 250;
        let mut tags = self.tags.clone();
        if let Some(fleet) = fleet {
            tags.insert("aws:ec2:fleet-id".into(), fleet.into());
        }
        let instance = Instance {
            id: id.clone(),
            reservation: reservation.into(),
            instance_type: self.instance_type.clone(),
            image: self.image.clone(),
            subnet: self.subnet.id.into(),
            zone: self.subnet.zone.into(),
            address: format!("{}.{host}", self.subnet.prefix),
            lifecycle: self.lifecycle,
            tags,
            stale_tags: None,
            volume,
            security_groups: self.security_groups.clone(),
            profile: self.profile.clone(),
            user_data: self.user_data.clone(),
            client_token: token.into(),
            fleet: fleet.map(Into::into),
            metadata: self.metadata.clone(),
            public_address: self.public_address,
            protected: self.protected,
            launched: now,
            ended: None,
            notice: None,
            rebalance: None,
        };
        world.instances.insert(id.clone(), instance);
        id
    }
}

/// Tags by kind of resource.
pub(crate) fn tag_specifications(p: &Params) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for specification in p.items("TagSpecification") {
        let tags = specification
            .items("Tag")
            .into_iter()
            .map(|t| (t.owned("Key"), t.owned("Value")));
        all.entry(specification.owned("ResourceType")).or_default().extend(tags);
    }
    all
}

/// The limits of tags.
///
/// # Errors
/// For too many tags, reserved keys, and lengths.
pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), Ec2Error> {
    if tags.len() > TAG_LIMIT {
        return Err(Ec2Error::new(
            "TagLimitExceeded",
            format!("The maximum number of tags for a resource is {TAG_LIMIT}."),
        ));
    }
    for (key, value) in tags {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(Ec2Error::invalid(format!(
                "Tag keys starting with 'aws:' are reserved for internal use: {key}"
            )));
        }
        if key.is_empty() || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(Ec2Error::invalid(format!(
                "Tag '{key}' exceeds the maximum length or is empty"
            )));
        }
    }
    Ok(())
}

fn check_user_data(user_data: Option<&str>) -> Result<(), Ec2Error> {
    let Some(text) = user_data else { return Ok(()) };
    let bytes = BASE64_STANDARD
        .decode(text)
        .map_err(|_| Ec2Error::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."))?;
    if bytes.len() > USER_DATA_LIMIT {
        return Err(Ec2Error::invalid("User data is limited to 16384 bytes"));
    }
    Ok(())
}
