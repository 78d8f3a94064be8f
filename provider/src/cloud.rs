//! The connection to EC2: created at the first use and kept for the process. Configuring the provider sends nothing.

use std::sync::Arc;

use myelin_aws::{AssumeRole, Settings, connect};
use myelin_engine::clock::SystemClock;
use myelin_engine::cloud::Cloud;
use myelin_engine::cluster::Cluster;
use myelin_engine::fleet::{Cooling, Pace, Ports};
use tokio::sync::OnceCell;

use crate::diagnostic::Diagnostic;
use crate::schema::{Attribute, Nesting, Rule};
use crate::value::{Type, Value};

/// What `aws` in the provider block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AwsConfiguration {
    /// Part of it is known only after apply.
    Unknown,
    /// All of it; what it omits comes from the environment, as for every AWS tool.
    Known(Settings),
}

impl Default for AwsConfiguration {
    fn default() -> AwsConfiguration {
        AwsConfiguration::Known(Settings::default())
    }
}

impl AwsConfiguration {
    /// Reads the provider block. Never fails: errors appear when it is used.
    pub fn new(config: &Value) -> AwsConfiguration {
        let aws = config.attribute("aws");
        if !aws.is_wholly_known() {
            return AwsConfiguration::Unknown;
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let role = aws.attribute("assume_role");
        AwsConfiguration::Known(Settings {
            region: text(aws.attribute("region")),
            profile: text(aws.attribute("profile")),
            endpoint: text(aws.attribute("endpoint")),
            assume_role: text(role.attribute("role_arn")).map(|arn| AssumeRole {
                arn,
                session: text(role.attribute("session_name")),
                external_id: text(role.attribute("external_id")),
            }),
        })
    }
}

/// The attribute `aws` of the provider block.
pub(crate) fn attribute() -> Attribute {
    let text = |name, description| Attribute::optional(name, Type::String, description).rule(Rule::NotEmpty);
    Attribute::nested(
        "aws",
        Nesting::Single,
        vec![
            text("region", "Region. Default: `AWS_REGION`, or what the profile says."),
            text("profile", "Profile of the shared configuration files."),
            text(
                "endpoint",
                "Endpoint of EC2, SSM and STS, for tests without AWS. Default: `AWS_ENDPOINT_URL`, or AWS.",
            ),
            Attribute::nested(
                "assume_role",
                Nesting::Single,
                vec![
                    Attribute::required("role_arn", Type::String, "ARN of the role.").rule(Rule::NotEmpty),
                    text("session_name", "Name of the session. Default `myelin`."),
                    text("external_id", "External id that the role's trust policy requires."),
                ],
                "A role to assume with the credentials that were found.",
            ),
        ],
        "Access to AWS for node pools. Credentials are found as by every AWS tool (environment, profile, web \
         identity, instance role), at the first use and not before: a configuration without node pools needs none.",
    )
}

/// A cloud that may not have been used yet.
#[derive(Default)]
pub struct CloudAccess {
    configuration: AwsConfiguration,
    connected: OnceCell<Arc<dyn Cloud>>,
    cooling: Arc<Cooling>,
    pace: Arc<Pace>,
}

impl std::fmt::Debug for CloudAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.configuration.fmt(f)
    }
}

/// Why no cloud is available.
#[derive(Debug, Clone, PartialEq)]
pub enum NoCloud {
    /// The provider block depends on values that are not known yet.
    Unknown,
    /// What is configured cannot be used.
    Unusable(String),
}

impl NoCloud {
    /// The reason, as an error.
    pub fn error(self) -> Diagnostic {
        match self {
            NoCloud::Unknown => Diagnostic::error(
                "The AWS account is not known yet",
                "The provider block's aws depends on what is only known after apply.",
            ),
            NoCloud::Unusable(why) => Diagnostic::error("EC2 cannot be reached", format!("{why}.")),
        }
    }
}

impl CloudAccess {
    /// Access to the cloud that the configuration names.
    pub fn new(configuration: AwsConfiguration) -> CloudAccess {
        CloudAccess {
            configuration,
            ..CloudAccess::default()
        }
    }

    /// The ports of a fleet, with the cluster that its nodes belong to.
    ///
    /// # Errors
    /// Why there is no cloud.
    pub async fn ports(&self, cluster: Option<Arc<dyn Cluster>>) -> Result<Ports, NoCloud> {
        let AwsConfiguration::Known(settings) = &self.configuration else {
            return Err(NoCloud::Unknown);
        };
        let cloud = self
            .connected
            .get_or_try_init(|| async {
                let found = connect(settings).await;
                found
                    .map(|ec2| Arc::new(ec2) as Arc<dyn Cloud>)
                    .map_err(|why| NoCloud::Unusable(why.to_string()))
            })
            .await?;
        Ok(Ports {
            cloud: Arc::clone(cloud),
            cluster,
            clock: Arc::new(SystemClock),
        })
    }

    /// Offerings that were refused recently, for all pools of the process.
    pub fn cooling(&self) -> Arc<Cooling> {
        Arc::clone(&self.cooling)
    }

    /// The account's request rates, for all pools of the process.
    pub fn pace(&self) -> Arc<Pace> {
        Arc::clone(&self.pace)
    }
}
