//! The workload's process: starts it in its own process group, checks its health, restarts it, and ends it on request.
//! Its output goes where the agent's goes, untouched: nothing between it and the journal could lose a line.

use super::check;
use super::restart::{Next, Restarts};
use crate::config;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Order {
    /// Keep it running.
    Run,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
}

/// How it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It runs and has not been healthy yet, with the reason of the last check.
    Starting(Option<String>),
    /// It is healthy.
    Healthy,
    /// It runs but is unhealthy, for this reason.
    Sick(String),
    /// It has ended and will be restarted soon.
    Waiting(String),
    /// It ended too often.
    Failed(String),
    /// It was stopped on request.
    Stopped,
}

impl Health {
    /// Whether a process of it may still exist.
    #[must_use]
    pub fn runs(&self) -> bool {
        matches!(self, Self::Starting(_) | Self::Healthy | Self::Sick(_))
    }

    /// One word.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting(_) => "starting",
            Self::Healthy => "healthy",
            Self::Sick(_) => "sick",
            Self::Waiting(_) => "waiting",
            Self::Failed(_) => "failed",
            Self::Stopped => "stopped",
        }
    }

    /// Why it is not healthy, if that is known.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Starting(why) => why.as_deref(),
            Self::Sick(why) | Self::Waiting(why) | Self::Failed(why) => Some(why),
            Self::Healthy | Self::Stopped => None,
        }
    }
}

/// Its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How it is.
    pub health: Health,
    /// Its process, while it runs.
    pub pid: Option<u32>,
    /// Number of restarts.
    pub restarts: u64,
}

/// Runs until the sender of orders is dropped. Without a command, the workload is run by others: only its health is
/// checked.
pub async fn supervise(config: config::Workload, mut order: watch::Receiver<Order>, tell: watch::Sender<Status>) {
    let mut restarts = Restarts::new(config.restart.clone());
    let mut count = 0;
    loop {
        let say = |health| {
            tell.send_replace(Status {
                health,
                pid: None,
                restarts: count,
            });
        };
        if *order.borrow_and_update() != Order::Run {
            say(Health::Stopped);
            if order.wait_for(|o| *o == Order::Run).await.is_err() {
                return;
            }
        }
        let began = Instant::now();
        let ended = if config.command.is_empty() {
            elsewhere(&config, &mut order, &tell).await
        } else {
            match start(&config.command) {
                Ok(child) => run(child, &config, &mut order, &tell, count).await,
                Err(error) => format!("{} cannot be started: {error}", config.command[0]),
            }
        };
        if order.has_changed().is_err() {
            return;
        }
        if *order.borrow() != Order::Run {
            continue;
        }
        match restarts.after(began.elapsed(), rand::random()) {
            Next::Again(wait) => {
                tracing::warn!(
                    why = ended,
                    wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    "the workload has ended and is started again"
                );
                say(Health::Waiting(ended));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = order.wait_for(|o| *o != Order::Run) => {}
                }
                count += 1;
            }
            Next::GiveUp => {
                tracing::error!(why = ended, "the workload has ended too often and is not started again");
                say(Health::Failed(ended));
                if order.wait_for(|o| *o != Order::Run).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn start(command: &[String]) -> std::io::Result<Child> {
    Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        // A process group that is gone needs no signal.
        let _ = kill_process_group(group, signal);
    }
}

/// Runs one process to its end; returns why it ended.
async fn run(
    mut child: Child,
    config: &config::Workload,
    order: &mut watch::Receiver<Order>,
    tell: &watch::Sender<Status>,
    restarts: u64,
) -> String {
    let pid = child.id();
    let group = pid.and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let say = |health| {
        tell.send_if_modified(|s| {
            let next = Status { health, pid, restarts };
            let changed = *s != next;
            *s = next;
            changed
        });
    };
    say(if config.health.is_some() {
        Health::Starting(None)
    } else {
        Health::Healthy
    });
    tracing::info!(pid, program = config.command[0], "the workload is started");
    let mut sick = Box::pin(watch_health(config, &say));
    let mut given_up: Option<String> = None;
    let (mut told, mut kill_at) = (false, far());
    let ended = loop {
        tokio::select! {
            ended = child.wait() => break ended,
            why = &mut sick, if given_up.is_none() => {
                tracing::warn!(why, "the workload is ended to be started again");
                given_up = Some(why);
                told = true;
                signal(group, Signal::TERM);
                kill_at = tokio::time::Instant::now() + config.grace.0;
            }
            () = tokio::time::sleep_until(kill_at) => {
                signal(group, Signal::KILL);
                kill_at = far();
            }
            changed = order.changed() => {
                let order = if changed.is_err() { Order::Kill } else { *order.borrow_and_update() };
                match order {
                    Order::Run => {}
                    Order::Terminate => {
                        told = true;
                        signal(group, Signal::TERM);
                    }
                    Order::Kill => signal(group, Signal::KILL),
                }
                if changed.is_err() {
                    break child.wait().await;
                }
            }
        }
    };
    if told {
        rest_ends(group, order, kill_at).await;
    }
    // Processes that the workload left behind would hold its port.
    signal(group, Signal::KILL);
    given_up.unwrap_or_else(|| match ended {
        Ok(status) => format!("it ended with {status}"),
        Err(error) => format!("it cannot be waited for: {error}"),
    })
}

/// Waits for what is left of a group that has its SIGTERM. A shell ends at once, while what it started still finishes its work: the grace is
/// that one's as well.
async fn rest_ends(group: Option<Pid>, order: &mut watch::Receiver<Order>, kill_at: tokio::time::Instant) {
    let left = || group.is_some_and(|group| test_kill_process_group(group).is_ok());
    while left() && *order.borrow() != Order::Kill {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
            () = tokio::time::sleep_until(kill_at) => return,
            changed = order.changed() => if changed.is_err() { return },
        }
    }
}

fn far() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(86_400 * 365)
}

