//! The engine and its logs, as stories.
//!
//! Each file holds one theme. Most stories run on the test clock: one thread, and time that moves
//! only when everybody waits. Those about threads that race run on the machine's clock, and name
//! the slack that they leave a busy machine.

#[cfg(test)]
mod batches;
#[cfg(test)]
mod crowds;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod follower;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod log;
#[cfg(test)]
mod make;
#[cfg(test)]
mod past;
#[cfg(test)]
mod rigged;
#[cfg(test)]
mod watch;
