//! `hermes serve`: the registry server, until it is told to stop.
//!
//! Its flags are the settings of the table, see [`hermes_server::settings`]. SIGHUP reads the file
//! again: what can change does, what cannot is told, and when anything is wrong all stays as it was.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread::available_parallelism;

use hermes_server::settings::{Difference, Loaded, Sources, Takes, differences, load};
use hermes_server::{Config, Handle, LogKind, Server};
use tokio::runtime;
use tokio::sync::oneshot;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::flags::Flags;
use crate::output::Output;
use crate::systemd::{self, State};
use crate::trace::Trace;

const EXAMPLES: &str = "\
Examples:
  hermes serve
  hermes serve --data-dir /var/lib/hermes
  hermes serve --listen 127.0.0.1:9001 --log-level debug
  hermes serve --listen 127.0.0.1:0 --log memory
  hermes serve --config hermes.yaml

Every setting is also a key of the file (data_dir) and a variable (HERMES_DATA_DIR); a flag wins over
a variable, and that over the file. Limits stand in the file or in variables only: `hermes config
check --show` lists all of them.

The first line on stdout is `listening on http://HOST:PORT` (https with TLS); a script may wait for it.
SIGINT and SIGTERM let it finish what it has begun (exit code 0); a second one ends it at once.
SIGHUP reads the settings again. Under systemd it takes over a socket, and says when it is ready.";

/// More workers than this do not make a registry faster, but each takes memory.
const WORKERS_MAX: usize = 8;

/// Run the registry server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The file of settings [default: HERMES_CONFIG, else hermes.yaml if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    let sources = arguments.flags.sources(arguments.config.clone());
    let loaded = load(&sources)?;
    let trace = Trace::start(&loaded.config.logging, output);
    tell_about(&loaded);
    // Every watcher is an open file. Where the limit cannot be raised the server still works.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    // While this is the only thread: the variables for it are taken away.
    let inherited = systemd::inherited()
        .map_err(|error| failed(format!("the socket handed over cannot be used: {error}")))?;
    let workers = available_parallelism().map_or(1, |cores| cores.get().min(WORKERS_MAX));
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    let process = Process {
        sources,
        trace,
        output,
        running: loaded.config,
    };
    let exit = runtime.block_on(process.serve(inherited));
    runtime.shutdown_background();
    exit
}

fn failed(what: String) -> Failure {
    Failure::Told {
        exit: Exit::Failed,
        what,
        hint: None,
    }
}

/// Where the settings come from, and what is odd about them.
fn tell_about(loaded: &Loaded) {
    if let Some(file) = &loaded.file {
        tracing::info!(file = %file.display(), "the settings were read");
    }
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
}

/// One process that serves.
struct Process<'a> {
    sources: Sources,
    trace: Trace,
    output: &'a Output,
    /// The settings that count: those of the start, and of what may change, the latest.
    running: Config,
}

