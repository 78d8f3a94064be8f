//! One token: from the decision to mint until its value is in its Secret, and its removal.
//!
//! The executor writes the pending marker into the record before [`Mint::run`] and the result after it. Nothing here
//! decides whether to mint; `token::decide` does. The value exists in this file only, between the issuer's answer and
//! the request that stores it.

use super::pods::{choose_pod, is_ready};
use crate::cluster::{
    Cluster, ClusterError, Mode, PodCommand, Precondition, Propagation, Selection, Target, kinds, retrying,
};
use crate::desired::WantedToken;
use crate::document::{Issuer, ObjectName};
use crate::mask::{MaskKey, hex};
use crate::observe::{look, secret_target, uid, value_in};
use crate::plan::{terms, tied};
use crate::record::StackId;
use crate::token::{
    ADOPTED, Entry, Revoke, SecretValue, Step, Stored, Why, decide, first_error_line, keepers_mark, mint_annotation,
    random_bytes, random_characters, shape, signing_key,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroize as _;

/// How often to check a token that another run is minting.
const LOOK: Duration = Duration::from_millis(500);
/// Time limit of a revoke command.
const REVOKE: Duration = Duration::from_secs(30);
/// How many seconds beyond the end of its command a mint is assumed to be alive.
const MARGIN: i64 = 10;
/// The part of the margin that may pass before the command starts.
const LOOKING: i64 = 3;
/// Time limit for storing a value. It is within the margin, so that no other run mints while the value may still be
/// stored.
const STORE: Duration = Duration::from_secs(6);

/// Everything that the steps of one token need.
#[derive(Clone)]
pub(super) struct Mint {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) stack: StackId,
    pub(super) wanted: WantedToken,
    pub(super) entry: Option<Entry>,
    pub(super) key: MaskKey,
    pub(super) deadline: Instant,
    pub(super) cancel: CancellationToken,
}

/// What to do about a token, decided just before it is done.
pub(super) enum Judged {
    /// The value exists; these facts belong in the record. Nothing is minted.
    There(Stored),
    /// A value is to be minted.
    Mint(Why),
    /// It cannot continue; the text is for the user.
    Failed(String),
}

/// Why no value was stored.
pub(super) struct Failure {
    /// For the user; holds no value.
    pub(super) why: String,
    /// Whether the issuer may have created a value all the same.
    pub(super) uncertain: bool,
}

impl Mint {
    /// Reads the token's current state, and waits while another run mints it.
    pub(super) async fn judge(self) -> Judged {
        let tied = tied(&self.wanted);
        loop {
            let seen = match look(&*self.cluster, &self.wanted.token, &self.key, &self.cancel).await {
                Ok(seen) => seen,
                Err(e) => return Judged::Failed(format!("its Secret could not be read: {e}")),
            };
            let now = now();
            let stored = |mint: &str, value: &str| Stored {
                mint: mint.to_owned(),
                minted_at: now,
                value: value.to_owned(),
                expires_at: self.wanted.token.expires_after.map(|after| now.saturating_add(after)),
                keepers: keepers_mark(&self.wanted.token.keepers, &self.key),
                tied_to: seen.tied_to.clone(),
            };
            let value = seen.value.as_deref().unwrap_or_default();
            match decide(self.entry.as_ref(), &terms(&self.wanted, &tied), &seen, now, &self.key) {
                Step::Keep { bind, .. } => {
                    let mut known = match self.entry.as_ref().map(|e| &e.state) {
                        Some(crate::token::State::Stored(known)) => known.clone(),
                        _ => stored(ADOPTED, value),
                    };
                    known.tied_to.extend(bind);
                    known.expires_at = known.expiry(self.wanted.token.expires_after);
                    return match self.relabel(&known).await {
                        Ok(()) => Judged::There(known),
                        Err(why) => Judged::Failed(why),
                    };
                }
                Step::Finish(mint) => return Judged::There(stored(&mint, value)),
                Step::Adopt => return Judged::There(stored(seen.mint.as_deref().unwrap_or(ADOPTED), value)),
                Step::Refuse => return Judged::Failed("its key holds a value that Myelin did not mint".into()),
                Step::Mint(why) => return Judged::Mint(why),
                Step::Wait(_) if Instant::now() >= self.deadline => {
                    return Judged::Failed("another run is minting it and does not come to an end".into());
                }
                Step::Wait(_) => {
                    tokio::select! {
                        () = tokio::time::sleep(LOOK) => {}
                        () = self.cancel.cancelled() => return Judged::Failed("cancelled while another run minted it".into()),
                    }
                }
            }
        }
    }

