//! How files are split into documents, and documents into resources.

use super::Case;

pub(super) const CASES: &[Case] = &[
    (
        "a separator may be followed by a comment at once",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---#x\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n--- # y\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---",
            ),
        ],
    ),
    (
        "a separator with content is refused",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n--- {}\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
            ),
        ],
    ),
    (
        "the first line may have content behind its dashes",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "--- {\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
            ),
        ],
    ),
    (
        "what follows the end of a document is not read",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n...\nno: [yaml\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
            ),
        ],
    ),
    (
        "a directive ends a document",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "\u{feff}apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n%YAML 1.1\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
            ),
        ],
    ),
    (
        "a directive at the start is refused",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "%YAML 1.1\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
            ),
        ],
    ),
    (
        "the end of no document is refused",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "...\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n",
            ),
        ],
    ),
    (
        "lines that end in a carriage return alone separate nothing",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "---\rapiVersion: v1\rkind: ConfigMap\rmetadata: {name: a}\r---\rapiVersion: v1\rkind: ConfigMap\rmetadata: {name: b}\r",
            ),
        ],
    ),
    (
        "windows' lines are lines",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\r\nnamespace: x\r\n"),
            (
                "s.yaml",
                "---\r\napiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: a}\r\ndata:\r\n  t: |\r\n    x\r\n    y\r\n  q: \"x\r\n    y\"\r\n---\r\napiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: b}\r\n",
            ),
        ],
    ),
    (
        "what is nothing in lists and files is left out",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: List\nitems:\n- null\n- {}\n- apiVersion: v1\n  kind: ConfigMap\n  metadata: {name: a}\n---\n[]\n---\n~\n---\napiVersion: x/v1\nkind: FooList\nitems:\n- null\n- apiVersion: x/v1\n  kind: Foo\n  metadata: {name: b, labels: {v: 1.50}}\n  spec: [0x10, 1e3, 2001-01-01]\n",
            ),
        ],
    ),
    (
        "one list alone is opened as it is",
        &[
            ("kustomization.yaml", "resources: [s.yaml]\n"),
            (
                "s.yaml",
                "apiVersion: v1\nkind: List\nitems:\n- null\n- apiVersion: x/v1\n  kind: Foo\n  metadata: {name: b, annotations: {v: 1.50}}\n",
            ),
        ],
    ),
];