impl Process<'_> {
    async fn serve(mut self, inherited: Option<TcpListener>) -> Result<Exit, Failure> {
        // Before anybody can learn the address, so that no signal finds the default handler.
        let mut signals = Signals::install()?;
        let server = self.start(inherited).await?;
        self.welcome(server.address())?;
        systemd::tell(State::Ready);
        let handle = server.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = server.run(async {
            // A sender that is gone has nothing more to say either.
            stopped.await.ok();
        });
        tokio::pin!(running);
        let alive = say_alive();
        tokio::pin!(alive);
        loop {
            let asked = tokio::select! {
                () = &mut running => return Ok(Exit::Done),
                never = &mut alive => match never {},
                asked = signals.next() => asked,
            };
            match asked {
                Asked::Reload => {
                    systemd::tell(State::Reloading);
                    self.reload(&handle).await;
                    systemd::tell(State::Ready);
                }
                Asked::Stop => break,
            }
        }
        systemd::tell(State::Stopping);
        let stopping = "stopping; the same signal once more ends it at once";
        self.trace.say(stopping, self.output);
        drop(stop);
        loop {
            let asked = tokio::select! {
                () = &mut running => return Ok(Exit::Done),
                asked = signals.next() => asked,
            };
            if asked == Asked::Stop {
                return Ok(Exit::Interrupted);
            }
        }
    }

    /// A server on the socket that was handed over, or else on one of its own.
    async fn start(&self, inherited: Option<TcpListener>) -> Result<Server, Failure> {
        let config = self.running.clone();
        let server = match inherited {
            Some(listener) => Server::on(listener, config).await,
            None => Server::bind(config).await,
        };
        server.map_err(|error| failed(error.to_string()))
    }

    /// Where it listens, where things are kept, and to people, what to type next.
    fn welcome(&self, address: SocketAddr) -> Result<(), Failure> {
        let scheme = match self.running.tls.cert {
            Some(_) => "https",
            None => "http",
        };
        self.output
            .line(&format!("listening on {scheme}://{address}"))?;
        let log = &self.running.log;
        let kept = match log.kind {
            LogKind::Memory => "everything is kept in memory".to_owned(),
            LogKind::File => format!("what is registered is kept in {}", log.directory.display()),
        };
        if !self.trace.is_for_people {
            tracing::info!(%address, "listening; {kept}");
            return Ok(());
        }
        let is_default = scheme == "http" && address.port() == 8001;
        let hermes = if is_default && address.ip().is_loopback() {
            "hermes".to_owned()
        } else {
            format!("hermes --addr {scheme}://{address}")
        };
        let say = |text: &str| self.output.say(text);
        say(&format!("{kept}. Next, in another terminal:"));
        say(&format!("  {hermes} register web http://127.0.0.1:8080"));
        say(&format!("  {hermes} resolve web"));
        say(&format!("  {hermes} watch"));
        Ok(())
    }

    /// Reads the settings again, and takes over what may change while the server runs.
    async fn reload(&mut self, handle: &Handle) {
        let loaded = match load(&self.sources) {
            Ok(loaded) => loaded,
            Err(faults) => {
                for fault in &faults.0 {
                    tracing::error!("{fault}");
                }
                let count = faults.0.len();
                tracing::error!(
                    faults = count,
                    "the settings are wrong, and stay as they were"
                );
                return;
            }
        };
        tell_about(&loaded);
        let different = differences(&self.running, &loaded.config);
        let (taken, waiting): (Vec<Difference>, Vec<Difference>) = different
            .into_iter()
            .partition(|difference| difference.setting.takes == Takes::AtOnce);
        for difference in &taken {
            // It was read from the same table a moment ago.
            let set = difference.setting.set(&mut self.running, &difference.after);
            debug_assert!(set.is_some(), "a shown value can be read");
            tracing::info!("{}", shown(difference));
        }
        for difference in &waiting {
            tracing::warn!("{} with the next start", shown(difference));
        }
        self.running.services = loaded.config.services;
        self.trace.set_level(&self.running.logging.level);
        handle.take_over(&self.running).await;
        let (changed, waiting) = (taken.len(), waiting.len());
        tracing::info!(changed, waiting, "the settings were read again");
    }
}

/// Tells the service manager that the server is alive, for as long as it wants to hear it. That this
/// is said at all shows that requests are still taken up: it is said by the same threads.
async fn say_alive() -> Infallible {
    let Some(interval) = systemd::heartbeat_interval() else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(interval).await;
        systemd::tell(State::Alive);
    }
}

/// `limits.idle changes from 75s to 10s`
fn shown(difference: &Difference) -> String {
    let Difference {
        setting,
        before,
        after,
    } = difference;
    format!("{} changes from {before} to {after}", setting.key)
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

/// The signals that ask the server for something.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    fn install() -> Result<Self, Failure> {
        Ok(Self {})
    }

    #[expect(clippy::unused_self, reason = "elsewhere it is used")]
    async fn next(&mut self) -> Asked {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Asked::Stop
    }
}
