//! Where a guide is played: a network of its own, or the one that everybody shares.
//!
//! In a network of its own (Linux namespaces, which need no privileges where the machine allows
//! them) every port of a guide is free, so its commands run as they are written. Elsewhere every
//! port that a guide speaks of is replaced by one that is free, in what is run and in what is shown,
//! and `hermes` is a script that knows the replacement of the default port. Then a guide proves all
//! but the default itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::guide::{Guide, Step};
use crate::command::command;

/// Where the binary under test is.
const BINARY: &str = env!("CARGO_BIN_EXE_hermes");
/// Where a server listens unless told otherwise.
const DEFAULT_PORT: &str = "8001";

/// A network and processes of one's own, which end with their first process.
const UNSHARE: [&str; 6] = [
    "unshare",
    "--map-root-user",
    "--net",
    "--pid",
    "--fork",
    "--kill-child",
];

pub(super) struct Place {
    /// The directory in which the guide begins.
    pub(super) home: TempDir,
    /// What is only for the player: the transcript, the script of the default port.
    pub(super) aside: TempDir,
    /// The ports that are used in the place of others; nothing in a network of its own.
    ports: Option<BTreeMap<String, String>>,
}

impl Place {
    /// A network of its own where that is possible.
    pub(super) fn best() -> Self {
        let mut probe = Command::new(UNSHARE[0]);
        probe
            .args(&UNSHARE[1..])
            .args(["ip", "link", "set", "lo", "up"]);
        if probe.output().is_ok_and(|output| output.status.success()) {
            return Self::new(None);
        }
        println!("no network of its own here (unshare, ip): played on free ports");
        Self::shared()
    }

    /// The network that everybody shares.
    pub(super) fn shared() -> Self {
        Self::new(Some(BTreeMap::new()))
    }

    fn new(ports: Option<BTreeMap<String, String>>) -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
            aside: tempfile::tempdir().unwrap(),
            ports,
        }
    }

    /// The same, ready for the ports of a guide.
    pub(super) fn made_for(mut self, guide: &Guide) -> Self {
        if self.ports.is_none() {
            return self;
        }
        let mut spoken_of: BTreeSet<String> = BTreeSet::from([DEFAULT_PORT.to_owned()]);
        for step in &guide.steps {
            if let Step::Run(command) = step {
                spoken_of.extend(ports_of(&command.text));
            }
        }
        // All are held until all are chosen, so that no two are the same.
        let bind = |port: String| (port, TcpListener::bind("127.0.0.1:0").unwrap());
        let held: Vec<(String, TcpListener)> = spoken_of.into_iter().map(bind).collect();
        let free = |listener: &TcpListener| listener.local_addr().unwrap().port().to_string();
        let ports: BTreeMap<String, String> = held
            .iter()
            .map(|(port, listener)| (port.clone(), free(listener)))
            .collect();
        self.write_script(&ports[DEFAULT_PORT]);
        self.ports = Some(ports);
        self
    }

    /// A shell in this place.
    pub(super) fn shell(&self) -> Command {
        let mut command = if self.ports.is_none() {
            let mut command = command(UNSHARE[0]);
            command.args(&UNSHARE[1..]);
            let script = "ip link set lo up && exec bash --norc --noprofile";
            command.args(["bash", "-c", script]);
            command
        } else {
            // A session of its own, by which everything in it can be ended.
            let mut command = command("setsid");
            command.args(["bash", "--norc", "--noprofile"]);
            command
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let binaries = Path::new(BINARY).parent().unwrap();
        let first = [self.aside.path(), binaries].map(Path::to_path_buf);
        let all = first.into_iter().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(all).unwrap());
        command.env("HOME", self.home.path());
        command.current_dir(self.home.path());
        command
    }

    /// Whether what is left behind has to be ended one by one.
    pub(super) fn is_shared(&self) -> bool {
        self.ports.is_some()
    }

    /// A text of the guide with the ports that are used here.
    pub(super) fn translate(&self, text: &str) -> String {
        let Some(ports) = &self.ports else {
            return text.to_owned();
        };
        let mut translated = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let digits = rest[at..].chars().take_while(char::is_ascii_digit).count();
            let number = &rest[at..at + digits];
            let number = ports.get(number).map_or(number, String::as_str);
            write!(translated, "{}{number}", &rest[..at]).unwrap();
            rest = &rest[at + digits..];
        }
        translated + rest
    }

    fn write_script(&self, port: &str) {
        let script = format!(
            "#!/bin/sh\n\
             export HERMES_ADDR=\"${{HERMES_ADDR:-http://127.0.0.1:{port}}}\"\n\
             case \" $* \" in\n\
             *' --listen '*) ;;\n\
             ' serve '*) shift; set -- serve --listen 127.0.0.1:{port} \"$@\" ;;\n\
             esac\n\
             exec '{BINARY}' \"$@\"\n"
        );
        let path = self.aside.path().join("hermes");
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// The ports on this machine that a text speaks of.
fn ports_of(text: &str) -> Vec<String> {
    let hosts = ["127.0.0.1:", "localhost:"];
    let after = hosts.iter().flat_map(|host| text.split(host).skip(1));
    let ports = after.map(|rest| rest.chars().take_while(char::is_ascii_digit).collect());
    ports.filter(|port: &String| !port.is_empty()).collect()
}

#[test]
fn ports_are_replaced_wherever_they_stand_and_nothing_else_is() {
    let text = "python3 -m http.server 9001 & curl http://127.0.0.1:9001/90017 localhost:8001";
    assert_eq!(ports_of(text), ["9001", "8001"]);
    let mut place = Place::shared();
    let ports = [("9001", "5"), ("8001", "6")];
    let ports = ports.map(|(from, to)| (from.to_owned(), to.to_owned()));
    place.ports = Some(BTreeMap::from(ports));
    assert_eq!(
        place.translate(text),
        "python3 -m http.server 5 & curl http://127.0.0.1:5/90017 localhost:6"
    );
}
