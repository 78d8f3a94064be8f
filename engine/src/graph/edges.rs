//! Edges between objects: from what manifests name, and from the `depends-on` annotation.
//!
//! Strong edges are those without which the cluster would fail; together with the components' order they must not form
//! a cycle. Weak edges (policies before pods, a webhook before what it judges) are useful, and are omitted where they
//! would close a cycle.

use super::references::{config_of, items, others_of, pod_labels, pod_spec, selects, text};
use super::{Graph, Member, Need, Until};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::object::ObjectKey;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Annotation with explicit edges: comma-separated `group/namespaces/NAMESPACE/Kind/name` or `group/Kind/name`, as cli-utils
/// defined it. The core group is empty.
pub const DEPENDS_ON: &str = "config.kubernetes.io/depends-on";

type Needs = BTreeMap<ObjectKey, BTreeMap<ObjectKey, Need>>;

/// The set by key and by kind, with the edges found so far.
struct Set<'a> {
    members: &'a [Member<'a>],
    by_key: HashMap<&'a ObjectKey, &'a Value>,
    by_kind: HashMap<(&'a str, &'a str), Vec<Member<'a>>>,
    needs: Needs,
}

impl<'a> Set<'a> {
    fn new(members: &'a [Member<'a>]) -> Self {
        let by_key = members.iter().map(|m| (m.key, m.value)).collect();
        let mut by_kind: HashMap<_, Vec<Member<'a>>> = HashMap::new();
        for m in members {
            by_kind.entry((&*m.key.group, &*m.key.kind)).or_default().push(*m);
        }
        let needs = members.iter().map(|m| (m.key.clone(), BTreeMap::new())).collect();
        Self {
            members,
            by_key,
            by_kind,
            needs,
        }
    }

    fn kind(&self, group: &str, kind: &str) -> impl Iterator<Item = Member<'a>> + use<'a> {
        self.by_kind
            .get(&(group, kind))
            .cloned()
            .unwrap_or_default()
            .into_iter()
    }

    /// Adds an edge if the other side is in the set; of two waits the longer one wins.
    fn add(&mut self, from: &ObjectKey, to: &ObjectKey, until: Until, why: &'static str) {
        if from == to || !self.by_key.contains_key(to) {
            return;
        }
        let need = self
            .needs
            .entry(from.clone())
            .or_default()
            .entry(to.clone())
            .or_insert(Need { until, why });
        if need.until < until {
            *need = Need { until, why };
        }
    }

    /// Adds an edge to an object of a namespace by kind and name.
    fn refer(&mut self, from: &ObjectKey, group: &str, kind: &str, namespace: &str, name: &str, why: &'static str) {
        for namespace in [namespace, ""] {
            self.add(from, &ObjectKey::new(group, kind, namespace, name), Until::Applied, why);
        }
    }

    /// The workloads behind a Service.
    fn behind(&self, service: &ObjectKey) -> Vec<ObjectKey> {
        let selector = self.by_key.get(service).and_then(|v| v.pointer("/spec/selector"));
        self.members
            .iter()
            .filter(|m| m.key.namespace == service.namespace && selects(selector, pod_labels(m.key, m.value)))
            .map(|m| m.key.clone())
            .collect()
    }

    /// A server that the API server will call: its Service must exist, and the workloads behind it must be ready.
    fn calls(&mut self, from: &ObjectKey, service: &Value, why: &'static str) {
        let (Some(namespace), Some(name)) = (text(service, "/namespace"), text(service, "/name")) else {
            return;
        };
        let service = ObjectKey::new("", "Service", namespace, name);
        self.add(from, &service, Until::Applied, why);
        for workload in self.behind(&service) {
            self.add(from, &workload, Until::Ready, why);
        }
    }
}

