//! Signals: handed on, or the beginning of the end.

use super::{run_program, run_shell, staying, web};
use crate::command::{Running, command};
use crate::server::Server;

const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn every_signal_that_is_not_the_end_is_handed_on() {
    let all = ["HUP", "INT", "QUIT", "USR1", "USR2", "WINCH"];
    let traps: Vec<String> = all
        .iter()
        .map(|name| format!("trap 'echo got {name}' {name}"))
        .collect();
    let script = staying(&traps.join("\n"));
    let mut running = Running::start(run_shell(NOBODY, "--name web --port auto", &script));
    running.out.until(|line| line == "ready");
    for name in all {
        running.signal(name);
        running.out.until(|line| line == format!("got {name}"));
    }
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(143));
}

#[test]
fn what_asks_a_command_for_something_is_not_for_its_children() {
    // The child in the same process group would die of it.
    let script = staying(
        "trap 'echo got USR1' USR1\n(while :; do sleep 0.05; done) & child=$!\n\
                          trap 'kill -0 $child && echo child lives' USR2",
    );
    let mut running = Running::start(run_shell(NOBODY, "--name web --port auto", &script));
    running.out.until(|line| line == "ready");
    running.signal("USR1");
    running.out.until(|line| line == "got USR1");
    running.signal("USR2");
    running.out.until(|line| line == "child lives");
    running.signal("INT");
    assert_eq!(running.wait().code(), Some(130));
}

#[test]
fn a_command_that_does_not_end_is_killed() {
    let script = staying("trap 'echo no' TERM");
    let options = "--name web --port auto --stop-timeout 200ms";
    let mut running = Running::start(run_shell(NOBODY, options, &script));
    running.out.until(|line| line == "ready");
    running.signal("TERM");
    running.out.until(|line| line == "no");
    running
        .err
        .until(|line| line.contains("the command is killed"));
    assert_eq!(running.wait().code(), Some(137));
}

#[test]
fn each_further_sigterm_goes_to_the_next_step_at_once() {
    let server = Server::start();
    let options = "--name web --port auto --check none --drain-time 1h --stop-timeout 1h";
    let command = crate::program::command().join(" ");
    let script = format!("trap 'echo no' TERM; {command} & while :; do sleep 0.05; done");
    let mut shell = run_shell(&server.url, options, &script);
    shell.env(crate::program::PLAY, "1");
    let mut running = Running::start(shell);
    super::until_registered(&mut running);
    running.signal("TERM");
    running
        .err
        .until(|line| line.contains("draining; the command is ended in 3600 s"));
    running.signal("TERM");
    running.out.until(|line| line == "no");
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(137));
}

#[test]
fn ctrl_c_ends_it_at_once_and_without_a_restart() {
    let server = Server::start();
    let mut running = web(&server, "--drain-time 1h --restart always");
    running.signal("INT");
    running
        .err
        .until(|line| line.starts_with("hermes: deregistered "));
    assert_eq!(running.wait().code(), Some(130));
}

#[test]
fn a_command_that_ends_by_the_signal_that_was_handed_on_is_not_restarted() {
    let server = Server::start();
    let mut running = web(&server, "--restart always");
    running.signal("HUP");
    assert_eq!(running.wait().code(), Some(129));
}

#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let server = Server::start();
    let run = run_program(
        &server.url,
        "--name web --port auto --check none --drain-time 0s",
    );
    let mut shell = command("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    shell.arg(run.get_program()).args(run.get_args());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut running = Running::start(shell);
    let (_, url) = super::until_registered(&mut running);
    running.signal("HUP");
    assert!(crate::program::ask(&url, "/").is_ok());
    running.signal("TERM");
    assert_eq!(running.wait().code(), Some(143));
}
