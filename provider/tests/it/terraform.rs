//! The real `terraform`: it loads the schema, validates, and reports problems at their source line.

use std::path::Path;
use std::process::{Command, Output};

use crate::core::{BINARY, Debugged};

/// A folder with a module in it, and a `terraform` that finds our provider.
pub(crate) struct Workspace {
    folder: tempfile::TempDir,
}

impl Workspace {
    pub(crate) fn new(module: &str) -> Workspace {
        let folder = tempfile::tempdir().unwrap();
        let binaries = Path::new(BINARY).parent().unwrap().display();
        let configuration = format!(
            "provider_installation {{\n  dev_overrides {{ \"myelin-dev/myelin\" = \"{binaries}\" }}\n  direct {{}}\n}}\n"
        );
        std::fs::write(folder.path().join("terraform.rc"), configuration).unwrap();
        let header = "terraform {\n  required_providers {\n    myelin = { source = \"myelin-dev/myelin\" }\n  }\n}\n";
        std::fs::write(folder.path().join("main.tf"), format!("{header}{module}")).unwrap();
        Workspace { folder }
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
            .env("TF_CLI_CONFIG_FILE", self.folder.path().join("terraform.rc"))
            .env("CHECKPOINT_DISABLE", "1")
            .env("TF_IN_AUTOMATION", "1");
        command
    }
}

fn text(output: &Output) -> String {
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
