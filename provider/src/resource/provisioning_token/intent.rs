//! What a plan tells its own apply: whether a destroy is the first half of replacing a token by itself.
//!
//! A failed first apply leaves a tainted instance, which Terraform replaces by destroy and create. The create half
//! takes over what the record names, so the destroy half of such a replacement touches nothing. Otherwise the record of
//! an interrupted mint, and with it the report of it, would be lost.

use myelin_engine::record::StackId;
use serde_json::{Value as Json, json};

/// Private data of a planned create or update.
pub(super) fn mint(id: Option<&StackId>) -> Vec<u8> {
    json!({"intent": "mint", "token": id.map(ToString::to_string)})
        .to_string()
        .into_bytes()
}

/// Private data of a planned destroy.
pub(super) fn destroy() -> Vec<u8> {
    json!({"intent": "destroy"}).to_string().into_bytes()
}

/// Whether a destroy that comes with this private data belongs to the replacement of that token by itself.
pub(super) fn replaces(private: &[u8], id: &StackId) -> bool {
    serde_json::from_slice::<Json>(private)
        .is_ok_and(|json| json["intent"] == "mint" && json["token"].as_str() == Some(&id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plan_of_the_same_token_is_its_replacement() {
        let axon = StackId::of_token("ns", "axon");
        assert!(replaces(&mint(Some(&axon)), &axon));
        let other = StackId::of_token("ns", "other");
        for private in [mint(Some(&other)), mint(None), destroy(), Vec::new(), b"{".to_vec()] {
            assert!(!replaces(&private, &axon), "{}", String::from_utf8_lossy(&private));
        }
    }
}
