//! The port to the cloud: the few requests that a pool of nodes needs, in plain types, and the classes of errors.
//!
//! Nothing here knows pools or an SDK. An implementation sends each request **once** (it follows the pages of a list).
//! Retrying, pacing and choosing belong to the fleet, which alone knows what may be repeated. Every request has its own
//! deadline; a request without an answer is [`Kind::Lost`].

mod error;
mod types;

pub use error::{CloudError, Kind, kind_of};
pub use types::{
    Calls, CommandStatus, Completeness, FleetRequest, ImageSource, Instance, InstanceState, InstanceStatus,
    InstanceType, LaunchRefusal, LaunchSpec, LaunchTemplate, Launched, Lifecycle, Listing, ResolvedImage, Seat,
    SpotPrice, Subnet, TagFilter, Tags, TemplateBody, VolumeSpec,
};

use futures::future::BoxFuture;
use std::time::Duration;

/// A finished or failed request.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, CloudError>>;

/// The requests that a fleet makes.
pub trait Cloud: Send + Sync + 'static {
    /// Instances by their tags. All filters must match; all states (also ended instances while the cloud still lists
    /// them) and all pages are included. If a later page fails, the listing is partial; if the first page fails, that
    /// is the error.
    fn instances<'a>(&'a self, filters: &'a [TagFilter]) -> Answer<'a, Listing<Instance>>;

    /// Instances by id, at most 1000. Ids that the cloud does not know are omitted: the implementation repeats the
    /// request without them.
    fn instances_by_id<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<Instance>>;

    /// Status checks of instances, at most 1000 ids. Those that are not running may be left out.
    fn statuses<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<InstanceStatus>>;

    /// Facts about instance types; those that the region does not have are omitted.
    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Listing<InstanceType>>;

    /// In which zones each of these types is offered: pairs of type and zone.
    fn offerings<'a>(&'a self, types: &'a [String]) -> Answer<'a, Listing<(String, String)>>;

    /// Subnets by id.
    fn subnets<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<Subnet>>;

    /// The image that a source names now: an SSM parameter is read, then the image is described.
    fn image<'a>(&'a self, source: &'a ImageSource) -> Answer<'a, ResolvedImage>;

    /// The last spot price of each type and zone.
    fn spot_prices<'a>(&'a self, types: &'a [String]) -> Answer<'a, Listing<SpotPrice>>;

    /// Launch templates by tags, with their tags and the description of the default version.
    fn templates<'a>(&'a self, filters: &'a [TagFilter]) -> Answer<'a, Listing<LaunchTemplate>>;

    /// Makes a launch template with its first version. A name that exists is [`Kind::Invalid`] with the code
    /// `InvalidLaunchTemplateName.AlreadyExistsException`.
    fn create_template<'a>(
        &'a self,
        name: &'a str,
        body: &'a TemplateBody,
        tags: &'a Tags,
        token: &'a str,
    ) -> Answer<'a, LaunchTemplate>;

    /// Adds a version to a launch template and answers its number.
    fn create_template_version<'a>(&'a self, id: &'a str, body: &'a TemplateBody, token: &'a str) -> Answer<'a, u64>;

    /// Deletes a launch template with all its versions.
    fn delete_template<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// CreateFleet of type instant. Seats that were refused are in the answer beside what was launched; an error means that the
    /// whole request was refused.
    fn create_fleet<'a>(&'a self, request: &'a FleetRequest) -> Answer<'a, Launched>;

    /// RunInstances, for one type in one subnet.
    fn run_instances<'a>(&'a self, request: &'a LaunchSpec) -> Answer<'a, Launched>;

    /// Ends instances, at most 1000. One unknown id refuses all of them ([`Kind::NotFound`]).
    fn terminate<'a>(&'a self, ids: &'a [String]) -> Answer<'a, ()>;

    /// Sets tags on instances, volumes or launch templates, at most 1000.
    fn create_tags<'a>(&'a self, ids: &'a [String], tags: &'a Tags) -> Answer<'a, ()>;

    /// Removes tags by key, whatever their value.
    fn delete_tags<'a>(&'a self, ids: &'a [String], keys: &'a [String]) -> Answer<'a, ()>;

    /// Starts a shell command on instances over SSM (`AWS-RunShellScript`) and answers the command's id.
    fn send_command<'a>(&'a self, ids: &'a [String], script: &'a [String], limit: Duration) -> Answer<'a, String>;

    /// The state of a command on one instance.
    fn command_status<'a>(&'a self, command: &'a str, id: &'a str) -> Answer<'a, CommandStatus>;

    /// Requests sent since this port was created; each page and each retry counts.
    fn calls(&self) -> Calls;
}
