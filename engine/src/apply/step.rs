//! Applies one object: from the plan's change to the server's confirmed answer.

use super::jobs::{Busy, at_rest};
use super::remove::{Removal, gone, remove};
use super::takeover;
use crate::cluster::{Cluster, ClusterError, Mode, Resource, Target, kinds, retrying};
use crate::desired::Redaction;
use crate::document::Adopt;
use crate::object::{ObjectKey, split_api_version};
use crate::observe::{Manners, Trial, immutable_fields, leftover_defaults, target, uid};
use crate::plan::{Action, keeps};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long an apply waits for something that was confirmed but is not visible yet: a kind that a CRD defines, a
/// namespace, a new namespace's default service account.
const SETTLING: Duration = Duration::from_secs(30);

/// Everything that one step needs.
pub(super) struct Step {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) key: ObjectKey,
    pub(super) api_version: String,
    pub(super) action: Action,
    /// The object as observed.
    pub(super) live: Option<Value>,
    /// What to send: the manifest without the fields that are left to others.
    pub(super) body: Value,
    /// Its resource; None if its kind was not served at observation.
    pub(super) resource: Option<Resource>,
    pub(super) manners: Manners,
    /// Secrets to remove from the server's messages.
    pub(super) redaction: Redaction,
    /// The set that it belongs to, and what the stack takes over.
    pub(super) set: String,
    pub(super) adopt: Adopt,
    /// Whether a Job that is to be replaced may finish its running pods first.
    pub(super) wait_for_run: bool,
    pub(super) deadline: Instant,
    pub(super) cancel: CancellationToken,
}

/// The result of a step.
pub(super) enum Stepped {
    /// The object as the server confirmed it, the fields that were left to others, and its resource.
    Applied(Value, Vec<String>, Resource),
    /// It could not be applied. The text is for the user and holds no secret.
    Failed(String),
    /// An answer never came.
    Uncertain(String),
}

