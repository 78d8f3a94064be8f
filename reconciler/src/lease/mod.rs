//! Several replicas share the sources. Each replica sends heartbeats: it renews one Lease of its own every fraction of
//! a second. Each source has a Lease that names its holder and is written only when it changes hands. A replica that
//! stops properly gives its sources back, and the next replica has them at once. A replica that is silent for the
//! fail-over time loses them, by the clock of the one that listens.
//!
//! `replica` sends and receives heartbeats, in a thread of its own so that no work delays it; `seat` is the Lease of
//! one source; `choice` is the pure part: who may take what, and when. Safety between two replicas does not depend on
//! this: a record is written only at the version that was read, so the next step of a deposed replica fails.

mod choice;
mod lock;
mod replica;
mod seat;

pub(crate) use choice::Pace;
pub(crate) use lock::Lock;
pub(crate) use replica::Replica;
pub(crate) use seat::Seat;

/// Label of the Lease of a replica and of a source; its value says which.
const LABEL: &str = "myelin.dev/lease";
