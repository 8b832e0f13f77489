//! A program that is to be run, and how it joins: the same for `hermes run` and for `hermes up`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use hermes_core::address::{Host, Scheme};
use hermes_core::name::{EndpointId, Name};
use hermes_core::wire::answer::Seconds;
use hermes_core::wire::problem::Problem;
use serde_json::{Map, Value, json};

use super::restart::Restart;
use crate::commands::register::judge;

/// Where a command has to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// A free one is picked when it is started.
    Auto,
    Fixed(u16),
}

/// Reads `auto`, or a number.
pub(crate) fn parse_port(text: &str) -> Result<Port, String> {
    match (text, text.parse()) {
        ("auto", _) => Ok(Port::Auto),
        (_, Ok(port @ 1..)) => Ok(Port::Fixed(port)),
        _ => Err("`auto` or a number from 1 to 65535 is expected".into()),
    }
}

/// Times of a program, with what they are unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    /// The lease. Short, because whoever sends heartbeats sits beside the command.
    pub(crate) ttl: Duration,
    /// How long others have to be ready first. After that something is wrong, and should be seen.
    pub(crate) needs_timeout: Duration,
    /// From being drained to being ended: for those who have resolved the name a moment ago.
    pub(crate) drain_time: Duration,
    /// From SIGTERM to SIGKILL: what systemd and Kubernetes call a grace period, and shorter.
    pub(crate) stop_timeout: Duration,
}

impl Times {
    pub(crate) const DEFAULT: Self = Self {
        ttl: Duration::from_secs(10),
        needs_timeout: Duration::from_secs(300),
        drain_time: Duration::from_secs(5),
        stop_timeout: Duration::from_secs(10),
    };
}

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The service it is an endpoint of.
    pub(crate) name: Name,
    /// Nothing is an id made of the name, the machine and the port.
    pub(crate) id: Option<EndpointId>,
    pub(crate) scheme: Scheme,
    pub(crate) host: Host,
    pub(crate) port: Port,
    pub(crate) times: Times,
    /// Null leaves the checks to the server.
    pub(crate) checks: Value,
    pub(crate) tags: Vec<String>,
    pub(crate) metadata: Map<String, Value>,
    /// Services that have to be ready before it is started.
    pub(crate) needs: Vec<Name>,
    /// Services whose URLs it is told, and the variables that hold them.
    pub(crate) resolve: Vec<(Name, String)>,
    pub(crate) restart: Restart,
    /// The command and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Variables beside those that are inherited.
    pub(crate) environment: Vec<(String, String)>,
    /// Where it runs; nothing is here.
    pub(crate) directory: Option<PathBuf>,
}

impl Program {
    /// Every service that has to be ready first, each once: one cannot be told the URL of another
    /// that is not.
    pub(crate) fn all_needs(&self) -> Vec<Name> {
        let resolved = self.resolve.iter().map(|(name, _)| name);
        let mut all: Vec<Name> = self.needs.iter().chain(resolved).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// The id on `machine`. A loopback address says nothing about where it is, so the name of the
    /// machine stands for it; and the port is in it, so that a second one is a second one.
    pub(crate) fn id(&self, port: u16, machine: &str) -> EndpointId {
        if let Some(id) = &self.id {
            return id.clone();
        }
        let is_loopback = self.host.ip().is_some_and(|ip| ip.is_loopback());
        let is_here = is_loopback || self.host.as_str() == "localhost";
        let place = if is_here { machine } else { self.host.as_str() };
        let fits = |c: char| c.is_ascii_alphanumeric() || ".-:".contains(c);
        let place: String = place
            .chars()
            .map(|c| if fits(c) { c } else { '-' })
            .collect();
        // A name has at most 63 characters and a port 5; the rest is for the place.
        let place = &place[..place.len().min(58)];
        EndpointId::parse(&format!("{}-{place}-{port}", self.name))
            .expect("it begins with a name, and holds 128 allowed characters at most")
    }

    /// The body of its registration.
    pub(crate) fn registration(&self, port: u16) -> Value {
        let mut body = json!({
            "scheme": self.scheme.as_str(),
            "host": self.host.as_str(),
            "port": port,
            "ttl": Seconds::from(self.times.ttl),
            "tags": self.tags,
            "metadata": self.metadata,
        });
        if !self.checks.is_null() {
            body["checks"] = self.checks.clone();
        }
        body
    }

    /// Whether any server would take its registration: better known before the command is started.
    ///
    /// # Errors
    /// What is wrong about it.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let port = match self.port {
            Port::Auto => 1,
            Port::Fixed(port) => port,
        };
        judge(&self.registration(port))
    }

    /// What is executed. Its arguments may hold what belongs in no log.
    pub(crate) fn executable(&self) -> String {
        let first = self.command.first();
        first.map_or_else(String::new, |word| word.to_string_lossy().into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn program(name: &str) -> Program {
        Program {
            name: Name::parse(name).unwrap(),
            id: None,
            scheme: Scheme::http(),
            host: Host::parse("127.0.0.1").unwrap(),
            port: Port::Auto,
            times: Times::DEFAULT,
            checks: Value::Null,
            tags: Vec::new(),
            metadata: Map::new(),
            needs: Vec::new(),
            resolve: Vec::new(),
            restart: Restart::Never,
            command: vec!["true".into()],
            environment: Vec::new(),
            directory: None,
        }
    }

    #[test]
    fn an_id_is_made_of_name_place_and_port() {
        let mut web = program("web");
        assert_eq!(web.id(80, "my box").as_str(), "web-my-box-80");
        web.host = Host::parse("localhost").unwrap();
        assert_eq!(web.id(80, "m\u{e9}").as_str(), "web-m--80");
        web.host = Host::parse("fd00::1").unwrap();
        assert_eq!(web.id(80, "box").as_str(), "web-fd00::1-80");
        web.host = Host::parse(&["a".repeat(60), "b".repeat(60)].join(".")).unwrap();
        web.name = Name::parse(&"n".repeat(63)).unwrap();
        assert_eq!(web.id(65_535, "box").as_str().len(), 63 + 1 + 58 + 1 + 5);
        web.id = Some(EndpointId::parse("mine").unwrap());
        assert_eq!(web.id(80, "box").as_str(), "mine");
    }

    #[test]
    fn what_a_server_would_refuse_is_known_beforehand() {
        let mut web = program("web");
        web.check().unwrap();
        web.times.ttl = Duration::from_millis(10);
        assert!(web.check().unwrap_err().detail.contains("lease"));
    }

    #[test]
    fn whose_url_is_told_is_needed_too() {
        let mut web = program("web");
        let name = |name| Name::parse(name).unwrap();
        web.needs = vec![name("db"), name("a")];
        web.resolve = vec![(name("db"), "DB_URL".into()), (name("c"), "C_URL".into())];
        assert_eq!(web.all_needs(), [name("a"), name("c"), name("db")]);
    }

    #[test]
    fn a_port_is_a_number_or_auto() {
        assert_eq!(parse_port("auto"), Ok(Port::Auto));
        assert_eq!(parse_port("8080"), Ok(Port::Fixed(8080)));
        for wrong in ["", "0", "65536", "-1", "Auto", "http"] {
            assert!(parse_port(wrong).is_err(), "{wrong}");
        }
    }
}
