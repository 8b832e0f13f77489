//! Counters: what every request adds to.
//!
//! Plain arrays of atomics, found by numbers that are known without a look-up, in parts of which each
//! thread has its own: nobody waits for a line of memory that another core has just written. They are
//! added up when somebody asks.

use std::array;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hermes_core::wire::problem::code;
use hyper::StatusCode;

use super::super::reply::{Body, Reply};
use super::super::route::{METHODS, Operation, ROUTES};

/// Parts of the counters. As many as a server has workers; more threads share them.
const PARTS: usize = 8;

/// The upper bounds of the classes of durations; one class more holds what takes longer.
pub(super) const DURATION_BOUNDS: [Duration; 14] = [
    Duration::from_micros(10),
    Duration::from_micros(25),
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(2),
];
const CLASSES: usize = DURATION_BOUNDS.len() + 1;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Outcome {
    /// It was answered.
    Ok,
    /// The caller has the answer already.
    NotModified,
    /// The service or the endpoint is not known, or no longer.
    Unknown,
    /// The service is known, and nothing of it may be handed out.
    NothingReady,
    /// The request is wrong, not allowed, one too many, or came too late.
    Refused,
    /// The server could not do it.
    Failed,
    /// The caller went away before the answer.
    Abandoned,
}

impl Outcome {
    pub(super) const ALL: [Self; 7] = [
        Self::Ok,
        Self::NotModified,
        Self::Unknown,
        Self::NothingReady,
        Self::Refused,
        Self::Failed,
        Self::Abandoned,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotModified => "not_modified",
            Self::Unknown => "unknown",
            Self::NothingReady => "nothing_ready",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }

    /// How a request ended that is answered so.
    fn of(reply: &Reply) -> Self {
        if let Some(failure) = &reply.failure {
            return match failure.problem.code.as_str() {
                code::SERVICE_UNKNOWN | code::ENDPOINT_UNKNOWN | code::ENDPOINT_GONE => {
                    Self::Unknown
                }
                code::NOTHING_READY => Self::NothingReady,
                _ if reply.status.is_server_error() => Self::Failed,
                _ => Self::Refused,
            };
        }
        match reply.status {
            StatusCode::NOT_MODIFIED => Self::NotModified,
            status if status.is_server_error() => Self::Failed,
            _ => Self::Ok,
        }
    }
}

/// What one thread, or a few, have counted.
#[repr(align(128))]
struct Part {
    begun: AtomicU64,
    ended: [[[AtomicU64; Outcome::ALL.len()]; METHODS.len()]; ROUTES],
    durations: [[AtomicU64; CLASSES]; ROUTES],
    nanos: [AtomicU64; ROUTES],
    problems: [AtomicU64; code::ALL.len()],
    encoded: [AtomicU64; 2],
    panics: AtomicU64,
    stale: AtomicU64,
    heartbeats: [AtomicU64; 2],
}

/// What is counted at the door.
pub(in crate::api) struct Counters {
    parts: Box<[Part]>,
    opened: AtomicU64,
    closed: AtomicU64,
    cut: [AtomicU64; Cut::ALL.len()],
}

/// Why a connection was closed by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A head came too slowly.
    SlowHead,
    /// Nothing happened on it for too long.
    Idle,
    /// A TLS handshake failed, or took too long.
    Handshake,
}

impl Cut {
    pub(super) const ALL: [Self; 3] = [Self::SlowHead, Self::Idle, Self::Handshake];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::Idle => "idle",
            Self::Handshake => "handshake",
        }
    }
}

/// A connection that is open, until it is dropped.
#[derive(Debug)]
pub(crate) struct Open<'a>(&'a Counters);

/// A request on its way. Dropped before it has landed, it was abandoned.
#[derive(Debug)]
pub(crate) struct Flight<'a> {
    counters: &'a Counters,
    operation: Operation,
    outcome: Outcome,
    /// Whether its duration says how fast the server is.
    is_timed: bool,
}

