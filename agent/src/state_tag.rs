//! Keeps the state tag at what is wanted: one request for a change, repeated with jitter while EC2 does not take it. The newest
//! wish wins over one that waits.

use crate::backoff;
use crate::ec2::Ec2;
use crate::identity::TAG_STATE;
use crate::presence::Tag;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// Runs until nobody wishes any more. `told` says what EC2 has taken. A tag that an earlier run of the agent left is unknown at
/// first, so that the first wish is always sent, also when it is to have none.
pub async fn keep(
    ec2: Arc<Ec2>,
    instance: String,
    mut wish: watch::Receiver<Option<Tag>>,
    told: watch::Sender<Option<Tag>>,
) {
    let mut failures = 0;
    loop {
        let wanted = *wish.borrow_and_update();
        let Some(tag) = wanted.filter(|_| wanted != *told.borrow()) else {
            if wish.changed().await.is_err() {
                return;
            }
            continue;
        };
        let sent = match tag.value() {
            Some(value) => ec2.set_tag(&instance, TAG_STATE, value).await,
            None => ec2.remove_tag(&instance, TAG_STATE).await,
        };
        match sent {
            Ok(()) => {
                failures = 0;
                told.send_replace(Some(tag));
                tracing::info!(value = tag.value().unwrap_or("none"), "the state tag is set");
            }
            Err(error) => {
                failures += 1;
                let wait = backoff::full_jitter(FIRST, LONGEST, failures, rand::random());
                tracing::warn!(%error, value = tag.value().unwrap_or("none"), "the state tag cannot be set, trying again");
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    changed = wish.changed() => if changed.is_err() { return },
                }
            }
        }
    }
}
