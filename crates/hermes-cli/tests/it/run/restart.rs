//! Started again: when, and as whom.

use super::{run_shell, until_registered, web};
use crate::command::{Running, end};
use crate::program::ask;
use crate::server::Server;

#[test]
fn a_crash_is_followed_by_the_same_endpoint_as_a_new_incarnation() {
    let server = Server::start();
    let mut watch = server.start_command("watch web -o json");
    watch.out.until_json(|event| event["event"] == "synced");
    let mut running = web(&server, "--restart on-failure");
    let mut incarnation = 0;
    watch.out.until_json(|event| {
        incarnation = event["data"]["incarnation"].as_u64().unwrap_or_default();
        event["data"]["type"] == "registered"
    });
    let url = super::resolve(&server, "web");
    ask(&url, "/exit/3").unwrap_err();
    running
        .err
        .until(|line| line == "hermes: the command has ended: exit code 3");
    watch
        .out
        .until_json(|event| event["data"]["type"] == "deregistered");
    running
        .err
        .until(|line| line.starts_with("hermes: the command is started again in 0."));
    let (_, again) = until_registered(&mut running);
    assert_eq!(again, url);
    watch.out.until_json(|event| {
        let is_registered = event["data"]["type"] == "registered";
        is_registered && event["data"]["incarnation"].as_u64().unwrap() > incarnation
    });
}

#[test]
fn the_policy_decides_what_is_followed_by_a_restart() {
    for (policy, code, is_restarted) in [
        ("never", 3, false),
        ("on-failure", 0, false),
        ("on-failure", 3, true),
        ("always", 0, true),
    ] {
        let options = format!("--name web --port auto --restart {policy}");
        let script = format!("echo started; exit {code}");
        let mut running = Running::start(run_shell("http://127.0.0.1:1", &options, &script));
        assert_eq!(
            running.out.next().as_deref(),
            Some("started"),
            "{policy} {code}"
        );
        let again = running.out.next();
        assert_eq!(again.is_some(), is_restarted, "{policy} {code}");
        // Whoever has ended already does not mind.
        running.signal("TERM");
        let expected = if is_restarted { None } else { Some(code) };
        let ended = running.wait().code();
        assert!(expected.is_none_or(|code| ended == Some(code)), "{ended:?}");
    }
}

#[test]
fn a_signal_ends_the_wait_for_the_next_start() {
    let options = "--name web --port auto --restart always";
    let mut running = Running::start(run_shell("http://127.0.0.1:1", options, "exit 0"));
    running
        .err
        .until(|line| line.contains("is started again in"));
    running
        .err
        .until(|line| line.contains("is started again in"));
    running.signal("TERM");
    // Either while it waits, or while the shell runs.
    let code = running.wait().code();
    assert!([Some(143), Some(0)].contains(&code), "{code:?}");
}

#[test]
fn without_a_policy_nothing_is_started_again() {
    end(&mut run_shell(
        "http://127.0.0.1:1",
        "--name web --port auto",
        "exit 9",
    ))
    .exits(9);
}
