//! The way to the cluster that the provider block names: made at the first use, kept for the process.

use std::sync::Arc;

use myelin_engine::cluster::Cluster;
use tokio::sync::OnceCell;

use crate::configuration::Configuration;
use crate::diagnostic::Diagnostic;

/// A cluster that may not have been asked yet.
#[derive(Default)]
pub struct Access {
    configuration: Configuration,
    connected: OnceCell<Arc<dyn Cluster>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.configuration.fmt(f)
    }
}

/// Why there is no cluster to ask.
#[derive(Debug, Clone, PartialEq)]
pub enum Absent {
    /// The provider block depends on values that are not known yet.
    Unknown(Vec<&'static str>),
    /// The provider block and the environment name none.
    Nothing,
    /// What they name cannot be used.
    Unusable(Diagnostic),
}

impl Absent {
    /// The reason, as an error.
    pub fn error(self) -> Diagnostic {
        match self {
            Absent::Unknown(names) => Diagnostic::error(
                "The cluster is not known yet",
                format!(
                    "The provider block's {} depends on what is only known after apply.",
                    names.join(", ")
                ),
            ),
            Absent::Nothing => Diagnostic::error(
                "No cluster is named",
                "Set `kubeconfig`, or `host` with credentials, in the provider block, or the environment variable \
                 KUBE_CONFIG_PATH or KUBECONFIG. No kubeconfig is used that nobody named.",
            ),
            Absent::Unusable(problem) => problem,
        }
    }
}

impl Access {
    /// The way to what that configuration names.
    pub fn new(configuration: Configuration) -> Access {
        Access {
            configuration,
            connected: OnceCell::new(),
        }
    }

    /// The cluster. Sends nothing; an answer only means that there is an address and a way to prove who asks.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn cluster(&self) -> Result<Arc<dyn Cluster>, Absent> {
        match &self.configuration {
            Configuration::Nothing => Err(Absent::Nothing),
            Configuration::Unknown(names) => Err(Absent::Unknown(names.clone())),
            Configuration::Kubeconfig { .. } | Configuration::Direct(_) | Configuration::InCluster => self
                .connected
                .get_or_try_init(|| connect(&self.configuration))
                .await
                .cloned()
                .map_err(Absent::Unusable),
        }
    }
}

async fn connect(configuration: &Configuration) -> Result<Arc<dyn Cluster>, Diagnostic> {
    Err(Diagnostic::error(
        "Connecting to a cluster is not built yet",
        format!("{configuration:?}"),
    ))
}
