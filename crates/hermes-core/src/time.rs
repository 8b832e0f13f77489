//! Time, as the core knows it: always an argument, never a clock.
//!
//! Two kinds are kept apart. A [`Moment`] is monotonic and says when a lease ends; a
//! [`Timestamp`] is the wall clock and is only for people and for the log. Nothing is ever decided
//! by a wall clock, which may step in either direction.

use std::fmt;
use std::time::Duration;

/// A point in the engine's own monotonic time, in milliseconds since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// The moment `duration` later, at millisecond precision, rounded up.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }

    /// How long it is from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Milliseconds of a duration, rounded up and bounded.
#[must_use]
pub fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// Wall-clock time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

/// The last millisecond of the year 9999: the latest that 24 bytes can show.
const LATEST: u64 = 253_402_300_799_999;
/// Bytes of a timestamp as text.
pub const TIMESTAMP_LENGTH: usize = 24;

impl Timestamp {
    /// RFC 3339 in UTC with milliseconds, always exactly 24 bytes: `2026-11-21T18:05:03.123Z`.
    /// The fixed length lets a timestamp be written over an older one in an encoded answer.
    #[must_use]
    pub fn to_text(self) -> [u8; TIMESTAMP_LENGTH] {
        let millis = self.0.min(LATEST);
        let (days, of_day) = (millis / 86_400_000, millis % 86_400_000);
        let (year, month, day) = civil_from_days(days);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        put(&mut text[0..4], year);
        put(&mut text[5..7], month);
        put(&mut text[8..10], day);
        put(&mut text[11..13], of_day / 3_600_000);
        put(&mut text[14..16], of_day / 60_000 % 60);
        put(&mut text[17..19], of_day / 1_000 % 60);
        put(&mut text[20..23], of_day % 1_000);
        text
    }

    /// Reads what [`Timestamp::to_text`] writes; anything else is `None`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != TIMESTAMP_LENGTH {
            return None;
        }
        let number = |range: std::ops::Range<usize>| -> Option<u64> {
            bytes[range].iter().try_fold(0, |n, b| {
                b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0'))
            })
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
            return None;
        }
        let of_day = ((number(11..13)? * 60 + number(14..16)?) * 60 + number(17..19)?) * 1_000
            + number(20..23)?;
        let read = Self(days_from_civil(year, month, day) * 86_400_000 + of_day);
        // Whatever does not read back as itself (a 30th of February, a wrong separator) is no
        // timestamp.
        (read.to_text() == bytes).then_some(read)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_text();
        f.write_str(std::str::from_utf8(&text).expect("digits and separators are ASCII"))
    }
}

/// What the clock says: both kinds of time at one instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For decisions.
    pub moment: Moment,
    /// For people.
    pub time: Timestamp,
}

/// Writes `number` in decimal, right-aligned over the zeros of `digits`.
fn put(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("a digit is below ten");
        number /= 10;
    }
}

/// Days since 1970 to year, month and day in the proleptic Gregorian calendar.
/// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The inverse, from the same source: `days_from_civil`. For years from 1970.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_795_284_303_123, "2026-11-21T18:05:03.123Z"),
            (LATEST, "9999-12-31T23:59:59.999Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(millis).to_string(), text);
        }
    }

    #[test]
    fn only_the_one_form_is_read() {
        for wrong in [
            "",
            "2026-11-21T18:05:03Z",
            "2026-02-30T18:05:03.123Z",
            "2026-11-21 18:05:03.123Z",
            "2026-11-21T24:05:03.123Z",
            "2026-11-21T18:05:03.12aZ",
            "1969-11-21T18:05:03.123Z",
        ] {
            assert_eq!(Timestamp::from_text(wrong), None, "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(millis in 0..=LATEST) {
            let text = Timestamp(millis).to_string();
            proptest::prop_assert_eq!(Timestamp::from_text(&text), Some(Timestamp(millis)));
        }
    }
}
