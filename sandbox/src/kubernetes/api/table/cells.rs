//! Columns and cells of the built-in kinds.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, duration, rows};

/// Column names of a resource; `+` marks columns of `-o wide`. The server declares all of them as strings, numbers too.
pub(super) fn names(resource: &str) -> &'static [&'static str] {
    match resource {
        "pods" => &[
            "Name",
            "Ready",
            "Status",
            "Restarts",
            "Age",
            "IP+",
            "Node+",
            "Nominated Node+",
            "Readiness Gates+",
        ],
        "services" => &[
            "Name",
            "Type",
            "Cluster-IP",
            "External-IP",
            "Port(s)",
            "Age",
            "Selector+",
        ],
        "configmaps" => &["Name", "Data", "Age"],
        "secrets" => &["Name", "Type", "Data", "Age"],
        "serviceaccounts" => &["Name", "Age"],
        "namespaces" => &["Name", "Status", "Age"],
        "nodes" => &[
            "Name",
            "Status",
            "Roles",
            "Age",
            "Version",
            "Internal-IP+",
            "External-IP+",
            "OS-Image+",
            "Kernel-Version+",
            "Container-Runtime+",
        ],
        "persistentvolumeclaims" => &[
            "Name",
            "Status",
            "Volume",
            "Capacity",
            "Access Modes",
            "StorageClass",
            "VolumeAttributesClass",
            "Age",
            "VolumeMode+",
        ],
        "persistentvolumes" => &[
            "Name",
            "Capacity",
            "Access Modes",
            "Reclaim Policy",
            "Status",
            "Claim",
            "StorageClass",
            "VolumeAttributesClass",
            "Reason",
            "Age",
            "VolumeMode+",
        ],
        "deployments.apps" => &[
            "Name",
            "Ready",
            "Up-to-date",
            "Available",
            "Age",
            "Containers+",
            "Images+",
            "Selector+",
        ],
        "replicasets.apps" | "replicationcontrollers" => &[
            "Name",
            "Desired",
            "Current",
            "Ready",
            "Age",
            "Containers+",
            "Images+",
            "Selector+",
        ],
        "statefulsets.apps" => &["Name", "Ready", "Age", "Containers+", "Images+"],
        "daemonsets.apps" => &[
            "Name",
            "Desired",
            "Current",
            "Ready",
            "Up-to-date",
            "Available",
            "Node Selector",
            "Age",
            "Containers+",
            "Images+",
            "Selector+",
        ],
        "jobs.batch" => &[
            "Name",
            "Status",
            "Completions",
            "Duration",
            "Age",
            "Containers+",
            "Images+",
            "Selector+",
        ],
        "cronjobs.batch" => &[
            "Name",
            "Schedule",
            "Timezone",
            "Suspend",
            "Active",
            "Last Schedule",
            "Age",
            "Containers+",
            "Images+",
            "Selector+",
        ],
        "endpoints" => &["Name", "Endpoints", "Age"],
        "endpointslices.discovery.k8s.io" => &["Name", "AddressType", "Ports", "Endpoints", "Age"],
        "events" => &[
            "Last Seen",
            "Type",
            "Reason",
            "Object",
            "Subobject+",
            "Source+",
            "Message",
            "First Seen+",
            "Count+",
            "Name+",
        ],
        "ingresses.networking.k8s.io" => &["Name", "Class", "Hosts", "Address", "Ports", "Age"],
        "networkpolicies.networking.k8s.io" => &["Name", "Pod-Selector", "Age"],
        "poddisruptionbudgets.policy" => &["Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"],
        "horizontalpodautoscalers.autoscaling" => {
            &["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"]
        }
        "leases.coordination.k8s.io" => &["Name", "Holder", "Age"],
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            &["Name", "Role", "Age", "Users+", "Groups+", "ServiceAccounts+"]
        }
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => &["Name", "Created At"],
        "storageclasses.storage.k8s.io" => &[
            "Name",
            "Provisioner",
            "ReclaimPolicy",
            "VolumeBindingMode",
            "AllowVolumeExpansion",
            "Age",
        ],
        "priorityclasses.scheduling.k8s.io" => &["Name", "Value", "Global-Default", "Age", "PreemptionPolicy"],
        "resourcequotas" => &["Name", "Request", "Limit", "Age"],
        "customresourcedefinitions.apiextensions.k8s.io" => &["Name", "Created At"],
        "controllerrevisions.apps" => &["Name", "Controller", "Revision", "Age"],
        _ => &["Name", "Age"],
    }
}

