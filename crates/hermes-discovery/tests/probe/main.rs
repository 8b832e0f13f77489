//! The prober over real sockets: an engine, a prober, and small responders on ports of their own.
//!
//! - `verdict`: which answer means what.
//! - `life`: from registration to removal, and what is told of it.
//! - `connection`: connections are kept, and may go stale.
//! - `crowd`: many endpoints, slow ones among them.
//! - `reach`: where probes do not go.
//! - `tls`: what is said of certificates.

#![cfg(test)]

mod connection;
mod crowd;
mod life;
mod reach;
mod responder;
mod tls;
mod verdict;
mod world;
