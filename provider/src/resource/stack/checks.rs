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
                        "Number or name of its port. May be left out when it has only one.",
                    ),
                    Attribute::optional(
                        "scheme",
                        Type::String,
                        "What stands behind the Service speaks. Default `http`.",
                    )
                    .rule(Rule::OneOf(&["http", "https"])),
                    Attribute::optional("path", Type::String, "Path and query. Default `/`."),
                    Attribute::optional(
                        "status",
                        Type::list(Type::Number),
                        "Status codes that are well. Default: 200 to 299.",
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
                        "Program and arguments. Never a shell line. It must end with exit code 0.",
                    ),
                    Attribute::optional("output", Type::String, "A text that its standard output must contain."),
                    Attribute::optional(
                        "timeout",
                        Type::String,
                        "What one run may take. Default `30s`.",
                    )
                    .rule(Rule::Duration),
                ],
                "A command in a running pod.",
            ),
            Attribute::optional(
                "timeout",
                Type::String,
                "How long it is asked again, with growing pauses. Default `1m`.",
            )
            .rule(Rule::Duration),
        ],
        "Questions, each either `http` or `exec`, that are asked in this order once the component's objects are ready. Only \
         when they are answered as wanted is the component ready, and what waits for it starts. They are asked in every apply \
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
                    Attribute::optional("api_version", Type::String, "Its group counts, for example `apps/v1`."),
                    Attribute::optional("kind", Type::String, "For example `StatefulSet`."),
                    Attribute::optional("namespace", Type::String, "Namespace of the object."),
                    Attribute::optional("name", Type::String, "Name of the object."),
                    Attribute::optional(
                        "labels",
                        Type::map(Type::String),
                        "Labels that the object must have.",
                    ),
                ],
                "Which objects the rule is about; what is left out matches all.",
            ),
            Attribute::required(
                "rule",
                Type::String,
                "A CEL expression over `object` (as it will be sent) and `component` that is true for an object that keeps \
                 the rule, for example `object.spec.replicas == 1`.",
            )
            .rule(Rule::NotEmpty),
            Attribute::required("message", Type::String, "What is said of an object that does not.").rule(Rule::NotEmpty),
        ],
        "Rules of the stack's own. An object that breaks one is an error of the plan.",
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
                "Default: the stack's, for kinds that have one.",
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
                "How long it is waited for. Default: as long as the stack's `timeout` lasts.",
            )
            .rule(Rule::Duration),
        ],
        description,
    )
    .with_presence(Presence::Optional)
}
