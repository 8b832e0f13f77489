//! Where settings come from, seen through `hermes config check` and `hermes serve`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use hermes_server::settings::{SETTINGS, Setting};
use hermes_server::{Config, LogFormat};
use serde_json::Value;

use crate::command::{Ran, end, hermes};

/// `hermes config check --show -o json` in a directory, with variables.
fn check(directory: &Path, variables: &[(String, String)]) -> Ran {
    let mut command = hermes("config check --show -o json");
    command.current_dir(directory);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    end(&mut command)
}

/// Each key with its value and where it comes from.
fn shown(ran: &Ran) -> Vec<(String, String, String)> {
    let all = ran.json().remove(0);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let row = |row: &Value| (text(&row["key"]), text(&row["value"]), text(&row["from"]));
    all["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(row)
        .collect()
}

/// Another value than the default that a setting can have, a different one for each `turn`.
fn other(setting: &Setting, turn: usize) -> String {
    let candidates = match setting.placeholder() {
        "HOST:PORT" => ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"],
        "DIR" => ["one", "two", "three"],
        "DURATION" => ["1100ms", "1200ms", "1300ms"],
        "SIZE" => ["70KiB", "80KiB", "90KiB"],
        "N" => ["11", "12", "13"],
        "NETWORKS" => ["10.1.0.0/16", "10.2.0.0/16,fd00::/8", "10.3.0.0/16"],
        "BOOL" => ["false", "true", "false"],
        "FILE" => ["one.pem", "two.pem", "three.pem"],
        "HOSTS" => ["one", "two,*.three", "10.0.0.7"],
        "LEVEL" => ["debug", "trace", "hermes_server=debug,warn"],
        _ => match setting.key {
            "log" => ["memory", "file", "memory"],
            "log_format" => ["json", "text", "json"],
            key => panic!("no other values are known for {key}"),
        },
    };
    candidates[turn].to_owned()
}

/// A file that says `turn` for every setting.
fn file(turn: usize) -> String {
    let mut text = String::new();
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    for setting in SETTINGS {
        let value = other(setting, turn);
        match setting.key.split_once('.') {
            None => writeln!(text, "{}: '{value}'", setting.key).unwrap(),
            Some((section, key)) => {
                let section = sections.entry(section).or_default();
                writeln!(section, "  {key}: '{value}'").unwrap();
            }
        }
    }
    for (section, members) in sections {
        writeln!(text, "{section}:\n{members}").unwrap();
    }
    text
}

fn variables(turn: usize) -> Vec<(String, String)> {
    let variable = |setting: &Setting| (setting.variable(), other(setting, turn));
    SETTINGS.iter().map(variable).collect()
}

#[test]
fn a_variable_wins_over_the_file_and_the_file_over_the_default() {
    let directory = tempfile::tempdir().unwrap();
    for (key, value, from) in shown(&check(directory.path(), &[]).exits(0)) {
        let setting = SETTINGS.iter().find(|setting| setting.key == key).unwrap();
        assert_eq!((value, &*from), (setting.default(), "default"), "{key}");
    }
    fs::write(directory.path().join("hermes.yaml"), file(0)).unwrap();
    let from_file = shown(&check(directory.path(), &[]).exits(0));
    assert_eq!(from_file.len(), SETTINGS.len());
    for (setting, (key, value, from)) in SETTINGS.iter().zip(from_file) {
        assert_eq!((setting.key, other(setting, 0)), (&*key, value));
        assert!(from.starts_with("hermes.yaml:"), "{key}: {from}");
    }
    let from_variables = shown(&check(directory.path(), &variables(1)).exits(0));
    for (setting, (key, value, from)) in SETTINGS.iter().zip(from_variables) {
        assert_eq!((setting.key, other(setting, 1)), (&*key, value));
        assert_eq!(from, format!("${}", setting.variable()));
    }
}

#[test]
fn a_flag_wins_over_its_variable_for_every_setting_that_has_one() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("some.yaml");
    fs::write(&file, self::file(0)).unwrap();
    for setting in SETTINGS {
        let Some(flag) = setting.flag() else {
            continue;
        };
        // A flag that is wrong is told as the flag's fault: so it is read, and last.
        let mut command = hermes(&format!("serve --{flag} \u{1f980}"));
        command
            .current_dir(directory.path())
            .arg("--config")
            .arg(&file);
        command
            .envs(variables(1))
            .env("HERMES_LISTEN", "192.0.2.1:1");
        // Every text is the name of a directory, or of a file.
        if ["DIR", "FILE"].contains(&setting.placeholder()) {
            continue;
        }
        let ran = end(&mut command).exits(2).prints(&[]);
        ran.says(&format!(
            "--{flag}: {} is `\u{1f980}`; expected ",
            setting.key
        ));
    }
    // And one that is right is what counts: the server listens where the flag says.
    let mut command = hermes("serve --listen 127.0.0.1:0 --log memory --log-format text");
    command
        .current_dir(directory.path())
        .arg("--config")
        .arg(&file);
    command.envs(variables(1));
    // There is no certificate in the files that the others name.
    for name in ["CERT", "KEY", "CLIENT_CA"] {
        command.env(format!("HERMES_TLS_{name}"), "auto");
    }
    let server = crate::server::Server::of(command);
    assert!(!server.url.ends_with(":2"), "{}", server.url);
    server.run("services").exits(0);
}

