//! Server-side apply, to existing objects and to new ones.

use std::sync::Arc;

use serde_json::Value;

use super::update::Proposal;
use super::{Actor, Failure, Part, Registry, WriteOptions, Written, create};
use crate::kubernetes::admission::{decode, defaults};
use crate::kubernetes::fields::managed::{self, Request};
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::store;

impl Registry {
    /// Apply a configuration.
    #[allow(clippy::too_many_arguments, reason = "one per part of the request")]
    pub(super) fn apply_in(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        part: Part,
        config: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        let sent = config["metadata"]["name"].as_str().unwrap_or_default();
        if sent.is_empty() {
            return Err(Failure::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            )));
        }
        if sent != name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({sent}) does not match the name on the URL ({name})"
            )));
        }
        create::check_identity(resource, namespace, config)?;
        let table = self.table(resource);
        let key = store::key(namespace, name);
        if table.get(&key).is_none() && part == Part::Main {
            match self.apply_new(actor, resource, namespace, name, config, options) {
                // Somebody made it meanwhile: apply to that.
                Err(failure) if failure.is_already_exists() && table.get(&key).is_some() => {}
                outcome => return outcome,
            }
        }
        let lookup = |api_version: &str| self.in_version(resource, api_version);
        let now = self.clock().timestamp();
        let mut written = self.rewrite(actor, resource, namespace, name, part, options, &mut |live| {
            let request = Request {
                resource,
                lookup: &lookup,
                config,
                manager: &actor.manager,
                part,
                force: options.force,
                now: &now,
            };
            let object = managed::on_apply(request, Some(live.value()))?;
            let decoded = decoded(resource, &object, options)?;
            let version = config["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            let pinned = !version.is_empty();
            let mut value = decoded.value;
            if let (Some(metadata), false) = (value["metadata"].as_object_mut(), pinned) {
                metadata.remove("resourceVersion");
            }
            defaults::fill(resource, &mut value);
            Ok(Proposal {
                value,
                managed: true,
                pinned,
                uid_is_precondition: false,
                warnings: decoded.warnings,
            })
        })?;
        written.warnings.splice(0..0, options.warnings.clone());
        Ok(written)
    }

    fn apply_new(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        config: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        let uid = config["metadata"]["uid"].as_str().unwrap_or_default();
        let lookup = |api_version: &str| self.in_version(resource, api_version);
        let now = self.clock().timestamp();
        let request = Request {
            resource,
            lookup: &lookup,
            config,
            manager: &actor.manager,
            part: Part::Main,
            force: options.force,
            now: &now,
        };
        let object = managed::on_apply(request, None)?;
        if !uid.is_empty() {
            let why =
                format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
            return Err(Failure::conflict(&resource.gvr.group, &resource.gvr.plural, name, &why));
        }
        let decoded = decoded(resource, &object, options)?;
        let mut object = decoded.value;
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        self.enter(resource, namespace, &mut object)?;
        defaults::fill(resource, &mut object);
        let mut written = self.store_new(actor, resource, namespace, object, options)?;
        written.warnings.splice(
            0..0,
            decoded.warnings.into_iter().chain(options.warnings.iter().cloned()),
        );
        Ok(written)
    }

    /// The same resource in another version or group.
    pub(crate) fn in_version(&self, resource: &Resource, api_version: &str) -> Option<Arc<Resource>> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.catalog().served().get(group, version, &resource.gvr.plural)
    }
}

/// An applied object as its types hold it; faults of values that only decoding finds are 500 without a reason.
fn decoded(resource: &Resource, object: &Value, options: &WriteOptions) -> Result<decode::Decoded, Failure> {
    let plain = WriteOptions {
        duplicates: Vec::new(),
        ..options.clone()
    };
    // What apply made is in stored form; decoding takes what a client of this version would send.
    let seen = crate::kubernetes::schema::versions::from_storage(resource, object).into_owned();
    decode::decode(resource, seen, &plain).map_err(|failure| {
        let (api_version, kind) = (resource.api_version(), &resource.kind);
        let shown = if api_version.contains('/') { api_version } else { format!("/{api_version}") };
        let why = failure.message.split_once(&format!("cannot be handled as a {kind}: "));
        let why = why.map_or(failure.message.as_str(), |(_, why)| why);
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        Failure::unreasoned(format!(
            "failed to convert new object (/{name}; {shown}, Kind={kind}) to proper version: unable to convert unstructured \
             object to {shown}, Kind={kind}: error decoding from json: {why}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::clock::Clock;
    use crate::kubernetes::patch::Patch;
    use crate::kubernetes::registry::{Actor, Part, Registry};

    #[test]
    fn a_refused_secret_is_not_quoted() {
        let registry = Registry::new(Clock::new(0.0), 16);
        registry.found();
        let actor = Actor::admin("alice");
        let made = json!({"metadata": {"name": "s"}, "data": {"k": "aHVudGVyMg=="}});
        registry.create(&actor, "secrets", "default", made).unwrap();
        let config =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"l": "not base64!"}});
        let patch = Patch::Apply(config);
        let failure = registry
            .patch(&actor, "secrets", "default", "s", Part::Main, &patch)
            .unwrap_err();
        assert_eq!((failure.code, failure.reason), (500, ""));
        assert!(
            !failure.message.contains("aHVudGVyMg") && !failure.message.contains("not base64"),
            "{failure}"
        );
    }
}
