//! A cluster to apply to: the sandbox on loopback, in this process, with its faults at hand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use myelin_sandbox::faults::{Effect, Rule};
use myelin_sandbox::kubernetes::controllers::Config;
use myelin_sandbox::kubernetes::kubelet::exec::Canned;
use myelin_sandbox::kubernetes::registry::{Actor, Registry};
use myelin_sandbox::{Options, Sandbox};
use serde_json::Value as Json;
use tokio::runtime::Runtime;

/// A running sandbox.
pub(crate) struct Cluster {
    // Declared, and so dropped, before the runtime that it runs on.
    sandbox: Sandbox,
    runtime: Runtime,
    folder: tempfile::TempDir,
}

impl Cluster {
    pub(crate) fn start() -> Cluster {
        Cluster::with_commands(Vec::new())
    }

    /// A cluster in whose pods these commands are known.
    pub(crate) fn with_commands(commands: Vec<Canned>) -> Cluster {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let sandbox = runtime
            .block_on(Sandbox::start(Options {
                speed: 20.0,
                cluster: Config {
                    commands,
                    ..Config::default()
                },
                ..Options::default()
            }))
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubeconfig"), sandbox.kubeconfig()).unwrap();
        Cluster {
            sandbox,
            runtime,
            folder,
        }
    }

    /// The model cloud beside it.
    pub(crate) fn cloud(&self) -> &myelin_sandbox::ec2::Cloud {
        self.sandbox.cloud()
    }

    /// The environment that reaches the model cloud.
    pub(crate) fn aws_environment(&self) -> Vec<(&'static str, String)> {
        self.sandbox.aws_environment()
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// Another kubeconfig, which gets its token from a program.
    pub(crate) fn kubeconfig_with_program(&self, program: &str) {
        let script = self.folder.path().join("credentials");
        std::fs::write(&script, program.replace("TOKEN", self.sandbox.token())).unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let token = format!("token: {}", self.sandbox.token());
        let exec = format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, interactiveMode: Never, command: {script:?}}}"
        );
        let text = self.sandbox.kubeconfig();
        assert!(text.contains(&token), "{text}");
        std::fs::write(self.kubeconfig(), text.replace(&token, &exec)).unwrap();
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        self.sandbox.registry()
    }

    /// An object as it is, if it is there.
    pub(crate) fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<Json> {
        self.registry()
            .find(resource, namespace, name)
            .map(|object| object.value().clone())
    }

    /// The UIDs of all objects of these resources in a namespace, by resource and name.
    pub(crate) fn uids(&self, resources: &[&str], namespace: &str) -> Vec<(String, String)> {
        let mut uids = Vec::new();
        for resource in resources {
            for object in self.registry().list(resource, Some(namespace), None).unwrap() {
                uids.push((format!("{resource}/{}", object.name()), object.uid().to_owned()));
            }
        }
        uids.sort();
        uids
    }

    /// Somebody else changes an object by hand.
    pub(crate) fn edit(&self, resource: &str, namespace: &str, name: &str, change: impl Fn(&mut Json)) {
        let somebody = Actor::admin("kubectl-edit");
        self.registry()
            .modify(&somebody, resource, namespace, name, |object| change(object))
            .unwrap();
    }

    /// Adds a fault; gives its name.
    pub(crate) fn fault(&self, rule: Rule) -> String {
        self.sandbox.faults().add(rule)
    }

    /// Holds the request of these verbs after that many others, before or after it takes effect; gives the fault's name.
    pub(crate) fn hold(&self, verbs: &[&str], after: u64, effect: Effect) -> String {
        self.fault(Rule {
            verbs: verbs.iter().map(ToString::to_string).collect(),
            skip: after,
            times: 1,
            effect,
            ..Rule::default()
        })
    }

    /// Waits until a fault has met a request.
    pub(crate) fn wait_for(&self, fault: &str, limit: Duration) -> bool {
        let met = self.sandbox.faults().met(fault, 1);
        self.runtime
            .block_on(async { tokio::time::timeout(limit, met).await.unwrap_or(false) })
    }

    /// The same, until something else has happened.
    pub(crate) fn wait_for_or(&self, fault: &str, limit: Duration, ended: impl Fn() -> bool) -> bool {
        let deadline = std::time::Instant::now() + limit;
        while std::time::Instant::now() < deadline {
            if self.wait_for(fault, Duration::from_millis(20)) {
                return true;
            }
            if ended() {
                return self.wait_for(fault, Duration::ZERO);
            }
        }
        false
    }

    pub(crate) fn without_faults(&self) {
        self.sandbox.faults().clear();
    }

    /// How many requests there have been.
    pub(crate) fn sequence(&self) -> u64 {
        self.sandbox.faults().sequence()
    }

    /// Requests since then, as `verb path`.
    pub(crate) fn requests(&self, since: u64) -> Vec<String> {
        let log = self.sandbox.faults().log(since);
        log.into_iter()
            .map(|request| format!("{} {}", request.verb, request.path))
            .collect()
    }
}
