//! The setting for whole applies: a sandbox on loopback behind real HTTPS, and the engine from manifests to outcome.

use myelin_engine::apply::{Destroy, Outcome, Progress, Run, apply, destroy};
use myelin_engine::cluster::connect::{Access, connect};
use myelin_engine::cluster::{Cluster, Mode, Precondition, Propagation, Selection, Target, kinds};
use myelin_engine::desired::{Variables, desired};
use myelin_engine::diagnostic::Diagnostics;
use myelin_engine::document::stack_from_value;
use myelin_engine::gate::{Patience, Settings};
use myelin_engine::observe::{DryRun, observe};
use myelin_engine::plan::{Plan, plan};
use myelin_engine::record::{Owner, StackId};
use myelin_engine::render::{Options, render};
use myelin_engine::tree::{Entry, Tree, TreeLimits};
use myelin_sandbox::Sandbox;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) const NAMESPACE: &str = "shop";

/// A sandbox and a connection to it.
pub(crate) struct Stage {
    pub(crate) sandbox: Sandbox,
    pub(crate) cluster: Arc<dyn Cluster>,
    pub(crate) progress: Arc<Mutex<Vec<Progress>>>,
    pub(crate) run: Run,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let options = myelin_sandbox::Options {
            speed: 10.0,
            ..myelin_sandbox::Options::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let access = Access::Direct {
            host: sandbox.url().to_owned(),
            token: Some(sandbox.token().to_owned()),
            ca_pem: Some(sandbox.authority().to_owned()),
            client: None,
            tls_server_name: None,
            insecure: false,
        };
        let cluster = connect(&access).await.map_err(|e| e.to_string()).unwrap();
        let progress: Arc<Mutex<Vec<Progress>>> = Arc::default();
        let told = Arc::clone(&progress);
        let run = Run {
            progress: Arc::new(move |step| told.lock().unwrap().push(step)),
            // The sandbox lives ten times as fast.
            settings: Settings {
                unprobed_uptime: Duration::from_millis(700),
                steady_uptime: Duration::from_millis(700),
                crash_grace: Duration::from_millis(1_200),
                ..Settings::default()
            },
            patience: Patience {
                itself: Duration::from_millis(1_500),
                others: Duration::from_secs(3),
            },
            ..Run::default()
        };
        Self {
            sandbox,
            cluster: Arc::new(cluster),
            progress,
            run,
        }
    }

    /// Plans a stack `app` from its components and manifests (file, YAML).
    pub(crate) async fn plan(&self, components: &Value, files: &[(&str, &str)]) -> Plan {
        self.try_plan(components, files)
            .await
            .map_err(|e| format!("{e:?}"))
            .unwrap()
    }

    pub(crate) async fn try_plan(&self, components: &Value, files: &[(&str, &str)]) -> Result<Plan, Diagnostics> {
        let document = json!({"apiVersion": "myelin.dev/v1alpha1", "kind": "Stack", "metadata": {"name": "app"},
            "spec": {"namespace": NAMESPACE, "source": ".", "components": components, "timeout": "60s"}});
        let stack = stack_from_value(document, &|_| None)?;
        let entries = files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Entry::File(Arc::from(text.as_bytes()))));
        let tree = Tree::from_entries(entries, TreeLimits::default()).unwrap();
        let rendered = render(&tree, "", &Options::default())?;
        let desired = desired(&stack, &Variables::default(), rendered, &|file| tree.text(file))?;
        let observation = observe(&*self.cluster, &desired, DryRun::Decisions).await?;
        Ok(plan(Arc::new(desired), Arc::new(observation), Owner::Terraform))
    }

    /// Plans and applies.
    pub(crate) async fn apply(&self, components: &Value, files: &[(&str, &str)]) -> Outcome {
        let plan = self.plan(components, files).await;
        apply(Arc::clone(&self.cluster), &plan, &self.run).await
    }

    pub(crate) async fn destroy(&self) -> Outcome {
        let terms = Destroy {
            delete_protected: BTreeSet::new(),
            timeout: Duration::from_secs(60),
        };
        let stack = StackId {
            namespace: NAMESPACE.to_owned(),
            name: "app".to_owned(),
        };
        destroy(Arc::clone(&self.cluster), &stack, &Owner::Terraform, &terms, &self.run).await
    }

    fn target(kind: (&str, &str), name: &str) -> Target {
        Target {
            resource: kinds::known(kind.0, kind.1),
            namespace: NAMESPACE.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) async fn get(&self, kind: (&str, &str), name: &str) -> Option<Value> {
        self.cluster.get(&Self::target(kind, name)).await.unwrap()
    }

    pub(crate) async fn uid(&self, kind: (&str, &str), name: &str) -> Option<String> {
        let object = self.get(kind, name).await?;
        Some(object["metadata"]["uid"].as_str().unwrap().to_owned())
    }

    pub(crate) async fn create(&self, object: &Value) -> Value {
        let api_version = object["apiVersion"].as_str().unwrap();
        let kind = object["kind"].as_str().unwrap();
        let target = Self::target((api_version, kind), object["metadata"]["name"].as_str().unwrap());
        self.cluster.create(&target, object, Mode::Real).await.unwrap()
    }

    pub(crate) async fn delete(&self, kind: (&str, &str), name: &str) {
        let uid = self.uid(kind, name).await.unwrap();
        let precondition = Precondition {
            uid,
            resource_version: None,
        };
        let target = Self::target(kind, name);
        let propagation = Propagation::Background;
        self.cluster
            .delete(&target, &precondition, propagation, Mode::Real)
            .await
            .unwrap();
        while self.get(kind, name).await.is_some() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn names(&self, kind: (&str, &str)) -> Vec<String> {
        let selection = Selection {
            namespace: Some(NAMESPACE.to_owned()),
            ..Selection::default()
        };
        let list = self
            .cluster
            .list(&kinds::known(kind.0, kind.1), &selection)
            .await
            .unwrap();
        let name = |o: &Value| o["metadata"]["name"].as_str().unwrap().to_owned();
        list.items.iter().map(name).collect()
    }

    /// The steps that the test picks, in the order in which they were reported.
    pub(crate) fn steps(&self, pick: impl FnMut(&Progress) -> Option<String>) -> Vec<String> {
        self.progress.lock().unwrap().iter().filter_map(pick).collect()
    }
}

/// A Deployment of one pod; `extra` goes into its pod's metadata and container, as YAML flow mappings.
pub(crate) fn deployment(name: &str, image: &str, annotations: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: 1\n  selector: {{matchLabels: {{app: {name}}}}}\n  \
         template:\n    metadata: {{labels: {{app: {name}}}, annotations: {{{annotations}}}}}\n    spec:\n      terminationGracePeriodSeconds: 1\n      \
         containers:\n      - {{name: c, image: \"{image}\", command: [sleep, \"3600\"]{container}}}\n"
    )
}

/// A readiness probe for the container of [`deployment`].
pub(crate) const PROBED: &str = ", readinessProbe: {exec: {command: [\"true\"]}, periodSeconds: 1}";
pub(crate) const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");
