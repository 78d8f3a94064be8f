//! Draining the node: its causes ([`notices`]), what to do at this moment ([`machine`], pure), and the hook ([`hook`]).

pub mod hook;
pub mod machine;
pub mod notices;
