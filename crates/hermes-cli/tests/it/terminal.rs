//! What a person sees: on a terminal, which `script` provides.

use crate::command::{command, end, hermes};
use crate::server::Server;

/// Everything that appears on a terminal of so many columns while a shell runs a script. It is also
/// written to a file as it comes; the script knows it as LOG.
fn seen(server: &Server, columns: u16, script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("seen").display().to_string();
    let script = script.replace("hermes", env!("CARGO_BIN_EXE_hermes"));
    let script = format!(
        "stty cols {columns} rows 24; {}",
        script.replace("LOG", &log)
    );
    let mut command = command("script");
    command.args(["-qefc", &script, &log]);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "HERMES_NAMESPACE"] {
        command.env_remove(name);
    }
    command.env("HERMES_ADDR", &server.url).env("TERM", "xterm");
    end(&mut command).out.replace("\r\n", "\n")
}

/// The lines without their colours.
fn plain(seen: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in seen.lines() {
        let mut parts = line.split('\x1b');
        let mut text = parts.next().unwrap_or_default().to_owned();
        // A colour goes from `[` to `m`.
        text.extend(
            parts
                .filter_map(|part| part.split_once('m'))
                .map(|(_, text)| text),
        );
        lines.push(text);
    }
    lines
}

#[test]
fn a_table_fits_the_terminal_and_loses_nothing_that_matters() {
    let server = Server::start();
    let long = "web-with-a-name-as-long-as-orchestrators-make-them-7d4b9c6f5-x2x9z";
    server.register("web", "a");
    server.register("web", long);
    server
        .run("register web http://127.0.0.1:9 --id sick --check tcp")
        .exits(0);
    for columns in [80, 100, 200] {
        let seen = seen(&server, columns, "hermes endpoints web; hermes status");
        let lines = plain(&seen);
        for line in &lines {
            assert!(
                line.chars().count() <= usize::from(columns),
                "{columns}: {line}"
            );
        }
        let text = lines.join("\n");
        assert!(text.contains(long), "{text}");
        assert!(seen.contains("\x1b[32mhealthy"), "{seen:?}");
    }
    // Through a pipe a row is a line, however long.
    let piped = server.run("endpoints web").exits(0).out;
    assert_eq!(piped.lines().count(), 4, "{piped}");
}

#[test]
fn a_status_of_many_troubles_is_one_screen_and_names_every_service() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("many.yaml");
    let list = (1..=300).map(|n| format!("    - {{id: e-{n}, host: 127.0.0.1, port: {n}}}\n"));
    let text = format!(
        "services:\n  many:\n{}  sick: http://127.0.0.1:9\n",
        list.collect::<String>()
    );
    std::fs::write(&file, text).unwrap();
    server
        .run(&format!("register -f {}", file.display()))
        .exits(0);
    let seen = seen(&server, 80, "hermes status");
    let lines = plain(&seen);
    assert!(lines.len() <= 24, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{lines:#?}"
    );
    let text = lines.join("\n");
    assert!(
        text.contains("0 ready of 301") && text.contains("and 296 more"),
        "{text}"
    );
    assert!(text.contains("\nsick "), "{text}");
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let server = Server::start();
    server.register("web", "a");
    let on_terminal = |before: &str| {
        let seen = seen(&server, 80, &format!("{before} hermes endpoints web"));
        seen.contains("\x1b[32m")
    };
    assert!(on_terminal(""));
    for none in [
        "NO_COLOR=1",
        "CLICOLOR=0",
        "TERM=dumb",
        "NO_COLOR=1 CLICOLOR_FORCE=1",
    ] {
        assert!(!on_terminal(none), "{none}");
    }
    let mut piped = hermes("endpoints web");
    piped.env("HERMES_ADDR", &server.url);
    assert!(!end(&mut piped).out.contains('\x1b'));
    assert!(
        end(piped.env("CLICOLOR_FORCE", "1"))
            .out
            .contains("\x1b[32m")
    );
}

#[test]
fn what_is_waited_for_turns_and_leaves_no_trace() {
    let server = Server::start();
    let seen = seen(&server, 60, "hermes wait nobody --timeout 4s");
    assert!(
        seen.contains(" waiting for nobody (not registered)"),
        "{seen:?}"
    );
    // What was drawn last was wiped before the error came.
    let (drawn, after) = seen
        .rsplit_once("waiting for nobody (not registered)")
        .unwrap();
    assert!(drawn.contains("\r\x1b[2K"), "{drawn:?}");
    assert!(after.starts_with("\r\x1b[2K\x1b[31merror: "), "{after:?}");
    assert!(!after.contains("\x1b[?25l"), "no hidden cursor: {after:?}");
    // Where nobody looks, nothing turns.
    let piped = server.run("wait nobody --timeout 1s").exits(4);
    assert!(!piped.err.contains('\r'), "{piped:?}");
}

#[test]
fn ctrl_c_leaves_a_clean_terminal() {
    let server = Server::start();
    // A shell with jobs gives each its own group; the signal is what the key would send. (The file
    // begins with the script, which must not find itself.)
    let script = "set -m; hermes wait nobody & \
        until grep -q '[(]not registered' LOG; do sleep 0.1; done; \
        kill -INT %1; wait %1; echo code $?";
    let seen = seen(&server, 60, script);
    assert!(seen.contains("code 130"), "{seen:?}");
    let last = seen.rsplit_once("waiting for nobody").unwrap().1;
    assert!(last.contains("\r\x1b[2K"), "{seen:?}");
}
