//! The demo's repository, made by the real git, and the reconciler that follows it.

use crate::interrupt::Interrupt;
use crate::repository;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Time limit for everything that the demo waits for from the reconciler.
const PATIENCE: Duration = Duration::from_secs(90);
/// Between two looks at what it says.
const LOOK: Duration = Duration::from_millis(100);

/// A repository and `myelin`.
pub(crate) struct Deployed {
    repository: PathBuf,
    myelin: PathBuf,
    kubeconfig: PathBuf,
    aws: Vec<(String, String)>,
    interrupt: Interrupt,
    reconciler: Option<Child>,
}

impl Deployed {
    /// A repository with the example's manifests and its document, which `edit` may change before the first commit.
    pub(crate) fn new(
        folder: &Path,
        myelin: PathBuf,
        kubeconfig: &Path,
        aws: &[(String, String)],
        interrupt: Interrupt,
    ) -> Result<Self> {
        let this = Self {
            repository: folder.join("repository"),
            myelin,
            kubeconfig: kubeconfig.to_owned(),
            aws: aws.to_vec(),
            interrupt,
            reconciler: None,
        };
        let example = repository::root().join("examples/vertex-synapse");
        for file in repository::files()? {
            let Ok(inside) = file.strip_prefix("examples/vertex-synapse") else {
                continue;
            };
            if !(inside.starts_with("k8s") || inside.starts_with("git")) {
                continue;
            }
            let to = this.repository.join(inside);
            std::fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
            std::fs::copy(example.join(inside), &to).with_context(|| format!("copy {}", inside.display()))?;
        }
        this.git(&["init", "--quiet", "--initial-branch=main"])?;
        Ok(this)
    }

    /// Replaces a text in the document and commits; answers the commit.
    pub(crate) fn commit(&self, message: &str, from: &str, to: &str) -> Result<String> {
        let file = self.repository.join("git/stack.yaml");
        let text = std::fs::read_to_string(&file).context("read the document")?;
        ensure!(text.contains(from), "the document should say {from:?}");
        std::fs::write(&file, text.replacen(from, to, 1)).context("write the document")?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "-m", message])?;
        self.git(&["rev-parse", "HEAD"])
    }

    /// Adds a component of one ConfigMap that starts after another component, and commits; answers the commit.
    pub(crate) fn commit_component(&self, name: &str, after: &str) -> Result<String> {
        let base = self.repository.join("k8s/base");
        let manifest =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{text: Synapse is served}}\n");
        std::fs::create_dir_all(base.join(name)).context("make the component's folder")?;
        std::fs::write(
            base.join(name).join("kustomization.yaml"),
            "resources: [configmap.yaml]\n",
        )
        .and_then(|()| std::fs::write(base.join(name).join("configmap.yaml"), manifest))
        .context("write the component")?;
        let list = base.join("kustomization.yaml");
        let text = std::fs::read_to_string(&list).context("read the kustomization")?;
        ensure!(text.contains("resources:\n"), "the kustomization should list resources");
        std::fs::write(
            &list,
            text.replacen("resources:\n", &format!("resources:\n  - {name}/configmap.yaml\n"), 1),
        )
        .context("write the kustomization")?;
        let line = "    optic: {path: base/optic";
        let new = format!("    {name}: {{path: base/{name}, after: [{after}]}}\n{line}");
        self.commit(&format!("Add {name}"), line, &new)
    }

    /// Writes a file, for the next commit.
    pub(crate) fn write(&self, file: &str, text: &str) -> Result<()> {
        std::fs::write(self.repository.join(file), text).with_context(|| format!("write {file}"))
    }

    /// `myelin`, with the cluster and EC2 of the demo.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.myelin);
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .envs(self.aws.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the reconciler on the repository.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = File::create(self.repository.with_extension("log")).context("make the reconciler's log")?;
        let url = format!("file://{}", self.repository.display());
        let child = self
            .command()
            .args([
                "run",
                "--url",
                &url,
                "--path",
                "git",
                "--interval",
                "1s",
                "--listen",
                "127.0.0.1:0",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("start the reconciler")?;
        self.reconciler = Some(child);
        Ok(())
    }

    /// Ends the reconciler. What it applied stays.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.reconciler.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The address of the reconciler's page, from its log.
    pub(crate) fn page(&self) -> Option<String> {
        let log = std::fs::read_to_string(self.repository.with_extension("log")).ok()?;
        let line = log.lines().find(|line| line.contains("\"listening\""))?;
        let line: Value = serde_json::from_str(line).ok()?;
        Some(format!("http://{}/", line["fields"]["address"].as_str()?))
    }

    /// Runs `myelin` and answers its one line.
    pub(crate) fn myelin(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        ensure!(
            output.status.success(),
            "myelin {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Waits until the source is in a state at a commit, printing meanwhile what `look` reports; returns its message.
    pub(crate) fn reaches(&self, state: &str, commit: &str, mut look: impl FnMut()) -> Result<String> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.interrupt.check()?;
            let output = self.run(&["status", "--depth", "source", "-o", "json"])?;
            let all: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let source = &all["sources"][0];
            look();
            if source["state"] == state && source["commit"] == commit {
                return Ok(source["message"].as_str().unwrap_or_default().to_owned());
            }
            if Instant::now() > end {
                bail!("the source should be {state} at {commit}: {source:#}");
            }
            std::thread::sleep(LOOK);
        }
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.command().args(arguments).output().context("run myelin")
    }

    fn git(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("git")
            .args([
                "-c",
                "user.name=Demo",
                "-c",
                "user.email=demo@example.com",
                "-c",
                "commit.gpgsign=false",
            ])
            .args(arguments)
            .current_dir(&self.repository)
            .output()
            .context("run git")?;
        ensure!(
            output.status.success(),
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        self.stop();
    }
}