#[test]
fn everything_that_is_wrong_is_told_at_once_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        "listen: nowhere\nlimits:\n  watchers: many\n  boddy_size: 1MiB\nidle: 3s\nlog: [a]\n";
    fs::write(directory.path().join("hermes.yaml"), text).unwrap();
    let mut command = hermes("serve --log-level loud");
    command.current_dir(directory.path());
    command
        .env("HERMES_STOP_WITHIN", "soon")
        .env("HERMES_LOG", "debug");
    let ran = end(&mut command).exits(2).prints(&[]);
    let expected = [
        "8 settings are wrong",
        "hermes.yaml:1:9: listen is `nowhere`; expected HOST:PORT",
        "hermes.yaml:3:13: limits.watchers is `many`; expected a whole number from 1 to",
        "limits.boddy_size; expected a key that is known; is `limits.body_size` meant?",
        "hermes.yaml:5:7: idle; expected a key that is known; is `limits.idle` meant?",
        "log; expected one of file, memory",
        "$HERMES_STOP_WITHIN: stop_within is `soon`; expected a duration",
        "$HERMES_LOG: log is `debug`; expected one of file, memory",
        "--log-level: log_level is `loud`; expected one of off, error",
    ];
    let mut ran = ran;
    for part in expected {
        ran = ran.says(part);
    }
    // The check says the same, but for the flag, and shows nothing.
    let mut command = hermes("config check --show");
    command.current_dir(directory.path());
    end(&mut command)
        .exits(2)
        .prints(&[])
        .says("5 settings are wrong");
}

#[test]
fn what_is_not_a_file_of_settings_is_told_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let cases = [
        ("listen: [1,\n", "settings in YAML"),
        ("- a\n- b\n", "key: value"),
        ("stop_within: 1s\nstop_within: 2s\n", "bad.yaml:2"),
    ];
    for (text, said) in cases {
        fs::write(directory.path().join("bad.yaml"), text).unwrap();
        let mut command = hermes("config check bad.yaml");
        end(command.current_dir(directory.path()))
            .exits(2)
            .says("bad.yaml")
            .says(said);
    }
    let mut command = hermes("config check absent.yaml");
    end(command.current_dir(directory.path()))
        .exits(2)
        .says("absent.yaml")
        .says("can be read");
    // Named by the variable; an empty one names none.
    let mut command = hermes("config check");
    end(command
        .current_dir(directory.path())
        .env("HERMES_CONFIG", "bad.yaml"))
    .exits(2)
    .says("bad.yaml:2");
    end(command.env("HERMES_CONFIG", ""))
        .exits(0)
        .says("no file");
}

#[test]
fn what_is_probably_not_meant_is_noted_but_not_what_kubernetes_sets() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = hermes("config check");
    command.current_dir(directory.path());
    command
        .env("HERMES_LISTN", "x")
        .env("HERMES_SERVICE_HOST", "10.0.0.1");
    command.env("HERMES_PORT", "tcp://10.0.0.1:8001");
    command.env("SERVICE_DISCOVERY_API_KEY", "s3cret");
    let ran = end(&mut command).exits(0).prints(&[]);
    let ran = ran.says("is HERMES_LISTEN meant?");
    assert!(
        !ran.err.contains("HERMES_PORT") && !ran.err.contains("SERVICE_HOST"),
        "{ran:?}"
    );
    assert!(!ran.err.contains("s3cret"), "{ran:?}");
}

#[test]
fn the_table_of_settings_reads_well_and_the_help_shows_the_common_ones() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("hermes.yaml"), "limits: {idle: 5}\n").unwrap();
    let mut command = hermes("config check --show");
    let ran = end(command.current_dir(directory.path())).exits(0);
    let ran = ran.shows("limits.idle               5s              hermes.yaml:1:16");
    assert!(ran.out.starts_with("KEY "), "{ran:?}");
    let help = crate::command::run("serve --help").exits(0).out;
    assert!(help.contains("--data-dir <DIR>") && help.contains("[default: hermes-data]"));
    assert!(!help.contains("--limits"), "{help}");
    assert!(help.lines().count() < 100, "{help}");
    let default = Config::served();
    assert!(default.register_self && default.logging.format == LogFormat::Auto);
}

#[test]
fn an_address_that_others_reach_is_refused_wherever_it_is_said() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(
        directory.path().join("hermes.yaml"),
        "listen: 0.0.0.0:8001\n",
    )
    .unwrap();
    let run = |command: &mut Command| end(command.current_dir(directory.path()));
    run(&mut hermes("config check"))
        .exits(2)
        .says("hermes key create")
        .says("tls.cert");
    run(hermes("config check").env("HERMES_LISTEN", "127.0.0.1:1")).exits(0);
    run(hermes("config check").env("HERMES_PLAIN_HTTP", "true")).exits(0);
}
