//! A process of our own program: started, spoken to by its first line, and gone when we are.
//!
//! A child server says where it listens in its first line, and serves until its standard input ends.
//! That also happens when this process dies, so nothing is ever left behind.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use tokio::sync::oneshot;

use crate::console;
use crate::failure::Failure;
use crate::pin::{Cores, Seat};

const FIRST_WORDS: &str = "listening on ";

/// A server in a process of its own.
#[derive(Debug)]
pub(crate) struct ServerChild {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl ServerChild {
    /// Starts one, and waits until it listens.
    pub(crate) fn start(cores: &Cores, args: &[&str]) -> Result<Self, Failure> {
        Self::start_on(cores, Seat::Server, args)
    }

    /// The same on a seat of its choice.
    pub(crate) fn start_on(cores: &Cores, seat: Seat, args: &[&str]) -> Result<Self, Failure> {
        let mut command = cores.command(seat, this_program()?.as_os_str());
        let mut process = command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::of("starting a server"))?;
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it was asked for above");
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(Failure::of("hearing from a server"))?;
        let address = line.trim().strip_prefix(FIRST_WORDS);
        let address = address.and_then(|address| address.parse().ok());
        let silent = || Failure::Unusable(format!("a server began with {line:?}"));
        Ok(Self {
            address: address.ok_or_else(silent)?,
            process,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) -> Result<(), Failure> {
        self.process.kill().map_err(Failure::of("killing a server"))
    }
}

impl Drop for ServerChild {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It ends by itself now; there is nothing to be done if it did not end well.
        self.process.wait().ok();
    }
}

/// Runs another role of this program to its end, on a seat; its last line.
pub(crate) fn ask(cores: &Cores, seat: Seat, args: &[String]) -> Result<String, Failure> {
    let output = cores
        .command(seat, this_program()?.as_os_str())
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .map_err(Failure::of("starting a role of this program"))?;
    if !output.status.success() {
        let role = args.first().map_or("it", String::as_str);
        let detail = format!("{role} ended with {}", output.status);
        return Err(Failure::Unusable(detail));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

/// In a child: says where it listens.
pub(crate) fn say_address(address: SocketAddr) {
    console::print(&format!("{FIRST_WORDS}{address}"));
}

/// In a child: resolves when its parent lets go of it. The thread sleeps until then.
pub(crate) async fn let_go() {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        let mut rest = Vec::new();
        // An error is an end, too.
        std::io::stdin().read_to_end(&mut rest).ok();
        tell.send(()).ok();
    });
    told.await.ok();
}

fn this_program() -> Result<std::path::PathBuf, Failure> {
    std::env::current_exe().map_err(Failure::of("finding this program"))
}
