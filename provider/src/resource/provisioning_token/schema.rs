//! The schema of `myelin_provisioning_token`. The fields of a token are those of a stack's `tokens`.

use crate::resource::stack::tokens;
use crate::schema::{Attribute, IdentityAttribute, IdentitySchema, Nesting, Rule, Schema};
use crate::value::Type;

/// Configuration and state of a token.
pub(super) fn schema() -> Schema {
    let mut attributes = vec![
        Attribute::required(
            "name",
            Type::String,
            "Name of the token. Together with the namespace it identifies its record.",
        )
        .replaces()
        .rule(Rule::DnsLabel),
        Attribute::required(
            "namespace",
            Type::String,
            "Namespace of the record, and of the Secret and the pod if they name none. It must exist.",
        )
        .replaces()
        .rule(Rule::DnsLabel),
    ];
    attributes.extend(tokens::attributes());
    attributes.extend([
        Attribute::nested(
            "timeouts",
            Nesting::Single,
            vec![
                Attribute::optional("create", Type::String, "For the first apply. Default `5m`.").rule(Rule::Duration),
                Attribute::optional("update", Type::String, "For later ones. Default `5m`.").rule(Rule::Duration),
                Attribute::optional("delete", Type::String, "For the destroy. Default `5m`.").rule(Rule::Duration),
            ],
            "Ends of single operations.",
        ),
        Attribute::computed("id", Type::String, "`namespace/name`."),
        Attribute::computed("secret_uid", Type::String, "UID of the Secret that holds the value."),
        Attribute::computed(
            "value_hash",
            Type::String,
            "Keyed hash of the value: it changes when the value does. The key is in the cluster; the hash alone \
             reveals nothing.",
        ),
        Attribute::computed(
            "minted_at",
            Type::String,
            "When the value was minted, or adopted (RFC 3339).",
        ),
        Attribute::computed(
            "expires_at",
            Type::String,
            "When a new value is due (RFC 3339); null without `expires_after`.",
        ),
        Attribute::computed(
            "mints",
            Type::Number,
            "How often a value was minted; 0 for an adopted one.",
        ),
        Attribute::computed(
            "due",
            Type::String,
            "What the next apply will do to the value, and why; null while there is nothing to do.",
        ),
    ]);
    Schema {
        version: 0,
        description: "A one-time secret: minted once by a command in a pod, or generated as random bytes or as a \
                      signing key, and stored in a key of a Kubernetes Secret.\n\nThe value is never in a plan, a \
                      state or a log: the state holds where it is, a keyed hash, times and counts. A mint is recorded \
                      in the cluster before it begins, so a killed apply, a lost state or two applies at once never \
                      mint twice silently. A destroy runs `revoke` if there is one, and removes the key, and the \
                      Secret too if nothing else is in it; an adopted value stays. A plan never mints.",
        attributes,
    }
}

/// What names a token forever. The cluster is the provider block's.
pub(super) fn identity() -> IdentitySchema {
    let part = |name, required, description| IdentityAttribute {
        name,
        required,
        description,
    };
    IdentitySchema {
        version: 0,
        attributes: vec![
            part("namespace", true, "Namespace of the token."),
            part("name", true, "Name of the token."),
            part(
                "secret",
                false,
                "Name of the Secret. Needed to import a value that no token made.",
            ),
            part(
                "key",
                false,
                "Key of the Secret. Needed to import a value that no token made.",
            ),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attribute_of_the_state_can_hold_a_value() {
        let computed: Vec<&str> = schema()
            .attributes
            .iter()
            .filter(|attribute| attribute.is_computed())
            .map(|attribute| attribute.name)
            .collect();
        let known = [
            "id",
            "secret_uid",
            "value_hash",
            "minted_at",
            "expires_at",
            "mints",
            "due",
        ];
        assert_eq!(computed, known);
    }
}
