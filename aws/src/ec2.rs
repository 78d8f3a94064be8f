//! The port's requests, each sent once. Pages are followed, and every request is counted.

use crate::fail::fail;
use crate::shape;
use aws_sdk_ec2::types as sdk;
use myelin_engine::cloud::{
    Answer, Calls, Cloud, CloudError, CommandStatus, Completeness, FleetRequest, ImageSource, Instance, InstanceStatus,
    InstanceType, Kind, LaunchSpec, LaunchTemplate, Launched, Lifecycle, Listing, ResolvedImage, SpotPrice, Subnet,
    TagFilter, Tags, TemplateBody,
};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Limit of pages of one list.
const PAGES: u32 = 200;

/// Ids in one DescribeInstanceStatus.
const BY_ID: usize = 100;

/// EC2 and SSM in one region.
#[derive(Debug)]
pub struct Ec2 {
    ec2: aws_sdk_ec2::Client,
    ssm: aws_sdk_ssm::Client,
    calls: Mutex<Calls>,
}

/// Follows the pages of a list. A first page that fails is the error; a later one makes the list partial.
macro_rules! paged {
    ($self:ident, $operation:literal, $request:expr, $items:expr) => {{
        let mut items = Vec::new();
        let (mut token, mut pages): (Option<String>, u32) = (None, 0);
        loop {
            pages += 1;
            $self.count($operation);
            match $request.set_next_token(token.take()).send().await {
                Ok(page) => {
                    items.extend($items(&page));
                    token = page.next_token().filter(|t| !t.is_empty()).map(str::to_owned);
                }
                Err(e) if pages == 1 => return Err(fail($operation, &e)),
                Err(e) => {
                    let completeness = Completeness::Partial(fail($operation, &e).to_string());
                    return Ok(Listing {
                        items,
                        completeness,
                        pages,
                    });
                }
            }
            if token.is_none() {
                return Ok(Listing {
                    items,
                    completeness: Completeness::Complete,
                    pages,
                });
            }
            if pages >= PAGES {
                let completeness = Completeness::Partial(format!("{} has more than {PAGES} pages", $operation));
                return Ok(Listing {
                    items,
                    completeness,
                    pages,
                });
            }
        }
    }};
}

/// Sends one request.
macro_rules! once {
    ($self:ident, $operation:literal, $request:expr) => {{
        $self.count($operation);
        $request.send().await.map_err(|e| fail($operation, &e))
    }};
}

impl Ec2 {
    /// On two clients that do not retry.
    #[must_use]
    pub fn new(ec2: aws_sdk_ec2::Client, ssm: aws_sdk_ssm::Client) -> Self {
        Self {
            ec2,
            ssm,
            calls: Mutex::default(),
        }
    }

    fn count(&self, operation: &'static str) {
        self.calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .count(operation);
    }

    async fn by_id(&self, ids: &[String]) -> Result<Vec<Instance>, CloudError> {
        let found = once!(
            self,
            "DescribeInstances",
            self.ec2.describe_instances().set_instance_ids(Some(ids.to_vec()))
        )?;
        let all = found.reservations().iter().flat_map(|r| r.instances());
        Ok(all.filter_map(shape::instance).collect())
    }

    async fn describe_image(&self, id: &str) -> Result<ResolvedImage, CloudError> {
        let found = once!(self, "DescribeImages", self.ec2.describe_images().image_ids(id))?;
        let Some(image) = found.images().first() else {
            let message = format!("image {id} does not exist here, or is not shared with this account");
            return Err(CloudError::answered("DescribeImages", "InvalidAMIID.NotFound", message));
        };
        let root = image.root_device_name().unwrap_or("/dev/xvda").to_owned();
        let size = image
            .block_device_mappings()
            .iter()
            .find(|m| m.device_name() == Some(&root))
            .and_then(|m| m.ebs()?.volume_size())
            .and_then(|n| u32::try_from(n).ok());
        Ok(ResolvedImage {
            id: id.to_owned(),
            architecture: image.architecture().map(|a| a.as_str().to_owned()).unwrap_or_default(),
            root_device: root,
            root_size: size.unwrap_or(0),
            available: image.state() == Some(&sdk::ImageState::Available),
        })
    }
}

