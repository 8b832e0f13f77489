//! A program that goes on with less when a service is missing or unwell, and reports how they are.
//!
//!     cargo run -p hermes-discovery --example graceful_degradation
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::{sync::Arc, time::Duration};

use hermes_discovery::{Config, InMemory, ResolveError, ServiceDiscovery, probe::Asked};
use serde_json::{Value, json};

/// The context of a user, or an empty one that says so.
async fn get_context(discovery: &dyn ServiceDiscovery, user: &str) -> Value {
    match discovery.resolve_ready("cognition").await {
        // Here the call would be made.
        Ok(at) => return json!({"context": [format!("{user} at {at}")], "fallback": false}),
        Err(ResolveError::Unknown { .. }) => println!("Cognition service not available"),
        Err(error) => println!("Cognition service unhealthy ({error})"),
    }
    json!({"context": [], "fallback": true})
}

/// Says every minute how everybody is, until it is aborted; ten seconds after an error.
async fn report(discovery: Arc<dyn ServiceDiscovery>) {
    loop {
        let all = discovery.get_all().await;
        let pause = if all.is_ok() { 60 } else { 10 };
        println!("reporting: {all:?}");
        tokio::time::sleep(Duration::from_secs(pause)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Instead of asking over the network: who is on port 9100 is well.
    let probe = |asked: Asked| async move { asked.endpoint.registration().address.port == 9100 };
    let probe = Some(Arc::new(probe) as _);
    let discovery = Arc::new(InMemory::with(Config {
        probe,
        ..Config::default()
    }));

    println!("{}", get_context(&discovery, "ada").await);
    discovery
        .register("cognition", "http://127.0.0.1:9999")
        .await?;
    println!("{}", get_context(&discovery, "ada").await);
    discovery
        .register("cognition", "http://127.0.0.1:9100")
        .await?;
    discovery
        .wait_until_ready("cognition", Duration::from_secs(60))
        .await?;
    println!("{}", get_context(&discovery, "ada").await);

    let reporter = tokio::spawn(report(discovery.clone()));
    tokio::task::yield_now().await;
    reporter.abort();
    discovery.shutdown().await;
    Ok(())
}
