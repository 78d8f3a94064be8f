//! The Terraform provider on the engine.
fn main() {}
