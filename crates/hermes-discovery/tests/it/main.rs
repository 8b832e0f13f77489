//! The engine and its logs, as stories.
//!
//! Each file holds one theme. Most stories run on the test clock: one thread, and time that moves
//! only when everybody waits. Those about threads that race run on the machine's clock, and name
//! the slack that they leave a busy machine.

#![cfg(test)]

mod batches;
mod crowds;
mod failures;
mod follower;
mod leases;
mod log;
mod make;
mod past;
mod rigged;
mod watch;
