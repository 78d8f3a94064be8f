//! One specification, three front ends: Terraform, the command line and the reconciler make the same plan, with the same hash.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use myelin_engine::record::{Owner, Record, StackId, from_secret};
use serde_json::Value as Json;

use crate::core::BINARY;
use crate::stand::Stand;
use crate::terraform::text;

const MODULE: &str = r#"
resource "myelin_stack" "shop" {
  name       = "shop"
  namespace  = "shop"
  timeout    = "90s"
  source     = "${path.module}/git/k8s"
  substitute = { GREETING = "COLOR" }
  images     = { "shop/web" = "1.2.3" }
  replace    = ["ConfigMap"]
  components = {
    base = { path = "base" }
    web = {
      path   = "web"
      after  = ["base"]
      tokens = ["key"]
    }
  }
  tokens = {
    key = {
      issuer = { random = {} }
      secret = { name = "key", key = "value" }
    }
  }
}
"#;

const DOCUMENT: &str = "
apiVersion: myelin.dev/v1alpha1
kind: Stack
metadata: {name: shop}
spec:
  namespace: shop
  timeout: 90s
  source: ../k8s
  substitute: {GREETING: COLOR}
  images: {shop/web: 1.2.3}
  replace: [ConfigMap]
  components:
    base: {path: base}
    web: {path: web, after: [base], tokens: [key]}
  tokens:
    key:
      issuer: {random: {}}
      secret: {name: key, key: value}
";

const BASE: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\ndata: {greeting: '${GREETING}'}\n---\n\
                    apiVersion: v1\nkind: Secret\nmetadata: {name: base}\nstringData: {password: correct-horse-battery}\n";

const WEB: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n  \
                   template:\n    metadata: {labels: {app: web}}\n    spec:\n      containers:\n      - name: web\n        \
                   image: shop/web\n        envFrom: [{configMapRef: {name: base}}]\n";

/// The command line, which is beside the provider. If only this package's tests run, it may not be built yet.
fn myelin() -> PathBuf {
    let beside = Path::new(BINARY).with_file_name("myelin");
    if !beside.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--package", "myelin", "--bin", "myelin"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success() && beside.exists(), "`cargo build -p myelin` first");
    }
    beside
}

/// Ends with the test.
struct Reconciler(Child);

impl Drop for Reconciler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Fronts {
    stand: Stand,
    myelin: PathBuf,
}

impl Fronts {
    fn new() -> Fronts {
        let mut stand = Stand::new("");
        stand.secret("correct-horse-battery");
        stand.file("git/k8s/base/all.yaml", BASE);
        stand.file("git/k8s/web/web.yaml", WEB);
        let fronts = Fronts {
            stand,
            myelin: myelin(),
        };
        fronts.paint("blue");
        fronts
    }

    /// The same change in both forms of the specification.
    fn paint(&self, color: &str) {
        self.stand.module(&MODULE.replace("COLOR", color));
        self.stand
            .file("git/deploy/shop.yaml", &DOCUMENT.replace("COLOR", color));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.myelin);
        command
            .args(arguments)
            .env("KUBECONFIG", self.stand.cluster.kubeconfig())
            .current_dir(self.stand.path("git"));
        command
    }

    /// The hash of the plan that `terraform plan` shows: its log has it.
    fn by_terraform(&self) -> String {
        let (code, shown) = self.stand.plan();
        assert_eq!(code, Some(2), "{shown}");
        let log = std::fs::read_to_string(self.stand.path("trace.log")).unwrap();
        let hashes = log.lines().filter(|line| line.contains("planned")).filter_map(|line| {
            let hash = line.split("hash=").nth(1)?;
            Some(
                hash.trim_start_matches('"')
                    .split(|c: char| !c.is_ascii_hexdigit())
                    .next()?
                    .to_owned(),
            )
        });
        let hashes: Vec<String> = hashes.filter(|hash| !hash.is_empty()).collect();
        assert_eq!(hashes.len(), 1, "one stack is planned once: {hashes:?}");
        hashes[0].clone()
    }

    /// What `myelin plan` says, and its exit code.
    fn by_hand(&self) -> (Option<i32>, String) {
        let output = self
            .command(&["plan", "deploy", "--root", ".", "--output", "json"])
            .output()
            .unwrap();
        let view: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output)));
        let plan = view["stacks"][0]["plan"].as_str().unwrap_or_else(|| panic!("{view:#}"));
        (output.status.code(), plan.to_owned())
    }

    fn record(&self) -> Option<Record> {
        let secret = self.stand.cluster.object("secrets", "shop", "myelin-stack-shop")?;
        let stack: StackId = "shop/shop".parse().unwrap();
        Some(from_secret(&stack, &secret).unwrap())
    }

    fn git(&self, arguments: &[&str]) -> Output {
        let output = Command::new("git")
            .args(["-c", "user.name=Ada", "-c", "user.email=ada@example.com"])
            .args(["-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .current_dir(self.stand.path("git"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        output
    }

    fn reconcile(&self) -> Reconciler {
        let url = format!("file://{}", self.stand.path("git").display());
        let log = std::fs::File::create(self.stand.path("reconciler.log")).unwrap();
        let child = self
            .command(&["run", "--listen", "127.0.0.1:0", "--interval", "1s", "--url", &url])
            .args(["--path", "deploy"])
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Reconciler(child)
    }
}

#[test]
fn terraform_the_command_line_and_the_reconciler_make_the_same_plan_with_the_same_hash() {
    let fronts = Fronts::new();

    // Nothing is there yet.
    let first = fronts.by_terraform();
    assert_eq!(fronts.by_hand(), (Some(2), first.clone()));
    fronts.stand.apply();
    assert_eq!(
        fronts.record().unwrap().plan,
        first,
        "what was shown is what was applied"
    );

    // A change. The command line refuses what is Terraform's, and shows the same plan beside that.
    fronts.paint("red");
    let second = fronts.by_terraform();
    assert_ne!(second, first);
    assert_eq!(fronts.by_hand(), (Some(1), second.clone()));

    // Handed over, the reconciler applies that very plan.
    let handed = fronts
        .command(&["hand-over", "shop/shop", "--to", "git:git"])
        .output()
        .unwrap();
    assert!(handed.status.success(), "{}", text(&handed));
    assert_eq!(
        fronts.by_hand(),
        (Some(2), second.clone()),
        "who asks is not part of a plan"
    );
    fronts.git(&["init", "--quiet"]);
    fronts.git(&["add", "--all"]);
    fronts.git(&["commit", "--quiet", "--message", "red"]);
    let _reconciler = fronts.reconcile();
    let deadline = Instant::now() + Duration::from_secs(120);
    let record = loop {
        let record = fronts.record().unwrap();
        if record.plan != first && record.ready {
            break record;
        }
        let log = std::fs::read_to_string(fronts.stand.path("reconciler.log")).unwrap_or_default();
        assert!(Instant::now() < deadline, "the reconciler never applied it:\n{log}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((record.plan, record.owner), (second, Owner::Git("git".to_owned())));
    let base = fronts.stand.cluster.object("configmaps", "shop", "base").unwrap();
    assert_eq!(base["data"]["greeting"], "red");
}
