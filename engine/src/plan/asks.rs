//! Components that must be verified although none of their objects changes: their `verify` differs from the one that
//! succeeded when everything was last ready. `apply` runs the checks.

use crate::desired::Desired;
use crate::mask::MaskKey;
use crate::observe::{Observation, mask_key};
use crate::record::desired_hash;
use std::collections::BTreeMap;

/// A keyed hash of each component's checks, for components that have some. It is keyed because a check may contain a
/// text that nobody should guess.
pub(crate) fn checks(key: &MaskKey, desired: &Desired) -> BTreeMap<String, String> {
    let asked = desired.components.iter().filter(|(_, terms)| !terms.verify.is_empty());
    asked
        .map(|(name, terms)| {
            let text = serde_json::to_value(&terms.verify).expect("checks are texts, numbers and maps with text keys");
            (name.clone(), desired_hash(key, &text))
        })
        .collect()
}

/// A stack that is not ready is verified as a whole by its next apply, and need not be listed.
pub(super) fn asks(desired: &Desired, seen: &Observation) -> Vec<String> {
    let Some(record) = seen.stored.as_ref().map(|s| &s.record).filter(|r| r.ready) else {
        return Vec::new();
    };
    checks(&mask_key(desired, seen), desired)
        .into_iter()
        .filter(|(name, hash)| record.verified.get(name) != Some(hash))
        .map(|(name, _)| name)
        .collect()
}
