//! A running sandbox: the registry with its controllers, the model cloud, and the servers for both.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::ec2;
use crate::faults::Faults;
use crate::join;
use crate::kubernetes::api::{Api, PodStreams, server, tls};
use crate::kubernetes::controllers::{self, Workloads};
use crate::kubernetes::registry::Registry;
use crate::kubernetes::streams;
use crate::meddling;

/// How a sandbox is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// TCP port on loopback; 0 picks a free one.
    pub port: u16,
    /// TCP port on loopback of EC2, SSM and the metadata services; 0 picks a free one.
    pub aws_port: u16,
    /// How long the steps of an instance's life take.
    pub times: ec2::Times,
    /// How many virtual seconds pass in a real one; 0 stops the clock.
    pub speed: f64,
    /// Whether the controllers, the scheduler and the model kubelet run.
    pub controllers: bool,
    /// How many changes per resource watches can read back.
    pub history: usize,
    /// Seed of everything random in faults.
    pub seed: u64,
    /// Its nodes, its storage, the commands that it knows.
    pub cluster: controllers::Config,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            aws_port: 0,
            times: ec2::Times::default(),
            speed: 1.0,
            controllers: true,
            history: 8192,
            seed: 0,
            cluster: controllers::Config::default(),
        }
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port could not be bound.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port that was asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificates could not be made.
    #[error("cannot make the sandbox's certificates: {0}")]
    Certificates(String),
}

/// A running sandbox. Dropping it stops everything that it started.
#[derive(Debug)]
pub struct Sandbox {
    registry: Arc<Registry>,
    faults: Arc<Faults>,
    url: String,
    token: String,
    authority: String,
    workloads: Option<Workloads>,
    cloud: ec2::Cloud,
    aws: ec2::Endpoint,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Sandbox {
    /// Start a sandbox on the current tokio runtime: it listens when this returns.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let clock = Clock::new(options.speed);
        let cloud = ec2::Cloud::new(clock.clone(), options.times);
        let registry = Arc::new(Registry::new(clock, options.history));
        registry.found();
        let faults = Arc::new(Faults::new(options.seed));
        let certificates = tls::generate().map_err(StartError::Certificates)?;
        let (listener, address) = server::listen(options.port)
            .await
            .map_err(|source| StartError::Listen {
                port: options.port,
                source,
            })?;
        let aws = ec2::serve(cloud.clone(), options.aws_port)
            .await
            .map_err(|source| StartError::Listen {
                port: options.aws_port,
                source,
            })?;
        let token = format!("sandbox-{:032x}", rand::random::<u128>());
        let workloads = options.controllers.then(|| {
            let cluster = controllers::Config {
                root_certificate: certificates.authority.clone(),
                ..options.cluster
            };
            Workloads::new(registry.clone(), cluster)
        });
        let sandbox = Self {
            workloads,
            cloud,
            aws,
            registry: registry.clone(),
            faults: faults.clone(),
            url: format!("https://127.0.0.1:{}", address.port()),
            token: token.clone(),
            authority: certificates.authority,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        let streams = sandbox.streams();
        let api = Arc::new(Api::new(registry.clone(), faults, token, streams));
        sandbox.spawn(server::serve(listener, certificates.server, api));
        sandbox.spawn(meddling::run(registry));
        if let Some(workloads) = &sandbox.workloads {
            sandbox.spawn(workloads.clone().run());
            let cluster = join::Cluster {
                url: sandbox.url.clone(),
                token: sandbox.token.clone(),
                authority: sandbox.authority.clone(),
            };
            sandbox.spawn(join::run(sandbox.cloud.clone(), workloads.clone(), cluster));
        }
        Ok(sandbox)
    }

    /// What answers `pods/log`, `exec` and their like.
    fn streams(&self) -> Option<Arc<dyn PodStreams>> {
        self.workloads.as_ref().map(streams::of)
    }

    /// Run something until it ends or the sandbox stops.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = future => {}
            }
        });
    }

    /// The verbs on its objects, without HTTP.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Its clock.
    pub fn clock(&self) -> &Clock {
        self.registry.clock()
    }

    /// Its fault rules and request log.
    pub fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// Its controllers and kubelets; `None` if it was started without.
    pub fn workloads(&self) -> Option<&Workloads> {
        self.workloads.as_ref()
    }

    /// The model cloud: its state, faults, request log and clock.
    pub fn cloud(&self) -> &ec2::Cloud {
        &self.cloud
    }

    /// Where EC2, SSM and the metadata services listen.
    pub fn aws(&self) -> &ec2::Endpoint {
        &self.aws
    }

    /// The environment in which every AWS tool and SDK talks to this sandbox and to nothing else.
    pub fn aws_environment(&self) -> Vec<(&'static str, String)> {
        self.aws.environment(ec2::ADMINISTRATOR)
    }

    /// The API's base URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The administrator's bearer token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The certificate authority in PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A kubeconfig for the administrator.
    pub fn kubeconfig(&self) -> String {
        tls::kubeconfig(&self.url, &self.authority, &self.token)
    }

    /// Stop everything and wait until it has ended.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
