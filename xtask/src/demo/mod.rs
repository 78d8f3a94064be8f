//! `cargo xtask demo`: the life of a stack and a pool of workers, with the real terraform and then from git, against
//! the sandbox.
//!
//! The demo shows and checks: each part fails the demo if what it announces does not happen. It needs Rust, a C
//! compiler, git and terraform; no cluster, no account, no kubectl.

mod git;
mod narrator;
mod terraform;
mod watcher;
mod workers;

use crate::built::{Profile, Programs};
use crate::interrupt::Interrupt;
use crate::repository;
use crate::sandbox::Sandbox;
use anyhow::{Context, Result, bail, ensure};
use git::Deployed;
use narrator::Narrator;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use terraform::{Running, Said, Terraform};
use watcher::{Event, Watcher};

const NAMESPACE: &str = "synapse";
/// Between two looks at terraform and at the watch.
const LOOK: Duration = Duration::from_millis(20);

/// Runs the demo.
///
/// # Errors
/// When a part does not do what it announces, or on Ctrl-C.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let keep = match arguments {
        [] => false,
        [flag] if flag == "--keep" => true,
        _ => bail!("usage: cargo xtask demo [--keep]"),
    };
    let interrupt = Interrupt::listen()?;
    println!(
        "Building the provider, the reconciler and the sandbox (minutes on a fresh clone, seconds after that) ..."
    );
    let programs = Programs::build(Profile::Debug)?;
    interrupt.check()?;
    let folder = tempfile::Builder::new()
        .prefix("myelin-demo-")
        .tempdir()
        .context("make a temporary folder")?;
    let narrator = Narrator::start();
    let sandbox = Sandbox::start(&programs, folder.path(), &interrupt)?;
    narrator.tell(&format!("the sandbox serves the Kubernetes API at {}", sandbox.server));

    let module = repository::root().join("examples/vertex-synapse");
    let provider = programs.path("terraform-provider-myelin")?;
    let mut terraform = Terraform::new(&module, folder.path(), &provider, interrupt.clone())?;
    terraform.set("kubeconfig", &sandbox.kubeconfig.to_string_lossy());
    terraform.use_aws(&sandbox.environment);
    let workbench = programs.path("myelin-workbench")?;
    let watcher = Watcher::open(&workbench, &sandbox.kubeconfig, NAMESPACE)?;
    let mut stage = Stage {
        narrator,
        terraform,
        watcher,
        workbench,
        kubeconfig: sandbox.kubeconfig.clone(),
        server: sandbox.server.clone(),
        token: sandbox.variable("MYELIN_SANDBOX_TOKEN")?.to_owned(),
        interrupt,
    };

    stage.plan_and_apply()?;
    stage.change_an_image()?;
    stage.repair_drift()?;
    stage.launch_workers()?;
    if keep {
        stage.leave_it_up(&sandbox);
        sandbox.leave();
        // The kubeconfig and the state lie in it.
        let _ = folder.keep();
        return Ok(());
    }
    let mut deployed = Deployed::new(
        folder.path(),
        programs.path("myelin")?,
        &stage.kubeconfig,
        &sandbox.environment,
        stage.interrupt.clone(),
    )?;
    stage.hand_to_git(&mut deployed)?;
    deployed.stop();
    stage.destroy()?;
    stage.narrator.part("That was the demo.");
    Ok(())
}

/// Everything that the parts of the demo share.
struct Stage {
    narrator: Narrator,
    terraform: Terraform,
    watcher: Watcher,
    workbench: PathBuf,
    kubeconfig: PathBuf,
    /// The cluster's address and token, which workers boot with.
    server: String,
    token: String,
    interrupt: Interrupt,
}

