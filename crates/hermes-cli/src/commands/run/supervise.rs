//! The life of one program: others first, then the command, then its registration; and back.
//!
//! What is told to the registry never holds the command up, and never hides that it has ended: its
//! end is looked for at every step.

use std::ffi::OsString;
use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hermes_core::name::Name;
use hermes_core::time::Moment;
use hermes_discovery::client::{Backoff, Client, ClientError};
use hermes_discovery::clock::Clock;
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::guard::{FAILED, Guard};
use super::news::{Audience, News};
use super::port;
use super::process::{Ending, Launch, Process, Whom};
use super::program::{Port, Program};
use super::readiness::{Readiness, url};
use super::registration::Registration;
use super::restart::Restarts;

/// After so long without a listener somebody should hear of it.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A new URL is asked for no longer than this before a restart; the last known one will do.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(3);
/// What a command has printed before its end is waited for no longer than this: something that it
/// left behind may hold the pipe.
const LAST_OUTPUT_MAX: Duration = Duration::from_secs(1);

/// What a program is told while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Hand this signal on.
    HandOn(Signal),
    /// Drain, wait, end. Once more: do not wait for the present step any longer.
    Stop,
    /// The same without waiting for anybody who might still come.
    StopSoon,
}

/// How it all ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The command has ended.
    Ended(Ending),
    /// It was told to end before the command was there.
    Interrupted(Signal),
    /// The command was never started, or had to be ended.
    Failed {
        code: u8,
        what: String,
        hint: String,
    },
}

impl End {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Ended(ending) => ending.code(),
            Self::Interrupted(signal) => 128 + u8::try_from(signal.as_raw()).unwrap_or_default(),
            Self::Failed { code, .. } => *code,
        }
    }

    fn failed(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Failed {
            code: FAILED,
            what: what.into(),
            hint: hint.into(),
        }
    }
}

/// What a program needs around it.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) client: Client,
    pub(crate) namespace: Option<Name>,
    /// The name of this machine.
    pub(crate) machine: String,
    pub(crate) guard: Arc<Guard>,
    pub(crate) clock: Clock,
}

/// One program, supervised.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) program: Program,
    pub(crate) around: Arc<Surroundings>,
    pub(crate) audience: Arc<dyn Audience>,
    /// Which others are ready; let go of when they once were.
    pub(crate) readiness: Option<watch::Receiver<Readiness>>,
    pub(crate) orders: mpsc::Receiver<Order>,
}

/// How one start of the command went.
struct Once {
    ending: Ending,
    /// It was told to end.
    is_wanted: bool,
    /// Somebody has accepted connections.
    has_listened: bool,
    /// Its registration was refused for good.
    refused: Option<ClientError>,
}

impl Supervisor {
    /// Runs the program to its end.
    pub(crate) async fn run(mut self) -> End {
        let mut urls = match self.prepare().await {
            Ok(urls) => urls,
            Err(end) => return end,
        };
        let mut restarts = Restarts::new(self.program.restart);
        let mut port = None;
        loop {
            let begun = self.around.clock.moment();
            let (why, ending) = match self
                .start(&mut port, urls.clone(), restarts.is_first())
                .await
            {
                Err(end) => return end,
                Ok(Err(what)) => (Some(what), Ending::Exited(FAILED)),
                Ok(Ok(once)) => {
                    let ending = once.ending;
                    if let Some(error) = once.refused {
                        let hint = "the command was ended: what nobody can find should not run";
                        return End::failed(error.to_string(), hint);
                    }
                    if once.is_wanted {
                        return End::Ended(ending);
                    }
                    if self.program.port == Port::Auto && !once.has_listened {
                        // Perhaps somebody else has it.
                        port = None;
                    }
                    (None, ending)
                }
            };
            let ran = self.around.clock.moment().since(begun);
            let Some(wait) = restarts.next(ending, ran, fastrand::f64()) else {
                return End::Ended(ending);
            };
            self.tell(&News::Restarting { wait, why });
            tokio::select! {
                () = sleep(wait) => {}
                end = interrupted(&mut self.orders) => return end,
            }
            self.renew(&mut urls).await;
        }
    }

