//! HorizontalPodAutoscalers without metrics: their status when they cannot scale, and the bounds that they enforce.
//!
//! There is no metrics server in the sandbox, so no load is ever measured: a Deployment is scaled only into the range
//! of `minReplicas` and `maxReplicas`. The annotation `sandbox.myelin.dev/metrics: steady` on an autoscaler, or a
//! ConfigMap `sandbox-metrics` in its namespace, supplies metrics with a load that requires exactly the existing
//! replicas.

use serde_json::{Value, json};

use super::events::Event;
use super::object::{self, Key};
use super::rollout::Conditions;
use super::world::{Outcome, Seen, Who, World};
use crate::kubernetes::registry::{Failure, Part};

const SOURCE: &str = "horizontal-pod-autoscaler";
const KIND: (&str, &str) = ("autoscaling/v2", "HorizontalPodAutoscaler");
const SCALERS: &str = "horizontalpodautoscalers.autoscaling";
/// How often an autoscaler looks, the first time included.
const PERIOD: i64 = 15_000;

pub(super) fn observe(world: &mut World, seen: &Seen) {
    if !seen.gone() && seen.before.is_none() {
        world.enqueue_in(Who::Autoscaler, object::key_of(seen.value()), PERIOD);
    }
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(scaler) = world.cache.get(SCALERS, key) else {
        return Outcome::Done;
    };
    world.enqueue_in(Who::Autoscaler, key.clone(), PERIOD);
    reconcile(world, scaler.value()).into()
}

fn set(conditions: &mut Conditions, world: &World, kind: &str, status: &str, reason: &str, message: &str) {
    conditions.set_without_update(world.now, kind, status, reason, message);
}

fn reconcile(world: &mut World, scaler: &Value) -> Result<(), Failure> {
    let target = &scaler["spec"]["scaleTargetRef"];
    let (group, version) = target["apiVersion"]
        .as_str()
        .unwrap_or("apps/v1")
        .split_once('/')
        .unwrap_or(("", "v1"));
    let (kind, name) = (
        target["kind"].as_str().unwrap_or_default(),
        target["name"].as_str().unwrap_or_default(),
    );
    let mut next = scaler.clone();
    let mut conditions = Conditions::of(scaler);
    let resource = world.registry.catalog().served().by_kind(group, version, kind);
    let live = resource
        .as_ref()
        .and_then(|resource| world.cache.find(&resource.storage, object::namespace(scaler), name));
    let Some((resource, live)) = resource.clone().zip(live) else {
        let plural = resource.map_or_else(
            || format!("{}s.{group}", kind.to_lowercase()),
            |resource| resource.storage.to_string(),
        );
        let why = format!("{plural} \"{name}\" not found");
        world.event(Event::warning(scaler, KIND, SOURCE, "FailedGetScale", why.clone()));
        let message = format!("the HPA controller was unable to get the target's current scale: {why}");
        set(
            &mut conditions,
            world,
            "AbleToScale",
            "False",
            "FailedGetScale",
            &message,
        );
        next["status"]["conditions"] = conditions.into_value();
        return write(world, scaler, next);
    };
    let current = object::number(live.value(), "/spec/replicas").unwrap_or(1);
    set(
        &mut conditions,
        world,
        "AbleToScale",
        "True",
        "SucceededGetScale",
        "the HPA controller was able to get the target's current scale",
    );
    let (least, most) = (
        object::number(scaler, "/spec/minReplicas").unwrap_or(1),
        object::number(scaler, "/spec/maxReplicas").unwrap_or(1),
    );
    object::object_mut(&mut next, "status").insert("currentReplicas".to_owned(), current.into());
    if current == 0 {
        set(
            &mut conditions,
            world,
            "ScalingActive",
            "False",
            "ScalingDisabled",
            "scaling is disabled since the replica count of the target is zero",
        );
    } else if current < least || current > most {
        let wanted = current.clamp(least, most);
        let place = super::cache::Place {
            resource: resource.storage.clone(),
            key: object::key_of(live.value()),
        };
        world.modify(&place, Part::Main, |object| object["spec"]["replicas"] = wanted.into())?;
        let why = if current < least {
            "Current number of replicas below Spec.MinReplicas"
        } else {
            "Current number of replicas above Spec.MaxReplicas"
        };
        world.event(Event::normal(
            scaler,
            KIND,
            SOURCE,
            "SuccessfulRescale",
            format!("New size: {wanted}; reason: {why}"),
        ));
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        set(
            &mut conditions,
            world,
            "AbleToScale",
            "True",
            "SucceededRescale",
            &message,
        );
        next["status"]["desiredReplicas"] = wanted.into();
        next["status"]["lastScaleTime"] = object::time(world.now);
    } else if is_measured(world, scaler) {
        let message = "the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)";
        set(
            &mut conditions,
            world,
            "ScalingActive",
            "True",
            "ValidMetricFound",
            message,
        );
        next["status"]["desiredReplicas"] = current.into();
    } else {
        no_metrics(world, scaler, &mut next, &mut conditions);
    }
    next["status"]["conditions"] = conditions.into_value();
    write(world, scaler, next)
}

/// Whether somebody plays the metrics server for it.
fn is_measured(world: &World, scaler: &Value) -> bool {
    object::annotation(scaler, "sandbox.myelin.dev/metrics") == Some("steady")
        || world
            .registry
            .find("configmaps", object::namespace(scaler), "sandbox-metrics")
            .is_some()
}

fn no_metrics(world: &mut World, scaler: &Value, next: &mut Value, conditions: &mut Conditions) {
    let metrics = object::list(scaler, "/spec/metrics");
    let name = metrics
        .first()
        .map_or("cpu", |metric| metric["resource"]["name"].as_str().unwrap_or("cpu"));
    let why = format!(
        "failed to get {name} utilization: unable to get metrics for resource {name}: unable to fetch metrics from resource metrics API: the server could not \
         find the requested resource (get pods.metrics.k8s.io)"
    );
    world.event(Event::warning(
        scaler,
        KIND,
        SOURCE,
        "FailedGetResourceMetric",
        why.clone(),
    ));
    let count = metrics.len().max(1);
    let message = format!(
        "invalid metrics ({count} invalid out of {count}), first error is: failed to get {name} resource metric value: {why}"
    );
    world.event(Event::warning(
        scaler,
        KIND,
        SOURCE,
        "FailedComputeMetricsReplicas",
        message,
    ));
    let message = format!("the HPA was unable to compute the replica count: {why}");
    set(
        conditions,
        world,
        "ScalingActive",
        "False",
        "FailedGetResourceMetric",
        &message,
    );
    next["status"]["currentMetrics"] = vec![json!({"type": ""}); count].into();
    if next["status"]["desiredReplicas"].is_null() {
        next["status"]["desiredReplicas"] = 0.into();
    }
}

fn write(world: &World, scaler: &Value, next: Value) -> Result<(), Failure> {
    if next["status"] == scaler["status"] {
        return Ok(());
    }
    world.update_status(SCALERS, next).map(|_| ())
}