/// A workload that others run: only its health is known, and it "ends" when told to.
async fn elsewhere(
    config: &config::Workload,
    order: &mut watch::Receiver<Order>,
    tell: &watch::Sender<Status>,
) -> String {
    let say = |health| {
        tell.send_if_modified(|s| {
            let changed = s.health != health;
            s.health = health;
            changed
        });
    };
    say(if config.health.is_some() {
        Health::Starting(None)
    } else {
        Health::Healthy
    });
    tokio::select! {
        why = watch_health(config, &say) => why,
        _ = order.wait_for(|o| *o != Order::Run) => String::new(),
    }
}

/// Checks repeatedly and publishes the result; returns the reason when the workload must be restarted.
async fn watch_health(config: &config::Workload, say: &impl Fn(Health)) -> String {
    let Some(health) = &config.health else {
        return std::future::pending().await;
    };
    let (mut was_healthy, mut failures, mut since) = (false, 0, Instant::now());
    loop {
        match check::ask(health).await {
            Ok(()) => {
                if !was_healthy || failures >= health.failures {
                    tracing::info!("the workload is healthy");
                }
                say(Health::Healthy);
                (was_healthy, failures, since) = (true, 0, Instant::now());
            }
            Err(why) if was_healthy => {
                failures += 1;
                if failures == health.failures {
                    tracing::warn!(why, "the workload is sick");
                }
                if failures >= health.failures {
                    say(Health::Sick(why.clone()));
                }
                if failures >= health.failures && since.elapsed() >= health.restart_after.0 {
                    return format!("it was sick for {} s: {why}", since.elapsed().as_secs());
                }
            }
            Err(why) if since.elapsed() >= config.start_timeout.0 => {
                return format!(
                    "it was not healthy {} s after its start: {why}",
                    since.elapsed().as_secs()
                );
            }
            Err(why) => say(Health::Starting(Some(why))),
        }
        tokio::time::sleep(health.interval.0).await;
    }
}
