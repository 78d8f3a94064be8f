//! `myelin.yaml` as a JSON Schema, for editors: what each field that the reader knows is for.

use super::{FIELDS, HOOK, REPORT, REPORT_GITHUB, REPORT_WEBHOOK};
use crate::hook::Caller;
use crate::shared::IN_FLIGHT;
use serde_json::{Map, Value, json};

/// ARN of a key or alias.
const KEY: &str = "^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[A-Za-z0-9_/-]+$";

fn described(name: &str) -> Option<(Value, &'static str)> {
    let text = json!({"type": "string", "minLength": 1});
    let files = json!({"oneOf": [text, {"type": "array", "minItems": 1, "items": text}]});
    let duration = json!({"type": "string", "pattern": "^([0-9]+(h|m|s|ms))+$", "examples": ["30s", "5m"]});
    let verify = json!({"type": "object", "additionalProperties": false, "required": ["signers"], "properties": {"signers": files}});
    let decryption = json!({"type": "object", "additionalProperties": false, "minProperties": 1, "properties": {
        "ageKeyFile": {"type": "string", "minLength": 1, "description": "File with age keys."},
        "kms": {"type": "array", "minItems": 1, "description": "Keys of AWS KMS that may be used; no others are.", "items": {"oneOf": [
            {"type": "string", "pattern": KEY},
            {"type": "object", "additionalProperties": false, "required": ["key"], "properties": {
                "key": {"type": "string", "pattern": KEY},
                "role": {"type": "string", "pattern": "^arn:aws[a-z-]*:iam::[0-9]{12}:role/", "description": "Role to assume for it."},
                "profile": {"type": "string", "minLength": 1, "description": "Profile of the AWS configuration."},
            }},
        ]}},
    }});
    Some(match name {
        "name" => (
            json!({"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"}),
            "Name of the source. Records name it as their owner, so it must not change.",
        ),
        "url" => (
            text,
            "URL of the repository: https://…, file:///… or an absolute path, and the other forms that `myelin run \
             --help` lists.",
        ),
        "branch" => (text, "Branch. Default main."),
        "path" => (text, "Folder of the documents in the repository. Default: its root."),
        "interval" => (duration, "How often the branch is polled, at least 1s. Default 30s."),
        "timeout" => (
            duration,
            "How long one request to the repository may take, at least 1s. Default 60s.",
        ),
        "blastRadius" => (
            json!({"type": ["integer", "string"], "pattern": "^(100|[0-9]{1,2})%?$", "minimum": 0, "maximum": 100}),
            "What a commit may remove without confirmation, in percent of the existing objects. Default 30%.",
        ),
        "concurrency" => (
            json!({"type": "integer", "minimum": 1, "maximum": IN_FLIGHT}),
            "Maximum number of requests to the cluster that this source has in flight. Default 64.",
        ),
        "credentials" => (
            text,
            "File with the token, or USER:PASSWORD, of a private https repository.",
        ),
        "authorities" => (
            text,
            "PEM file with the certificate authorities of an https repository. Default: the system's.",
        ),
        "identity" => (text, "File with the private key of an ssh repository."),
        "knownHosts" => (text, "File with the keys of an ssh repository's host, as ssh reads it."),
        "signers" => (
            files,
            "File of allowed signers, as ssh-keygen reads it; commits that none of them signed are refused.",
        ),
        "verify" => (verify, "Commits that none of these signers signed are refused."),
        "decryption" => (
            decryption,
            "Secrets in the repository are encrypted with SOPS for one of these keys.",
        ),
        "webhook" => (
            inner(&HOOK, &HOOK, hook_field),
            "Webhook: a push makes the source poll at once. Names the kind of host, and the file with the shared secret.",
        ),
        "report" => (
            inner(&REPORT, &[], report_field),
            "Where the result of each commit is reported: statuses on GitHub, or a webhook of your own.",
        ),
        "serviceAccount" => (
            json!({"type": "string", "pattern": "^[a-z0-9.-]+/[a-z0-9.-]+$"}),
            "Service account, as NAMESPACE/NAME, whose rights are used for every change of this source.",
        ),
        "serviceAccounts" => (
            json!({"type": "array", "items": {"type": "string", "pattern": "^[a-z0-9.-]+/[a-z0-9.-]+$"}}),
            "Service accounts that stacks of this source may name instead of serviceAccount. Others are refused.",
        ),
        _ => return None,
    })
}

