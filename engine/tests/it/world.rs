//! A sandbox in this process, and the engine on it, as the provider and the reconciler use it.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use myelin_engine::apply::{Destroy, Outcome, Run, apply, destroy};
use myelin_engine::cluster::Cluster;
use myelin_engine::cluster::connect::{Access, connect};
use myelin_engine::desired::{Desired, Variables, desired};
use myelin_engine::diagnostic::FilePlace;
use myelin_engine::document::{API_VERSION, stack_from_value};
use myelin_engine::gate::Settings;
use myelin_engine::object::Object;
use myelin_engine::observe::{DryRun, observe};
use myelin_engine::origin::FieldOrigins;
use myelin_engine::plan::{Plan, plan};
use myelin_engine::record::{Owner, StackId};
use myelin_sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// The namespace and name of every stack of these tests.
pub(crate) const NAMESPACE: &str = "shop";

/// A running sandbox and a client of it.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) cluster: Arc<dyn Cluster>,
}

impl World {
    pub(crate) async fn start() -> Self {
        let sandbox = Sandbox::start(Options {
            speed: 20.0,
            ..Options::default()
        })
        .await
        .unwrap();
        let access = Access::Direct {
            host: sandbox.url().to_owned(),
            token: Some(sandbox.token().to_owned()),
            ca_pem: Some(sandbox.authority().to_owned()),
            client: None,
            tls_server_name: None,
            insecure: false,
        };
        let cluster = connect(&access).await.unwrap();
        Self {
            sandbox,
            cluster: Arc::new(cluster),
        }
    }

    /// A plan as `terraform plan` makes it.
    pub(crate) async fn plan(&self, wanted: &Desired) -> Plan {
        self.plan_with(&*self.cluster, wanted, DryRun::Changes).await
    }

    pub(crate) async fn plan_with(&self, cluster: &dyn Cluster, wanted: &Desired, dry_run: DryRun) -> Plan {
        let seen = observe(cluster, wanted, dry_run)
            .await
            .unwrap_or_else(|e| panic!("observing failed: {e}"));
        plan(Arc::new(wanted.clone()), Arc::new(seen), Owner::Terraform)
    }

    /// Plan and apply, as `terraform apply` does.
    pub(crate) async fn apply(&self, wanted: &Desired) -> Outcome {
        let plan = self.plan_with(&*self.cluster, wanted, DryRun::Decisions).await;
        apply(Arc::clone(&self.cluster), &plan, &quick()).await
    }

    /// Applies and insists on success.
    pub(crate) async fn applied(&self, wanted: &Desired) -> Outcome {
        let outcome = self.apply(wanted).await;
        assert!(
            outcome.ready,
            "not ready: {:?}\n{}",
            outcome.objects, outcome.diagnostics
        );
        outcome
    }

    pub(crate) async fn destroy(&self) -> Outcome {
        let terms = Destroy {
            delete_protected: BTreeSet::new(),
            timeout: Duration::from_secs(20),
        };
        destroy(Arc::clone(&self.cluster), &id(), &Owner::Terraform, &terms, &quick()).await
    }

    /// An object as it is, by apiVersion, kind and name.
    pub(crate) async fn get(&self, api_version: &str, kind: &str, name: &str) -> Option<Value> {
        let resource = myelin_engine::cluster::kinds::known(api_version, kind);
        let target = myelin_engine::cluster::Target {
            resource,
            namespace: NAMESPACE.into(),
            name: name.into(),
        };
        self.cluster.get(&target).await.unwrap()
    }

