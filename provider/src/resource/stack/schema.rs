//! The schema of `myelin_stack`: the fields of the `Stack` document in snake_case, and the computed attributes.

use super::checks::{policies, requires, verify};
use crate::schema::{Attribute, IdentityAttribute, IdentitySchema, Nesting, Presence, Rule, Schema};
use crate::value::Type;

/// Configuration and state of a stack.
pub(super) fn schema() -> Schema {
    let texts = || Type::map(Type::String);
    let names = || Type::list(Type::String);
    Schema {
        version: 0,
        description: "A phased stack: Kubernetes objects in components that start in order, each only when those it \
                      needs are ready.\n\nObjects are applied with server-side apply as the field manager `myelin`. \
                      What the stack owns is recorded in one Secret in its namespace before it is created, so an \
                      interrupted apply or a lost state file loses nothing: the next apply takes over what exists. \
                      Fields that others own (an autoscaler, a webhook, defaults) are not the stack's and never show \
                      as drift.",
        attributes: vec![
            Attribute::required(
                "name",
                Type::String,
                "Name of the stack. Together with the namespace it identifies its record.",
            )
            .replaces()
            .rule(Rule::DnsLabel),
            Attribute::required(
                "namespace",
                Type::String,
                "Namespace of the record and of every object that names none. Created if absent.",
            )
            .replaces()
            .rule(Rule::DnsLabel),
            Attribute::required(
                "source",
                Type::String,
                "Folder of a kustomization, or a folder or file of manifests. Usually begins with `${path.module}`.",
            )
            .rule(Rule::NotEmpty),
            Attribute::optional(
                "images",
                texts(),
                "Image name to tag, `sha256:` digest, or a whole other reference. May be unknown while planning.",
            ),
            Attribute::optional(
                "substitute",
                texts(),
                "Values of `${NAME}` in manifests. A variable without a value is an error. May be unknown while \
                 planning: only the objects that use it become unknown.",
            ),
            Attribute::optional(
                "substitute_wo",
                texts(),
                "Values of `${NAME}` that are stored nowhere: not in the plan, not in the state. They take precedence \
                 over `substitute` and are used in every apply. Terraform does not notice a changed value: change \
                 `substitute_wo_version` with it.",
            )
            .write_only(),
            Attribute::optional(
                "substitute_wo_version",
                Type::String,
                "Anything that changes when a value of `substitute_wo` does.",
            )
            .rule(Rule::Needs("substitute_wo")),
            Attribute::nested(
                "components",
                Nesting::Map,
                vec![
                    Attribute::required(
                        "path",
                        Type::String,
                        "Folder or file under the source. Objects from it belong to the component.",
                    )
                    .rule(Rule::NotEmpty),
                    Attribute::optional(
                        "after",
                        names(),
                        "Components that must be ready before this one starts.",
                    ),
                    Attribute::optional(
                        "tokens",
                        names(),
                        "Tokens that must be stored before this component starts.",
                    ),
                    requires("Objects of others that must be ready before this component starts."),
                    verify(),
                    Attribute::optional(
                        "timeout",
                        Type::String,
                        "How long this component may take once it starts.",
                    )
                    .rule(Rule::Duration),
                ],
                "Parts that become ready as a unit, by name. Without any, the whole source is one component. Objects \
                 under no component's path are applied before all components.",
            )
            .rule(Rule::KeysAreDnsLabels),
            Attribute::nested(
                "tokens",
                Nesting::Map,
                super::tokens::attributes(),
                "One-time secrets by name: minted once, after what their component waits for and before the component \
                 itself, and stored in a Secret.",
            )
            .rule(Rule::KeysAreDnsLabels),
            requires(
                "Objects of others that must be ready before anything of the stack except its namespace is applied.",
            ),
            policies(),
            Attribute::optional("timeout", Type::String, "Time limit of every wait. Default `15m`.")
                .rule(Rule::Duration),
            Attribute::nested(
                "timeouts",
                Nesting::Single,
                vec![
                    Attribute::optional("create", Type::String, "For the first apply.").rule(Rule::Duration),
                    Attribute::optional("update", Type::String, "For later ones.").rule(Rule::Duration),
                    Attribute::optional("delete", Type::String, "For the destroy.").rule(Rule::Duration),
                ],
                "Time limits of single operations, if one `timeout` does not fit all of them.",
            ),
            Attribute::optional(
                "prune",
                Type::Bool,
                "Whether objects that are no longer rendered are deleted, after everything new is ready. Default `true`.",
            ),
            Attribute::optional(
                "delete_protected",
                names(),
                "Kinds among `PersistentVolumeClaim`, `PersistentVolume`, `Namespace` and `CustomResourceDefinition` \
                 that prune and destroy may delete.",
            ),
            Attribute::optional(
                "replace",
                names(),
                "Kinds whose objects may be deleted and recreated when an immutable field must change. Jobs of the \
                 stack always may, once no pod of the old one runs; with `Job` in this list a running one is stopped.",
            ),
            Attribute::optional(
                "adopt",
                Type::String,
                "What to do with an object that exists and that no stack's record names. Default `never`.",
            )
            .rule(Rule::OneOf(&["never", "ifUnowned", "always"])),
            Attribute::optional(
                "conflicts",
                Type::String,
                "What to do when another field manager owns a field with another value. Default `fail`.",
            )
            .rule(Rule::OneOf(&["fail", "force", "yield"])),
            Attribute::optional(
                "on_failure",
                Type::String,
                "What to do when a component fails. `stop` keeps what is healthy and starts nothing that waits for \
                 the failed one. `rollback` returns to the last state in which everything was ready, through the same \
                 gates, and the apply fails all the same; a first apply has no such state and stops. A Job that the \
                 failed apply ran is removed, not run again. For this purpose the manifests of the last good state, \
                 including values of Secrets, are stored compressed in the stack's record, which is a Secret. Default \
                 `stop`.",
            )
            .rule(Rule::OneOf(&["stop", "rollback"])),
            Attribute::optional(
                "restart_on_config_change",
                Type::Bool,
                "Whether pod templates carry a checksum of the ConfigMaps and Secrets of the stack that they read. \
                 Default `true`.",
            ),
            Attribute::computed("id", Type::String, "`namespace/name`."),
            Attribute::computed(
                "objects",
                texts(),
                "Every object as it should be, in canonical JSON, by `group/Kind/namespace/name`. Data of Secrets is \
                 masked by keyed hash; values that contain a variable of `substitute_wo` are masked without a hash. \
                 The namespace that the stack creates for itself is not included.",
            ),
            Attribute::computed(
                "ready",
                Type::Bool,
                "Whether everything was ready at the end of the last apply.",
            ),
            Attribute::computed(
                "components_status",
                texts(),
                "Status of each component at the end of the last apply.",
            ),
            Attribute::nested(
                "tokens_status",
                Nesting::Map,
                vec![
                    Attribute::computed("secret_uid", Type::String, "UID of the Secret that holds the value."),
                    Attribute::computed("value_hash", Type::String, "Keyed hash of the value."),
                    Attribute::computed(
                        "minted_at",
                        Type::String,
                        "When the value was minted, or adopted (RFC 3339).",
                    ),
                    Attribute::computed("expires_at", Type::String, "When a new value is due (RFC 3339)."),
                    Attribute::computed("mints", Type::Number, "How often a value was minted."),
                ],
                "Facts about each token; never its value.",
            )
            .with_presence(Presence::Computed),
            Attribute::computed(
                "revision",
                Type::String,
                "Names what was last applied completely; null until the first apply succeeds.",
            ),
        ],
    }
}

