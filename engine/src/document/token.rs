//! JSON of a `ProvisioningToken` document, or of an entry of a stack's `tokens` → [`ProvisioningToken`].

use super::account::read_account;
use super::dependency::read_depends_on;
use super::fields::{Fields, Places};
use super::stack::{is_label, label_name};
use super::{API_VERSION, DocumentName};
use crate::diagnostic::Diagnostics;
use crate::token::{DEFAULT_MAX_LENGTH, Encoding, Extract};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// The default time limit of all waits for a standalone token.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// The default time limit of a tool in a pod.
const DEFAULT_EXEC_TIMEOUT: Duration = Duration::from_secs(30);
/// Bounds of the length of random values.
pub(super) const RANDOM_BYTES: std::ops::RangeInclusive<i64> = 8..=4096;
pub(super) const RANDOM_CHARACTERS: std::ops::RangeInclusive<i64> = 8..=4096;
/// Bounds of `expiresAfter`, in seconds.
pub(super) const EXPIRES_AFTER: std::ops::RangeInclusive<i64> = 60..=100 * 365 * 86_400;
/// Bounds of `maxLength`: up to what a Secret may hold.
pub(super) const MAX_LENGTH: std::ops::RangeInclusive<i64> = 1..=1_000_000;

/// A one-time secret, minted once and stored in a Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvisioningToken {
    /// Name, unique in its stack, or in its namespace when it is a document of its own.
    pub name: String,
    /// Its namespace: the stack's, or that of its own document, where it also has its own record.
    pub namespace: String,
    /// Who makes the value.
    pub issuer: Issuer,
    /// Which part of the issuer's output is the value.
    pub extract: Extract,
    /// Bytes of the value at most.
    pub max_length: usize,
    /// Where the value goes.
    pub secret: SecretTarget,
    /// A change of any of these leads to a new value.
    pub keepers: BTreeMap<String, String>,
    /// Seconds after which a new value is due.
    pub expires_after: Option<i64>,
    /// Objects in the target's namespace whose new UID means a new value.
    pub rotate_with: Vec<ObjectName>,
    /// Workloads in the target's namespace that start again after a value changed.
    pub restart: Vec<ObjectName>,
    /// Runs in the issuer's pod when a value is revoked, with the value on standard input.
    pub revoke: Option<Vec<String>>,
    /// Whether a value that is there already is taken over instead of refused.
    pub adopt: bool,
    /// Documents of the same source that must be ready first. Always empty in a stack, whose components express that.
    pub depends_on: BTreeSet<DocumentName>,
    /// Account as `namespace/name` that a reconciler uses to mint and store, if its configuration allows that. None in
    /// a stack, whose own account is used.
    pub service_account: Option<String>,
}

/// Who makes the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Issuer {
    /// A command in a running pod; its standard output holds the value.
    Exec(Exec),
    /// Random bytes.
    RandomBytes {
        /// How many.
        bytes: usize,
        /// How they are written.
        encoding: Encoding,
    },
    /// Random characters of a set.
    RandomCharacters {
        /// How many.
        length: usize,
        /// The set.
        alphabet: Vec<char>,
    },
    /// An ed25519 signing key in the format of Matrix Synapse's key file.
    SigningKey,
}

/// A command in a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Namespace of the pod; the token's own when nothing is said.
    pub namespace: String,
    /// Which pod.
    pub pod: PodChoice,
    /// Container; the pod's default when None.
    pub container: Option<String>,
    /// Program and arguments, never a shell line.
    pub command: Vec<String>,
    /// Time limit of the wait for it.
    pub timeout: Duration,
}

/// Which pod runs the command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodChoice {
    /// The one of this name.
    Named(String),
    /// The first ready one with these labels, by name.
    Selected(BTreeMap<String, String>),
}

/// Where the value goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretTarget {
    /// Namespace.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// Key of its data.
    pub key: String,
    /// Labels set on the Secret.
    pub labels: BTreeMap<String, String>,
    /// Whether the Secret is made immutable.
    pub immutable: bool,
}

