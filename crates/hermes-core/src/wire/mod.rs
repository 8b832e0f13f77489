//! API v1 on the wire: the JSON shapes, and nothing else.
//!
//! The domain types do not serialize; these are their twins, and the only place where compatibility
//! lives. [`answer`] is what servers send and clients read, [`request`] what clients send and servers
//! read strictly, [`problem`] how errors look.

pub mod answer;
mod check;
pub mod fields;
mod json;
pub mod problem;
pub mod request;
mod tree;
mod writer;

pub(crate) use json::EncodedEndpoint;
pub use json::{change_json, depth_of, endpoint_detail};
pub use tree::{Json, Members};
