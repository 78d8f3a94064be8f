//! Checks on `examples/`: HCL is formatted as `terraform fmt` does it, and `kubectl kustomize` renders every kustomization.
//!
//! Whether an example comes up is for the demo and the provider's tests; this only keeps them readable by the tools they
//! are written for.

use crate::repository;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// Problems of all examples, with the file or folder and what the tool said.
pub(crate) fn problems() -> Result<Vec<String>> {
    let mut problems = unformatted()?;
    for file in repository::files()? {
        if file.starts_with("examples") && file.file_name().is_some_and(|name| name == "kustomization.yaml") {
            let folder = file.parent().context("a kustomization lies in a folder")?;
            problems.extend(unrenderable(folder)?);
        }
    }
    Ok(problems)
}

/// `terraform fmt` lists the files it would change on stdout and exits with 3.
fn unformatted() -> Result<Vec<String>> {
    let output = Command::new("terraform")
        .args(["fmt", "-check", "-list=true", "-recursive", "examples"])
        .current_dir(repository::root())
        .output()
        .context("run terraform fmt")?;
    let listed = String::from_utf8_lossy(&output.stdout);
    let mut problems: Vec<String> = listed
        .lines()
        .map(|file| format!("{file}: not formatted; run terraform fmt -recursive examples"))
        .collect();
    if !output.status.success() && problems.is_empty() {
        problems.push(format!(
            "terraform fmt: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(problems)
}

fn unrenderable(folder: &Path) -> Result<Option<String>> {
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(folder)
        .current_dir(repository::root())
        .output()
        .context("run kubectl kustomize")?;
    Ok((!output.status.success()).then(|| {
        format!(
            "{}: {}",
            folder.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        )
    }))
}
