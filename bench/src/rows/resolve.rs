//! Resolving over HTTP, beside bare hyper that sends as many bytes.
//!
//! One service of three endpoints is asked for, among ten thousand services of one endpoint each. No
//! endpoint has checks, so nothing else happens on the server.

use crate::args::Plan;
use crate::child::ServerChild;
use crate::failure::Failure;
use crate::http::Client;
use crate::load::{Ask, Order};
use crate::pin::Cores;
use crate::rounds;
use crate::rows::{Measured, Row};

const CONNECTIONS: usize = 64;
const OTHER_SERVICES: usize = 10_000;

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "resolve-url",
            about: "GET /api/v1/services/{name}/url",
            target: 0.75,
            measure: |plan, cores| measure(plan, cores, "/api/v1/services/web/url"),
        },
        Row {
            name: "resolve-service",
            about: "GET /api/v1/services/{name}, 3 endpoints",
            target: 0.75,
            measure: |plan, cores| measure(plan, cores, "/api/v1/services/web"),
        },
    ]
}

fn measure(plan: &Plan, cores: &Cores, path: &str) -> Result<Measured, Failure> {
    let hermes = ServerChild::start(cores, &["server"])?;
    register_all(&hermes)?;
    let bytes = reply_bytes(&hermes, path)?;
    let bare = ServerChild::start(cores, &["bare", &bytes.to_string()])?;
    let bare_bytes = reply_bytes(&bare, path)?;
    if bare_bytes != bytes {
        let detail = format!("the floor replies with {bare_bytes} bytes instead of {bytes}");
        return Err(Failure::Unusable(detail));
    }
    let order = |server: &ServerChild| Order {
        address: server.address,
        ask: Ask::get(path),
        connections: CONNECTIONS,
        each: plan.each,
        server: server.id(),
    };
    let rounds = rounds::alternate(plan, cores, &order(&bare), &order(&hermes))?;
    Ok(Measured::Asked { bytes, rounds })
}

fn register_all(server: &ServerChild) -> Result<(), Failure> {
    let mut client = Client::connect(server.address)?;
    let mut register = |service: &str, number: usize| {
        let path = format!("/api/v1/services/{service}/endpoints/{service}-{number}");
        let (third, last) = (number / 250, number % 250 + 1);
        let url = format!("http://10.1.{third}.{last}:8080");
        let body = format!(r#"{{"url": "{url}", "ttl": null, "checks": []}}"#);
        client.send("PUT", &path, &body)
    };
    for number in 1..=3 {
        register("web", number)?;
    }
    for number in 0..OTHER_SERVICES {
        register(&format!("other-{number}"), number)?;
    }
    Ok(())
}

fn reply_bytes(server: &ServerChild, path: &str) -> Result<usize, Failure> {
    let reply = Client::connect(server.address)?.send("GET", path, "")?;
    Ok(reply.len())
}
