//! The real `terraform`: it loads the schema, validates, and reports problems at their source line.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::core::{BINARY, Debugged};

/// A folder with a module in it, and a `terraform` that finds our provider.
pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    pub(crate) fn new(module: &str) -> Workspace {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace { folder };
        workspace.overrides("");
        workspace.write_module(module);
        workspace
    }

    fn overrides(&self, more: &str) {
        let binaries = Path::new(BINARY).parent().unwrap().display();
        let configuration = format!(
            "provider_installation {{\n  dev_overrides {{\n    \"myelin-dev/myelin\" = \"{binaries}\"\n{more}  }}\n  direct {{}}\n}}\n"
        );
        std::fs::write(self.path("terraform.rc"), configuration).unwrap();
    }

    /// Another provider beside ours, from a folder with its binary.
    pub(crate) fn override_also(&self, source: &str, folder: &Path) {
        self.overrides(&format!("    \"{source}\" = \"{}\"\n", folder.display()));
    }

    /// Replaces the module's text, after the block that names the provider.
    pub(crate) fn write_module(&self, module: &str) {
        let header = "terraform {\n  required_providers {\n    myelin = { source = \"myelin-dev/myelin\" }\n  }\n}\n";
        self.file("main.tf", &format!("{header}{module}"));
    }

    /// A file under the module's folder.
    pub(crate) fn file(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn terraform(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("terraform 1.11 on the PATH")
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("KUBECONFIG")
            .env_remove("KUBE_CONFIG_PATH")
            // No credentials that were not named: neither those of the user who runs the tests nor those of the
            // machine.
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/nonexistent")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
            .env("TF_CLI_CONFIG_FILE", self.folder.path().join("terraform.rc"))
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_IN_AUTOMATION", "1");
        command
    }
}

