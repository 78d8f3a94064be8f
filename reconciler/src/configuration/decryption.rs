//! `decryption` of a source: the keys that may decrypt its files. Files name keys too, but only the configured ones are
//! used.

use super::Reading;
use crate::sops::{KeyChoice, KmsKey};
use myelin_engine::yaml::Node;

const KMS_FIX: &str = "kms: [arn:aws:kms:REGION:ACCOUNT:key/ID], or of each key {key: ARN, role: ARN, profile: NAME}";

impl Reading<'_> {
    /// `decryption: {ageKeyFile: FILE, kms: [ARN, {key: ARN, role: ARN, profile: NAME}]}`.
    pub(super) fn decryption(&mut self, node: &Node) -> KeyChoice {
        self.fields(node, &["ageKeyFile", "kms"]);
        let choice = KeyChoice {
            age_key_file: self.file(node, "ageKeyFile"),
            kms: node
                .get("kms")
                .map(Node::items)
                .unwrap_or_default()
                .iter()
                .filter_map(|key| self.kms_key(key))
                .collect(),
        };
        if choice.is_empty() {
            self.tell(
                node.at,
                "decryption is asked for and names no key".to_owned(),
                "decryption: {ageKeyFile: FILE} or decryption: {kms: [ARN]}",
            );
        }
        choice
    }

    fn kms_key(&mut self, node: &Node) -> Option<KmsKey> {
        let (arn, role, profile) = if node.text().is_some() {
            (Some(node), None, None)
        } else {
            self.fields(node, &["key", "role", "profile"]);
            (node.get("key"), node.get("role"), node.get("profile"))
        };
        let mut key = match arn.and_then(Node::text).unwrap_or_default().parse::<KmsKey>() {
            Ok(key) => key,
            Err(why) => {
                self.problem(node, &format!("is no key of AWS KMS: {why}"), KMS_FIX);
                return None;
            }
        };
        // An empty one must not mean: with our own rights.
        let is_role = |text: &str| text.starts_with("arn:aws") && text.contains(":iam::") && text.contains(":role/");
        if let Some(node) = role {
            match node.text().filter(|text| is_role(text)) {
                Some(text) => key.role = Some(text.to_owned()),
                None => self.problem(node, "is no role", "write arn:aws:iam::ACCOUNT:role/NAME"),
            }
        }
        if let Some(node) = profile {
            match node.text().filter(|text| !text.is_empty()) {
                Some(text) => key.profile = Some(text.to_owned()),
                None => self.problem(node, "is no profile", "name a profile of the AWS configuration"),
            }
        }
        Some(key)
    }
}
