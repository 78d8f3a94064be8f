//! CreateTags and DeleteTags on instances, volumes and launch templates.

use std::collections::BTreeMap;

use super::cloud::{Cloud, World};
use super::error::Ec2Error;
use super::instances::dry_run;
use super::launch::check_tags;
use super::params::Params;
use super::xml::Xml;

/// Sets tags on every named resource, or on none.
pub(crate) fn create(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let tags: BTreeMap<String, String> = p
        .items("Tag")
        .into_iter()
        .map(|t| (t.owned("Key"), t.owned("Value")))
        .collect();
    check_tags(&tags)?;
    let mut world = cloud.world();
    let ids = known(&mut world, p)?;
    for id in &ids {
        if let Some(own) = tags_of(&mut world, id) {
            let mut all = own.clone();
            all.extend(tags.clone());
            all.retain(|k, _| !k.starts_with("aws:"));
            check_tags(&all)?;
        }
    }
    dry_run(p)?;
    for id in &ids {
        world.tags_change(id, cloud.clock.now());
        if let Some(own) = tags_of(&mut world, id) {
            own.extend(tags.clone());
        }
    }
    Ok(Xml::response("CreateTags", request, |x| x.text("return", true)))
}

/// Removes tags: by key, or by key and value where a value is given.
pub(crate) fn delete(cloud: &Cloud, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let mut world = cloud.world();
    let ids = known(&mut world, p)?;
    dry_run(p)?;
    for id in &ids {
        world.tags_change(id, cloud.clock.now());
        let Some(own) = tags_of(&mut world, id) else { continue };
        for tag in p.items("Tag") {
            let key = tag.owned("Key");
            if tag
                .text("Value")
                .is_none_or(|v| own.get(&key).is_some_and(|own| own == v))
            {
                own.remove(&key);
            }
        }
    }
    Ok(Xml::response("DeleteTags", request, |x| x.text("return", true)))
}

fn known(world: &mut World, p: &Params) -> Result<Vec<String>, Ec2Error> {
    let ids = p.texts("ResourceId");
    if ids.is_empty() {
        return Err(Ec2Error::missing("ResourceId"));
    }
    match ids.iter().find(|id| tags_of(world, id).is_none()) {
        Some(id) if id.starts_with("i-") => Err(Ec2Error::no_instances(std::slice::from_ref(id))),
        Some(id) => Err(Ec2Error::new("InvalidID", format!("The ID '{id}' is not valid"))),
        None => Ok(ids),
    }
}

/// The tags of a resource.
pub(super) fn read<'w>(world: &'w World, id: &str) -> Option<&'w BTreeMap<String, String>> {
    if id.starts_with("lt-") {
        return world.templates.get(id).map(|t| &t.tags);
    }
    if id.starts_with("vol-") {
        return world
            .instances
            .values()
            .map(|i| &i.volume)
            .find(|v| v.id == id)
            .map(|v| &v.tags);
    }
    world.instances.get(id).map(|i| &i.tags)
}

fn tags_of<'w>(world: &'w mut World, id: &str) -> Option<&'w mut BTreeMap<String, String>> {
    if id.starts_with("lt-") {
        return world.templates.get_mut(id).map(|t| &mut t.tags);
    }
    if id.starts_with("vol-") {
        return world
            .instances
            .values_mut()
            .map(|i| &mut i.volume)
            .find(|v| v.id == id)
            .map(|v| &mut v.tags);
    }
    world.instances.get_mut(id).map(|i| &mut i.tags)
}
