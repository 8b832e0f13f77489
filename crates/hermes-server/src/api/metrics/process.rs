//! What the system says of this process, where it says it in files (Linux).

use std::fs;
use std::path::Path;

/// Parts of a second in which the kernel tells processor time to programs (`USER_HZ`).
const TICKS: f64 = 100.0;

/// What the system says of this process.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Process {
    /// Bytes of memory that are in use.
    pub(super) resident_bytes: Option<u64>,
    /// Seconds of processor time.
    pub(super) cpu_seconds: Option<f64>,
}

impl Process {
    /// What it says now; nothing where there are no such files.
    pub(super) fn now() -> Self {
        let read = |name: &str| fs::read_to_string(Path::new("/proc/self").join(name)).ok();
        Self {
            resident_bytes: read("status").and_then(|status| resident_bytes(&status)),
            cpu_seconds: read("stat").and_then(|stat| cpu_seconds(&stat)),
        }
    }
}

fn resident_bytes(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the name of the program, in parentheses, and may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_system_are_read_as_they_are() {
        let status = "Name:\thermes\nVmPeak:\t   90000 kB\nVmRSS:\t   12345 kB\nThreads:\t4\n";
        assert_eq!(resident_bytes(status), Some(12_345 * 1024));
        let stat = "77 (odd ) name) S 1 77 77 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 9 1 2";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!((resident_bytes("x"), cpu_seconds("x")), (None, None));
    }
}
