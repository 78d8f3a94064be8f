//! Settings and environment → clients. Region, credentials and endpoints are found as by every AWS tool; the SDK's own
//! retries are off.

use crate::ec2::Ec2;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_sdk_ec2::config::SharedCredentialsProvider;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::config::timeout::TimeoutConfig;
use std::time::Duration;

/// Time limit of one request. CreateFleet of many instances takes several seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// Time limit of a connection attempt.
const CONNECT: Duration = Duration::from_secs(10);

/// What the user chose; the rest comes from the environment, the shared configuration files or the instance's role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Region.
    pub region: Option<String>,
    /// Profile of the shared configuration files.
    pub profile: Option<String>,
    /// Endpoint for both services, for tests against something else than AWS.
    pub endpoint: Option<String>,
    /// A role to assume with the credentials that were found.
    pub assume_role: Option<AssumeRole>,
}

/// A role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AssumeRole {
    /// Its ARN.
    pub arn: String,
    /// Name of the session; `myelin` when None.
    pub session: Option<String>,
    /// External id that its trust asks for.
    pub external_id: Option<String>,
}

/// Why there are no clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// No region anywhere.
    #[error("no AWS region is configured: set it in the provider, or in AWS_REGION, or in the profile")]
    NoRegion,
}

/// Creates the port. Sends only the requests that finding a region and credentials may need.
///
/// # Errors
/// When no region is configured.
pub async fn connect(settings: &Settings) -> Result<Ec2, ConnectError> {
    connect_with(settings, aws_config::defaults(BehaviorVersion::latest())).await
}

/// The same with an explicit loader, for example with credentials from elsewhere.
///
/// # Errors
/// When no region is configured.
pub async fn connect_with(settings: &Settings, loader: ConfigLoader) -> Result<Ec2, ConnectError> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_timeout(DEADLINE)
        .build();
    let mut loader = loader
        // The fleet retries, because it alone knows what may be repeated; the SDK would retry a refusal for lack of
        // capacity.
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts);
    if let Some(region) = &settings.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &settings.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &settings.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let mut config = loader.load().await;
    if config.region().is_none() {
        return Err(ConnectError::NoRegion);
    }
    if let Some(role) = &settings.assume_role {
        let mut provider = aws_config::sts::AssumeRoleProvider::builder(&role.arn)
            .session_name(role.session.as_deref().unwrap_or("myelin"))
            .configure(&config);
        if let Some(id) = &role.external_id {
            provider = provider.external_id(id);
        }
        let credentials = SharedCredentialsProvider::new(provider.build().await);
        config = config.into_builder().credentials_provider(credentials).build();
    }
    Ok(Ec2::new(
        aws_sdk_ec2::Client::new(&config),
        aws_sdk_ssm::Client::new(&config),
    ))
}
