//! The content of a repository is untrusted: whatever it is, rendering ends with objects or with problems, in bounded
//! time and memory, and never with a panic.

use myelin_engine::render::{Options, render};
use myelin_engine::tree::{Entry, Tree, TreeLimits};
use myelin_engine::yaml::{FileId, Limits, Profile, emit, parse, to_json};
use proptest::prelude::*;

fn tree(files: &[(&str, &str)]) -> Tree {
    let entries = files
        .iter()
        .map(|(path, text)| ((*path).to_owned(), Entry::File(text.as_bytes().into())));
    Tree::from_entries(entries, TreeLimits::default()).unwrap()
}

fn problems(files: &[(&str, &str)]) -> String {
    render(&tree(files), "", &Options::default()).unwrap_err().to_string()
}

#[test]
fn what_is_not_supported_names_the_field_the_line_and_what_to_do() {
    for (kustomization, say) in [
        (
            "resources: [https://example.com/x.yaml]\n",
            "kustomization.yaml:1:13: error: \"https://example.com/x.yaml\" is not in the source tree",
        ),
        ("resources:\n- github.com/a/b?ref=v1\n", "kustomization.yaml:2:3"),
        (
            "helmCharts:\n- name: x\n",
            "kustomization.yaml:1:1: error: helmCharts is not supported\n  Helm charts are not rendered here",
        ),
        (
            "generators:\n- |-\n  apiVersion: x/v1\n  kind: Foo\n  metadata: {name: a}\n",
            "programs and containers are not run",
        ),
        (
            "resurces: []\nnamespace: x\n",
            "has no field \"resurces\"\n  Did you mean \"resources\"?",
        ),
        ("resources: [../x]\n", "lies outside of the source tree"),
        ("resources: [/etc/passwd]\n", "must be a path relative to this folder"),
        ("resources: [.]\n", "a cycle"),
        ("namespace: 1\nnamePrefix: yes\n", "kustomization.yaml:2:13"),
    ] {
        let got = problems(&[("kustomization.yaml", kustomization)]);
        assert!(got.contains(say), "{kustomization:?} says\n{got}\nnot\n{say}");
    }
}

#[test]
fn every_broken_file_of_a_kustomization_is_told_at_once() {
    let got = problems(&[
        ("kustomization.yaml", "resources: [a.yaml, b.yaml, c.yaml, base]\n"),
        ("a.yaml", "kind: X\n"),
        ("b.yaml", "a: [\n"),
        ("base/kustomization.yaml", "resources: [d.yaml]\n"),
        ("base/d.yaml", "- 1\n"),
    ]);
    for say in ["base/d.yaml:1", "a.yaml:1", "b.yaml:2", "c.yaml"] {
        assert!(got.contains(say), "{got}");
    }
}

#[test]
fn bombs_end_at_a_limit() {
    let mut bomb =
        String::from("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
    }
    let files = [
        ("kustomization.yaml", "resources: [a.yaml]\n"),
        ("a.yaml", bomb.as_str()),
    ];
    assert!(problems(&files).contains("aliases expanded"));
    let deep = format!("{}1", "- ".repeat(100_000));
    assert!(
        problems(&[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            ("a.yaml", deep.as_str())
        ])
        .contains("nested deeper")
    );
    let regex = "patches: [{target: {name: \"(((a{1,1000}){1,1000}){1,1000})\"}, patch: \"[]\"}]\n";
    assert!(problems(&[("kustomization.yaml", regex)]).contains("regular expression"));
}

#[test]
fn bases_on_bases_that_are_each_used_twice_end_at_a_limit() {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n";
    let mut files: Vec<(String, String)> = vec![
        ("l0/kustomization.yaml".into(), "resources: [a.yaml]\n".into()),
        ("l0/a.yaml".into(), map.into()),
    ];
    for level in 1..30 {
        for name in ["p", "q"] {
            let text = format!("resources: [../l{}]\nnamePrefix: {name}-\n", level - 1);
            files.push((format!("{name}{level}/kustomization.yaml"), text));
        }
        let text = format!("resources: [../p{level}, ../q{level}]\n");
        files.push((format!("l{level}/kustomization.yaml"), text));
    }
    files.push(("kustomization.yaml".into(), "resources: [l29]\n".into()));
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let said = problems(&files);
    assert!(said.contains("used several times"), "{said}");
}

