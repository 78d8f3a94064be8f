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

#[test]
fn every_field_names_what_set_it() {
    let tree = tree(&[
        (
            "over/kustomization.yaml",
            "resources: [../base]\nnamespace: shop\nimages:\n- name: web\n  newTag: v2\nreplicas:\n- name: web\n  count: 3\npatches:\n\
             - path: memory.yaml\n- target: {kind: Deployment}\n  patch: |-\n    - op: add\n      path: /spec/template/spec/hostname\n      \
             value: x\n- patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: web}\n    spec:\n      paused: true\n\
             labels:\n- pairs: {team: a}\ncommonAnnotations: {note: b}\nreplacements:\n- source: {kind: Deployment, name: web}\n  \
             targets:\n  - select: {kind: Deployment}\n    fieldPaths: [metadata.annotations.me]\n    options: {create: true}\n\
             configMapGenerator:\n- name: settings\n  behavior: merge\n  envs: [more.env]\n",
        ),
        ("over/more.env", "# more\nB=2\n"),
        (
            "over/memory.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  template:\n    spec:\n      containers:\n      - name: web\n        \
             resources:\n          limits:\n            memory: 1Gi\n",
        ),
        (
            "base/kustomization.yaml",
            "resources: [web.yaml]\nconfigMapGenerator:\n- name: settings\n  literals:\n  - A=1\n  options: {disableNameSuffixHash: true}\n",
        ),
        (
            "base/web.yaml",
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  template:\n    spec:\n      containers:\n      \
             - name: web\n        image: web:v1\n        args:\n        - a\n        - b\n",
        ),
    ]);
    let objects = render(&tree, "over", &Options::default()).unwrap();
    let of = |kind: &str| objects.iter().find(|o| o.value["kind"] == kind).unwrap();
    let container = "/spec/template/spec/containers/0";
    for (kind, pointer, want) in [
        ("Deployment", String::new(), "base/web.yaml:1"),
        ("Deployment", "/metadata/name".into(), "base/web.yaml:4"),
        ("Deployment", "/metadata/namespace".into(), "over/kustomization.yaml:2"),
        ("Deployment", "/spec/replicas".into(), "over/kustomization.yaml:7"),
        ("Deployment", format!("{container}/image"), "over/kustomization.yaml:4"),
        ("Deployment", format!("{container}/args/1"), "base/web.yaml:14"),
        ("Deployment", format!("{container}/resources"), "over/memory.yaml:9"),
        (
            "Deployment",
            format!("{container}/resources/limits/memory"),
            "over/memory.yaml:11",
        ),
        (
            "Deployment",
            "/spec/template/spec/hostname".into(),
            "over/kustomization.yaml:15",
        ),
        ("Deployment", "/spec/paused".into(), "over/kustomization.yaml:21"),
        (
            "Deployment",
            "/metadata/labels/team".into(),
            "over/kustomization.yaml:23",
        ),
        (
            "Deployment",
            "/metadata/annotations/note".into(),
            "over/kustomization.yaml:24",
        ),
        (
            "Deployment",
            "/metadata/annotations/me".into(),
            "over/kustomization.yaml:26",
        ),
        ("ConfigMap", "/data/A".into(), "base/kustomization.yaml:5"),
        ("ConfigMap", "/data/B".into(), "over/more.env:2"),
    ] {
        assert_eq!(of(kind).origin_of(&pointer).to_string(), want, "{kind} {pointer}");
    }
}

#[test]
fn what_is_wrong_at_several_levels_of_kustomizations_is_told_at_once_and_once() {
    let tree = tree(&[
        (
            "over/kustomization.yaml",
            "resources: [../a, ../b, gone.yaml]\ncomponents: [../part]\npatches:\n- path: none.yaml\n- patch: |-\n    apiVersion: v1\n    \
             kind: ConfigMap\n    metadata: {name: from-a}\n",
        ),
        ("a/kustomization.yaml", "resources: [bad.yaml]\nzork: 1\n"),
        ("a/bad.yaml", "kind: X\n"),
        (
            "b/kustomization.yaml",
            "resources: [bad.yaml, ../c]\ncomponents: [../part]\n",
        ),
        ("b/bad.yaml", "apiVersion: v1\nkind: ConfigMap\n"),
        (
            "c/kustomization.yaml",
            "configMapGenerator:\n- name: c\n  files: [missing.txt]\n",
        ),
        (
            "part/kustomization.yaml",
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [lost.yaml]\n",
        ),
    ]);
    let problems = render(&tree, "over", &Options::default()).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let parts = [
        "a/kustomization.yaml:2",
        "c/kustomization.yaml:3",
        "b/bad.yaml:1",
        "part/kustomization.yaml:3",
        "over/kustomization.yaml:1",
        "over/kustomization.yaml:4",
    ];
    for part in parts {
        assert_eq!(
            told.iter().filter(|t| t.contains(part)).count(),
            1,
            "{part} in\n{problems}"
        );
    }
    // Nothing is told that only follows from the rest: a/bad.yaml is not reached, and a patch may well fit when a is right.
    assert_eq!(told.len(), parts.len(), "{problems}");
}

#[test]
fn all_patches_that_fit_nothing_are_told_at_once() {
    let patch =
        |name: &str| format!("- patch: |-\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {{name: {name}}}\n");
    let text = format!(
        "resources: [a.yaml]\npatches:\n{}{}{}",
        patch("x"),
        patch("a"),
        patch("y")
    );
    let tree = tree(&[
        ("kustomization.yaml", &text),
        ("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
    ]);
    let problems = render(&tree, "", &Options::default()).unwrap_err();
    let lines: Vec<_> = problems.iter().filter_map(|p| p.place.as_ref()?.line).collect();
    assert_eq!(lines, [3, 11], "{problems}");
}

#[test]
fn what_a_patch_copies_of_the_metadata_holds_no_notes() {
    for from in ["/metadata", "/metadata/annotations"] {
        let text = format!(
            "resources: [a.yaml]\nnamePrefix: p-\npatches:\n- target: {{kind: ConfigMap}}\n  patch: |-\n    - op: copy\n      \
             from: {from}\n      path: /copy\n"
        );
        let tree = tree(&[
            ("kustomization.yaml", &text),
            ("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
        ]);
        let objects = render(&tree, "", &Options::default()).unwrap();
        let shown = objects[0].value.to_string();
        assert!(!shown.contains("internal.config"), "{shown}");
    }
}

#[test]
fn a_name_that_is_no_text_is_told_with_its_quotes() {
    let tree = tree(&[("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n")]);
    let problems = render(&tree, "", &Options::default()).unwrap_err().to_string();
    assert!(
        problems.contains("a boolean") && problems.contains("Write it in quotes: \"y\"."),
        "{problems}"
    );
}
