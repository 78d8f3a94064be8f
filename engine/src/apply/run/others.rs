//! The executor's waits that are not about its own objects: for objects that others must provide (`requires`), and for
//! the answers of a component (`verify`).

use super::{Consequence, Done, Executor, GRACE};
use crate::apply::gates::Until;
use crate::apply::order::Condition;
use crate::apply::outcome::Progress;
use crate::apply::remove::changed;
use crate::apply::verify::verify;
use crate::cluster::{Cluster, Resource, Target, retrying};
use crate::diagnostic::Diagnostic;
use crate::document::{Requirement, show_duration};
use crate::object::{ObjectKey, split_api_version};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often to look for a kind that is not served: discovery has no watch.
const DISCOVER: Duration = Duration::from_secs(1);

impl Executor<'_> {
    /// Waits for an object of somebody else. Its owner may fix whatever is wrong with it, so only time ends the wait.
    pub(super) fn require(&mut self, index: usize, requirement: &Requirement) {
        let limit = requirement.timeout.map(|limit| Instant::now() + limit);
        let deadline = limit.map_or(self.deadline, |limit| limit.min(self.deadline));
        let kind = (requirement.api_version.clone(), requirement.kind.clone());
        let known = self.plan.observation.resources.get(&kind).cloned();
        let (gates, cluster, cancel) = (
            Arc::clone(&self.gates),
            Arc::clone(&self.cluster),
            self.run.cancel.clone(),
        );
        let (requirement, namespace) = (requirement.clone(), self.plan.desired.stack.namespace.clone());
        let (progress, redaction) = (Arc::clone(&self.run.progress), Arc::clone(&self.redaction));
        self.tasks.spawn(async move {
            let key = key_of(&requirement, &namespace, known.as_ref());
            let resource = match known {
                Some(resource) => resource,
                None => {
                    progress(Progress::Waiting(
                        key.clone(),
                        format!("{} is not served yet", requirement.kind),
                    ));
                    match served(&*cluster, &requirement, deadline, &cancel).await {
                        Ok(resource) => resource,
                        Err(why) => return Done::Required(index, Err(format!("{}: {why}", key.human()))),
                    }
                }
            };
            let key = key_of(&requirement, &namespace, Some(&resource));
            let passage = gates
                .pass(&key, &resource, Until::ReadyAtLast, None, deadline, &cancel)
                .await;
            if let Some(why) = passage.complaint(&key, |text| redaction.redact(text)) {
                return Done::Required(index, Err(why));
            }
            let fields = fields(&*cluster, &resource, &key, &requirement, deadline, &cancel).await;
            Done::Required(index, fields.map_err(|why| format!("{}: {why}", key.human())))
        });
    }

    /// The wait for an object of somebody else ended.
    pub(super) fn required(&mut self, index: usize, ready: Result<(), String>) -> Vec<Consequence> {
        let Err(why) = ready else {
            return self.order.met(&Condition::Requirement(index));
        };
        let who = match self.plan.desired.requires.get(index) {
            Some((Some(component), _)) => format!("component {component}"),
            _ => "the stack".to_owned(),
        };
        let why = format!("what {who} requires is not ready: {why}");
        if !self.run.cancel.is_cancelled() {
            let fix = "it is not the stack's, so nothing was done about it: who owns it has to make it ready; then apply again";
            self.outcome.tell(Diagnostic::error(why.clone()).detail(fix));
        }
        self.order.requirement_failed(index, &why)
    }

    /// Starts the checks of a component whose objects are ready.
    pub(super) fn start_checks(&mut self, name: &str) {
        let checks = self.plan.desired.components.get(name).map(|t| t.verify.clone());
        let deadline = self.deadline_of(Some(name));
        let (cluster, cancel, name) = (Arc::clone(&self.cluster), self.run.cancel.clone(), name.to_owned());
        self.tasks.spawn(async move {
            for check in checks.unwrap_or_default() {
                if let Err(why) = verify(Arc::clone(&cluster), check, deadline, cancel.clone()).await {
                    return Done::Verified(name, Err(why));
                }
            }
            Done::Verified(name, Ok(()))
        });
    }

    /// A component's checks ended.
    pub(super) fn verified(&mut self, name: &str, result: Result<(), String>) -> Vec<Consequence> {
        match result {
            Ok(()) => self.order.met(&Condition::Verified(name.to_owned())),
            Err(why) => {
                self.unverified.insert(name.to_owned(), self.redaction.redact(&why));
                self.order.unverified(name)
            }
        }
    }
}

