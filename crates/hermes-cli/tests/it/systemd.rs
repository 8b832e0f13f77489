//! What a service manager sees: messages on its socket, and the socket that it hands over.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::command::{Running, command, hermes};
use crate::responder::read_head;
use crate::server::Server;

/// The service manager's end.
struct Manager {
    directory: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self { directory, socket }
    }

    fn serve(&self, variables: &[(&str, &str)]) -> Server {
        let mut command = hermes("serve --listen 127.0.0.1:0 --log memory");
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command.envs(variables.iter().copied());
        Server::of(command)
    }

    /// The next message, line by line.
    fn hears(&self) -> Vec<String> {
        let mut bytes = [0; 4_096];
        let length = self.socket.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..length]);
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn it_says_when_it_is_ready_reloads_and_stops() {
    let manager = Manager::new();
    let mut server = manager.serve(&[]);
    assert_eq!(manager.hears(), ["READY=1"]);
    server.running.signal("HUP");
    let reloading = manager.hears();
    assert_eq!(reloading[0], "RELOADING=1");
    assert!(reloading[1].starts_with("MONOTONIC_USEC="), "{reloading:?}");
    assert_eq!(manager.hears(), ["READY=1"]);
    server.running.signal("TERM");
    assert_eq!(manager.hears(), ["STOPPING=1"]);
    assert_eq!(server.running.wait().code(), Some(0));
}

#[test]
fn it_says_that_it_is_alive_for_as_long_as_that_is_wanted() {
    let manager = Manager::new();
    let _server = manager.serve(&[("WATCHDOG_USEC", "100000")]);
    assert_eq!(manager.hears(), ["READY=1"]);
    for _ in 0..3 {
        assert_eq!(manager.hears(), ["WATCHDOG=1"]);
    }
}

/// The command with `socket` as its third file, as systemd hands it over.
fn with_socket(socket: TcpListener, arguments: &str) -> Command {
    let inner = hermes(arguments);
    let mut command = command("sh");
    let handing = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\" 3<&0 </dev/null";
    command
        .args(["-c", handing])
        .arg(inner.get_program())
        .args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.stdin(Stdio::from(OwnedFd::from(socket)));
    command
}

#[test]
fn it_serves_on_a_socket_that_was_handed_over_whoever_connected_before() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let mut early = TcpStream::connect(address).unwrap();
    early
        .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        .unwrap();
    let command = with_socket(socket, "serve --listen 127.0.0.1:1 --log memory");
    let server = Server::of(command);
    assert_eq!(server.url, format!("http://{address}"));
    assert!(read_head(&mut early).starts_with("http/1.1 200"));
    server.run("resolve hermes").exits(0).prints(&[&server.url]);
}

#[test]
fn a_socket_that_others_can_reach_is_refused_like_any_other_address() {
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let mut running = Running::start(with_socket(socket, "serve --log memory"));
    running
        .err
        .until(|line| line.contains("refusing to listen on 0.0.0.0"));
    assert_eq!(running.wait().code(), Some(1));
}

#[test]
fn systemd_itself_starts_it_on_the_first_connection() {
    let tool = "systemd-socket-activate";
    if Command::new(tool).arg("--version").output().is_err() {
        return;
    }
    // The tool wants an address with a port; one that was free a moment ago nearly always is.
    for _ in 0..5 {
        let address = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let mut command = Command::new(tool);
        let program = env!("CARGO_BIN_EXE_hermes");
        command.args([
            "-l",
            &address.to_string(),
            program,
            "serve",
            "--log",
            "memory",
        ]);
        let mut running = Running::start(command);
        let Some(line) = running.err.next() else {
            continue;
        };
        assert!(line.contains("Listening on"), "{line}");
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        assert!(read_head(&mut stream).starts_with("http/1.1 200"));
        let first = running.out.next().unwrap();
        assert_eq!(first, format!("listening on http://{address}"));
        return;
    }
    panic!("no port was free five times");
}

#[test]
fn the_units_are_what_systemd_expects() {
    let tool = "systemd-analyze";
    if Command::new(tool).arg("--version").output().is_err() {
        return;
    }
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd");
    let directory = tempfile::tempdir().unwrap();
    for name in ["hermes.service", "hermes.socket"] {
        let text = std::fs::read_to_string(units.join(name)).unwrap();
        // The binary has to be there to be verified.
        let text = text.replace("/usr/bin/hermes", env!("CARGO_BIN_EXE_hermes"));
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let verify = Command::new(tool)
        .args(["verify", "--man=no"])
        .arg(directory.path().join("hermes.service"))
        .arg(directory.path().join("hermes.socket"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verify.stderr).into_owned();
    let about_us: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("hermes."))
        .collect();
    assert!(about_us.is_empty(), "{said}");
}
