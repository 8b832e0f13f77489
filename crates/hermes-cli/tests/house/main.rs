//! What must hold for the whole repository, as tests.
//!
//! Each file holds one theme: the facts as data at the top, the check below. A failure names the
//! file and the line where there is one, and says what to do about it. These tests read the tree
//! and ask cargo; they build nothing.

mod arrows;
mod furniture;
mod licences;
mod links;
mod modules;
mod packages;
mod purity;
mod repo;
mod rust;
mod sources;
