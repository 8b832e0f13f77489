//! The stack file: what is wrong with it, and what of it is wanted.

use super::Stack;
use crate::command::{Running, end, hermes, run};
use crate::server::Server;

const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn everything_that_is_wrong_is_told_at_once_and_nothing_is_started() {
    let stack = Stack::of(
        "services:\n  \
           fine: {command: touch started}\n  \
           a: {command: x, needs: [b]}\n  \
           b: {command: x, needs: [a]}\n  \
           c: {command: x, needs: [fien], port: none}\n",
    );
    let ran = end(&mut stack.command(NOBODY, "")).exits(2).prints(&[]);
    let ran = ran.says("line 3: a needs b needs a: none of them can be started first");
    let ran = ran
        .says("line 5: services.c needs `fien`")
        .says("did you mean fine?");
    ran.says("line 5: services.c.port: `auto` or a number")
        .says("nothing was started");
    assert!(!stack.directory.path().join("started").exists());
}

#[test]
fn a_file_that_is_not_there_is_told_with_what_to_do() {
    run("up -f no/such/stack.yaml")
        .exits(2)
        .says("no/such/stack.yaml cannot be read")
        .says("-f FILE");
    let stack = Stack::of("services: {web: {command: x}}");
    end(&mut stack.command(NOBODY, "--only wbe"))
        .exits(2)
        .says("did you mean web?");
}

#[test]
fn a_command_runs_in_the_folder_of_the_file_with_what_is_set() {
    let stack = Stack::of(
        "services:\n  \
           web: {command: [sh, -c, 'echo \"$PWD $A\"; pwd >&2'], env: {A: set}}\n",
    );
    let folder = stack.directory.path().canonicalize().unwrap();
    let ran = end(&mut stack.command(NOBODY, "")).exits(0);
    let ran = ran.shows(&format!("web    | {} set\n", folder.display()));
    ran.says(&format!("web    | {}\n", folder.display()));
    // And where the file is the one that is looked for.
    let mut here = hermes("up");
    let ran = end(here.current_dir(&folder).env("HERMES_ADDR", NOBODY)).exits(0);
    ran.shows(&format!("web    | {} set\n", folder.display()));
}

#[test]
fn only_what_is_wanted_is_run_and_what_it_needs_is_waited_for() {
    let server = Server::start();
    let stack = Stack::of(
        "services:\n  \
           db: {command: PROGRAM}\n  \
           web: {command: PROGRAM, needs: [db], check: none}\n",
    );
    let mut up = Running::start(stack.command(&server.url, "--only web"));
    super::until(&mut up, "web", "waiting");
    server.register("db", "elsewhere");
    super::until_ready(&mut up, "web");
    up.signal("INT");
    assert_eq!(up.wait().code(), Some(0));
}
