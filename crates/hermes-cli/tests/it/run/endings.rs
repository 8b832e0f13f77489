//! Exit codes: those of the command, and those of `hermes run` itself.

use super::{run, run_shell};
use crate::command::{end, hermes};

/// Nobody listens there (port 1 is tcpmux); no exit code depends on a server.
const NOBODY: &str = "http://127.0.0.1:1";

#[test]
fn the_exit_code_of_the_command_is_passed_on() {
    for code in [0, 1, 2, 7, 125, 255] {
        let script = format!("exit {code}");
        end(&mut run_shell(NOBODY, "--name web --port auto", &script)).exits(code);
    }
}

#[test]
fn a_command_that_a_signal_ends_gives_128_and_the_signal() {
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("USR1", 138), ("ABRT", 134)] {
        let script = format!("kill -{signal} $$; sleep 10");
        let ran = end(&mut run_shell(NOBODY, "--name web --port auto", &script));
        ran.exits(code).says(&format!("killed by SIG{signal}"));
    }
}

#[test]
fn what_is_not_there_is_127_and_what_cannot_be_executed_126() {
    let directory = tempfile::tempdir().unwrap();
    let script = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let plain = script("plain", "echo no", 0o644);
    // The kernel says no to these only when they are executed.
    let nonsense = script("nonsense", "#!/\n", 0o755);
    let orphan = script("orphan", "#!/no/such/interpreter\n", 0o755);
    let folder = directory.path().to_str().unwrap();
    let cases = [
        ("no-such-command", 127),
        ("/no/such/command", 127),
        ("./no-such-command", 127),
        (&*orphan, 127),
        (&*plain, 126),
        (&*nonsense, 126),
        (folder, 126),
    ];
    for (command, code) in cases {
        // What cannot be executed is not tried again either.
        let options = "--name web --port auto --restart always";
        let ran = end(&mut run(NOBODY, options, &[command]));
        ran.exits(code).says(command);
    }
    let mut hidden = run(NOBODY, "--name web --port auto", &["plain"]);
    end(hidden.env("PATH", directory.path())).exits(126);
}

#[test]
fn wrong_usage_is_a_failure_of_hermes_itself() {
    let cases = [
        ("run", "--name"),
        ("run --name web --port auto", "COMMAND"),
        ("run --name web -- true", "--port"),
        ("run --name web --port 0 -- true", "1 to 65535"),
        ("run --name w.b --port 1 -- true", "not allowed"),
        ("run --bogus", "--bogus"),
        ("--addr http://a:1 run --name web", "--port"),
        ("run --name web --port 1 --resolve a -- true", "NAME=VALUE"),
        (
            "run --name web --port 1 --restart often -- true",
            "on-failure",
        ),
        (
            "run --name web --port 1 --drain-time soon -- true",
            "a duration",
        ),
    ];
    for (arguments, part) in cases {
        let ran = end(&mut hermes(arguments));
        assert_eq!(ran.code, Some(125), "{arguments}: {ran:#?}");
        ran.says(part);
    }
    // It is asked for here.
    end(&mut hermes("run --help")).exits(0);
    // Another command's arguments are its own.
    end(&mut hermes("resolve run --bogus")).exits(2);
}
