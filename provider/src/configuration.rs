//! The provider block: which cluster, and how to authenticate.
//!
//! Nothing is dialled or read here, and unknown values are not errors: a plan may come before the cluster exists.
//! Nothing is guessed either: an unnamed kubeconfig and the service account of the pod that runs Terraform are never
//! used. Exec credential plugins run only if the named kubeconfig has them.

use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::schema::{Attribute, Rule, Schema};
use crate::value::{Path, Type, Value};

/// The variables that may name a kubeconfig, in order.
const VARIABLES: [&str; 2] = ["KUBE_CONFIG_PATH", "KUBECONFIG"];

/// What the environment of the provider names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    kubeconfig: Option<String>,
}

impl Environment {
    /// Reads it.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Environment {
        let kubeconfig = VARIABLES
            .iter()
            .find_map(|name| variable(name).filter(|value| !value.is_empty()));
        Environment { kubeconfig }
    }
}

/// Which cluster, and how.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Configuration {
    /// No cluster is named.
    #[default]
    Nothing,
    /// These attributes are not known yet, so neither is the cluster.
    Unknown(Vec<&'static str>),
    /// Kubeconfig files, exactly one of which must exist, and the context to use.
    Kubeconfig {
        /// The files.
        paths: Vec<PathBuf>,
        /// The context; the one that the file names as current, when absent.
        context: Option<String>,
    },
    /// Everything said in the block itself.
    Direct(Direct),
    /// The service account of the pod that runs Terraform, because the block asks for it.
    InCluster,
}

/// A cluster that the block itself describes.
#[derive(Clone, PartialEq)]
pub struct Direct {
    /// URL of the API server.
    pub host: String,
    /// Bearer token.
    pub token: Option<String>,
    /// Certificates, in PEM, that sign the server's; the system's roots when absent.
    pub ca_certificate: Option<String>,
    /// Client certificate and its key, in PEM.
    pub client: Option<(String, String)>,
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Direct")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// What the provider block may say.
pub fn schema() -> Schema {
    let text = |name, description| Attribute::optional(name, Type::String, description).rule(Rule::NotEmpty);
    Schema {
        version: 0,
        description: "Deploys phased stacks to Kubernetes: objects in components that start in order, each only when \
                      those it needs are ready; and pools of workers to EC2.\n\nThe cluster is named in exactly one way: by a kubeconfig, by `host` \
                      and credentials, or by `in_cluster`. If the block names none, the environment variable \
                      `KUBE_CONFIG_PATH` or else `KUBECONFIG` may name a kubeconfig. Nothing else is ever tried: not \
                      `~/.kube/config`, and not the service account of the pod that runs Terraform. All attributes may \
                      be unknown while planning, so a cluster and its stacks can be created in one apply.",
        attributes: vec![
            text(
                "kubeconfig",
                "Path of a kubeconfig file. Exec credential plugins run if this file names them.",
            )
            .rule(Rule::ConflictsWith("host"))
            .rule(Rule::ConflictsWith("in_cluster")),
            text(
                "context",
                "Context of the kubeconfig. Default: the one it names as current.",
            )
            .rule(Rule::ConflictsWith("host")),
            text("host", "URL of the API server, such as `https://10.0.0.1:6443`.")
                .rule(Rule::ConflictsWith("in_cluster")),
            text("token", "Bearer token for `host`.")
                .sensitive()
                .rule(Rule::Needs("host")),
            text(
                "ca_certificate",
                "CA certificates, in PEM, that verify the API server's certificate. Default: the system's roots.",
            )
            .rule(Rule::Needs("host")),
            text("client_certificate", "Client certificate for `host`, in PEM.")
                .rule(Rule::Needs("host"))
                .rule(Rule::Needs("client_key")),
            text("client_key", "Key of the client certificate, in PEM.")
                .sensitive()
                .rule(Rule::Needs("client_certificate")),
            Attribute::optional(
                "in_cluster",
                Type::Bool,
                "Use the service account of the pod that runs Terraform. It is used only if this is set, because a \
                 runner in a cluster is rarely meant to change its own cluster.",
            ),
            crate::cloud::attribute(),
        ],
    }
}

impl Configuration {
    /// Combines the block and the environment. Never fails: [`Configuration::check`] reports problems.
    pub fn new(config: &Value, environment: &Environment) -> Configuration {
        let names = [
            "kubeconfig",
            "context",
            "host",
            "token",
            "ca_certificate",
            "client_certificate",
            "client_key",
        ];
        let unknown: Vec<&'static str> = names
            .into_iter()
            .chain(["in_cluster"])
            .filter(|name| config.attribute(name).is_unknown())
            .collect();
        if !unknown.is_empty() {
            return Configuration::Unknown(unknown);
        }
        let text = |name: &str| config.attribute(name).as_str().map(str::to_owned);
        if config.attribute("in_cluster").as_bool() == Some(true) {
            return Configuration::InCluster;
        }
        if let Some(host) = text("host") {
            return Configuration::Direct(Direct {
                host,
                token: text("token"),
                ca_certificate: text("ca_certificate"),
                client: text("client_certificate").zip(text("client_key")),
            });
        }
        let paths = match (text("kubeconfig"), &environment.kubeconfig) {
            (Some(path), _) => vec![PathBuf::from(path)],
            (None, Some(paths)) => std::env::split_paths(paths)
                .filter(|path| !path.as_os_str().is_empty())
                .collect(),
            (None, None) => return Configuration::Nothing,
        };
        Configuration::Kubeconfig {
            paths,
            context: text("context"),
        }
    }

