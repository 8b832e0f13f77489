//! Open files: as many as the system allows, because every connection is one.

/// Raises the soft limit of this process to the hard one. Where that fails, connections will, and say
/// so.
pub(crate) fn allow_many() {
    rlimit::increase_nofile_limit(u64::MAX).ok();
}
