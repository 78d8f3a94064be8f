//! One node: the loop that observes everything, lets the drain machine decide, and tells the parts what to do.

mod control;
mod start;
mod view;

pub use control::{Ask, Control};
pub use start::{RunError, run};
pub use view::{DrainView, Dropped, Shared, View};
