//! Two parts that this binary plays and nobody types: the last step before a command, and the one
//! who is left when `hermes run` is killed.
//!
//! `kill -9` gives `hermes run` no time to end its command. So on Linux the kernel is asked to: the
//! command is started through [`EXEC`], which asks for SIGKILL when its parent dies and then becomes
//! the command. That covers the command itself, and not what it has started. For those there is
//! [`GUARD`]: a process that holds the other end of a pipe, knows the process groups that are to
//! go, and kills them when the pipe ends. Neither needs a line of unsafe code.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, ExitCode, Stdio};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process_group};

/// `hermes __exec PARENT PROGRAM ARGUMENTS...`: become the program, and die with the parent.
const EXEC: &str = "__exec";
/// `hermes __guard`: read `+GROUP` and `-GROUP`, line by line; at the end kill who is left.
const GUARD: &str = "__guard";

/// Hermes itself has failed; see [`crate::exit`].
pub(super) const FAILED: u8 = 125;
/// The command is there and cannot be executed.
pub(super) const NOT_EXECUTABLE: u8 = 126;
/// The command is not there.
pub(super) const NOT_FOUND: u8 = 127;

/// Plays one of the two parts, if that is what this process was started for.
pub(crate) fn play() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next()?.to_str()? {
        EXEC => Some(execute(arguments)),
        GUARD => Some(guard()),
        _ => None,
    }
}

/// This binary, also when its file was replaced or removed meanwhile.
#[cfg(target_os = "linux")]
fn own() -> io::Result<PathBuf> {
    Ok("/proc/self/exe".into())
}

#[cfg(not(target_os = "linux"))]
fn own() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// A command that becomes `program` with its arguments, and dies with this process.
#[cfg(target_os = "linux")]
pub(super) fn dying_with_us(program: &OsString, arguments: &[OsString]) -> io::Result<Command> {
    let mut command = Command::new(own()?);
    command.arg0("hermes").arg(EXEC);
    command.arg(std::process::id().to_string());
    command.arg(program).args(arguments);
    Ok(command)
}

/// Elsewhere only the guard ends what is left.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
pub(super) fn dying_with_us(program: &OsString, arguments: &[OsString]) -> io::Result<Command> {
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

fn execute(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let parent = arguments
        .next()
        .and_then(|text| text.to_str()?.parse().ok());
    let parent = parent.and_then(Pid::from_raw);
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        return say("this is for `hermes run` itself", FAILED);
    };
    if let Err(error) = die_with(parent) {
        return say(&format!("the command was not started: {error}"), FAILED);
    }
    let error = Command::new(&program).args(arguments).exec();
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    let program = program.to_string_lossy();
    say(&format!("`{program}` cannot be executed: {error}"), code)
}

/// Asks for SIGKILL when the parent dies, unless it is dead already.
#[cfg(target_os = "linux")]
fn die_with(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() == Some(parent) {
        Ok(())
    } else {
        Err(io::Error::other("`hermes run` is gone"))
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with(_parent: Pid) -> io::Result<()> {
    Ok(())
}

fn say(what: &str, code: u8) -> ExitCode {
    // Whoever cannot read it sees the exit code.
    writeln!(io::stderr(), "hermes: {what}").ok();
    ExitCode::from(code)
}

fn guard() -> ExitCode {
    let mut groups = BTreeSet::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match (
            line.get(..1),
            line.get(1..).and_then(|pid| pid.parse().ok()),
        ) {
            (Some("+"), Some(pid)) => groups.insert(pid),
            (Some("-"), Some(pid)) => groups.remove(&pid),
            _ => false,
        };
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        // What is gone already is as it should be.
        kill_process_group(group, Signal::KILL).ok();
    }
    ExitCode::SUCCESS
}

/// Knows a guard, and tells it which process groups are to go with this process.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Nothing when there is no guard: then the kernel alone keeps the promise.
    pipe: Option<Mutex<ChildStdin>>,
}

impl Guard {
    /// Starts a guard.
    pub(crate) fn start() -> Self {
        let spawned = own().and_then(|own| {
            Command::new(own)
                .arg0("hermes")
                .arg(GUARD)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
        });
        let pipe = spawned.ok().and_then(|mut guard| guard.stdin.take());
        Self {
            pipe: pipe.map(Mutex::new),
        }
    }

    pub(super) fn add(&self, group: Pid) {
        self.tell('+', group);
    }

    pub(super) fn remove(&self, group: Pid) {
        self.tell('-', group);
    }

    fn tell(&self, what: char, group: Pid) {
        if let Some(pipe) = &self.pipe {
            let line = format!("{what}{}\n", group.as_raw_nonzero());
            // A guard that is gone cannot be told, and what it was for is not needed for going on.
            pipe.lock().unwrap().write_all(line.as_bytes()).ok();
        }
    }
}
