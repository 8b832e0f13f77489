//! What a companion of programs begins with: a thread, the signals, the registry.
//!
//! `hermes run` has one program and `hermes up` several; what is around them is the same. Everything
//! runs in the main thread: the kernel ends a command with the thread that started it.

use std::sync::Arc;
use std::time::Duration;

use hermes_core::name::Name;
use hermes_discovery::client::Client;
use hermes_discovery::clock::Clock;
use tokio::runtime;

use super::super::{self as commands, Context};
use super::guard::Guard;
use super::signals::Signals;
use super::supervise::Surroundings;
use crate::args::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// An answer is waited for no longer than this, whatever --timeout says: a lease is short.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// What a companion has from its beginning to its end.
pub(crate) struct Company<'a> {
    /// What it is told by the system.
    pub(crate) signals: Signals,
    /// Whom it asks about other services.
    pub(crate) context: Context<'a>,
    /// What each of its programs has around it.
    pub(crate) around: Arc<Surroundings>,
}

/// Lives `life` to its end.
///
/// # Errors
/// That of the life; and before it begins, when the namespace or the address of the registry is none,
/// or the system refuses.
pub(crate) fn live<T>(
    global: &Global,
    output: &Output,
    life: impl AsyncFnOnce(Company<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let namespace = namespace(global)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let end = runtime.block_on(async {
        let company = Company {
            signals: Signals::install()?,
            context: Context {
                client: client(global)?,
                namespace: namespace.as_ref().map(Name::as_str),
                timeout: global.timeout,
                output,
            },
            around: Arc::new(surroundings(global, namespace.clone())?),
        };
        life(company).await
    });
    // A name that is still being resolved is nobody's business any more.
    runtime.shutdown_background();
    end
}

/// A client that does not wait longer than a lease allows.
fn client(global: &Global) -> Result<Client, Failure> {
    commands::client(global, global.timeout.min(ANSWER_MAX))
}

/// The namespace that is meant, if one was said.
fn namespace(global: &Global) -> Result<Option<Name>, Failure> {
    let parse = |text: &String| {
        Name::parse(text).map_err(|_error| {
            let what = "a program runs in one namespace";
            Failure::told(Exit::Usage, what, "say which: --namespace NAME")
        })
    };
    global.namespace.as_ref().map(parse).transpose()
}

/// What every program of this process has around it.
fn surroundings(global: &Global, namespace: Option<Name>) -> Result<Surroundings, Failure> {
    Ok(Surroundings {
        client: client(global)?,
        namespace,
        machine: rustix::system::uname().nodename().to_string_lossy().into(),
        guard: Arc::new(Guard::start()),
        clock: Clock::system(),
    })
}
