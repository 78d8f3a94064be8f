//! Create: identity, namespace, defaults, managed fields, rules, store.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Actor, Failure, Part, Registry, WriteOptions, Written, traits};
use crate::kubernetes::admission::{decode, defaults, mutate, prepare, validate};
use crate::kubernetes::fields::managed;
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::store::{self, Object, Refused};

/// Letters of generated names: no vowels, so that no words arise.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

impl Registry {
    /// Create an object of a resource from what a client or a controller sent.
    pub fn create_in(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        check_identity(resource, namespace, &body)?;
        let decoded = decode::decode(resource, body, options)?;
        let mut object = decoded.value;
        self.enter(resource, namespace, &mut object)?;
        defaults::fill(resource, &mut object);
        let lookup = |api_version: &str| self.in_version(resource, api_version);
        managed::on_update(
            resource,
            &lookup,
            None,
            &mut object,
            &actor.manager,
            Part::Main,
            &self.clock().timestamp(),
        );
        let mut written = self.store_new(actor, resource, namespace, object, options)?;
        written.warnings.splice(
            0..0,
            decoded.warnings.into_iter().chain(options.warnings.iter().cloned()),
        );
        Ok(written)
    }

    /// Set what the server alone decides about a new object's identity.
    pub(super) fn enter(&self, resource: &Resource, namespace: &str, object: &mut Value) -> Result<(), Failure> {
        object["apiVersion"] = resource.storage_api_version().into();
        object["kind"] = resource.kind.clone().into();
        if !object["metadata"].is_object() {
            object["metadata"] = json!({});
        }
        let Some(metadata) = object["metadata"].as_object_mut() else {
            return Ok(());
        };
        if resource.namespaced {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        for field in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
        ] {
            metadata.remove(field);
        }
        if let Some(version) = metadata.remove("resourceVersion")
            && version.as_str().is_some_and(|v| !v.is_empty() && v != "0")
        {
            return Err(Failure::unreasoned(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        Ok(())
    }

    /// Admission, rules and storage of a new object whose managed fields are settled.
    pub(super) fn store_new(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        self.check_namespace(
            resource,
            namespace,
            object["metadata"]["name"].as_str().unwrap_or_default(),
        )?;
        mutate::on_create(self, resource, actor, &mut object)?;
        self.meddling().rewrite(&resource.storage, &mut object);
        let generated = name_object(&mut object);
        mutate::check_room(self, resource, &object)?;
        object["metadata"]["uid"] = fresh_uid().into();
        object["metadata"]["creationTimestamp"] = self.clock().timestamp().into();
        prepare::for_create(resource, &mut object, &self.clock().timestamp());
        if traits::has_generation(resource) {
            object["metadata"]["generation"] = 1.into();
        }
        // Reading an object from storage defaults it again: what preparation made counts, too.
        defaults::fill(resource, &mut object);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let (group, plural) = (&resource.gvr.group, &resource.gvr.plural);
        let mut warnings = Vec::new();
        let faults = validate::on_create(self, resource, &object, &mut warnings)?;
        if !faults.is_empty() {
            return Err(Failure::invalid(
                resource.storage_group(),
                &resource.kind,
                &name,
                &faults,
            ));
        }
        let table = self.table(resource);
        let mut key = store::key(namespace, &name);
        if let Some(taken) = table.get(&key)
            && !generated
        {
            let mut failure = Failure::already_exists(group, plural, &name);
            if taken.is_deleting() {
                failure.message = format!("object is being deleted: {}", failure.message);
            }
            return Err(failure);
        }
        let reservation = mutate::allocate(self, resource, None, &mut object, options.dry_run)?;
        if options.dry_run {
            let object = Arc::new(Object::unstored(&key, object, 0));
            return Ok(Written {
                object,
                created: true,
                warnings,
            });
        }
        for _ in 0..8 {
            match table.insert(&key, object.clone()) {
                Ok(object) => {
                    reservation.keep();
                    self.after_write(resource, None, &object);
                    return Ok(Written {
                        object,
                        created: true,
                        warnings,
                    });
                }
                Err(_) if generated => {
                    object["metadata"]["name"] = Value::Null;
                    name_object(&mut object);
                    key = store::key(namespace, object["metadata"]["name"].as_str().unwrap_or_default());
                }
                Err(Refused::Exists | Refused::Absent | Refused::Raced) => break,
            }
        }
        Err(Failure::already_exists(group, plural, &name))
    }

    /// A namespace must be there, and must not be on its way out.
    pub(super) fn check_namespace(&self, resource: &Resource, namespace: &str, name: &str) -> Result<(), Failure> {
        if !resource.namespaced {
            return Ok(());
        }
        let Some(space) = self.store().table("namespaces").get(namespace) else {
            return Err(Failure::not_found("", "namespaces", namespace));
        };
        if space.is_deleting() || space.value()["status"]["phase"] == "Terminating" {
            let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
            let mut failure = Failure::forbidden(&resource.gvr.group, &resource.gvr.plural, name, &why);
            if let Some(details) = &mut failure.details {
                let message = format!("namespace {namespace} is being terminated");
                details["causes"] =
                    json!([{"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}]);
            }
            return Err(failure);
        }
        Ok(())
    }
}

/// The body must be of the request's kind, version and namespace.
pub(super) fn check_identity(resource: &Resource, namespace: &str, body: &Value) -> Result<(), Failure> {
    let sent = body["metadata"]["namespace"].as_str().unwrap_or_default();
    if !sent.is_empty() && sent != namespace {
        let message = if resource.namespaced {
            "the namespace of the provided object does not match the namespace sent on the request"
        } else {
            "namespace may not be set on cluster-scoped objects"
        };
        return Err(Failure::bad_request(message));
    }
    Ok(())
}

/// Give an object that has only a `generateName` a name; says whether it did.
fn name_object(object: &mut Value) -> bool {
    let has_name = object["metadata"]["name"].as_str().is_some_and(|name| !name.is_empty());
    let base = object["metadata"]["generateName"].as_str().unwrap_or_default();
    if has_name || base.is_empty() {
        return false;
    }
    let mut name: String = base.chars().take(58).collect();
    let mut random: u64 = rand::random();
    for _ in 0..5 {
        name.push(char::from(ALPHABET[(random % ALPHABET.len() as u64) as usize]));
        random /= ALPHABET.len() as u64;
    }
    object["metadata"]["name"] = name.into();
    true
}

/// A random UUID (version 4).
pub(crate) fn fresh_uid() -> String {
    let bits: u128 = rand::random();
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}