/// All strong edges of a set.
pub(super) fn needs(members: &[Member<'_>], problems: &mut Diagnostics) -> Needs {
    let mut set = Set::new(members);
    for member in members {
        namespace_and_definition(&mut set, member);
        workload(&mut set, member);
        by_kind(&mut set, member);
        depends_on(&mut set, member, problems);
    }
    set.needs
}

fn namespace_and_definition(set: &mut Set<'_>, m: &Member<'_>) {
    if !m.key.namespace.is_empty() {
        set.add(
            m.key,
            &ObjectKey::new("", "Namespace", "", &*m.key.namespace),
            Until::Applied,
            "lives in",
        );
    }
    let definitions: Vec<_> = set
        .kind("apiextensions.k8s.io", "CustomResourceDefinition")
        .filter(|d| {
            text(d.value, "/spec/group") == Some(&m.key.group) && text(d.value, "/spec/names/kind") == Some(&m.key.kind)
        })
        .collect();
    for definition in definitions {
        set.add(m.key, definition.key, Until::Ready, "is an instance of");
        if let Some(service) = definition
            .value
            .pointer("/spec/conversion/webhook/clientConfig/service")
        {
            set.calls(m.key, service, "is converted by");
        }
    }
}

fn workload(set: &mut Set<'_>, m: &Member<'_>) {
    let Some(spec) = pod_spec(m.key, m.value) else { return };
    for (group, kind, name) in config_of(spec).into_iter().chain(others_of(spec)) {
        set.refer(m.key, group, kind, &m.key.namespace, &name, "reads");
    }
    if let Some(service) = text(m.value, "/spec/serviceName") {
        set.refer(m.key, "", "Service", &m.key.namespace, service, "is named by");
    }
    for template in items(m.value, "/spec/volumeClaimTemplates") {
        if let Some(class) = text(template, "/spec/storageClassName") {
            set.refer(m.key, "storage.k8s.io", "StorageClass", "", class, "claims from");
        }
    }
    let account = text(spec, "/serviceAccountName").unwrap_or("default");
    for kind in ["RoleBinding", "ClusterRoleBinding"] {
        let granting: Vec<_> = set
            .kind("rbac.authorization.k8s.io", kind)
            .filter(|b| {
                items(b.value, "/subjects").any(|s| {
                    text(s, "/kind") == Some("ServiceAccount")
                        && text(s, "/name") == Some(account)
                        && text(s, "/namespace").unwrap_or(&b.key.namespace) == m.key.namespace
                })
            })
            .collect();
        for binding in granting {
            set.add(m.key, binding.key, Until::Applied, "is allowed by");
        }
    }
}

fn by_kind(set: &mut Set<'_>, m: &Member<'_>) {
    let ns = &m.key.namespace;
    match (&*m.key.group, &*m.key.kind) {
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            if let (Some(kind), Some(name)) = (text(m.value, "/roleRef/kind"), text(m.value, "/roleRef/name")) {
                set.refer(m.key, "rbac.authorization.k8s.io", kind, ns, name, "grants");
            }
            for subject in items(m.value, "/subjects") {
                if let (Some("ServiceAccount"), Some(name)) = (text(subject, "/kind"), text(subject, "/name")) {
                    let namespace = text(subject, "/namespace").unwrap_or(ns);
                    set.refer(m.key, "", "ServiceAccount", namespace, name, "grants to");
                }
            }
        }
        ("", "PersistentVolumeClaim") => {
            if let Some(class) = text(m.value, "/spec/storageClassName") {
                set.refer(m.key, "storage.k8s.io", "StorageClass", "", class, "claims from");
            }
            if let Some(volume) = text(m.value, "/spec/volumeName") {
                set.refer(m.key, "", "PersistentVolume", "", volume, "claims");
            }
        }
        ("networking.k8s.io", "Ingress") => {
            let rules = items(m.value, "/spec/rules").flat_map(|r| items(r, "/http/paths"));
            let mut services: Vec<_> = rules.filter_map(|p| text(p, "/backend/service/name")).collect();
            services.extend(text(m.value, "/spec/defaultBackend/service/name"));
            for service in services {
                set.refer(m.key, "", "Service", ns, service, "routes to");
            }
            if let Some(class) = text(m.value, "/spec/ingressClassName") {
                set.refer(m.key, "networking.k8s.io", "IngressClass", "", class, "is served by");
            }
        }
        ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute" | "TCPRoute" | "TLSRoute" | "UDPRoute") => {
            for backend in items(m.value, "/spec/rules").flat_map(|r| items(r, "/backendRefs")) {
                if let Some(name) =
                    text(backend, "/name").filter(|_| text(backend, "/kind").unwrap_or("Service") == "Service")
                {
                    let namespace = text(backend, "/namespace").unwrap_or(ns);
                    set.refer(m.key, "", "Service", namespace, name, "routes to");
                }
            }
            for parent in items(m.value, "/spec/parentRefs") {
                if let Some(name) = text(parent, "/name") {
                    let namespace = text(parent, "/namespace").unwrap_or(ns);
                    set.refer(
                        m.key,
                        "gateway.networking.k8s.io",
                        "Gateway",
                        namespace,
                        name,
                        "is served by",
                    );
                }
            }
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            if let (Some(kind), Some(name)) = (
                text(m.value, "/spec/scaleTargetRef/kind"),
                text(m.value, "/spec/scaleTargetRef/name"),
            ) {
                let api_version = text(m.value, "/spec/scaleTargetRef/apiVersion").unwrap_or("apps/v1");
                let group = crate::object::split_api_version(api_version).0;
                set.refer(m.key, group, kind, ns, name, "scales");
            }
        }
        ("policy", "PodDisruptionBudget") => {
            let selector = m.value.pointer("/spec/selector/matchLabels");
            let targets: Vec<_> = set
                .members
                .iter()
                .filter(|w| w.key.namespace == *ns && selects(selector, pod_labels(w.key, w.value)))
                .map(|w| w.key.clone())
                .collect();
            for target in targets {
                set.add(m.key, &target, Until::Applied, "protects");
            }
        }
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration") => {
            for service in items(m.value, "/webhooks").filter_map(|w| w.pointer("/clientConfig/service")) {
                set.calls(m.key, service, "calls");
            }
        }
        ("apiregistration.k8s.io", "APIService") => {
            if let Some(service) = m.value.pointer("/spec/service") {
                set.calls(m.key, service, "is served by");
            }
        }
        _ => {}
    }
}

