//! How long to wait before the next attempt: full jitter below a bound that doubles up to a maximum. Pure; randomness
//! is an argument.

use std::time::Duration;

/// A wait between zero and `first` doubled `failures - 1` times, at most `longest`. `chance` is from 0 to 1.
#[must_use]
pub fn full_jitter(first: Duration, longest: Duration, failures: u32, chance: f64) -> Duration {
    let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let bound = first.saturating_mul(doubled).min(longest);
    bound.mul_f64(chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_to_the_longest_and_chance_spreads_below_it() {
        let wait = |n, chance| full_jitter(Duration::from_secs(1), Duration::from_secs(60), n, chance).as_millis();
        let bounds: Vec<u128> = [1, 2, 3, 7, 8, 200].map(|n| wait(n, 1.0)).into();
        assert_eq!(bounds, [1_000, 2_000, 4_000, 60_000, 60_000, 60_000]);
        assert_eq!((wait(3, 0.0), wait(3, 0.5), wait(3, 7.0)), (0, 2_000, 4_000));
    }
}
