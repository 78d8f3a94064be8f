//! The reference shows real code: the examples under `examples/` are valid for the real `terraform`, and the HCL in
//! guides is formatted.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::terraform::{Workspace, text};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn folders(below: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root().join("examples").join(below)) else {
        return Vec::new();
    };
    let mut folders: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

#[test]
fn every_example_of_the_reference_is_valid() {
    let mut examples = vec![root().join("examples/provider")];
    for below in ["resources", "data-sources", "ephemeral-resources"] {
        examples.extend(folders(below));
    }
    assert!(examples.len() >= 4, "{examples:?}");
    for example in examples {
        let workspace = Workspace::new("");
        for entry in std::fs::read_dir(&example).unwrap() {
            let file = entry.unwrap().path();
            let name = file.file_name().unwrap().to_str().unwrap();
            // An import by identity needs Terraform 1.12.
            if name.ends_with(".tf") && !name.starts_with("import-by-identity") {
                std::fs::copy(&file, workspace.path(name)).unwrap();
            }
        }
        if example.ends_with("provider") {
            std::fs::remove_file(workspace.path("main.tf")).unwrap();
        }
        let output = workspace.terraform(&["validate", "-no-color"]);
        assert!(output.status.success(), "{}: {}", example.display(), text(&output));
    }
}

#[test]
fn every_resource_shows_how_it_is_imported_under_the_name_that_its_example_gives_it() {
    for folder in folders("resources") {
        let kind = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let import =
            std::fs::read_to_string(folder.join("import.sh")).unwrap_or_else(|_| panic!("{kind} has no import.sh"));
        let example = std::fs::read_to_string(folder.join("resource.tf")).unwrap();
        let address = import
            .lines()
            .find_map(|line| line.strip_prefix("terraform import "))
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_else(|| panic!("{kind}: {import}"));
        let name = address
            .strip_prefix(&format!("{kind}."))
            .unwrap_or_else(|| panic!("{kind}: {address}"));
        let declared = format!("resource \"{kind}\" \"{}\"", name.trim_matches('\''));
        assert!(example.contains(&declared), "{kind}: its example has no {declared}");
    }
}

/// Fenced blocks of a language, without the indentation of the list that contains them.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() != format!("```{language}") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let block: Vec<&str> = lines
            .by_ref()
            .take_while(|line| line.trim_start() != "```")
            .map(|line| line.get(indent..).unwrap_or_default())
            .collect();
        found.push(block.join("\n") + "\n");
    }
    found
}

#[test]
fn the_hcl_of_the_guides_parses_and_is_formatted() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("docs/guides")).unwrap() {
        let path = entry.unwrap().path();
        for block in blocks(&std::fs::read_to_string(&path).unwrap(), "terraform") {
            seen += 1;
            let mut child = Command::new("terraform")
                .args(["fmt", "-no-color", "-"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(block.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}: {block}{}", path.display(), text(&output));
            assert_eq!(String::from_utf8_lossy(&output.stdout), block, "{}", path.display());
        }
    }
    assert!(seen > 2);
}
