//! The setting of one test: a sandbox, a git repository made by the real git, and the real `myelin`.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use myelin_sandbox::Sandbox;
use myelin_sandbox::faults::{Effect, Rule};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// How long a condition may take to come true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct House {
    pub(crate) sandbox: Sandbox,
    pub(crate) client: kube::Client,
    folder: tempfile::TempDir,
    /// Variables for every `myelin`, beside those of the test itself.
    environment: Vec<(String, String)>,
}

impl House {
    pub(crate) async fn new() -> Self {
        let options = myelin_sandbox::Options {
            speed: 20.0,
            ..myelin_sandbox::Options::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, sandbox.kubeconfig()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(
            kube::config::Kubeconfig::read_from(&kubeconfig).unwrap(),
            &kube::config::KubeConfigOptions::default(),
        )
        .await
        .unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let house = Self {
            sandbox,
            client,
            folder,
            environment: Vec::new(),
        };
        std::fs::create_dir(house.repository()).unwrap();
        house.git(&["init", "--quiet", "--initial-branch=main"]);
        house
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// Runs the real git in the repository and answers what it prints.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Ada",
                "-c",
                "user.email=ada@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(self.repository())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes files and commits them; answers the commit.
    pub(crate) fn commit(&self, message: &str, files: &[(&str, &str)]) -> String {
        for (path, text) in files {
            let path = self.repository().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// What a command prints; it must end with this code.
    pub(crate) fn says(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.myelin(arguments);
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert_eq!(output.status.code(), Some(code), "myelin {arguments:?}\n{out}{err}");
        out
    }

    /// Runs the real kubectl as the administrator; answers what it prints.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = Command::new("kubectl")
            .args(arguments)
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "kubectl {arguments:?}\n{out}{err}");
        out.trim().to_owned()
    }

    /// Changes an object of the stack's namespace with the real `kubectl edit`; the editor is sed.
    pub(crate) fn edit(&self, object: &str, change: &str) {
        let output = Command::new("kubectl")
            .args(["--namespace=shop", "edit", object])
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("KUBE_EDITOR", format!("sed -i -e '{change}'"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && said.contains("edited"),
            "kubectl edit {object}\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A kubeconfig for a service account, with a token of its own.
    pub(crate) fn kubeconfig_of(&self, namespace: &str, account: &str) -> String {
        // `kubectl create token` speaks protobuf, which the sandbox does not.
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
        let request = self.file("token-request", &request.to_string());
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let answer = self.kubectl(&["create", "--raw", &path, "-f", &request]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let token = answer["status"]["token"].as_str().unwrap();
        let path = self.file(&format!("kubeconfig-{account}"), &self.sandbox.kubeconfig());
        let user = format!("--token={token}");
        self.kubectl(&["--kubeconfig", &path, "config", "set-credentials", account, &user]);
        self.kubectl(&[
            "--kubeconfig",
            &path,
            "config",
            "set-context",
            "--current",
            &format!("--user={account}"),
        ]);
        path
    }

    /// Starts a command whose output is read while it runs.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    pub(crate) fn myelin(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_myelin"));
        command
            .args(arguments)
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .envs(self.sandbox.aws_environment())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path());
        command
    }

    /// Sets a variable for every `myelin` that is started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a file beside the repository; answers its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Starts the reconciler on the repository.
    pub(crate) fn reconciler(&self) -> Reconciler {
        let url = format!("file://{}", self.repository().display());
        self.reconciler_of(&["--url", &url])
    }

    /// Starts the reconciler with arguments of one's own.
    pub(crate) fn reconciler_of(&self, arguments: &[&str]) -> Reconciler {
        self.replica("myelin", arguments)
    }

    /// Starts a reconciler with a host name of its own.
    pub(crate) fn replica(&self, name: &str, arguments: &[&str]) -> Reconciler {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .unwrap();
        let child = self
            .command(&["run", "--listen", "127.0.0.1:0"])
            .args(
                ["--interval", "1s"]
                    .iter()
                    .filter(|_| !arguments.contains(&"--interval") && !arguments.contains(&"--config")),
            )
            .args(arguments)
            // Part of a replica's name in the cluster.
            .env("HOSTNAME", name)
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Reconciler(child)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The status that the source has written.
    pub(crate) async fn status(&self) -> Value {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), "myelin-system");
        let found = api.get_opt("myelin-source-git").await.unwrap();
        let text = found
            .and_then(|map| map.data)
            .and_then(|data| data.get("status").cloned());
        text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    /// Which replica holds the source's lease.
    pub(crate) async fn lease_holder(&self) -> Option<String> {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), "myelin-system");
        let holder = api.get_opt("myelin-source-git").await.unwrap()?.spec?.holder_identity;
        holder.filter(|holder| !holder.is_empty())
    }

    /// How many replicas have a Lease.
    pub(crate) async fn replicas(&self) -> usize {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), "myelin-system");
        let only = ListParams::default().labels("myelin.dev/lease=replica");
        api.list(&only).await.unwrap().items.len()
    }

