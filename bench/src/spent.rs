//! The processor time that a process has used.
//!
//! Linux counts it in nanoseconds for every thread (`schedstat`), to the last tick; where that is
//! missing, there is the older sum in hundredths of a second (`stat`).

use std::fs;
use std::time::Duration;

use crate::failure::Failure;

/// Ticks of `/proc/<pid>/stat` in a second, on every platform that Linux has today.
const TICKS_PER_SECOND: u64 = 100;

/// The processor time that process `id` has used until now; `self` is this one.
pub(crate) fn by_process(id: &str) -> Result<Duration, Failure> {
    match of_threads(id) {
        Some(nanos) => Ok(Duration::from_nanos(nanos)),
        None => of_ticks(id),
    }
}

fn of_threads(id: &str) -> Option<u64> {
    let threads = fs::read_dir(format!("/proc/{id}/task")).ok()?;
    threads
        .map(|thread| {
            let path = thread.ok()?.path().join("schedstat");
            let text = fs::read_to_string(path).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

fn of_ticks(id: &str) -> Result<Duration, Failure> {
    let path = format!("/proc/{id}/stat");
    let text = fs::read_to_string(path).map_err(Failure::of("asking for processor time"))?;
    // The name of the program is in parentheses and may hold anything; utime and stime are the
    // twelfth and thirteenth field after it.
    let fields = text.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}
