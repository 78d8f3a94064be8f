//! The demo's pool of EC2 workers: the same pool in HCL and for git. They boot with the cluster's address and token, as k3s agents do,
//! and become its nodes.

use super::Stage;
use super::git::Deployed;
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;

/// What a worker does at its first boot.
fn user_data(server: &str, token: &str) -> [String; 2] {
    [
        "#!/bin/sh".to_owned(),
        format!("K3S_URL={server} K3S_TOKEN={token} /usr/local/bin/k3s agent"),
    ]
}

/// The pool for Terraform.
fn module(server: &str, token: &str) -> String {
    let mut data = String::new();
    for line in user_data(server, token) {
        let _ = writeln!(data, "    {line}");
    }
    format!(
        r#"resource "myelin_node_pool" "workers" {{
  name           = "workers"
  cluster        = "synapse"
  min            = 1
  max            = 3
  instance_types = ["m5.large", "c6i.large"]
  image          = {{ parameter = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64" }}
  subnets        = ["subnet-0aaaaaaaaaaaaaaa1", "subnet-0bbbbbbbbbbbbbbb2"]
  user_data      = <<-EOT
{data}  EOT
  rollout        = {{ health = "kubernetes" }}
  kubernetes     = {{}}
}}
"#
    )
}

/// The same pool as a document, with so many workers at least.
fn document(server: &str, token: &str, min: u32) -> String {
    let mut data = String::new();
    for line in user_data(server, token) {
        let _ = writeln!(data, "    {line}");
    }
    format!(
        "apiVersion: myelin.dev/v1alpha1\nkind: NodePool\nmetadata: {{name: workers}}\nspec:\n  cluster: synapse\n  min: {min}\n  max: 3\n  \
         instanceTypes: [m5.large, c6i.large]\n  \
         image: {{parameter: /aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64}}\n  \
         subnets: [subnet-0aaaaaaaaaaaaaaa1, subnet-0bbbbbbbbbbbbbbb2]\n  rollout: {{health: kubernetes}}\n  kubernetes: {{}}\n  \
         userData: |\n{data}"
    )
}

/// Where the document lies in the demo's repository.
const FILE: &str = "git/workers.yaml";

impl Stage {
    /// The first worker, by Terraform, beside the stack.
    pub(super) fn launch_workers(&self) -> Result<()> {
        self.narrator
            .part("5. A pool of EC2 workers beside the stack: the plan names each node, and what is launched joins the cluster");
        let file = self.terraform.module.join("workers.tf");
        std::fs::write(&file, module(&self.server, &self.token)).context("write the pool's module")?;
        self.narrator.command("terraform plan");
        let (changes, said) = self.terraform.plan()?;
        ensure!(changes, "the pool is new\n{}", said.stdout);
        let told = format!("{}\n{}", said.stdout, said.stderr);
        let shown: Vec<&str> = told
            .lines()
            .map(|line| line.trim_start_matches(['│', '╷', '╵', ' ']))
            .filter(|line| line.contains("Pool synapse/workers") || line.starts_with("1. + launch"))
            .collect();
        ensure!(shown.len() == 2, "the plan should tell of one launch\n{told}");
        self.narrator.quote(shown);
        self.narrator.command("terraform apply");
        self.follow(self.terraform.start("apply", &["-auto-approve"])?, "apply")?;
        ensure!(self.workers()? == 1, "one worker should be a node of the cluster");
        self.narrator.tell("one worker is a Ready node of the cluster");
        self.expect_no_changes()
    }

    /// The pool's document with at least this many workers, for the next commit.
    pub(super) fn write_workers(&self, deployed: &Deployed, min: u32) -> Result<()> {
        deployed.write(FILE, &document(&self.server, &self.token, min))
    }

    /// Nodes of the cluster that are EC2 instances and Ready.
    pub(super) fn workers(&self) -> Result<u64> {
        self.work("workers", &[])?["ready"]
            .as_u64()
            .context("the workbench counts workers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_boot_the_same_workers() {
        let (module, document) = (module("https://a:1", "t"), document("https://a:1", "t", 1));
        for line in user_data("https://a:1", "t") {
            assert!(module.contains(&format!("    {line}\n")), "{module}");
            assert!(document.contains(&format!("    {line}\n")), "{document}");
        }
        assert!(document.contains("min: 1\n"), "{document}");
    }
}