/// Ids that an error calls unknown: `The instance IDs 'i-1, i-2' do not exist`.
fn unknown_ids(message: &str, asked: &[String]) -> BTreeSet<String> {
    asked
        .iter()
        .filter(|id| message.contains(id.as_str()))
        .cloned()
        .collect()
}

impl Cloud for Ec2 {
    fn instances<'a>(&'a self, filters: &'a [TagFilter]) -> Answer<'a, Listing<Instance>> {
        Box::pin(async move {
            paged!(
                self,
                "DescribeInstances",
                self.ec2
                    .describe_instances()
                    .max_results(1000)
                    .set_filters(Some(shape::filters(filters))),
                |page: &aws_sdk_ec2::operation::describe_instances::DescribeInstancesOutput| {
                    let all = page.reservations().iter().flat_map(|r| r.instances());
                    all.filter_map(shape::instance).collect::<Vec<_>>()
                }
            )
        })
    }

    fn instances_by_id<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<Instance>> {
        Box::pin(async move {
            let (mut left, mut pages) = (ids.to_vec(), 0);
            while !left.is_empty() {
                pages += 1;
                match self.by_id(&left).await {
                    Ok(items) => {
                        return Ok(Listing {
                            items,
                            completeness: Completeness::Complete,
                            pages,
                        });
                    }
                    // One unknown id fails the whole request; the error names it.
                    Err(e) if e.kind == Kind::NotFound && pages < PAGES => {
                        let unknown = unknown_ids(&e.message, &left);
                        if unknown.is_empty() {
                            return Err(e);
                        }
                        left.retain(|id| !unknown.contains(id));
                    }
                    Err(e) => return Err(e),
                }
            }
            Ok(Listing {
                items: Vec::new(),
                completeness: Completeness::Complete,
                pages,
            })
        })
    }

    fn statuses<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<InstanceStatus>> {
        Box::pin(async move {
            let mut all = Listing::complete(Vec::new());
            all.pages = 0;
            let mut missing: BTreeSet<&String> = ids.iter().collect();
            // EC2 takes 100 ids in one such request, or shows up to 1000 of the region in one page without ids. Pages
            // are cheaper for a large pool, as long as the region has few other instances.
            let mut token: Option<String> = None;
            while ids.len() > BY_ID && (all.pages as usize) < ids.len() / BY_ID && !missing.is_empty() {
                let request = self
                    .ec2
                    .describe_instance_status()
                    .max_results(1000)
                    .set_next_token(token.take());
                let page = once!(self, "DescribeInstanceStatus", request)?;
                all.pages += 1;
                let found: Vec<InstanceStatus> = page.instance_statuses().iter().filter_map(shape::status).collect();
                all.items.extend(found.into_iter().filter(|s| missing.remove(&s.id)));
                token = page.next_token().filter(|t| !t.is_empty()).map(str::to_owned);
                if token.is_none() {
                    return Ok(all);
                }
            }
            let left: Vec<String> = missing.into_iter().cloned().collect();
            for some in left.chunks(BY_ID) {
                let found = once!(
                    self,
                    "DescribeInstanceStatus",
                    self.ec2
                        .describe_instance_status()
                        .set_instance_ids(Some(some.to_vec()))
                )?;
                all.pages += 1;
                all.items
                    .extend(found.instance_statuses().iter().filter_map(shape::status));
            }
            Ok(all)
        })
    }

    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Listing<InstanceType>> {
        Box::pin(async move {
            let filter = sdk::Filter::builder()
                .name("instance-type")
                .set_values(Some(names.to_vec()))
                .build();
            paged!(
                self,
                "DescribeInstanceTypes",
                self.ec2.describe_instance_types().filters(filter.clone()),
                |page: &aws_sdk_ec2::operation::describe_instance_types::DescribeInstanceTypesOutput| {
                    page.instance_types()
                        .iter()
                        .filter_map(shape::instance_type)
                        .collect::<Vec<_>>()
                }
            )
        })
    }

