//! Checks on `.github/workflows`: valid by GitHub's own schema, free of zizmor's findings, every action pinned by its full SHA.
//!
//! actionlint is asked where it is installed (GitHub's CI installs it); its package for Python fetches a binary when it is
//! built, which a machine behind a registry mirror cannot do, so the schema is the check that every machine runs.

use crate::repository;
use crate::tools::{Tools, files_below};
use anyhow::{Context, Result};
use std::fs;
use std::process::Command;

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

fn actionlint(files: &[&str]) -> Result<Vec<String>> {
    let Ok(output) = Command::new("actionlint")
        .arg("-no-color")
        .args(files)
        .current_dir(repository::root())
        .output()
    else {
        println!(
            "note: actionlint is not on this machine; the workflows were checked by GitHub's schema and zizmor only"
        );
        return Ok(Vec::new());
    };
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
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