impl Step {
    pub(super) async fn run(mut self) -> Stepped {
        let resource = match self.resource().await {
            Ok(resource) => resource,
            Err(stepped) => return stepped,
        };
        let target = target(&resource, &self.key);
        if let Err(stepped) = self.make_room(&target).await {
            return stepped;
        }
        if self.action == Action::Adopt
            && let Err(e) = self.take_over(&target, self.live.as_ref()).await
        {
            return self.failed(&e);
        }
        let mut body = std::mem::take(&mut self.body);
        if !resource.namespaced {
            body.get_mut("metadata")
                .and_then(Value::as_object_mut)
                .map(|m| m.remove("namespace"));
        }
        if self.action == Action::Update
            && let (Some(metadata), Some(uid)) = (
                body.get_mut("metadata").and_then(Value::as_object_mut),
                self.live.as_ref().and_then(uid),
            )
        {
            // The precondition of an update: exactly this object. If somebody recreated it, it is another one.
            metadata.insert("uid".into(), uid.into());
        }
        let started = Instant::now();
        let mut cleared = false;
        loop {
            let sent = match self.action {
                Action::Create | Action::Replace => self.make(&target, &body).await,
                _ => Ok(self.send(&target, &body).await),
            };
            let trial = match sent {
                Ok(trial) => trial,
                Err(stepped) => return stepped,
            };
            let left = left(&trial);
            match trial.result {
                Ok(live) => return Stepped::Applied(live, left, resource),
                Err(ref e) if settles(e) && started.elapsed() < SETTLING && !self.cancel.is_cancelled() => {
                    tracing::debug!(object = %self.key, error = %e, "what it needs is not visible yet");
                }
                Err(ref e) if !cleared && self.clear_defaults(&target, &body, e).await => cleared = true,
                Err(_) => return self.refused(&trial),
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(250)) => {}
                () = self.cancel.cancelled() => {}
            }
        }
    }

    /// The object's resource. If a CRD of the stack defines the kind, waits until it is served.
    async fn resource(&self) -> Result<Resource, Stepped> {
        if let Some(resource) = &self.resource {
            return Ok(resource.clone());
        }
        let (api_version, kind) = (&self.api_version, &self.key.kind);
        if let Some(resource) = kinds::built_in(api_version, kind) {
            return Ok(resource);
        }
        let started = Instant::now();
        loop {
            let served = retrying(&self.cancel, || self.cluster.discover(api_version)).await;
            match served {
                Ok(served) => {
                    if let Some(found) = served.unwrap_or_default().into_iter().find(|r| r.kind == *kind) {
                        return Ok(found);
                    }
                }
                Err(e) => return Err(self.failed(&e)),
            }
            if started.elapsed() > SETTLING || self.cancel.is_cancelled() {
                let (group, version) = split_api_version(api_version);
                return Err(Stepped::Failed(format!(
                    "the cluster does not serve {kind} at version {version} of {group}"
                )));
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(200)) => {}
                () = self.cancel.cancelled() => {}
            }
        }
    }

    /// Waits for an old object that is being deleted, and deletes one that is to be replaced.
    async fn make_room(&self, target: &Target) -> Result<(), Stepped> {
        let Some(live) = &self.live else { return Ok(()) };
        let Some(uid) = uid(live) else { return Ok(()) };
        let removal = match self.action {
            Action::Create => gone(&*self.cluster, target, uid, self.deadline, &self.cancel).await,
            Action::Replace => {
                if self.wait_for_run && target.resource.kind == "Job" {
                    self.let_run_end(target, uid).await?;
                }
                let keep = |live: &Value| keeps(live).map(|a| format!("its annotation {a} keeps it"));
                remove(&*self.cluster, target, uid, live, &keep, self.deadline, &self.cancel).await
            }
            Action::Adopt | Action::Update | Action::Unchanged | Action::Prune | Action::Release | Action::Unknown => {
                return Ok(());
            }
        };
        match removal {
            Removal::Gone => Ok(()),
            Removal::Kept(why) => Err(Stepped::Failed(format!("it cannot be replaced: {why}"))),
            Removal::Held(why) => Err(Stepped::Failed(format!("the old one does not go: {why}"))),
            Removal::Refused(e) => Err(self.failed(&e)),
            Removal::Cancelled => Err(Stepped::Uncertain(
                "cancelled while the old one was being deleted".into(),
            )),
        }
    }

    /// Waits until no container of the old Job runs.
    async fn let_run_end(&self, target: &Target, uid: &str) -> Result<(), Stepped> {
        match at_rest(&*self.cluster, target, uid, self.deadline, &self.cancel).await {
            Ok(()) => Ok(()),
            Err(Busy::Late) => Err(Stepped::Failed(
                "the old Job still runs, and the time for it is over; list Job under replace to have it stopped instead".into(),
            )),
            Err(Busy::Cancelled) => Err(Stepped::Failed("cancelled while the old Job ran; nothing was changed".into())),
            Err(Busy::Refused(e)) => Err(self.failed(&e)),
        }
    }

    /// Removes defaults that no apply can remove, by a plain write of the surrounding values as the manifest has them.
    /// False if the refusal has another cause.
    async fn clear_defaults(&self, target: &Target, body: &Value, error: &ClusterError) -> bool {
        let Some(around) = self.live.as_ref().and_then(|live| leftover_defaults(error, live, body)) else {
            return false;
        };
        let patch: Vec<Value> = around
            .iter()
            .map(|path| json!({"op": "replace", "path": path, "value": body.pointer(path)}))
            .collect();
        let patch = Value::Array(patch);
        retrying(&self.cancel, || self.cluster.json_patch(target, &patch, Mode::Real))
            .await
            .is_ok()
    }

    pub(super) async fn take_over(&self, target: &Target, live: Option<&Value>) -> Result<(), ClusterError> {
        let mut live = live.cloned();
        // The version may change between observation and patch; a few attempts settle it.
        for _ in 0..4 {
            let Some(patch) = live.as_ref().and_then(takeover::patch) else {
                return Ok(());
            };
            match retrying(&self.cancel, || self.cluster.json_patch(target, &patch, Mode::Real)).await {
                Ok(_) => return Ok(()),
                Err(e) if e.is_conflict() || e.is_invalid() => {}
                Err(e) if e.is_not_found() => return Ok(()),
                Err(e) => return Err(e),
            }
            live = retrying(&self.cancel, || self.cluster.get(target)).await?;
        }
        Ok(())
    }

    fn refused(&self, trial: &Trial) -> Stepped {
        if !trial.foreign.is_empty() {
            let all: Vec<String> = trial
                .foreign
                .iter()
                .map(|(manager, path)| format!("{path} is owned by {manager}"))
                .collect();
            return Stepped::Failed(format!(
                "other field managers own what the stack wants to set: {}; remove the fields, or set conflicts: force or yield",
                all.join(", ")
            ));
        }
        match &trial.result {
            Err(e) if !trial.beside.is_empty() => {
                let what = crate::plan::stands_beside(&trial.beside, &self.key);
                Stepped::Failed(format!("{}; {what}", self.redaction.redact(&e.to_string())))
            }
            Err(e) => self.failed(e),
            Ok(_) => Stepped::Failed("the server gave no answer".into()),
        }
    }

    pub(super) fn failed(&self, error: &ClusterError) -> Stepped {
        let words = self.redaction.redact(&error.to_string());
        match error {
            ClusterError::Unreachable(_) | ClusterError::TimedOut(_) => Stepped::Uncertain(words),
            ClusterError::Refused { code: 409, .. } if self.action == Action::Update => Stepped::Failed(format!(
                "{words}; somebody deleted it or made it again since the plan: run it again"
            )),
            e if self.action == Action::Update && !immutable_fields(e).is_empty() => Stepped::Failed(format!(
                "{words}; give the object another name, or undo the change, or list {} under replace to have it deleted and made \
                 again",
                self.key.kind
            )),
            ClusterError::Refused { .. } | ClusterError::Unreadable(_) => Stepped::Failed(words),
        }
    }
}

fn left(trial: &Trial) -> Vec<String> {
    trial.foreign.iter().map(|(_, path)| path.clone()).collect()
}

/// Whether a refusal is about something that was confirmed but is not visible everywhere yet.
fn settles(error: &ClusterError) -> bool {
    match error {
        ClusterError::Refused { code: 404, .. } => true,
        ClusterError::Refused { code: 403, message, .. } => message.contains("error looking up service account"),
        ClusterError::Refused { .. }
        | ClusterError::Unreachable(_)
        | ClusterError::TimedOut(_)
        | ClusterError::Unreadable(_) => false,
    }
}