    /// The time (seconds since 1970) until which a mint that starts now is assumed to be alive.
    pub(super) fn alive_until(&self) -> i64 {
        now() + self.alive_for()
    }

    /// Refuses to begin a mint that could outlive its marker, because it could overlap with another one.
    fn in_time(&self, until: i64) -> Result<(), String> {
        if now() > until - self.alive_for() + LOOKING {
            return Err("the cluster answered too slowly; nothing was minted, and the next apply tries again".into());
        }
        Ok(())
    }

    /// The longest that a mint may take, in seconds.
    fn alive_for(&self) -> i64 {
        let command = match &self.wanted.token.issuer {
            Issuer::Exec(exec) => i64::try_from(exec.timeout.as_secs()).unwrap_or(600),
            Issuer::RandomBytes { .. } | Issuer::RandomCharacters { .. } | Issuer::SigningKey => 0,
        };
        command + MARGIN
    }

    /// Sets missing labels on a Secret that this token created.
    async fn relabel(&self, known: &Stored) -> Result<(), String> {
        let wanted = &self.wanted.token.secret;
        if wanted.labels.is_empty() || known.mint == ADOPTED {
            return Ok(());
        }
        let target = secret_target(wanted);
        let live = retrying(&self.cancel, || self.cluster.get(&target)).await;
        let Some(live) = live.map_err(|e| format!("its Secret could not be read: {e}"))? else {
            return Ok(());
        };
        let labels = live.pointer("/metadata/labels");
        let there = |(name, value): (&String, &String)| {
            labels.and_then(|l| l.get(name)).and_then(Value::as_str) == Some(value.as_str())
        };
        match value_in(&live, &wanted.key) {
            Some(value) if !wanted.labels.iter().all(there) => self.store(&target, None, &known.mint, &value).await,
            _ => Ok(()),
        }
    }

    /// Mints a value under an id and stores it. `why` says whether an old value is given up; until `until`, all others
    /// assume that this mint is alive.
    pub(super) async fn run(self, mint: String, why: Why, until: i64) -> Result<(Stored, Option<Revoke>), Failure> {
        let sure = |why: String| Failure { why, uncertain: false };
        let target = secret_target(&self.wanted.token.secret);
        let old = retrying(&self.cancel, || self.cluster.get(&target)).await;
        let old = old.map_err(|e| sure(format!("its Secret could not be read: {e}")))?;
        self.in_time(until).map_err(sure)?;
        let (value, pod) = self.issue(until).await?;
        let mark = value.mark(&self.key);
        let stored = tokio::time::timeout(STORE, self.store(&target, old.as_ref(), &mint, &value)).await;
        let stored = stored.unwrap_or_else(|_| Err("the value could not be stored in time".into()));
        drop(value);
        stored.map_err(|why| Failure { why, uncertain: true })?;
        let token = &self.wanted.token;
        let revoke = token.revoke.clone().zip(pod).map(|(command, pod)| Revoke {
            namespace: pod.namespace,
            pod: pod.pod,
            container: pod.container,
            command,
        });
        if let (Some(revoke), Some(value)) = (&revoke, old.as_ref().and_then(|s| value_in(s, &token.secret.key))) {
            give_up(&*self.cluster, revoke, &value).await;
        }
        if why != Why::First {
            self.restart(&mint)
                .await
                .map_err(|why| Failure { why, uncertain: false })?;
        }
        let seen = look(&*self.cluster, token, &self.key, &self.cancel)
            .await
            .unwrap_or_default();
        let stored = Stored {
            mint,
            minted_at: now(),
            value: mark,
            expires_at: token.expires_after.map(|after| now().saturating_add(after)),
            keepers: keepers_mark(&token.keepers, &self.key),
            tied_to: seen.tied_to,
        };
        Ok((stored, revoke))
    }

