//! Checks on `examples/`: HCL is formatted as by `terraform fmt`, documents fit their JSON Schema, and `myelin render`
//! prints every kustomization byte for byte as `kubectl kustomize` does.
//!
//! Whether an example comes up is tested by the demo and the provider's tests; this only keeps the examples readable by
//! the tools they are written for.

use crate::built::{Profile, Programs};
use crate::repository;
use crate::tools::Tools;
use anyhow::{Context, Result};
use std::path::Path;
use std::process::{Command, Output};

/// Problems of all examples, with the file or folder and the tool's message.
pub(crate) fn problems() -> Result<Vec<String>> {
    let mut problems = unformatted()?;
    problems.extend(unfit_documents()?);
    let myelin = Programs::build(Profile::Debug)?.path("myelin")?;
    for file in repository::files()? {
        if file.starts_with("examples") && file.file_name().is_some_and(|name| name == "kustomization.yaml") {
            let folder = file.parent().context("a kustomization lies in a folder")?;
            problems.extend(differs(&myelin, folder)?);
        }
    }
    Ok(problems)
}

/// Documents that an editor would underline. The reader's own checks go further; they are for the tests of `myelin`.
fn unfit_documents() -> Result<Vec<String>> {
    let mut arguments = vec!["--schemafile".to_owned(), "schemas/document.json".to_owned()];
    for file in repository::files()? {
        let is_yaml = file.extension().is_some_and(|extension| extension == "yaml");
        if file.starts_with("examples")
            && is_yaml
            && repository::text(&file)?.is_some_and(|text| text.contains("apiVersion: myelin.dev/"))
        {
            arguments.push(file.to_string_lossy().into_owned());
        }
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Tools::installed()?.lint("check-jsonschema", &arguments)
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

/// What both renderers make of a kustomization, if it is not the same. A component alone renders with both as well.
fn differs(myelin: &Path, folder: &Path) -> Result<Option<String>> {
    let said = |program: &Path, verb: &str| -> Result<Output> {
        Command::new(program)
            .arg(verb)
            .arg(folder)
            .current_dir(repository::root())
            .output()
            .with_context(|| format!("run {} {verb}", program.display()))
    };
    let (theirs, ours) = (said(Path::new("kubectl"), "kustomize")?, said(myelin, "render")?);
    let problem = |what: String| Some(format!("{}: {what}", folder.display()));
    let error = |output: &Output| String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(match (theirs.status.success(), ours.status.success()) {
        (false, _) => problem(error(&theirs)),
        (true, false) => problem(format!(
            "kubectl kustomize renders it, myelin does not: {}",
            error(&ours)
        )),
        (true, true) => first_difference(&theirs.stdout, &ours.stdout).and_then(problem),
    })
}

/// The first line that differs.
fn first_difference(theirs: &[u8], ours: &[u8]) -> Option<String> {
    if theirs == ours {
        return None;
    }
    let (theirs, ours) = (String::from_utf8_lossy(theirs), String::from_utf8_lossy(ours));
    let (mut theirs, mut ours) = (theirs.lines(), ours.lines());
    let mut number = 0;
    loop {
        number += 1;
        match (theirs.next(), ours.next()) {
            (None, None) => return Some("the renderings differ in how they end".to_owned()),
            (a, b) if a != b => {
                let shown = |line: Option<&str>| line.map_or("the end".to_owned(), |line| format!("{line:?}"));
                return Some(format!(
                    "line {number}: kubectl kustomize prints {}, myelin render {}",
                    shown(a),
                    shown(b)
                ));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference(b"a\nb\n", b"a\nb\n"), None);
        let told = |ours: &[u8]| first_difference(b"a\nb\n", ours).unwrap();
        assert!(told(b"a\nc\n").contains("line 2"));
        assert!(told(b"a\n").contains("the end"));
        assert!(told(b"a\nb").contains("how they end"));
    }
}
