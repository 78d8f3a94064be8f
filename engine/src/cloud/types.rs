//! The vocabulary between the fleet and the cloud: plain values, named as EC2 names them.

use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// Tags: key → value.
pub type Tags = BTreeMap<String, String>;

/// Requests by operation (`DescribeInstances` → 3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calls(pub BTreeMap<&'static str, u64>);

impl Calls {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// What was sent since an earlier count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let counts = self
            .0
            .iter()
            .map(|(op, n)| (*op, n - earlier.0.get(op).copied().unwrap_or(0).min(*n)));
        Self(counts.filter(|(_, n)| *n > 0).collect())
    }

    /// Counts one more.
    pub fn count(&mut self, operation: &'static str) {
        *self.0.entry(operation).or_default() += 1;
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (operation, n)) in self.0.iter().enumerate() {
            write!(f, "{}{n} {operation}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// One tag that has one of some values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagFilter {
    /// Key, without `tag:`.
    pub key: String,
    /// Values of which one has to match exactly; wildcards are escaped by the implementation.
    pub values: Vec<String>,
}

/// Whether a listing is everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completeness {
    /// All pages came.
    Complete,
    /// Some pages did not come, for this reason. What is missing from it may exist.
    Partial(String),
}

/// What a list request found.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing<T> {
    /// What came.
    pub items: Vec<T>,
    /// Whether that is all.
    pub completeness: Completeness,
    /// Requests that it took.
    pub pages: u32,
}

impl<T> Listing<T> {
    /// Everything, in one page.
    #[must_use]
    pub fn complete(items: Vec<T>) -> Self {
        Self {
            items,
            completeness: Completeness::Complete,
            pages: 1,
        }
    }
}

/// How an instance is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifecycle {
    /// May be reclaimed with two minutes of warning or less.
    Spot,
    /// Stays.
    OnDemand,
}

impl Lifecycle {
    /// `spot`, `on-demand`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        }
    }
}

/// Where an instance is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InstanceState {
    /// Starting.
    Pending,
    /// Running.
    Running,
    /// Stopping.
    Stopping,
    /// Stopped.
    Stopped,
    /// Ending.
    ShuttingDown,
    /// Ended; shown for about an hour.
    Terminated,
}

impl InstanceState {
    /// EC2's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::ShuttingDown => "shutting-down",
            Self::Terminated => "terminated",
        }
    }

    /// Whether it has ended or is about to.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::ShuttingDown | Self::Terminated)
    }
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// State.
    pub state: InstanceState,
    /// Why it ended (`StateReason.Code`, `Server.SpotInstanceTermination`); empty while it lives.
    pub state_reason: String,
    /// Type.
    pub instance_type: String,
    /// Image.
    pub image: String,
    /// Subnet; empty once it has ended.
    pub subnet: String,
    /// Availability zone.
    pub zone: String,
    /// Spot or on-demand.
    pub lifecycle: Lifecycle,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// Private IPv4 address.
    pub private_ip: Option<String>,
    /// Public IPv4 address.
    pub public_ip: Option<String>,
    /// Private DNS name.
    pub private_dns: Option<String>,
    /// Tags.
    pub tags: Tags,
}

/// The status checks of a running instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceStatus {
    /// `i-…`.
    pub id: String,
    /// The machine's check: `ok`, `impaired`, `initializing`, `insufficient-data`, `not-applicable`.
    pub system: String,
    /// The instance's check, the same words.
    pub instance: String,
    /// Scheduled events (`instance-retirement`, `system-reboot`), completed ones left out.
    pub events: Vec<String>,
}

