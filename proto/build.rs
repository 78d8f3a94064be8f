//! Generates the Rust types of the definitions at build time, in pure Rust: no `protoc` is needed on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const DEFINITIONS: [&str; 3] = ["tfplugin6.proto", "plugin.proto", "health.proto"];
    for file in DEFINITIONS {
        println!("cargo::rerun-if-changed=definitions/{file}");
    }
    let descriptors = protox::compile(DEFINITIONS, ["definitions"])?;
    // `build_transport(false)`: connecting is the caller's business; it needs neither tonic's DNS nor its TLS.
    tonic_prost_build::configure()
        .build_transport(false)
        .generate_default_stubs(true)
        .compile_fds(descriptors)?;
    Ok(())
}