    fn tell(&self, news: &News) {
        self.audience.tell(news);
    }

    /// Waits for the others, and gives their URLs.
    async fn prepare(&mut self) -> Result<Vec<(OsString, OsString)>, End> {
        let needs = self.program.all_needs();
        let Some(mut readiness) = self.readiness.take().filter(|_| !needs.is_empty()) else {
            return Ok(Vec::new());
        };
        let limit = self.program.times.needs_timeout;
        let (program, around, audience) = (&self.program, &*self.around, &*self.audience);
        let ready = async {
            loop {
                until_ready(&needs, &mut readiness, audience).await?;
                if let Some(urls) = ask_all(program, around).await {
                    return Ok(urls);
                }
            }
        };
        let prepared = tokio::select! {
            prepared = timeout(limit, ready) => prepared,
            end = interrupted(&mut self.orders) => return Err(end),
        };
        prepared.unwrap_or_else(|_elapsed| {
            let known = readiness.borrow();
            let missing = known.missing(&needs).join(", ");
            let trouble = known.trouble.as_ref().map(|why| format!(" ({why})"));
            let trouble = trouble.unwrap_or_default();
            let limit = limit.as_secs_f64();
            let what = format!("{missing} was not ready within {limit} s{trouble}");
            let hint = "`hermes services` lists what is there; --needs-timeout waits longer";
            Err(End::failed(what, hint))
        })
    }

    /// Asks for the URLs once more. Without an answer the old ones stay.
    async fn renew(&self, urls: &mut Vec<(OsString, OsString)>) {
        let asked = ask_all(&self.program, &self.around);
        if let Ok(Some(new)) = timeout(ASK_AGAIN_MAX, asked).await {
            *urls = new;
        }
    }

    /// Starts the command and stays with it until it ends. The inner error is one that another try
    /// may overcome.
    async fn start(
        &mut self,
        port: &mut Option<u16>,
        mut environment: Vec<(OsString, OsString)>,
        is_first: bool,
    ) -> Result<Result<Once, String>, End> {
        let port = match self.pick(port).await {
            Ok(port) => port,
            Err(what) if is_first => {
                let hint = "end what is there, or choose another --port; auto picks a free one";
                return Err(End::failed(what, hint));
            }
            Err(what) => return Ok(Err(what)),
        };
        let set = self.program.environment.iter();
        environment.extend(set.map(|(name, value)| (name.into(), value.into())));
        environment.push(("PORT".into(), port.to_string().into()));
        environment.push(("HERMES_ADDR".into(), self.around.client.address().into()));
        if let Some(namespace) = &self.around.namespace {
            environment.push(("HERMES_NAMESPACE".into(), namespace.as_str().into()));
        }
        let launch = Launch {
            command: &self.program.command,
            environment,
            directory: self.program.directory.as_deref(),
            is_read: self.audience.is_reading(),
        };
        let process = Process::start(&launch, &self.around.guard).map_err(|error| End::Failed {
            code: error.code(),
            what: error.to_string(),
            hint: "is it spelled as you would type it, and does this user have the right?".into(),
        })?;
        self.tell(&News::Started {
            command: self.program.executable(),
            pid: process.pid(),
            place: self.program.host.with_port(port),
        });
        Ok(Ok(self.attend(process, port).await))
    }

    /// The port to listen on: the one of last time if there was one.
    async fn pick(&self, last: &mut Option<u16>) -> Result<u16, String> {
        let host = &self.program.host;
        let port = match (*last, self.program.port) {
            (Some(port), _) | (None, Port::Fixed(port)) => port,
            (None, Port::Auto) => port::free(host)
                .map_err(|error| format!("no port is free on {}: {error}", host.as_str()))?,
        };
        *last = Some(port);
        if port::is_accepting(host, port).await {
            let place = host.with_port(port);
            return Err(format!(
                "somebody else accepts connections on {place} already"
            ));
        }
        Ok(port)
    }

