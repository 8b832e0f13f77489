//! Durable registrations over HTTP, beside bare hyper that takes as many bytes and sends as many.
//!
//! Each request begins a new incarnation of one of ten thousand endpoints, so each is a change, which
//! is in the file log and synced before it is answered. The floor keeps nothing.

use crate::args::Plan;
use crate::child::ServerChild;
use crate::failure::Failure;
use crate::http::Client;
use crate::load::{Ask, Order};
use crate::pin::Cores;
use crate::rounds;
use crate::rows::{Measured, Row};
use crate::start::Scratch;

const CONNECTIONS: usize = 64;
const ENDPOINTS: u64 = 10_000;
/// What a service says of itself.
const BODY: &str = r#"{"url": "http://10.1.2.3:8080", "ttl": null, "checks": [], "metadata": {"version": "1.42.0", "commit": "0f3c9a1e"}, "tags": ["blue"], "zone": "eu-1"}"#;

pub(crate) fn rows() -> Vec<Row> {
    vec![Row {
        name: "register-durably",
        about: "PUT .../endpoints/{id}?new=true, file log",
        target: 0.3,
        measure,
    }]
}

fn measure(plan: &Plan, cores: &Cores) -> Result<Measured, Failure> {
    let scratch = Scratch::new()?;
    let hermes = ServerChild::start(cores, &["server", scratch.text()])?;
    let ask = |method: &str| Ask {
        method: method.into(),
        path: "/api/v1/services/service-{n}/endpoints/one?new=true".into(),
        body: BODY.into(),
        numbers: ENDPOINTS,
    };
    let (path, body) = ask("PUT").at(ENDPOINTS - 1);
    let mut client = Client::connect(hermes.address)?;
    // The first one is new, and its reply a little shorter than those that count.
    let mut bytes = 0;
    for _ in 0..2 {
        bytes = client.send("PUT", &path, &body)?.len();
    }
    let bare = ServerChild::start(cores, &["bare", &bytes.to_string()])?;
    let order = |server: &ServerChild, method: &str| Order {
        address: server.address,
        ask: ask(method),
        connections: CONNECTIONS,
        each: plan.each,
        server: server.id(),
    };
    let (floor, durable) = (order(&bare, "POST"), order(&hermes, "PUT"));
    let rounds = rounds::alternate(plan, cores, &floor, &durable)?;
    Ok(Measured::Asked { bytes, rounds })
}
