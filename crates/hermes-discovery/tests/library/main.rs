//! What a program embeds, from outside: the stories of the second seed (R204 to R222).
//!
//! - `conformance`: the suite of `ServiceDiscovery`, on every implementation and layer.
//! - `health`, `layers`, `environment`, `waiting`, `told`: rules of time on the test clock, where time
//!   moves only when everybody waits, with responders that need no socket.
//! - `sockets`: the same stories once more over real sockets, every 50 ms.
//! - `peek`: looks that allocate nothing.
//! - `examples`, `features`: each example is run, each feature builds alone.

#![cfg(test)]

mod conformance;
mod environment;
mod examples;
mod features;
mod health;
mod layers;
mod make;
mod moody;
mod peek;
mod sockets;
mod told;
mod waiting;