fn depends_on(set: &mut Set<'_>, m: &Member<'_>, problems: &mut Diagnostics) {
    let annotation = m
        .value
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(DEPENDS_ON))
        .and_then(Value::as_str);
    for reference in annotation
        .into_iter()
        .flat_map(|a| a.split(','))
        .map(str::trim)
        .filter(|r| !r.is_empty())
    {
        let parts: Vec<&str> = reference.split('/').collect();
        let key = match parts[..] {
            [group, "namespaces", namespace, kind, name] => ObjectKey::new(group, kind, namespace, name),
            [group, kind, name] => ObjectKey::new(group, kind, "", name),
            _ => {
                problems.push(
                    Diagnostic::error(format!("{}: annotation {DEPENDS_ON} cannot be read", m.key.human()))
                        .detail(format!(
                            "\"{reference}\" should be group/namespaces/NAMESPACE/Kind/name, or group/Kind/name for \
                             cluster-scoped objects; the core group is empty"
                        ))
                        .object(m.key.clone()),
                );
                continue;
            }
        };
        if set.by_key.contains_key(&key) {
            set.add(m.key, &key, Until::Ready, "depends on");
        } else {
            problems.push(
                Diagnostic::error(format!(
                    "{} depends on {}, which is not in the stack",
                    m.key.human(),
                    key.human()
                ))
                .detail("correct the annotation, or list an object of someone else under requires")
                .object(m.key.clone()),
            );
        }
    }
}

/// Adds the weak edges that close no cycle. They stay within one component (or the base), so that they never connect
/// components.
pub(super) fn add_weak(members: &[Member<'_>], graph: &mut Graph) {
    let mut wanted: Vec<(ObjectKey, ObjectKey, &'static str)> = Vec::new();
    let policies: Vec<&Member<'_>> = members
        .iter()
        .filter(|m| {
            matches!(
                (&*m.key.group, &*m.key.kind),
                ("", "LimitRange" | "ResourceQuota") | ("networking.k8s.io", "NetworkPolicy")
            )
        })
        .collect();
    let webhooks: Vec<&Member<'_>> = members
        .iter()
        .filter(|m| m.key.kind.ends_with("WebhookConfiguration"))
        .collect();
    for m in members {
        if pod_spec(m.key, m.value).is_some() {
            for p in policies
                .iter()
                .filter(|p| p.key.namespace == m.key.namespace && p.component == m.component)
            {
                wanted.push((m.key.clone(), p.key.clone(), "is limited by"));
            }
        }
        if !m.key.group.is_empty() && !crate::cluster::kinds::is_built_in_group(&m.key.group) {
            for w in webhooks.iter().filter(|w| judges(w.value, &m.key.group)) {
                wanted.push((m.key.clone(), w.key.clone(), "is judged by"));
            }
        }
    }
    for (from, to, why) in wanted {
        if !reaches(graph, &to, &from) {
            let needs = graph.needs.entry(from).or_default();
            needs.entry(to).or_insert(Need {
                until: Until::Applied,
                why,
            });
        }
    }
}

fn judges(configuration: &Value, group: &str) -> bool {
    items(configuration, "/webhooks")
        .flat_map(|w| items(w, "/rules"))
        .flat_map(|r| items(r, "/apiGroups"))
        .any(|g| g.as_str() == Some(group))
}

/// Whether `from` waits for `to`, directly or through others and their components.
fn reaches(graph: &Graph, from: &ObjectKey, to: &ObjectKey) -> bool {
    let mut seen: BTreeSet<&ObjectKey> = BTreeSet::new();
    let mut todo = vec![from];
    while let Some(key) = todo.pop() {
        if key == to {
            return true;
        }
        if seen.insert(key) {
            todo.extend(graph.needs.get(key).into_iter().flat_map(BTreeMap::keys));
            let components = graph.after.get(key).into_iter().flatten();
            todo.extend(components.filter_map(|c| graph.members.get(c)).flatten());
        }
    }
    false
}
