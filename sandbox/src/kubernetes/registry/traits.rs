//! How resources differ in their verbs, as the registry asks it: what a PUT may leave out, which kinds count generations, what
//! a delete returns. The answers are in the table of `admission::strategy`.

use crate::kubernetes::admission::strategy::{self, Generation, Propagation, Status};
use crate::kubernetes::schema::resources::Resource;

/// Kinds whose objects a PUT may replace without naming a resourceVersion.
pub(crate) fn unconditional_update(resource: &Resource) -> bool {
    strategy::of_resource(resource).unconditional_update
}

/// Kinds that a PUT creates when they are not there.
pub(crate) fn put_creates(resource: &Resource) -> bool {
    strategy::of_resource(resource).create_on_update
}

/// Kinds that count generations of their spec.
pub(crate) fn has_generation(resource: &Resource) -> bool {
    strategy::of_resource(resource).generation != Generation::None
}

/// Kinds whose finished delete answers with the object; others answer with a `Status`.
pub(crate) fn delete_returns_object(resource: &Resource) -> bool {
    strategy::of_resource(resource).returns_deleted
}

/// Whether deleting without a policy leaves the dependents in place.
pub(crate) fn orphans_by_default(resource: &Resource) -> bool {
    strategy::of_resource(resource).propagation != Propagation::Background
}

/// Whether main writes leave `status` alone.
pub(crate) fn keeps_status(resource: &Resource) -> bool {
    match &resource.custom {
        Some(custom) => custom.status,
        None => strategy::of_resource(resource).status != Status::Plain,
    }
}
