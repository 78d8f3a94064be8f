//! The fields of a token: of a document's `spec`, and of an entry of a stack's `tokens`.

use super::{Field, Shape, field, required};
use crate::document::token::{EXPIRES_AFTER, MAX_LENGTH, RANDOM_BYTES, RANDOM_CHARACTERS};

pub(super) fn fields() -> Vec<Field> {
    use Shape::{Fields, Flag, OneOf, Text, TextMap, Texts, Whole, Words};
    let random = vec![
        field("bytes", Whole(RANDOM_BYTES), "How many random bytes. Default 32."),
        field(
            "encoding",
            Words(&["base64", "base64url", "hex"]),
            "Their encoding. Default base64url.",
        ),
        field("characters", Text, "Draw from these characters instead."),
        field("length", Whole(RANDOM_CHARACTERS), "How many characters. Default 32."),
    ];
    let issuer = vec![
        field(
            "exec",
            Fields(exec()),
            "A command in a running pod whose standard output holds the value.",
        ),
        field("random", Fields(random), "Random bytes, or random characters of a set."),
        field(
            "signingKey",
            Fields(Vec::new()),
            "An ed25519 signing key in the format of Matrix Synapse's key file. Write {}.",
        ),
    ];
    let secret = vec![
        field("namespace", Text, "Default: the token's own."),
        required("name", Text, "Name of the Secret. Created if absent."),
        required("key", Text, "Key of its data. Other keys are left alone."),
        field("labels", TextMap, "Labels set on the Secret."),
        field(
            "immutable",
            Flag,
            "Whether the Secret is made immutable. Default false.",
        ),
    ];
    vec![
        required("issuer", OneOf(issuer), "What creates the value: exactly one of these."),
        field(
            "extract",
            Text,
            "Which part of the command's output is the value: url (the one URL in it), all, or a regular expression with at most \
             one group. Default all.",
        ),
        field(
            "maxLength",
            Whole(MAX_LENGTH),
            "Maximum length of the value in bytes. Default 4096.",
        ),
        required(
            "secret",
            Fields(secret),
            "Where the value goes. It is never in a plan, a state, a log or a commit.",
        ),
        field("keepers", TextMap, "When any of these changes, a new value is minted."),
        field(
            "expiresAfter",
            Whole(EXPIRES_AFTER),
            "Seconds after which a new value is due.",
        ),
        field(
            "rotateWith",
            Texts,
            "Objects as Kind/name that the value is tied to: when one of them is recreated (has another UID), a new \
             value is minted.",
        ),
        field(
            "restart",
            Texts,
            "Workloads as Kind/name that are restarted after the value changed. Pods that wait for the Secret need no \
             restart.",
        ),
        field(
            "revoke",
            Texts,
            "Command in the issuer's pod that revokes a value; it gets the value on its standard input.",
        ),
        field(
            "adopt",
            Words(&["never", "always"]),
            "Whether a value that the key already holds is adopted instead of refused. Default never.",
        ),
    ]
}

/// A command in a pod.
pub(super) fn exec() -> Vec<Field> {
    vec![
        field(
            "namespace",
            Shape::Text,
            "Of the pod. Default: the token's or the stack's own.",
        ),
        field(
            "pod",
            Shape::Text,
            "Name of the pod, for example aha-0. Either this or selector.",
        ),
        field(
            "selector",
            Shape::TextMap,
            "Labels of the pod; the first ready one by name.",
        ),
        field("container", Shape::Text, "Default: the pod's default container."),
        required(
            "command",
            Shape::Texts,
            "Program and arguments; not a shell command line.",
        ),
        field(
            "timeout",
            Shape::Duration,
            "Time limit of one run, 10m at most. Default 30s.",
        ),
    ]
}
