//! The atomics of the core, named in one place: the exhaustive thread tests of [`crate::lease`]
//! compile that file against another module of this name.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
