//! The drain hook: a command that runs once per drain, with a time limit. Its environment says what drains and until
//! when; nothing else of ours reaches it.

use super::machine::{Cause, HookSeen};
use crate::config;
use crate::identity::Identity;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::watch;

/// The hook of one drain. Dropping it kills what is left of it.
#[derive(Debug)]
pub struct Running {
    seen: watch::Receiver<HookSeen>,
    group: Option<Pid>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Starts it; a hook that cannot be started counts as ended.
    #[must_use]
    pub fn start(hook: &config::Hook, identity: &Identity, causes: &[Cause], left: Duration) -> Self {
        let words: Vec<&str> = causes.iter().map(|c| c.word()).collect();
        let (tell, seen) = watch::channel(HookSeen::Running);
        let mut command = Command::new(&hook.command[0]);
        command
            .args(&hook.command[1..])
            .env("MYELIN_INSTANCE", &identity.instance)
            .env("MYELIN_CLUSTER", &identity.cluster)
            .env("MYELIN_ROLE", &identity.role)
            .env("MYELIN_DRAIN_CAUSE", words.join(", "))
            .env("MYELIN_DRAIN_SECONDS", left.as_secs().to_string())
            .stdin(Stdio::null())
            .process_group(0);
        let end = hook.timeout.0.min(left);
        let mut group = None;
        let task = match command.spawn() {
            Ok(mut child) => {
                group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
                tokio::spawn(async move {
                    match tokio::time::timeout(end, child.wait()).await {
                        Ok(Ok(status)) if status.success() => tracing::info!("the drain hook has finished"),
                        Ok(Ok(status)) => tracing::warn!(%status, "the drain hook failed"),
                        Ok(Err(error)) => tracing::warn!(%error, "the drain hook cannot be waited for"),
                        Err(_) => tracing::warn!(
                            seconds = end.as_secs(),
                            "the drain hook did not end in time and is killed"
                        ),
                    }
                    kill(group);
                    tell.send_replace(HookSeen::Ended);
                })
            }
            Err(error) => {
                tracing::warn!(program = hook.command[0], %error, "the drain hook cannot be started");
                tell.send_replace(HookSeen::Ended);
                tokio::spawn(async {})
            }
        };
        Self { seen, group, task }
    }

    /// Its state.
    #[must_use]
    pub fn seen(&self) -> HookSeen {
        *self.seen.borrow()
    }
}

/// A process group that is gone needs no signal.
fn kill(group: Option<Pid>) {
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
        if self.seen() == HookSeen::Running {
            kill(self.group);
        }
    }
}
