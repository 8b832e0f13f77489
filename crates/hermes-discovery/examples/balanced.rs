//! Several endpoints of one service, each in turn, and those that are not ready left out.
//!
//!     cargo run -p hermes-discovery --example balanced
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use hermes_core::select::Policy;
use hermes_discovery::probe::Asked;
use hermes_discovery::{Balanced, Config, InMemory, ServiceDiscovery};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Instead of asking over the network: everybody is well but the one on port 9002.
    let probe = |asked: Asked| async move { asked.endpoint.registration().address.port != 9002 };
    let inner = InMemory::with(Config {
        probe: Some(Arc::new(probe)),
        ..Config::default()
    });
    let discovery = Balanced::new(inner.clone());
    for port in 9001..=9003 {
        let url = format!("http://127.0.0.1:{port}");
        discovery.register("memory", &url).await?;
        let registered = discovery.resolve("memory").await?;
        println!("registered {url}; at the moment one gets {registered:?}");
    }

    // Wait for a change, not for a time: the third is the second that is ready.
    let mut watch = discovery.watch(&["memory"]).await?;
    while inner.peek("memory", |view| view.ready_count()) != Some(2) {
        watch.next().await;
    }
    for _ in 0..4 {
        println!("next: {}", discovery.resolve("memory").await?);
    }

    // Any other policy: the same key always leads to the same endpoint.
    let sticky = Balanced::by(Policy::Rendezvous, inner);
    println!(
        "sticky: {}",
        sticky
            .wait_until_ready("memory", Duration::from_secs(5))
            .await?
    );
    discovery.shutdown().await;
    Ok(())
}
