//! What a stranger's files brought up: kinds and keys at the edge of what a resource is.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "no image is changed in a definition, wherever it stands",
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\nimages: [{name: nginx, newTag: '2'}]\nconfigurations: [c.yaml]\n",
            ),
            ("c.yaml", "images: [{path: spec/img, kind: CustomResourceDefinition}]\n"),
            (
                "a.yaml",
                "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: a}\nspec: {img: nginx, containers: [{image: nginx}], template: {spec: {containers: [{image: nginx}]}}}\n",
            ),
        ],
    ),
    (
        "Namespaces of the core group come the other way round",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            (
                "a.yaml",
                "{apiVersion: v1, kind: Namespace, metadata: {name: b}}\n---\n{apiVersion: v2, kind: Namespace, metadata: {name: b}}\n---\n{apiVersion: y/v1, kind: Namespace, metadata: {name: b}}\n---\n{apiVersion: x/v1, kind: Namespace, metadata: {name: b}}\n---\n{apiVersion: v1, kind: Namespace, metadata: {name: a}}\n",
            ),
        ],
    ),
    (
        "outermost keys are taken as they are written",
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, 5: {c: d}}'}]\n",
            ),
            (
                "a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n5: {a: b}\n0x10: a\n1.50: b\nTrue: c\n2001-01-01: d\n1_000: e\n.inf: g\n",
            ),
        ],
    ),
    (
        "an outermost key that is null is refused",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            ("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n~: b\n"),
        ],
    ),
    (
        "an inner key that is a number is refused",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            (
                "a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {5: b}\n",
            ),
        ],
    ),
    (
        "a time of day in braces or brackets is a text",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            (
                "a.yaml",
                "apiVersion: v1\nkind: Foo\nmetadata: {name: a}\nspec:\n  a: 2001-1-1 00:00:00\n  b: [2001-1-1 00:00:00, 2001-1-1]\n  c: {d: 2001-1-1T1:00:00Z}\n  e: 2001-01-01    00:00:00\n",
            ),
        ],
    ),
    (
        "a list without items gets metadata",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            ("a.yaml", "apiVersion: v1\nkind: FooList\n"),
        ],
    ),
    (
        "a list whose items are a text is refused",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            ("a.yaml", "apiVersion: v1\nkind: FooList\nitems: a\n"),
        ],
    ),
    (
        "a merge keeps the quotes of what it writes over",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\npatches: [{path: p.yaml}]\n"),
            (
                "a.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: '1'}, annotations: {x: '1'}}\ndata:\n  a1: abc\n  a2: \"abc\"\n  a3: 'abc'\n  a4: |\n    abc\n  a5: >-\n    abc\n  a6: '3'\n  a7: 3\n  a8: true\n  a9: 'true'\n  b1: \"\"\n  b3: !!str abc\n  b5: 'abc'\n  b6: 'abc'\n  b7: 'abc'\n  b9: {x: 'z'}\n  c1: ['z']\n  c2: 'abc'\n  c3: 'abc'\n  c4: 3\n",
            ),
            (
                "p.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {x: 2}, annotations: {x: 2}}\ndata:\n  a1: 5\n  a2: 5\n  a3: 5\n  a4: 5\n  a5: 5\n  a6: 5\n  a7: '5'\n  a8: '5'\n  a9: false\n  b1: 5\n  b3: 5\n  b5: 1.50\n  b6: 2001-01-01\n  b7: yes\n  b9: {x: 5}\n  c1: [5]\n  c2: ~\n  c3: 0x10\n  c4: 'x'\n",
            ),
        ],
    ),
    (
        "… in lists with merge keys and over what patches before it wrote",
        &[
            (
                "kustomization.yaml",
                "resources: [b]\npatches: [{path: p.yaml}]\npatchesStrategicMerge: [q.yaml]\n",
            ),
            (
                "b/kustomization.yaml",
                "resources: [a.yaml]\npatches: [{target: {kind: Pod}, patch: '[{\"op\": \"add\", \"path\": \"/spec/j\", \"value\": \"a: b\"}]'}]\n",
            ),
            (
                "b/a.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - {name: \"a\", image: \"x: y\", env: [{name: \"E\", value: \"5\"}], ports: [{containerPort: \"80\", name: q}]}\n",
            ),
            (
                "q.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {plain: x, quoted: '1', word: 'x'}\n",
            ),
            (
                "p.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  plain: 1\n  quoted: 1\n  word: 1\n  j: 1\n  containers:\n  - {name: a, image: 5, env: [{name: E, value: 6}], ports: [{containerPort: 80, name: 5}]}\n",
            ),
        ],
    ),
    (
        "… over what a generator, a label, an image and a list of resources wrote",
        &[
            ("kustomization.yaml", "resources: [b]\npatches: [{path: p.yaml}]\n"),
            (
                "b/kustomization.yaml",
                "resources: [a.yaml, c.yaml]\ncommonLabels: {l: abc, m: '5'}\nimages: [{name: nginx, newTag: '1'}]\nconfigMapGenerator: [{name: g, literals: [a=abc, b=5, \"c=a\\nb\"]}]\n",
            ),
            (
                "b/a.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {containers: [{name: x, image: nginx}, {name: z, image: 'nginx'}]}}}\n",
            ),
            (
                "b/c.yaml",
                "{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Foo, metadata: {name: c}, spec: {a: x, b: '5'}}]}\n---\n{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Foo, metadata: {name: d}, spec: {a: x, b: '5', c: 6}}]}\n",
            ),
            (
                "p.yaml",
                "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {selector: {matchLabels: {l: 5, m: 6}}, template: {spec: {containers: [{name: x, image: 5}, {name: z, image: 5}]}}}\n---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: g}, data: {a: 5, b: 6, c: 7}}\n---\n{apiVersion: v1, kind: Foo, metadata: {name: c}, spec: {a: 5, b: 6}}\n---\n{apiVersion: v1, kind: Foo, metadata: {name: d}, spec: {a: 5, b: 6, c: 7}}\n",
            ),
        ],
    ),
    (
        "a text where volumes belong is refused, with nothing to refer to",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            (
                "a.yaml",
                "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {volumes: x}\n",
            ),
        ],
    ),
    (
        "a subject without a name is refused",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            (
                "a.yaml",
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}\nsubjects: [{kind: ServiceAccount}]\n",
            ),
        ],
    ),
    (
        "a service account's namespace that is null is refused in a RoleBinding",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\n"),
            (
                "a.yaml",
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}\nsubjects: [{kind: ServiceAccount, name: b, namespace: null}]\n",
            ),
        ],
    ),
    (
        "… and taken where it is empty",
        &[
            ("kustomization.yaml", "resources: [a.yaml]\nnamePrefix: p-\n"),
            (
                "a.yaml",
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}\nsubjects: [{kind: ServiceAccount, name: b, namespace: ''}]\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b}\n",
            ),
        ],
    ),
    (
        "a patch that makes a text of the metadata is refused",
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches:\n- target: {kind: Foo}\n  patch: '[{\"op\": \"copy\", \"from\": \"/spec/a\", \"path\": \"/metadata\"}]'\n- target: {kind: Foo}\n  patch: '[{\"op\": \"add\", \"path\": \"/spec/b\", \"value\": 1}]'\n",
            ),
            (
                "a.yaml",
                "{apiVersion: x/v1, kind: Foo, metadata: {name: a}, spec: {a: b}}\n",
            ),
        ],
    ),
    (
        "a list whose metadata is a text is refused where a patch looks at it",
        &[
            (
                "kustomization.yaml",
                "resources: [a.yaml]\npatches: [{target: {kind: FooList}, patch: '[{\"op\": \"add\", \"path\": \"/x\", \"value\": 1}]'}]\n",
            ),
            ("a.yaml", "{apiVersion: v1, kind: FooList, metadata: x}\n"),
        ],
    ),
];
