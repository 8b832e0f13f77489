//! Rates: how many requests one key or one address may make.
//!
//! The generic cell rate algorithm (ITU-T I.371): for each subject one number, the time at which it
//! will have made up for what it has asked. A subject whose time has come has no past, so forgetting it
//! costs nothing, and the table stays small. It has a limit all the same: when nobody can be forgotten,
//! newcomers share one number among them until somebody can.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use foldhash::fast::RandomState;
use hermes_core::time::Moment;

use super::secret::KeyId;

/// Parts of the table, each with a lock of its own.
const PARTS: usize = 16;
/// Subjects in one part.
const SUBJECTS_MAX: usize = 4_096;
/// How often a full part is searched for subjects that can be forgotten.
const SEARCH_EVERY: u64 = 100_000_000;

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Subject {
    /// Whoever uses this key.
    Key(KeyId),
    /// Whoever comes from here; of IPv6 the first half, which is what one customer is given.
    Address(u128),
    /// All who came when the table was full.
    Newcomers,
}

impl Subject {
    /// Whoever comes from `address`.
    pub(crate) fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::Address(u128::from(address.to_bits())),
            // The low half is all ones but for the last, so that it is never an older address.
            IpAddr::V6(address) => Self::Address((address.to_bits() | ((1 << 64) - 1)) ^ 1),
        }
    }
}

/// How many requests each subject may make.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Nanoseconds that one request costs; 0 is no limit.
    cost: u64,
    /// Nanoseconds that a subject may be ahead: one second's worth of requests at once.
    ahead: u64,
    hasher: RandomState,
    parts: [Mutex<Part>; PARTS],
}

#[derive(Debug, Default)]
struct Part {
    /// For each subject the time at which it will have made up, in nanoseconds of the engine's
    /// own time.
    made_up_at: HashMap<Subject, u64, RandomState>,
    searched_at: u64,
}

impl Limiter {
    /// So many requests a second for each subject; 0 is no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        let cost = 1_000_000_000_u64.checked_div(u64::from(per_second));
        Self {
            cost: cost.unwrap_or(0),
            ahead: 1_000_000_000,
            hasher: RandomState::default(),
            parts: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Counts a request that is made at `now`.
    ///
    /// # Errors
    /// When it is one too many: how long until the next one is not.
    pub(crate) fn count(&self, subject: Subject, now: Moment) -> Result<(), Duration> {
        if self.cost == 0 {
            return Ok(());
        }
        self.count_at(subject, now.0.saturating_mul(1_000_000))
    }

    fn count_at(&self, subject: Subject, now: u64) -> Result<(), Duration> {
        let hash = self.hasher.hash_one(subject);
        let part = usize::try_from(hash >> 32).unwrap_or_default() % PARTS;
        let mut part = self.parts[part].lock().unwrap();
        let subject = part.place_for(subject, now);
        let made_up_at = part.made_up_at.entry(subject).or_insert(0);
        let next = (*made_up_at).max(now) + self.cost;
        let wait = next.saturating_sub(now + self.ahead);
        if wait > 0 {
            return Err(Duration::from_nanos(wait));
        }
        *made_up_at = next;
        Ok(())
    }
}

impl Part {
    /// The subject itself, or all newcomers when there is no room for one more.
    fn place_for(&mut self, subject: Subject, now: u64) -> Subject {
        let has_room = |part: &Self| part.made_up_at.len() < SUBJECTS_MAX;
        if has_room(self) || self.made_up_at.contains_key(&subject) {
            return subject;
        }
        if now >= self.searched_at.saturating_add(SEARCH_EVERY) {
            self.searched_at = now;
            self.made_up_at.retain(|_, made_up_at| *made_up_at > now);
        }
        if has_room(self) {
            subject
        } else {
            Subject::Newcomers
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn address(text: &str) -> Subject {
        Subject::at(text.parse().unwrap())
    }

    /// How many of `asked` requests at `now` are let through.
    fn passed(limiter: &Limiter, subject: Subject, asked: usize, now: u64) -> usize {
        (0..asked)
            .filter(|_| limiter.count_at(subject, now).is_ok())
            .count()
    }

    #[test]
    fn a_second_brings_as_many_requests_as_the_limit_says() {
        let limiter = Limiter::new(10);
        let one = address("10.0.0.1");
        assert_eq!(passed(&limiter, one, 50, 5 * SECOND), 10);
        assert_eq!(passed(&limiter, one, 50, 5 * SECOND + SECOND / 2), 5);
        assert_eq!(
            passed(&limiter, one, 50, 7 * SECOND),
            10,
            "nobody saves up more"
        );
        let wait = limiter.count_at(one, 7 * SECOND).unwrap_err();
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(passed(&limiter, address("10.0.0.2"), 50, 7 * SECOND), 10);
        assert_eq!(passed(&limiter, Subject::Key(KeyId(1)), 50, 7 * SECOND), 10);
    }

    #[test]
    fn no_limit_is_no_limit() {
        let limiter = Limiter::new(0);
        assert!((0..5_000).all(|_| limiter.count(address("10.0.0.1"), Moment(0)).is_ok()));
    }

    #[test]
    fn an_address_has_one_count_however_it_is_written() {
        assert_eq!(address("10.0.0.1"), address("::ffff:10.0.0.1"));
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:2"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_ne!(address("::"), address("0.0.0.0"));
    }

    #[test]
    fn the_table_forgets_who_has_made_up_and_never_grows_beyond_its_limit() {
        let limiter = Limiter::new(10);
        let subjects = |from: u32, count: u32| {
            (from..from + count).map(|n| Subject::at(IpAddr::from(n.to_be_bytes())))
        };
        for subject in subjects(0, 200_000) {
            limiter.count_at(subject, SECOND).ok();
        }
        let held = || {
            let count = |part: &Mutex<Part>| part.lock().unwrap().made_up_at.len();
            limiter.parts.iter().map(count).sum::<usize>()
        };
        assert!(held() <= PARTS * (SUBJECTS_MAX + 1), "{}", held());
        let strangers = subjects(1 << 30, 1_000);
        let lucky = strangers
            .filter(|s| limiter.count_at(*s, SECOND).is_ok())
            .count();
        assert_eq!(lucky, 0, "newcomers share what is left");
        for subject in subjects(1 << 30, 1_000) {
            assert_eq!(passed(&limiter, subject, 20, 3 * SECOND), 10);
        }
        assert!(held() < 2_000, "{}", held());
    }
}
