//! Which core a process runs on.
//!
//! Server and load have a core each, so that neither takes time from the other or moves its caches.
//! `taskset` of util-linux does it, because pinning from within needs an unsafe call or a dependency.
//! Where there is no `taskset`, or only one core, nothing is pinned, and the report says so.

use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

/// The cores of a run.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    /// How many this process may use.
    pub(crate) count: usize,
    is_pinned: bool,
}

/// Who gets a core of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Seat {
    Server,
    Load,
    /// None: a start may use them all.
    Any,
}

impl Cores {
    pub(crate) fn of_this_machine() -> Self {
        let count = available_parallelism().map_or(1, usize::from);
        Self {
            count,
            is_pinned: count > 1 && has_taskset(),
        }
    }

    /// A command that runs `program` on the core of `seat`.
    pub(crate) fn command(&self, seat: Seat, program: &OsStr) -> Command {
        let core = match seat {
            Seat::Server => "0",
            Seat::Load => "1",
            Seat::Any => return Command::new(program),
        };
        if !self.is_pinned {
            return Command::new(program);
        }
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", core]).arg(program);
        command
    }

    /// Where everything runs, for the report.
    pub(crate) fn about(&self) -> &'static str {
        match (self.is_pinned, self.count) {
            (true, _) => "servers on core 0, load on core 1",
            (false, 1) => {
                "nothing is pinned: there is only one core, so the load disturbs the servers"
            }
            (false, _) => "nothing is pinned: there is no taskset here",
        }
    }
}

fn has_taskset() -> bool {
    let probe = Command::new("taskset")
        .args(["--cpu-list", "0,1", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    probe.is_ok_and(|status| status.success())
}
