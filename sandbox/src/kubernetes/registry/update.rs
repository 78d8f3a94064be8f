//! Update, patch and apply of existing objects.

use std::sync::Arc;

use serde_json::Value;

use super::{Actor, Failure, FieldFault, Part, Registry, WriteOptions, Written, create, traits};
use crate::kubernetes::admission::{decode, defaults, mutate, prepare, validate};
use crate::kubernetes::fields::managed;
use crate::kubernetes::patch::{self, Patch};
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::schema::versions;
use crate::kubernetes::store::{self, Object, Refused};

/// How often a write without a resourceVersion is tried again when others are faster.
const ATTEMPTS: usize = 20;

/// What an object is to become.
pub(crate) struct Proposal {
    /// The whole object.
    pub(crate) value: Value,
    /// Whether `managedFields` are settled already (apply) or follow from the change (all else).
    pub(crate) managed: bool,
    /// The writer named the resourceVersion that it read.
    pub(crate) pinned: bool,
    /// Another uid is a failed precondition (PUT) and not a change of what cannot change (patches).
    pub(crate) uid_is_precondition: bool,
    /// What to tell the client.
    pub(crate) warnings: Vec<String>,
}

impl Proposal {
    /// A plain update.
    pub(crate) fn update(value: Value) -> Self {
        Self {
            value,
            managed: false,
            pinned: false,
            uid_is_precondition: true,
            warnings: Vec::new(),
        }
    }
}

