//! A start that fails when something is missing, and one that goes on.
//!
//!     cargo run -p hermes-discovery --example required_services
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use hermes_discovery::{InMemory, Required, ServiceDiscovery, StartError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let needed = ["memory", "cognition"];
    let strict = Required::strict(InMemory::new(), needed);
    strict.register("memory", "http://127.0.0.1:9000").await?;
    match strict.initialize().await {
        Err(StartError::Missing { services }) => println!("not started, for want of {services:?}"),
        other => println!("unexpected: {other:?}"),
    }

    // What was missing may come, and then it starts.
    strict
        .register("cognition", "http://127.0.0.1:9100")
        .await?;
    strict.initialize().await?;
    println!("started");
    strict.shutdown().await;

    // The same, as an error in the log only.
    let lenient = Required::warn(InMemory::new(), needed);
    lenient.initialize().await?;
    println!("started without");
    lenient.shutdown().await;
    Ok(())
}
