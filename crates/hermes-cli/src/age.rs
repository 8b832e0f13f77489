//! How long ago something was, in a word: `12s`, `4m`, `3h`, `9d`.

use std::time::Duration;

use hermes_core::time::Timestamp;

/// The time from `then`, as an answer says it, to `now`. A clock that is behind the server's makes
/// it `0s`, never a time to come.
pub(crate) fn age(then: &str, now: Timestamp) -> String {
    match Timestamp::from_text(then) {
        Some(then) => short(Duration::from_millis(now.0.saturating_sub(then.0))),
        None => "?".into(),
    }
}

/// A duration in its largest whole unit.
pub(crate) fn short(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let then = Timestamp(1_795_284_303_123);
        let after = |seconds: u64| age(&then.to_string(), Timestamp(then.0 + seconds * 1_000));
        let cases = [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (7_199, "1h"),
            (90_000, "1d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(after(seconds), text);
        }
        assert_eq!(age(&then.to_string(), Timestamp(0)), "0s");
        assert_eq!(age("yesterday", then), "?");
    }
}