    fn offerings<'a>(&'a self, types: &'a [String]) -> Answer<'a, Listing<(String, String)>> {
        Box::pin(async move {
            let filter = sdk::Filter::builder()
                .name("instance-type")
                .set_values(Some(types.to_vec()))
                .build();
            paged!(
                self,
                "DescribeInstanceTypeOfferings",
                self.ec2
                    .describe_instance_type_offerings()
                    .location_type(sdk::LocationType::AvailabilityZone)
                    .filters(filter.clone()),
                |page: &aws_sdk_ec2::operation::describe_instance_type_offerings::DescribeInstanceTypeOfferingsOutput| {
                    let pair = |o: &sdk::InstanceTypeOffering| {
                        Some((o.instance_type()?.as_str().to_owned(), o.location()?.to_owned()))
                    };
                    page.instance_type_offerings().iter().filter_map(pair).collect::<Vec<_>>()
                }
            )
        })
    }

    fn subnets<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<Subnet>> {
        Box::pin(async move {
            let found = once!(
                self,
                "DescribeSubnets",
                self.ec2.describe_subnets().set_subnet_ids(Some(ids.to_vec()))
            )?;
            let one = |s: &sdk::Subnet| {
                Some(Subnet {
                    id: s.subnet_id()?.to_owned(),
                    zone: s.availability_zone().unwrap_or_default().to_owned(),
                    free_addresses: s
                        .available_ip_address_count()
                        .and_then(|n| u32::try_from(n).ok())
                        .unwrap_or(0),
                })
            };
            Ok(Listing::complete(found.subnets().iter().filter_map(one).collect()))
        })
    }

    fn image<'a>(&'a self, source: &'a ImageSource) -> Answer<'a, ResolvedImage> {
        Box::pin(async move {
            let id = match source {
                ImageSource::Id(id) => id.clone(),
                ImageSource::Parameter(name) => {
                    let found = once!(self, "GetParameter", self.ssm.get_parameter().name(name))?;
                    let value = found.parameter().and_then(|p| p.value()).unwrap_or_default();
                    if !value.starts_with("ami-") {
                        let message = format!("parameter {name} holds no image id");
                        return Err(CloudError::new("GetParameter", Kind::Invalid, "", message));
                    }
                    value.to_owned()
                }
            };
            self.describe_image(&id).await
        })
    }

    fn spot_prices<'a>(&'a self, types: &'a [String]) -> Answer<'a, Listing<SpotPrice>> {
        Box::pin(async move {
            let types: Vec<sdk::InstanceType> = types.iter().map(|t| sdk::InstanceType::from(t.as_str())).collect();
            let now = aws_sdk_ec2::primitives::DateTime::from(std::time::SystemTime::now());
            paged!(
                self,
                "DescribeSpotPriceHistory",
                self.ec2
                    .describe_spot_price_history()
                    .set_instance_types(Some(types.clone()))
                    .product_descriptions("Linux/UNIX")
                    .start_time(now),
                |page: &aws_sdk_ec2::operation::describe_spot_price_history::DescribeSpotPriceHistoryOutput| {
                    let one = |p: &sdk::SpotPrice| {
                        Some(SpotPrice {
                            instance_type: p.instance_type()?.as_str().to_owned(),
                            zone: p.availability_zone()?.to_owned(),
                            price: p.spot_price()?.to_owned(),
                            at: jiff::Timestamp::from_second(p.timestamp()?.secs()).ok()?,
                        })
                    };
                    page.spot_price_history().iter().filter_map(one).collect::<Vec<_>>()
                }
            )
        })
    }

    fn templates<'a>(&'a self, filters: &'a [TagFilter]) -> Answer<'a, Listing<LaunchTemplate>> {
        Box::pin(async move {
            paged!(
                self,
                "DescribeLaunchTemplates",
                self.ec2
                    .describe_launch_templates()
                    .max_results(200)
                    .set_filters(Some(shape::filters(filters))),
                |page: &aws_sdk_ec2::operation::describe_launch_templates::DescribeLaunchTemplatesOutput| {
                    page.launch_templates()
                        .iter()
                        .filter_map(shape::template)
                        .collect::<Vec<_>>()
                }
            )
        })
    }