impl Stage {
    fn plan_and_apply(&self) -> Result<()> {
        self.narrator
            .part("1. A plan: five components of Synapse, nothing is there yet");
        self.narrator.command("terraform plan");
        let plan_file = self.folder().join("first.tfplan");
        let said = self
            .terraform
            .run("plan", &[&format!("-out={}", plan_file.display())])?;
        let objects = planned_objects(&self.terraform, &plan_file)?;
        self.narrator.tell(&summary(&said));
        self.narrator
            .tell(&format!("{} objects: {}", objects.len(), by_kind(&objects)));

        self.narrator
            .part("2. Apply: each component starts when those it waits for are ready");
        self.narrator.command("terraform apply");
        let ready = self.follow(self.terraform.start("apply", &["-auto-approve"])?, "apply")?;
        let order: Vec<&str> = ready.iter().map(String::as_str).collect();
        ensure!(order.len() == 5, "five components should have become ready: {order:?}");
        for (first, then) in [
            ("aha", "axon"),
            ("aha", "jsonstor"),
            ("axon", "cortex"),
            ("jsonstor", "cortex"),
            ("cortex", "optic"),
        ] {
            let place = |name: &str| order.iter().position(|ready| *ready == name);
            ensure!(
                place(first) < place(then),
                "{first} should be ready before {then}: {order:?}"
            );
        }
        self.expect_no_changes()
    }

    fn change_an_image(&mut self) -> Result<()> {
        self.narrator
            .part("3. A newer image of one service: the plan shows the field, the apply rolls that pod alone");
        self.terraform.set("image_tags", "{axon = \"v2.257.0\"}");
        self.narrator
            .command("terraform plan -var 'image_tags={axon = \"v2.257.0\"}'");
        let (changes, said) = self.terraform.plan()?;
        ensure!(changes, "another image is a change\n{}", said.stdout);
        self.narrator.quote(said.object_changes().iter().map(String::as_str));
        self.narrator.command("terraform apply");
        let ready = self.follow(self.terraform.start("apply", &["-auto-approve"])?, "apply")?;
        ensure!(ready == ["axon"], "axon alone should have rolled: {ready:?}");
        self.expect_no_changes()
    }

    fn repair_drift(&self) -> Result<()> {
        self.narrator
            .part("4. Somebody edits the cluster by hand: found, shown, put back");
        self.narrator
            .command("kubectl edit configmap optic -n synapse   # SYN_OPTIC_NETLOC: elsewhere.example.net");
        let patch = r#"{"data":{"SYN_OPTIC_NETLOC":"elsewhere.example.net"}}"#;
        self.work("edit", &["--kind", "configmaps", "--name", "optic", "--patch", patch])?;
        self.narrator.command("terraform plan");
        let (changes, said) = self.terraform.plan()?;
        ensure!(changes, "the edit is drift\n{}", said.stdout);
        self.narrator.quote(said.object_changes().iter().map(String::as_str));
        self.narrator.command("terraform apply");
        self.follow(self.terraform.start("apply", &["-auto-approve"])?, "apply")?;
        let live = self.work("get", &["--kind", "configmaps", "--name", "optic"])?;
        let netloc = live["data"]["SYN_OPTIC_NETLOC"].as_str().unwrap_or_default();
        ensure!(
            netloc == "synapse.example.com",
            "the edit should be gone, and the ConfigMap says {netloc:?}"
        );
        self.narrator.tell(&format!("the ConfigMap says {netloc} again"));
        self.expect_no_changes()
    }