/// What is known of an instance type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceType {
    /// `g4dn.xlarge`.
    pub name: String,
    /// `x86_64`, `arm64`: all that it runs.
    pub architectures: Vec<String>,
    /// Whether it comes as spot.
    pub spot: bool,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-…`.
    pub id: String,
    /// Its availability zone.
    pub zone: String,
    /// Free IPv4 addresses.
    pub free_addresses: u32,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// This image.
    Id(String),
    /// What this SSM parameter names.
    Parameter(String),
}

/// An image as it was when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedImage {
    /// `ami-…`.
    pub id: String,
    /// `x86_64`, `arm64`.
    pub architecture: String,
    /// Device of its root volume, `/dev/xvda`.
    pub root_device: String,
    /// Least size of the root volume in GiB; 0 when the image does not say.
    pub root_size: u32,
    /// Whether it is `available`.
    pub available: bool,
}

/// A spot price.
#[derive(Debug, Clone, PartialEq)]
pub struct SpotPrice {
    /// Type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// US dollars per hour, as EC2 writes it.
    pub price: String,
    /// Since when.
    pub at: Timestamp,
}

/// The root volume of new instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSpec {
    /// Device, from the image.
    pub device: String,
    /// GiB.
    pub size: u32,
    /// `gp3`, `gp2`, `io1`, `io2`.
    pub kind: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Key; the account's default when None.
    pub kms_key: Option<String>,
}

/// What every instance of a generation has in common. The implementation adds: tokens of the metadata service required
/// (IMDSv2), delete on termination, terminate on shutdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateBody {
    /// `ami-…`.
    pub image: String,
    /// Name or ARN of the instance profile.
    pub instance_profile: Option<String>,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// User data, as the instance shall read it (not base64).
    pub user_data: Option<Vec<u8>>,
    /// Root volume.
    pub root_volume: VolumeSpec,
    /// Whether an instance can read its tags from its metadata service.
    pub metadata_tags: bool,
    /// Hop limit of the metadata service.
    pub metadata_hops: u8,
    /// Whether nodes get public addresses. A network interface in the template carries it, with the security groups.
    pub public_address: bool,
    /// Tags of instances and volumes that all nodes of the generation share.
    pub tags: Tags,
}

/// A launch template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchTemplate {
    /// `lt-…`.
    pub id: String,
    /// Name.
    pub name: String,
    /// Number of the latest version.
    pub latest_version: u64,
    /// Tags of the template itself.
    pub tags: Tags,
    /// When it was made.
    pub created_at: Timestamp,
}

/// A type in a subnet: one override of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    /// Type.
    pub instance_type: String,
    /// Subnet.
    pub subnet: String,
}

/// One CreateFleet of type instant, of one lifecycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetRequest {
    /// Client token, at most 64 ASCII characters.
    pub token: String,
    /// Launch template.
    pub template: String,
    /// Its version.
    pub version: u64,
    /// Spot or on-demand.
    pub lifecycle: Lifecycle,
    /// Instances wanted. Fewer are no error.
    pub count: u32,
    /// Where, the preferred first: spot by `capacity-optimized-prioritized`, on-demand by `prioritized`.
    pub seats: Vec<Seat>,
    /// Tags of instances and volumes, over those of the template.
    pub tags: Tags,
    /// Tags of the fleet object.
    pub fleet_tags: Tags,
}

/// One RunInstances through a launch template, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchSpec {
    /// Client token, at most 64 ASCII characters.
    pub token: String,
    /// Launch template.
    pub template: String,
    /// Its version.
    pub version: u64,
    /// Spot or on-demand.
    pub lifecycle: Lifecycle,
    /// Instances wanted: both MinCount and MaxCount.
    pub count: u32,
    /// Where.
    pub seat: Seat,
    /// Tags of instances and volumes, over those of the template.
    pub tags: Tags,
}

/// What a launch gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launched {
    /// Ids of the instances.
    pub ids: Vec<String>,
    /// What was refused, and where.
    pub refusals: Vec<LaunchRefusal>,
}

/// One refused seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchRefusal {
    /// Type; empty when the cloud does not say.
    pub instance_type: String,
    /// Subnet; empty when the cloud does not say.
    pub subnet: String,
    /// Zone; empty when the cloud does not say.
    pub zone: String,
    /// Spot or on-demand.
    pub lifecycle: Lifecycle,
    /// Error code.
    pub code: String,
    /// The cloud's message.
    pub message: String,
}

/// Where a command on an instance is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandStatus {
    /// Not finished.
    Running,
    /// Ended with 0.
    Succeeded,
    /// Ended otherwise, or never arrived.
    Failed(String),
}