    /// A value from the issuer and, if a command in a pod issued it, where that command ran.
    async fn issue(&self, until: i64) -> Result<(SecretValue, Option<PodCommand>), Failure> {
        let mut randomness = |buffer: &mut [u8]| rand::fill(buffer);
        let exec = match &self.wanted.token.issuer {
            Issuer::RandomBytes { bytes, encoding } => {
                return Ok((random_bytes(*bytes, *encoding, &mut randomness), None));
            }
            Issuer::RandomCharacters { length, alphabet } => {
                return Ok((random_characters(*length, alphabet, &mut randomness), None));
            }
            Issuer::SigningKey => return Ok((signing_key(&mut randomness), None)),
            Issuer::Exec(exec) => exec,
        };
        let sure = |why: String| Failure { why, uncertain: false };
        let pod = choose_pod(&*self.cluster, exec, &self.cancel).await.map_err(sure)?;
        let command = PodCommand {
            namespace: exec.namespace.clone(),
            pod: pod.clone(),
            container: exec.container.clone(),
            argv: exec.command.clone(),
            deadline: exec.timeout,
        };
        let place = format!("pod {}/{pod}", exec.namespace);
        let program = exec.command.first().map(String::as_str).unwrap_or_default();
        self.in_time(until).map_err(sure)?;
        let output = match self.cluster.exec(&command, None).await {
            Ok(output) => output,
            Err(e) if e.is_denied() => {
                return Err(sure(format!(
                    "running {program} in {place} was forbidden: allow create and get on pods/exec (and get on pods) in namespace {}",
                    exec.namespace
                )));
            }
            Err(e @ ClusterError::Refused { .. }) => {
                return Err(sure(format!("{program} could not be run in {place}: {e}")));
            }
            Err(ClusterError::TimedOut(after)) => {
                let why = format!("{program} in {place} did not end within {}s", after.as_secs());
                return Err(Failure { why, uncertain: true });
            }
            Err(e) => {
                return Err(Failure {
                    why: format!("{program} in {place}: {e}"),
                    uncertain: true,
                });
            }
        };
        if output.exit_code != Some(0) {
            let said = first_error_line(&output.stdout, &output.stderr).unwrap_or_else(|| "it printed nothing".into());
            let ended = output
                .exit_code
                .map_or_else(|| output.message.clone(), |code| format!("exit code {code}"));
            // A tool that fails has, as far as it reports, created nothing.
            return Err(Failure {
                why: format!("{program} in {place} failed ({ended}): {said}"),
                uncertain: output.exit_code.is_none(),
            });
        }
        let token = &self.wanted.token;
        match token.extract.take(&output.stdout, token.max_length) {
            Ok(value) => Ok((value, Some(command))),
            Err(why) if output.stderr.is_empty() => Err(Failure {
                why: format!("{program} in {place}: {why}"),
                uncertain: true,
            }),
            Err(why) => {
                let errors = shape(&String::from_utf8_lossy(&output.stderr));
                Err(Failure {
                    why: format!("{program} in {place}: {why}; standard error has {errors}"),
                    uncertain: true,
                })
            }
        }
    }

