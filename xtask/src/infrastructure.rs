//! Checks on `infra/` that need no account: formatted HCL, no checkov finding without an explanation, policies that are
//! JSON once their placeholders are filled, and a bootstrap script that a shell can parse.
//!
//! CI on GitHub checks whether the real provider accepts it (`terraform validate`), because the provider can be
//! downloaded there.

use crate::repository;
use crate::tools::{Tools, files_below};
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

/// Problems of the bootstrap's HCL, policies and script.
pub(crate) fn problems() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let formatted = Command::new("terraform")
        .args(["fmt", "-check", "-list=true", "-recursive", "infra"])
        .current_dir(repository::root())
        .output()
        .context("run terraform fmt")?;
    if !formatted.status.success() {
        let listed = String::from_utf8_lossy(&formatted.stdout).trim().to_owned();
        problems.push(format!("terraform fmt -recursive infra would change: {listed}"));
    }
    let checkov = [
        "-d",
        "infra",
        "--framework",
        "terraform",
        "--compact",
        "--quiet",
        "--skip-download",
    ];
    problems.extend(Tools::installed()?.lint("checkov", &checkov)?);
    for file in files_below("infra/iam", ".json.tftpl")? {
        let text = fs::read_to_string(repository::root().join(&file)).with_context(|| file.clone())?;
        if let Err(error) = serde_json::from_str::<serde_json::Value>(&text) {
            problems.push(format!("{file}: {error}"));
        }
    }
    for script in files_below("infra", ".sh")? {
        let read = Command::new("bash")
            .args(["-n", &script])
            .current_dir(repository::root())
            .output()
            .context("run bash")?;
        if !read.status.success() {
            problems.push(format!("{script}: {}", String::from_utf8_lossy(&read.stderr).trim()));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::{Path, PathBuf};
    use std::process::Output;

    /// Plays aws: the bucket exists once terraform has made it.
    const AWS: &str = r#"#!/usr/bin/env bash
echo "aws $*" >>"$LOG"
case "$1 $2" in
  "sts get-caller-identity") echo 123456789012 ;;
  "ec2 describe-vpcs") echo vpc-0abc ;;
  "s3api head-bucket") [ -e "$WORLD/bucket" ] ;;
  "ssm get-parameter") [ -e "$WORLD/key" ] ;;
  "ssm put-parameter") cat >"$WORLD/key" ;;
esac
"#;

    /// Plays terraform: applies into its configured state, and moves the state when told to.
    const TERRAFORM: &str = r#"#!/usr/bin/env bash
local=no; [ -e bootstrap_override.tf ] && local=yes
echo "terraform $1 local=$local $*" >>"$LOG"
case "$1" in
  apply)
    state=terraform.tfstate; [ $local = no ] && state="$WORLD/remote.tfstate"
    if [ ! -s "$state" ] && [ -e "$WORLD/bucket" ]; then echo "the bucket exists already" >&2; exit 1; fi
    echo "made" >"$state"; touch "$WORLD/bucket"
    [ ! -e "$WORLD/cut-off" ] || { rm "$WORLD/cut-off"; kill -KILL $PPID; }
    ;;
  init) case "$*" in *-migrate-state*) cp terraform.tfstate "$WORLD/remote.tfstate" ;; esac ;;
  output) echo "arn:of:$3" ;;
