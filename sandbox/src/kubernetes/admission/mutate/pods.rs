//! What the server adds to new pods: a priority, tolerations, a service account and its token.

use serde_json::{Value, json};

use super::super::access::{Fields, items_mut, set, struct_mut, sub};
use super::forbidden;
use crate::kubernetes::registry::{Failure, Registry};

/// Where containers find their service account's token.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Letters of generated names.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The number that the pod's priority class stands for.
pub(super) fn priority(registry: &Registry, object: &mut Value) -> Result<(), Failure> {
    const CLASSES: &str = "priorityclasses.scheduling.k8s.io";
    let name = sub(object, "spec").text("priorityClassName").to_owned();
    let given = sub(object, "spec").int("priority");
    let mut class_name = None;
    let (value, policy) = if name.is_empty() {
        let default = registry
            .list(CLASSES, None, None)
            .ok()
            .and_then(|all| all.into_iter().find(|class| class.value().yes("globalDefault")));
        match default {
            Some(class) => {
                class_name = Some(class.name().to_owned());
                (
                    class.value().int("value").unwrap_or_default(),
                    class.value().text("preemptionPolicy").to_owned(),
                )
            }
            None => (0, String::new()),
        }
    } else {
        match registry.find(CLASSES, "", &name) {
            Some(class) => (
                class.value().int("value").unwrap_or_default(),
                class.value().text("preemptionPolicy").to_owned(),
            ),
            None => match name.as_str() {
                "system-node-critical" => (2_000_001_000, String::new()),
                "system-cluster-critical" => (2_000_000_000, String::new()),
                _ => {
                    return Err(forbidden(
                        "pods",
                        object,
                        &format!("no PriorityClass with name {name} was found"),
                    ));
                }
            },
        }
    };
    if given.is_some_and(|given| given != value) {
        let why = format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name",
            given.unwrap_or_default()
        );
        return Err(forbidden("pods", object, &why));
    }
    if let Some(spec) = struct_mut(object, "spec") {
        if let Some(name) = class_name {
            set(spec, "priorityClassName", name);
        }
        set(spec, "priority", value);
        if !spec.has("preemptionPolicy") {
            set(
                spec,
                "preemptionPolicy",
                if policy.is_empty() {
                    "PreemptLowerPriority"
                } else {
                    policy.as_str()
                },
            );
        }
    }
    Ok(())
}

/// Five minutes on a node that is not ready or not reachable, unless the pod says something about it.
pub(super) fn tolerations(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    let mut all = spec.items("tolerations").to_vec();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = all.iter().any(|one| {
            (one.text("key").is_empty() || one.text("key") == key) && matches!(one.text("effect"), "" | "NoExecute")
        });
        if !tolerated {
            all.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
        }
    }
    set(spec, "tolerations", all);
}

/// A PUT that leaves out the server's own tolerations means to keep them no less than one that names them.
pub(super) fn tolerations_kept(old: &Value, new: &mut Value) -> Result<(), Failure> {
    let had = sub(old, "spec")
        .items("tolerations")
        .iter()
        .any(|one| one.text("key") == "node.kubernetes.io/not-ready");
    if had {
        tolerations(new);
    }
    Ok(())
}

/// The service account that the pod runs as, and its token in every container.
pub(super) fn service_account(registry: &Registry, object: &mut Value) -> Result<(), Failure> {
    let metadata = sub(object, "metadata");
    if sub(metadata, "annotations").has("kubernetes.io/config.mirror") {
        return Ok(());
    }
    let namespace = metadata.text("namespace").to_owned();
    let mut name = sub(object, "spec").text("serviceAccountName").to_owned();
    if name.is_empty() {
        "default".clone_into(&mut name);
        if let Some(spec) = struct_mut(object, "spec") {
            set(spec, "serviceAccountName", "default");
            set(spec, "serviceAccount", "default");
        }
    }
    let Some(account) = registry.find("serviceaccounts", &namespace, &name) else {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found");
        return Err(forbidden("pods", object, &why));
    };
    let Some(spec) = struct_mut(object, "spec") else {
        return Ok(());
    };
    let wanted = |value: &Value| sub(value, "automountServiceAccountToken").as_bool();
    if wanted(spec).or_else(|| wanted(account.value())).unwrap_or(true) {
        mount_token(spec);
    }
    if spec.items("imagePullSecrets").is_empty() && !account.value().items("imagePullSecrets").is_empty() {
        set(
            spec,
            "imagePullSecrets",
            account.value().items("imagePullSecrets").to_vec(),
        );
    }
    Ok(())
}

fn mount_token(spec: &mut Value) {
    let known = spec
        .items("volumes")
        .iter()
        .find(|volume| volume.text("name").starts_with("kube-api-access-"))
        .map(|volume| volume.text("name").to_owned());
    let name = known.clone().unwrap_or_else(|| {
        let mut random: u64 = rand::random();
        let mut name = "kube-api-access-".to_owned();
        for _ in 0..5 {
            name.push(char::from(
                ALPHABET[usize::try_from(random % ALPHABET.len() as u64).unwrap_or_default()],
            ));
            random /= ALPHABET.len() as u64;
        }
        name
    });
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            if !container.is_object()
                || container
                    .items("volumeMounts")
                    .iter()
                    .any(|mount| mount.text("mountPath") == MOUNT)
            {
                continue;
            }
            let mut mounts = container.items("volumeMounts").to_vec();
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT}));
            set(container, "volumeMounts", mounts);
            used = true;
        }
    }
    if used && known.is_none() {
        let mut volumes = spec.items("volumes").to_vec();
        volumes.push(json!({"name": name, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
        ]}}));
        set(spec, "volumes", volumes);
    }
}
