//! `myelin-sandbox`: the sandbox as a process.
fn main() {}
