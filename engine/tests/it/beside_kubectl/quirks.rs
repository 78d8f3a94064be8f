//! Consequences of how the original keeps resources: shared nodes, its notes among the annotations, round trips through
//! JSON and YAML.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "a label that a base put at several places is one in all of them for an overlay's label",
        &[
            (
                "kustomization.yaml",
                "resources: [base]\nlabels: [{pairs: {app: over}}]\n",
            ),
            (
                "base/kustomization.yaml",
                "resources: [a.yaml]\ncommonLabels: {app: base}\n",
            ),
            (
                "base/a.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec: {containers: [{name: c, image: x}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "… and for a patch, with the last write in the order of keys",
        &[
            (
                "kustomization.yaml",
                "resources: [base]\npatches:\n- patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: a, labels: {app: smp}}\n- patch: |-\n    apiVersion: v1\n    kind: Service\n    metadata: {name: a, labels: {app: smp}}\n    spec: {selector: {app: base}}\n",
            ),
            (
                "base/kustomization.yaml",
                "resources: [a.yaml]\ncommonLabels: {app: base}\n",
            ),
            (
                "base/a.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec: {containers: [{name: c, image: x}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "… and for a replacement",
        &[
            (
                "kustomization.yaml",
                "resources: [base]\nreplacements:\n- source: {kind: Service, name: a, fieldPath: kind}\n  targets: [{select: {kind: Deployment}, fieldPaths: [metadata.labels.app]}]\n",
            ),
            (
                "base/kustomization.yaml",
                "resources: [a.yaml]\ncommonLabels: {app: base}\n",
            ),
            (
                "base/a.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec: {containers: [{name: c, image: x}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "… until a JSON patch builds the resource anew",
        &[
            (
                "kustomization.yaml",
                "resources: [base]\nlabels: [{pairs: {app: over}}]\npatches:\n- target: {kind: Deployment}\n  patch: |-\n    - {op: add, path: /spec/replicas, value: 2}\n",
            ),
            (
                "base/kustomization.yaml",
                "resources: [a.yaml]\ncommonLabels: {app: base}\n",
            ),
            (
                "base/a.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec: {containers: [{name: c, image: x}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "an annotation that a base put at several places is one until a name changes",
        &[
            (
                "kustomization.yaml",
                "resources: [base]\nnamePrefix: p-\npatches:\n- patch: |-\n    apiVersion: apps/v1\n    kind: Deployment\n    metadata: {name: a, annotations: {note: smp}}\ncommonAnnotations: {x: y}\n",
            ),
            (
                "base/kustomization.yaml",
                "resources: [a.yaml]\ncommonAnnotations: {note: base}\n",
            ),
            (
                "base/a.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec: {containers: [{name: c, image: x}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "replicas in quotes stay in quotes",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nreplicas: [{name: a, count: 0}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: \"4\"}\n",
            ),
        ],
    ),
    (
        "after a component no two resources have the same name",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\ncomponents: [c]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
            ),
            (
                "c/kustomization.yaml",
                "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches:\n- target: {kind: ConfigMap, name: b}\n  options: {allowNameChange: true}\n  patch: |-\n    - {op: replace, path: /metadata/name, value: a}\n",
            ),
        ],
    ),
    (
        "a folded text that cannot be a block keeps its line breaks",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: >\n    first \n      deeper\n\n  b: >+\n    first\n      😀\n\n",
            ),
        ],
    ),
    (
        "hexadecimal, octal and binary past 64 bits are texts",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 0x1ffffffffffffffff, b: \"0o7777777777777777777777777\", c: 0b10000000000000000000000000000000000000000000000000000000000000000000000}\n",
            ),
        ],
    ),
    (
        "the line break NEL folds on the way through JSON",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: \"x \\N y\\N\\Nz\\N\"}\n",
            ),
        ],
    ),
    (
        "control characters that YAML allows only escaped are refused",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: \"x\\x7f\"}\n",
            ),
        ],
    ),
    (
        "a JSON patch makes floats of all numbers",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatches: [{target: {kind: Foo}, patch: \"- {op: add, path: /x, value: 9007199254740993}\"}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: x.io/v1\nkind: Foo\nmetadata: {name: a}\nspec: [9223372036854775807, 18446744073709551615, 1.50, 0x10, 1000000, 1e30, null]\n",
            ),
        ],
    ),
    (
        "a JSON patch's path begins after its first slash",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatches: [{target: {kind: ConfigMap}, patch: \"- {op: add, path: data/x, value: y}\"}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: z}\n",
            ),
        ],
    ),
    (
        "a JSON patch replaces the whole resource",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatches: [{target: {kind: ConfigMap}, patch: \"[{\\\"op\\\": \\\"test\\\", \\\"path\\\": \\\"/data/x\\\", \\\"value\\\": \\\"z\\\"}, {\\\"op\\\": \\\"replace\\\", \\\"path\\\": \\\"\\\", \\\"value\\\": {\\\"apiVersion\\\": \\\"v1\\\", \\\"kind\\\": \\\"Foo\\\", \\\"metadata\\\": {\\\"name\\\": \\\"q\\\"}}}]\"}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: z}\n",
            ),
        ],
    ),
    (
        "a JSON patch cannot remove the whole resource",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatches: [{target: {kind: ConfigMap}, patch: \"- {op: remove, path: \\\"\\\"}\"}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: z}\n",
            ),
        ],
    ),
    (
        "a workload whose spec is no map is refused, with nothing to refer to",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: x\n",
            ),
        ],
    ),
    (
        "a patch that wipes all annotations wipes the names that a resource had, and its hash",
        &[
            (
                "kustomization.yaml",
                "resources: [base]\nnameSuffix: -s\npatches:\n- patch: |-\n    apiVersion: v1\n    kind: ServiceAccount\n    metadata: {name: s, annotations: null}\n- patch: |-\n    apiVersion: v1\n    kind: ConfigMap\n    metadata: {name: cm, annotations: {$patch: replace, x: y}}\n",
            ),
            (
                "base/kustomization.yaml",
                "resources: [a.yaml]\nnamePrefix: p-\nconfigMapGenerator: [{name: cm, literals: [a=b]}]\n",
            ),
            (
                "base/a.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec: {containers: [{name: c, envFrom: [{configMapRef: {name: cm}}]}], serviceAccountName: s}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: s}\n",
            ),
        ],
    ),
    (
        "a JSON patch that wipes all annotations wipes where a resource comes from",
        &[
            (
                "kustomization.yaml",
                "resources: [base]\nnameSuffix: -s\npatches:\n- target: {kind: ServiceAccount}\n  patch: |-\n    - {op: remove, path: /metadata/annotations}\n- target: {kind: Deployment}\n  patch: |-\n    - {op: add, path: /metadata/annotations/x, value: y}\nbuildMetadata: [transformerAnnotations, originAnnotations]\n",
            ),
            (
                "base/kustomization.yaml",
                "resources: [a.yaml]\nnamePrefix: p-\nconfigMapGenerator: [{name: cm, literals: [a=b]}]\n",
            ),
            (
                "base/a.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec:\n  template:\n    spec: {containers: [{name: c, envFrom: [{configMapRef: {name: cm}}]}], serviceAccountName: s}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: s}\n",
            ),
        ],
    ),
    (
        "a block of text that starts with a tab is refused",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a: |2\n    \tx\n    y\n",
            ),
        ],
    ),
    (
        "a quoted text that starts with a tab is taken",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: \"\\tx\\ny\\n\"}\n",
            ),
        ],
    ),
    (
        "a file that starts with a tab is refused",
        &[
            ("kustomization.yaml", "configMapGenerator: [{name: a, files: [f]}]\n"),
            ("f", "\tx\ny\n"),
        ],
    ),
    (
        "a file that starts with a tab is taken for a Secret",
        &[
            ("kustomization.yaml", "secretGenerator: [{name: a, files: [f]}]\n"),
            ("f", "\tx\ny\n"),
        ],
    ),
    (
        "an index in the place of a reference is refused where it meets a map",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nconfigurations: [c.yaml]\nvars: [{name: V, objref: {apiVersion: apps/v1, kind: Deployment, name: a}}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{name: c, env: [{name: X, value: $(V)}]}]}}}\n",
            ),
            (
                "c.yaml",
                "varReference: [{path: spec/template/spec/containers/0/env/0/value, kind: Deployment}]\n",
            ),
        ],
    ),
    (
        "brackets keep a key with dots together",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nreplacements:\n- source: {kind: ConfigMap, name: a}\n  targets: [{select: {kind: ConfigMap}, fieldPaths: [\"metadata.annotations.[example.com/x]\"], options: {create: true}}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {}\n",
            ),
        ],
    ),
    (
        "a directive for a list that is new stays in it",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatches:\n- patch: |-\n    apiVersion: apps/v1\n    kind: StatefulSet\n    metadata: {name: a}\n    spec: {template: {spec: {volumes: [{$patch: replace}, {name: only, emptyDir: {}}]}}}\n",
            ),
            (
                "s.yaml",
                "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{name: c}]}}}\n",
            ),
        ],
    ),
    (
        "an origin that a JSON patch wiped is the patch's",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nbuildMetadata: [originAnnotations]\npatches:\n- target: {kind: ConfigMap}\n  patch: |-\n    - {op: add, path: /metadata/annotations, value: {x: y}}\n",
            ),
            ("s.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"),
        ],
    ),
];
