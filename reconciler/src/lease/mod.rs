//! Several replicas share the sources out. Each replica beats: it renews one Lease of its own every fraction of a second. Each source
//! has a Lease that names its holder and is written only when it changes hands. Who stops well gives its sources back, and the
//! next has them at once; who is silent for the fail-over time loses them, by the clock of the one who listens.
//!
//! `replica` beats and listens, in a thread of its own so that no work delays it; `seat` is the Lease of one source; `choice` is the pure
//! part: who may take what, and when. What keeps two replicas from doing harm is not here: a record is written only at the
//! version that was read, so a deposed replica's next step fails.

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