pub(crate) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn terraform_loads_every_schema() {
    let workspace = Workspace::new("");
    let output = workspace.terraform(&["providers", "schema", "-json"]);
    assert!(output.status.success(), "{}", text(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let provider = &json["provider_schemas"]["registry.terraform.io/myelin-dev/myelin"];
    let stack = &provider["resource_schemas"]["myelin_stack"]["block"]["attributes"];
    assert_eq!(stack["substitute_wo"]["write_only"], true);
    assert_eq!(stack["components"]["nested_type"]["nesting_mode"], "map");
    assert_eq!(stack["objects"]["computed"], true);
}

#[test]
fn a_provider_in_debug_mode_serves_one_command_after_another() {
    let provider = Debugged::start();
    let workspace = Workspace::new("");
    // Without any other way to find the provider, so that it must have been this one.
    std::fs::write(workspace.folder.path().join("terraform.rc"), "").unwrap();
    for _ in 0..2 {
        let output = workspace
            .command(&["providers", "schema", "-json"])
            .env("TF_REATTACH_PROVIDERS", &provider.reattach)
            .output()
            .unwrap();
        assert!(
            output.status.success() && text(&output).contains("myelin_stack"),
            "{}",
            text(&output)
        );
    }
}

const SHOP: &str = r#"
resource "myelin_stack" "shop" {
  name       = "shop"
  namespace  = "shop"
  source     = "${path.module}/k8s"
  substitute = { GREETING = terraform_data.greeting.output }
  components = { web = { path = "web.yaml" } }
}
resource "terraform_data" "greeting" { input = "hello" }
"#;

const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\ndata: {a: b}\n";

const WEB: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {greeting: '${GREETING}'}\n---\n\
                   apiVersion: v1\nkind: Secret\nmetadata: {name: web}\nstringData: {password: correct-horse}\n";

#[test]
fn a_plan_needs_no_cluster_and_only_what_is_unknown_is_unknown() {
    let workspace = Workspace::new(SHOP);
    workspace.file("k8s/base.yaml", CONFIG);
    workspace.file("k8s/web.yaml", WEB);
    let output = workspace.terraform(&["plan", "-no-color", "-input=false", "-out=plan.bin"]);
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    assert!(
        shown.contains("Planned without the cluster") && shown.contains("No cluster is named"),
        "{shown}"
    );
    let json = workspace.terraform(&["show", "-json", "plan.bin"]);
    assert!(
        !text(&json).contains("correct-horse") && !shown.contains("correct-horse"),
        "a secret in the plan"
    );
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let changes = json["resource_changes"].as_array().unwrap();
    let stack = &changes.iter().find(|change| change["type"] == "myelin_stack").unwrap()["change"];
    let known = stack["after"]["objects"].as_object().unwrap();
    let unknown = stack["after_unknown"]["objects"].as_object().unwrap();
    assert!(
        known.contains_key("core/ConfigMap/shop/base") && known.contains_key("core/Secret/shop/web"),
        "{known:?}"
    );
    assert_eq!(unknown.keys().collect::<Vec<_>>(), ["core/ConfigMap/shop/web"]);
    assert_eq!(stack["after"]["id"], "shop/shop");
}

#[test]
fn a_plan_does_not_wait_for_a_cluster_that_cannot_be_reached() {
    // Nobody listens on a port that was just given back.
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let workspace = Workspace::new(&format!(
        "provider \"myelin\" {{ host = \"https://{closed}\" }}\n{SHOP}"
    ));
    workspace.file("k8s/web.yaml", WEB);
    let before = Instant::now();
    let shown = text(&workspace.terraform(&["plan", "-no-color", "-input=false"]));
    assert!(
        shown.contains("Planned without the cluster") && shown.contains("Plan: 2 to add"),
        "{shown}"
    );
    assert!(shown.contains("no answer from the API server"), "{shown}");
    assert!(before.elapsed() < Duration::from_secs(10), "{:?}", before.elapsed());
}

#[test]
fn an_apply_without_a_cluster_fails_and_keeps_track_of_nothing() {
    let workspace = Workspace::new(&format!("provider \"myelin\" {{ kubeconfig = \"./nowhere\" }}\n{SHOP}"));
    workspace.file("k8s/web.yaml", WEB);
    let applied = workspace.terraform(&["apply", "-no-color", "-input=false", "-auto-approve"]);
    let shown = text(&applied);
    assert!(!applied.status.success());
    assert!(
        shown.contains("There is no such kubeconfig") && shown.contains("./nowhere"),
        "{shown}"
    );
    let state = std::fs::read_to_string(workspace.path("terraform.tfstate")).unwrap();
    assert!(!state.contains("myelin_stack"), "{state}");
}

#[test]
fn a_problem_in_a_manifest_is_told_with_file_and_line_at_plan() {
    let workspace = Workspace::new(&SHOP.replace("GREETING =", "OTHER ="));
    workspace.file("k8s/web.yaml", WEB);
    let shown = text(&workspace.terraform(&["plan", "-no-color", "-input=false"]));
    assert!(shown.contains("GREETING") && shown.contains("web.yaml:4"), "{shown}");
}

#[test]
fn problems_of_a_configuration_come_all_at_once_each_at_its_line() {
    let workspace = Workspace::new(
        r#"
resource "myelin_stack" "s" {
  name      = "Shop"
  namespace = "shop"
  source    = "./k8s"
  adopt     = "perhaps"
  timeout   = "soon"
}
"#,
    );
    let output = workspace.terraform(&["validate", "-json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut told: Vec<(String, i64)> = json["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|problem| problem["severity"] == "error")
        .map(|problem| {
            (
                problem["summary"].as_str().unwrap().to_owned(),
                problem["range"]["start"]["line"].as_i64().unwrap(),
            )
        })
        .collect();
    told.sort();
    let expected = [("Invalid adopt", 11), ("Invalid name", 8), ("Invalid timeout", 12)];
    assert_eq!(told, expected.map(|(summary, line)| (summary.to_owned(), line)));
}