    fn hand_to_git(&self, deployed: &mut Deployed) -> Result<()> {
        self.narrator
            .part("6. The same stack and pool from git: from now on a commit to main is the deployment");
        self.write_workers(deployed, 1)?;
        let first = deployed.commit(
            "Take over from Terraform",
            "synapse-axon: v2.256.0",
            "synapse-axon: v2.257.0",
        )?;
        self.narrator.command("myelin hand-over synapse/synapse --to git:git");
        deployed.myelin(&["hand-over", "synapse/synapse", "--to", "git:git"])?;
        self.narrator
            .command("myelin hand-over --pool synapse/workers --to git:git");
        deployed.myelin(&["hand-over", "--pool", "synapse/workers", "--to", "git:git"])?;
        self.expect_no_changes()?;
        self.narrator.command("myelin run --url file://… --path git");
        deployed.start()?;
        deployed.reaches("ready", &first, || {})?;
        let page = deployed.page().unwrap_or_default();
        self.narrator.tell(&format!(
            "ready at {}, nothing had to be changed; the page is {page}",
            &first[..12]
        ));

        let mut ready = Vec::new();
        self.narrator.command("git commit -m 'Newer axon'");
        let second = deployed.commit("Newer axon", "synapse-axon: v2.257.0", "synapse-axon: v2.258.0")?;
        deployed.reaches("ready", &second, || self.tell_events(&mut ready))?;
        ensure!(ready == ["axon"], "axon alone should have rolled: {ready:?}");

        self.narrator
            .command("git commit -m 'Add banner'   # a component more, after optic; and a second worker");
        self.write_workers(deployed, 2)?;
        let second = deployed.commit_component("banner", "optic")?;
        deployed.reaches("ready", &second, || {})?;
        let banner = self.work("get", &["--kind", "configmaps", "--name", "banner"])?;
        self.narrator.tell(&format!(
            "ConfigMap banner says {:?}",
            banner["data"]["text"].as_str().unwrap_or_default()
        ));
        ensure!(self.workers()? == 2, "two workers should be nodes of the cluster");
        self.narrator
            .tell("two workers are Ready nodes of the cluster, the first one is still there");

        self.narrator.command("git commit -m 'A slip of the pen'");
        let bad = deployed.commit("A slip of the pen", "namespace: synapse", "namespce: synapse")?;
        let message = deployed.reaches("rejected", &second, || {})?;
        self.narrator.quote(message.lines().take(3));
        self.narrator
            .tell(&format!("{} is refused, {} stays in force", &bad[..12], &second[..12]));

        self.narrator.command("kubectl edit configmap optic -n synapse");
        let patch = r#"{"data":{"SYN_OPTIC_NETLOC":"elsewhere.example.net"}}"#;
        self.work("edit", &["--kind", "configmaps", "--name", "optic", "--patch", patch])?;
        let edited = std::time::Instant::now();
        loop {
            let live = self.work("get", &["--kind", "configmaps", "--name", "optic"])?;
            if live["data"]["SYN_OPTIC_NETLOC"] == "synapse.example.com" {
                break;
            }
            ensure!(edited.elapsed() < Duration::from_secs(30), "the edit should be gone");
            std::thread::sleep(LOOK);
        }
        self.narrator
            .tell(&format!("put back after {} ms", edited.elapsed().as_millis()));

        let mut ready = Vec::new();
        let to = &first[..12];
        self.narrator.command(&format!("myelin rollback --to {to}"));
        deployed.myelin(&["rollback", "--to", to])?;
        deployed.reaches("ready", &first, || self.tell_events(&mut ready))?;
        ensure!(ready == ["axon"], "axon alone should have rolled back: {ready:?}");

        self.narrator.command("myelin hand-over synapse/synapse --to terraform");
        deployed.stop();
        deployed.myelin(&["hand-over", "synapse/synapse", "--to", "terraform"])?;
        self.narrator
            .command("myelin hand-over --pool synapse/workers --to terraform");
        deployed.myelin(&["hand-over", "--pool", "synapse/workers", "--to", "terraform"])?;
        self.expect_no_changes()
    }

    fn destroy(&self) -> Result<()> {
        self.narrator
            .part("7. Destroy: dependants first, workers are drained and ended; data stays unless it is asked for");
        self.narrator.command("terraform destroy");
        self.follow(self.terraform.start("destroy", &["-auto-approve"])?, "destroy")?;
        let left = self.work("left", &[])?;
        let count = |kind: &str| left[kind].as_u64().unwrap_or(u64::MAX);
        for kind in ["StatefulSets", "Pods", "Services"] {
            ensure!(count(kind) == 0, "{} {kind} are left", count(kind));
        }
        ensure!(self.workers()? == 0, "no worker should be left");
        self.narrator.tell(&format!(
            "left: no worker; in the namespace: {} PersistentVolumeClaims",
            count("PersistentVolumeClaims")
        ));
        Ok(())
    }

