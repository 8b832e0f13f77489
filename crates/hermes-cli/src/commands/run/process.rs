//! One command as a process: found, started in a process group of its own, signalled, waited for.
//!
//! When the command ends, whatever is left of its process group is killed: nothing of it holds the
//! port when it is started again, and nothing outlives a registration that is gone.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{self, IsTerminal};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::guard::{FAILED, Guard, NOT_EXECUTABLE, NOT_FOUND, dying_with_us};
use super::signals;

/// What to start.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    /// The command and its arguments.
    pub(super) command: &'a [OsString],
    /// What is set beside what is inherited.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// Where it runs; nothing is here.
    pub(super) directory: Option<&'a Path>,
    /// Whether its output is read, instead of passed through.
    pub(super) is_read: bool,
}

/// Why a command was not started.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    #[error("`{0}` is not found")]
    NotFound(String),
    #[error("`{0}` is there, but is not a file that may be executed")]
    NotExecutable(String),
    #[error("`{command}` cannot be started: {error}")]
    System { command: String, error: io::Error },
}

impl StartError {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NotFound(_) => NOT_FOUND,
            Self::NotExecutable(_) => NOT_EXECUTABLE,
            Self::System { .. } => FAILED,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, with this code.
    Exited(u8),
    /// By a signal of this number.
    Killed(u8),
}

impl Ending {
    fn of(status: ExitStatus) -> Self {
        let number = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(number(code)),
            (None, Some(signal)) => Self::Killed(number(signal)),
            (None, None) => Self::Exited(FAILED),
        }
    }

    /// What a shell would say: 128 + the signal.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Exited(code) => code,
            Self::Killed(signal) => signal.saturating_add(128),
        }
    }

    pub(super) fn is_by(self, signal: Signal) -> bool {
        matches!(self, Self::Killed(number) if i32::from(number) == signal.as_raw())
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Killed(number) => match signals::name(*number) {
                Some(name) => write!(f, "killed by {name}"),
                None => write!(f, "killed by signal {number}"),
            },
        }
    }
}

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whom {
    /// The command alone: what asks it to do something.
    Command,
    /// All of its process group: what ends it, or would come from a terminal.
    Group,
}

/// A command that runs. Dropped before its end it is killed, with its group.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The other end of an input on which nothing ever comes; waiting would close it.
    _silence: Option<ChildStdin>,
    pid: Pid,
    guard: Arc<Guard>,
}

impl Process {
    /// Starts a command. To be called on the main thread: the kernel ends the command with the
    /// thread that has started it.
    ///
    /// # Errors
    /// When it cannot be found or executed, or the system has no process to give.
    pub(super) fn start(launch: &Launch<'_>, guard: &Arc<Guard>) -> Result<Self, StartError> {
        let [program, arguments @ ..] = launch.command else {
            return Err(StartError::NotFound(String::new()));
        };
        find(program, launch)?;
        let failed = |error: io::Error| StartError::System {
            command: program.to_string_lossy().into(),
            error,
        };
        let mut command = dying_with_us(program, arguments).map_err(failed)?;
        command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
        if let Some(directory) = launch.directory {
            command.current_dir(directory);
        }
        command.stdin(stdin(launch.is_read));
        if launch.is_read {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let mut command = tokio::process::Command::from(command);
        let mut child = command.process_group(0).spawn().map_err(failed)?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| failed(io::Error::other("it has no process id")))?;
        guard.add(pid);
        Ok(Self {
            _silence: child.stdin.take(),
            child,
            pid,
            guard: Arc::clone(guard),
        })
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// What it prints, if that is read.
    pub(super) fn output(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        Some((self.child.stdout.take()?, self.child.stderr.take()?))
    }

    /// Waits for its end, and ends what it leaves behind. May be dropped while it waits.
    pub(super) async fn wait(&mut self) -> Ending {
        // Waiting for a child of one's own fails only when somebody else has waited for it.
        let status = self.child.wait().await.ok();
        self.bury();
        status.map_or(Ending::Exited(FAILED), Ending::of)
    }

    /// Sends a signal, if it still runs.
    pub(super) fn signal(&self, signal: Signal, whom: Whom) {
        if self.child.id().is_none() {
            return;
        }
        let sent = match whom {
            Whom::Command => kill_process(self.pid, signal),
            Whom::Group => kill_process_group(self.pid, signal),
        };
        // It has ended this moment, or has given itself other rights: neither can be helped here.
        sent.ok();
    }

    fn bury(&self) {
        kill_process_group(self.pid, Signal::KILL).ok();
        self.guard.remove(self.pid);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.bury();
        }
    }
}

/// Stdin passes through, unless it is a terminal: a process group in the background would be
/// stopped by its first read. Then, and beside others, it is a pipe on which nothing ever comes.
fn stdin(is_shared: bool) -> Stdio {
    if is_shared || io::stdin().is_terminal() {
        Stdio::piped()
    } else {
        Stdio::inherit()
    }
}

/// Looks for the program as `exec` will, to tell what is not there from what then fails.
fn find(program: &OsStr, launch: &Launch<'_>) -> Result<(), StartError> {
    let shown = || program.to_string_lossy().into_owned();
    let here = launch.directory.unwrap_or(Path::new(""));
    if Path::new(program).components().count() > 1 || program.as_encoded_bytes().contains(&b'/') {
        return match rate(&here.join(program)) {
            Found::Executable => Ok(()),
            Found::Other => Err(StartError::NotExecutable(shown())),
            Found::Nothing => Err(StartError::NotFound(shown())),
        };
    }
    let set = launch.environment.iter().rev();
    let path = set
        .filter(|(name, _)| name == "PATH")
        .map(|(_, value)| value.clone())
        .next()
        .or_else(|| std::env::var_os("PATH"));
    // Without any PATH the system has one of its own; it knows better.
    let Some(path) = path else { return Ok(()) };
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = places
        .iter()
        .map(|place| rate(&here.join(place).join(program)));
    match found.max() {
        Some(Found::Executable) => Ok(()),
        Some(Found::Other) => Err(StartError::NotExecutable(shown())),
        Some(Found::Nothing) | None => Err(StartError::NotFound(shown())),
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Nothing,
    Other,
    Executable,
}

fn rate(path: &Path) -> Found {
    match path.metadata() {
        Ok(file) if file.is_file() && file.permissions().mode() & 0o111 != 0 => Found::Executable,
        Ok(_) => Found::Other,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Found::Other,
        Err(_) => Found::Nothing,
    }
}