    /// Waits until the source is in a state at a commit.
    pub(crate) async fn reaches(&self, state: &str, commit: &str) -> Value {
        self.eventually(&format!("{state} at {commit}"), async || {
            let status = self.status().await;
            (status["state"] == state && status["commit"] == commit).then_some(status)
        })
        .await
    }

    /// A key of a ConfigMap in namespace `shop`.
    pub(crate) async fn value(&self, map: &str, key: &str) -> Option<String> {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), "shop");
        api.get_opt(map).await.unwrap()?.data?.get(key).cloned()
    }

    pub(crate) async fn meddle(&self, map: &str, data: Value) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), "shop");
        let patch = json!({"data": data});
        api.patch(map, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// Lets every patch of a ConfigMap by `myelin` hang; returns the fault's id.
    pub(crate) fn hang_patches(&self, map: &str) -> String {
        self.sandbox.faults().add(Rule {
            verbs: vec!["patch".to_owned()],
            resources: vec!["configmaps".to_owned()],
            name: map.to_owned(),
            user_agent: "myelin/".to_owned(),
            effect: Effect::HangBefore,
            ..Rule::default()
        })
    }

    /// Waits until a request has met a fault.
    pub(crate) async fn met(&self, what: &str, fault: &str) {
        self.eventually(what, async || {
            let rules = self.sandbox.faults().rules();
            rules
                .iter()
                .any(|met| met.rule.id == fault && met.met > 0)
                .then_some(())
        })
        .await;
    }

    pub(crate) async fn delete(&self, map: &str) {
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), "shop");
        api.delete(map, &DeleteParams::default()).await.unwrap();
    }

    pub(crate) async fn has_record(&self, stack: &str) -> bool {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), "shop");
        api.get_opt(&format!("myelin-stack-{stack}")).await.unwrap().is_some()
    }

    /// Whether the cluster gets no request for three seconds.
    pub(crate) async fn is_silent(&self) -> Option<()> {
        let before = self.sandbox.faults().sequence();
        tokio::time::sleep(Duration::from_secs(3)).await;
        (self.sandbox.faults().sequence() == before).then_some(())
    }

    /// Waits for a condition; fails with the reconciler's log when it never comes true.
    pub(crate) async fn eventually<T>(&self, what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "never: {what}\nstatus: {:#}\nlog:\n{}",
                self.status().await,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A running reconciler; killed when the test ends.
pub(crate) struct Reconciler(Child);

impl Reconciler {
    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Reconciler {
    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let done = Command::new("kill").arg(self.0.id().to_string()).status().unwrap();
        assert!(done.success());
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Reconciler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stack of one ConfigMap.
pub(crate) fn stack(name: &str, extra: &str) -> String {
    format!(
        "apiVersion: myelin.dev/v1alpha1\nkind: Stack\nmetadata: {{name: {name}}}\nspec:\n  namespace: shop\n  source: ./{name}\n{extra}"
    )
}

pub(crate) fn map(name: &str, value: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{color: {value}}}\n")
}