/// The cells of an object, one per column.
pub(super) fn cells(resource: &str, object: &Value, now: Timestamp) -> Vec<Value> {
    let (metadata, spec, status) = (&object["metadata"], &object["spec"], &object["status"]);
    let name = metadata["name"].clone();
    let own_age = || Value::from(age(&metadata["creationTimestamp"], now));
    let number = |value: &Value| json!(value.as_i64().unwrap_or(0));
    let text = |value: &Value| Value::from(value.as_str().unwrap_or_default());
    let or = |value: &Value, other: &str| Value::from(value.as_str().filter(|t| !t.is_empty()).unwrap_or(other));
    let template = &spec["template"]["spec"];
    let selector = || Value::from(selector(&spec["selector"]));
    match resource {
        "pods" => rows::pod(object, now),
        "services" => vec![
            name,
            text(&spec["type"]),
            or(&spec["clusterIP"], "<none>"),
            external(object).into(),
            or(&service_ports(&spec["ports"]).into(), "<none>"),
            own_age(),
            labels(&spec["selector"]).into(),
        ],
        "configmaps" => vec![
            name,
            json!(size(&object["data"]) + size(&object["binaryData"])),
            own_age(),
        ],
        "secrets" => vec![name, text(&object["type"]), json!(size(&object["data"])), own_age()],
        "namespaces" => vec![name, text(&status["phase"]), own_age()],
        "nodes" => rows::node(object, own_age()),
        "persistentvolumeclaims" => {
            let phase = if metadata["deletionTimestamp"].is_string() {
                json!("Terminating")
            } else {
                text(&status["phase"])
            };
            let bound = spec["volumeName"].is_string();
            let capacity = if bound {
                text(&status["capacity"]["storage"])
            } else {
                json!("")
            };
            let modes = if bound {
                modes(&status["accessModes"])
            } else {
                String::new()
            };
            vec![
                name,
                phase,
                text(&spec["volumeName"]),
                capacity,
                modes.into(),
                text(&spec["storageClassName"]),
                or(&spec["volumeAttributesClassName"], "<unset>"),
                own_age(),
                or(&spec["volumeMode"], "<unset>"),
            ]
        }
        "persistentvolumes" => {
            let claim = &spec["claimRef"];
            let claim = if claim.is_object() {
                format!(
                    "{}/{}",
                    claim["namespace"].as_str().unwrap_or(""),
                    claim["name"].as_str().unwrap_or("")
                )
            } else {
                String::new()
            };
            vec![
                name,
                text(&spec["capacity"]["storage"]),
                modes(&spec["accessModes"]).into(),
                text(&spec["persistentVolumeReclaimPolicy"]),
                text(&status["phase"]),
                claim.into(),
                text(&spec["storageClassName"]),
                or(&spec["volumeAttributesClassName"], "<unset>"),
                text(&status["reason"]),
                own_age(),
                or(&spec["volumeMode"], "<unset>"),
            ]
        }
        "deployments.apps" => {
            let ready = ready_of(status, spec);
            let (containers, images) = images(template);
            vec![
                name,
                ready,
                number(&status["updatedReplicas"]),
                number(&status["availableReplicas"]),
                own_age(),
                containers,
                images,
                selector(),
            ]
        }
        "replicasets.apps" | "replicationcontrollers" => {
            let (containers, images) = images(template);
            vec![
                name,
                number(&spec["replicas"]),
                number(&status["replicas"]),
                number(&status["readyReplicas"]),
                own_age(),
                containers,
                images,
                selector(),
            ]
        }
        "statefulsets.apps" => {
            let (containers, images) = images(template);
            vec![name, ready_of(status, spec), own_age(), containers, images]
        }
        "daemonsets.apps" => {
            let (containers, images) = images(template);
            vec![
                name,
                number(&status["desiredNumberScheduled"]),
                number(&status["currentNumberScheduled"]),
                number(&status["numberReady"]),
                number(&status["updatedNumberScheduled"]),
                number(&status["numberAvailable"]),
                labels(&template["nodeSelector"]).into(),
                own_age(),
                containers,
                images,
                selector(),
            ]
        }
        "jobs.batch" => {
            let (containers, images) = images(template);
            let succeeded = status["succeeded"].as_i64().unwrap_or(0);
            let completions = match (spec["completions"].as_i64(), spec["parallelism"].as_i64()) {
                (Some(wanted), _) => format!("{succeeded}/{wanted}"),
                (None, Some(parallel)) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
                _ => format!("{succeeded}/1"),
            };
            let seconds = |v: &Value| {
                v.as_str()
                    .and_then(|t| t.parse::<Timestamp>().ok())
                    .map(Timestamp::as_second)
            };
            let took = match (seconds(&status["startTime"]), seconds(&status["completionTime"])) {
                (None, _) => String::new(),
                (Some(start), end) => duration(end.unwrap_or(now.as_second()) - start),
            };
            vec![
                name,
                job_status(object).into(),
                completions.into(),
                took.into(),
                own_age(),
                containers,
                images,
                selector(),
            ]
        }
        "cronjobs.batch" => {
            let (containers, images) = images(&spec["jobTemplate"]["spec"]["template"]["spec"]);
            let suspend = if spec["suspend"] == true { "True" } else { "False" };
            let last = &status["lastScheduleTime"];
            let last = if last.is_string() {
                age(last, now)
            } else {
                "<none>".to_owned()
            };
            vec![
                name,
                text(&spec["schedule"]),
                or(&spec["timeZone"], "<none>"),
                suspend.into(),
                json!(size(&status["active"])),
                last.into(),
                own_age(),
                containers,
                images,
                json!("<none>"),
            ]
        }
        "endpoints" => vec![name, endpoints(&object["subsets"]).into(), own_age()],
        "endpointslices.discovery.k8s.io" => {
            let ports = list(&object["ports"], |p| {
                p["port"].as_i64().map_or("*".to_owned(), |n| n.to_string())
            });
            let addresses = object["endpoints"].as_array().into_iter().flatten();
            let addresses: Vec<&str> = addresses
                .flat_map(|e| e["addresses"].as_array().into_iter().flatten())
                .filter_map(Value::as_str)
                .collect();
            let ports = if ports.is_empty() { "<unset>".to_owned() } else { ports };
            vec![
                name,
                text(&object["addressType"]),
                ports.into(),
                shortened(&addresses).into(),
                own_age(),
            ]
        }
        "events" => rows::event(object, now),
        "ingresses.networking.k8s.io" => {
            let hosts = list(&spec["rules"], |r| r["host"].as_str().unwrap_or("*").to_owned());
            let address = list(&status["loadBalancer"]["ingress"], |i| {
                i["ip"]
                    .as_str()
                    .or_else(|| i["hostname"].as_str())
                    .unwrap_or_default()
                    .to_owned()
            });
            let ports = if size(&spec["tls"]) > 0 { "80, 443" } else { "80" };
            let hosts = if hosts.is_empty() { "*".to_owned() } else { hosts };
            vec![
                name,
                or(&spec["ingressClassName"], "<none>"),
                hosts.into(),
                address.into(),
                ports.into(),
                own_age(),
            ]
        }
        "networkpolicies.networking.k8s.io" => vec![name, self::selector(&spec["podSelector"]).into(), own_age()],
        "poddisruptionbudgets.policy" => {
            let limit = |v: &Value| match v {
                Value::Null => "N/A".to_owned(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            vec![
                name,
                limit(&spec["minAvailable"]).into(),
                limit(&spec["maxUnavailable"]).into(),
                number(&status["disruptionsAllowed"]),
                own_age(),
            ]
        }
        "horizontalpodautoscalers.autoscaling" => {
            let target = &spec["scaleTargetRef"];
            let reference = format!(
                "{}/{}",
                target["kind"].as_str().unwrap_or(""),
                target["name"].as_str().unwrap_or("")
            );
            let least = spec["minReplicas"]
                .as_i64()
                .map_or("<unset>".to_owned(), |n| n.to_string());
            let most = spec["maxReplicas"].as_i64().unwrap_or(0).to_string();
            let targets = list(&spec["metrics"], |m| {
                let target = &m["resource"]["target"]["averageUtilization"];
                let name = m["resource"]["name"].as_str().unwrap_or("metric");
                format!("{name}: <unknown>/{}%", target.as_i64().unwrap_or(0))
            });
            let targets = if targets.is_empty() {
                "<none>".to_owned()
            } else {
                targets
            };
            vec![
                name,
                reference.into(),
                targets.into(),
                least.into(),
                most.into(),
                number(&status["currentReplicas"]),
                own_age(),
            ]
        }
        "leases.coordination.k8s.io" => vec![name, text(&spec["holderIdentity"]), own_age()],
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => {
            let role = &object["roleRef"];
            let role = format!(
                "{}/{}",
                role["kind"].as_str().unwrap_or(""),
                role["name"].as_str().unwrap_or("")
            );
            let of = |kind: &str| {
                let subjects = object["subjects"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter(|s| s["kind"] == kind);
                let names: Vec<String> = subjects
                    .map(|s| match s["namespace"].as_str() {
                        Some(ns) if kind == "ServiceAccount" => format!("{ns}/{}", s["name"].as_str().unwrap_or("")),
                        _ => s["name"].as_str().unwrap_or("").to_owned(),
                    })
                    .collect();
                Value::from(names.join(", "))
            };
            vec![
                name,
                role.into(),
                own_age(),
                of("User"),
                of("Group"),
                of("ServiceAccount"),
            ]
        }
        "roles.rbac.authorization.k8s.io"
        | "clusterroles.rbac.authorization.k8s.io"
        | "customresourcedefinitions.apiextensions.k8s.io" => vec![name, metadata["creationTimestamp"].clone()],
        "storageclasses.storage.k8s.io" => {
            let default = metadata["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true";
            let shown = format!(
                "{}{}",
                name.as_str().unwrap_or(""),
                if default { " (default)" } else { "" }
            );
            vec![
                shown.into(),
                text(&object["provisioner"]),
                or(&object["reclaimPolicy"], "Delete"),
                or(&object["volumeBindingMode"], "Immediate"),
                json!(object["allowVolumeExpansion"] == true),
                own_age(),
            ]
        }
        "priorityclasses.scheduling.k8s.io" => vec![
            name,
            number(&object["value"]),
            json!(object["globalDefault"] == true),
            own_age(),
            text(&object["preemptionPolicy"]),
        ],
        "resourcequotas" => {
            let pairs = |prefix_limit: bool| {
                let hard = status["hard"].as_object().into_iter().flatten();
                let shown = hard
                    .filter(|(k, _)| k.starts_with("limits") == prefix_limit)
                    .map(|(k, v)| {
                        let used = status["used"][k].as_str().unwrap_or("0");
                        format!("{k}: {used}/{}", v.as_str().unwrap_or(""))
                    });
                Value::from(shown.collect::<Vec<_>>().join(", "))
            };
            vec![name, pairs(false), pairs(true), own_age()]
        }
        "controllerrevisions.apps" => {
            let owner = &metadata["ownerReferences"][0];
            let owner = match (
                owner["kind"].as_str(),
                owner["apiVersion"].as_str(),
                owner["name"].as_str(),
            ) {
                (Some(kind), Some(version), Some(name)) => {
                    let group = version.split_once('/').map_or("", |(group, _)| group);
                    format!("{}.{group}/{name}", kind.to_ascii_lowercase())
                }
                _ => "<none>".to_owned(),
            };
            vec![name, owner.into(), number(&object["revision"]), own_age()]
        }
        _ => vec![name, own_age()],
    }
}

fn size(value: &Value) -> usize {
    value
        .as_object()
        .map(serde_json::Map::len)
        .or_else(|| value.as_array().map(Vec::len))
        .unwrap_or(0)
}

fn list(value: &Value, show: impl Fn(&Value) -> String) -> String {
    value
        .as_array()
        .into_iter()
        .flatten()
        .map(show)
        .collect::<Vec<_>>()
        .join(",")
}

fn labels(value: &Value) -> String {
    let pairs: Vec<String> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or("")))
        .collect();
    if pairs.is_empty() {
        "<none>".to_owned()
    } else {
        pairs.join(",")
    }
}

fn selector(value: &Value) -> String {
    if value["matchLabels"].is_object() || value["matchExpressions"].is_array() {
        let mut parts = Vec::new();
        let plain = labels(&value["matchLabels"]);
        if plain != "<none>" {
            parts.push(plain);
        }
        for expression in value["matchExpressions"].as_array().into_iter().flatten() {
            let key = expression["key"].as_str().unwrap_or("");
            let values = list(&expression["values"], |v| v.as_str().unwrap_or("").to_owned());
            parts.push(match expression["operator"].as_str().unwrap_or("") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                _ => format!("!{key}"),
            });
        }
        return parts.join(",");
    }
    labels(value)
}

fn ready_of(status: &Value, spec: &Value) -> Value {
    let ready = status["readyReplicas"].as_i64().unwrap_or(0);
    format!("{ready}/{}", spec["replicas"].as_i64().unwrap_or(0)).into()
}

fn images(template: &Value) -> (Value, Value) {
    let of = |field: &str| list(&template["containers"], |c| c[field].as_str().unwrap_or("").to_owned());
    (of("name").into(), of("image").into())
}

fn modes(value: &Value) -> String {
    list(value, |mode| {
        match mode.as_str().unwrap_or("") {
            "ReadWriteOnce" => "RWO",
            "ReadOnlyMany" => "ROX",
            "ReadWriteMany" => "RWX",
            "ReadWriteOncePod" => "RWOP",
            other => other,
        }
        .to_owned()
    })
}

fn service_ports(ports: &Value) -> String {
    list(ports, |port| {
        let number = port["port"].as_i64().unwrap_or(0);
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        match port["nodePort"].as_i64().filter(|n| *n > 0) {
            Some(node) => format!("{number}:{node}/{protocol}"),
            None => format!("{number}/{protocol}"),
        }
    })
}

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let ips = list(&spec["externalIPs"], |ip| ip.as_str().unwrap_or("").to_owned());
    match spec["type"].as_str() {
        Some("ExternalName") => spec["externalName"].as_str().unwrap_or("").to_owned(),
        Some("LoadBalancer") => {
            let balancers = list(&service["status"]["loadBalancer"]["ingress"], |i| {
                i["ip"]
                    .as_str()
                    .or_else(|| i["hostname"].as_str())
                    .unwrap_or("")
                    .to_owned()
            });
            match (balancers.is_empty(), ips.is_empty()) {
                (true, true) => "<pending>".to_owned(),
                (true, false) => ips,
                _ => balancers,
            }
        }
        _ if ips.is_empty() => "<none>".to_owned(),
        _ => ips,
    }
}

fn shortened(addresses: &[&str]) -> String {
    match addresses.len() {
        0 => "<unset>".to_owned(),
        1..=3 => addresses.join(","),
        more => format!("{} + {} more...", addresses[..3].join(","), more - 3),
    }
}

fn endpoints(subsets: &Value) -> String {
    let mut all = Vec::new();
    for subset in subsets.as_array().into_iter().flatten() {
        for address in subset["addresses"].as_array().into_iter().flatten() {
            let ip = address["ip"].as_str().unwrap_or("");
            let ports = subset["ports"].as_array().cloned().unwrap_or_default();
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(
                ports
                    .iter()
                    .map(|port| format!("{ip}:{}", port["port"].as_i64().unwrap_or(0))),
            );
        }
    }
    match all.len() {
        0 => "<none>".to_owned(),
        1..=3 => all.join(","),
        more => format!("{} + {} more...", all[..3].join(","), more - 3),
    }
}

fn job_status(job: &Value) -> &'static str {
    let has = |kind: &str| {
        let conditions = job["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|c| c["type"] == kind && c["status"] == "True")
    };
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if job["metadata"]["deletionTimestamp"].is_string() => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}
