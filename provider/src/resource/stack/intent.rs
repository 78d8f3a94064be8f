//! What a plan tells its own apply, through the private data that Terraform carries between them.
//!
//! A failed first apply leaves a tainted instance, which Terraform replaces by destroy and create. Destroying what is
//! healthy would be wrong. Terraform passes the private data of the planned *create* to both halves of a replacement,
//! so a destroy that comes with it is the first half of one. Such a destroy deletes nothing if the first apply never
//! succeeded and the new instance is the same stack: the second half takes over what exists. The private data of a
//! tainted instance itself is not passed on, which is why this is in the plan.

use myelin_engine::record::StackId;
use serde_json::{Value as Json, json};

/// What the plan meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Intent {
    /// That stack was to be created or updated.
    Deploy(Option<StackId>),
    /// It was to be destroyed.
    Destroy,
}

impl Intent {
    /// For the plan's private data.
    pub(super) fn to_private(&self) -> Vec<u8> {
        let json = match self {
            Intent::Deploy(stack) => json!({"intent": "deploy", "stack": stack.as_ref().map(ToString::to_string)}),
            Intent::Destroy => json!({"intent": "destroy"}),
        };
        json.to_string().into_bytes()
    }

    /// For the plan's private data, of a stack that is made after that one is destroyed.
    pub(super) fn to_private_after(&self, replaced: Option<&StackId>) -> Vec<u8> {
        let private = self.to_private();
        match (replaced, serde_json::from_slice::<Json>(&private)) {
            (Some(replaced), Ok(mut json)) => {
                json["replaces"] = replaced.to_string().into();
                json.to_string().into_bytes()
            }
            _ => private,
        }
    }

    /// From the plan's private data; none for what another version wrote.
    pub(super) fn from_private(private: &[u8]) -> Option<Intent> {
        let json: Json = serde_json::from_slice(private).ok()?;
        match json["intent"].as_str()? {
            "deploy" => Some(Intent::Deploy(
                json["stack"].as_str().and_then(|stack| stack.parse().ok()),
            )),
            "destroy" => Some(Intent::Destroy),
            _ => None,
        }
    }

    /// Whether a destroy with this intent is the first half of replacing that stack by itself.
    pub(super) fn replaces(&self, stack: &StackId) -> bool {
        matches!(self, Intent::Deploy(Some(planned)) if planned == stack)
    }
}

/// The stack that is destroyed before a planned one is made: Terraform plans a replacement twice, and hands the private data of the
/// first plan to the second.
pub(super) fn replaced(private: &[u8]) -> Option<StackId> {
    let json: Json = serde_json::from_slice(private).ok()?;
    json["replaces"].as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intent_survives_the_private_data_and_anything_else_is_none() {
        let stack: StackId = "ns/s".parse().expect("a stack");
        for intent in [
            Intent::Deploy(Some(stack.clone())),
            Intent::Deploy(None),
            Intent::Destroy,
        ] {
            assert_eq!(Intent::from_private(&intent.to_private()), Some(intent));
        }
        let private = Intent::Deploy(None).to_private_after(Some(&stack));
        assert_eq!(Intent::from_private(&private), Some(Intent::Deploy(None)));
        assert_eq!(replaced(&private), Some(stack.clone()));
        assert_eq!(
            replaced(&Intent::Deploy(Some(stack.clone())).to_private_after(None)),
            None
        );
        for other in [&b""[..], b"{}", b"[1", b"{\"intent\":\"else\"}"] {
            assert_eq!(Intent::from_private(other), None);
        }
        assert!(Intent::Deploy(Some(stack.clone())).replaces(&stack));
        assert!(!Intent::Deploy(Some("ns/other".parse().expect("a stack"))).replaces(&stack));
        assert!(!Intent::Destroy.replaces(&stack));
    }
}