    /// Stores the value under its key. Other keys of the Secret stay as they are.
    async fn store(&self, target: &Target, old: Option<&Value>, mint: &str, value: &SecretValue) -> Result<(), String> {
        let token = &self.wanted.token;
        let mut body = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {
                "name": target.name, "namespace": target.namespace, "labels": token.secret.labels,
                "annotations": {mint_annotation(&token.secret.key): mint},
            },
            "data": {token.secret.key.as_str(): BASE64_STANDARD.encode(value.expose())},
        });
        if token.secret.immutable {
            body["immutable"] = true.into();
        }
        let made = self.replace_immutable(target, old).await;
        let sent = match made {
            Ok(()) => {
                let manager = manager(&self.stack, &token.name);
                retrying(&self.cancel, || {
                    self.cluster.apply_as(&manager, target, &body, true, Mode::Real)
                })
                .await
            }
            Err(e) => Err(e),
        };
        let mut text = match body
            .pointer_mut("/data")
            .and_then(|d| d.get_mut(&token.secret.key))
            .map(Value::take)
        {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let outcome = sent.map(|_| ()).map_err(|e| {
            let words = if text.is_empty() {
                e.to_string()
            } else {
                e.to_string().replace(&text, "…")
            };
            format!(
                "the value could not be stored in Secret {}/{}: {words}",
                target.namespace, target.name
            )
        });
        text.zeroize();
        outcome
    }

    /// An immutable Secret cannot take a new value, so it is deleted to make room for a new one.
    async fn replace_immutable(&self, target: &Target, old: Option<&Value>) -> Result<(), ClusterError> {
        let Some(old) = old.filter(|s| s.get("immutable") == Some(&Value::Bool(true))) else {
            return Ok(());
        };
        let Some(uid) = uid(old) else { return Ok(()) };
        let precondition = Precondition {
            uid: uid.to_owned(),
            resource_version: None,
        };
        let gone = retrying(&self.cancel, || {
            self.cluster
                .delete(target, &precondition, Propagation::Background, Mode::Real)
        });
        match gone.await {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        }
    }

    /// Restarts the listed workloads if pods run with the old value.
    async fn restart(&self, mint: &str) -> Result<(), String> {
        for object in &self.wanted.token.restart {
            let why = |e: ClusterError| format!("the value is stored; {object} could not be restarted: {e}");
            self.restart_one(object, mint).await.map_err(why)?;
        }
        Ok(())
    }

    async fn restart_one(&self, object: &ObjectName, mint: &str) -> Result<(), ClusterError> {
        let token = &self.wanted.token;
        let namespace = &token.secret.namespace;
        let target = Target {
            resource: kinds::known("apps/v1", &object.kind),
            namespace: namespace.clone(),
            name: object.name.clone(),
        };
        let Some(live) = retrying(&self.cancel, || self.cluster.get(&target)).await? else {
            return Ok(());
        };
        let labels = live
            .pointer("/spec/selector/matchLabels")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        let labels: Vec<String> = labels
            .iter()
            .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
            .collect();
        let selection = Selection {
            namespace: Some(namespace.clone()),
            labels: labels.join(","),
            ..Selection::default()
        };
        let pods = kinds::known("v1", "Pod");
        let pods_of = retrying(&self.cancel, || self.cluster.list(&pods, &selection)).await?;
        // A pod that waits for its configuration reads the Secret when it exists, and needs no restart.
        let running: Vec<&Value> = pods_of.items.iter().filter(|p| !waits_for_config(p)).collect();
        if running.is_empty() {
            return Ok(());
        }
        let annotation = format!("token.myelin.dev/restarted-for-{:.40}", token.name);
        let body = json!({
            "apiVersion": "apps/v1", "kind": object.kind, "metadata": {"name": object.name, "namespace": namespace},
            "spec": {"template": {"metadata": {"annotations": {annotation: mint}}}},
        });
        let manager = manager(&self.stack, &token.name);
        retrying(&self.cancel, || {
            self.cluster.apply_as(&manager, &target, &body, true, Mode::Real)
        })
        .await?;
        if object.kind != "StatefulSet" {
            return Ok(());
        }
        // A StatefulSet's rollout never replaces a pod that is not ready. That pod is deleted directly, by UID.
        for pod in running.into_iter().filter(|p| !is_ready(p)) {
            let name = pod
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let target = Target {
                resource: pods.clone(),
                namespace: namespace.clone(),
                name: name.to_owned(),
            };
            let precondition = Precondition {
                uid: uid(pod).unwrap_or_default().to_owned(),
                resource_version: None,
            };
            let gone = retrying(&self.cancel, || {
                self.cluster
                    .delete(&target, &precondition, Propagation::Background, Mode::Real)
            });
            match gone.await {
                Err(e) if !e.is_not_found() && !e.is_conflict() => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Gives a token up: revokes its value if the issuer can, removes its key, and removes the Secret if nothing is left in
/// it.
pub(super) async fn release(
    cluster: &dyn Cluster,
    stack: &StackId,
    name: &str,
    entry: &Entry,
    cancel: &CancellationToken,
) -> Result<(), ClusterError> {
    let (namespace, secret, key) = &entry.secret;
    let target = Target {
        resource: kinds::known("v1", "Secret"),
        namespace: namespace.clone(),
        name: secret.clone(),
    };
    let Some(live) = retrying(cancel, || cluster.get(&target)).await? else {
        return Ok(());
    };
    let ours = live
        .pointer("/metadata/annotations")
        .is_some_and(|a| a.get(mint_annotation(key)).is_some());
    if !ours {
        // The Secret was recreated by somebody else, or was adopted and never minted into: it is not ours to empty.
        return Ok(());
    }
    if let (Some(revoke), Some(value)) = (&entry.revoke, value_in(&live, key)) {
        give_up(cluster, revoke, &value).await;
    }
    let alone = live
        .get("data")
        .and_then(Value::as_object)
        .is_none_or(|d| d.keys().all(|k| k == key));
    if alone {
        let precondition = Precondition {
            uid: uid(&live).unwrap_or_default().to_owned(),
            resource_version: live
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str)
                .map(str::to_owned),
        };
        let gone = retrying(cancel, || {
            cluster.delete(&target, &precondition, Propagation::Background, Mode::Real)
        })
        .await;
        return match gone {
            Err(e) if !e.is_not_found() => Err(e),
            _ => Ok(()),
        };
    }
    // An apply without fields removes what only this manager owns: the key, its annotation, its labels.
    let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "namespace": namespace}});
    let manager = manager(stack, name);
    retrying(cancel, || cluster.apply_as(&manager, &target, &body, true, Mode::Real))
        .await
        .map(|_| ())
}

