//! A stream of events while it lasts.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hermes_core::address::Address;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use tokio::time::timeout;

use super::Config;
use super::answer::Answer;
use super::connection::{Response, in_words};
use super::error::ClientError;
use super::events::{Event, EventParser};

/// The events of one watch, in order. It ends by itself when the server says so or falls silent;
/// going on is the caller's decision, with `Last-Event-ID`.
#[derive(Debug)]
pub struct EventStream {
    address: Arc<str>,
    body: Incoming,
    parser: EventParser,
    read: VecDeque<Event>,
    silence_max: Duration,
}

impl EventStream {
    pub(super) async fn begin(
        response: Response,
        address: &Address,
        config: &Config,
    ) -> Result<Self, ClientError> {
        let status = response.status();
        if !status.is_success() {
            let answer = Answer::read_from(response, address, config.bytes_max).await?;
            return Err(if status.as_u16() >= 400 {
                answer.into_problem()
            } else {
                answer.into_redirect()
            });
        }
        let media_type = response.headers().get(CONTENT_TYPE);
        let media_type = media_type.and_then(|value| value.to_str().ok());
        if !media_type.is_some_and(|text| text.starts_with("text/event-stream")) {
            let what = format!(
                "it sends no events, but {}",
                media_type.unwrap_or("something without a type")
            );
            let address = address.url.clone();
            return Err(ClientError::Nonsense { address, what });
        }
        Ok(Self {
            address: address.url.clone(),
            body: response.into_body(),
            parser: EventParser::new(config.bytes_max),
            read: VecDeque::new(),
            silence_max: config.silence_max,
        })
    }

    /// The next event; nothing when the stream has ended. May be dropped while it waits: no event
    /// is lost by it.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] when the connection breaks, [`ClientError::TimedOut`] when it
    /// is silent for too long, [`ClientError::Nonsense`] when an event is too large.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(event) = self.read.pop_front() {
                return Ok(Some(event));
            }
            let frame = match timeout(self.silence_max, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => frame.map_err(|error| ClientError::Unreachable {
                    address: self.address.clone(),
                    why: format!("the stream broke: {}", in_words(&error)),
                })?,
                Err(_elapsed) => {
                    return Err(ClientError::TimedOut {
                        address: self.address.clone(),
                        after: self.silence_max,
                    });
                }
            };
            let chunk = frame.data_ref().map_or(&[][..], |chunk| &chunk[..]);
            let events = self.parser.feed(chunk);
            self.read
                .extend(events.map_err(|error| ClientError::Nonsense {
                    address: self.address.clone(),
                    what: error.to_string(),
                })?);
        }
    }

    /// How long to wait before connecting again, if the server has said so.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.parser.retry()
    }
}
