//! Which cluster to use: flags first, then the variables that kubectl reads, and never a kubeconfig that was not named.

use anyhow::bail;
use clap::Args;
use myelin_engine::cluster::Cluster;
use myelin_engine::cluster::connect::{Access, ExecPlugins, ServiceAccount, connect_as};
use myelin_engine::diagnostic::Diagnostics;
use std::path::PathBuf;
use std::sync::Arc;

/// Flags that name a cluster.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClusterArguments {
    /// Kubeconfig file.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE", global = true)]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one if not given.
    #[arg(long, value_name = "NAME", global = true)]
    context: Option<String>,
    /// Use the service account of the pod that this runs in.
    #[arg(long, conflicts_with_all = ["kubeconfig", "context"], global = true)]
    in_cluster: bool,
}

impl ClusterArguments {
    /// Whether a cluster is named.
    pub(crate) fn is_given(&self) -> bool {
        self.in_cluster || self.kubeconfig.is_some()
    }

    /// Connects. Sends nothing.
    ///
    /// # Errors
    /// When no cluster is named, or what is named cannot be used.
    pub(crate) async fn connect(&self) -> anyhow::Result<Arc<dyn Cluster>> {
        self.connect_as(None).await
    }

    /// Connects as a service account. Sends nothing.
    ///
    /// # Errors
    /// As [`ClusterArguments::connect`].
    pub(crate) async fn connect_as(&self, account: Option<&ServiceAccount>) -> anyhow::Result<Arc<dyn Cluster>> {
        let access = if self.in_cluster {
            Access::InCluster
        } else {
            let Some(path) = &self.kubeconfig else {
                bail!("no cluster is named: pass --kubeconfig FILE or --in-cluster, or set KUBECONFIG");
            };
            if !path.exists() {
                bail!(
                    "there is no kubeconfig {} (one file; lists are not merged)",
                    path.display()
                );
            }
            Access::Kubeconfig {
                path: path.clone(),
                context: self.context.clone(),
                // The user who runs this named the file, so its credential plugin is theirs.
                exec: ExecPlugins::Run,
            }
        };
        let cluster = connect_as(&access, account).await.map_err(Diagnostics::from)?;
        Ok(Arc::new(cluster))
    }
}