    fn leave_it_up(&self, sandbox: &Sandbox) {
        self.narrator.part("The sandbox stays up. To look around:");
        println!("  export KUBECONFIG={}", self.kubeconfig.display());
        println!("  kubectl get all -n {NAMESPACE}");
        let (name, value) = self.terraform.environment();
        println!("\nTo go on with terraform:");
        println!("  export {name}={}", value.display());
        for (name, value) in &sandbox.environment {
            println!("  export {name}={value}");
        }
        println!("  cd {}", self.terraform.module.display());
        println!("  terraform plan {}", self.terraform.shown_variables());
        println!(
            "\nTo end it:  kill {} && rm -r {}",
            sandbox.pid(),
            self.folder().display()
        );
    }

    /// Follows a terraform process to its end and prints what the cluster does meanwhile; returns the StatefulSets that
    /// became ready, in order.
    fn follow(&self, mut running: Running<'_>, verb: &str) -> Result<Vec<String>> {
        let mut ready = Vec::new();
        while !running.has_ended()? && !self.interrupt.has_come() {
            self.tell_events(&mut ready);
            std::thread::sleep(LOOK);
        }
        let said = running.end()?;
        // What the watch has read but not yet told.
        std::thread::sleep(LOOK * 5);
        self.tell_events(&mut ready);
        said.must_succeed(verb)?;
        self.narrator.tell(&summary(&said));
        Ok(ready)
    }

    fn tell_events(&self, ready: &mut Vec<String>) {
        for event in self.watcher.events() {
            match event {
                Event::Ready(name, image) => {
                    self.narrator.tell(&format!("{name:<9} ready  ({image})"));
                    ready.push(name);
                }
                Event::Rolls(name) => self.narrator.tell(&format!("{name:<9} rolls")),
                Event::Gone(name) => self.narrator.tell(&format!("{name:<9} gone")),
            }
        }
    }

    fn expect_no_changes(&self) -> Result<()> {
        self.narrator.command("terraform plan");
        let (changes, said) = self.terraform.plan()?;
        ensure!(!changes, "the plan after an apply should be empty\n{}", said.stdout);
        self.narrator.tell(&summary(&said));
        Ok(())
    }

    /// A workbench's subcommand on the stack's namespace; its answer.
    fn work(&self, subcommand: &str, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(&self.workbench)
            .args([subcommand, "--namespace", NAMESPACE])
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .output()
            .context("run the workbench")?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        serde_json::from_slice(&output.stdout).context("read the workbench's answer")
    }

    fn folder(&self) -> &Path {
        self.kubeconfig.parent().unwrap_or_else(|| Path::new("."))
    }
}

/// The line in which terraform sums up.
fn summary(said: &Said) -> String {
    let starts = ["Apply complete!", "Destroy complete!", "No changes.", "Plan:"];
    starts
        .iter()
        .find_map(|start| said.line(start))
        .unwrap_or("(terraform gave no summary)")
        .to_owned()
}

/// The keys (`group/Kind/namespace/name`) of the objects that a saved plan would make.
fn planned_objects(terraform: &Terraform, plan: &Path) -> Result<Vec<String>> {
    let shown: Value = serde_json::from_str(&terraform.show(plan)?).context("read the saved plan")?;
    let changes = shown["resource_changes"]
        .as_array()
        .context("a plan has resource_changes")?;
    let objects = changes
        .iter()
        .filter_map(|change| change["change"]["after"]["objects"].as_object());
    Ok(objects.flat_map(|objects| objects.keys().cloned()).collect())
}

/// `5 StatefulSet, 10 Service`, most first.
fn by_kind(keys: &[String]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for key in keys {
        *counts.entry(key.split('/').nth(1).unwrap_or(key)).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(kind, count)| (std::cmp::Reverse(*count), *kind));
    counts
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_counted_by_kind_most_first() {
        let keys = ["/Service/a/x", "/Service/a/y", "apps/StatefulSet/a/x", "/Namespace//a"].map(str::to_owned);
        assert_eq!(by_kind(&keys), "2 Service, 1 Namespace, 1 StatefulSet");
    }
}
