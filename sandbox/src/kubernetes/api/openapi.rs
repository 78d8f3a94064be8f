//! OpenAPI v3 (and the little of v2 that clients fall back to), made from the types that the sandbox knows.

use serde_json::{Value, json};

use super::Call;
use super::reply::Reply;
use crate::kubernetes::registry::{Failure, Registry};
use crate::kubernetes::schema::document;

/// Answer a request under `/openapi`.
pub(crate) fn answer(registry: &Registry, call: &Call, path: &str) -> Result<Reply, Failure> {
    let served = registry.catalog().served();
    let media = super::negotiate::Media::Json;
    match path {
        "v3" => {
            let mut paths = serde_json::Map::new();
            for (group, versions) in &served.groups {
                for version in versions {
                    let place = if group.is_empty() {
                        format!("api/{version}")
                    } else {
                        format!("apis/{group}/{version}")
                    };
                    let hash = document::hash(&served, group, version);
                    let url = json!({"serverRelativeURL": format!("/openapi/v3/{place}?hash={hash}")});
                    paths.insert(place, url);
                }
            }
            Ok(Reply::value(200, &json!({"paths": Value::Object(paths)}), media))
        }
        "v2" => {
            // Clients ask for protobuf first; those that insist on it get an error here.
            let accept = call.header("accept").unwrap_or_default();
            if accept.contains("proto-openapi") && !accept.contains("json") {
                return Err(super::verbs::wrong_form(
                    "only application/json is served for /openapi/v2",
                ));
            }
            Ok(Reply::value(200, &document::v2(&served), media))
        }
        path => {
            let parts: Vec<&str> = path.split('/').collect();
            let (group, version) = match parts.as_slice() {
                ["v3", "api", version] => ("", *version),
                ["v3", "apis", group, version] => (*group, *version),
                _ => return Ok(Reply::text(404, "404 page not found\n")),
            };
            if !served.has_version(group, version) {
                return Ok(Reply::text(404, "404 page not found\n"));
            }
            Ok(Reply::value(200, &document::v3(&served, group, version), media))
        }
    }
}
