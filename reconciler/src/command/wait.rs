//! Waits for a source after a command: shows its status and what its stacks wait for, live, up to a deadline.

use super::exit;
use crate::control::{Board, Status};
use crate::output::{Colour, short};
use crate::pause::Pause;
use crate::tree::printable;
use anyhow::bail;
use clap::Args;
use myelin_engine::document::parse_duration;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;
use tokio::time::Instant;

/// Whether and how long to wait.
#[derive(Debug, Args)]
pub(crate) struct WaitArguments {
    /// Wait until the source has done it and everything is ready; show what it waits for.
    #[arg(long, short)]
    wait: bool,
    /// End of the wait.
    #[arg(long, default_value = "5m", value_name = "DURATION")]
    timeout: String,
}

impl WaitArguments {
    /// How long to wait; None for not at all.
    ///
    /// # Errors
    /// When the timeout is no duration.
    pub(crate) fn limit(&self) -> anyhow::Result<Option<Duration>> {
        let limit = parse_duration(&self.timeout).map_err(|why| anyhow::anyhow!("--timeout: {why}"))?;
        Ok(self.wait.then_some(limit))
    }
}

/// Waits until the source has acknowledged `request` and has a result. Ready (or suspended, if that was requested) is
/// success.
///
/// # Errors
/// When the cluster does not answer, or at the deadline with the last report.
pub(crate) async fn until_done(limit: Duration, board: &Board, request: &str) -> anyhow::Result<u8> {
    let end = Instant::now() + limit;
    let mut screen = Screen::new();
    let mut changes = board.statuses();
    let mut pause = Pause::default();
    let mut last = Status::default();
    let mut heard = false;
    loop {
        let next = tokio::time::timeout_at(end, changes.next()).await;
        let status = match next {
            Err(_) => {
                screen.end();
                let limit = limit.as_secs_f64();
                if !heard {
                    bail!("within {limit} s the source did not take notice; does `myelin run` run?");
                }
                let why = if last.message.is_empty() {
                    String::new()
                } else {
                    format!(": {}", last.message)
                };
                bail!("the source did not finish within {limit} s; it is {}{why}", last.state);
            }
            Ok(Ok(status)) => status,
            Ok(Err(error)) if error.is_denied() => return Err(error.into()),
            Ok(Err(_)) => {
                pause.rest().await;
                continue;
            }
        };
        pause.reset();
        heard = status.heard.as_deref() == Some(request);
        // Reports from before the acknowledgement do not count.
        if heard {
            screen.show(&status);
        }
        let code = match status.state.as_str() {
            _ if !heard => None,
            "ready" | "suspended" => Some(exit::OK),
            "failed" | "rejected" | "refused" | "unreachable" => Some(exit::FAILED),
            _ => None,
        };
        last = status;
        if let Some(code) = code {
            screen.end();
            for line in last.message.lines() {
                eprintln!("{}", printable(line));
            }
            return Ok(code);
        }
    }
}

/// On a terminal one line that changes; elsewhere a line for each change.
struct Screen {
    terminal: bool,
    last: String,
    began: std::time::Instant,
}

impl Screen {
    fn new() -> Self {
        Self {
            terminal: std::io::stdout().is_terminal(),
            last: String::new(),
            began: std::time::Instant::now(),
        }
    }

    fn show(&mut self, status: &Status) {
        let commit = status.commit.as_deref().map_or("no commit", short);
        let mut plain = format!("{} at {commit}", status.state);
        if let Some((object, why)) = status.waiting.first_key_value() {
            plain.push_str(&format!("; {object}: {why}"));
            if status.waiting.len() > 1 {
                plain.push_str(&format!(" (and {} more)", status.waiting.len() - 1));
            }
        }
        let plain = printable(&plain);
        if plain == self.last {
            return;
        }
        let line = plain.replacen(&status.state, &Colour::of_stdout().state(&status.state), 1);
        let mut out = std::io::stdout().lock();
        // Progress is not worth an error when nobody reads it.
        let _ = if self.terminal {
            write!(out, "\r\u{1b}[2K{:>4}s  {line}", self.began.elapsed().as_secs())
        } else {
            writeln!(out, "{line}")
        };
        let _ = out.flush();
        self.last = plain;
    }

    fn end(&self) {
        if self.terminal && !self.last.is_empty() {
            println!();
        }
    }
}
