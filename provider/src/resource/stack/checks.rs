//! The attributes of `verify` and `requires`: the fields of the `Stack` document in snake_case.

use crate::schema::{Attribute, Nesting, Presence, Rule};
use crate::value::Type;

/// `verify` of a component.
pub(super) fn verify() -> Attribute {
    let texts = || Type::map(Type::String);
    Attribute::nested(
        "verify",
        Nesting::List,
        vec![
            Attribute::nested(
                "http",
                Nesting::Single,
                vec![
                    Attribute::optional("namespace", Type::String, "Of the Service. Default: the stack's."),
                    Attribute::required("service", Type::String, "Name of the Service.").rule(Rule::NotEmpty),
                    Attribute::optional(
                        "port",
                        Type::String,
                        "Number or name of its port. May be omitted if it has only one.",
                    ),
                    Attribute::optional(
                        "scheme",
                        Type::String,
                        "Protocol of the pods behind the Service. Default `http`.",
                    )
                    .rule(Rule::OneOf(&["http", "https"])),
                    Attribute::optional("path", Type::String, "Path and query. Default `/`."),
                    Attribute::optional(
                        "status",
                        Type::list(Type::Number),
                        "Expected status codes. Default: 200 to 299.",
                    ),
                    Attribute::optional("body", Type::String, "A text that the body must contain."),
                    Attribute::optional(
                        "json",
                        texts(),
                        "Fields of a JSON body by dotted path, and what each must be, as text.",
                    ),
                ],
                "A GET through the API server (`get` on `services/proxy`), so it needs no way into the cluster's network.",
            ),
            Attribute::nested(
                "exec",
                Nesting::Single,
                vec![
                    Attribute::optional("namespace", Type::String, "Of the pod. Default: the stack's."),
                    Attribute::optional("pod", Type::String, "Name of the pod.").rule(Rule::ConflictsWith("selector")),
                    Attribute::optional("selector", texts(), "Labels of the pod; the first ready one by name."),
                    Attribute::optional("container", Type::String, "Default: the pod's default container."),
                    Attribute::required(
                        "command",
                        Type::list(Type::String),
                        "Program and arguments; not a shell command line. It must end with exit code 0.",
                    ),
                    Attribute::optional("output", Type::String, "A text that its standard output must contain."),
                    Attribute::optional(
                        "timeout",
                        Type::String,
                        "Time limit of one run. Default `30s`.",
                    )
                    .rule(Rule::Duration),
                ],
                "A command in a running pod.",
            ),
            Attribute::optional(
                "timeout",
                Type::String,
                "How long the check is repeated, with growing pauses. Default `1m`.",
            )
            .rule(Rule::Duration),
        ],
        "Checks, each either `http` or `exec`, that run in this order once the component's objects are ready. The \
         component is ready, and its dependants start, only when all checks have succeeded. They run in every apply \
         that has something to do, and when they themselves have changed.",
    )
    .with_presence(Presence::Optional)
}

/// `policies` of a stack.
pub(super) fn policies() -> Attribute {
    Attribute::nested(
        "policies",
        Nesting::List,
        vec![
            Attribute::nested(
                "match",
                Nesting::Single,
                vec![
                    Attribute::optional(
                        "api_version",
                        Type::String,
                        "Only its group matters, for example `apps/v1`.",
                    ),
                    Attribute::optional("kind", Type::String, "For example `StatefulSet`."),
                    Attribute::optional("namespace", Type::String, "Namespace of the object."),
                    Attribute::optional("name", Type::String, "Name of the object."),
                    Attribute::optional("labels", Type::map(Type::String), "Labels that the object must have."),
                ],
                "Which objects the rule applies to; omitted fields match all.",
            ),
            Attribute::required(
                "rule",
                Type::String,
                "A CEL expression over `object` (as it will be sent) and `component` that is true for an object that \
                 satisfies the rule, for example `object.spec.replicas == 1`.",
            )
            .rule(Rule::NotEmpty),
            Attribute::required("message", Type::String, "Message for an object that does not.").rule(Rule::NotEmpty),
        ],
        "The stack's own rules. An object that breaks one is an error in the plan.",
    )
    .with_presence(Presence::Optional)
}

/// `requires` of a stack or a component.
pub(super) fn requires(description: &'static str) -> Attribute {
    Attribute::nested(
        "requires",
        Nesting::List,
        vec![
            Attribute::required("api_version", Type::String, "As in a manifest, for example `apps/v1`."),
            Attribute::required("kind", Type::String, "As in a manifest, for example `Deployment`."),
            Attribute::optional(
                "namespace",
                Type::String,
                "Default: the stack's namespace, for namespaced kinds.",
            ),
            Attribute::required("name", Type::String, "The object's name."),
            Attribute::optional(
                "fields",
                Type::map(Type::String),
                "Fields of the object by dotted path that must have these values as well, for kinds whose status has no \
                 conditions: `{ \"status.currentState\" = \"Initialized\" }`.",
            ),
            Attribute::optional(
                "timeout",
                Type::String,
                "How long to wait for it. Default: the stack's `timeout`.",
            )
            .rule(Rule::Duration),
        ],
        description,
    )
    .with_presence(Presence::Optional)
}
