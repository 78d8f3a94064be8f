//! The recorded cases of kustomize's own tests (`../shared/kustomize-cases`, kept beside the repository): every output
//! must be identical byte for byte, and there must be an error where the original has one.

use myelin_engine::render::{Options, render_kustomization};
use myelin_engine::tree::{Tree, TreeLimits, TreePath};
use myelin_engine::yaml::emit;
use std::io::Write as _;
use std::path::Path;

fn render(input: &Path, root: &str, load_anywhere: bool) -> Result<String, String> {
    let tree = Tree::open(input, TreeLimits::default()).map_err(|e| e.to_string())?;
    let options = Options {
        load_anywhere,
        ..Options::default()
    };
    let folder = TreePath::root().join(root).ok_or("the root climbs out")?;
    let objects = render_kustomization(&tree, &folder, &options).map_err(|e| e.to_string())?;
    Ok(objects.iter().map(|o| emit(&o.value)).collect::<Vec<_>>().join("---\n"))
}

#[test]
fn every_recorded_kustomization_renders_byte_for_byte() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/kustomize-cases");
    let Ok(entries) = std::fs::read_dir(&cases) else {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: there are no recorded cases at {}",
            cases.display()
        );
        return;
    };
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in entries {
        let case = entry.unwrap().path();
        let Ok(root) = std::fs::read_to_string(case.join("ROOT")) else {
            continue;
        };
        let description: serde_json::Value =
            serde_json::from_slice(&std::fs::read(case.join("case.json")).unwrap()).unwrap();
        let anywhere = description["flags"].to_string().contains("LoadRestrictionsNone");
        let got = render(&case.join("in"), root.trim(), anywhere);
        let want = std::fs::read_to_string(case.join("expected.yaml"));
        count += 1;
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        match (got, want) {
            (Ok(got), Ok(want)) if got == want => {}
            (Err(_), Err(_)) => {}
            (Ok(_), Ok(_)) => failures.push(format!("{name}: another output")),
            (Ok(_), Err(_)) => failures.push(format!("{name}: an error is expected")),
            (Err(e), Ok(_)) => failures.push(format!("{name}: {e}")),
        }
    }
    assert!(count > 0, "the folder of cases is empty");
    assert!(
        failures.is_empty(),
        "{} of {count} cases fail:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
