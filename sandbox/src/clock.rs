//! Virtual time. Everything in the sandbox that waits, waits on this clock, so that a test can speed time up or step it.
//!
//! It deliberately does not govern the wire: timeouts of HTTP watches and TLS run in real time, because clients do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

/// A shared virtual clock. It starts at the real time and runs at a chosen speed; cloning gives another hand of the same clock.
///
/// A controller does `clock.sleep(Duration::from_secs(10)).await` and stamps objects with `clock.timestamp()`; it never
/// calls `tokio::time::sleep` or `SystemTime::now`.
#[derive(Clone, Debug)]
pub struct Clock {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    virtual_base: Timestamp,
    real_base: Instant,
    speed: f64,
}

impl State {
    fn now(&self) -> Timestamp {
        let elapsed = self.real_base.elapsed().as_secs_f64() * self.speed;
        shifted(self.virtual_base, Duration::from_secs_f64(elapsed))
    }
}

/// A time plus a duration, saturating at the end of time.
fn shifted(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

impl Clock {
    /// A clock that shows the real time now and runs `speed` times as fast. At a speed of 0 it stops until `advance`.
    pub fn new(speed: f64) -> Self {
        let state = State {
            virtual_base: Timestamp::now(),
            real_base: Instant::now(),
            speed: sane(speed),
        };
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                changed: watch::Sender::new(0),
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The virtual time.
    pub fn now(&self) -> Timestamp {
        self.state().now()
    }

    /// The virtual time as Kubernetes writes it in `metav1.Time`: RFC 3339 in whole seconds.
    pub fn timestamp(&self) -> String {
        seconds(self.now())
    }

    /// The virtual time as Kubernetes writes it in `metav1.MicroTime`.
    pub fn micro_timestamp(&self) -> String {
        self.now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
    }

    /// How many virtual seconds pass in a real one.
    pub fn speed(&self) -> f64 {
        self.state().speed
    }

    /// Run at another speed from now on; sleepers notice at once.
    pub fn set_speed(&self, speed: f64) {
        {
            let mut state = self.state();
            let now = state.now();
            *state = State {
                virtual_base: now,
                real_base: Instant::now(),
                speed: sane(speed),
            };
        }
        self.inner.changed.send_modify(|n| *n += 1);
    }

    /// Jump ahead; everyone whose time has come wakes.
    pub fn advance(&self, by: Duration) {
        {
            let mut state = self.state();
            let now = shifted(state.now(), by);
            *state = State {
                virtual_base: now,
                real_base: Instant::now(),
                speed: state.speed,
            };
        }
        self.inner.changed.send_modify(|n| *n += 1);
    }

    /// Wait for a span of virtual time.
    pub async fn sleep(&self, span: Duration) {
        let until = shifted(self.now(), span);
        self.sleep_until(until).await;
    }

    /// Wait until the virtual clock shows `until` or later.
    pub async fn sleep_until(&self, until: Timestamp) {
        let mut changed = self.inner.changed.subscribe();
        loop {
            let state = *changed_state(self);
            let left = until.duration_since(state.now());
            if left <= SignedDuration::ZERO {
                return;
            }
            // A waiter sleeps at most an hour at a time: a frozen clock is woken by `changed` alone.
            let real = if state.speed > 0.0 {
                (left.as_secs_f64() / state.speed).min(3600.0)
            } else {
                3600.0
            };
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs_f64(real.max(0.0005))) => {}
                _ = changed.changed() => {}
            }
        }
    }
}

fn changed_state(clock: &Clock) -> MutexGuard<'_, State> {
    clock.state()
}

fn sane(speed: f64) -> f64 {
    if speed.is_finite() { speed.clamp(0.0, 1e6) } else { 1.0 }
}

/// A time as `metav1.Time` shows it.
pub fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frozen_clock_wakes_its_sleepers_when_it_is_advanced() {
        let clock = Clock::new(0.0);
        let sleeper = {
            let clock = clock.clone();
            tokio::spawn(async move { clock.sleep(Duration::from_secs(3600)).await })
        };
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(3601));
        tokio::time::timeout(Duration::from_secs(5), sleeper)
            .await
            .unwrap()
            .unwrap();
    }

    #[tokio::test]
    async fn a_fast_clock_sleeps_shorter_than_it_says() {
        let clock = Clock::new(1000.0);
        let begun = Instant::now();
        clock.sleep(Duration::from_secs(100)).await;
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