/// `Kind/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Reads a whole document: `{apiVersion, kind: ProvisioningToken, metadata: {name, namespace}, spec: {…}}`.
///
/// # Errors
/// Every problem of the document, each with path, place and fix.
pub fn token_from_value(value: Value, places: Places<'_>) -> Result<ProvisioningToken, Diagnostics> {
    let mut problems = Diagnostics::new();
    let p = &mut problems;
    let mut top = Fields::new(value, Vec::new(), places, p);
    for (field, want) in [("apiVersion", API_VERSION), ("kind", "ProvisioningToken")] {
        let got = top.required(field, &format!("write {field}: {want}"), p);
        if !got.is_empty() && got != want {
            top.problem(
                field,
                format!("{field} \"{got}\" is not {want}"),
                &format!("write {want}"),
                p,
            );
        }
    }
    let mut metadata = Fields::new(
        top.take("metadata").unwrap_or_default(),
        vec!["metadata".into()],
        places,
        p,
    );
    let name = metadata.required("name", "give the token a name, for example metadata: {name: axon}", p);
    label_name(&metadata, "name", &name, p);
    let namespace = metadata.required("namespace", "name the namespace of its Secret", p);
    label_name(&metadata, "namespace", &namespace, p);
    metadata.end(p);
    let mut spec = Fields::new(top.take("spec").unwrap_or_default(), vec!["spec".into()], places, p);
    top.end(p);
    let depends_on = read_depends_on(&mut spec, p);
    let service_account = read_account(&mut spec, &namespace, p);
    let mut token = read_token(name, &namespace, spec, p);
    (token.depends_on, token.service_account) = (depends_on, service_account);
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(token)
    }
}

/// Reads the spec of a token: a document's, or an entry of a stack's `tokens`.
pub(super) fn read_token(
    name: String,
    namespace: &str,
    mut spec: Fields<'_>,
    p: &mut Diagnostics,
) -> ProvisioningToken {
    let issuer = read_issuer(&mut spec, namespace, p);
    let extract = spec.text("extract", p).and_then(|text| match text.parse() {
        Ok(extract) => Some(extract),
        Err(why) => {
            spec.problem(
                "extract",
                format!("extract \"{text}\" {why}"),
                "write url, all or a regular expression",
                p,
            );
            None
        }
    });
    if extract.is_some() && !matches!(issuer, Issuer::Exec(_)) {
        spec.problem(
            "extract",
            "extract is for the output of a command",
            "remove it, or use issuer.exec",
            p,
        );
    }
    let max_length = spec.integer("maxLength", MAX_LENGTH, p);
    let secret = read_secret(&mut spec, namespace, p);
    let keepers = spec.text_map("keepers", p).into_iter().collect();
    let expires_after = spec.integer("expiresAfter", EXPIRES_AFTER, p);
    let rotate_with = object_names(&mut spec, "rotateWith", p);
    let restart = object_names(&mut spec, "restart", p);
    for object in restart
        .iter()
        .filter(|o| !matches!(&*o.kind, "Deployment" | "StatefulSet" | "DaemonSet"))
    {
        let fix = "only a Deployment, a StatefulSet or a DaemonSet can be restarted";
        spec.problem("restart", format!("restart cannot name {object}"), fix, p);
    }
    let revoke = spec.texts("revoke", p);
    if !revoke.is_empty() && !matches!(issuer, Issuer::Exec(_)) {
        spec.problem(
            "revoke",
            "revoke runs in the issuer's pod",
            "remove it, or use issuer.exec",
            p,
        );
    }
    let adopt = spec
        .word("adopt", &[("never", false), ("always", true)], p)
        .unwrap_or(false);
    spec.end(p);
    ProvisioningToken {
        name,
        namespace: namespace.to_owned(),
        issuer,
        extract: extract.unwrap_or(Extract::All),
        max_length: max_length
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(DEFAULT_MAX_LENGTH),
        secret,
        keepers,
        expires_after,
        rotate_with,
        restart,
        revoke: (!revoke.is_empty()).then_some(revoke),
        adopt,
        depends_on: BTreeSet::new(),
        service_account: None,
    }
}

