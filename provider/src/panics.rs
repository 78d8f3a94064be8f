//! Panics: inside a call, a panic becomes an error of that call; outside, a report that Terraform shows.
//!
//! Terraform collects what follows a line that begins with `panic: ` and prints it as "Stack trace from the plugin"; it
//! does not recognize the output of Rust's own hook. Panic messages are ours, so they contain no value of a user.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

use crate::diagnostic::Diagnostic;
use crate::log;

tokio::task_local! {
    /// Set while a call runs: the name of the RPC.
    static CALL: &'static str;
}

thread_local! {
    /// Where the last panic of this thread happened, for the call that catches it.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Installs the hook. Once, first thing.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = payload_text(info.payload());
        let backtrace = Backtrace::force_capture();
        if let Ok(rpc) = CALL.try_with(|rpc| *rpc) {
            PLACE.with(|cell| *cell.borrow_mut() = Some(place.clone()));
            tracing::error!(rpc, place, backtrace = %backtrace, "a call panicked: {message}");
        } else {
            log::write_raw(&report(&message, &place, &backtrace.to_string()));
        }
    }));
}

/// What Terraform shows as the plugin's stack trace: it begins with `panic: ` and has at most a hundred lines.
fn report(message: &str, place: &str, backtrace: &str) -> String {
    let mut text = format!("panic: {message}\n\nat {place}\n");
    for line in backtrace.lines().take(90) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn payload_text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    payload
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| "without a message".to_owned())
}

/// Runs a call. A panic in it comes back as the diagnostic that the call should answer with.
///
/// # Errors
/// The diagnostic, if it panicked.
pub async fn catch<T>(rpc: &'static str, call: impl Future<Output = T>) -> Result<T, Diagnostic> {
    CALL.scope(rpc, AssertUnwindSafe(call).catch_unwind()).await.map_err(|payload| {
        let place = PLACE.with(|cell| cell.borrow_mut().take()).unwrap_or_else(|| "an unknown place".to_owned());
        Diagnostic::error(
            "Bug in the Myelin provider",
            format!(
                "{rpc} panicked at {place}: {}.\n\nWhat was already done is in the stack's record; running the command \
                 again continues from there. Please report this with the output of TF_LOG_PROVIDER=error.",
                payload_text(payload.as_ref())
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_call_is_its_diagnostic() {
        install_hook();
        let answer = catch("PlanResourceChange", async {
            if true {
                panic!("no {}", "luck");
            }
            1
        })
        .await;
        let problem = answer.expect_err("a diagnostic");
        assert!(
            problem.detail.contains("PlanResourceChange panicked at"),
            "{}",
            problem.detail
        );
        assert!(
            problem.detail.contains("panics.rs") && problem.detail.contains("no luck"),
            "{}",
            problem.detail
        );
        assert_eq!(catch("Stop", async { 7 }).await, Ok(7));
    }

    #[test]
    fn a_panic_outside_a_call_is_a_report_that_terraform_collects() {
        let text = report("no luck", "src/x.rs:1:2", &"frame\n".repeat(500));
        assert!(text.starts_with("panic: no luck\n\nat src/x.rs:1:2\nframe\n"), "{text}");
        assert!(text.lines().count() <= 100);
    }
}
