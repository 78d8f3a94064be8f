//! The Terraform provider. Everything it does is in the library beside it.

use std::process::ExitCode;

fn main() -> ExitCode {
    terraform_provider_myelin::run(&std::env::args().skip(1).collect::<Vec<_>>(), |name| {
        std::env::var(name).ok()
    })
}