fn read_issuer(spec: &mut Fields<'_>, namespace: &str, p: &mut Diagnostics) -> Issuer {
    let mut issuer = spec.nested("issuer", p);
    let (exec, random, signing) = (issuer.take("exec"), issuer.take("random"), issuer.take("signingKey"));
    let count = [&exec, &random, &signing].iter().filter(|v| v.is_some()).count();
    if count != 1 {
        let fix = "write one of issuer.exec (a command in a pod), issuer.random and issuer.signingKey";
        spec.problem("issuer", format!("a token needs one issuer, not {count}"), fix, p);
    }
    let read = match (exec, random) {
        (Some(exec), _) => Issuer::Exec(read_exec(issuer.sub("exec", exec, p), namespace, p)),
        (None, Some(random)) => read_random(issuer.sub("random", random, p), p),
        (None, None) => {
            issuer.sub("signingKey", signing.unwrap_or_default(), p).end(p);
            Issuer::SigningKey
        }
    };
    issuer.end(p);
    read
}

pub(super) fn read_exec(mut exec: Fields<'_>, namespace: &str, p: &mut Diagnostics) -> Exec {
    let own_namespace = exec.text("namespace", p);
    let pod = exec.text("pod", p);
    let labels: BTreeMap<String, String> = exec.text_map("selector", p).into_iter().collect();
    if pod.is_some() != labels.is_empty() {
        let fix = "name the pod (pod: aha-0) or select it by labels (selector: {app: aha})";
        exec.problem("pod", "a command needs a pod or a selector, and not both", fix, p);
    }
    let container = exec.text("container", p);
    let command = exec.texts("command", p);
    if command.first().is_none_or(String::is_empty) {
        let fix = "write the program and its arguments as a list, for example [python, -m, tool, name]";
        exec.problem("command", "a command needs a program", fix, p);
    }
    let timeout = exec.duration("timeout", p).unwrap_or(DEFAULT_EXEC_TIMEOUT);
    if timeout > Duration::from_secs(600) {
        exec.problem("timeout", "a command may take 10m at most", "write a shorter time", p);
    }
    exec.end(p);
    Exec {
        namespace: own_namespace.unwrap_or_else(|| namespace.to_owned()),
        pod: pod.map_or_else(|| PodChoice::Selected(labels), PodChoice::Named),
        container,
        command,
        timeout,
    }
}

fn read_random(mut random: Fields<'_>, p: &mut Diagnostics) -> Issuer {
    let bytes = random.integer("bytes", RANDOM_BYTES, p);
    let encodings = [
        ("base64", Encoding::Base64),
        ("base64url", Encoding::Base64Url),
        ("hex", Encoding::Hex),
    ];
    let encoding = random.word("encoding", &encodings, p);
    let length = random.integer("length", RANDOM_CHARACTERS, p);
    let characters = random.text("characters", p);
    let issuer = if let Some(characters) = characters {
        let alphabet: Vec<char> = characters.chars().collect();
        let distinct: BTreeSet<char> = alphabet.iter().copied().collect();
        if distinct.len() != alphabet.len() || !(2..=256).contains(&alphabet.len()) {
            let fix = "write 2 to 256 different characters";
            random.problem(
                "characters",
                "characters holds a character twice, or too few or too many",
                fix,
                p,
            );
        }
        if bytes.is_some() || encoding.is_some() {
            random.problem(
                "characters",
                "bytes and encoding do not go with characters",
                "write length instead",
                p,
            );
        }
        let length = length.unwrap_or(32);
        Issuer::RandomCharacters {
            length: usize::try_from(length).unwrap_or(32),
            alphabet,
        }
    } else {
        if length.is_some() {
            random.problem(
                "length",
                "length goes with characters",
                "write bytes, or add characters",
                p,
            );
        }
        let bytes = usize::try_from(bytes.unwrap_or(32)).unwrap_or(32);
        Issuer::RandomBytes {
            bytes,
            encoding: encoding.unwrap_or(Encoding::Base64Url),
        }
    };
    random.end(p);
    issuer
}

fn read_secret(spec: &mut Fields<'_>, namespace: &str, p: &mut Diagnostics) -> SecretTarget {
    let mut secret = spec.nested("secret", p);
    let own_namespace = secret.text("namespace", p);
    let name = secret.required("name", "name the Secret that holds the value", p);
    if !name.is_empty() && !name.split('.').all(is_label) {
        let fix = "use lower-case letters, digits, dashes and dots";
        secret.problem("name", format!("\"{name}\" cannot name a Secret"), fix, p);
    }
    let key = secret.required("key", "name the key of the Secret's data", p);
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !key.chars().all(is_key) || key.len() > 253 || matches!(&*key, "." | "..") {
        let fix = "use letters, digits, dashes, underscores and dots";
        secret.problem("key", format!("\"{key}\" cannot be a key of a Secret"), fix, p);
    }
    let labels = secret.text_map("labels", p).into_iter().collect();
    let immutable = secret.boolean("immutable", p).unwrap_or(false);
    secret.end(p);
    SecretTarget {
        namespace: own_namespace.unwrap_or_else(|| namespace.to_owned()),
        name,
        key,
        labels,
        immutable,
    }
}