    /// Changes a stack's record behind everybody's back: as an earlier version wrote it, or as time would have left it.
    pub(crate) async fn rewrite_record(&self, stack: &StackId, change: impl FnOnce(&mut Value)) {
        let name = stack.record_name();
        let secret = self.get("v1", "Secret", &name).await.expect("there is a record");
        let text = BASE64_STANDARD
            .decode(secret["data"]["record"].as_str().unwrap())
            .unwrap();
        let mut record: Value = serde_json::from_slice(&text).unwrap();
        change(&mut record);
        let body = json!({"data": {"record": BASE64_STANDARD.encode(record.to_string())}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{name}");
        let other = self.cluster_as("meddler").await;
        other
            .request("PATCH", &path, "application/merge-patch+json", &body)
            .await;
    }

    /// A write by another client: a merge patch.
    pub(crate) async fn meddle(&self, api_version: &str, kind: &str, name: &str, patch: Value) {
        let resource = myelin_engine::cluster::kinds::known(api_version, kind);
        let target = myelin_engine::cluster::Target {
            resource,
            namespace: NAMESPACE.into(),
            name: name.into(),
        };
        let mut live = self.cluster.get(&target).await.unwrap().unwrap();
        json_merge(&mut live, &patch);
        self.cluster_as("meddler").await.update(&target, &live).await.unwrap();
    }

    /// A client whose writes carry another field manager. The port always writes as ours, so this one talks HTTP itself.
    pub(crate) async fn cluster_as(&self, manager: &str) -> Meddler {
        Meddler::new(&self.sandbox, manager).await
    }
}

/// Somebody else's client.
pub(crate) struct Meddler {
    client: kube::Client,
    manager: String,
}

impl Meddler {
    async fn new(sandbox: &Sandbox, manager: &str) -> Self {
        let kubeconfig = Kubeconfig::from_yaml(&sandbox.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Self {
            client: kube::Client::try_from(config.unwrap()).unwrap(),
            manager: manager.to_owned(),
        }
    }

    pub(crate) async fn request(&self, method: &str, path: &str, content_type: &str, body: &Value) -> Value {
        let mark = if path.contains('?') { '&' } else { '?' };
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{path}{mark}fieldManager={}", self.manager))
            .header("Content-Type", content_type)
            .body(body.to_string().into_bytes())
            .unwrap();
        self.client
            .request::<Value>(request)
            .await
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    async fn update(&self, target: &myelin_engine::cluster::Target, body: &Value) -> Result<Value, ()> {
        let r = &target.resource;
        let root = if r.group.is_empty() {
            format!("/api/{}", r.version)
        } else {
            format!("/apis/{}/{}", r.group, r.version)
        };
        let path = format!("{root}/namespaces/{}/{}/{}", target.namespace, r.plural, target.name);
        Ok(self.request("PUT", &path, "application/json", body).await)
    }
}

fn json_merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (name, value) in patch {
                if value.is_null() {
                    into.remove(name);
                } else {
                    json_merge(into.entry(name.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

pub(crate) fn id() -> StackId {
    StackId {
        namespace: NAMESPACE.into(),
        name: "web".into(),
    }
}

/// A run whose gates believe sooner than a real one's: the sandbox's clock runs faster, too.
pub(crate) fn quick() -> Run {
    let settings = Settings {
        unprobed_uptime: Duration::from_millis(400),
        steady_uptime: Duration::from_millis(400),
        status_grace: Duration::from_millis(300),
        ..Settings::default()
    };
    Run {
        settings,
        ..Run::default()
    }
}

/// What a stack should be, from its spec and manifests (each with the folder it comes from).
#[allow(clippy::needless_pass_by_value, reason = "callers write the spec in place")]
pub(crate) fn stack(spec: Value, manifests: Vec<(&str, Value)>) -> Desired {
    let mut full = json!({"namespace": NAMESPACE, "source": ".", "timeout": "30s"});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let document = json!({"apiVersion": API_VERSION, "kind": "Stack", "metadata": {"name": "web"}, "spec": full});
    let stack = stack_from_value(document, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    let objects = manifests
        .into_iter()
        .map(|(folder, value)| Object {
            value,
            origin: FilePlace::line(format!("{folder}/manifest.yaml"), 1),
            fields: FieldOrigins::default(),
        })
        .collect();
    desired(&stack, &Variables::default(), objects, &|_| None).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn config(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"key": value}})
}

pub(crate) fn deployment(name: &str, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [
                {"name": "main", "image": image}]}}}})
}
