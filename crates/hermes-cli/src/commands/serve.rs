//! `hermes serve`: the registry server, until it is told to stop.
//!
//! Its flags are the settings of the table, see [`hermes_server::settings`]. SIGHUP reads the file
//! again: what can change does, what cannot is told, and when anything is wrong all stays as it was.

use std::net::SocketAddr;
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

The first line on stdout is `listening on http://HOST:PORT`; a script may wait for it.
SIGINT and SIGTERM let it finish what it has begun (exit code 0); a second one ends it at once.
SIGHUP reads the settings again.";

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
    let exit = runtime.block_on(process.serve());
    runtime.shutdown_background();
    exit
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
    async fn serve(mut self) -> Result<Exit, Failure> {
        // Before anybody can learn the address, so that no signal finds the default handler.
        let mut signals = Signals::install()?;
        let server = Server::bind(self.running.clone()).await;
        let server = server.map_err(|error| Failure::Told {
            exit: Exit::Failed,
            what: error.to_string(),
            hint: None,
        })?;
        self.welcome(server.address())?;
        let handle = server.handle();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = server.run(async {
            // A sender that is gone has nothing more to say either.
            stopped.await.ok();
        });
        tokio::pin!(running);
        loop {
            let asked = tokio::select! {
                () = &mut running => return Ok(Exit::Done),
                asked = signals.next() => asked,
            };
            match asked {
                Asked::Reload => self.reload(&handle).await,
                Asked::Stop => break,
            }
        }
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

    /// Where it listens, where things are kept, and to people, what to type next.
    fn welcome(&self, address: SocketAddr) -> Result<(), Failure> {
        self.output
            .line(&format!("listening on http://{address}"))?;
        let log = &self.running.log;
        let kept = match log.kind {
            LogKind::Memory => "everything is kept in memory".to_owned(),
            LogKind::File => format!("what is registered is kept in {}", log.directory.display()),
        };
        if !self.trace.is_for_people {
            tracing::info!(%address, "listening; {kept}");
            return Ok(());
        }
        let hermes = if address.port() == 8001 && address.ip().is_loopback() {
            "hermes".to_owned()
        } else {
            format!("hermes --addr http://{address}")
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
        self.trace.set_level(&self.running.logging.level);
        handle.take_over(&self.running).await;
        let (changed, waiting) = (taken.len(), waiting.len());
        tracing::info!(changed, waiting, "the settings were read again");
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
