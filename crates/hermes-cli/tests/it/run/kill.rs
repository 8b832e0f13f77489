//! `kill -9` of `hermes run` itself: nothing of the command is left.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use hermes_discovery::clock::Clock;

use super::{run_shell, web};
use crate::command::Running;
use crate::server::Server;

/// What the documentation promises.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Kills `hermes run`, and waits for the end of its output: it comes when nobody is left who could
/// write.
fn kill_and_wait(running: &mut Running) {
    let clock = Clock::system();
    running.signal("KILL");
    while running.out.next().is_some() {}
    let took = clock.moment().since(hermes_core::time::Moment(0));
    assert!(took < GONE_WITHIN, "{took:?}");
}

#[test]
fn the_command_and_what_it_has_started_are_gone_and_the_lease_does_the_rest() {
    let server = Server::start();
    let command = crate::program::command().join(" ");
    // The shell is the command, the program its child.
    let script = format!("{command} & echo $!; wait");
    let options = "--name web --port auto --check none --ttl 1s";
    let mut shell = run_shell(&server.url, options, &script);
    shell.env(crate::program::PLAY, "1");
    let mut running = Running::start(shell);
    super::until_registered(&mut running);
    let mut watch = server.start_command("watch web -o json");
    watch.out.until_json(|event| event["event"] == "synced");
    kill_and_wait(&mut running);
    watch
        .out
        .until_json(|event| event["data"]["type"] == "expired");
}

#[test]
fn what_a_command_leaves_behind_goes_with_it() {
    let script = "(trap '' HUP TERM INT; echo left; while :; do sleep 0.05; done) &\n\
                  read line; exit 3";
    let mut shell = run_shell("http://127.0.0.1:1", "--name web --port auto", script);
    shell.stdin(Stdio::piped());
    let mut running = Running::start(shell);
    let mut keyboard = running.keyboard().unwrap();
    assert_eq!(running.out.next().as_deref(), Some("left"));
    keyboard.write_all(b"end\n").unwrap();
    assert_eq!(running.wait().code(), Some(3));
}

#[cfg(target_os = "linux")]
#[test]
fn without_the_guard_the_kernel_still_ends_the_command() {
    use std::fs;
    let server = Server::start();
    let mut running = web(&server, "");
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let parent = |pid: u32| {
        let stat = stat(pid);
        let rest = stat.rsplit(')').next().unwrap_or_default().to_owned();
        rest.split_whitespace()
            .nth(1)
            .and_then(|pid| pid.parse::<u32>().ok())
    };
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let ours = pids.filter(|pid| parent(*pid) == Some(running.id()));
    let is_guard = |pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.contains("__guard")
    };
    let (guards, others): (Vec<u32>, Vec<u32>) = ours.partition(is_guard);
    assert_eq!(
        (guards.len(), others.len()),
        (1, 1),
        "{guards:?} {others:?}"
    );
    let kill = format!("kill -9 {}", guards[0]);
    std::process::Command::new("sh")
        .args(["-c", &kill])
        .status()
        .unwrap();
    kill_and_wait(&mut running);
}
