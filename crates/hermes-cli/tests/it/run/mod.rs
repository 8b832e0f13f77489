//! `hermes run`, with real processes: how a program joins, and how it leaves.

mod away;
mod endings;
mod kill;
mod life;
mod needs;
mod restart;
mod signals;

use crate::command::{Running, hermes};
use crate::program;
use crate::server::Server;

/// `hermes run OPTIONS -- COMMAND` against a server.
fn run(url: &str, options: &str, command: &[&str]) -> std::process::Command {
    let mut run = hermes(&format!("run {options} --"));
    run.args(command).env("HERMES_ADDR", url);
    run
}

/// The same with a shell as the command.
fn run_shell(url: &str, options: &str, script: &str) -> std::process::Command {
    run(url, options, &["sh", "-c", script])
}

/// The same with the program that answers.
fn run_program(url: &str, options: &str) -> std::process::Command {
    let command = program::command();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut run = run(url, options, &command);
    run.env(program::PLAY, "1");
    run
}

/// A program `web` that runs and is registered, on a port of its own and without checks.
fn web(server: &Server, options: &str) -> Running {
    let options = format!("--name web --port auto --check none {options}");
    let mut running = Running::start(run_program(&server.url, &options));
    until_registered(&mut running);
    running
}

/// Waits until it is registered, and gives its id and its URL.
fn until_registered(running: &mut Running) -> (String, String) {
    let line = running
        .err
        .until(|line| line.starts_with("hermes: registered "));
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        [_, "registered", id, "in", _, "at", url] => (id.to_owned(), url.to_owned()),
        _ => panic!("{line:?}"),
    }
}

/// The URL that the service has now.
fn resolve(server: &Server, service: &str) -> String {
    let ran = server.run(&format!("resolve {service}")).exits(0);
    ran.out.trim_end().to_owned()
}

/// A shell that says when it is ready for signals, and stays.
fn staying(traps: &str) -> String {
    format!("{traps}\necho ready; while :; do sleep 0.05; done")
}
