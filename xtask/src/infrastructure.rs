//! Checks on `infra/` that need no account: formatted HCL, no finding of checkov but the explained ones, policies that are JSON
//! once their places are filled, and a bootstrap script that a shell can read.
//!
//! Whether the real provider accepts it (`terraform validate`) is checked by CI on GitHub, where the provider can be fetched.

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