impl Counters {
    pub(in crate::api) fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Part::new()).collect(),
            opened: AtomicU64::new(0),
            closed: AtomicU64::new(0),
            cut: array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    pub(in crate::api) fn open(&self) -> Open<'_> {
        add(&self.opened, 1);
        Open(self)
    }

    pub(in crate::api) fn cut(&self, cut: Cut) {
        add(&self.cut[cut as usize], 1);
    }

    pub(in crate::api) fn begin(&self, operation: Operation) -> Flight<'_> {
        add(&self.part().begun, 1);
        Flight {
            counters: self,
            operation,
            outcome: Outcome::Abandoned,
            is_timed: false,
        }
    }

    /// An answer was put together, all of it from what was encoded before or not.
    pub(in crate::api) fn encoded(&self, was_before: bool) {
        add(&self.part().encoded[usize::from(was_before)], 1);
    }

    /// Heartbeats were accepted, and others refused.
    pub(in crate::api) fn heartbeats(&self, accepted: usize, refused: usize) {
        let part = self.part();
        add(&part.heartbeats[1], accepted as u64);
        add(&part.heartbeats[0], refused as u64);
    }

    /// The part of this thread.
    fn part(&self) -> &Part {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % PARTS;
        }
        // A thread that is ending counts like any other.
        let mine = MINE.try_with(|mine| *mine).unwrap_or_default();
        &self.parts[mine]
    }

    fn sum(&self, count: impl Fn(&Part) -> &AtomicU64) -> u64 {
        let counts = self.parts.iter().map(count);
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn ended(&self, operation: Operation, outcome: Outcome) -> u64 {
        let Operation { route, method, .. } = operation;
        self.sum(|part| &part.ended[route][method][outcome as usize])
    }

    /// Requests that are being answered. May be off by what happens while it is added up.
    pub(super) fn in_flight(&self) -> u64 {
        let ended: u64 = self.parts.iter().map(|part| sum_of(part.all_ended())).sum();
        self.sum(|part| &part.begun).saturating_sub(ended)
    }

    /// How long the queries of a route took: how many in each class, and together.
    pub(super) fn durations(&self, route: usize) -> ([u64; CLASSES], Duration) {
        let count = |class: usize| self.sum(|part| &part.durations[route][class]);
        let nanos = self.sum(|part| &part.nanos[route]);
        (array::from_fn(count), Duration::from_nanos(nanos))
    }

    /// How often each code was answered, in the order of [`code::ALL`].
    pub(super) fn problems(&self) -> [u64; code::ALL.len()] {
        array::from_fn(|code| self.sum(|part| &part.problems[code]))
    }

    /// Answers that were encoded anew, and that were not.
    pub(super) fn encodings(&self) -> (u64, u64) {
        let count = |was_before: usize| self.sum(|part| &part.encoded[was_before]);
        (count(0), count(1))
    }

    /// Selections of what is not ready, and answers while the log was lost.
    pub(super) fn fallbacks(&self) -> (u64, u64) {
        (self.sum(|part| &part.panics), self.sum(|part| &part.stale))
    }

    /// Heartbeats that were refused, and that were accepted.
    pub(super) fn beats(&self) -> (u64, u64) {
        let count = |accepted: usize| self.sum(|part| &part.heartbeats[accepted]);
        (count(0), count(1))
    }

    /// Connections that were ever opened, and that are closed.
    pub(super) fn connections(&self) -> (u64, u64) {
        // The closed ones first, so that there are never more of them.
        let closed = self.closed.load(Ordering::Acquire);
        (self.opened.load(Ordering::Acquire), closed)
    }

    pub(super) fn cuts(&self, cut: Cut) -> u64 {
        self.cut[cut as usize].load(Ordering::Relaxed)
    }
}

impl Flight<'_> {
    /// It is answered with `reply`, for which somebody `has_waited` or not, while the log `is_lost`
    /// or not.
    pub(in crate::api) fn answered(&mut self, reply: &Reply, has_waited: bool, is_lost: bool) {
        self.outcome = Outcome::of(reply);
        let is_stream = matches!(reply.body, Body::Events(_));
        self.is_timed = self.operation.is_query && !has_waited && !is_stream;
        let part = self.counters.part();
        if let Some(failure) = &reply.failure {
            let place = code::ALL
                .iter()
                .position(|code| *code == failure.problem.code);
            if let Some(place) = place {
                add(&part.problems[place], 1);
            }
        }
        if reply.flags == Some("panic") {
            add(&part.panics, 1);
        }
        let is_answer = matches!(self.outcome, Outcome::Ok | Outcome::NotModified);
        if is_lost && is_answer && self.operation.is_query {
            add(&part.stale, 1);
        }
    }

    /// The answer is on its way, so long after the request began.
    pub(crate) fn land(self, took: Duration) {
        if !self.is_timed {
            return;
        }
        let part = self.counters.part();
        let class = DURATION_BOUNDS.partition_point(|bound| *bound < took);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        add(&part.durations[self.operation.route][class], 1);
        add(&part.nanos[self.operation.route], nanos);
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let Operation { route, method, .. } = self.operation;
        let ended = &self.counters.part().ended[route][method];
        add(&ended[self.outcome as usize], 1);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Release);
    }
}

impl Part {
    fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            ended: array::from_fn(|_| array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0)))),
            durations: array::from_fn(|_| array::from_fn(|_| AtomicU64::new(0))),
            nanos: array::from_fn(|_| AtomicU64::new(0)),
            problems: array::from_fn(|_| AtomicU64::new(0)),
            encoded: array::from_fn(|_| AtomicU64::new(0)),
            panics: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            heartbeats: array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    fn all_ended(&self) -> impl Iterator<Item = &AtomicU64> {
        self.ended.iter().flatten().flatten()
    }
}

impl fmt::Debug for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counters").finish_non_exhaustive()
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn sum_of<'a>(counts: impl Iterator<Item = &'a AtomicU64>) -> u64 {
    counts.map(|count| count.load(Ordering::Relaxed)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET_URL: Operation = Operation {
        route: 2,
        method: 0,
        is_query: true,
    };

    #[test]
    fn what_several_threads_count_is_added_up() {
        let counters = Counters::new();
        std::thread::scope(|scope| {
            for _ in 0..2 * PARTS {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let mut flight = counters.begin(GET_URL);
                        let reply = Reply::json(hermes_core::change::Revision(1), Vec::new());
                        flight.answered(&reply, false, false);
                        flight.land(Duration::from_micros(25));
                    }
                });
            }
        });
        let all = 2 * PARTS as u64 * 1_000;
        assert_eq!(counters.ended(GET_URL, Outcome::Ok), all);
        let (classes, sum) = counters.durations(GET_URL.route);
        assert_eq!((classes[1], classes.iter().sum::<u64>()), (all, all));
        assert_eq!(sum, Duration::from_micros(25) * 16_000);
        assert_eq!(counters.in_flight(), 0);
    }

    #[test]
    fn a_request_that_is_dropped_on_its_way_is_abandoned_and_not_timed() {
        let counters = Counters::new();
        let flight = counters.begin(GET_URL);
        assert_eq!(counters.in_flight(), 1);
        drop(flight);
        assert_eq!(counters.in_flight(), 0);
        assert_eq!(counters.ended(GET_URL, Outcome::Abandoned), 1);
        assert_eq!(counters.durations(GET_URL.route).0, [0; CLASSES]);
    }
}