#[test]
fn small_files_that_double_a_value_with_every_entry_end_at_a_limit() {
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: y}\n";
    let replacement = "- source: {kind: ConfigMap, name: a, fieldPath: data}\n  targets: [{select: {kind: ConfigMap}, fieldPaths: [data.N], options: {create: true}}]\n";
    let replacements: String = (0..40).map(|n| replacement.replace('N', &format!("n{n}"))).collect();
    let copies: String = (0..40)
        .map(|n| format!("    - {{op: copy, from: /data, path: /data/n{n}}}\n"))
        .collect();
    let vars = "vars: [{name: V, objref: {apiVersion: v1, kind: ConfigMap, name: a}, fieldref: {fieldpath: data.x}}]\nconfigurations: [c.yaml]\n".to_owned();
    let long = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{x: {}, y: \"{}\"}}\n",
        "v".repeat(200_000),
        "$(V)".repeat(20_000)
    );
    let types: String = (0..32)
        .map(|n| {
            let fields: Vec<String> = (0..8).map(|f| format!("f{f}: {{$ref: t{}}}", n + 1)).collect();
            format!(
                "t{n}: {{Schema: {{properties: {{kind: {{}}, apiVersion: {{}}, metadata: {{}}, {}}}}}}}\n",
                fields.join(", ")
            )
        })
        .collect();
    for (kustomization, resource, say) in [
        (
            format!("replacements:\n{replacements}"),
            map,
            "replacements copy more than",
        ),
        (
            format!("patches:\n- target: {{kind: ConfigMap}}\n  patch: |-\n{copies}"),
            map,
            "the patch copies more than",
        ),
        (vars, long.as_str(), "make the texts too long"),
        ("crds: [types.yaml]\n".to_owned(), map, "their references multiply them"),
    ] {
        let kustomization = format!("resources: [a.yaml]\n{kustomization}");
        let said = problems(&[
            ("kustomization.yaml", &kustomization),
            ("a.yaml", resource),
            ("c.yaml", "varReference: [{path: data, kind: ConfigMap}]\n"),
            ("types.yaml", &types),
        ]);
        assert!(said.contains(say), "{say}: {}", &said[..said.len().min(500)]);
    }
}

#[test]
fn what_comes_to_too_much_for_many_resources_is_refused() {
    let many: String = (0..6_000)
        .map(|n| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m{n}}}\n---\n"))
        .collect();
    let annotation = format!(
        "resources: [a.yaml]\ncommonAnnotations: {{x: {}}}\n",
        "v".repeat(50_000)
    );
    assert!(
        problems(&[("kustomization.yaml", &annotation), ("a.yaml", &many)]).contains("too long for 6000 resources")
    );
    let twice = format!("{many}{many}");
    assert!(
        problems(&[("kustomization.yaml", "resources: [a.yaml]\n"), ("a.yaml", &twice)]).contains("is there twice")
    );
}

/// Files of bytes: some text, some not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..120),
        nearly_yaml().prop_map(String::into_bytes),
        (nearly_yaml(), proptest::collection::vec(any::<u8>(), 0..4)).prop_map(|(text, more)| [
            text.into_bytes(),
            more
        ]
        .concat()),
    ]
}

/// Text that is nearly YAML.
fn nearly_yaml() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("a: "),
        Just("- "),
        Just("\n"),
        Just("  "),
        Just("{"),
        Just("}"),
        Just("["),
        Just("]"),
        Just(","),
        Just(": "),
        Just("? "),
        Just("&x "),
        Just("*x"),
        Just("|\n"),
        Just(">-\n"),
        Just("\""),
        Just("'"),
        Just("\\"),
        Just("#"),
        Just("---\n"),
        Just("!!int "),
        Just("<<: "),
        Just("key"),
        Just("0x1"),
        Just("\t"),
        Just("é"),
        Just("\u{2028}"),
        Just("%"),
        Just("..."),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// A kustomization out of fields that take each other apart.
