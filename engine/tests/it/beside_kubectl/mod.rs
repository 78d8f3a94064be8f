//! Small kustomizations rendered by us and by the `kubectl` on the PATH must be identical byte for byte. There is one
//! for each difference that was ever found on a real or a random tree, so that it does not return.

mod copies;
mod documents;
mod edges;
mod fields;
mod quirks;

use std::path::Path;
use std::process::Command;

use myelin_engine::render::{Options, render_kustomization};
use myelin_engine::tree::{Tree, TreeLimits, TreePath};
use myelin_engine::yaml::emit;

/// What is special about a tree, and its files.
type Case = (&'static str, &'static [(&'static str, &'static str)]);

fn ours(folder: &Path) -> Result<String, String> {
    let tree = Tree::open(folder, TreeLimits::default()).map_err(|e| e.to_string())?;
    let objects = render_kustomization(&tree, &TreePath::root(), &Options::default()).map_err(|e| e.to_string())?;
    let documents: Vec<String> = objects.iter().map(|object| emit(&object.value)).collect();
    Ok(documents.join("---\n"))
}

#[test]
fn kubectl_prints_the_same() {
    let mut differences = Vec::new();
    for (name, files) in fields::CASES
        .iter()
        .chain(quirks::CASES)
        .chain(documents::CASES)
        .chain(copies::CASES)
        .chain(edges::CASES)
    {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in *files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let output = Command::new("kubectl")
            .arg("kustomize")
            .arg(folder.path())
            .output()
            .expect("kubectl on the PATH");
        let theirs = output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned());
        match (ours(folder.path()), theirs) {
            (Ok(ours), Some(theirs)) if ours == theirs => {}
            (Err(_), None) => {}
            (ours, theirs) => differences.push(format!(
                "{name}: ours\n{}\nkubectl's\n{}",
                ours.unwrap_or_else(|e| e),
                theirs.unwrap_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())
            )),
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}