fn object_names(spec: &mut Fields<'_>, field: &'static str, p: &mut Diagnostics) -> Vec<ObjectName> {
    let mut names = Vec::new();
    for text in spec.texts(field, p) {
        match text.split_once('/') {
            Some((kind, name)) if !kind.is_empty() && !name.is_empty() && !name.contains('/') => {
                names.push(ObjectName {
                    kind: kind.into(),
                    name: name.into(),
                });
            }
            _ => {
                let fix = "write Kind/name, for example PersistentVolumeClaim/data-axon-0";
                spec.problem(field, format!("\"{text}\" does not name an object"), fix, p);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(spec: Value) -> Result<ProvisioningToken, Vec<String>> {
        let document = json!({
            "apiVersion": API_VERSION, "kind": "ProvisioningToken",
            "metadata": {"name": "axon", "namespace": "synapse"}, "spec": spec,
        });
        token_from_value(document, &|_| None).map_err(|ds| ds.0.iter().map(|d| d.summary.clone()).collect())
    }

    fn target() -> Value {
        json!({"name": "axon-provision", "key": "SYN_AXON_AHA_PROVISION"})
    }

    #[test]
    fn the_designs_token_is_read() {
        let token = read(json!({
            "issuer": {"exec": {"pod": "aha-0", "command": ["python", "-m", "synapse.tools.aha.provision.service", "00.axon"]}},
            "extract": "url", "secret": target(),
            "rotateWith": ["PersistentVolumeClaim/data-axon-0"], "restart": ["StatefulSet/axon"], "expiresAfter": 86400,
        }))
        .expect("a token");
        let Issuer::Exec(exec) = &token.issuer else {
            panic!("{:?}", token.issuer)
        };
        assert_eq!(exec.pod, PodChoice::Named("aha-0".into()));
        assert_eq!((&*exec.namespace, exec.timeout), ("synapse", DEFAULT_EXEC_TIMEOUT));
        assert_eq!(token.extract, Extract::Url);
        assert_eq!(token.secret.namespace, "synapse");
        assert_eq!(token.rotate_with[0].to_string(), "PersistentVolumeClaim/data-axon-0");
        assert_eq!(token.expires_after, Some(86_400));
    }

    #[test]
    fn the_other_issuers_are_read() {
        let issuer = |issuer: Value| read(json!({"issuer": issuer, "secret": target()})).map(|t| t.issuer);
        let hex = Issuer::RandomBytes {
            bytes: 16,
            encoding: Encoding::Hex,
        };
        assert_eq!(issuer(json!({"random": {"bytes": 16, "encoding": "hex"}})), Ok(hex));
        let abc = Issuer::RandomCharacters {
            length: 20,
            alphabet: vec!['a', 'b', 'c'],
        };
        assert_eq!(issuer(json!({"random": {"length": 20, "characters": "abc"}})), Ok(abc));
        assert_eq!(issuer(json!({"signingKey": {}})), Ok(Issuer::SigningKey));
    }

    #[test]
    fn all_problems_of_a_token_come_at_once() {
        let problems = read(json!({
            "issuer": {"exec": {"command": "sh -c mint", "pods": "x"}, "random": {}},
            "extract": "(", "secret": {"name": "No", "key": "a b"}, "restart": ["Pod/x"], "rotateWith": ["axon"], "expiresAfter": 1,
        }))
        .expect_err("problems");
        let wanted = [
            "one issuer, not 2",
            "a pod or a selector",
            "must be a list",
            "is not a field",
            "extract \"(\"",
            "cannot name a Secret",
            "cannot be a key",
            "restart cannot name Pod/x",
            "does not name an object",
            "expiresAfter",
        ];
        for part in wanted {
            assert!(
                problems.iter().any(|s| s.contains(part)),
                "{part} is not in {problems:#?}"
            );
        }
    }
}
