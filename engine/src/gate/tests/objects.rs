//! Kinds that run no pods.

use super::*;

fn claim(status: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {"storageClassName": "fast"},
        "metadata": {"namespace": "shop", "name": "data", "uid": "data"}, "status": status})
}

#[test]
fn a_claim_that_waits_for_its_consumer_is_as_good_as_it_gets() {
    let pending = claim(&json!({"phase": "Pending"}));
    let mut world = World::new("", "PersistentVolumeClaim", "data");
    world.see(&pending);
    world.is(State::InProgress, None, "no volume yet");
    world.event(
        "PersistentVolumeClaim",
        "data",
        "",
        "WaitForFirstConsumer",
        "waiting for first consumer",
    );
    world.is(State::Current, None, "when its first consumer is placed");
    // Known from the class before anybody says so.
    let mut world = World::new("", "PersistentVolumeClaim", "data");
    world
        .see(&pending)
        .see(&json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "fast"}, "volumeBindingMode": "WaitForFirstConsumer"}));
    world.is(State::Current, None, "when its first consumer is placed");
    // With a consumer it has to get its volume.
    let mut placed = pending.clone();
    placed["metadata"]["annotations"] = json!({"volume.kubernetes.io/selected-node": "n"});
    world.see(&placed);
    world.event(
        "PersistentVolumeClaim",
        "data",
        "",
        "ExternalProvisioning",
        "Waiting for a volume to be created",
    );
    world.is(State::InProgress, Some(Heals::Others), "Waiting for a volume");
    world.see(&claim(&json!({"phase": "Bound"})));
    world.is(State::Current, None, "");
    world.see(&claim(&json!({"phase": "Lost"})));
    world.is(State::Failed, Some(Heals::Others), "Lost");
}

#[test]
fn an_unknown_storage_class_is_a_failure_after_a_moment() {
    let mut world = World::new("", "PersistentVolumeClaim", "data");
    world.see(&claim(&json!({"phase": "Pending"})));
    world.event(
        "PersistentVolumeClaim",
        "data",
        "",
        "ProvisioningFailed",
        "storageclass \"nope\" not found",
    );
    world.is(State::InProgress, Some(Heals::Others), "not found");
    world.later(2_000);
    world.is(State::Failed, Some(Heals::Others), "not found");
}

#[test]
fn a_service_waits_for_its_address_and_only_mentions_that_nothing_is_behind_it() {
    let service = |kind: &str, status: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"},
            "spec": {"type": kind, "selector": {"app": "web"}}, "status": status})
    };
    let mut world = World::new("", "Service", "web");
    world.see(&service("LoadBalancer", json!({"loadBalancer": {}})));
    let verdict = world.is(
        State::InProgress,
        Some(Heals::Others),
        "status.loadBalancer.ingress is empty",
    );
    assert!(verdict.blocking);
    world.see(&service(
        "LoadBalancer",
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
    ));
    world.is(State::Current, None, "");
    let slice = |endpoints: Value| {
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "endpoints": endpoints,
            "metadata": {"namespace": "shop", "name": "web-x", "labels": {"kubernetes.io/service-name": "web"}}})
    };
    world.see(&service("ClusterIP", json!({}))).see(&slice(json!([])));
    let verdict = world.is(
        State::InProgress,
        Some(Heals::Others),
        "its selector matches no running pod",
    );
    assert!(!verdict.blocking, "its pods have gates of their own");
    world.see(&slice(json!([{"conditions": {"ready": false}}])));
    world.is(State::InProgress, Some(Heals::Others), "none of its endpoints is ready");
    world.see(&slice(json!([{"conditions": {"ready": true}}])));
    world.is(State::Current, None, "");
}

