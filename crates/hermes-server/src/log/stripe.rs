//! Stripes: where in a segment to begin reading, so that a page of history costs a page.
//!
//! A stripe begins with a batch and is 64 KiB or more. What is appended is noted as it is written; a
//! segment from before this process is walked once, from head to head, when somebody reads it first.

use std::io::{self, Read};

use hermes_core::change::Revision;

use super::segment::{HEAD, batch_extent};

/// Bytes after which another stripe begins.
const STRIPE: u64 = 64 * 1024;

/// Where the stripes of one segment begin.
#[derive(Debug, Clone, Default)]
pub(super) struct Stripes(Vec<(Revision, u64)>);

/// Where to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stripe {
    /// Bytes from the beginning of the file.
    pub(super) offset: u64,
    /// How many there are; `None` for as many as follow.
    pub(super) length: Option<u64>,
    /// The last revision in it; `None` for the last one of the segment.
    pub(super) upto: Option<Revision>,
}

impl Stripes {
    /// Takes note of a batch whose first change is `first` and that begins at `offset`.
    pub(super) fn note(&mut self, first: Revision, offset: u64) {
        if self
            .0
            .last()
            .is_none_or(|(_, last)| offset >= last + STRIPE)
        {
            self.0.push((first, offset));
        }
    }

    /// The stripes of a segment. Where the head of a batch has rotted the last stripe begins: how far
    /// that goes, only a scan of it can tell.
    pub(super) fn of(mut segment: impl Read) -> io::Result<Self> {
        let mut stripes = Self::default();
        let mut head = [0; HEAD];
        let mut offset = 0;
        let mut skip = HEAD as u64;
        while io::copy(&mut segment.by_ref().take(skip), &mut io::sink())? == skip {
            offset += skip;
            match segment.read_exact(&mut head) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                read => read?,
            }
            let Some((first, length)) = batch_extent(&head) else {
                break;
            };
            stripes.note(first, offset);
            offset += HEAD as u64;
            skip = length;
        }
        Ok(stripes)
    }

    /// Where the change after `revision` is, if it is in the segment.
    pub(super) fn find(&self, revision: Revision) -> Stripe {
        let at = self
            .0
            .partition_point(|(first, _)| first.0 <= revision.0 + 1);
        let offset = at.checked_sub(1).map_or(HEAD as u64, |at| self.0[at].1);
        let next = self.0.get(at);
        Stripe {
            offset,
            length: next.map(|(_, next)| next - offset),
            upto: next.map(|(first, _)| Revision(first.0 - 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_in_the_last_stripe_that_begins_at_or_before_it() {
        let mut stripes = Stripes::default();
        for (first, offset) in [(11, 32), (12, 40_000), (20, 70_000), (31, 140_000)] {
            stripes.note(Revision(first), offset);
        }
        let found = |revision| {
            let Stripe {
                offset,
                length,
                upto,
            } = stripes.find(Revision(revision));
            (offset, length, upto.map(|upto| upto.0))
        };
        assert_eq!(found(10), (32, Some(69_968), Some(19)));
        assert_eq!(found(18), found(10));
        assert_eq!(found(19), (70_000, Some(70_000), Some(30)));
        assert_eq!(found(30), (140_000, None, None));
        // The first batches have rotted: what is before the first one that was found.
        assert_eq!(found(5), (32, Some(0), Some(10)));
        assert_eq!(
            Stripes::default().find(Revision(5)),
            Stripe {
                offset: 32,
                length: None,
                upto: None
            }
        );
    }
}
