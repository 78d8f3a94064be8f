//! A `myelin-sandbox` in a process of its own, which is ended when this is dropped.

use crate::built::Programs;
use crate::interrupt::Interrupt;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// It must serve within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running sandbox.
pub(crate) struct Sandbox {
    child: Option<Child>,
    pid: u32,
    /// The kubeconfig that reaches it.
    pub(crate) kubeconfig: PathBuf,
    /// The URL it serves.
    pub(crate) server: String,
    /// What AWS tools need to find its EC2, and its token: names and values of the environment.
    pub(crate) environment: Vec<(String, String)>,
}

impl Sandbox {
    /// Starts one and waits until it serves. Its output and its kubeconfig go to `folder`.
    ///
    /// # Errors
    /// When it does not serve in time, with its output.
    pub(crate) fn start(programs: &Programs, folder: &Path, interrupt: &Interrupt) -> Result<Self> {
        let kubeconfig = folder.join("kubeconfig");
        // Files, not pipes: it may outlive us.
        let (out, log) = (folder.join("sandbox.out"), folder.join("sandbox.log"));
        let mut command = Command::new(programs.path("myelin-sandbox")?);
        command
            .arg("up")
            .arg("--kubeconfig")
            .arg(&kubeconfig)
            .stdin(Stdio::null())
            .stdout(File::create(&out).context("make the sandbox's output file")?)
            .stderr(File::create(&log).context("make the sandbox's log file")?);
        // A group of its own: a Ctrl-C at the terminal must not take it away from under a terraform that is stopping.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.spawn().context("start the sandbox")?;
        let mut sandbox = Self {
            pid: child.id(),
            child: Some(child),
            kubeconfig,
            server: String::new(),
            environment: Vec::new(),
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            interrupt.check()?;
            let said = std::fs::read_to_string(&out).unwrap_or_default();
            // It prints its environment once it serves and the kubeconfig is written.
            if let Some(server) = said
                .lines()
                .find_map(|line| line.strip_prefix("export MYELIN_SANDBOX_URL="))
            {
                server.trim().clone_into(&mut sandbox.server);
                // Its token comes after the address; the whole of the file is there when the last line is.
                if said.contains("export MYELIN_SANDBOX_TOKEN=") && said.ends_with('\n') {
                    sandbox.environment = exports(&said);
                    return Ok(sandbox);
                }
            }
            let ended = sandbox
                .child
                .as_mut()
                .map(Child::try_wait)
                .transpose()
                .context("look at the sandbox")?
                .flatten();
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("the sandbox does not serve ({ended:?})\n{said}{log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A variable of its environment.
    ///
    /// # Errors
    /// When it did not tell it.
    pub(crate) fn variable(&self, name: &str) -> Result<&str> {
        let found = self.environment.iter().find(|(own, _)| own == name);
        found
            .map(|(_, value)| value.as_str())
            .with_context(|| format!("the sandbox did not tell {name}"))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Lets it run on after us.
    pub(crate) fn leave(mut self) {
        self.child = None;
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; then there is nothing to end.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The variables that it prints for a shell, except the kubeconfig, which the caller chose.
fn exports(said: &str) -> Vec<(String, String)> {
    let lines = said.lines().filter_map(|line| line.strip_prefix("export "));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .filter(|(name, _)| *name != "KUBECONFIG")
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_what_the_sandbox_exports() {
        let said = "# words\nexport KUBECONFIG=/k\nunset AWS_PROFILE\nexport AWS_REGION=us-east-1\nexport MYELIN_SANDBOX_TOKEN=t\n";
        let found = exports(said);
        assert_eq!(
            found,
            [("AWS_REGION", "us-east-1"), ("MYELIN_SANDBOX_TOKEN", "t")].map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
    }
}
