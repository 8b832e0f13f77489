//! The HTTP API v1 from outside: a server on a free port, and whoever speaks to it over a socket.
//!
//! Every answer that the [`client`] gets is checked against the ground rules of the contract, whatever
//! the test is about; [`headers`] proves that these checks see what they should. Nothing here knows
//! how the server is built.

mod bounds;
mod client;
mod document;
mod events;
mod golden;
mod headers;
mod hostile;
mod keys;
mod limits;
mod metrics;
mod policy;
mod reading;
mod refusals;
mod restart;
mod ring;
mod selection;
mod server;
mod shape;
mod targets;
mod tls;
mod watch;
mod ways;
mod writing;