#[test]
fn an_autoscaler_that_cannot_scale_has_failed_and_one_that_was_not_looked_at_holds_nobody_up() {
    let scaler = |conditions: Value| {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"namespace": "shop", "name": "web"}, "status": {"conditions": conditions}})
    };
    let active = |message: &str| {
        scaler(json!([{"type": "AbleToScale", "status": "True"},
            {"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric", "message": message}]))
    };
    let mut world = World::new("autoscaling", "HorizontalPodAutoscaler", "web");
    world.see(&scaler(json!([])));
    assert!(!world.is(State::InProgress, None, "every 15 s").blocking);
    world.see(&active(
        "the server could not find the requested resource (get pods.metrics.k8s.io)",
    ));
    world.is(State::Failed, Some(Heals::Others), "FailedGetResourceMetric");
    world.see(&active("no metrics returned from resource metrics API"));
    world.is(State::InProgress, Some(Heals::Itself), "no metrics returned");
    world.see(&active("missing request for cpu in container c of Pod web"));
    world.is(State::Failed, Some(Heals::Spec), "missing request");
    world.see(&scaler(
        json!([{"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"}]),
    ));
    world.is(State::Current, None, "");
}

#[test]
fn a_custom_resource_is_ready_when_somebody_says_so_or_nobody_will() {
    let widget = |status: Value| {
        json!({"apiVersion": "example.test/v1", "kind": "Widget",
            "metadata": {"namespace": "shop", "name": "first", "uid": "w", "generation": 2}, "status": status})
    };
    let world = || World::new("example.test", "Widget", "first");
    // Its controller may not have looked yet.
    let mut quiet = world();
    quiet.see(&widget(json!({})));
    let verdict = quiet.is(
        State::InProgress,
        Some(Heals::Itself),
        "no controller has reported on it yet",
    );
    assert_eq!(verdict.check_again_at, Some(Moment(10_000)));
    quiet.later(8_000).see(&widget(json!({"conditions": [
        {"type": "Ready", "status": "False", "reason": "Provisioning", "message": "making it"}]})));
    quiet.is(State::InProgress, Some(Heals::Itself), "Provisioning: making it");
    quiet.later(60_000);
    quiet.is(State::InProgress, Some(Heals::Itself), "making it");
    // Nobody reports on it.
    let mut nobody = world();
    nobody.see(&widget(json!({}))).later(10_000);
    nobody.is(State::Current, None, "no controller reports on it");
    let mut old = widget(json!({}));
    old["metadata"]["creationTimestamp"] = json!("1970-01-01T00:00:00Z");
    let mut still_nobody = world();
    still_nobody.later(3_600_000).see(&old);
    still_nobody.is(State::Current, None, "no controller reports on it");
    // Its kind has no status to report in.
    let mut mute = world();
    mute.see(&widget(json!({}))).see(
        &json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.test"},
        "spec": {"group": "example.test", "names": {"kind": "Widget"}, "versions": [{"name": "v1"}]}}),
    );
    mute.is(State::Current, None, "its kind has no status");
    // What others say of an earlier version does not count.
    let mut late = world();
    late.see(&widget(
        json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}),
    ));
    late.is(State::InProgress, None, "has not seen the change");
    late.see(&widget(
        json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 1}]}),
    ));
    late.is(State::InProgress, None, "of an earlier version");
    late.see(&widget(
        json!({"conditions": [{"type": "Stalled", "status": "True", "reason": "Bad"},
                                           {"type": "Ready", "status": "True"}]}),
    ));
    late.is(State::Failed, Some(Heals::Spec), "Bad");
    // Kinds of Kubernetes' own groups are there when they are written; custom kinds in groups of that look are not.
    let mut gateway = World::new("gateway.networking.k8s.io", "Gateway", "front");
    gateway.see(&json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"namespace": "shop", "name": "front", "generation": 1}}));
    gateway.is(State::InProgress, Some(Heals::Itself), "no controller");
}

