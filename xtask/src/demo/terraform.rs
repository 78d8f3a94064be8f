//! The real `terraform`, run on an example with the provider that was just built.
//!
//! `dev_overrides` names the folder of the provider, so nothing is downloaded and `terraform init` is not needed. The
//! module is copied to a temporary folder, which then contains the state; the example's own folder is not written to.

use crate::interrupt::Interrupt;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at whether terraform has finished.
const LOOK: Duration = Duration::from_millis(20);
/// What terraform gets to stop by its own rules when the demo is interrupted.
const GRACE: Duration = Duration::from_secs(20);

/// How to run terraform.
pub(crate) struct Terraform {
    /// Where the module's copy lies, and its state.
    pub(crate) module: PathBuf,
    configuration: PathBuf,
    variables: Vec<String>,
    aws: Vec<(String, String)>,
    interrupt: Interrupt,
}

/// What a run of terraform said.
pub(crate) struct Said {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// Its stdout, without colour.
    pub(crate) stdout: String,
    /// Its stderr.
    pub(crate) stderr: String,
}

impl Terraform {
    /// Copies the module into `folder` and writes the command-line configuration beside it.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub(crate) fn new(module: &Path, folder: &Path, provider: &Path, interrupt: Interrupt) -> Result<Self> {
        let plugins = folder.join("plugins");
        std::fs::create_dir_all(&plugins).with_context(|| format!("make {}", plugins.display()))?;
        let name = provider.file_name().context("the provider's path has a file name")?;
        link(provider, &plugins.join(name))?;
        let configuration = format!(
            "provider_installation {{\n  dev_overrides {{ \"myelin-dev/myelin\" = {} }}\n  direct {{}}\n}}\n",
            Value::from(plugins.to_string_lossy())
        );
        let file = folder.join("terraform.rc");
        std::fs::write(&file, configuration).with_context(|| format!("write {}", file.display()))?;
        let copy = folder.join(module.file_name().context("the module's path has a name")?);
        copy_folder(module, &copy)?;
        Ok(Self {
            module: copy,
            configuration: file,
            variables: Vec::new(),
            aws: Vec::new(),
            interrupt,
        })
    }

    /// Sets a variable of the module for all later runs. The latest value of a name counts.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables
            .retain(|variable| !variable.starts_with(&format!("-var={name}=")));
        self.variables.push(format!("-var={name}={value}"));
    }

    /// Where EC2 is, for all later runs. What the user's own shell says of AWS is left out.
    pub(crate) fn use_aws(&mut self, environment: &[(String, String)]) {
        self.aws = environment.to_vec();
    }

    /// The variables as a person would type them.
    pub(crate) fn shown_variables(&self) -> String {
        self.variables
            .iter()
            .map(|variable| format!("'{variable}'"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The environment that makes a hand-typed terraform behave as this one.
    pub(crate) fn environment(&self) -> (&'static str, &Path) {
        ("TF_CLI_CONFIG_FILE", &self.configuration)
    }

    /// Starts `terraform <verb>` with the variables; the caller collects it.
    ///
    /// # Errors
    /// When terraform is not on the machine.
    pub(crate) fn start(&self, verb: &str, arguments: &[&str]) -> Result<Running<'_>> {
        self.interrupt.check()?;
        let child = Command::new("terraform")
            .arg(format!("-chdir={}", self.module.display()))
            .arg(verb)
            .args(["-no-color", "-input=false"])
            .args(&self.variables)
            .args(arguments)
            .envs([self.environment()])
            .envs(self.aws.iter().map(|(name, value)| (name, value)))
            .env_remove("AWS_PROFILE")
            .env_remove("AWS_SESSION_TOKEN")
            .envs([("TF_IN_AUTOMATION", "1"), ("CHECKPOINT_DISABLE", "1")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start terraform (is it on the PATH?)")?;
        Running::new(child, &self.interrupt)
    }

    /// Runs `terraform <verb>` to its end; it must succeed.
    ///
    /// # Errors
    /// When it fails, with its output, or when the demo is interrupted.
    pub(crate) fn run(&self, verb: &str, arguments: &[&str]) -> Result<Said> {
        let said = self.start(verb, arguments)?.end()?;
        said.must_succeed(verb)?;
        Ok(said)
    }

    /// A saved plan as JSON.
    ///
    /// # Errors
    /// When terraform cannot read it.
    pub(crate) fn show(&self, plan: &Path) -> Result<String> {
        let output = Command::new("terraform")
            .arg(format!("-chdir={}", self.module.display()))
            .args(["show", "-json"])
            .arg(plan)
            .envs([self.environment()])
            .output()
            .context("run terraform show")?;
        if !output.status.success() {
            bail!("terraform show: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Whether a plan has changes, and its output.
    ///
    /// # Errors
    /// When planning fails.
    pub(crate) fn plan(&self) -> Result<(bool, Said)> {
        let said = self.start("plan", &["-detailed-exitcode"])?.end()?;
        match said.status.code() {
            Some(0) => Ok((false, said)),
            Some(2) => Ok((true, said)),
            _ => {
                said.must_succeed("plan")?;
                bail!("terraform plan ended with {}", said.status)
            }
        }
    }
}

impl Said {
    /// # Errors
    /// When terraform failed; the error is all that it said.
    pub(crate) fn must_succeed(&self, verb: &str) -> Result<()> {
        if !self.status.success() {
            bail!(
                "terraform {verb} failed ({})\n{}{}",
                self.status,
                self.stdout,
                self.stderr
            );
        }
        Ok(())
    }

    /// The lines of a plan that show what changes in the stack's objects, moved to the left.
    pub(crate) fn object_changes(&self) -> Vec<String> {
        let lines: Vec<&str> = self.stdout.lines().collect();
        let indent = |line: &str| line.len() - line.trim_start().len();
        let Some(first) = lines
            .iter()
            .position(|line| line.trim_start().starts_with("~ objects "))
        else {
            return Vec::new();
        };
        let left = indent(lines[first]);
        // The block ends with the first line that is indented like its head, give or take the change mark before the word.
        let length = lines[first + 1..]
            .iter()
            .position(|line| indent(line) <= left + 2 && line.trim() == "}");
        let block = lines[first..]
            .iter()
            .take(length.map_or(lines.len(), |length| length + 2));
        let shown = block.filter(|line| !line.trim().is_empty() && !line.contains(" unchanged "));
        shown.map(|line| line.get(left..).unwrap_or(line).to_owned()).collect()
    }

    /// The line that starts so.
    pub(crate) fn line(&self, start: &str) -> Option<&str> {
        self.stdout.lines().find(|line| line.starts_with(start))
    }
}

/// A terraform that runs.
pub(crate) struct Running<'a> {
    child: Child,
    readers: [std::thread::JoinHandle<String>; 2],
    interrupt: &'a Interrupt,
}

impl<'a> Running<'a> {
    fn new(mut child: Child, interrupt: &'a Interrupt) -> Result<Self> {
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let stderr = child.stderr.take().context("stderr is a pipe")?;
        Ok(Self {
            child,
            readers: [collect(stdout), collect(stderr)],
            interrupt,
        })
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait().context("wait for terraform")?.is_some())
    }

    /// Waits for its end. An interrupt is passed on; terraform then has its grace, and is killed after it.
    ///
    /// # Errors
    /// When the demo is interrupted.
    pub(crate) fn end(mut self) -> Result<Said> {
        let mut kill_at = None;
        let status = loop {
            if let Some(status) = self.child.try_wait().context("wait for terraform")? {
                break status;
            }
            match kill_at {
                None if self.interrupt.has_come() => {
                    eprintln!("interrupted: waiting for terraform to stop");
                    // A Ctrl-C has reached terraform already, and a second one would make it drop everything.
                    if self.interrupt.is_ours_alone() {
                        let pid = self.child.id().to_string();
                        Command::new("kill")
                            .args(["-INT", &pid])
                            .status()
                            .context("interrupt terraform")?;
                    }
                    kill_at = Some(Instant::now() + GRACE);
                }
                Some(at) if Instant::now() > at => self.child.kill().context("kill terraform")?,
                _ => {}
            }
            std::thread::sleep(LOOK);
        };
        let [stdout, stderr] = self.readers.map(|reader| reader.join().unwrap_or_default());
        self.interrupt.check()?;
        Ok(Said { status, stdout, stderr })
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What could be read before an error is still worth showing.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> Result<()> {
    std::os::unix::fs::symlink(from, to).with_context(|| format!("link {}", to.display()))
}

#[cfg(not(unix))]
fn link(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("copy {}", to.display()))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("make {}", to.display()))?;
    for entry in std::fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry.with_context(|| format!("list {}", from.display()))?;
        let (source, copy) = (entry.path(), to.join(entry.file_name()));
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // What an earlier terraform left in the example's own folder is not part of the example.
        if name.starts_with(".terraform") || name.contains(".tfstate") {
            continue;
        }
        if entry
            .file_type()
            .with_context(|| format!("look at {}", source.display()))?
            .is_dir()
        {
            copy_folder(&source, &copy)?;
        } else {
            std::fs::copy(&source, &copy).with_context(|| format!("copy {}", source.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_plan_only_the_changes_of_objects_are_shown() {
        let plan = "\
  # myelin_stack.synapse will be updated in-place
  ~ resource \"myelin_stack\" \"synapse\" {
      ~ objects           = {
          ~ \"core/ConfigMap/synapse/optic\" = jsonencode(
              ~ {
                  ~ data = {
                      ~ A = \"1\" -> \"2\"
                        # (1 unchanged attribute hidden)
                    }
                }
            )
            # (24 unchanged elements hidden)
        }
      ~ ready             = true -> (known after apply)
    }

Plan: 0 to add, 1 to change, 0 to destroy.
";
        let said = Said {
            status: ExitStatus::default(),
            stdout: plan.to_owned(),
            stderr: String::new(),
        };
        let shown = said.object_changes();
        assert_eq!(shown.first().map(String::as_str), Some("~ objects           = {"));
        assert_eq!(shown.last().map(String::as_str), Some("  }"));
        assert!(
            shown.iter().any(|line| line.contains("~ A = \"1\" -> \"2\"")),
            "{shown:#?}"
        );
        assert!(
            !shown
                .iter()
                .any(|line| line.contains("unchanged") || line.contains("ready")),
            "{shown:#?}"
        );
    }
}