    /// Problems of the block that the rules of single attributes do not find.
    pub fn check(config: &Value) -> Diagnostics {
        let mut problems = Diagnostics::default();
        if let Some(host) = config.attribute("host").as_str()
            && !(host.starts_with("https://") || host.starts_with("http://"))
        {
            let example = if host.contains("://") { "10.0.0.1:6443" } else { host };
            problems.push(
                Diagnostic::error(
                    "Invalid host",
                    format!("{host:?} is no http or https URL: write for example https://{example}"),
                )
                .at(Path::attribute("host")),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(set: &[(&'static str, Value)]) -> Value {
        let mut all: std::collections::BTreeMap<String, Value> = schema()
            .attributes
            .iter()
            .map(|attribute| (attribute.name.to_owned(), Value::Null))
            .collect();
        all.extend(set.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Value::Map(all)
    }

    #[test]
    fn nothing_is_guessed() {
        let nowhere = Environment::default();
        assert_eq!(Configuration::new(&block(&[]), &nowhere), Configuration::Nothing);
        let in_pod = Environment::read(|name| (name == "KUBERNETES_SERVICE_HOST").then(|| "10.0.0.1".to_owned()));
        assert_eq!(Configuration::new(&block(&[]), &in_pod), Configuration::Nothing);
        assert_eq!(
            Configuration::new(&block(&[("in_cluster", Value::Bool(false))]), &in_pod),
            Configuration::Nothing
        );
    }

    #[test]
    fn the_block_wins_over_the_environment_and_the_first_variable_over_the_second() {
        let variable = |name: &str| match name {
            "KUBECONFIG" => Some("/a:/b".to_owned()),
            _ => None,
        };
        let paths = |config: &Value, environment: &Environment| match Configuration::new(config, environment) {
            Configuration::Kubeconfig { paths, .. } => paths,
            other => panic!("{other:?}"),
        };
        let environment = Environment::read(variable);
        assert_eq!(
            paths(&block(&[]), &environment),
            [PathBuf::from("/a"), PathBuf::from("/b")]
        );
        assert_eq!(
            paths(&block(&[("kubeconfig", Value::string("/c"))]), &environment),
            [PathBuf::from("/c")]
        );
        let both = Environment::read(|name| {
            if name == "KUBE_CONFIG_PATH" {
                Some("/d".into())
            } else {
                variable(name)
            }
        });
        assert_eq!(paths(&block(&[]), &both), [PathBuf::from("/d")]);
    }

    #[test]
    fn what_is_unknown_makes_the_cluster_unknown_and_nothing_else() {
        let config = block(&[("host", Value::UNKNOWN), ("token", Value::UNKNOWN)]);
        assert_eq!(
            Configuration::new(&config, &Environment::read(|_| Some("/a".to_owned()))),
            Configuration::Unknown(vec!["host", "token"])
        );
    }

    #[test]
    fn a_secret_is_not_printed() {
        let config = block(&[
            ("host", Value::string("https://x")),
            ("token", Value::string("hunter2")),
        ]);
        let printed = format!("{:?}", Configuration::new(&config, &Environment::default()));
        assert!(
            printed.contains("https://x") && !printed.contains("hunter2"),
            "{printed}"
        );
    }
}
