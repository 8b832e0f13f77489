//! An answer: status, headers and the whole body, and whether it is one of a Hermes server.

use std::sync::Arc;

use bytes::Bytes;
use hermes_core::address::Address;
use hermes_core::wire::problem::{PROBLEM_MEDIA_TYPE, Problem};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::header::CONTENT_TYPE;

use super::connection::{Response, in_words};
use super::error::ClientError;
use super::path::Path;

/// Most bytes of an answer that says no. Whoever has more to say about that is no Hermes server.
const PROBLEM_BYTES_MAX: usize = 1024 * 1024;

/// What a server answered, complete.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status, below 400.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, exactly as it came.
    pub body: Bytes,
    address: Arc<str>,
}

impl Answer {
    /// A header as text; nothing when it is absent or not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads the body: `answer.read(serde_json::from_slice::<ServiceList>)`.
    ///
    /// # Errors
    /// [`ClientError::Nonsense`] when it is not JSON, or not what is expected.
    pub fn read<'a, T>(
        &'a self,
        parse: impl FnOnce(&'a [u8]) -> serde_json::Result<T>,
    ) -> Result<T, ClientError> {
        let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or("no type");
        if !media_type.starts_with("application/json") {
            return Err(self.nonsense(format!("JSON is expected, but this is {media_type}")));
        }
        parse(&self.body).map_err(|error| self.nonsense(format!("its JSON is odd ({error})")))
    }

    /// That it is done, where a server has nothing more to say (204).
    ///
    /// # Errors
    /// [`ClientError::Nonsense`] when it says more.
    pub fn confirm(&self) -> Result<(), ClientError> {
        match self.status {
            204 => Ok(()),
            status => Err(self.nonsense(format!("status {status} where 204 is expected"))),
        }
    }

    pub(super) async fn read_from(
        response: Response,
        address: &Address,
        bytes_max: usize,
    ) -> Result<Self, ClientError> {
        let (head, body) = response.into_parts();
        let address = address.url.clone();
        let bytes_max = if head.status.as_u16() >= 400 {
            bytes_max.min(PROBLEM_BYTES_MAX)
        } else {
            bytes_max
        };
        let too_large = || ClientError::Nonsense {
            address: address.clone(),
            what: format!("its answer has more than {bytes_max} bytes"),
        };
        // What it announces need not be read to be too much.
        if body.size_hint().lower() > bytes_max as u64 {
            return Err(too_large());
        }
        let body = match Limited::new(body, bytes_max).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
            Err(error) => {
                let why = format!(
                    "the connection broke amid the answer: {}",
                    in_words(&*error)
                );
                return Err(ClientError::Unreachable { address, why });
            }
        };
        Ok(Self {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            address,
        })
    }

    /// This answer, if it is a good one of a Hermes server.
    pub(super) fn checked(self, path: &Path) -> Result<Self, ClientError> {
        if self.status >= 400 {
            return Err(self.into_problem());
        }
        // 304 is the answer to whoever brings an entity tag that is still good.
        if !(200..300).contains(&self.status) && self.status != 304 {
            return Err(self.into_redirect());
        }
        // Every answer of the API says from which cluster it is; whatever else speaks HTTP does not.
        if path.is_of_api() && self.header("hermes-cluster").is_none() {
            return Err(self.nonsense("its answer names no cluster".into()));
        }
        Ok(self)
    }

    /// The problem that an answer with an error status tells of.
    pub(super) fn into_problem(self) -> ClientError {
        let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or("no type");
        let is_problem = media_type.starts_with(PROBLEM_MEDIA_TYPE);
        let problem = serde_json::from_slice::<Problem>(&self.body).ok();
        match problem.filter(|problem| is_problem && !problem.code.is_empty()) {
            Some(problem) => ClientError::Problem(Box::new(problem)),
            None => self.into_stranger(),
        }
    }

    /// An answer below 400 that is none: Hermes sends nobody elsewhere.
    pub(super) fn into_redirect(self) -> ClientError {
        let status = self.status;
        self.nonsense(match self.header("location") {
            Some(elsewhere) => {
                format!("status {status} sends the request to {elsewhere}, which is not followed")
            }
            None => format!("status {status}, which is no answer"),
        })
    }

    /// An error that is not in the words of Hermes: whoever stands before it speaks.
    fn into_stranger(self) -> ClientError {
        let status = self.status;
        let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or("no type");
        let what = format!("status {status} without a problem document ({media_type})");
        let address = self.address.clone();
        match status {
            401 | 403 | 407 => ClientError::Denied { address, what },
            502..=504 => ClientError::Unreachable {
                address,
                why: format!("a proxy answers in its place, {what}"),
            },
            _ => self.nonsense(what),
        }
    }

    fn nonsense(&self, what: String) -> ClientError {
        ClientError::Nonsense {
            address: self.address.clone(),
            what,
        }
    }
}