fn kustomization() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        Just("resources: [r.yaml]"),
        Just("resources: [r.yaml, base]"),
        Just("resources: [base, other]"),
        Just("components: [comp]"),
        Just("namespace: n"),
        Just("namePrefix: p-"),
        Just("nameSuffix: -s"),
        Just("commonLabels: {a: b}"),
        Just("labels: [{pairs: {c: d}, includeSelectors: true}]"),
        Just("images: [{name: x, newTag: '1'}, {name: '(', digest: y}]"),
        Just("replicas: [{name: a, count: 3}]"),
        Just("patches: [{path: p.yaml}]"),
        Just("patches: [{target: {kind: .*}, patch: '[{op: remove, path: /metadata}]'}]"),
        Just("patches: [{target: {kind: .*}, patch: '[{op: add, path: /spec, value: [1]}]'}]"),
        Just("patches: [{target: {kind: .*}, patch: '[{op: replace, path: /kind, value: {}}]'}]"),
        Just("configMapGenerator: [{name: g, literals: [a=b], files: [p.yaml]}]"),
        Just("secretGenerator: [{name: a, behavior: merge, envs: [p.yaml]}]"),
        Just(
            "replacements: [{source: {kind: ConfigMap}, targets: [{select: {}, fieldPaths: ['a.*.[b=c].-.0', spec], options: {create: true}}]}]"
        ),
        Just(
            "vars: [{name: V, objref: {apiVersion: v1, kind: ConfigMap, name: a}, fieldref: {fieldpath: 'data.[x].0'}}]"
        ),
        Just("configurations: [p.yaml]"),
        Just("crds: [p.yaml]"),
        Just("openapi: {path: p.yaml}"),
        Just("transformers: [p.yaml]"),
        Just(
            "transformers: ['{apiVersion: builtin, kind: ValueAddTransformer, metadata: {name: v}, value: x, targets: [{fieldPath: spec/template/spec/containers/9/x}, {fieldPath: data/x, filePathPosition: 99}]}']"
        ),
        Just("replacements: [{path: p.yaml}]"),
        Just(
            "patches: [{target: {labelSelector: 'a in (b,c),!d'}, patch: '[{op: copy, from: /spec, path: /metadata/x}, {op: replace, path: /spec/-1, value: 1}]'}]"
        ),
        Just("sortOptions: {order: fifo}"),
        Just("buildMetadata: [originAnnotations, transformerAnnotations, managedByLabel]"),
    ];
    proptest::collection::btree_set(field, 0..8)
        .prop_map(|fields| fields.into_iter().collect::<Vec<_>>().join("\n") + "\n")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_parses_or_fails(text in prop_oneof![nearly_yaml(), "\\PC{0,200}", any::<String>()]) {
        for profile in [Profile::Manifest, Profile::Kustomize, Profile::Settings] {
            let _ = parse(&text, FileId::default(), profile, Limits::default());
        }
    }

    #[test]
    fn what_is_printed_reads_back_the_same(texts in proptest::collection::vec(prop_oneof![nearly_yaml(), "[ -~\n]{0,200}", "\\PC{0,40}"], 1..6)) {
        let value = serde_json::json!({"k": texts, "m": {texts[0].chars().filter(|c| !c.is_control()).take(150).collect::<String>(): texts.last()}});
        let text = emit(&value);
        let documents = parse(&text, FileId::default(), Profile::Manifest, Limits::default()).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        // The key << would be a merge, and NEL inside quotes is a line break to the reader.
        prop_assume!(!text.contains("<<") && !text.contains('\u{85}'));
        prop_assert_eq!(to_json(&documents[0]).unwrap(), value);
    }

    #[test]
    fn any_bytes_render_or_fail(root in bytes(), resource in bytes(), env in bytes(), patch in bytes()) {
        let named = "resources: [r.yaml]\nconfigMapGenerator: [{name: g, files: [r.yaml], envs: [e.env]}]\nsecretGenerator: [{name: g, files: [p.yaml]}]\npatches: [{path: p.yaml, target: {kind: .*}}]\n";
        for root in [root.as_slice(), named.as_bytes()] {
            let files = [("kustomization.yaml", root), ("r.yaml", resource.as_slice()), ("e.env", env.as_slice()), ("p.yaml", patch.as_slice())];
            let entries = files.iter().map(|(path, bytes)| ((*path).to_owned(), Entry::File((*bytes).into())));
            let tree = Tree::from_entries(entries, TreeLimits::default()).unwrap();
            let _ = render(&tree, "", &Options::default());
        }
    }

    #[test]
    fn any_kustomization_renders_or_fails(root in kustomization(), base in kustomization(), comp in kustomization(), resource in nearly_yaml(), patch in nearly_yaml()) {
        let comp = format!("kind: Component\n{comp}");
        let good = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{name: c, image: x}]}}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: $(V)}\n";
        let resource = format!("{good}---\n{resource}");
        for r in [good, resource.as_str()] {
            for p in [patch.as_str(), "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {$patch: replace, template: null}\n"] {
                let files = [
                    ("kustomization.yaml", root.as_str()), ("r.yaml", r), ("p.yaml", p),
                    ("base/kustomization.yaml", base.as_str()), ("base/r.yaml", good), ("base/p.yaml", p),
                    ("other/kustomization.yaml", "resources: [../base]\nnamePrefix: o-\n"),
                    ("comp/kustomization.yaml", comp.as_str()), ("comp/r.yaml", good), ("comp/p.yaml", p),
                ];
                let _ = render(&tree(&files), "", &Options::default());
            }
        }
    }
}
