//! Authentication (bearer tokens, service account tokens, impersonation) and authorization (RBAC, read from the stored
//! roles).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::request::Parts;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::route::Target;
use crate::kubernetes::registry::{Failure, Registry};

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's name.
    pub name: String,
    /// The user's groups.
    pub groups: Vec<String>,
}

impl User {
    fn new(name: &str, groups: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
        }
    }

    /// Whether everything is allowed.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == "system:masters")
    }
}

/// Knows the sandbox's token and signs those of service accounts.
pub struct Authenticator {
    token: String,
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authenticator")
    }
}

impl Authenticator {
    /// Let holders of `token` in as administrators.
    pub fn new(token: String) -> Self {
        Self { token }
    }

    /// Authenticates the caller.
    pub(crate) fn authenticate(&self, registry: &Registry, parts: &Parts) -> Result<User, Failure> {
        let header = |name: &str| parts.headers.get(name).and_then(|v| v.to_str().ok());
        let bearer =
            header("authorization").and_then(|v| v.strip_prefix("Bearer ").or_else(|| v.strip_prefix("bearer ")));
        let protocol_token = || {
            // Browsers put the token of a WebSocket into its protocol list.
            let protocols = header("sec-websocket-protocol")?;
            let found = protocols
                .split(',')
                .find_map(|p| p.trim().strip_prefix("base64url.bearer.authorization.k8s.io."))?;
            String::from_utf8(URL_SAFE_NO_PAD.decode(found).ok()?).ok()
        };
        let user = match bearer.map(str::to_owned).or_else(protocol_token) {
            Some(token) if same(token.trim(), &self.token) => {
                User::new("sandbox-admin", &["system:masters", "system:authenticated"])
            }
            Some(token) => self.service_account(registry, token.trim()).ok_or_else(unauthorized)?,
            None if header("authorization").is_some() => return Err(unauthorized()),
            None => User::new("system:anonymous", &["system:unauthenticated"]),
        };
        let Some(name) = header("impersonate-user") else {
            return Ok(user);
        };
        let account = service_account_name(name);
        let may = account.is_some_and(|(namespace, account)| {
            let wish = Wish {
                verb: "impersonate",
                resource: "serviceaccounts",
                namespace,
                name: account,
                ..Wish::default()
            };
            allowed(registry, &user, &wish)
        });
        if !user.is_master() && !may {
            let why = format!(
                "User \"{}\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
                user.name
            );
            return Err(Failure::forbidden("", "users", name, &why));
        }
        let mut groups: Vec<String> = parts
            .headers
            .get_all("impersonate-group")
            .iter()
            .filter_map(|v| v.to_str().ok())
            .map(str::to_owned)
            .collect();
        if groups.is_empty()
            && let Some((namespace, _)) = service_account_name(name)
        {
            groups = vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
            ];
        }
        if name != "system:anonymous" && !groups.iter().any(|g| g == "system:authenticated") {
            groups.push("system:authenticated".to_owned());
        }
        Ok(User {
            name: name.to_owned(),
            groups,
        })
    }

    /// Mint a token for a service account.
    pub(crate) fn mint(&self, claims: &Value) -> String {
        let head = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "typ": "JWT", "kid": "sandbox"}).to_string());
        let body = URL_SAFE_NO_PAD.encode(claims.to_string());
        let signature = URL_SAFE_NO_PAD.encode(self.sign(&head, &body));
        format!("{head}.{body}.{signature}")
    }

    fn sign(&self, head: &str, body: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [
            self.token.as_bytes(),
            b"|",
            head.as_bytes(),
            b".",
            body.as_bytes(),
            b"|",
            self.token.as_bytes(),
        ] {
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// The claims of a token that this sandbox has signed and that is still good.
    pub(crate) fn claims(&self, registry: &Registry, token: &str) -> Option<Value> {
        let mut parts = token.split('.');
        let (head, body, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if !same(signature, &URL_SAFE_NO_PAD.encode(self.sign(head, body))) {
            return None;
        }
        let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()?;
        (claims["exp"].as_i64()? > registry.clock().now().as_second()).then_some(claims)
    }

    fn service_account(&self, registry: &Registry, token: &str) -> Option<User> {
        let claims = self.claims(registry, token)?;
        let subject = claims["sub"].as_str()?;
        let (namespace, name) = service_account_name(subject)?;
        let account = registry.find("serviceaccounts", namespace, name)?;
        if claims["kubernetes.io"]["serviceaccount"]["uid"].as_str() != Some(account.uid()) {
            return None;
        }
        let of_namespace = format!("system:serviceaccounts:{namespace}");
        Some(User::new(
            subject,
            &["system:serviceaccounts", &of_namespace, "system:authenticated"],
        ))
    }
}

/// Namespace and name of `system:serviceaccount:NAMESPACE:NAME`.
fn service_account_name(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix("system:serviceaccount:")?.split_once(':')
}

fn unauthorized() -> Failure {
    let mut failure = Failure::new(401, "Unauthorized", "Unauthorized");
    failure.details = Some(json!({}));
    failure
}

/// Compare without telling by the time taken where they differ.
fn same(a: &str, b: &str) -> bool {
    Sha256::digest(a.as_bytes()) == Sha256::digest(b.as_bytes())
}

/// What somebody wants to do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// A path, for what is no resource.
    pub(crate) path: &'a str,
}

/// Refuse what the user may not do to a resource.
pub(crate) fn authorize(registry: &Registry, user: &User, verb: &str, target: &Target) -> Result<(), Failure> {
    if user.is_master() {
        return Ok(());
    }
    let gvr = &target.resource.gvr;
    let wish = Wish {
        verb,
        group: &gvr.group,
        resource: &gvr.plural,
        subresource: target.subresource.split('/').next().unwrap_or_default(),
        namespace: &target.namespace,
        name: &target.name,
        path: "",
    };
    if allowed(registry, user, &wish) {
        return Ok(());
    }
    let shown = if wish.subresource.is_empty() {
        gvr.plural.clone()
    } else {
        format!("{}/{}", gvr.plural, wish.subresource)
    };
    let place = if target.namespace.is_empty() {
        "at the cluster scope".to_owned()
    } else {
        format!("in the namespace \"{}\"", target.namespace)
    };
    let why = format!(
        "User \"{}\" cannot {verb} resource \"{shown}\" in API group \"{}\" {place}",
        user.name, gvr.group
    );
    Err(Failure::forbidden(&gvr.group, &gvr.plural, &target.name, &why))
}

/// Refuse what the user may not read outside the resources.
pub(crate) fn authorize_path(registry: &Registry, user: &User, path: &str) -> Result<(), Failure> {
    if user.is_master()
        || allowed(
            registry,
            user,
            &Wish {
                verb: "get",
                path,
                ..Wish::default()
            },
        )
    {
        return Ok(());
    }
    let message = format!("forbidden: User \"{}\" cannot get path \"{path}\"", user.name);
    let mut failure = Failure::new(403, "Forbidden", message);
    failure.details = Some(json!({}));
    Err(failure)
}

/// Paths that everybody, and that everybody with a name, may read.
const PUBLIC: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
const DISCOVERY: [&str; 6] = ["/", "/api", "/apis", "/openapi", "/api/", "/apis/"];

/// Whether the roles allow it.
pub(crate) fn allowed(registry: &Registry, user: &User, wish: &Wish<'_>) -> bool {
    if user.is_master() {
        return true;
    }
    if !wish.path.is_empty() {
        let under = |paths: &[&str]| {
            paths
                .iter()
                .any(|p| wish.path == *p || wish.path.starts_with(&format!("{p}/")))
        };
        let known = user.groups.iter().any(|g| g == "system:authenticated");
        if PUBLIC.contains(&wish.path) || (known && under(&DISCOVERY[1..4])) || (known && wish.path == "/") {
            return true;
        }
    }
    let known = user.groups.iter().any(|g| g == "system:authenticated");
    let reviews_self = matches!(
        wish.resource,
        "selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "selfsubjectreviews"
    );
    if known && reviews_self && wish.verb == "create" {
        return true;
    }
    let rules_allow = |role: &Value| {
        role["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|rule| covers(rule, wish))
    };
    let cluster_role = |name: &str| registry.find("clusterroles.rbac.authorization.k8s.io", "", name);
    let bindings = registry
        .list("clusterrolebindings.rbac.authorization.k8s.io", None, None)
        .unwrap_or_default();
    for binding in bindings {
        if names_user(binding.value(), user)
            && let Some(role) = cluster_role(binding.value()["roleRef"]["name"].as_str().unwrap_or_default())
            && rules_allow(role.value())
        {
            return true;
        }
    }
    if wish.namespace.is_empty() {
        return false;
    }
    let bindings = registry
        .list("rolebindings.rbac.authorization.k8s.io", Some(wish.namespace), None)
        .unwrap_or_default();
    bindings
        .iter()
        .filter(|binding| names_user(binding.value(), user))
        .any(|binding| {
            let reference = &binding.value()["roleRef"];
            let name = reference["name"].as_str().unwrap_or_default();
            let role: Option<Arc<_>> = match reference["kind"].as_str() {
                Some("ClusterRole") => cluster_role(name),
                _ => registry.find("roles.rbac.authorization.k8s.io", wish.namespace, name),
            };
            role.is_some_and(|role| rules_allow(role.value()))
        })
}

fn names_user(binding: &Value, user: &User) -> bool {
    let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
    binding["subjects"].as_array().into_iter().flatten().any(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => name == user.name,
            Some("Group") => user.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let namespace = subject["namespace"].as_str().unwrap_or(namespace);
                user.name == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

fn covers(rule: &Value, wish: &Wish<'_>) -> bool {
    let has = |field: &str, wanted: &str| {
        rule[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|v| v == "*" || v == wanted)
    };
    if !has("verbs", wish.verb) {
        return false;
    }
    if !wish.path.is_empty() {
        return rule["nonResourceURLs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .any(|url| {
                url == wish.path
                    || url
                        .strip_suffix('*')
                        .is_some_and(|prefix| wish.path.starts_with(prefix))
            });
    }
    let resource_fits = if wish.subresource.is_empty() {
        has("resources", wish.resource)
    } else {
        has("resources", &format!("{}/{}", wish.resource, wish.subresource))
            || has("resources", &format!("*/{}", wish.subresource))
    };
    let names = rule["resourceNames"].as_array();
    let name_fits = names.is_none_or(|names| names.is_empty() || names.iter().any(|n| n == wish.name));
    has("apiGroups", wish.group) && resource_fits && name_fits
}
