//! Who probes: Hermes's prober as an application embeds it, and a client of bare hyper, at the same
//! pace, each in a process of its own that says what it spent.
//!
//! Both probe every endpoint once in [`INTERVAL`], wait at most [`TIMEOUT`] for an answer, keep the
//! connections of those that answer, and try once. The floor is one task for each endpoint that
//! sleeps, asks, and sleeps again: no order, no limit, no bookkeeping, and nobody is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hermes_core::change::ClusterId;
use hermes_core::check::{Check, CheckKind, HttpCheck};
use hermes_core::command::{Command, Condition, Request};
use hermes_core::endpoint::Registration;
use hermes_core::name::{EndpointId, Name, ServiceKey};
use hermes_core::wire::request::registration_of_url;
use hermes_discovery::clock::Clock;
use hermes_discovery::engine::{self, Engine};
use hermes_discovery::log::MemoryLog;
use hermes_discovery::probe::{self, Prober, ProberHandle};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::failure::Failure;
use crate::{console, files, probed, server, spent};

/// How many endpoints are probed; half of them never answer.
pub(crate) const ENDPOINTS: usize = 10_000;
const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(2);
/// Before what counts: every endpoint was probed, and those that answer are connected.
const WARM_UP: Duration = Duration::from_secs(15);

/// What a prober did, and what it cost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Probing {
    pub(crate) probes: u64,
    pub(crate) spent: Duration,
    /// Milliseconds that 99 of 100 probes began at most too late; none of the floor.
    pub(crate) late: Option<u64>,
}

impl Probing {
    /// Processor time for so many probes.
    pub(crate) fn time_for(&self, probes: u32) -> Duration {
        self.spent
            .mul_f64(f64::from(probes) / self.probes.max(1) as f64)
    }

    fn to_line(&self) -> String {
        let late = self
            .late
            .map_or(-1, |late| i64::try_from(late).unwrap_or(i64::MAX));
        format!("{} {} {late}", self.probes, self.spent.as_nanos())
    }

    /// What [`Probing::to_line`] wrote.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        Some(Self {
            probes: words.next()?.parse().ok()?,
            spent: Duration::from_nanos(words.next()?.parse().ok()?),
            late: words.next()?.parse().ok(),
        })
    }
}

/// Probes with Hermes, and says what that was.
pub(crate) fn run_hermes(port: u16, each: Duration) -> Result<(), Failure> {
    files::allow_many();
    server::one_thread()?.block_on(async {
        let prober = start_hermes(port).await?;
        sleep(WARM_UP).await;
        let (before, began) = (prober.stats(), spent::by_process("self")?);
        sleep(each).await;
        let after = prober.stats();
        let mut during = after;
        during.started -= before.started;
        for (count, before) in during
            .lateness_counts
            .iter_mut()
            .zip(before.lateness_counts)
        {
            *count -= before;
        }
        let late = during.lateness_within(0.99);
        let probing = Probing {
            probes: during.started,
            spent: spent::by_process("self")?.saturating_sub(began),
            late: late.map(|late| u64::try_from(late.as_millis()).unwrap_or(u64::MAX)),
        };
        console::print(&probing.to_line());
        Ok(())
    })
}

async fn start_hermes(port: u16) -> Result<ProberHandle, Failure> {
    let unusable = |what: String| Failure::Unusable(format!("Hermes does not probe ({what})"));
    let log = MemoryLog::new(ClusterId(1));
    let engine = Engine::start(engine::Config::default(), Clock::system(), log).await;
    let engine = engine.map_err(|error| unusable(error.to_string()))?;
    let prober = Prober::start(engine.clone(), probe::Config::default());
    let prober = prober.map_err(|error| unusable(error.to_string()))?;
    for number in 0..ENDPOINTS {
        let registration = registration(number, port);
        let id = EndpointId::parse(&format!("e{number}")).ok();
        let (Some(registration), Some(id)) = (registration, id) else {
            return Err(unusable("an endpoint is wrong".into()));
        };
        let name = Name::parse(&format!("service-{}", number / 10));
        let name = name.map_err(|error| unusable(error.to_string()))?;
        let command = Command::Register {
            service: ServiceKey::new(Name::default_namespace(), name),
            id,
            registration: Arc::new(registration),
            new: false,
        };
        let request = Request {
            command,
            actor: "bench".into(),
            condition: Condition::Always,
            claim: Default::default(),
        };
        let outcome = engine.submit(request).await;
        outcome.map_err(|refusal| unusable(refusal.to_string()))?;
    }
    Ok(prober)
}

fn registration(number: usize, port: u16) -> Option<Registration> {
    let url = format!("http://{}", probed::address(number, port));
    let check = Check {
        interval: INTERVAL,
        timeout: TIMEOUT,
        attempts: 1,
        ..Check::new(CheckKind::Http(HttpCheck::default()))
    };
    Some(Registration {
        checks_by_default: false,
        checks: vec![check],
        ttl: None,
        ..registration_of_url(&url).ok()?
    })
}

/// Probes with bare hyper, and says what that was.
pub(crate) fn run_bare(port: u16, each: Duration) -> Result<(), Failure> {
    files::allow_many();
    server::one_thread()?.block_on(async {
        let probes = Arc::new(AtomicU64::new(0));
        let began = Instant::now();
        for number in 0..ENDPOINTS {
            let share = number as f64 / ENDPOINTS as f64;
            let first = began + INTERVAL.mul_f64(share);
            let address = probed::address(number, port);
            tokio::spawn(probe_bare(address, first, Arc::clone(&probes)));
        }
        sleep(WARM_UP).await;
        let (before, began) = (probes.load(Ordering::Relaxed), spent::by_process("self")?);
        sleep(each).await;
        let probing = Probing {
            probes: probes.load(Ordering::Relaxed) - before,
            spent: spent::by_process("self")?.saturating_sub(began),
            late: None,
        };
        console::print(&probing.to_line());
        Ok(())
    })
}

async fn probe_bare(address: SocketAddr, first: Instant, probes: Arc<AtomicU64>) {
    let (mut due, mut kept) = (first, None);
    loop {
        sleep_until(due).await;
        probes.fetch_add(1, Ordering::Relaxed);
        let asked = timeout(TIMEOUT, ask_bare(address, kept.take())).await;
        kept = asked.ok().flatten();
        due += INTERVAL;
    }
}

/// Asks once. What comes back is the connection, if there was an answer.
async fn ask_bare(
    address: SocketAddr,
    kept: Option<SendRequest<Empty<Bytes>>>,
) -> Option<SendRequest<Empty<Bytes>>> {
    let mut sender = match kept {
        Some(sender) => sender,
        None => {
            let stream = TcpStream::connect(address).await.ok()?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
            tokio::spawn(connection);
            sender
        }
    };
    let request = hyper::Request::get("/health").header("host", address.to_string());
    sender.ready().await.ok()?;
    let response = sender
        .send_request(request.body(Empty::new()).ok()?)
        .await
        .ok()?;
    response.into_body().collect().await.ok()?;
    Some(sender)
}
