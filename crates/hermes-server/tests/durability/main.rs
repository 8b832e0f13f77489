//! Proof that nothing acknowledged is lost: the file log on disks that fail, on files that rot, and
//! across restarts.
//!
//! Everything random comes from a seed, and a story that fails prints its own.

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod flips;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod model;
#[cfg(test)]
mod restart;
