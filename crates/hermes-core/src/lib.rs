//! The words and the state machine of Hermes service discovery.
//!
//! Everything here is pure: no async, no input or output, no clock, no randomness. Time and seeds
//! are arguments, so every test owns both. In reading order:
//!
//! - [`name`], [`address`], [`port`], [`metadata`], [`check`], [`health`], [`endpoint`], [`policy`]: what there is to say about a service.
//! - [`command`] → [`plan`] → [`change`] → [`catalog`]: how the state moves. A command is planned
//!   against the catalog, its changes are committed by a log, and applying them makes the next
//!   catalog, which is immutable and is what readers get.
//! - [`lease`], [`pulse`], [`damping`], [`due`]: what moves without a change.
//! - [`select`], [`explain`]: which endpoint, and why not that one.
//! - [`feed`], [`wire`]: what watchers and clients get.
//!
//! ```
//! use std::sync::Arc;
//! use hermes_core::catalog::Catalog;
//! use hermes_core::change::Revision;
//! use hermes_core::command::{Claim, Command, Condition, Request};
//! use hermes_core::limits::Limits;
//! use hermes_core::name::{EndpointId, Name, ServiceKey};
//! use hermes_core::plan::plan;
//! use hermes_core::time::Now;
//! use hermes_core::wire::request::read_registration;
//!
//! let service = ServiceKey::new(Name::default_namespace(), Name::parse("web").unwrap());
//! let registration = read_registration(br#"{"url": "http://10.0.0.1:8080", "checks": []}"#).unwrap();
//! let command = Command::Register {
//!     service: service.clone(),
//!     id: EndpointId::parse("web-1").unwrap(),
//!     registration: Arc::new(registration),
//!     new: false,
//! };
//! let request = Request { command, actor: "me".into(), condition: Condition::Always, claim: Claim::Free };
//!
//! let mut catalog = Catalog::new(Limits::default(), 42);
//! let planned = plan(&catalog, &request, Now::default()).unwrap();
//! // A log would make the change durable here and number it.
//! catalog.apply(Revision(1), &planned.changes[0].change, Now::default());
//! let endpoint = catalog.service_at(&service).unwrap().next_ready().unwrap();
//! assert_eq!(&*endpoint.registration().address.url, "http://10.0.0.1:8080");
//! ```

pub mod address;
pub mod budget;
pub mod catalog;
pub mod change;
pub mod check;
pub mod command;
pub mod damping;
pub mod due;
pub mod endpoint;
pub mod explain;
pub mod feed;
pub mod health;
pub mod lease;
pub mod limits;
pub mod metadata;
pub mod name;
pub mod named;
pub mod nearest;
pub mod plan;
pub mod policy;
pub mod port;
pub mod pulse;
pub mod rejection;
pub mod select;
pub mod silence;
pub mod slot;
mod sync;
pub mod tally;
pub mod time;
pub mod trie;
pub mod wire;
