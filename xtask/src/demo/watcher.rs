//! What happens in the cluster while terraform works: a line when a StatefulSet becomes ready, rolls or goes.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// The watch must be open within this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watch on the StatefulSets of a namespace, in a process of its own.
pub(crate) struct Watcher {
    child: Child,
    lines: Receiver<Value>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Every pod is ready, with this image.
    Ready(String, String),
    /// It was ready and its pods are being replaced.
    Rolls(String),
    /// It was deleted.
    Gone(String),
}

impl Watcher {
    /// Opens the watch.
    ///
    /// # Errors
    /// When the workbench does not start or cannot reach the cluster.
    pub(crate) fn open(workbench: &Path, kubeconfig: &Path, namespace: &str) -> Result<Self> {
        let mut child = Command::new(workbench)
            .args(["ready", "--namespace", namespace])
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the workbench")?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let Ok(value) = serde_json::from_str(&line) else {
                    continue;
                };
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let watcher = Self { child, lines };
        match watcher.lines.recv_timeout(PATIENCE) {
            Ok(first) if first["watching"] == true => Ok(watcher),
            other => bail!("the workbench does not watch: {other:?}"),
        }
    }

    /// What has happened since the last question.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.lines.try_iter().filter_map(|line| Event::read(&line)).collect()
    }
}

impl Event {
    fn read(line: &Value) -> Option<Self> {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        if let Some(name) = text("ready") {
            return Some(Self::Ready(name, text("image").unwrap_or_default()));
        }
        text("rolls").map(Self::Rolls).or_else(|| text("gone").map(Self::Gone))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_of_the_watch_is_read_for_what_it_says() {
        let ready = json!({"ready": "aha", "image": "aha:1"});
        assert_eq!(
            Event::read(&ready),
            Some(Event::Ready("aha".to_owned(), "aha:1".to_owned()))
        );
        assert_eq!(
            Event::read(&json!({"rolls": "axon"})),
            Some(Event::Rolls("axon".to_owned()))
        );
        assert_eq!(
            Event::read(&json!({"gone": "axon"})),
            Some(Event::Gone("axon".to_owned()))
        );
        assert_eq!(Event::read(&json!({"watching": true})), None);
    }
}
