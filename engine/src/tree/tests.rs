use super::*;

fn memory(entries: &[(&str, Entry)]) -> Tree {
    Tree::from_entries(
        entries.iter().map(|(p, e)| ((*p).to_owned(), e.clone())),
        TreeLimits::default(),
    )
    .unwrap()
}

fn file(text: &str) -> Entry {
    Entry::File(text.as_bytes().into())
}

fn at(path: &str) -> TreePath {
    TreePath::root().join(path).unwrap()
}

#[test]
fn paths_never_climb_out() {
    assert_eq!(at("a/b").join("../c").unwrap().as_str(), "a/c");
    assert_eq!(at("a").join("../../c"), None);
    assert_eq!(at("a/b/c").relative_to(&at("a/x")), "../b/c");
    assert!(at("a/b").is_in(&at("a")) && !at("ab").is_in(&at("a")));
}

#[test]
fn links_are_followed_inside_the_tree_and_refused_outside() {
    let tree = memory(&[
        ("a/real.yaml", file("x")),
        ("b/link", Entry::Link("../a".into())),
        ("b/out", Entry::Link("../../etc".into())),
        ("b/abs", Entry::Link("/etc".into())),
        ("b/loop", Entry::Link("loop".into())),
    ]);
    assert_eq!(tree.find(&at("b/link/real.yaml")), Ok(Found::File(at("a/real.yaml"))));
    assert_eq!(tree.find(&at("b/link")), Ok(Found::Folder(at("a"))));
    assert!(matches!(tree.find(&at("b/out/passwd")), Err(TreeError::Outside(_))));
    assert!(matches!(tree.find(&at("b/abs/passwd")), Err(TreeError::Outside(_))));
    assert!(matches!(tree.find(&at("b/loop")), Err(TreeError::Links(_))));
    assert_eq!(tree.list(&TreePath::root()).unwrap(), ["a", "b"]);
}

#[test]
fn a_folder_on_disk_ends_at_its_root() {
    let dir = tempfile::tempdir().unwrap();
    let inside = dir.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(dir.path().join("secret"), "s").unwrap();
    std::fs::write(inside.join("f"), "text").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
    let tree = Tree::open(
        &inside,
        TreeLimits {
            file_bytes: 3,
            ..TreeLimits::default()
        },
    )
    .unwrap();
    assert!(matches!(tree.read(&at("link")), Err(TreeError::Outside(_))));
    assert!(matches!(tree.read(&at("f")), Err(TreeError::Limit(..))));
    assert!(matches!(tree.read(&at("nothing")), Err(TreeError::Missing(_))));
}
