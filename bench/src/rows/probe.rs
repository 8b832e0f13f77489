//! Probing ten thousand endpoints every ten seconds, half of which never answer, beside a bare hyper
//! client that does the same.

use std::time::Duration;

use crate::args::Plan;
use crate::child::{self, ServerChild};
use crate::console;
use crate::failure::Failure;
use crate::pin::{Cores, Seat};
use crate::probing::{ENDPOINTS, Probing};
use crate::rounds::Wait;
use crate::rows::{Measured, Row};

/// The processor time of so many probes is what is compared.
const PROBES: u32 = 10_000;
/// A round is at least two intervals.
const EACH_MIN: Duration = Duration::from_secs(20);
/// More rounds would take very long.
const ROUNDS_MAX: usize = 3;

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        name: "probe",
        about: "processor time of 10,000 probes, half never answered",
        target: 0.5,
        measure,
    }]
}

fn measure(plan: &Plan, cores: &Cores) -> Result<Measured, Failure> {
    let probed = ServerChild::start_on(cores, Seat::Load, &["probed"])?;
    let (port, each) = (probed.address.port(), plan.each.max(EACH_MIN));
    let (mut waits, mut late) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds.min(ROUNDS_MAX) {
        let floor = probe(cores, "prober-bare", port, each)?;
        let hermes = probe(cores, "prober", port, each)?;
        let p99 = hermes
            .late
            .map_or("over 10 s".into(), |late| format!("at most {late} ms"));
        console::note(&format!(
            "  of {} probes in {each:?}, 99 of 100 began {p99} late",
            hermes.probes
        ));
        late.push(p99);
        waits.push(Wait {
            floor: floor.time_for(PROBES),
            hermes: hermes.time_for(PROBES),
        });
    }
    let facts = vec![
        ("endpoints", ENDPOINTS.to_string()),
        ("late, 99 of 100, in each round", late.join(", ")),
    ];
    Ok(Measured::Waited { waits, facts })
}

fn probe(cores: &Cores, role: &str, port: u16, each: Duration) -> Result<Probing, Failure> {
    let args = [
        role.to_owned(),
        port.to_string(),
        each.as_secs_f64().to_string(),
    ];
    let line = child::ask(cores, Seat::Server, &args)?;
    let garbled = || Failure::Unusable(format!("a prober said {line:?}"));
    Probing::from_line(&line).ok_or_else(garbled)
}
