//! One node: the loop that looks at everything, lets the drain machine decide, and tells the parts what is wanted of them.

mod control;
mod start;
mod view;

pub use control::{Ask, Control};
pub use start::{RunError, run};
pub use view::{DrainView, Dropped, Shared, View};
