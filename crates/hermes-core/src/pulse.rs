//! What moves without a change: the lease, the last heartbeat, the reported load, the selections.
//!
//! None of this enters the log, so none of it may cost a write. It is a handful of atomics that an
//! endpoint keeps from its registration to its removal, through every revision between.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::damping::Damping;
use crate::lease::{Lease, LeaseClosed};
use crate::time::{Moment, Now, Timestamp};

/// Seconds that count as recent for [`Pulse::recent_selections`].
const RECENT_SECONDS: usize = 10;

/// The moving part of an endpoint.
#[derive(Debug)]
pub struct Pulse {
    /// The promise that it stays registered until a deadline.
    pub lease: Lease,
    /// How much its health went to and fro lately.
    pub damping: Damping,
    last_heartbeat: AtomicU64,
    /// The same by the monotonic clock, which decides; the wall clock is only shown.
    last_beat: AtomicU64,
    /// The reported load as the bits of an `f64`; NaN until one is reported.
    load: AtomicU64,
    /// The moment at which the engine looks at the lease next; only the engine touches it.
    pub scheduled: AtomicU64,
    /// For each of the last ten seconds: the second above, the selections in it below. Made with
    /// the first selection, because most endpoints of a large registry never see one.
    selections: OnceLock<Box<[AtomicU64; RECENT_SECONDS]>>,
}

impl Pulse {
    /// The pulse of an endpoint that was heard from at `heard`, with a lease that begins at `now`.
    #[must_use]
    pub fn new(ttl: Option<Duration>, now: Now, heard: Timestamp) -> Self {
        Self {
            lease: Lease::new(ttl, now.moment),
            damping: Damping::default(),
            last_beat: AtomicU64::new(now.moment.0),
            last_heartbeat: AtomicU64::new(heard.0),
            load: AtomicU64::new(f64::NAN.to_bits()),
            scheduled: AtomicU64::new(u64::MAX),
            selections: OnceLock::new(),
        }
    }

    /// A heartbeat.
    ///
    /// # Errors
    /// When the lease is closed: the endpoint is being removed, or is gone.
    pub fn beat(&self, now: Now) -> Result<(), LeaseClosed> {
        self.lease.renew(now.moment)?;
        self.hear(now);
        Ok(())
    }

    /// The endpoint registered again: its lease is open, with this TTL, and it was heard from.
    pub fn begin(&self, ttl: Option<Duration>, now: Now) {
        self.lease.begin(ttl, now.moment);
        self.hear(now);
    }

    fn hear(&self, now: Now) {
        self.last_heartbeat.fetch_max(now.time.0, Ordering::Relaxed);
        self.last_beat.fetch_max(now.moment.0, Ordering::Relaxed);
    }

    /// How long nothing was heard, since this server knows the endpoint.
    #[must_use]
    pub fn silent_for(&self, now: Moment) -> Duration {
        now.since(Moment(self.last_beat.load(Ordering::Relaxed)))
    }

    /// The later of the registration and the last accepted heartbeat.
    #[must_use]
    pub fn last_heartbeat(&self) -> Timestamp {
        Timestamp(self.last_heartbeat.load(Ordering::Relaxed))
    }

    /// Notes the load that a heartbeat reported.
    pub fn report_load(&self, load: f64) {
        self.load.store(load.to_bits(), Ordering::Relaxed);
    }

    /// The load that was last reported.
    #[must_use]
    pub fn load(&self) -> Option<f64> {
        let load = f64::from_bits(self.load.load(Ordering::Relaxed));
        (!load.is_nan()).then_some(load)
    }

    /// Counts one selection.
    pub fn count_selection(&self, now: Moment) {
        let second = now.0 / 1_000;
        let seconds = self
            .selections
            .get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))));
        let cell = &seconds[slot_of(second)];
        let seen = cell.load(Ordering::Relaxed);
        let next = if seen >> 32 == second {
            seen + 1
        } else {
            second << 32 | 1
        };
        // A lost race loses one count of a statistic, which is cheaper than a loop.
        let _lost = cell.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Selections by this server in the last ten seconds.
    #[must_use]
    pub fn recent_selections(&self, now: Moment) -> u64 {
        let Some(seconds) = self.selections.get() else {
            return 0;
        };
        let second = now.0 / 1_000;
        let recent = |cell: &AtomicU64| {
            let seen = cell.load(Ordering::Relaxed);
            let age = second.saturating_sub(seen >> 32);
            if age < RECENT_SECONDS as u64 {
                seen & 0xffff_ffff
            } else {
                0
            }
        };
        seconds.iter().map(recent).sum()
    }
}

/// The cell of a second.
fn slot_of(second: u64) -> usize {
    usize::try_from(second % RECENT_SECONDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now {
            moment: Moment(millis),
            time: Timestamp(1_000_000 + millis),
        }
    }

    #[test]
    fn selections_are_forgotten_after_ten_seconds() {
        let pulse = Pulse::new(None, at(0), Timestamp(0));
        for second in 0..20 {
            pulse.count_selection(at(second * 1_000).moment);
            pulse.count_selection(at(second * 1_000 + 500).moment);
        }
        assert_eq!(pulse.recent_selections(at(19_900).moment), 20);
        assert_eq!(pulse.recent_selections(at(24_900).moment), 10);
        assert_eq!(pulse.recent_selections(at(60_000).moment), 0);
    }

    #[test]
    fn the_last_heartbeat_never_goes_back() {
        let pulse = Pulse::new(None, at(0), Timestamp(500));
        pulse.beat(at(100)).unwrap();
        pulse.beat(at(50)).unwrap();
        assert_eq!(pulse.last_heartbeat(), Timestamp(1_000_100));
        assert_eq!(pulse.load(), None);
        pulse.report_load(0.5);
        assert_eq!(pulse.load(), Some(0.5));
    }
}
