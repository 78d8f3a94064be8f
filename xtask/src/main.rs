//! Tasks of this repository: `cargo xtask demo|test|bench`.
fn main() {}
