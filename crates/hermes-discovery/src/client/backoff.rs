//! How long to wait before asking again.

use std::time::Duration;

/// The first wait is at most so long.
const FIRST: Duration = Duration::from_millis(500);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(15);

/// Waits that double from half a second to 15 s, each somewhere between half of it and all of it:
/// when a server returns, its clients must not return in step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The next wait.
    pub fn wait(&mut self) -> Duration {
        let longest = FIRST
            .saturating_mul(2_u32.saturating_pow(self.failures))
            .min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// It worked: the next wait is a first one again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_bound_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        for longest in [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000].map(Duration::from_millis)
        {
            let wait = backoff.wait();
            assert!(
                (longest / 2..=longest).contains(&wait),
                "{wait:?} {longest:?}"
            );
        }
        for _ in 0..100 {
            assert!(backoff.wait() <= LONGEST);
        }
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
