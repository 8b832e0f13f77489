//! A budget of bytes for what is kept only to save work.
//!
//! Encoded forms make answers cheap and memory dear. Everything that keeps one takes its bytes from
//! a budget first, and does without when there are none left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that may be kept.
#[derive(Debug)]
pub struct Budget {
    total: usize,
    left: AtomicUsize,
}

/// Bytes that were taken from a budget, given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            total: bytes,
            left: AtomicUsize::new(bytes),
        }
    }

    /// Takes bytes from the budget; `None` when not so many are left.
    #[must_use]
    pub fn take(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let take = |left: usize| left.checked_sub(bytes);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .ok()?;
        Some(Share {
            budget: Arc::clone(self),
            bytes,
        })
    }

    /// Bytes that are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed)
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.total.saturating_sub(self.left())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back() {
        let budget = Arc::new(Budget::new(100));
        let share = budget.take(60).unwrap();
        assert!(budget.take(41).is_none());
        assert_eq!((budget.left(), budget.taken()), (40, 60));
        drop(share);
        assert_eq!(budget.left(), 100);
    }
}
