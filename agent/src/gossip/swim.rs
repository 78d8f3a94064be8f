//! SWIM's settings, by the size of the cluster. Pure.

use super::codec::TEXT;
use foca::{Config, PeriodicParams};
use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// How often an update is passed on, by the number of digits of the cluster's size.
const TRANSMISSIONS: [u8; 5] = [8, 12, 18, 24, 30];

fn nonzero(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

/// SWIM's settings for a cluster of this size: one probe a second; suspicion and repetitions grow with the logarithm.
/// Both are half as much again as foca's own for a LAN. With a tenth of all packets lost, suspected nodes were
/// otherwise declared down before they could refute it, and single nodes missed what hundreds had received
/// (`tests/it/clusters.rs`).
pub(super) fn settings(size: u32) -> Config {
    let every = |frequency, members| {
        Some(PeriodicParams {
            frequency,
            num_members: nonzero(members),
        })
    };
    let logarithm = f64::from(size.max(10)).log10();
    Config {
        suspect_to_down_after: Duration::from_secs_f64(6.0 * logarithm),
        max_transmissions: NonZeroU8::new(TRANSMISSIONS[digits(size).min(TRANSMISSIONS.len()) - 1])
            .unwrap_or(NonZeroU8::MIN),
        max_packet_size: nonzero(TEXT),
        // An instance that has been gone for an hour does not come back, and its name is never used again.
        remove_down_after: Some(Duration::from_secs(3_600)),
        // Complete lists do this.
        periodic_announce: None,
        // This heals a partition: each side keeps contacting some of the members that it lost.
        periodic_announce_to_down_members: every(Duration::from_secs(20), 2),
        periodic_gossip: every(Duration::from_millis(250), 3),
        ..Config::new_lan(NonZeroU32::new(size.max(2)).unwrap_or(NonZeroU32::MIN))
    }
}

/// Decimal digits of a size.
fn digits(size: u32) -> usize {
    size.max(1).ilog10() as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspicion_and_repetitions_grow_with_the_logarithm_and_have_an_end() {
        let of = |size| {
            let all = settings(size);
            (all.suspect_to_down_after.as_secs(), all.max_transmissions.get())
        };
        assert_eq!(
            [1, 9, 10, 100, 1_000, 10_000, u32::MAX].map(of),
            [(6, 8), (6, 8), (6, 12), (12, 18), (18, 24), (24, 30), (57, 30)]
        );
    }
}