    /// Stays with a command until it ends.
    async fn attend(&mut self, mut process: Process, port: u16) -> Once {
        let reader = process
            .output()
            .and_then(|(output, errors)| self.audience.read(output, errors));
        let (program, around, audience) = (&self.program, &*self.around, &*self.audience);
        let registration = Registration::new(
            &around.client,
            (around.namespace.as_ref(), &program.name),
            program.id(port, &around.machine),
            (program.registration(port), program.times.ttl),
            audience,
        );
        let has_listened = AtomicBool::new(false);
        let once = {
            let mut kept = pin!(async {
                let place = program.host.with_port(port);
                let after = SILENCE_MAX;
                let late = || audience.tell(&News::Silent { place, after });
                port::until_accepting(&program.host, port, SILENCE_MAX, late).await;
                has_listened.store(true, Ordering::Relaxed);
                registration.keep().await
            });
            let mut stop = Stop::new(program, around.clock);
            let mut refused = None;
            let ending = loop {
                tokio::select! {
                    biased;
                    ending = process.wait() => break ending,
                    Err(error) = &mut kept, if refused.is_none() => {
                        refused = Some(error);
                        stop.begin(Step::Ending, audience, &process);
                    }
                    Some(order) = self.orders.recv() => {
                        stop.take(order, &registration, audience, &process).await;
                    }
                    () = stop.time_is_over() => stop.go_on(audience, &process),
                }
            };
            Once {
                ending,
                is_wanted: stop.is_wanted(ending),
                has_listened: has_listened.load(Ordering::Relaxed),
                refused,
            }
        };
        if let Some(reader) = reader {
            timeout(LAST_OUTPUT_MAX, reader).await.ok();
        }
        let ending = once.ending;
        self.tell(&News::Ended { ending });
        registration.leave().await;
        once
    }
}

/// The steps towards the end of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Running,
    Draining,
    Ending,
    Killing,
}

/// How a command is brought to its end.
struct Stop<'a> {
    program: &'a Program,
    clock: Clock,
    step: Step,
    /// When the next step comes.
    next: Option<Moment>,
    /// Signals that were handed on; one that ends by one of them was wanted to.
    handed: Vec<Signal>,
}

impl<'a> Stop<'a> {
    fn new(program: &'a Program, clock: Clock) -> Self {
        Self {
            program,
            clock,
            step: Step::Running,
            next: None,
            handed: Vec::new(),
        }
    }

    /// Whether this is the ending that was asked for.
    fn is_wanted(&self, ending: Ending) -> bool {
        let ends = |signal: &Signal| [Signal::INT, Signal::QUIT].contains(signal);
        self.step > Step::Running
            || self.handed.iter().any(ends)
            || self.handed.iter().any(|signal| ending.is_by(*signal))
    }

    async fn take(
        &mut self,
        order: Order,
        registration: &Registration<'_>,
        audience: &dyn Audience,
        process: &Process,
    ) {
        match order {
            Order::HandOn(signal) => {
                process.signal(signal, whom(signal));
                let is_new = !self.handed.contains(&signal);
                if is_new {
                    self.handed.push(signal);
                }
                let is_end = [Signal::INT, Signal::QUIT].contains(&signal);
                if is_new && is_end && registration.is_registered() {
                    // It goes at once, and nobody else should come.
                    registration.drain().await;
                }
            }
            Order::Stop | Order::StopSoon if self.step == Step::Running => {
                let wait = match order {
                    Order::Stop => self.program.times.drain_time,
                    Order::StopSoon | Order::HandOn(_) => Duration::ZERO,
                };
                if !registration.is_registered() {
                    return self.begin(Step::Ending, audience, process);
                }
                let is_heard = registration.drain().await;
                if is_heard {
                    audience.tell(&News::Draining { wait });
                }
                if is_heard && !wait.is_zero() {
                    self.step = Step::Draining;
                    self.next = Some(self.clock.moment().after(wait));
                } else {
                    self.begin(Step::Ending, audience, process);
                }
            }
            Order::Stop | Order::StopSoon => self.go_on(audience, process),
        }
    }