impl Registry {
    /// Replace an object or a part of it.
    #[allow(clippy::too_many_arguments, reason = "one per part of the request")]
    pub fn put(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        part: Part,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        create::check_identity(resource, namespace, &body)?;
        let sent = body["metadata"]["name"].as_str().unwrap_or_default();
        if sent.is_empty() {
            return Err(Failure::bad_request("name must be provided"));
        }
        if sent != name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({sent}) does not match the name on the URL ({name})"
            )));
        }
        let decoded = decode::decode(resource, body, options)?;
        let absent = self.table(resource).get(&store::key(namespace, name)).is_none();
        if absent && part == Part::Main && traits::put_creates(resource) {
            let mut body = decoded.value;
            if let Some(metadata) = body["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
            }
            let mut written = self.create_in(actor, resource, namespace, body, options)?;
            written.warnings.splice(0..0, decoded.warnings);
            return Ok(written);
        }
        let version = decoded.value["metadata"]["resourceVersion"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if !version.is_empty() && version.parse::<u64>().is_err() {
            return Err(Failure::unreasoned(format!(
                "strconv.ParseUint: parsing {version:?}: invalid syntax"
            )));
        }
        let pinned = !version.is_empty() && version != "0";
        let mut written = self.rewrite(actor, resource, namespace, name, part, options, &mut |_| {
            if !pinned && !traits::unconditional_update(resource) && part == Part::Main {
                let fault = FieldFault::invalid(
                    "metadata.resourceVersion",
                    &Value::from(0),
                    "must be specified for an update",
                );
                return Err(Failure::invalid(
                    &resource.gvr.group,
                    &resource.gvr.plural,
                    name,
                    &[fault],
                ));
            }
            let mut value = decoded.value.clone();
            defaults::fill(resource, &mut value);
            Ok(Proposal {
                value,
                managed: false,
                pinned,
                uid_is_precondition: true,
                warnings: Vec::new(),
            })
        })?;
        written.warnings.splice(0..0, decoded.warnings);
        Ok(written)
    }

    /// Patch an object or a part of it; an apply creates a missing object.
    #[allow(clippy::too_many_arguments, reason = "one per part of the request")]
    pub fn patch_in(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        part: Part,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        if let Patch::Apply(body) = patch {
            return self.apply_in(actor, resource, namespace, name, part, body, options);
        }
        self.rewrite(actor, resource, namespace, name, part, options, &mut |live| {
            let seen = versions::from_storage(resource, live.value());
            let patched = patch::patched(resource, &seen, patch)?;
            let decoded = decode::decode_patched(resource, live.value(), patched, options)?;
            let mut value = decoded.value;
            let changed = |field: &str| {
                let sent = &value["metadata"][field];
                sent.as_str().is_some_and(|v| !v.is_empty()) && *sent != live.value()["metadata"][field]
            };
            let pinned = changed("resourceVersion");
            create::check_identity(resource, namespace, &value)?;
            if value["metadata"]["name"] != live.value()["metadata"]["name"] {
                return Err(Failure::bad_request(format!(
                    "the name of the object ({}) does not match the name on the URL ({name})",
                    value["metadata"]["name"].as_str().unwrap_or_default()
                )));
            }
            defaults::fill(resource, &mut value);
            Ok(Proposal {
                value,
                managed: false,
                pinned,
                uid_is_precondition: false,
                warnings: decoded.warnings,
            })
        })
    }

    /// Read, propose, settle, write; repeated if another writer was faster.
    #[allow(clippy::too_many_arguments, reason = "one per part of the request")]
    pub(crate) fn rewrite(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        part: Part,
        options: &WriteOptions,
        propose: &mut dyn FnMut(&Object) -> Result<Proposal, Failure>,
    ) -> Result<Written, Failure> {
        let table = self.table(resource);
        let key = store::key(namespace, name);
        let (group, plural) = (&resource.gvr.group, &resource.gvr.plural);
        let absent = || Failure::not_found(group, plural, name);
        for _ in 0..ATTEMPTS {
            let live = table.get(&key).ok_or_else(absent)?;
            let proposal = propose(&live)?;
            match self.settle(actor, resource, &live, part, proposal, options) {
                Err(Settled::Raced { pinned: true }) => return Err(Failure::stale(group, plural, name)),
                Err(Settled::Raced { pinned: false }) => {}
                Err(Settled::Absent) => return Err(absent()),
                Err(Settled::Refused(failure)) => return Err(*failure),
                Ok(written) => return Ok(written),
            }
        }
        Err(Failure::stale(group, plural, name))
    }

    fn settle(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        live: &Arc<Object>,
        part: Part,
        proposal: Proposal,
        options: &WriteOptions,
    ) -> Result<Written, Settled> {
        let Proposal {
            mut value,
            managed,
            pinned,
            uid_is_precondition,
            mut warnings,
        } = proposal;
        let (group, plural, name) = (&resource.gvr.group, &resource.gvr.plural, live.name());
        let refuse = |failure| Settled::Refused(Box::new(failure));
        let old = live.value();
        let wanted_uid = value["metadata"]["uid"].as_str().unwrap_or_default();
        if !wanted_uid.is_empty() && wanted_uid != live.uid() {
            if !uid_is_precondition {
                let fault = || FieldFault::invalid("metadata.uid", &wanted_uid.into(), "field is immutable");
                return Err(refuse(Failure::invalid(
                    group,
                    &resource.kind,
                    name,
                    &[fault(), fault()],
                )));
            }
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: /registry/{plural}/{}, ResourceVersion: 0, \
                 AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted_uid}, UID in object meta: {}",
                live.key(),
                live.uid()
            );
            return Err(refuse(Failure::conflict(group, plural, name, &why)));
        }
        let version = value["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if pinned && version != live.revision().to_string() {
            return Err(refuse(Failure::stale(group, plural, name)));
        }
        keep_identity(resource, old, &mut value);
        let now = self.clock().timestamp();
        if !managed {
            let lookup = |api_version: &str| self.in_version(resource, api_version);
            managed::on_update(resource, &lookup, Some(old), &mut value, &actor.manager, part, &now);
        }
        prepare::for_update(resource, old, &mut value, part, &now);
        if part == Part::Main {
            mutate::on_update(self, resource, old, &mut value).map_err(refuse)?;
            self.meddling().rewrite(&resource.storage, &mut value);
        }
        if traits::has_generation(resource) && part != Part::Status && prepare::spec_changed(resource, old, &value) {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or_default();
            value["metadata"]["generation"] = (generation + 1).into();
        }
        let faults = validate::on_update(self, resource, old, &value, part, &mut warnings).map_err(refuse)?;
        if !faults.is_empty() {
            return Err(refuse(Failure::invalid(
                resource.storage_group(),
                &resource.kind,
                name,
                &faults,
            )));
        }
        let reservation = mutate::allocate(self, resource, Some(old), &mut value, options.dry_run).map_err(refuse)?;
        managed::keep_times_of_unchanged(old, &mut value);
        if value == *old {
            return Ok(Written {
                object: live.clone(),
                created: false,
                warnings,
            });
        }
        if options.dry_run {
            let object = Arc::new(Object::unstored(live.key(), value, live.revision()));
            return Ok(Written {
                object,
                created: false,
                warnings,
            });
        }
        let table = self.table(resource);
        let outcome = if is_released(&value) {
            // The write that lets an object go is never stored: watches see it go as it was, the writer sees what it wrote.
            let gone = table.remove(live.key(), old.clone(), live.revision());
            gone.map(|gone| Arc::new(Object::unstored(live.key(), value, gone.revision())))
        } else {
            table.replace(live.key(), value, live.revision())
        };
        match outcome {
            Ok(object) => {
                reservation.keep();
                self.after_write(resource, Some(live), &object);
                Ok(Written {
                    object,
                    created: false,
                    warnings,
                })
            }
            Err(Refused::Absent) => Err(Settled::Absent),
            Err(Refused::Raced | Refused::Exists) => Err(Settled::Raced { pinned }),
        }
    }
}

enum Settled {
    Raced { pinned: bool },
    Absent,
    Refused(Box<Failure>),
}

/// Restore what no update can change.
fn keep_identity(resource: &Resource, old: &Value, new: &mut Value) {
    new["apiVersion"] = old["apiVersion"].clone();
    new["kind"] = old["kind"].clone();
    if !new["metadata"].is_object() {
        new["metadata"] = serde_json::json!({});
    }
    let Some(metadata) = new["metadata"].as_object_mut() else {
        return;
    };
    let mut kept = vec![
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
        "resourceVersion",
        "generateName",
    ];
    if resource.namespaced {
        kept.push("namespace");
    } else {
        metadata.remove("namespace");
    }
    for field in kept {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
}

/// Whether an object that is being deleted has lost its last finalizer.
pub(super) fn is_released(value: &Value) -> bool {
    let metadata = &value["metadata"];
    let empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    let spec_finalizers = value["kind"] == "Namespace" && !empty(&value["spec"]["finalizers"]);
    let waits = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or_default() > 0;
    metadata["deletionTimestamp"].is_string() && empty(&metadata["finalizers"]) && !spec_finalizers && !waits
}
