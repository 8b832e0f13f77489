//! What an application embeds of Hermes, and what a Hermes server is made of.
//!
//! - [`engine`]: the registry itself, one writer and lock-free reads.
//! - [`log`]: where changes go before they count.
//! - [`probe`]: health checks, executed.
//! - [`client`]: asking a Hermes server from elsewhere.
//! - [`settings`], [`admission`]: the configuration, and which addresses may be registered.
//! - [`clock`]: the only place that asks the machine for the time.

pub mod admission;
pub mod client;
pub mod clock;
pub mod engine;
pub mod log;
pub mod probe;
pub mod settings;
