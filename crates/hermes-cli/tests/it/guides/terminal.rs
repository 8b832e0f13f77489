//! A shell that is told one command at a time, and what is seen of it.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use hermes_discovery::clock::Clock;

use super::guide::{Guide, Shown, Typed};
use super::place::Place;
use super::shown::{is_json_seen, missing};
use crate::command::Running;

/// How long it may take until what a guide shows is seen.
const PATIENCE: Duration = Duration::from_secs(40);

/// Commands that go on, by how they begin, and what they say when they have begun. Whoever types
/// waits for it; so does the player.
const GOING_ON: [(&str, &str); 2] = [
    ("hermes serve", "listening on http"),
    ("hermes watch", "this is the state at revision"),
];

/// What stands in for a command that is done already: the binary under test is the one on the PATH.
const DONE_ALREADY: &str = "cargo install ";

pub(super) struct Terminal<'a> {
    place: &'a Place,
    shell: Running,
    keyboard: ChildStdin,
    /// Everything that one sees, of all commands in their order.
    transcript: PathBuf,
    typed: usize,
}

impl<'a> Terminal<'a> {
    pub(super) fn open(place: &'a Place) -> Self {
        let mut command = place.shell();
        for name in ["ADDR", "NAMESPACE", "TIMEOUT", "LOG_LEVEL", "DATA_DIR"] {
            command.env_remove(format!("HERMES_{name}"));
        }
        command.stdin(Stdio::piped());
        let mut shell = Running::start(command);
        let mut keyboard = shell.keyboard().unwrap();
        // Jobs, as at a prompt: `kill %1`.
        keyboard.write_all(b"set -m\n").unwrap();
        let transcript = place.aside.path().join("transcript");
        fs::write(&transcript, "").unwrap();
        Self {
            place,
            shell,
            keyboard,
            transcript,
            typed: 0,
        }
    }

    /// Everything that was seen so far.
    pub(super) fn transcript(&self) -> String {
        let bytes = fs::read(&self.transcript).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Types a command, and waits for its end, or for its beginning if it goes on.
    pub(super) fn run(&mut self, guide: &Guide, command: &Typed) {
        let place = format!("{}:{}", guide.path, command.line);
        println!("{place}: {}", command.text.trim_end());
        if command.text.starts_with(DONE_ALREADY) {
            return;
        }
        let from = self.transcript().len();
        let going_on = GOING_ON
            .iter()
            .find(|(begin, _)| command.text.starts_with(begin))
            // What goes elsewhere is not seen to begin.
            .filter(|_| command.exit == 0 && !command.text.contains(['|', '>']));
        let is_job = command.text.trim_end().ends_with('&');
        let file = self.write(command, going_on.is_some() && !is_job);
        let transcript = self.transcript.display();
        let typed = format!(". '{file}' </dev/null >>'{transcript}' 2>&1; echo \"ended $?\"\n");
        self.keyboard.write_all(typed.as_bytes()).unwrap();
        let Some(ended) = self.shell.out.next() else {
            panic!("{place}: the shell ended\n{}", self.transcript());
        };
        assert_eq!(
            ended,
            format!("ended {}", command.exit),
            "{place}: another exit code than the guide says\n\n  {}\n{}",
            command.text,
            &self.transcript()[from..]
        );
        if let Some((_, begun)) = going_on {
            self.until(|terminal| {
                let seen = &terminal.transcript()[from..];
                let has_begun = seen.contains(begun);
                has_begun.then_some(()).ok_or_else(|| {
                    format!("{place}: it does not begin\n\n  {}\n{seen}", command.text)
                })
            });
        }
    }

    /// Waits until what a guide shows is seen.
    pub(super) fn expect(&self, guide: &Guide, shown: &Shown, from: usize) {
        let lines: Vec<String> = shown
            .lines
            .iter()
            .map(|l| self.place.translate(l))
            .collect();
        self.until(|terminal| {
            let seen = &terminal.transcript()[from..];
            let missing = if shown.is_json {
                let is_seen = is_json_seen(&lines, seen);
                (!is_seen).then_some("an object as it is shown")
            } else {
                missing(&lines, seen)
            };
            missing.map_or(Ok(()), |missing| {
                let (path, line) = (&guide.path, shown.line);
                Err(format!(
                    "{path}:{line}: this is shown and not seen:\n\n  {missing}\n\nseen:\n{seen}"
                ))
            })
        });
    }

    /// Writes a command to a file, which is less to quote; one for another terminal so that it
    /// becomes nobody's job.
    fn write(&mut self, command: &Typed, is_elsewhere: bool) -> String {
        self.typed += 1;
        let mut text = self.place.translate(&command.text);
        if is_elsewhere {
            let home = self.place.home.path().display();
            text = format!("( cd '{home}'\n{{ {}\n}} & )\n", text.trim_end());
        }
        let file = self
            .place
            .aside
            .path()
            .join(format!("typed-{}", self.typed));
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    /// Asks until the answer is good, with a deadline. What is asked is a file that others write
    /// to; nothing tells when they do.
    #[expect(clippy::disallowed_methods, reason = "see above")]
    fn until(&self, ask: impl Fn(&Self) -> Result<(), String>) {
        let clock = Clock::system();
        let end = clock.now().moment.after(PATIENCE);
        loop {
            match ask(self) {
                Ok(()) => return,
                Err(what) if clock.now().moment >= end => panic!("{what}"),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        if self.place.is_shared() {
            let session = self.shell.id().to_string();
            let mut kill = Command::new("pkill");
            kill.args(["-KILL", "-s", &session]).output().ok();
        }
        // Elsewhere everything ends with the shell.
    }
}
