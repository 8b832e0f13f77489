//! Starts: the time until a server with very many endpoints listens, beside reading the same bytes.
//!
//! The endpoints are registered over HTTP, ten of each service, then the server is stopped in order, or
//! killed. Before each start and each reading the system is told to forget the files, so that both
//! come from the disk. A start may use every core.

use std::time::Duration;

use tokio::time::Instant;

use crate::args::Plan;
use crate::child::ServerChild;
use crate::failure::Failure;
use crate::load::{self, Ask, Order};
use crate::pin::{Cores, Seat};
use crate::rounds::Wait;
use crate::rows::{Measured, Row};
use crate::start::{Scratch, Sizes};
use crate::{child, console};

const CONNECTIONS: usize = 64;
const BODY: &str = r#"{"url": "http://10.1.2.3:8080", "ttl": null, "checks": [], "metadata": {"version": "1.42.0", "commit": "0f3c9a1e"}, "tags": ["blue"], "zone": "eu-1"}"#;

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        name: "start",
        about: "until it listens, stopped in order and killed in turn",
        target: 1.0,
        measure,
    }]
}

fn measure(plan: &Plan, cores: &Cores) -> Result<Measured, Failure> {
    let scratch = Scratch::new()?;
    let mut server = ServerChild::start_on(cores, Seat::Any, &["server", scratch.text()])?;
    fill(plan, &server)?;
    let mut waits = Vec::new();
    let mut facts = Vec::new();
    let mut sizes = Sizes::default();
    for round in 0..plan.rounds.max(2) {
        let is_killed = round % 2 == 1;
        if is_killed {
            server.kill()?;
        } else {
            drop(server);
        }
        sizes = scratch.sizes()?;
        let floor = read(cores, &scratch)?;
        scratch.forget_cached();
        let began = Instant::now();
        server = ServerChild::start_on(cores, Seat::Any, &["server", scratch.text()])?;
        let hermes = began.elapsed();
        let how = if is_killed { "killed" } else { "stopped" };
        console::note(&format!(
            "  {how}: listens after {:.2} s, the same bytes are read in {:.2} s",
            hermes.as_secs_f64(),
            floor.as_secs_f64()
        ));
        facts.push((how, format!("{:.2} s", hermes.as_secs_f64())));
        waits.push(Wait { floor, hermes });
    }
    facts.push((
        "read at a start",
        format!("{} MB", sizes.read_at_start / 1_000_000),
    ));
    facts.push((
        "log, for each change",
        format!("{} bytes", sizes.segments / plan.endpoints),
    ));
    facts.push((
        "snapshot, for each endpoint",
        format!("{:.0} bytes", sizes.for_each_endpoint),
    ));
    Ok(Measured::Waited { waits, facts })
}

fn fill(plan: &Plan, server: &ServerChild) -> Result<(), Failure> {
    console::note(&format!("  registering {} endpoints", plan.endpoints));
    load::ask_all(&Order {
        address: server.address,
        ask: Ask {
            method: "PUT".into(),
            path: "/api/v1/services/service-{t}/endpoints/endpoint-{n}".into(),
            body: BODY.into(),
            numbers: plan.endpoints,
        },
        connections: CONNECTIONS,
        each: Duration::ZERO,
        server: server.id(),
    })
}

/// How long reading takes what a start reads.
fn read(cores: &Cores, scratch: &Scratch) -> Result<Duration, Failure> {
    scratch.forget_cached();
    let mut args = vec!["read".to_owned()];
    args.extend(
        scratch
            .read_at_start()?
            .iter()
            .map(|path| path.display().to_string()),
    );
    let began = Instant::now();
    child::ask(cores, Seat::Any, &args)?;
    Ok(began.elapsed())
}
