//! The fields of a kustomization: what they accept, refuse and do.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "a null in labels or annotations of an entry of patchesStrategicMerge removes nothing",
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatchesStrategicMerge:\n- |-\n  apiVersion: v1\n  kind: ConfigMap\n  metadata:\n    name: a\n    \
             labels: {app: null}\n    annotations: null\n",
            ),
            (
                "a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  labels: {app: x}\n  annotations: {note: y}\n",
            ),
        ],
    ),
    (
        "an unknown field of a configuration is refused",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\nconfigurations: [c.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            ("c.yaml", "namePrefix: []\nzork: 1\n"),
        ],
    ),
    (
        "an unknown field of a place in a configuration is refused",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\nconfigurations: [c.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            ("c.yaml", "namePrefix: [{path: a, zork: 1}]\n"),
        ],
    ),
    (
        "a configuration writes its fields in any case",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nnamePrefix: p-\nconfigurations: [c.yaml]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            ("c.yaml", "nameprefix: [{Path: metadata/name, kind: Pod}]\n"),
        ],
    ),
    (
        "a plugin configuration takes numbers for texts, and fields it does not know",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\ntransformers: [t.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            (
                "t.yaml",
                "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: x}\nzork: 1\nlabels: {a: 1, b: true, c: 1.50}\nfieldSpecs: [{path: metadata/labels}]\n",
            ),
        ],
    ),
    (
        "a prefix transformer without places is refused",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\ntransformers: [t.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            (
                "t.yaml",
                "apiVersion: builtin\nkind: PrefixTransformer\nmetadata: {name: x}\nprefix: p-\n",
            ),
        ],
    ),
    (
        "a value is added to fields, which are made",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\ntransformers: [t.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            (
                "t.yaml",
                "apiVersion: builtin\nkind: ValueAddTransformer\nmetadata: {name: x}\nvalue: \"5\"\ntargets: [{fieldPath: spec/new/deep}, {fieldPath: metadata/annotations/a, selector: {kind: Serv.*}}, {fieldPath: spec/ports/[port=80]/name}, {fieldPath: spec/ports/9}]\n",
            ),
        ],
    ),
    (
        "a value is added to file paths",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\ntransformers: [t.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            (
                "t.yaml",
                "apiVersion: builtin\nkind: ValueAddTransformer\nmetadata: {name: x}\nvalue: v\ntargets: [{fieldPath: metadata/name, filePathPosition: 2}, {fieldPath: metadata/labels/x, filePathPosition: 1}, {fieldPath: kind, filePathPosition: 7}]\n",
            ),
        ],
    ),
    (
        "a value needs a target",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\ntransformers: [t.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            (
                "t.yaml",
                "apiVersion: builtin\nkind: ValueAddTransformer\nmetadata: {name: x}\nvalue: v\n",
            ),
        ],
    ),
    (
        "replacements in a file may have fields that nobody knows",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nreplacements: [{path: r.yaml}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            (
                "r.yaml",
                "zork: 1\nsource: {kind: Service, name: a}\ntargets: [{select: {kind: Service}, fieldPaths: [spec.x], options: {create: true, zork: 1}}]\n",
            ),
        ],
    ),
    (
        "of a file of replacements the first document counts",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nreplacements: [{path: r.yaml}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            (
                "r.yaml",
                "source: {kind: Service, name: a}\ntargets: [{select: {kind: Service}, fieldPaths: [spec.x], options: {create: true}}]\n---\nzork\n",
            ),
        ],
    ),
    (
        "a JSON patch replaces a key that is not there",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatches: [{target: {kind: Service}, patch: \"[{\\\"op\\\": \\\"replace\\\", \\\"path\\\": \\\"/spec/q\\\", \\\"value\\\": 1}]\"}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "a JSON patch that takes the kind away is refused",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatches: [{target: {kind: Service}, patch: \"- {op: remove, path: /kind}\"}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "patchesJson6902 selects by name only",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatchesJson6902: [{target: {kind: Service}, patch: \"- {op: remove, path: /spec}\"}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "a label selector with a wrong value is refused",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatches: [{target: {labelSelector: x=-y}, patch: \"- {op: remove, path: /spec}\"}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "a patch that replaces the whole resource changes nothing",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\npatches:\n- patch: |-\n    $patch: replace\n    apiVersion: v1\n    kind: Service\n    metadata: {name: a}\n    spec: {q: 1}\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "a label without a name is refused",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\ncommonLabels: {\"\": x}\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "an unknown option of buildMetadata has no effect",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\nbuildMetadata: [zork]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "no Helm charts are fine",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nhelmCharts: []\nhelmGlobals: {}\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "the metadata of a kustomization is read",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nmetadata: {name: x, zork: y}\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "openapi has a path or a version",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nopenapi: {path: s.yaml, version: v1.21.2}\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
        ],
    ),
    (
        "a line of an env file without a name is passed over",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nconfigMapGenerator: [{name: z, envs: [e.env]}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            ("e.env", "=x\nA=1\n"),
        ],
    ),
    (
        "a file with a byte order mark is escaped as a whole",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nconfigMapGenerator: [{name: z, files: [t.txt]}]\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Service\nmetadata: {name: a, labels: {x: y}}\nspec: {ports: [{port: 80}]}\n",
            ),
            ("t.txt", "\u{feff}a b\nc\n"),
        ],
    ),
    (
        "a key that is not written is the empty text",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: Foo\nmetadata: {name: a}\nspec:\n- &op:\n  a: b\n",
            ),
        ],
    ),
    (
        "two resources of one name in the end are refused",
        &[
            (
                "kustomization.yaml",
                "resources: [s.yaml]\nnamespace: n\npatches:\n- patch: \"- {op: replace, path: /metadata/name, value: b}\"\n  target: {kind: ConfigMap}\n",
            ),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
            ),
        ],
    ),
];