esac
"#;

    struct World {
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("bin")).unwrap();
            fs::create_dir_all(folder.path().join("infra")).unwrap();
            fs::copy(
                repository::root().join("infra/bootstrap.sh"),
                folder.path().join("infra/bootstrap.sh"),
            )
            .unwrap();
            for (name, text) in [("aws", AWS), ("terraform", TERRAFORM)] {
                let path = folder.path().join("bin").join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            fs::write(folder.path().join("agent"), "a program").unwrap();
            Self { folder }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn bootstrap(&self, arguments: &[&str]) -> (Output, String) {
            let _ = fs::remove_file(self.path("log"));
            let programs = format!(
                "{}:{}",
                self.path("bin").display(),
                std::env::var("PATH").unwrap_or_default()
            );
            let output = Command::new("bash")
                .arg(self.path("infra/bootstrap.sh"))
                .args(arguments)
                .current_dir(self.folder.path())
                .env("PATH", programs)
                .env("WORLD", self.folder.path())
                .env("LOG", self.path("log"))
                .env("AWS_REGION", "eu-central-1")
                .env("GITHUB_OWNER_ID", "1")
                .env("GITHUB_REPOSITORY_ID", "2")
                .output()
                .unwrap();
            (output, fs::read_to_string(self.path("log")).unwrap_or_default())
        }
    }

    const GOOD: [&str; 5] = ["--project", "shop", "--repository", "acme/shop", "--yes"];

    fn is_done(output: &Output) {
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "{}{}",
            said(&output.stdout),
            said(&output.stderr)
        );
        let shown = said(&output.stdout);
        for part in [
            "AWS_REGION          eu-central-1",
            "AWS_ACCOUNT_ID      123456789012",
            "AWS_PLAN_ROLE_ARN   arn:of:plan_role_arn",
            "TERRAFORM_STATE_BUCKET  shop-terraform-state",
            "AWS_APPLY_ROLE_ARN  arn:of:apply_role_arn",
        ] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }

    fn nothing_is_left_beside(world: &World) {
        for name in ["bootstrap_override.tf", "terraform.tfstate", "terraform.tfstate.backup"] {
            assert!(!Path::new(&world.path("infra").join(name)).exists(), "{name} is left");
        }
    }

    /// The statements of a policy, with its places as they are written.
    fn policy(name: &str) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(repository::root().join(format!("infra/iam/{name}.json.tftpl"))).unwrap();
        let policy: serde_json::Value = serde_json::from_str(&text).unwrap();
        policy["Statement"].as_array().unwrap().clone()
    }

    fn texts(value: &serde_json::Value) -> Vec<String> {
        match value {
            serde_json::Value::Array(items) => items.iter().flat_map(texts).collect(),
            serde_json::Value::String(text) => vec![text.clone()],
            _ => Vec::new(),
        }
    }

    #[test]
    fn what_github_may_do_is_named_action_by_action_and_it_cannot_change_what_it_may_do() {
        for name in ["plan", "apply", "controller"] {
            for statement in policy(name).iter().filter(|s| s["Effect"] == "Allow") {
                for action in texts(&statement["Action"]) {
                    let (_, verb) = action.split_once(':').unwrap_or(("", "*"));
                    assert!(!verb.starts_with('*'), "{name} allows {action}");
                    let changes_roles = [
                        "iam:Put",
                        "iam:Attach",
                        "iam:Update",
                        "iam:CreateRole",
                        "iam:DeleteRole",
                    ];
                    if changes_roles.iter().any(|start| action.starts_with(start)) {
                        for resource in texts(&statement["Resource"]) {
                            let own = resource.ends_with(":role/${project}/${project}-worker");
                            assert!(
                                own || resource.contains(":instance-profile/"),
                                "{name}: {action} on {resource}"
                            );
                        }
                    }
                }
            }
        }
        let stays = policy("boundary")
            .into_iter()
            .find(|statement| statement["Sid"] == "WhoDeploysStays")
            .unwrap();
        assert_eq!((&stays["Effect"], texts(&stays["Resource"]).len()), (&"Deny".into(), 2));
    }

    #[test]
    fn github_is_trusted_by_exact_subjects_in_both_forms() {
        let trust = fs::read_to_string(repository::root().join("infra/github.tf")).unwrap();
        for subject in [
            "\"repo:${local.repository}:pull_request\"",
            "\"repo:${local.repository_immutable}:pull_request\"",
            "\"repo:${local.repository}:environment:${var.github.environment}\"",
            "\"repo:${local.repository_immutable}:environment:${var.github.environment}\"",
            "\"${var.github.owner}@${var.github.owner_id}/${var.github.repository}@${var.github.repository_id}\"",
        ] {
            assert!(trust.contains(subject), "{subject}");
        }
        assert_eq!(trust.matches("test     = \"StringEquals\"").count(), 2);
        for file in files_below("infra", "").unwrap() {
            let text = fs::read_to_string(repository::root().join(&file)).unwrap();
            let attached = text.contains("policy/AdministratorAccess") || text.contains("policy_arn");
            // A wildcard in a policy's condition may be meant; in a trust it never is, and all trust is in HCL.
            assert!(
                !(attached || file.ends_with(".tf") && text.contains("StringLike")),
                "{file}"
            );
        }
    }

    #[test]
    fn the_bootstrap_makes_everything_once_moves_its_state_and_changes_nothing_when_run_again() {
        let world = World::new();
        let (output, log) = world.bootstrap(&GOOD);
        is_done(&output);
        let order = ["apply local=yes", "init local=no init -input=false -migrate-state"];
        let at: Vec<_> = order.iter().map(|step| log.find(step)).collect();
        assert!(at[0].is_some() && at[0] < at[1], "{log}");
        assert!(world.path("remote.tfstate").exists());
        nothing_is_left_beside(&world);
        let variables = fs::read_to_string(world.path("infra/bootstrap.auto.tfvars.json")).unwrap();
        let variables: serde_json::Value = serde_json::from_str(&variables).unwrap();
        assert_eq!(
            (&variables["vpc_id"], &variables["github"]["repository"]),
            (&"vpc-0abc".into(), &"shop".into())
        );

        let key = fs::read_to_string(world.path("key")).unwrap();
        let parameter: serde_json::Value = serde_json::from_str(&key).unwrap();
        assert_eq!(
            (&parameter["Name"], &parameter["Type"]),
            (&"/shop/agent-key".into(), &"SecureString".into())
        );
        assert_eq!(
            parameter["Value"].as_str().map(str::len),
            Some(44),
            "32 bytes in base64"
        );
        assert!(
            !log.contains(parameter["Value"].as_str().unwrap()),
            "no secret is an argument"
        );

        let mut again = GOOD.to_vec();
        let agent = world.path("agent");
        // One by its whole path, one as people write it.
        fs::write(world.path("unit"), "a unit").unwrap();
        again.extend(["--upload", agent.to_str().unwrap(), "--upload", "unit"]);
        let (output, log) = world.bootstrap(&again);
        is_done(&output);
        assert!(!log.contains("local=yes") && !log.contains("migrate-state"), "{log}");
        assert!(!log.contains("put-parameter"), "{log}");
        assert_eq!(fs::read_to_string(world.path("key")).unwrap(), key);
        let sum = "d69ea8cda2433733c1ce02de65da8f48e6a3dbba6bb18876a2062908e54ef7cb";
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains(&format!("{sum}  agent\n")), "{said}");
        for object in [
            format!("bin/{sum}/agent"),
            "bin/agent".to_owned(),
            "bin/unit".to_owned(),
        ] {
            assert!(log.contains(&format!("s3://shop-models/{object} ")), "{object}: {log}");
        }
    }

    #[test]
    fn a_bootstrap_that_was_killed_before_its_state_moved_is_gone_on_with() {
        let world = World::new();
        fs::write(world.path("cut-off"), "").unwrap();
        let (output, _) = world.bootstrap(&GOOD);
        assert!(!output.status.success());
        assert!(world.path("bucket").exists() && !world.path("remote.tfstate").exists());
        let (output, log) = world.bootstrap(&GOOD);
        is_done(&output);
        assert!(
            log.contains("apply local=yes") && log.contains("migrate-state"),
            "{log}"
        );
        nothing_is_left_beside(&world);
    }

    #[test]
    fn the_bootstrap_refuses_what_it_cannot_do_before_it_does_anything() {
        let world = World::new();
        for (arguments, part) in [
            (vec!["--repository", "acme/shop"], "--project is missing"),
            (vec!["--project", "shop", "--repository", "acme"], "OWNER/NAME"),
            (vec!["--project"], "needs a value"),
            (
                vec!["--project", "shop", "--repository", "a/b", "--upload", "nowhere"],
                "there is no file nowhere",
            ),
            (vec!["--force"], "unknown argument"),
        ] {
            let (output, log) = world.bootstrap(&arguments);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && said.contains(part), "{said}");
            assert!(!log.contains("apply"), "{log}");
        }
    }
}
