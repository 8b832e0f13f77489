//! `hermes key`, and a server whose secrets appear nowhere.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{end, hermes};
use crate::server::Server;

/// `hermes key ...` on the keys in a directory.
fn key(directory: &Path, arguments: &str) -> Command {
    let mut command = hermes(&format!("key {arguments}"));
    command.env("HERMES_DATA_DIR", directory);
    command
}

/// Makes a key and gives its text back.
fn create(directory: &Path, arguments: &str) -> String {
    let ran = end(&mut key(directory, &format!("create {arguments}"))).exits(0);
    ran.out.trim().to_owned()
}

fn serve(directory: &Path, level: &str) -> Server {
    let directory = directory.display();
    Server::start_with(&format!("--data-dir {directory} --log-level {level}"))
}

#[test]
fn a_key_is_made_listed_rotated_and_revoked() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    end(&mut key(at, "list"))
        .exits(0)
        .prints(&[])
        .says("no key");
    let first = create(
        at,
        "web --role register --prefix web- --namespaces default,lab",
    );
    assert!(
        first.starts_with("hk_") && first.lines().count() == 1,
        "{first}"
    );
    end(&mut key(at, "create web --role read"))
        .exits(1)
        .says("rotate");
    end(&mut key(at, "create config --role read"))
        .exits(1)
        .says("another name");
    end(&mut key(at, "create root --role admin --prefix a"))
        .exits(2)
        .says("no bounds");
    end(&mut key(at, "create root --role owner"))
        .exits(2)
        .says("admin is expected");
    let listed = end(&mut key(at, "list")).exits(0);
    let listed = listed.shows("register web-* in default, lab");
    assert!(!listed.out.contains(&first), "a key is shown once");
    let second = end(&mut key(at, "rotate web --overlap 1h")).exits(0).out;
    assert_ne!(second.trim(), first);
    let all = end(&mut key(at, "list -o json")).exits(0).json();
    assert_eq!(all[0]["keys"].as_array().unwrap().len(), 2);
    end(&mut key(at, "revoke web")).exits(0).says("2 texts");
    end(&mut key(at, "revoke web"))
        .exits(1)
        .says("hermes key list");
    end(&mut key(at, "prune")).exits(0).says("1 forgotten");
}

#[test]
fn a_command_shows_its_key_from_the_environment_or_from_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let admin = create(at, "ops --role admin");
    let server = serve(at, "info");
    server.run("services").exits(5).says("HERMES_API_KEY");
    let ask = |name: &str, value: &str, arguments: &str| {
        let mut command = hermes(arguments);
        end(command.env("HERMES_ADDR", &server.url).env(name, value))
    };
    ask("HERMES_API_KEY", &admin, "services").exits(0);
    ask("HERMES_API_KEY", "hk_wrong", "services")
        .exits(5)
        .says("hermes key list");
    let file = at.join("ops.key");
    fs::write(&file, format!("{admin}\n")).unwrap();
    let file = file.display().to_string();
    ask("HERMES_API_KEY_FILE", &file, "services").exits(0);
    ask("HERMES_API_KEY_FILE", "/nowhere", "services")
        .exits(2)
        .says("/nowhere");
    ask("HERMES_API_KEY", " ", "services")
        .exits(2)
        .says("holds no key");
    let web = "register web http://127.0.0.1:9 --check none --id a";
    ask("HERMES_API_KEY", &admin, web).exits(0);
    let reader = create(at, "reader --role read");
    ask("HERMES_API_KEY", &admin, "services").exits(0);
    let denied = ask("HERMES_API_KEY", &reader, "deregister web a");
    denied.exits(5);
}

/// Everything that a server says and keeps, while keys are used, wrong ones too.
#[test]
fn secrets_appear_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let admin = create(at, "ops --role admin");
    let reader = create(at, "reader --role read");
    let shared = "planted-secret-of-the-environment";
    let wrong = format!("{}0000", &reader[..reader.len() - 4]);
    let mut command = hermes(&format!(
        "serve --listen 127.0.0.1:0 --data-dir {} --log-level trace --log-format json",
        at.display()
    ));
    command.env("SERVICE_DISCOVERY_API_KEY", shared);
    let mut server = Server::of(command);
    let mut said = String::new();
    for (secret, arguments) in [
        (
            &*admin,
            "register web http://127.0.0.1:9 --check none --id a",
        ),
        (&admin, "endpoints web a"),
        (&reader, "deregister web a"),
        (&reader, "services"),
        (&wrong, "services"),
        (shared, "services -o json"),
        ("planted-secret-that-is-wrong", "services"),
    ] {
        let mut command = hermes(arguments);
        let ran = end(command
            .env("HERMES_ADDR", &server.url)
            .env("HERMES_API_KEY", secret));
        said += &format!("{}\n{}\n", ran.out, ran.err);
    }
    let mut show = hermes("config check --show");
    let shown = end(show
        .env("SERVICE_DISCOVERY_API_KEY", shared)
        .current_dir(at))
    .exits(0);
    said += &format!("{}\n{}\n", shown.out, shown.err);
    #[cfg(target_os = "linux")]
    {
        let line = fs::read(format!("/proc/{}/cmdline", server.running.id())).unwrap();
        said += &String::from_utf8_lossy(&line);
    }
    server.running.signal("TERM");
    server.running.wait();
    while let Some(line) = server.running.err.next() {
        said += &format!("{line}\n");
    }
    for entry in fs::read_dir(at).unwrap() {
        said += &String::from_utf8_lossy(&fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(said.contains("\"ops\"") && said.contains("key_invalid") | said.contains("not one of"));
    let random = |key: &str| key.rsplit('_').next().unwrap().to_owned();
    for secret in [
        random(&admin),
        random(&reader),
        random(&wrong),
        shared.into(),
        "planted-secret-that-is-wrong".into(),
    ] {
        let at = said.find(&secret);
        let around = at.map(|at| &said[at.saturating_sub(200)..at]);
        assert_eq!(around, None, "a secret is shown");
    }
}
