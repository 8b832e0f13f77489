//! `hermes serve`: the registry server, until it is told to stop.
//!
//! There are no keys yet, so it listens on loopback only; on another address everybody who reaches
//! the machine could rewrite the registry.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use hermes_server::log::Options;
use hermes_server::{Config, LogConfig, Server};
use tokio::runtime;
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

use crate::args::duration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  hermes serve
  hermes serve --data-dir /var/lib/hermes
  hermes serve --listen 127.0.0.1:9001 --log-level debug
  hermes serve --listen 127.0.0.1:0 --log memory

The first line on stdout is `listening on http://HOST:PORT`; a script may wait for it.
SIGINT and SIGTERM let it finish what it has begun (exit code 0); a second one ends it at once.";

/// More workers than this do not make a registry faster, but each takes memory.
const WORKERS_MAX: usize = 8;

/// The levels that may be said alone.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Run the registry server
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:8001", value_name = "HOST:PORT")]
    listen: SocketAddr,
    /// Where what is registered is kept; made when it is not there
    #[arg(
        long,
        env = "HERMES_DATA_DIR",
        default_value = "hermes-data",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// How durable changes are
    #[arg(long, value_enum, default_value_t = Log::File)]
    log: Log,
    /// How many changes are kept at most, for watchers that come back and for looking back
    #[arg(
        long,
        default_value_t = Options::default().horizon_changes,
        value_parser = clap::value_parser!(u64).range(1..),
        value_name = "N"
    )]
    horizon_changes: u64,
    /// How long changes are kept at most
    #[arg(long, default_value = "24h", value_parser = duration, value_name = "DURATION")]
    horizon: Duration,
    /// After how many changes the state is written down, which makes starts short
    #[arg(
        long,
        default_value_t = Options::default().snapshot_changes,
        value_parser = clap::value_parser!(u64).range(1..),
        value_name = "N"
    )]
    snapshot_changes: u64,
    /// What is told on stderr: off, error, warn, info, debug, trace, or filters of tracing
    #[arg(
        long,
        env = "HERMES_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL",
        hide_env_values = true
    )]
    log_level: String,
}

/// Where changes are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Log {
    /// On disk: what was acknowledged survives the process and the machine
    File,
    /// In memory: a restart begins with an empty registry
    Memory,
}

pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<Exit, Failure> {
    refuse_strangers(arguments.listen)?;
    start_tracing(&arguments.log_level, output.is_talk_coloured())?;
    // Every watcher is an open file. Where the limit cannot be raised the server still works.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let workers = available_parallelism().map_or(1, |cores| cores.get().min(WORKERS_MAX));
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()?;
    let config = Config {
        listen: arguments.listen,
        log: arguments.log_config(),
        ..Config::default()
    };
    let exit = runtime.block_on(serve(config, output));
    runtime.shutdown_background();
    exit
}

impl Arguments {
    fn log_config(&self) -> LogConfig {
        match self.log {
            Log::Memory => LogConfig::Memory,
            Log::File => LogConfig::File {
                directory: self.data_dir.clone(),
                options: Options {
                    horizon_changes: self.horizon_changes,
                    horizon: self.horizon,
                    snapshot_changes: self.snapshot_changes,
                    ..Options::default()
                },
            },
        }
    }
}

async fn serve(config: Config, output: &Output) -> Result<Exit, Failure> {
    let kept = match &config.log {
        LogConfig::Memory => "everything is kept in memory".to_owned(),
        LogConfig::File { directory, .. } => {
            format!("what is registered is kept in {}", directory.display())
        }
    };
    // Before anybody can learn the address, so that no signal finds the default handler.
    let mut signals = Signals::install()?;
    let server = Server::bind(config).await.map_err(|error| Failure::Told {
        exit: Exit::Failed,
        what: error.to_string(),
        hint: None,
    })?;
    let url = format!("http://{}", server.address());
    output.line(&format!("listening on {url}"))?;
    output.say(&format!("{kept}. Next, in another terminal:"));
    welcome(server.address(), output);

    let (stop, stopped) = oneshot::channel::<()>();
    let running = server.run(async {
        // A sender that is gone has nothing more to say either.
        stopped.await.ok();
    });
    tokio::pin!(running);
    tokio::select! {
        () = &mut running => return Ok(Exit::Done),
        () = signals.next() => {}
    }
    output.say("stopping; the same signal once more ends it at once");
    drop(stop);
    tokio::select! {
        () = running => Ok(Exit::Done),
        () = signals.next() => Ok(Exit::Interrupted),
    }
}

/// What to type next.
fn welcome(address: SocketAddr, output: &Output) {
    let hermes = if address.port() == 8001 && address.ip().is_loopback() {
        "hermes".to_owned()
    } else {
        format!("hermes --addr http://{address}")
    };
    output.say(&format!("  {hermes} register web http://127.0.0.1:8080"));
    output.say(&format!("  {hermes} resolve web"));
    output.say(&format!("  {hermes} watch"));
}

/// Refuses to listen where strangers can reach it.
fn refuse_strangers(listen: SocketAddr) -> Result<(), Failure> {
    if listen.ip().is_loopback() {
        return Ok(());
    }
    let what = format!(
        "{listen} can be reached from other machines, and this release has no keys: everybody who \
         reaches it could change the registry"
    );
    let hint = format!(
        "listen on loopback, --listen 127.0.0.1:{}, and let a proxy that asks for credentials \
         speak to it",
        listen.port()
    );
    Err(Failure::told(Exit::Usage, what, hint))
}

fn start_tracing(level: &str, has_colours: bool) -> Result<(), Failure> {
    let wrong = |what: String| {
        let hint = "say off, error, warn, info, debug or trace, or filters such as \
                    hermes_server=debug,warn";
        Failure::told(Exit::Usage, what, hint)
    };
    // A lone word that is no level would be read as the name of a module, and silence the rest.
    let is_filter = level.contains(['=', ',']);
    if !is_filter && !LEVELS.contains(&level.to_ascii_lowercase().as_str()) {
        return Err(wrong(format!("`{level}` is not a log level")));
    }
    let filter = EnvFilter::builder()
        .parse(level)
        .map_err(|error| wrong(format!("`{level}` is not a log filter: {error}")))?;
    tracing_subscriber::fmt()
        .compact()
        .with_target(false)
        .with_ansi(has_colours)
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    Ok(())
}

/// The signals that ask the server to stop.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn install() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
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
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on() {
        for fine in ["127.0.0.1:0", "127.8.8.8:1", "[::1]:8001"] {
            assert!(refuse_strangers(fine.parse().unwrap()).is_ok(), "{fine}");
        }
        for open in [
            "0.0.0.0:8001",
            "[::]:8001",
            "10.0.0.1:8001",
            "[::ffff:127.0.0.1]:1",
        ] {
            let failure = refuse_strangers(open.parse().unwrap()).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{open}");
            assert!(failure.hint().unwrap().contains("--listen 127.0.0.1:"));
        }
    }
}
