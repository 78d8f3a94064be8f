//! `bench terraform`: 45 objects through `terraform apply`, the size at which other providers publish their times.

use super::table::{Table, cpu, mebibytes, seconds};
use crate::built::Programs;
use crate::measure;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;
use std::process::Command;

const OBJECTS: usize = 45;
const NAMESPACE: &str = "bench-terraform";

/// Prints the figures.
pub(crate) fn run(programs: &Programs, kubeconfig: &Path) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("myelin-bench-")
        .tempdir()
        .context("make a temporary folder")?;
    let module = folder.path();
    let workbench = programs.path("myelin-workbench")?;
    let objects = module.join("objects");
    measure::run(
        Command::new(&workbench)
            .args([
                "write-objects",
                "--namespace",
                NAMESPACE,
                "--count",
                &OBJECTS.to_string(),
                "--to",
            ])
            .arg(&objects),
    )?;
    let text = |path: &Path| Value::from(path.to_string_lossy()).to_string();
    let hcl = format!(
        "terraform {{\n  required_providers {{\n    myelin = {{ source = \"myelin-dev/myelin\" }}\n  }}\n}}\n\
         provider \"myelin\" {{\n  kubeconfig = {}\n}}\n\
         resource \"myelin_stack\" \"bench\" {{\n  name      = \"bench\"\n  namespace = \"{NAMESPACE}\"\n  source    = {}\n}}\n",
        text(kubeconfig),
        text(&objects)
    );
    std::fs::write(module.join("main.tf"), hcl).context("write main.tf")?;
    let plugins = programs.path("terraform-provider-myelin")?;
    let plugins = plugins.parent().context("a program lies in a folder")?;
    let configuration = format!(
        "provider_installation {{\n  dev_overrides {{ \"myelin-dev/myelin\" = {} }}\n  direct {{}}\n}}\n",
        text(plugins)
    );
    std::fs::write(module.join("terraform.rc"), configuration).context("write terraform.rc")?;

    let mut table = Table::new(
        format!("terraform: one stack of {OBJECTS} objects"),
        &["wall", "cpu", "provider's peak", "terraform's peak"],
    );
    for (label, verb, flags) in [
        ("apply", "apply", &["-auto-approve"][..]),
        ("plan, nothing to do", "plan", &["-detailed-exitcode"][..]),
        ("destroy", "destroy", &["-auto-approve"][..]),
    ] {
        let mut command = Command::new("terraform");
        command
            .arg(format!("-chdir={}", module.display()))
            .args([verb, "-no-color", "-input=false"])
            .args(flags)
            .env("TF_CLI_CONFIG_FILE", module.join("terraform.rc"))
            .envs([("CHECKPOINT_DISABLE", "1"), ("TF_IN_AUTOMATION", "1")]);
        let cost = measure::run(&mut command)?.cost;
        // Linux cuts process names at 15 characters.
        let provider = cost.peak_mib("terraform-provi");
        let terraform = cost
            .peak_mib("terraform")
            .zip(provider)
            .map(|(both, provider)| both - provider);
        table.row(
            label,
            vec![
                seconds(cost.wall.as_secs_f64()),
                cpu(cost.cpu),
                mebibytes(provider),
                mebibytes(terraform),
            ],
        );
    }
    table.print();
    println!("  the provider's peak is summed over the processes that terraform starts, one for each walk");
    Ok(())
}