    /// Goes to the next step.
    fn go_on(&mut self, audience: &dyn Audience, process: &Process) {
        let step = match self.step {
            Step::Running | Step::Draining => Step::Ending,
            Step::Ending | Step::Killing => Step::Killing,
        };
        self.begin(step, audience, process);
    }

    fn begin(&mut self, step: Step, audience: &dyn Audience, process: &Process) {
        let patience = self.program.times.stop_timeout;
        self.step = step;
        if step == Step::Killing {
            self.next = None;
            audience.tell(&News::Killing);
            process.signal(Signal::KILL, Whom::Group);
        } else {
            self.next = Some(self.clock.moment().after(patience));
            audience.tell(&News::Stopping { patience });
            process.signal(Signal::TERM, Whom::Group);
        }
    }

    /// Waits until the present step has taken long enough.
    async fn time_is_over(&self) {
        match self.next {
            Some(moment) => self.clock.sleep_until(moment).await,
            None => pending().await,
        }
    }
}

/// Whom a signal is handed on to. What ends a command, and what a terminal sends, is for all of its
/// process group; what asks it for something is for the command alone.
fn whom(signal: Signal) -> Whom {
    if [Signal::HUP, Signal::USR1, Signal::USR2].contains(&signal) {
        Whom::Command
    } else {
        Whom::Group
    }
}

/// Waits until it is told to end, while there is no command that could be told.
async fn interrupted(orders: &mut mpsc::Receiver<Order>) -> End {
    loop {
        match orders.recv().await {
            Some(Order::Stop | Order::StopSoon) => return End::Interrupted(Signal::TERM),
            Some(Order::HandOn(signal))
                if [Signal::HUP, Signal::INT, Signal::QUIT].contains(&signal) =>
            {
                return End::Interrupted(signal);
            }
            Some(Order::HandOn(_)) => {}
            // Nobody is left who could tell.
            None => pending().await,
        }
    }
}

/// Waits until all of `needs` are ready, and tells whenever what is missing is something else.
async fn until_ready(
    needs: &[Name],
    readiness: &mut watch::Receiver<Readiness>,
    audience: &dyn Audience,
) -> Result<(), End> {
    let mut told = None;
    loop {
        let (missing, trouble) = {
            let known = readiness.borrow_and_update();
            if let Some(why) = known.trouble.as_ref().filter(|_| known.is_refused) {
                return Err(End::failed(why, "ask whoever runs the server"));
            }
            let missing: Vec<String> = known.missing(needs).into_iter().map(Into::into).collect();
            if missing.is_empty() && known.trouble.is_none() {
                return Ok(());
            }
            // Before the first answer there is nothing to tell.
            let is_known = known.is_synced || known.trouble.is_some();
            (is_known.then_some(missing), known.trouble.clone())
        };
        if let Some(needs) = missing {
            let news = News::Waiting { needs, trouble };
            if told.as_ref() != Some(&news) {
                audience.tell(&news);
                told = Some(news);
            }
        }
        if readiness.changed().await.is_err() {
            return Err(End::failed(
                "nobody follows the services any more",
                "start it again",
            ));
        }
    }
}

/// The URLs of the services that are to be told; nothing when one is not ready any more.
async fn ask_all(program: &Program, around: &Surroundings) -> Option<Vec<(OsString, OsString)>> {
    let mut urls = Vec::new();
    for (service, variable) in &program.resolve {
        match url(&around.client, around.namespace.as_ref(), service).await {
            Ok(url) => urls.push((variable.into(), url.into())),
            Err(_) => {
                // It was ready a moment ago, and may be in the next.
                sleep(Backoff::default().wait()).await;
                return None;
            }
        }
    }
    Some(urls)
}
