//! Several programs at once: how they end, and how they are replaced.

use super::{Stack, until, until_ready};
use crate::command::{Running, end};
use crate::program::ask;
use crate::server::Server;

const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn it_ends_when_all_have_ended_and_says_whether_one_has_failed() {
    let fine = Stack::of("services: {a: {command: 'exit 0'}, b: {command: 'true'}}");
    end(&mut fine.command(NOBODY, "")).exits(0);
    let one = Stack::of(
        "services:\n  \
           a: {command: 'exit 3'}\n  \
           b: {command: [no-such-command]}\n  \
           c: {command: 'true'}\n",
    );
    let ran = end(&mut one.command(NOBODY, "")).exits(1);
    let ran = ran.shows("a       failed        exit code 3; it is not started again");
    ran.shows("b       failed        `no-such-command` is not found")
        .shows("c       ended         exit code 0");
}

#[test]
fn what_reads_its_input_waits_for_ever() {
    let stack = Stack::of("services: {a: {command: 'cat; echo over'}, b: {command: 'exit 0'}}");
    let mut up = Running::start(stack.command(NOBODY, ""));
    until(&mut up, "b", "ended");
    up.signal("TERM");
    assert_eq!(
        until(&mut up, "a", "ended"),
        "the command has ended: killed by SIGTERM"
    );
    assert_eq!(up.wait().code(), Some(0));
}

#[test]
fn ctrl_c_does_not_wait_for_those_who_might_still_come() {
    let server = Server::start();
    let stack = Stack::of(
        "services:\n  \
           db: {command: PROGRAM, check: none, drain_time: 1h}\n  \
           web: {command: PROGRAM, check: none, drain_time: 1h, needs: [db]}\n",
    );
    let mut up = stack.up(&server);
    until_ready(&mut up, "web");
    up.signal("INT");
    until(&mut up, "web", "ended");
    until(&mut up, "db", "stopping");
    assert_eq!(up.wait().code(), Some(0));
}

#[test]
fn the_same_signal_once_more_goes_to_the_next_step() {
    let server = Server::start();
    let stack = Stack::of("services: {web: {command: PROGRAM, check: none, drain_time: 1h}}");
    let mut up = stack.up(&server);
    until_ready(&mut up, "web");
    up.signal("TERM");
    until(&mut up, "web", "draining");
    up.signal("TERM");
    until(&mut up, "web", "stopping");
    assert_eq!(up.wait().code(), Some(0));
}

#[test]
fn several_endpoints_of_one_service_are_replaced_one_by_one() {
    let server = Server::start();
    let stack =
        Stack::of("services: {web: {command: PROGRAM, check: none, endpoints: 2, drain_time: 0s}}");
    let mut up = stack.up(&server);
    // They do not wait for each other, so either may be first.
    let mut ready = 0;
    up.out.until(|line| {
        ready += usize::from(line.contains("  ready  "));
        ready == 2
    });
    let shown = server.run("endpoints web -o json").exits(0).json();
    assert_eq!(shown[0]["ready"], 2);
    up.signal("USR2");
    until_ready(&mut up, "web.1");
    until(&mut up, "web.1", "stopping");
    until_ready(&mut up, "web.2");
    until(&mut up, "web.2", "stopping");
    up.out.until(|line| line.ends_with("rolling restart: done"));
    let shown = server.run("endpoints web -o json").exits(0).json();
    assert_eq!(shown[0]["total"], 2);
}

#[test]
fn with_a_port_of_its_own_the_old_one_leaves_first() {
    let server = Server::start();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let stack = Stack::of(&format!(
        "services: {{web: {{command: PROGRAM, check: none, port: {port}, drain_time: 0s}}}}"
    ));
    let mut up = stack.up(&server);
    let url = until_ready(&mut up, "web");
    let before = ask(&url, "/").unwrap();
    up.signal("USR2");
    until(&mut up, "web", "stopping");
    assert_eq!(until_ready(&mut up, "web"), url);
    assert_ne!(ask(&url, "/").unwrap(), before);
}

#[test]
fn a_rolling_restart_that_cannot_go_on_leaves_what_runs() {
    let server = Server::start();
    let words = crate::program::command().join(" ");
    let stack = Stack::of(&format!(
        "services:\n  \
           web:\n    \
             command: 'if [ -e stop ]; then exit 9; fi; exec {words}'\n    \
             check: none\n    drain_time: 0s\n"
    ));
    let mut up = stack.up(&server);
    let url = until_ready(&mut up, "web");
    std::fs::write(stack.directory.path().join("stop"), "").unwrap();
    up.signal("USR2");
    up.out
        .until(|line| line.contains("rolling restart: given up"));
    assert!(ask(&url, "/").is_ok());
    server.run("resolve web").exits(0).prints(&[&url]);
    // That it did not go is not forgotten.
    up.signal("TERM");
    assert_eq!(up.wait().code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn after_kill_9_nothing_of_it_is_left() {
    use hermes_core::time::Moment;
    use hermes_discovery::clock::Clock;
    let server = Server::start();
    let stack = Stack::of(
        "services: {web: {command: PROGRAM, check: none}, db: {command: PROGRAM, check: none}}",
    );
    let mut up = stack.up(&server);
    let mut pids = Vec::new();
    up.out.until(|line| {
        if let Some((_, rest)) = line.split_once("(pid ") {
            pids.push(rest.split(')').next().unwrap().to_owned());
        }
        pids.len() == 2
    });
    let clock = Clock::system();
    up.signal("KILL");
    let runs = |pid: &String| {
        // A zombie runs no more; who buries it is not our business.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().unwrap_or_default();
        !state.is_empty() && !state.starts_with('Z')
    };
    while pids.iter().any(runs) {
        let took = clock.moment().since(Moment(0));
        assert!(took < std::time::Duration::from_secs(2), "{pids:?}");
        std::thread::yield_now();
    }
}
