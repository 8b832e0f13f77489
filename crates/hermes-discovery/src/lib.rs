//! Service discovery within a program: no server, no other system, five minutes to learn.
//!
//! # Register, resolve
//!
//! ```
//! use hermes_discovery::{InMemory, ResolveError, ServiceDiscovery};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let discovery = InMemory::new();
//! discovery.register("memory", "http://127.0.0.1:9000").await?;
//!
//! // One answer: the endpoint, its health, where that comes from and at which revision.
//! let memory = discovery.resolve("memory").await?;
//! println!("{memory} is {}", memory.health().word());
//!
//! // No answer: unknown, nothing ready, or unreachable, which are three different things.
//! match discovery.resolve_ready("voice").await {
//!     Ok(voice) => println!("{voice}"),
//!     Err(ResolveError::Unknown { .. }) => println!("register it, or look at the name"),
//!     Err(ResolveError::NothingReady { why, .. }) => println!("wait, or do without: {why}"),
//!     Err(error) => println!("{error}"),
//! }
//! discovery.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! What is registered is probed at once and every 30 seconds, by `GET /health`; see [`Config`] for
//! other checks and [`probe::Probe`] for a probe of one's own. Without the network, in a test, a
//! closure is the probe.
//!
//! # What there is
//!
//! | | |
//! |---|---|
//! | [`ServiceDiscovery`] | the interface, object safe |
//! | [`InMemory`], [`Environment`] | what the program registers; what variables say |
//! | [`Balanced`], [`Required`], [`Cached`], [`Fallback`] | layers: each wraps a discovery and is one again |
//! | [`wait_for_services`] | for the start of a program |
//! | [`settings::Settings`], [`discovery_of`] | one YAML file and a handful of variables |
//! | [`InMemory::peek`] | a look without waiting, lock or allocation |
//! | [`Resolved`], [`ResolveError`] | answers, and why there is none |
//!
//! A new implementation passes the suite in `conformance`, which is there with the feature `testing`.
//!
//! # What it stands on
//!
//! The very parts that a Hermes server is made of:
//!
//! - [`engine`]: the registry itself, one writer and lock-free reads.
//! - [`log`]: where changes go before they count.
//! - [`probe`]: health checks, executed.
//! - [`client`]: asking a Hermes server from elsewhere.
//! - [`admission`]: which addresses may be registered.
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

/// The guide, so that what stands in it compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/library.md")]
struct Guide;
