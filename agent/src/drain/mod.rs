//! Emptying the node: what asks for it ([`notices`]), what it means at this moment ([`machine`], pure), and the hook ([`hook`]).

pub mod hook;
pub mod machine;
pub mod notices;
