//! The `myelin` command on the engine.
fn main() {}