fn key_of(requirement: &Requirement, stack: &str, resource: Option<&Resource>) -> ObjectKey {
    let namespace = match (resource.is_none_or(|r| r.namespaced), requirement.namespace.as_str()) {
        (false, _) => "",
        (true, "") => stack,
        (true, own) => own,
    };
    let group = split_api_version(&requirement.api_version).0;
    ObjectKey::new(group, &*requirement.kind, namespace, &*requirement.name)
}

/// Waits until a kind is served: its CRD may be somebody else's too, and not installed yet.
async fn served(
    cluster: &dyn Cluster,
    requirement: &Requirement,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Result<Resource, String> {
    loop {
        // The deadline applies to the request as well.
        let asked = retrying(cancel, || cluster.discover(&requirement.api_version));
        let found = match tokio::time::timeout_at(deadline + GRACE, asked).await {
            Ok(Ok(found)) => found,
            Ok(Err(e)) => return Err(e.to_string()),
            Err(_) => None,
        };
        let resource = found
            .unwrap_or_default()
            .into_iter()
            .find(|r| r.kind == requirement.kind);
        if let Some(resource) = resource {
            return Ok(resource);
        }
        let why = || {
            format!(
                "the cluster does not serve {} at {}; its definition has to be installed first",
                requirement.kind, requirement.api_version
            )
        };
        if Instant::now() >= deadline {
            return Err(why());
        }
        let pause = DISCOVER.mul_f64(0.75 + rand::random::<f64>() / 2.0);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return Err(why()),
        }
    }
}

/// Waits until the required fields have their values.
async fn fields(
    cluster: &dyn Cluster,
    resource: &Resource,
    key: &ObjectKey,
    requirement: &Requirement,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Result<(), String> {
    if requirement.fields.is_empty() {
        return Ok(());
    }
    let target = Target {
        resource: resource.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    };
    loop {
        let live = retrying(cancel, || cluster.get(&target))
            .await
            .map_err(|e| e.to_string())?;
        let why = match &live {
            None => "it is gone".to_owned(),
            Some(live) => match unlike(live, requirement) {
                None => return Ok(()),
                Some(why) => why,
            },
        };
        let version = live
            .as_ref()
            .and_then(|l| l.pointer("/metadata/resourceVersion"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        tokio::select! {
            () = changed(cluster, &target, version) => {}
            () = tokio::time::sleep_until(deadline) => {
                let limit = requirement.timeout.map_or_else(String::new, |t| format!(" within {}", show_duration(t)));
                return Err(format!("{why}{limit}"));
            }
            () = cancel.cancelled() => return Err(why),
        }
    }
}

/// The first field that differs from the requirement.
fn unlike(live: &Value, requirement: &Requirement) -> Option<String> {
    requirement.fields.iter().find_map(|(path, wanted)| {
        let found = path.split('.').try_fold(live, |value, part| match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            other => other.get(part),
        });
        let text = found.map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        match text {
            Some(text) if text == *wanted => None,
            // A value of somebody else's Secret must not be printed.
            Some(_) if requirement.kind == "Secret" => Some(format!("its {path} is not {wanted}")),
            Some(text) => Some(format!("its {path} is {text}, not {wanted}")),
            None => Some(format!("it has no {path} yet, which should be {wanted}")),
        }
    })
}
