//! The clock at the edge: where time enters, and the only place that asks the machine for it.
//!
//! The monotonic half comes from tokio, so a test that pauses tokio's clock owns every deadline. The
//! wall half is the system's, or, for tests, runs along with the monotonic one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hermes_core::time::{Moment, Now, Timestamp};
use tokio::time::Instant;

/// Where time comes from. Cheap to copy; every copy shows the same time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    /// The wall time at the start, for a wall clock that runs along with the monotonic one.
    wall_at_start: Option<Timestamp>,
}

impl Clock {
    /// The machine's clocks. Its moments count from this call.
    #[must_use]
    pub fn system() -> Self {
        Self {
            start: Instant::now(),
            wall_at_start: None,
        }
    }

    /// A clock whose wall time is `time` now and moves with tokio's clock, paused or not.
    #[must_use]
    pub fn starting_at(time: Timestamp) -> Self {
        Self {
            start: Instant::now(),
            wall_at_start: Some(time),
        }
    }

    /// The moment alone, for half the price.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Now {
        let Moment(elapsed) = self.moment();
        let time = match self.wall_at_start {
            Some(start) => Timestamp(start.0.saturating_add(elapsed)),
            None => system_time(),
        };
        Now {
            moment: Moment(elapsed),
            time,
        }
    }

    /// Waits until `moment`.
    pub async fn sleep_until(&self, moment: Moment) {
        // Deadlines beyond a year are waited for in steps; tokio's timer ends long before u64 does.
        const FAR: u64 = 365 * 24 * 60 * 60 * 1_000;
        let at = self.start + Duration::from_millis(moment.0.min(self.now().moment.0 + FAR));
        tokio::time::sleep_until(at).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the edge at which wall time enters"
)]
fn system_time() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
