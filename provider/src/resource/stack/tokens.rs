//! The attributes of a token: the fields of `ProvisioningToken` in snake_case.

use crate::schema::{Attribute, Nesting, Presence, Rule};
use crate::value::Type;

/// Everything that a token may say.
pub(in crate::resource) fn attributes() -> Vec<Attribute> {
    let texts = || Type::map(Type::String);
    let names = || Type::list(Type::String);
    vec![
        Attribute::nested(
            "issuer",
            Nesting::Single,
            vec![
                Attribute::nested(
                    "exec",
                    Nesting::Single,
                    vec![
                        Attribute::optional("namespace", Type::String, "Of the pod. Default: the token's own."),
                        Attribute::optional("pod", Type::String, "Name of the pod, for example `aha-0`.")
                            .rule(Rule::ConflictsWith("selector")),
                        Attribute::optional("selector", texts(), "Labels of the pod; the first ready one by name."),
                        Attribute::optional("container", Type::String, "Default: the pod's default container."),
                        Attribute::required("command", names(), "Program and arguments; not a shell command line."),
                        Attribute::optional("timeout", Type::String, "Time limit. Default `30s`.").rule(Rule::Duration),
                    ],
                    "A command in a running pod whose standard output holds the value. A stack's token waits until the \
                     pod's workload is ready.",
                ),
                Attribute::nested(
                    "random",
                    Nesting::Single,
                    vec![
                        Attribute::optional("bytes", Type::Number, "How many random bytes. Default 32."),
                        Attribute::optional("encoding", Type::String, "Their encoding. Default `base64url`.")
                            .rule(Rule::OneOf(&["base64", "base64url", "hex"])),
                        Attribute::optional("characters", Type::String, "Draw from these characters instead."),
                        Attribute::optional("length", Type::Number, "How many characters. Default 32."),
                    ],
                    "Random bytes, or random characters of a set.",
                ),
                Attribute::nested(
                    "signing_key",
                    Nesting::Single,
                    Vec::new(),
                    "An ed25519 signing key in the format of Matrix Synapse's key file. Write `{}`.",
                ),
            ],
            "What creates the value: exactly one of these.",
        )
        .with_presence(Presence::Required),
        Attribute::optional(
            "extract",
            Type::String,
            "Which part of the command's output is the value: `url` (the one URL in it), `all`, or a regular expression \
             with at most one group. Default `all`.",
        ),
        Attribute::optional(
            "max_length",
            Type::Number,
            "Maximum length of the value in bytes. Default 4096.",
        ),
        Attribute::nested(
            "secret",
            Nesting::Single,
            vec![
                Attribute::optional("namespace", Type::String, "Default: the token's own."),
                Attribute::required("name", Type::String, "Name of the Secret. Created if absent.")
                    .rule(Rule::NotEmpty),
                Attribute::required("key", Type::String, "Key of its data. Other keys are left alone.")
                    .rule(Rule::NotEmpty),
                Attribute::optional("labels", texts(), "Labels set on the Secret."),
                Attribute::optional(
                    "immutable",
                    Type::Bool,
                    "Whether the Secret is made immutable. Default `false`.",
                ),
            ],
            "Where the value goes. It is never in a plan, a state or a log.",
        )
        .with_presence(Presence::Required),
        Attribute::optional("keepers", texts(), "When any of these changes, a new value is minted."),
        Attribute::optional("expires_after", Type::Number, "Seconds after which a new value is due."),
        Attribute::optional(
            "rotate_with",
            names(),
            "Objects as `Kind/name` that the value is tied to: when one of them is recreated (has another UID), a new \
             value is minted.",
        ),
        Attribute::optional(
            "restart",
            names(),
            "Workloads as `Kind/name` that are restarted after the value changed. Pods that wait for the Secret need \
             no restart.",
        ),
        Attribute::optional(
            "revoke",
            names(),
            "Command in the issuer's pod that revokes a value; it gets the value on its standard input.",
        ),
        Attribute::optional(
            "adopt",
            Type::String,
            "Whether a value that the key already holds is adopted instead of refused. Default `never`.",
        )
        .rule(Rule::OneOf(&["never", "always"])),
    ]
}
