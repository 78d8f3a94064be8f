//! Ctrl-C and SIGTERM become a flag, so that a task ends the processes it has started before it ends itself.
//!
//! The terminal sends Ctrl-C to every process of the foreground group: terraform gets it too and stops by its own
//! rules.

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody asked the task to stop.
#[derive(Clone, Debug)]
pub(crate) struct Interrupt {
    came: Arc<AtomicBool>,
    /// Whether it was SIGTERM, which comes to this process alone.
    to_us_alone: Arc<AtomicBool>,
}

impl Interrupt {
    /// Starts listening. A second signal ends the process at once, as without a handler.
    ///
    /// # Errors
    /// When the operating system refuses the handler.
    pub(crate) fn listen() -> Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        let to_us_alone = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // The order matters: at the first signal the flag is still down, at the second it is up.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&came))
                .context("listen to signals")?;
            signal_hook::flag::register(signal, Arc::clone(&came)).context("listen to signals")?;
        }
        signal_hook::flag::register(SIGTERM, Arc::clone(&to_us_alone)).context("listen to signals")?;
        Ok(Self { came, to_us_alone })
    }

    /// Whether a signal has come.
    pub(crate) fn has_come(&self) -> bool {
        self.came.load(Ordering::Relaxed)
    }

    /// Whether the processes that we started have not heard of it.
    pub(crate) fn is_ours_alone(&self) -> bool {
        self.to_us_alone.load(Ordering::Relaxed)
    }

    /// # Errors
    /// When a signal has come: the task unwinds and its guards end what it started.
    pub(crate) fn check(&self) -> Result<()> {
        if self.has_come() {
            bail!("interrupted");
        }
        Ok(())
    }
}
