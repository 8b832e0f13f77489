//! Services from environment variables, and settings as the seed has them.
//!
//!     ENVIRONMENT=production SERVICE_DISCOVERY_ENV_PREFIX=SERVICE_ \
//!     SERVICE_DISCOVERY_HTTP_HOSTS=memory-service SERVICE_MEMORY=http://memory-service:9000 \
//!         cargo run -p hermes-discovery --example environment
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use hermes_discovery::{discovery_of, settings::Settings};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Variables over config/service_discovery.yaml over defaults. Everything that is wrong is
    // reported at once, each fault with its place and with what was expected.
    let settings = match Settings::of_process() {
        Ok(settings) => settings,
        Err(faults) => {
            println!("{faults}");
            return Err("the settings are wrong".into());
        }
    };
    println!("{} ({})", settings.stage.value.word(), settings.stage.place);
    println!(
        "checks every {:?} ({})",
        settings.interval.value, settings.interval.place
    );

    // In development in memory, else from variables with the prefix of the stage.
    let discovery = discovery_of(&settings);
    discovery.initialize().await?;
    for (name, resolved) in discovery.get_all().await? {
        println!("{name} is at {resolved}, says the {}", resolved.provenance);
    }
    discovery.shutdown().await;
    Ok(())
}
