//! The Hermes registry server: the engine of `hermes-discovery` with the HTTP API v1 on top.
//!
//! ```text
//!  socket ─► serve ─► api::route ─► read   ─► catalog         (no door for reading)
//!                                └► write  ─► engine.submit   (one door for change)
//!                                └► watch  ─► engine.watch
//! ```
//!
//! [`Server::bind`] opens the socket and starts the engine; [`Server::run`] serves until it is told
//! to stop, lets what is in flight finish, and tells watchers goodbye.

mod api;
mod app;
pub mod auth;
mod config;
mod declared;
pub mod log;
mod serve;
pub mod settings;

pub use app::{Handle, Server, StartError};
pub use config::{
    AuthConfig, Config, HttpLimits, LogConfig, LogFormat, LogKind, Logging, TlsConfig,
};
pub use serve::tls::TlsError;
