//! Waiting for services when a program starts, and going on without them in the end.
//!
//!     cargo run -p hermes-discovery --example wait_for_services
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::time::Duration;

use hermes_discovery::probe::Asked;
use hermes_discovery::{Config, InMemory, ServiceDiscovery, wait_for_services};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Instead of asking over the network: everybody is well.
    let discovery = InMemory::with(Config {
        probe: Some(Arc::new(|_: Asked| async { true })),
        ..Config::default()
    });

    // Somebody registers while we wait.
    let registrar = discovery.clone();
    let registering = tokio::spawn(async move {
        registrar
            .register("memory", "http://127.0.0.1:9000")
            .await?;
        registrar
            .register("cognition", "http://127.0.0.1:9100")
            .await
    });
    wait_for_services(
        &discovery,
        &["memory", "cognition"],
        Duration::from_secs(60),
    )
    .await?;
    registering.await??;
    println!("memory and cognition are ready");

    // What does not come is named, and the program decides.
    let patience = Duration::from_millis(100);
    if let Err(not_ready) = wait_for_services(&discovery, &["memory", "voice"], patience).await {
        println!("going on without: {not_ready}");
    }
    discovery.shutdown().await;
    Ok(())
}
