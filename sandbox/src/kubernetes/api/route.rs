//! What a path means.

use std::sync::Arc;

use crate::kubernetes::registry::Failure;
use crate::kubernetes::schema::resources::{Resource, Served};

/// What a path names.
#[derive(Debug)]
pub(crate) enum Route {
    /// `/`: the list of paths.
    Root,
    /// `/api`.
    Core,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`.
    Version(String, String),
    /// `/healthz` and its like; the check's name.
    Health(String),
    /// `/version`.
    ServerVersion,
    /// `/openapi/…`.
    OpenApi(String),
    /// Objects of a resource, or one of them, or a part of one.
    Resource(Target),
    /// `/sandbox/…`.
    Control(String),
    /// A path of a group that is not served, or no path of the API at all.
    NoGroup,
    /// A path of a served group that names nothing.
    NoResource,
    /// A subresource that this custom resource has not.
    NoSubresource(Target),
}

/// Objects that a path names.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) resource: Arc<Resource>,
    /// Empty for cluster-scoped resources and for lists across namespaces.
    pub(crate) namespace: String,
    /// Empty for lists.
    pub(crate) name: String,
    /// Empty for the object itself.
    pub(crate) subresource: String,
    /// The deprecated `/watch/` prefix.
    pub(crate) watch: bool,
}

/// 405 as the server says it for a path.
pub(crate) fn method_not_allowed() -> Failure {
    let mut failure = Failure::new(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    );
    failure.details = Some(serde_json::json!({}));
    failure
}

/// Query parameters, decoded, in their order.
pub(crate) fn parse_query(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(&key.replace('+', " ")), decode(&value.replace('+', " ")))
        })
        .collect()
}

/// Undo percent encoding; what is not UTF-8 becomes a replacement character.
fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = |b: u8| char::from(b).to_digit(16);
        if bytes[at] == b'%'
            && let (Some(high), Some(low)) = (
                bytes.get(at + 1).copied().and_then(hex),
                bytes.get(at + 2).copied().and_then(hex),
            )
        {
            out.push(u8::try_from(high * 16 + low).unwrap_or_default());
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Find out what a path names.
pub(crate) fn parse(path: &str, served: &Served) -> Route {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let mut segments: Vec<String> = trimmed.split('/').skip(1).map(decode).collect();
    if segments.is_empty() || segments == [""] {
        return Route::Root;
    }
    let rest = |segments: &[String]| segments[1..].join("/");
    match segments[0].as_str() {
        "sandbox" => return Route::Control(rest(&segments)),
        "healthz" | "livez" | "readyz" => return Route::Health(rest(&segments)),
        "version" if segments.len() == 1 => return Route::ServerVersion,
        "openapi" => return Route::OpenApi(rest(&segments)),
        "api" => match segments.len() {
            1 => return Route::Core,
            _ => segments[0] = String::new(),
        },
        "apis" => match segments.len() {
            1 => return Route::Groups,
            _ => {
                segments.remove(0);
            }
        },
        _ => return Route::NoGroup,
    }
    // From here on: group, version, the rest.
    let group = segments[0].clone();
    if !served.groups.iter().any(|(name, _)| *name == group) {
        return Route::NoGroup;
    }
    match segments.len() {
        1 => return Route::Group(group),
        _ if !served.has_version(&group, &segments[1]) => return Route::NoResource,
        2 => return Route::Version(group, segments[1].clone()),
        _ => {}
    }
    let version = segments[1].clone();
    let mut rest = &segments[2..];
    let watch = rest[0] == "watch" && rest.len() > 1;
    if watch {
        rest = &rest[1..];
    }
    match locate(&group, &version, rest, served) {
        Some(mut target) => {
            target.watch = watch;
            if is_known(&target) {
                Route::Resource(target)
            } else {
                Route::NoSubresource(target)
            }
        }
        None => Route::NoResource,
    }
}

fn locate(group: &str, version: &str, rest: &[String], served: &Served) -> Option<Target> {
    if rest.iter().any(String::is_empty) {
        return None;
    }
    let namespaced = rest[0] == "namespaces" && rest.len() >= 3;
    if namespaced && let Some(resource) = served.get(group, version, &rest[2]) {
        if !resource.namespaced {
            return None;
        }
        let name = rest.get(3).cloned().unwrap_or_default();
        let subresource = rest.get(4..).map(|s| s.join("/")).unwrap_or_default();
        return check(Target {
            resource,
            namespace: rest[1].clone(),
            name,
            subresource,
            watch: false,
        });
    }
    let resource = served.get(group, version, &rest[0])?;
    if resource.namespaced && rest.len() > 1 {
        return None;
    }
    let name = rest.get(1).cloned().unwrap_or_default();
    let subresource = rest.get(2..).map(|s| s.join("/")).unwrap_or_default();
    check(Target {
        resource,
        namespace: String::new(),
        name,
        subresource,
        watch: false,
    })
}

/// A subresource must be one that the resource has; `proxy` takes the rest of the path.
fn check(target: Target) -> Option<Target> {
    let first = target.subresource.split('/').next().unwrap_or_default();
    if first.is_empty() {
        return Some(target);
    }
    let whole = first == target.subresource || first == "proxy";
    ((is_known(&target) || target.resource.is_custom()) && whole).then_some(target)
}

fn is_known(target: &Target) -> bool {
    let first = target.subresource.split('/').next().unwrap_or_default();
    first.is_empty() || target.resource.subresource(first).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::schema::resources::Catalog;

    #[test]
    fn paths_name_what_the_api_says() {
        let served = Catalog::new().served();
        for (path, expected) in [
            ("/api/v1/pods", "pods//"),
            ("/api/v1/namespaces/a/pods/b", "pods/a/b"),
            ("/api/v1/namespaces/a", "namespaces//a"),
            ("/api/v1/namespaces/a/status", "namespaces//a/status"),
            (
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                "deployments.apps/a/b/scale",
            ),
            ("/api/v1/watch/namespaces/a/pods/b", "pods/a/b"),
            ("/api/v1/namespaces/a/secrets/", "secrets/a/"),
        ] {
            let Route::Resource(target) = parse(path, &served) else {
                panic!("{path}")
            };
            let mut text = format!("{}/{}/{}", target.resource.storage, target.namespace, target.name);
            if !target.subresource.is_empty() {
                text = format!("{text}/{}", target.subresource);
            }
            assert_eq!(text, expected, "{path}");
        }
    }

    #[test]
    fn paths_that_name_nothing_differ_by_whether_their_group_is_served() {
        let served = Catalog::new().served();
        for path in ["/nothing", "/apis/absent.example.com/v1/things"] {
            assert!(matches!(parse(path, &served), Route::NoGroup), "{path}");
        }
        for path in [
            "/api/v2/pods",
            "/api/v1/things",
            "/api/v1//secrets",
            "/api/v1/namespaces/a/configmaps/b/status",
        ] {
            assert!(matches!(parse(path, &served), Route::NoResource), "{path}");
        }
    }
}
