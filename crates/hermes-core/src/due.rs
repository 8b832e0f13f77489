//! What is due when: the queue behind leases, probes and everything else that waits for a moment.
//!
//! Items are kept in slots of 16 ms, so that a million of them cost a few thousand tree nodes. An
//! item comes out in the slot that ends at or after its moment: never early, at most 16 ms late.
//! Renewals do not touch the queue; whoever takes an item out looks whether it was renewed, and puts
//! it back if so (lazy renewal).

use std::collections::BTreeMap;

use crate::time::Moment;

/// Milliseconds of a slot.
pub const SLOT_MILLIS: u64 = 16;

/// Items waiting for their moments.
#[derive(Debug)]
pub struct DueQueue<T> {
    slots: BTreeMap<u64, Vec<T>>,
    length: usize,
}

impl<T> Default for DueQueue<T> {
    fn default() -> Self {
        Self {
            slots: BTreeMap::new(),
            length: 0,
        }
    }
}

impl<T> DueQueue<T> {
    /// Puts `item` in, to come out at or after `at`.
    pub fn push(&mut self, at: Moment, item: T) {
        self.slots
            .entry(at.0.div_ceil(SLOT_MILLIS))
            .or_default()
            .push(item);
        self.length += 1;
    }

    /// Takes out at most `limit` items whose moment has come, in the order of their slots.
    pub fn take_due(&mut self, now: Moment, limit: usize) -> Vec<T> {
        let mut due = Vec::new();
        while let Some(mut slot) = self.slots.first_entry() {
            if slot.key() * SLOT_MILLIS > now.0 || due.len() >= limit {
                break;
            }
            let items = slot.get_mut();
            let count = items.len().min(limit - due.len());
            due.extend(items.drain(..count));
            if items.is_empty() {
                slot.remove();
            }
        }
        self.length -= due.len();
        due
    }

    /// When the next item comes out.
    #[must_use]
    pub fn next_at(&self) -> Option<Moment> {
        self.slots
            .keys()
            .next()
            .map(|slot| Moment(slot * SLOT_MILLIS))
    }

    /// How many items wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_limit_leaves_the_rest_for_later() {
        let mut queue = DueQueue::default();
        for n in 0..10 {
            queue.push(Moment(5), n);
        }
        assert_eq!(queue.take_due(Moment(15), 4), Vec::<i32>::new());
        assert_eq!(queue.take_due(Moment(16), 4), [0, 1, 2, 3]);
        assert_eq!((queue.len(), queue.next_at()), (6, Some(Moment(16))));
        assert_eq!(queue.take_due(Moment(16), 100).len(), 6);
        assert!(queue.is_empty() && queue.next_at().is_none());
    }

    proptest! {
        #[test]
        fn never_early_and_never_a_slot_late(
            moments in prop::collection::vec(0u64..10_000, 1..200),
            step in 1u64..500,
        ) {
            let mut queue = DueQueue::default();
            for at in &moments {
                queue.push(Moment(*at), *at);
            }
            let mut seen = 0;
            let mut now = 0;
            while !queue.is_empty() {
                for at in queue.take_due(Moment(now), usize::MAX) {
                    prop_assert!(at <= now);
                    prop_assert!(now < at + SLOT_MILLIS + step);
                    seen += 1;
                }
                now += step;
            }
            prop_assert_eq!(seen, moments.len());
        }
    }
}
