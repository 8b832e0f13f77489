//! `hermes up`, with real processes: several programs that belong together.

mod file;
mod many;
mod story;

use std::path::PathBuf;

use tempfile::TempDir;

use crate::command::{Running, hermes};
use crate::program;
use crate::server::Server;

/// A stack file in a directory of its own.
struct Stack {
    directory: TempDir,
}

impl Stack {
    /// A stack in which `PROGRAM` stands for the program that answers, as a list of words.
    fn of(text: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let words: Vec<String> = program::command()
            .iter()
            .map(|word| format!("{word:?}"))
            .collect();
        let text = text.replace("PROGRAM", &format!("[{}]", words.join(", ")));
        std::fs::write(directory.path().join("stack.yaml"), text).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("stack.yaml")
    }

    /// `hermes up` with more arguments, not started yet.
    fn command(&self, url: &str, arguments: &str) -> std::process::Command {
        let mut up = hermes(&format!("up {arguments}"));
        up.arg("-f").arg(self.path());
        up.env("HERMES_ADDR", url).env(program::PLAY, "1");
        up
    }

    fn up(&self, server: &Server) -> Running {
        Running::start(self.command(&server.url, ""))
    }
}

/// Waits for the line that says that `label` is in a state, and gives what else it says.
#[track_caller]
fn until(up: &mut Running, label: &str, state: &str) -> String {
    let is_it = |line: &str| {
        let rest = line.strip_prefix(label)?.strip_prefix(' ')?;
        rest.trim_start().strip_prefix(state).map(str::to_owned)
    };
    let line = up.out.until(|line| is_it(line).is_some());
    is_it(&line).unwrap().trim().to_owned()
}

/// Waits until `label` is ready, and gives its URL.
#[track_caller]
fn until_ready(up: &mut Running, label: &str) -> String {
    let detail = until(up, label, "ready");
    detail.split(' ').next().unwrap().to_owned()
}
