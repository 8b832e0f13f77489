//! A real server: `hermes serve` on a port that it picks itself.

use crate::command::{Ran, Running, end, hermes};

/// A server for as long as this lives.
pub(crate) struct Server {
    pub(crate) running: Running,
    pub(crate) url: String,
}

impl Server {
    /// One that leaves nothing behind.
    pub(crate) fn start() -> Self {
        Self::start_with("--log memory")
    }

    /// With more arguments than where to listen. Unless they say otherwise, it does not register
    /// itself, so that what a test sees is its own, and talks as it does to people.
    pub(crate) fn start_with(arguments: &str) -> Self {
        Self::start_at("127.0.0.1:0", arguments)
    }

    /// At an address that is known before.
    pub(crate) fn start_at(address: &str, arguments: &str) -> Self {
        let mut command = hermes(&format!("serve --listen {address} {arguments}"));
        command.env("HERMES_REGISTER_SELF", "false");
        command.env("HERMES_LOG_FORMAT", "text");
        Self::of(command)
    }

    /// The server that `command` starts.
    pub(crate) fn of(command: std::process::Command) -> Self {
        let mut running = Running::start(command);
        let first = running.out.next().unwrap_or_default();
        let Some(url) = first.strip_prefix("listening on ") else {
            panic!("the first line is {first:?}");
        };
        let url = url.to_owned();
        Self { running, url }
    }

    /// Runs a command against it.
    pub(crate) fn run(&self, arguments: &str) -> Ran {
        end(hermes(arguments).env("HERMES_ADDR", &self.url))
    }

    /// Starts a command against it that runs on.
    pub(crate) fn start_command(&self, arguments: &str) -> Running {
        let mut command = hermes(arguments);
        command.env("HERMES_ADDR", &self.url);
        Running::start(command)
    }

    /// Registers an endpoint without checks.
    pub(crate) fn register(&self, service: &str, id: &str) {
        let place = "http://127.0.0.1:9 --check none";
        self.run(&format!("register {service} {place} --id {id}"))
            .exits(0);
    }
}
