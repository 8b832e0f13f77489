//! Words of which there are few, as they are stored: a number in a record, the word when it is exported.
//!
//! The number is the place in a table. A table only ever grows at its end. A number that is not in it
//! was written by a newer release; then the record is not read at all, for no other word would be right.

use std::fmt;

use hermes_core::change::ChangeKind;
use hermes_core::check::HttpMethod;
use hermes_core::endpoint::Platform;
use hermes_core::health::Health;
use hermes_core::select;
use minicbor::decode::{self, Decode, Decoder};
use minicbor::encode::{self, Encode, Encoder, Write};
use serde::{Serialize, Serializer};

/// A word out of a table.
#[derive(Debug, Clone, Copy)]
pub(in crate::log) struct Word<T>(pub(in crate::log) T);

/// What has a table.
pub(super) trait Tabled: Copy + PartialEq + fmt::Debug + 'static {
    /// What the table is of.
    const WHAT: &'static str;
    /// Each in the place of its number.
    const TABLE: &'static [Self];

    /// The word for it.
    fn word(self) -> &'static str;
}

/// What a check does, without what it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Http,
    Tcp,
    Heartbeat,
}

impl Tabled for ChangeKind {
    const WHAT: &'static str = "kind of change";
    const TABLE: &'static [Self] = &[
        Self::Registered,
        Self::Updated,
        Self::Health,
        Self::Drain,
        Self::Deregistered,
        Self::Expired,
        Self::Forgotten,
        Self::Policy,
    ];

    fn word(self) -> &'static str {
        self.word()
    }
}

impl Tabled for Health {
    const WHAT: &'static str = "health";
    const TABLE: &'static [Self] = &[
        Self::Unknown,
        Self::Healthy,
        Self::Degraded,
        Self::Unhealthy,
    ];

    fn word(self) -> &'static str {
        self.word()
    }
}

impl Tabled for Platform {
    const WHAT: &'static str = "platform";
    const TABLE: &'static [Self] = &[Self::Local, Self::Docker, Self::Kubernetes];

    fn word(self) -> &'static str {
        self.word()
    }
}

impl Tabled for Kind {
    const WHAT: &'static str = "kind of check";
    const TABLE: &'static [Self] = &[Self::Http, Self::Tcp, Self::Heartbeat];

    fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Heartbeat => "heartbeat",
        }
    }
}

impl Tabled for HttpMethod {
    const WHAT: &'static str = "method of a check";
    const TABLE: &'static [Self] = &[Self::Get, Self::Head];

    fn word(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
        }
    }
}

impl Tabled for select::Policy {
    const WHAT: &'static str = "way of selection";
    const TABLE: &'static [Self] = &[
        Self::RoundRobin,
        Self::Random,
        Self::Weighted,
        Self::LeastLoaded,
        Self::Rendezvous,
    ];

    fn word(self) -> &'static str {
        self.word()
    }
}

impl<T: Tabled, C> Encode<C> for Word<T> {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _context: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        let number = T::TABLE.iter().position(|other| *other == self.0);
        let number = number.expect("a test shows that every word is in its table");
        encoder.u64(number as u64).map(drop)
    }
}

impl<'b, T: Tabled, C> Decode<'b, C> for Word<T> {
    fn decode(decoder: &mut Decoder<'b>, _context: &mut C) -> Result<Self, decode::Error> {
        let number = decoder.u64()?;
        let found = usize::try_from(number).ok().and_then(|at| T::TABLE.get(at));
        found.copied().map(Self).ok_or_else(|| {
            let what = T::WHAT;
            decode::Error::message(format_args!(
                "the {what} has the number {number}, which only a newer release knows"
            ))
        })
    }
}

impl<T: Tabled> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_whole<T: Tabled>(all: &[T]) {
        for (number, word) in (0_u8..).zip(T::TABLE) {
            let stored = minicbor::to_vec(Word(*word)).unwrap();
            assert_eq!(stored, [number], "{word:?}");
            let read: Word<T> = minicbor::decode(&stored).unwrap();
            assert_eq!(read.0, *word);
        }
        for word in all {
            assert!(T::TABLE.contains(word), "{word:?} has no number");
        }
        let next = u8::try_from(T::TABLE.len()).unwrap();
        let error = minicbor::decode::<Option<Word<T>>>(&[next]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("only a newer release knows"), "{error}");
    }

    #[test]
    fn every_word_has_a_number_and_no_other_number_is_read() {
        is_whole(&ChangeKind::ALL);
        is_whole(&Health::ALL);
        is_whole(&Platform::ALL);
        is_whole(&[Kind::Http, Kind::Tcp, Kind::Heartbeat]);
        is_whole(&[HttpMethod::Get, HttpMethod::Head]);
        is_whole(&select::Policy::ALL);
    }
}
