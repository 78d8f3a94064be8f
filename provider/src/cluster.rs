//! The connection to the cluster that the provider block names: created at the first use and kept for the process.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use myelin_engine::cluster::{Cluster, connect};
use myelin_engine::object::ObjectKey;
use myelin_engine::record::StackId;
use tokio::sync::OnceCell;

use crate::configuration::Configuration;
use crate::diagnostic::{Diagnostic, from_engine};

/// A cluster that may not have been used yet.
#[derive(Default)]
pub struct Access {
    configuration: Configuration,
    connected: OnceCell<Arc<dyn Cluster>>,
    /// Which stack claims which object, among the stacks planned with this configuration.
    claims: Mutex<BTreeMap<ObjectKey, StackId>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.configuration.fmt(f)
    }
}

/// Why no cluster is available.
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
    /// Access to the cluster that the configuration names.
    pub fn new(configuration: Configuration) -> Access {
        Access {
            configuration,
            connected: OnceCell::new(),
            claims: Mutex::default(),
        }
    }

    /// Records which objects a stack claims. Returns those that another stack of the same configuration claims too:
    /// each alone would be right, but if both were applied, they would merge.
    pub fn claim<'k>(
        &self,
        stack: &StackId,
        objects: impl IntoIterator<Item = &'k ObjectKey>,
    ) -> Vec<(ObjectKey, StackId)> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        for key in objects {
            match claims.get(key) {
                Some(other) if other != stack => taken.push((key.clone(), other.clone())),
                Some(_) => {}
                None => {
                    claims.insert(key.clone(), stack.clone());
                }
            }
        }
        taken
    }

    /// The cluster. Sends nothing; success only means that there is an address and a way to authenticate.
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
    let access = match configuration {
        Configuration::Nothing => return Err(Absent::Nothing.error()),
        Configuration::Unknown(names) => return Err(Absent::Unknown(names.clone()).error()),
        Configuration::Kubeconfig { paths, context } => connect::Access::Kubeconfig {
            path: the_file(paths)?,
            context: context.clone(),
            // The user who runs Terraform named this file, so its credential plugin is theirs.
            exec: connect::ExecPlugins::Run,
        },
        Configuration::Direct(direct) => connect::Access::Direct {
            host: direct.host.clone(),
            token: direct.token.clone(),
            ca_pem: direct.ca_certificate.clone(),
            client: direct.client.clone(),
            tls_server_name: None,
            insecure: false,
        },
        Configuration::InCluster => connect::Access::InCluster,
    };
    let cluster = connect::connect(&access)
        .await
        .map_err(|problem| from_engine(&problem, |_| None))?;
    Ok(Arc::new(cluster))
}

/// The one file that exists. Merging several, as kubectl does, would make it hard to say which cluster is meant.
fn the_file(paths: &[PathBuf]) -> Result<PathBuf, Diagnostic> {
    let there: Vec<&PathBuf> = paths.iter().filter(|path| path.exists()).collect();
    let names = |paths: &[&PathBuf]| {
        paths
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match there.as_slice() {
        [one] => Ok((*one).clone()),
        [] => Err(Diagnostic::error(
            "There is no such kubeconfig",
            format!("Named, but not there: {}.", names(&paths.iter().collect::<Vec<_>>())),
        )),
        several => Err(Diagnostic::error(
            "Several kubeconfigs are named",
            format!(
                "KUBECONFIG names {}. Name one of them with `kubeconfig` in the provider block.",
                names(several)
            ),
        )),
    }
}