    fn create_template<'a>(
        &'a self,
        name: &'a str,
        body: &'a TemplateBody,
        tags: &'a Tags,
        token: &'a str,
    ) -> Answer<'a, LaunchTemplate> {
        Box::pin(async move {
            let request = self
                .ec2
                .create_launch_template()
                .launch_template_name(name)
                .client_token(token)
                .launch_template_data(shape::template_data(body))
                .set_tag_specifications(Some(shape::tag_specifications(
                    tags,
                    &[sdk::ResourceType::LaunchTemplate],
                )));
            let made = once!(self, "CreateLaunchTemplate", request)?;
            let mut template = made.launch_template().and_then(shape::template).ok_or_else(|| {
                CloudError::new(
                    "CreateLaunchTemplate",
                    Kind::Other,
                    "",
                    "the answer holds no launch template",
                )
            })?;
            template.tags.clone_from(tags);
            Ok(template)
        })
    }

    fn create_template_version<'a>(&'a self, id: &'a str, body: &'a TemplateBody, token: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            let request = self
                .ec2
                .create_launch_template_version()
                .launch_template_id(id)
                .client_token(token)
                .launch_template_data(shape::template_data(body));
            let made = once!(self, "CreateLaunchTemplateVersion", request)?;
            let number = made.launch_template_version().and_then(|v| v.version_number());
            number.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| {
                CloudError::new(
                    "CreateLaunchTemplateVersion",
                    Kind::Other,
                    "",
                    "the answer holds no version",
                )
            })
        })
    }

    fn delete_template<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            once!(
                self,
                "DeleteLaunchTemplate",
                self.ec2.delete_launch_template().launch_template_id(id)
            )?;
            Ok(())
        })
    }

    fn create_fleet<'a>(&'a self, request: &'a FleetRequest) -> Answer<'a, Launched> {
        Box::pin(async move {
            let count = i32::try_from(request.count).unwrap_or(i32::MAX);
            let capacity = sdk::TargetCapacitySpecificationRequest::builder().total_target_capacity(count);
            let kinds = [sdk::ResourceType::Instance, sdk::ResourceType::Volume];
            let mut tagged = shape::tag_specifications(&request.tags, &kinds);
            tagged.extend(shape::tag_specifications(
                &request.fleet_tags,
                &[sdk::ResourceType::Fleet],
            ));
            let call = self
                .ec2
                .create_fleet()
                .r#type(sdk::FleetType::Instant)
                .client_token(&request.token)
                .launch_template_configs(shape::fleet_template(request))
                .set_tag_specifications(Some(tagged));
            let call = match request.lifecycle {
                Lifecycle::Spot => call
                    .target_capacity_specification(
                        capacity
                            .default_target_capacity_type(sdk::DefaultTargetCapacityType::Spot)
                            .build(),
                    )
                    .spot_options(
                        sdk::SpotOptionsRequest::builder()
                            .allocation_strategy(sdk::SpotAllocationStrategy::CapacityOptimizedPrioritized)
                            .build(),
                    ),
                Lifecycle::OnDemand => call
                    .target_capacity_specification(
                        capacity
                            .default_target_capacity_type(sdk::DefaultTargetCapacityType::OnDemand)
                            .build(),
                    )
                    .on_demand_options(
                        sdk::OnDemandOptionsRequest::builder()
                            .allocation_strategy(sdk::FleetOnDemandAllocationStrategy::Prioritized)
                            .build(),
                    ),
            };
            let made = once!(self, "CreateFleet", call)?;
            Ok(shape::launched(made.instances(), made.errors(), request.lifecycle))
        })
    }

    fn run_instances<'a>(&'a self, request: &'a LaunchSpec) -> Answer<'a, Launched> {
        Box::pin(async move {
            let count = i32::try_from(request.count).unwrap_or(i32::MAX);
            let template = sdk::LaunchTemplateSpecification::builder()
                .launch_template_id(&request.template)
                .version(request.version.to_string())
                .build();
            let mut call = self
                .ec2
                .run_instances()
                .client_token(&request.token)
                .min_count(count)
                .max_count(count)
                .launch_template(template)
                .instance_type(sdk::InstanceType::from(request.seat.instance_type.as_str()))
                .subnet_id(&request.seat.subnet)
                .set_tag_specifications(Some(shape::tag_specifications(
                    &request.tags,
                    &[sdk::ResourceType::Instance, sdk::ResourceType::Volume],
                )));
            if request.lifecycle == Lifecycle::Spot {
                let spot = sdk::InstanceMarketOptionsRequest::builder()
                    .market_type(sdk::MarketType::Spot)
                    .build();
                call = call.instance_market_options(spot);
            }
            let made = once!(self, "RunInstances", call)?;
            Ok(Launched {
                ids: made
                    .instances()
                    .iter()
                    .filter_map(|i| i.instance_id().map(str::to_owned))
                    .collect(),
                refusals: Vec::new(),
            })
        })
    }

    fn terminate<'a>(&'a self, ids: &'a [String]) -> Answer<'a, ()> {
        Box::pin(async move {
            once!(
                self,
                "TerminateInstances",
                self.ec2.terminate_instances().set_instance_ids(Some(ids.to_vec()))
            )?;
            Ok(())
        })
    }

    fn create_tags<'a>(&'a self, ids: &'a [String], tags: &'a Tags) -> Answer<'a, ()> {
        Box::pin(async move {
            let request = self
                .ec2
                .create_tags()
                .set_resources(Some(ids.to_vec()))
                .set_tags(Some(shape::sdk_tags(tags)));
            once!(self, "CreateTags", request)?;
            Ok(())
        })
    }

    fn delete_tags<'a>(&'a self, ids: &'a [String], keys: &'a [String]) -> Answer<'a, ()> {
        Box::pin(async move {
            let keys = keys.iter().map(|k| sdk::Tag::builder().key(k).build()).collect();
            let request = self
                .ec2
                .delete_tags()
                .set_resources(Some(ids.to_vec()))
                .set_tags(Some(keys));
            once!(self, "DeleteTags", request)?;
            Ok(())
        })
    }

    fn send_command<'a>(&'a self, ids: &'a [String], script: &'a [String], limit: Duration) -> Answer<'a, String> {
        Box::pin(async move {
            let request = self
                .ssm
                .send_command()
                .document_name("AWS-RunShellScript")
                .set_instance_ids(Some(ids.to_vec()))
                .parameters("commands", script.to_vec())
                .parameters("executionTimeout", vec![limit.as_secs().max(1).to_string()]);
            let sent = once!(self, "SendCommand", request)?;
            let id = sent.command().and_then(|c| c.command_id()).map(str::to_owned);
            id.ok_or_else(|| CloudError::new("SendCommand", Kind::Other, "", "the answer holds no command"))
        })
    }

    fn command_status<'a>(&'a self, command: &'a str, id: &'a str) -> Answer<'a, CommandStatus> {
        Box::pin(async move {
            let request = self.ssm.get_command_invocation().command_id(command).instance_id(id);
            let found = once!(self, "GetCommandInvocation", request)?;
            Ok(match found.status_details().unwrap_or_default() {
                "Success" => CommandStatus::Succeeded,
                "Pending" | "InProgress" | "In Progress" | "Delayed" => CommandStatus::Running,
                other => CommandStatus::Failed(other.to_owned()),
            })
        })
    }

    fn calls(&self) -> Calls {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_that_an_error_names_are_left_out_of_the_next_question() {
        let asked = ["i-1a", "i-2b", "i-3c"].map(str::to_owned);
        let found = unknown_ids("The instance IDs 'i-1a, i-3c' do not exist", &asked);
        assert_eq!(found, BTreeSet::from(["i-1a".to_owned(), "i-3c".to_owned()]));
    }
}
