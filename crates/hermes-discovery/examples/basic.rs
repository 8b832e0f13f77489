//! Register, resolve, ask for health, list: the whole interface in one go.
//!
//!     cargo run -p hermes-discovery --example basic
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use hermes_discovery::{InMemory, ResolveError, ServiceDiscovery};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let discovery = InMemory::new();
    discovery.initialize().await?;

    discovery
        .register("memory", "http://127.0.0.1:9000")
        .await?;
    discovery
        .register("cognition", "http://127.0.0.1:9100")
        .await?;

    match discovery.resolve("memory").await {
        Ok(memory) => println!("Memory service at: {memory}"),
        Err(ResolveError::Unknown { .. }) => println!("Memory service not found"),
        Err(error) => println!("{error}"),
    }
    let is_healthy = discovery.is_healthy("memory").await;
    let word = if is_healthy { "healthy" } else { "unhealthy" };
    println!("Memory service is {word}");

    // Endpoint, health, where the answer comes from and at which revision: one look at each.
    println!("All services: {:#?}", discovery.get_all().await?);

    discovery.shutdown().await;
    Ok(())
}
