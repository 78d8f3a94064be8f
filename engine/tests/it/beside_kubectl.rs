//! Small kustomizations rendered by us and by the `kubectl` on the PATH: byte for byte the same. One for each difference that was
//! ever found on a real or a random tree, so that it stays away.

use std::path::Path;
use std::process::Command;

use myelin_engine::render::{Options, render_kustomization};
use myelin_engine::tree::{Tree, TreeLimits, TreePath};
use myelin_engine::yaml::emit;

/// What is special about a tree, and its files.
const CASES: &[(&str, &[(&str, &str)])] = &[
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
];

fn ours(folder: &Path) -> Result<String, String> {
    let tree = Tree::open(folder, TreeLimits::default()).map_err(|e| e.to_string())?;
    let objects = render_kustomization(&tree, &TreePath::root(), &Options::default()).map_err(|e| e.to_string())?;
    let documents: Vec<String> = objects.iter().map(|object| emit(&object.value)).collect();
    Ok(documents.join("---\n"))
}

#[test]
fn kubectl_prints_the_same() {
    let mut differences = Vec::new();
    for (name, files) in CASES {
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
