//! Running the command: to its end, or line by line while it runs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
#[cfg(unix)]
use std::sync::Once;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use hermes_discovery::clock::Clock;
use serde_json::Value;
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};

/// How long anything may take that should happen at once, or after a probe or two.
const DEADLINE: Duration = Duration::from_secs(30);

/// A command that finds no signal ignored. All that the tests start begins here.
///
/// `nohup`, and a shell that puts something into the background, ignore signals for whatever comes
/// after them; the tests may run there, too.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    #[cfg(unix)]
    handle_ignored_signals();
    Command::new(program)
}

/// Handles the signals that this process was started to ignore. A process that it starts finds what
/// was ignored still ignored, but what was handled at its default. Nothing is made of the signals
/// here, so they are as good as ignored.
#[cfg(unix)]
fn handle_ignored_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Only Linux tells without unsafe code.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bits = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let ignored = bits.map_or(0, |bits| u64::from_str_radix(bits.trim(), 16).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _guard = runtime.enter();
        let kinds = [
            SignalKind::hangup(),
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::user_defined1(),
            SignalKind::user_defined2(),
        ];
        for kind in kinds {
            if ignored & (1 << (kind.as_raw_value() - 1)) != 0 {
                // What is handled once stays so, whether anybody still listens or not.
                drop(signal(kind).unwrap());
            }
        }
    });
}

/// The command in a clean environment, with its arguments in one line.
pub(crate) fn hermes(arguments: &str) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_hermes"));
    command.args(arguments.split_whitespace());
    for (name, _) in std::env::vars_os() {
        let of_ours = |prefix| name.to_str().is_some_and(|name| name.starts_with(prefix));
        if of_ours("HERMES_") || of_ours("SERVICE_DISCOVERY_") {
            command.env_remove(&name);
        }
    }
    command.env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs a command to its end.
pub(crate) fn run(arguments: &str) -> Ran {
    end(&mut hermes(arguments))
}

pub(crate) fn end(command: &mut Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ran {
    /// The exit code is this one.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Stdout is this, line by line.
    #[track_caller]
    pub(crate) fn prints(self, lines: &[&str]) -> Self {
        assert_eq!(self.out.lines().collect::<Vec<_>>(), lines, "{self:#?}");
        self
    }

    /// Stdout shows this somewhere.
    #[track_caller]
    pub(crate) fn shows(self, part: &str) -> Self {
        assert!(self.out.contains(part), "{part:?} is not shown: {self:#?}");
        self
    }

    /// Stderr says this somewhere.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        assert!(self.err.contains(part), "{part:?} is not said: {self:#?}");
        self
    }

    /// Every line of stdout, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        let read = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        };
        self.out.lines().map(read).collect()
    }
}

/// A command that runs on. It is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) out: Lines,
    pub(crate) err: Lines,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Lines::of(child.stdout.take().unwrap());
        let err = Lines::of(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// Sends a signal by name: `INT`, `TERM`.
    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().unwrap();
        assert!(status.success(), "{kill}");
    }

    /// What is typed to it, if it was started with a pipe for it.
    pub(crate) fn keyboard(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end, which shows at the end of its output.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        while self.out.next().is_some() {}
        while self.err.next().is_some() {}
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The lines of a pipe as they come.
pub(crate) struct Lines {
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let seen = Vec::new();
        Self { lines, seen }
    }

    /// The next line; nothing at the end.
    pub(crate) fn next(&mut self) -> Option<String> {
        use std::sync::mpsc::RecvTimeoutError;
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => {
                self.seen.push(line.clone());
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing more came after {:#?}", self.seen),
        }
    }

    /// Waits for a line of JSON that is as wanted.
    #[track_caller]
    pub(crate) fn until_json(&mut self, mut wanted: impl FnMut(&Value) -> bool) {
        self.until(|line| wanted(&serde_json::from_str(line).unwrap()));
    }

    /// Waits for a line that is as wanted.
    #[track_caller]
    pub(crate) fn until(&mut self, mut wanted: impl FnMut(&str) -> bool) -> String {
        let clock = Clock::system();
        let end = clock.now().moment.after(DEADLINE);
        while clock.now().moment < end {
            match self.next() {
                Some(line) if wanted(&line) => return line,
                Some(_) => {}
                None => panic!("it ended without the line that is wanted: {:#?}", self.seen),
            }
        }
        panic!("the line that is wanted did not come: {:#?}", self.seen);
    }
}
