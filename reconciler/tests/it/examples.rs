//! The git layouts of the systems under `examples/`. Only that they are valid is asked here: what the manifests do is tried with
//! the modules, in the provider's tests.

use crate::house::House;
use std::path::Path;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_git_layout_is_valid() {
    for example in ["matrix-synapse", "vertex-synapse", "somabrain", "agent-platform"] {
        let house = House::new().await;
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
        for folder in ["k8s", "git"] {
            copy(&from.join(folder), &house.repository().join(folder));
        }
        let output = house.myelin(&["validate", "repository/git", "--root", "repository"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{example}: {said}");
    }
}
