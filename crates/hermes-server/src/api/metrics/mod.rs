//! `GET /metrics`: what the server shows of itself, for Prometheus.
//!
//! Nothing here is worked out per request: [`counters`] are added up, the engine and the prober say
//! what they have counted, and the catalog knows its [tally](hermes_core::tally). So a look costs the
//! same whatever is registered. No name, id, key or address is ever a label: there would be a million
//! of them, and whoever reads metrics need not be allowed to read names.
//!
//! Each family stands in `docs/reference/metrics.md`; a test compares both.

mod counters;
mod process;
mod text;

use std::time::Duration;

use hermes_core::change::ChangeKind;
use hermes_core::health::Health;
use hermes_core::wire::problem::code;
use hermes_discovery::engine::{COMMIT_TIME_BOUNDS, Engine, ResetReason, Stats};
use hermes_discovery::probe::{LATENESS_BOUNDS, ProbeStats};

pub(super) use counters::Counters;
pub(crate) use counters::{Cut, Flight, Open};

use super::error::Failure;
use super::reply::Reply;
use super::route::operations;
use super::{Api, Call};
use counters::{DURATION_BOUNDS, Outcome};
use process::Process;
use text::{MEDIA_TYPE, Text};

impl Call<'_> {
    /// `GET /metrics`
    pub(super) fn metrics(&mut self) -> Result<Reply, Failure> {
        self.end_of_query(&[])?;
        let revision = self.api.engine.catalog().revision();
        Ok(Reply {
            media_type: MEDIA_TYPE,
            ..Reply::json(revision, self.api.metrics())
        })
    }
}

impl Api {
    fn metrics(&self) -> Vec<u8> {
        let mut text = Text::default();
        let stats = self.engine.stats();
        write_queries(&mut text, &self.counters);
        write_requests(&mut text, &self.counters);
        write_registry(&mut text, &self.engine, &stats);
        write_engine(&mut text, &stats);
        write_log(&mut text, &self.engine);
        write_watchers(&mut text, &stats);
        write_probes(&mut text, &self.prober.stats());
        self.write_limits(&mut text);
        self.write_process(&mut text);
        text.into_bytes()
    }

    fn write_limits(&self, text: &mut Text) {
        let catalog = self.engine.catalog();
        let (config, limits) = (self.engine.config(), self.limits());
        let mut family = text.gauge(
            "hermes_view_bytes",
            "Memory of encoded answers that are kept for the next reader, by what is encoded.",
        );
        family.of(&[("form", "endpoints")], catalog.encoded_bytes());
        family.of(&[("form", "lists")], self.budget.taken());
        let mut family = text.gauge(
            "hermes_limit",
            "How much there may be, by the setting that says so.",
        );
        for (setting, limit) in [
            ("limits.connections", limits.connections),
            ("limits.inbox", config.requests_max),
            ("limits.watchers", config.watchers_max),
            ("limits.services", config.limits.services),
            ("limits.endpoints_size", config.limits.encoded_bytes),
            ("limits.lists_size", limits.encoded_bytes),
        ] {
            family.of(&[("setting", setting)], limit);
        }
    }

