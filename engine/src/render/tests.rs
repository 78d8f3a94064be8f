use super::*;
use crate::tree::{Entry, TreeLimits};

pub(super) fn tree(files: &[(&str, &str)]) -> Tree {
    let entries = files
        .iter()
        .map(|(p, t)| ((*p).to_owned(), Entry::File(t.as_bytes().into())));
    Tree::from_entries(entries, TreeLimits::default()).unwrap()
}

#[test]
fn plain_manifests_come_in_the_order_of_their_files_with_their_lines() {
    let tree = tree(&[
        ("k/b.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n"),
        (
            "k/a/x.yml",
            "---\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: a}\n",
        ),
        ("k/README.md", "# no manifest\n"),
    ]);
    let objects = render(&tree, "k", &Options::default()).unwrap();
    let told: Vec<_> = objects
        .iter()
        .map(|o| format!("{} {}", o.key().human(), o.origin))
        .collect();
    assert_eq!(told, ["Secret a k/a/x.yml:6", "ConfigMap b k/b.yaml:1"]);
}

#[test]
fn all_problems_of_a_folder_come_at_once() {
    let tree = tree(&[("a.yaml", "kind: X\n---\n- 1\n"), ("b.yaml", "a: [")]);
    let problems = render(&tree, "", &Options::default()).unwrap_err();
    assert_eq!(problems.0.len(), 3, "{problems}");
}