/// What names a stack forever. The cluster is the provider block's.
pub(super) fn identity() -> IdentitySchema {
    let part = |name, description| IdentityAttribute {
        name,
        required: true,
        description,
    };
    IdentitySchema {
        version: 0,
        attributes: vec![
            part("namespace", "Namespace of the stack."),
            part("name", "Name of the stack."),
        ],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::schema::Kind;

    /// The rules that Terraform checks when it loads a schema; breaking one makes the whole provider unusable.
    fn check(attributes: &[Attribute], top: bool) {
        let mut names = BTreeSet::new();
        for attribute in attributes {
            let name = attribute.name;
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            );
            assert!(names.insert(name), "{name} twice");
            assert!(!attribute.description.is_empty(), "{name} says nothing");
            assert!(!(attribute.write_only && attribute.is_computed()), "{name}");
            assert!(
                top || !attribute.write_only,
                "{name}: write-only attributes are all at the top"
            );
            assert!(
                attribute.rules.is_empty() || attribute.presence != Presence::Computed,
                "{name}"
            );
            if let Kind::Nested(_, inner) = &attribute.kind {
                check(inner, false);
            }
        }
    }

    #[test]
    fn terraform_can_load_every_schema() {
        check(&schema().attributes, true);
        check(&crate::configuration::schema().attributes, true);
    }
}
