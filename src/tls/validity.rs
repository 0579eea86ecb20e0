//! How long certificates are valid, so that machines whose clocks stand wrong still take them. Pure.
use std::time::Duration;

use jiff::tz::TimeZone;

use crate::base::clock::Time;

/// 2026-01-01: no certificate is younger than this program, so a visitor or a board whose clock woke in the past accepts it.
const WRITTEN: Time = Time(1_767_225_600_000);
const DAY: Duration = Duration::from_secs(24 * 3600);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// The CA outlives the machines it is installed on.
const CA_YEARS: u32 = 20;
/// Some systems accept none of more than 825 days; a board whose clock woke in the past would accept none so short.
const LEAF_YEARS: u32 = 10;

pub(crate) fn of_ca(now: Time) -> (Time, Time) {
    (since(now), now.max(WRITTEN).plus(YEAR * CA_YEARS))
}

/// A leaf does not outlive its issuer.
pub(crate) fn of_leaf(now: Time, issuer_until: Time) -> (Time, Time) {
    (since(now), now.max(WRITTEN).plus(YEAR * LEAF_YEARS).min(issuer_until))
}

fn since(now: Time) -> Time {
    let day = u64::try_from(DAY.as_millis()).unwrap_or(u64::MAX);
    Time(now.0.saturating_sub(day)).min(WRITTEN)
}

/// Year, month and day, as certificates are dated here.
pub(crate) fn date(time: Time) -> (i32, u8, u8) {
    let stamp = i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let date = stamp.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC).date();
    // RFC 5280 section 4.1.2.5.2: the last year that can be written.
    (i32::from(date.year()), date.month().unsigned_abs(), date.day().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_the_past_or_in_the_future_does_no_harm() {
        let now = Time::parse("2026-11-22T06:00:00Z").unwrap();
        let (from, until) = of_ca(now);
        assert_eq!((date(from), date(until)), ((2026, 1, 1), (2046, 11, 17)));
        // A board without a clock.
        let (from, until) = of_ca(Time(0));
        assert_eq!((date(from), date(until)), ((1970, 1, 1), (2045, 12, 27)));
        let (from, until) = of_leaf(Time(0), until);
        assert_eq!((date(from), date(until)), ((1970, 1, 1), (2035, 12, 30)));
        let (_, until) = of_leaf(now.plus(YEAR * 15), of_ca(now).1);
        assert_eq!(until, of_ca(now).1, "a leaf does not outlive its issuer");
        assert_eq!(date(Time(u64::MAX)), (1970, 1, 1));
    }
}