/// An object with these fields alone, each as `of` describes it.
fn inner(fields: &[&str], required: &[&str], of: fn(&str) -> Option<(Value, &'static str)>) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .filter_map(|name| {
            let (mut schema, text) = of(name)?;
            schema["description"] = text.into();
            Some(((*name).to_owned(), schema))
        })
        .collect();
    let mut object = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if !required.is_empty() {
        object["required"] = required.into();
    }
    object
}

fn file() -> Value {
    json!({"type": "string", "minLength": 1})
}

/// As the reader takes them: https anywhere, http on this machine alone, and no password.
fn url() -> Value {
    let pattern = r"^(https://[^/?#@]+|http://(localhost|127(\.[0-9]+){3}|\[::1\])(:[0-9]+)?)([/?#].*)?$";
    json!({"type": "string", "pattern": pattern})
}

fn hook_field(name: &str) -> Option<(Value, &'static str)> {
    Some(match name {
        "kind" => (
            json!({"enum": Caller::WORDS.map(|(word, _)| word)}),
            "The kind of caller, which determines how it authenticates.",
        ),
        "secretFile" => (file(), "File with the secret that the host shares with us."),
        _ => return None,
    })
}

fn report_field(name: &str) -> Option<(Value, &'static str)> {
    Some(match name {
        "github" => (
            inner(&REPORT_GITHUB, &["repository", "tokenFile"], report_github_field),
            "The state of each commit as a commit status on GitHub.",
        ),
        "webhook" => (
            inner(&REPORT_WEBHOOK, &["url"], report_webhook_field),
            "The state of each commit as JSON, posted to a URL.",
        ),
        _ => return None,
    })
}

fn report_github_field(name: &str) -> Option<(Value, &'static str)> {
    Some(match name {
        "repository" => (
            json!({"type": "string", "pattern": "^[A-Za-z0-9._-]+/[A-Za-z0-9._-]+$"}),
            "OWNER/NAME.",
        ),
        "tokenFile" => (file(), "File with a token that may write commit statuses."),
        "api" => (url(), "The API of GitHub Enterprise. Default https://api.github.com."),
        _ => return None,
    })
}

fn report_webhook_field(name: &str) -> Option<(Value, &'static str)> {
    Some(match name {
        "url" => (url(), "Where the state is posted: https, or http on this machine."),
        "tokenFile" => (file(), "File with a token, sent as the bearer."),
        _ => return None,
    })
}

/// The schema.
pub(crate) fn json_schema() -> Value {
    let source = inner(&FIELDS, &["name", "url"], described);
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of myelin run",
        "type": "object",
        "additionalProperties": false,
        "required": ["sources"],
        "properties": {"sources": {
            "type": "array",
            "minItems": 1,
            "description": "The sources: the branches at which the cluster is kept.",
            "items": source,
        }},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_source_is_described() {
        for name in FIELDS {
            assert!(described(name).is_some(), "say in the schema what {name} is for");
        }
        type Describe = fn(&str) -> Option<(Value, &'static str)>;
        let inner: [(&[&str], Describe); 4] = [
            (&HOOK, hook_field),
            (&REPORT, report_field),
            (&REPORT_GITHUB, report_github_field),
            (&REPORT_WEBHOOK, report_webhook_field),
        ];
        for (fields, of) in inner {
            for name in fields {
                assert!(of(name).is_some(), "say in the schema what {name} is for");
            }
        }
    }
}