#[test]
fn definitions_wait_until_they_are_served_and_say_why_they_are_not() {
    let definition = |kind: &str, status: &str, reason: &str| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.test", "generation": 1},
            "status": {"conditions": [{"type": kind, "status": status, "reason": reason, "message": "m"}]}})
    };
    let mut world = World::new(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "widgets.example.test",
    );
    for (kind, status, reason, state, heals) in [
        (
            "Established",
            "False",
            "Installing",
            State::InProgress,
            Some(Heals::Itself),
        ),
        ("Established", "True", "InitialNamesAccepted", State::Current, None),
        (
            "NamesAccepted",
            "False",
            "KindConflict",
            State::Failed,
            Some(Heals::Spec),
        ),
    ] {
        world.see(&definition(kind, status, reason));
        world.is(state, heals, "");
    }
}

#[test]
fn an_api_service_without_its_service_is_a_failure_and_one_whose_pods_start_is_not() {
    let service = |reason: &str| {
        json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.metrics"},
            "status": {"conditions": [{"type": "Available", "status": "False", "reason": reason, "message": "m"}]}})
    };
    let mut world = World::new("apiregistration.k8s.io", "APIService", "v1.metrics");
    world.see(&service("MissingEndpoints")).later(2_000);
    world.is(State::InProgress, Some(Heals::Itself), "MissingEndpoints");
    world.see(&service("ServiceNotFound"));
    world.is(State::Failed, Some(Heals::Others), "ServiceNotFound: m");
}

#[test]
fn what_is_being_deleted_names_the_finalizer_that_keeps_it() {
    let map = |finalizers: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "held",
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}})
    };
    let mut world = World::new("", "ConfigMap", "held");
    world.see(&map(json!(["example.test/hold"])));
    world.is(State::Terminating, Some(Heals::Others), "example.test/hold");
    world.see(&map(json!(["foregroundDeletion"])));
    world.is(State::Terminating, Some(Heals::Itself), "foregroundDeletion");
    world.gone(&map(json!([])));
    world.is(State::Gone, None, "");
    let mut world = World::new("", "Namespace", "shop");
    world.see(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop",
            "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Terminating", "conditions": [
        {"type": "NamespaceContentRemaining", "status": "True", "reason": "SomeResourcesRemain", "message": "configmaps."},
        {"type": "NamespaceFinalizersRemaining", "status": "True", "reason": "SomeFinalizersRemain",
         "message": "example.test/hold in 1 resource instances"}]}}));
    world.is(
        State::Terminating,
        Some(Heals::Others),
        "example.test/hold in 1 resource instances",
    );
}

#[test]
fn late_news_of_a_replaced_object_say_nothing_of_its_successor() {
    let task = |uid: &str| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "shop", "name": "task", "uid": uid},
        "status": {"conditions": [{"type": "Complete", "status": if uid == "old" { "True" } else { "False" }}]}})
    };
    let mut world = World::new("batch", "Job", "task");
    world.see(&task("new")).gone(&task("old"));
    world.is(State::InProgress, None, "");
    world.gone(&task("new"));
    world.is(State::Gone, None, "it was removed");
}

#[test]
fn hostile_shapes_are_no_reason_to_panic() {
    for value in [
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web"}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web", "generation": "x"},
            "spec": [], "status": {"replicas": -1, "conditions": [4, null], "observedGeneration": i64::MAX}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": "web",
            "ownerReferences": [{"controller": true}, 3]}, "spec": {"replicas": i64::MIN}, "status": 3}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "shop", "name": "web"}, "status": {
            "phase": "Running", "containerStatuses": [{"restartCount": i64::MAX, "state": {"terminated": {}},
            "lastState": {"terminated": {"exitCode": "1"}}}, {"restartCount": -5, "state": 1}]}}),
        json!({"kind": "Event", "involvedObject": 5, "count": i64::MAX}),
        json!(null),
    ] {
        for (group, kind) in [("apps", "Deployment"), ("", "Pod")] {
            let mut world = World::new(group, kind, "web");
            world.see(&value).later(5).see(&value).gone(&value);
            world.look();
            world.see(&value);
            world.look();
        }
    }
}
