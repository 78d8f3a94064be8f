//! What a plan tells its own apply: whether a destroy is the first half of replacing a pool by itself.
//!
//! A failed first apply leaves a tainted instance, which Terraform replaces by destroy and create. The create half
//! adopts the nodes that were launched, so the destroy half of such a replacement touches nothing.

use myelin_engine::fleet::PoolId;
use serde_json::{Value as Json, json};

/// Private data of a planned create or update.
pub(super) fn launch(id: Option<&PoolId>) -> Vec<u8> {
    json!({"intent": "launch", "pool": id.map(ToString::to_string)})
        .to_string()
        .into_bytes()
}

/// Private data of a planned destroy.
pub(super) fn destroy() -> Vec<u8> {
    json!({"intent": "destroy"}).to_string().into_bytes()
}

/// Whether a destroy that comes with this private data belongs to the replacement of that pool by itself.
pub(super) fn replaces(private: &[u8], id: &PoolId) -> bool {
    serde_json::from_slice::<Json>(private)
        .is_ok_and(|json| json["intent"] == "launch" && json["pool"].as_str() == Some(&id.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plan_of_the_same_pool_is_its_replacement() {
        let pool = |name: &str| PoolId {
            cluster: "c".to_owned(),
            name: name.to_owned(),
        };
        assert!(replaces(&launch(Some(&pool("a"))), &pool("a")));
        for private in [launch(Some(&pool("b"))), launch(None), destroy(), b"{".to_vec()] {
            assert!(!replaces(&private, &pool("a")), "{}", String::from_utf8_lossy(&private));
        }
    }
}
