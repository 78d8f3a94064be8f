//! Edge cases of replacements, vars and JSON patches, and annotations that kustomize keeps for itself.

use super::Case;

const FOO: (&str, &str) = (
    "foo.yaml",
    "apiVersion: x.io/v1\nkind: Foo\nmetadata: {name: foo}\nspec: {size: 3, flag: true, nul: null, quoted: '3', hosts: [a, b]}\n",
);

pub(super) const CASES: &[Case] = &[
    (
        "a dot in front of a replacement's path counts for nothing",
        &[
            (
                "kustomization.yaml",
                "resources: [foo.yaml]\nreplacements:\n- source: {kind: Foo, fieldPath: .spec.size}\n  targets:\n  - {select: {kind: Foo}, fieldPaths: [.spec.quoted]}\n  - {select: {kind: Foo}, fieldPaths: [.spec.new], options: {create: true}}\n",
            ),
            FOO,
        ],
    ),
    (
        "two dots in front of a replacement's path are refused",
        &[
            (
                "kustomization.yaml",
                "resources: [foo.yaml]\nreplacements:\n- source: {kind: Foo}\n  targets:\n  - {select: {kind: Foo}, fieldPaths: [..spec.quoted]}\n",
            ),
            FOO,
        ],
    ),
    (
        "an encoding of a replacement is read and does nothing",
        &[
            (
                "kustomization.yaml",
                "resources: [foo.yaml]\nreplacements:\n- source: {kind: Foo, fieldPath: spec.quoted, options: {encoding: base64}}\n  targets:\n  - {select: {kind: Foo}, fieldPaths: [spec.size], options: {encoding: base64}}\n",
            ),
            FOO,
        ],
    ),
    (
        "a fraction is not put where a whole number stands",
        &[
            (
                "kustomization.yaml",
                "resources: [foo.yaml, bar.yaml]\nreplacements:\n- source: {kind: Bar, fieldPath: spec.f}\n  targets:\n  - {select: {kind: Foo}, fieldPaths: [spec.size]}\n",
            ),
            FOO,
            (
                "bar.yaml",
                "apiVersion: x.io/v1\nkind: Bar\nmetadata: {name: bar}\nspec: {f: 1.5}\n",
            ),
        ],
    ),
    (
        "a word that YAML 1.1 takes for true is not put where a boolean stands",
        &[
            (
                "kustomization.yaml",
                "resources: [foo.yaml, bar.yaml]\nreplacements:\n- source: {kind: Bar, fieldPath: spec.f}\n  targets:\n  - {select: {kind: Foo}, fieldPaths: [spec.flag]}\n",
            ),
            FOO,
            (
                "bar.yaml",
                "apiVersion: x.io/v1\nkind: Bar\nmetadata: {name: bar}\nspec: {f: yes}\n",
            ),
        ],
    ),
    (
        "what a replacement makes below a null is lost",
        &[
            (
                "kustomization.yaml",
                "resources: [foo.yaml]\nreplacements:\n- source: {kind: Foo}\n  targets:\n  - {select: {kind: Foo}, fieldPaths: [spec.nul.x], options: {create: true}}\n",
            ),
            FOO,
        ],
    ),
    (
        "an index from the end counts in the list as a JSON patch makes it",
        &[
            (
                "kustomization.yaml",
                "resources: [foo.yaml]\npatches:\n- target: {kind: Foo}\n  patch: |-\n    - {op: add, path: /spec/hosts/-1, value: last}\n    - {op: add, path: /spec/hosts/-2, value: last but one}\n    - {op: add, path: /spec/hosts/-5, value: first}\n    - {op: remove, path: /spec/hosts/-3}\n",
            ),
            FOO,
        ],
    ),
    (
        "an index from the end that lies before the start is refused",
        &[
            (
                "kustomization.yaml",
                "resources: [foo.yaml]\npatches:\n- target: {kind: Foo}\n  patch: |-\n    - {op: add, path: /spec/hosts/-4, value: none}\n",
            ),
            FOO,
        ],
    ),
    (
        "a var of a null is the word",
        &[
            (
                "kustomization.yaml",
                "resources: [foo.yaml, pod.yaml]\nvars:\n- {name: V, objref: {kind: Foo, name: foo, apiVersion: x.io/v1}, fieldref: {fieldpath: spec.nul}}\n",
            ),
            FOO,
            (
                "pod.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, args: [$(V), 'a$(V)b']}]}\n",
            ),
        ],
    ),
    (
        "notes of other tools and of earlier builds are taken out",
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml, b.yaml, c.yaml]\nnamePrefix: p-\n",
            ),
            (
                "a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  annotations:\n    config.kubernetes.io/index: '0'\n    config.kubernetes.io/path: a.yaml\n    internal.config.kubernetes.io/seqindent: wide\n    config.k8s.io/id: '1'\n",
            ),
            (
                "b.yaml",
                "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: ConfigMap\n  metadata:\n    name: b\n    annotations:\n      config.kubernetes.io/origin: |\n        path: b.yaml\n      alpha.config.kubernetes.io/transformations: '[]'\n      config.kubernetes.io/depends-on: x\n      internal.config.kubernetes.io/unknown: stays\n      keep: \"yes\"\n",
            ),
            (
                "c.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: c, annotations: {}}\nspec: {template: {metadata: {annotations: {config.kubernetes.io/index: '1'}}}}\n",
            ),
        ],
    ),
    (
        "a note that asks for a hash suffix is heeded",
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\nbuildMetadata: [originAnnotations]\n",
            ),
            (
                "a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, annotations: {internal.config.kubernetes.io/needsHashSuffix: enabled}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {volumes: [{name: v, configMap: {name: a}}]}\n",
            ),
        ],
    ),
];
