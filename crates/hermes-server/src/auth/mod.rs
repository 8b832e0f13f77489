//! Keys: who is asking, what they may do, and how often.
//!
//! ```text
//!  request ─► gate (who?) ─► rate (too often?) ─► scope (may they?) ─► handler ─► claim (is it theirs?)
//!               │
//!             ring ◄── file ◄── hermes key create, rotate, revoke
//! ```
//!
//! A key has a role, a scope and an owner. The role and the scope are judged here, before a handler
//! sees the request, on names that were folded; whose an endpoint is, is judged in the plan of the
//! change (see [`hermes_core::command::Claim`]), so that nothing can come between. The text of a key is
//! shown once and kept nowhere ([`Secret`]).

mod file;
mod gate;
mod rate;
mod ring;
mod scope;
mod secret;

pub use file::{KEYS_FILE, KeyFileError, change, read};
pub(crate) use gate::{Caller, Denied, Gate};
pub(crate) use rate::{Limiter, Subject};
pub use ring::{KEYS_MAX, Key, KeyError, LABEL_LENGTH_MAX, NewKey, Over, Ring};
pub use scope::{Prefix, Rights, Role, SCOPE_MAX, Scope};
pub use secret::{KeyId, NoRandom, Secret};
