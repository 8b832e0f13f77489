//! What an application embeds of Hermes, and what a Hermes server is made of.
//!
//! - [`engine`]: the registry itself, one writer and lock-free reads.
//! - [`log`]: where changes go before they count.
//! - [`probe`]: health checks, executed.
//! - [`client`]: asking a Hermes server from elsewhere.
//! - [`settings`], [`admission`]: the configuration, and which addresses may be registered.
//! - [`clock`]: the only place that asks the machine for the time.

pub mod admission;
pub mod answer;
pub mod client;
pub mod clock;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod engine;
pub mod layer;
pub mod local;
pub mod log;
pub mod probe;
mod service_discovery;
pub mod settings;
mod wait;

pub use answer::{ChangeError, Provenance, ResolveError, Resolved, Source, StartError};
pub use layer::{Balanced, CacheConfig, Cached, Fallback, Layer, Required};
pub use local::{Config, Environment, InMemory, discovery_of};
pub use service_discovery::{DEFAULT_ID, ServiceDiscovery, Watch};
pub use wait::{NotReady, wait_for_services};