/// Revokes a value with its issuer. A failure has no consequence: the value is not used any more.
async fn give_up(cluster: &dyn Cluster, revoke: &Revoke, value: &SecretValue) {
    let command = PodCommand {
        namespace: revoke.namespace.clone(),
        pod: revoke.pod.clone(),
        container: revoke.container.clone(),
        argv: revoke.command.clone(),
        deadline: REVOKE,
    };
    match cluster.exec(&command, Some(value.expose())).await {
        Ok(output) if output.exit_code == Some(0) => {}
        Ok(output) => tracing::warn!(pod = %revoke.pod, exit_code = ?output.exit_code, "a revoke command failed"),
        Err(error) => tracing::warn!(pod = %revoke.pod, %error, "a revoke command could not be run"),
    }
}

/// The field manager of a token's key. Each token has its own, so that other keys of the Secret stay with their
/// managers, also those of a token with the same name in another stack.
fn manager(stack: &StackId, name: &str) -> String {
    let whose = sha2::Sha256::digest(stack.to_string().as_bytes());
    format!("myelin-token-{name}-{}", hex(&whose[..4]))
}

fn waits_for_config(pod: &Value) -> bool {
    let statuses = ["/status/initContainerStatuses", "/status/containerStatuses"];
    statuses
        .iter()
        .filter_map(|p| pod.pointer(p).and_then(Value::as_array))
        .flatten()
        .any(|s| s.pointer("/state/waiting/reason") == Some(&json!("CreateContainerConfigError")))
}

fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// What the tokens are tied to now; needed for tokens that were stored before their objects existed.
pub(super) async fn bindings(mint: &Mint) -> BTreeMap<String, String> {
    if mint.wanted.token.rotate_with.is_empty() {
        return BTreeMap::new();
    }
    let seen = look(&*mint.cluster, &mint.wanted.token, &mint.key, &mint.cancel).await;
    seen.map(|s| s.tied_to).unwrap_or_default()
}