    fn write_process(&self, text: &mut Text) {
        text.gauge("hermes_build_info", "1, with the version as a label.")
            .of(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        let process = Process::now();
        text.gauge(
            "process_start_time_seconds",
            "When this server started, in seconds since 1970.",
        )
        .is(seconds_of_millis(self.started_at.0));
        let mut family = text.gauge(
            "process_resident_memory_bytes",
            "Memory of this process. Only on Linux.",
        );
        process
            .resident_bytes
            .into_iter()
            .for_each(|bytes| family.is(bytes));
        let mut family = text.counter(
            "process_cpu_seconds_total",
            "Processor time of this process. Only on Linux.",
        );
        process
            .cpu_seconds
            .into_iter()
            .for_each(|seconds| family.is(seconds));
    }
}

/// What the seed asks for: queries, how many were encoded anew, how long they took, fallbacks, errors.
fn write_queries(text: &mut Text, counters: &Counters) {
    let queries = || operations().filter(|(_, _, operation)| operation.is_query);
    let mut family = text.counter(
        "hermes_discovery_queries_total",
        "Questions for services and endpoints that were answered, by route and by result.",
    );
    for (route, _, operation) in queries() {
        for outcome in Outcome::ALL {
            let labels = [("route", route), ("result", outcome.word())];
            family.of(&labels, counters.ended(operation, outcome));
        }
    }
    let mut family = text.histogram(
        "hermes_discovery_query_duration_seconds",
        "Time from the head of such a question to its answer, by route. Without those that waited for a change.",
    );
    for (route, _, operation) in queries() {
        let (counts, sum) = counters.durations(operation.route);
        let bounds = DURATION_BOUNDS.into_iter();
        family.classes(&[("route", route)], bounds, &counts, sum);
    }
    let (missed, hit) = counters.encodings();
    let mut family = text.counter(
        "hermes_encoded_answers_total",
        "Answers that list endpoints: put together from what was encoded before (hit), or not (miss).",
    );
    family.of(&[("result", "hit")], hit);
    family.of(&[("result", "miss")], missed);
    let (panics, stale) = counters.fallbacks();
    let mut family = text.counter(
        "hermes_fallbacks_total",
        "Answers with less than was promised: endpoints that are not ready, because the caller takes any; or a view that may be old, because the log is lost (stale).",
    );
    family.of(&[("rung", "any")], panics);
    family.of(&[("rung", "stale")], stale);
    let mut family = text.counter(
        "hermes_errors_total",
        "Problems that were answered, by code.",
    );
    for (code, count) in code::ALL.iter().zip(counters.problems()) {
        family.of(&[("code", code)], count);
    }
}

fn write_requests(text: &mut Text, counters: &Counters) {
    let mut family = text.counter(
        "hermes_http_requests_total",
        "Requests that have ended, by route, method and result.",
    );
    for (route, method, operation) in operations() {
        for outcome in Outcome::ALL {
            let labels = [
                ("route", route),
                ("method", method),
                ("result", outcome.word()),
            ];
            family.of(&labels, counters.ended(operation, outcome));
        }
    }
    text.gauge(
        "hermes_http_requests_in_flight",
        "Requests that are being answered now, long polls among them.",
    )
    .is(counters.in_flight());
    let (opened, closed) = counters.connections();
    text.gauge("hermes_http_connections", "Connections that are open.")
        .is(opened.saturating_sub(closed));
    text.counter(
        "hermes_http_connections_opened_total",
        "Connections that were accepted.",
    )
    .is(opened);
    let mut family = text.counter(
        "hermes_http_connections_cut_total",
        "Connections that the server closed: a head came too slowly, nothing happened for too long, or a TLS handshake failed.",
    );
    for cut in Cut::ALL {
        family.of(&[("reason", cut.word())], counters.cuts(cut));
    }
    let (refused, accepted) = counters.beats();
    let mut family = text.counter(
        "hermes_heartbeats_total",
        "Heartbeats, single and in bulk, by whether they renewed a lease.",
    );
    family.of(&[("result", "accepted")], accepted);
    family.of(&[("result", "refused")], refused);
}

fn write_registry(text: &mut Text, engine: &Engine, stats: &Stats) {
    let catalog = engine.catalog();
    let tally = catalog.tally();
    text.gauge("hermes_revision", "The last change.")
        .is(catalog.revision());
    text.gauge("hermes_services", "Services that are known.")
        .is(catalog.service_count());
    text.gauge(
        "hermes_services_empty",
        "Services that are known and have no endpoint.",
    )
    .is(tally.empty_services);
    let mut family = text.gauge(
        "hermes_endpoints",
        "Endpoints, by health and by whether they are ready.",
    );
    for health in Health::ALL {
        for (ready, is_ready) in [("false", false), ("true", true)] {
            let labels = [("health", health.word()), ("ready", ready)];
            family.of(&labels, tally.endpoints(health, is_ready));
        }
    }
    text.gauge(
        "hermes_leases",
        "Endpoints that are kept by heartbeats; the others are static.",
    )
    .is(tally.leased);
    let mut family = text.gauge(
        "hermes_endpoints_flagged",
        "Endpoints, by what else holds of them.",
    );
    for (flag, count) in [
        ("draining", tally.draining),
        ("flapping", tally.flapping),
        ("starting", tally.starting),
    ] {
        family.of(&[("flag", flag)], count);
    }
    let mut family = text.counter("hermes_changes_total", "Changes since the start, by type.");
    for (kind, count) in ChangeKind::ALL.iter().zip(stats.changes_of_kind) {
        family.of(&[("type", kind.word())], count);
    }
}

fn write_engine(text: &mut Text, stats: &Stats) {
    let mut family = text.gauge(
        "hermes_lane_waiting",
        "What waits for the writer: requests, results of probes, and what it holds for its next batch.",
    );
    family.of(&[("lane", "requests")], stats.requests_waiting);
    family.of(&[("lane", "reports")], stats.reports_waiting);
    family.of(&[("lane", "held")], stats.asks_held);
    text.counter(
        "hermes_requests_refused_total",
        "Writing requests that found their lane full.",
    )
    .is(stats.requests_refused);
    text.histogram(
        "hermes_commit_duration_seconds",
        "Time that the log took for a batch of changes; its count is that of the commits.",
    )
    .classes(
        &[],
        COMMIT_TIME_BOUNDS.into_iter(),
        &stats.commit_times.counts,
        stats.commit_times.sum,
    );
    text.counter(
        "hermes_commit_failures_total",
        "Batches that the log did not take.",
    )
    .is(stats.commit_failures);
}

fn write_log(text: &mut Text, engine: &Engine) {
    let lost_at = engine.log_lost_at();
    let mut family = text.gauge(
        "hermes_protection_active",
        "1 while a protection acts. read_only: the log is lost, changes are refused and nothing expires.",
    );
    family.of(&[("protection", "read_only")], u8::from(lost_at.is_some()));
    let lost_for = lost_at.map(|at| engine.clock().moment().since(at));
    text.gauge(
        "hermes_log_lost_seconds",
        "How long the log has been lost; 0 while it works.",
    )
    .is(lost_for.unwrap_or_default().as_secs_f64());
    let extent = engine.log_extent();
    text.gauge("hermes_log_bytes", "What the log takes up on the disk.")
        .is(extent.bytes);
    let mut family = text.gauge(
        "hermes_log_snapshot_time_seconds",
        "When the newest change in the newest snapshot was made, in seconds since 1970. Not there without a snapshot.",
    );
    let snapshot = extent.snapshot.map(|at| seconds_of_millis(at.0));
    snapshot.into_iter().for_each(|seconds| family.is(seconds));
}

fn write_watchers(text: &mut Text, stats: &Stats) {
    text.gauge(
        "hermes_watchers",
        "Those who follow the changes: watches, long polls, and the probes.",
    )
    .is(stats.watchers);
    text.counter(
        "hermes_watcher_overflows_total",
        "Watchers that fell so far behind that they had to catch up.",
    )
    .is(stats.overflows);
    let mut family = text.counter(
        "hermes_watcher_resets_total",
        "Watchers that had to begin anew, by reason.",
    );
    for (reason, count) in ResetReason::ALL.iter().zip(stats.resets) {
        family.of(&[("reason", reason.word())], count);
    }
}

fn write_probes(text: &mut Text, stats: &ProbeStats) {
    text.gauge("hermes_probe_targets", "Checks that are being probed.")
        .is(stats.targets);
    text.gauge(
        "hermes_probe_connections_kept",
        "Connections that are kept open between two probes.",
    )
    .is(stats.connections_kept);
    text.histogram(
        "hermes_probe_lateness_seconds",
        "By how much probes started after they were due; its count is that of the probes.",
    )
    .classes(
        &[],
        LATENESS_BOUNDS.into_iter().map(Duration::from_millis),
        &stats.lateness_counts,
        stats.lateness_sum,
    );
}

fn seconds_of_millis(millis: u64) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}
