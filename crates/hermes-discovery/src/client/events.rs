//! Server-sent events, read from chunks as they come (WHATWG HTML, 9.2).
//!
//! The parser takes chunks of any size, cut anywhere, within a line end or a character too. It
//! keeps one unfinished event and no more, and refuses one that grows beyond its bound: a server
//! that never ends a line must not fill the memory of its watchers.

use std::time::Duration;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The `id` that came with this event. It is what `Last-Event-ID` takes up again.
    pub id: Option<String>,
    /// What it is; `message` when it was sent without a name.
    pub event: String,
    /// What it says, lines joined by a line feed.
    pub data: String,
}

/// An event was larger than its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {max} bytes")]
pub struct EventTooLarge {
    /// Most bytes of an event.
    pub max: usize,
}

/// Reads events from chunks.
#[derive(Debug)]
pub struct EventParser {
    max: usize,
    /// The line that has not ended.
    line: Vec<u8>,
    /// The last line ended with a carriage return; a line feed right after it belongs to it.
    is_after_return: bool,
    is_at_start: bool,
    id: Option<String>,
    event: String,
    data: Option<String>,
    retry: Option<Duration>,
}

impl EventParser {
    /// A parser of events of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max,
            line: Vec::new(),
            is_after_return: false,
            is_at_start: true,
            id: None,
            event: String::new(),
            data: None,
            retry: None,
        }
    }

    /// Takes the next chunk, and gives the events that it completes.
    ///
    /// # Errors
    /// When an event grows beyond its bound. The stream cannot be read on from there.
    pub fn feed(&mut self, mut chunk: &[u8]) -> Result<Vec<Event>, EventTooLarge> {
        let mut events = Vec::new();
        if self.is_after_return && !chunk.is_empty() {
            chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
            self.is_after_return = false;
        }
        while let Some(end) = chunk.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.extend(&chunk[..end])?;
            events.extend(self.end_line());
            let is_return = chunk[end] == b'\r';
            chunk = &chunk[end + 1..];
            if is_return {
                self.is_after_return = chunk.is_empty();
                chunk = chunk.strip_prefix(b"\n").unwrap_or(chunk);
            }
        }
        self.extend(chunk)?;
        Ok(events)
    }

    /// How long to wait before connecting again, if the server has said so.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.retry
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        let data = self.data.as_ref().map_or(0, String::len);
        if data + self.line.len() + bytes.len() > self.max {
            return Err(EventTooLarge { max: self.max });
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Option<Event> {
        let bytes = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&bytes);
        let mut line = &*text;
        if std::mem::take(&mut self.is_at_start) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event = value.to_owned(),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                None => self.data = Some(value.to_owned()),
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
            },
            "retry" if value.bytes().all(|b| b.is_ascii_digit()) => {
                self.retry = value.parse().ok().map(Duration::from_millis);
            }
            // A comment, or a field of later days.
            _ => {}
        }
        None
    }

    /// An empty line: whatever has data is an event.
    fn end_event(&mut self) -> Option<Event> {
        let (id, event) = (self.id.take(), std::mem::take(&mut self.event));
        let data = self.data.take()?;
        let event = if event.is_empty() {
            "message".to_owned()
        } else {
            event
        };
        Some(Event { id, event, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}retry: 1500\n: hello\r\n\r\nevent: hello\r\ndata: {\"a\": 1}\r\n\r\n\
        id: 7\revent:change\rdata: one\rdata:  two\r\r\
        id\nwhatever: x\ndata\n\n\
        event: lost\n\ndata: \u{e9}\u{1f600}\nid: a\0b\n\nevent: cut\ndata: off";

    fn expected() -> Vec<Event> {
        let event = |id: Option<&str>, event: &str, data: &str| Event {
            id: id.map(Into::into),
            event: event.into(),
            data: data.into(),
        };
        vec![
            event(None, "hello", "{\"a\": 1}"),
            event(Some("7"), "change", "one\n two"),
            event(Some(""), "message", ""),
            event(None, "message", "\u{e9}\u{1f600}"),
        ]
    }

    #[test]
    fn events_are_the_same_wherever_the_stream_is_cut() {
        let bytes = STREAM.as_bytes();
        for cut in 0..=bytes.len() {
            let mut parser = EventParser::new(100);
            let mut events = parser.feed(&bytes[..cut]).unwrap();
            events.extend(parser.feed(&bytes[cut..]).unwrap());
            assert_eq!(events, expected(), "cut at {cut}");
            assert_eq!(parser.retry(), Some(Duration::from_millis(1_500)));
        }
    }

    #[test]
    fn events_are_the_same_byte_by_byte() {
        let mut parser = EventParser::new(100);
        let events = STREAM
            .bytes()
            .flat_map(|byte| parser.feed(&[byte]).unwrap());
        assert_eq!(events.collect::<Vec<_>>(), expected());
    }

    #[test]
    fn an_empty_chunk_between_return_and_line_feed_changes_nothing() {
        let mut parser = EventParser::new(100);
        let chunks: [&[u8]; 5] = [b"data: a\r", b"", b"\n", b"", b"\r\n"];
        let events = chunks.iter().flat_map(|chunk| parser.feed(chunk).unwrap());
        assert_eq!(events.count(), 1);
    }

    #[test]
    fn an_event_may_not_grow_beyond_its_bound() {
        let mut parser = EventParser::new(16);
        assert_eq!(parser.feed(b"data: 1234567890\n\n").unwrap().len(), 1);
        assert!(parser.feed(b"data: 12345678901").is_err());

        let mut parser = EventParser::new(16);
        assert!(parser.feed(b"data: 1234567890").unwrap().is_empty());
        assert!(parser.feed(b"1").is_err(), "a line in small pieces");

        let mut parser = EventParser::new(16);
        assert!(parser.feed(b"data: 1234\ndata: 12345\n").is_ok());
        assert!(parser.feed(b"data: 1\n").is_err(), "many short lines");

        let mut parser = EventParser::new(16);
        for _ in 0..100 {
            assert!(parser.feed(b": keep alive\n\n").unwrap().is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_depend_on_the_cuts(
            bytes in proptest::collection::vec(proptest::prop_oneof![
                proptest::sample::select(b"\r\n: dataeventid".to_vec()),
                proptest::num::u8::ANY,
            ], 0..80),
            cut in 0_usize..80,
        ) {
            let cut = cut.min(bytes.len());
            let whole = EventParser::new(1_000).feed(&bytes).unwrap();
            let mut parser = EventParser::new(1_000);
            let mut parts = parser.feed(&bytes[..cut]).unwrap();
            parts.extend(parser.feed(&bytes[cut..]).unwrap());
            proptest::prop_assert_eq!(whole, parts);
        }
    }
}
