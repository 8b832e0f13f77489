//! What the command says about itself.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::command::{end, hermes, run};

const COMMANDS: &[&str] = &[
    "serve",
    #[cfg(unix)]
    "run",
    #[cfg(unix)]
    "up",
    "register",
    "deregister",
    "heartbeat",
    "drain",
    "undrain",
    "patch",
    "services",
    "endpoints",
    "resolve",
    "select",
    "wait",
    "watch",
    "status",
    "log",
    "completions",
    "man",
];

#[test]
fn every_help_has_examples_and_goes_to_stdout() {
    for command in COMMANDS.iter().copied().chain([""]) {
        let ran = run(&format!("{command} --help")).exits(0);
        assert!(
            ran.out.contains("Examples:\n  hermes"),
            "{command}: {}",
            ran.out
        );
        assert!(
            !ran.out.contains('\x1b'),
            "{command}: colours without a terminal"
        );
        assert_eq!(ran.err, "");
    }
    let help = run("--help").out;
    for command in COMMANDS {
        assert!(help.contains(&format!("  {command} ")), "{command}: {help}");
    }
    assert!(help.contains("Exit codes:") && help.contains("7    known, but nothing ready"));
}

#[test]
fn the_version_is_that_of_the_package() {
    let expected = format!("hermes {}", env!("CARGO_PKG_VERSION"));
    run("--version").exits(0).prints(&[&expected]);
}

#[test]
fn completions_are_scripts_that_their_shell_can_read() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&format!("completions {shell}")).exits(0).out;
        assert!(script.contains("deregister"), "{shell}");
        // Those that are installed here are asked; bash always is, the tests are started by it.
        let is_installed = Command::new(shell).arg("--version").output().is_ok();
        if !is_installed || !["bash", "zsh", "fish"].contains(&shell) {
            continue;
        }
        let mut reader = Command::new(shell)
            .arg("-n")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        reader
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        assert!(reader.wait().unwrap().success(), "{shell}");
    }
}

#[test]
fn errors_have_colours_only_on_a_terminal() {
    let ran = end(&mut hermes("resolve web --addr http://127.0.0.1:1"));
    assert!(
        ran.err.starts_with("error: ") && !ran.err.contains('\x1b'),
        "{ran:?}"
    );
}
