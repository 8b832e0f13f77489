//! When a check is due: at every multiple of its interval, shifted by a phase of its own.
//!
//! The phase is a hash of what is probed, so that the probes of a registry spread evenly over the
//! interval and stay where they are: neither a restart nor a burst of registrations makes a storm.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use hermes_core::check::Check;
use hermes_core::name::{EndpointId, ServiceKey};
use hermes_core::time::{Moment, whole_millis};

/// The due times of one check: `k * interval + phase`, in the engine's milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rhythm {
    interval: u64,
    phase: u64,
}

impl Rhythm {
    /// The rhythm of the check `check` of an endpoint; the same for the same names.
    pub(super) fn of(service: &ServiceKey, id: &EndpointId, check: &Check) -> Self {
        let interval = whole_millis(check.interval).max(1);
        let mut hasher = DefaultHasher::new();
        (service, id, &check.name).hash(&mut hasher);
        Self {
            interval,
            phase: hasher.finish() % interval,
        }
    }

    /// The first due time after `now`.
    pub(super) fn next_after(self, now: Moment) -> Moment {
        let passed = match now.0.checked_sub(self.phase) {
            Some(since) => since / self.interval + 1,
            None => 0,
        };
        Moment(
            passed
                .saturating_mul(self.interval)
                .saturating_add(self.phase),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hermes_core::check::CheckKind;
    use hermes_core::name::Name;
    use proptest::prelude::*;

    use super::*;

    fn rhythm(endpoint: usize, interval: Duration) -> Rhythm {
        let service = ServiceKey::new(Name::default_namespace(), Name::parse("web").unwrap());
        let id = EndpointId::parse(&format!("web-{endpoint}")).unwrap();
        let check = Check {
            interval,
            ..Check::new(CheckKind::Tcp)
        };
        Rhythm::of(&service, &id, &check)
    }

    #[test]
    fn phases_spread_evenly_over_the_interval() {
        const ENDPOINTS: usize = 30_000;
        let mut seconds = [0usize; 30];
        for endpoint in 0..ENDPOINTS {
            let due = rhythm(endpoint, Duration::from_secs(30)).next_after(Moment(0));
            seconds[usize::try_from(due.0 / 1_000).unwrap() % 30] += 1;
        }
        // A thousand are expected in each second; five standard deviations are 158.
        assert!(
            seconds.iter().all(|count| (842..1_158).contains(count)),
            "{seconds:?}"
        );
    }

    #[test]
    fn the_phase_of_a_check_is_always_the_same() {
        let interval = Duration::from_secs(30);
        assert_eq!(rhythm(1, interval), rhythm(1, interval));
        assert_ne!(rhythm(1, interval), rhythm(2, interval));
    }

    #[test]
    fn an_interval_of_nothing_is_one_millisecond() {
        let rhythm = rhythm(1, Duration::ZERO);
        assert_eq!(rhythm.next_after(Moment(7)), Moment(8));
    }

    proptest! {
        #[test]
        fn the_next_due_time_is_within_one_interval(
            endpoint in 0usize..100,
            interval in 1u64..100_000,
            now in 0u64..1_000_000,
        ) {
            let rhythm = rhythm(endpoint, Duration::from_millis(interval));
            let next = rhythm.next_after(Moment(now));
            prop_assert!(next.0 > now && next.0 <= now + interval);
            prop_assert_eq!(next.0 % interval, rhythm.phase);
        }
    }
}
