//! Applies a token that is a document of its own: observe, plan, apply, and once more if another run was faster.
//!
//! The executor is the stack's. If two runs start at once, both plan a mint. The record lets one of them write its
//! pending marker; the other observes again, and finds a value or one that is being minted. A stack's apply reports the
//! same situation as an error, because much more than a token may have changed meanwhile.

use super::{Outcome, Run, apply};
use crate::cluster::Cluster;
use crate::desired::Desired;
use crate::diagnostic::Diagnostics;
use crate::observe::{DryRun, observe};
use crate::plan::plan;
use crate::record::Owner;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a run that was overtaken observes again.
const TRIES: u32 = 8;

/// Brings one token to what its document says ([`crate::desired::lone_token`]). True on every exit, as [`apply`] is.
///
/// # Errors
/// When the cluster cannot be observed; nothing was changed then.
pub async fn apply_token(
    cluster: Arc<dyn Cluster>,
    desired: &Arc<Desired>,
    owner: &Owner,
    run: &Run,
) -> Result<Outcome, Diagnostics> {
    let deadline = Instant::now() + desired.policy.timeout;
    let mut tries = 0;
    loop {
        let seen = observe(&*cluster, desired, DryRun::Decisions).await?;
        let plan = plan(Arc::clone(desired), Arc::new(seen), owner.clone());
        let outcome = apply(Arc::clone(&cluster), &plan, run).await;
        tries += 1;
        if !outcome.superseded || tries >= TRIES || Instant::now() >= deadline || run.cancel.is_cancelled() {
            return Ok(outcome);
        }
        tracing::debug!(token = %desired.stack, tries, "another run wrote the record; looking again");
        let pause = Duration::from_millis(rand::random_range(20..=100) << tries.min(4));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = run.cancel.cancelled() => return Ok(outcome),
        }
    }
}
