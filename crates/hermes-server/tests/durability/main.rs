//! Proof that nothing acknowledged is lost: the file log on disks that fail, on files that rot, and
//! across restarts.
//!
//! Everything random comes from a seed, and a story that fails prints its own.

#![cfg(test)]

mod conformance;
mod crashes;
mod disk;
mod flips;
mod golden;
mod model;
mod restart;
