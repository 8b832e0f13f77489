//! Checks of one's own: other paths and intervals, a probe that is a closure, and hearing of changes.
//!
//!     cargo run -p hermes-discovery --example custom_check
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hermes_core::check::Check;
use hermes_discovery::engine::Event;
use hermes_discovery::probe::{Asked, Verdict};
use hermes_discovery::{Config, InMemory, ServiceDiscovery};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // How a service is checked is data: where, how often, how patiently.
    let of_memory = Check {
        interval: Duration::from_millis(50),
        attempts: 1,
        ..Check::http("/system/health")
    };

    // What a probe does is code: here a queue that gets longer, and no socket at all.
    let length = Arc::new(AtomicU32::new(0));
    let probe = move |asked: Asked| {
        let length = length.fetch_add(1, Ordering::Relaxed);
        let name = asked.check().name.clone();
        async move {
            match length {
                0..3 => Verdict::healthy(format!("{name}: {length} in the queue")),
                3..6 => Verdict::degraded(format!("{name}: {length} in the queue")),
                _ => Verdict::no_answer("it no longer answers"),
            }
        }
    };
    let discovery = InMemory::with(Config {
        checks: [("memory".to_owned(), of_memory)].into(),
        probe: Some(Arc::new(probe)),
        ..Config::default()
    });

    // Every change of health is heard once, with what was seen.
    let mut watch = discovery.watch(&["memory"]).await?;
    discovery
        .register("memory", "http://127.0.0.1:9000")
        .await?;
    let mut seen = 0;
    while seen < 3 {
        if let Some(Event::Change(change)) = watch.next().await
            && let Some((_, finding)) = change.endpoint.as_ref().and_then(|e| e.state.deciding())
            && finding.health.word() != "unknown"
        {
            println!("{}: {}", finding.health.word(), finding.evidence);
            seen += 1;
        }
    }
    discovery.shutdown().await;
    Ok(())
}
