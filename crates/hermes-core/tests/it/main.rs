//! What hermes-core promises, as stories: the state machine over any sequence of commands, selection,
//! the wire, and why an endpoint is not handed out. `lease_threads.rs` beside this is about threads.

mod claim;
mod command;
mod driver;
mod explain;
mod flapping;
mod judge;
mod lease;
mod machine;
mod make;
mod random;
mod replay;
mod request;
mod select;
mod step;
mod wire;
