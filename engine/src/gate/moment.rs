//! Points in time for gates: whole milliseconds, supplied by the caller.
//!
//! Nothing here reads a clock.

use std::time::Duration;

/// Milliseconds since the Unix epoch, on the caller's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub i64);

impl Moment {
    /// This moment plus `later`.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(later.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero if it is in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads a timestamp as the API writes it (RFC 3339); `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_still_to_come_was_zero_ago() {
        assert_eq!(Moment(5).since(Moment(9)), Duration::ZERO);
        assert_eq!(Moment(9).since(Moment(5)), Duration::from_millis(4));
        assert_eq!(Moment(i64::MAX).plus(Duration::MAX), Moment(i64::MAX));
    }

    #[test]
    fn only_timestamps_parse() {
        assert_eq!(Moment::parse("1970-01-01T00:00:02Z"), Some(Moment(2000)));
        assert_eq!(Moment::parse("1970-01-01T00:00:02.250000Z"), Some(Moment(2250)));
        assert_eq!(Moment::parse("<t+3s>"), None);
        assert_eq!(Moment::parse(""), None);
    }
}
