//! Replies: status, headers and body, the same way for every route.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hermes_core::change::{ClusterId, Revision};
use hermes_core::wire::problem::PROBLEM_MEDIA_TYPE;
use hermes_discovery::engine::Engine;
use hyper::body::{Frame, SizeHint};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Response, StatusCode};

use super::digits::{Decimal, hexadecimal};
use super::docs;
use super::error::Failure;
use super::watch::EventStream;

const CLUSTER: HeaderName = HeaderName::from_static("hermes-cluster");
const REVISION: HeaderName = HeaderName::from_static("hermes-revision");
const AGE: HeaderName = HeaderName::from_static("hermes-age");
const SOURCE: HeaderName = HeaderName::from_static("hermes-source");
const FLAGS: HeaderName = HeaderName::from_static("hermes-flags");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SNIFFING: HeaderName = HeaderName::from_static("x-content-type-options");
/// Longest request id that is echoed.
const REQUEST_ID_MAX: usize = 64;
/// Headers for which a connection keeps room from one message to the next. An answer has fewer; a
/// request may have a hundred.
const HEADERS_KEPT: usize = 24;

/// What a handler answers.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) media_type: &'static str,
    pub(super) body: Body,
    /// The revision of the catalog that the answer was made from; the newest, when it is not said.
    pub(super) revision: Option<Revision>,
    pub(super) etag: Option<HeaderValue>,
    /// Protections that act on this very answer.
    pub(super) flags: Option<&'static str>,
    pub(super) failure: Option<Failure>,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it.
    Whole(Option<Bytes>),
    /// Events as they come.
    Events(Box<EventStream>),
}

impl Reply {
    /// An answer of JSON, made from the catalog at `revision`.
    pub(super) fn json(revision: Revision, json: Vec<u8>) -> Self {
        Self {
            status: StatusCode::OK,
            media_type: "application/json",
            body: Body::Whole(Some(json.into())),
            revision: Some(revision),
            etag: None,
            flags: None,
            failure: None,
        }
    }

    /// The same of a text that is part of the program.
    pub(super) fn fixed(revision: Revision, text: &'static [u8]) -> Self {
        Self {
            body: Body::Whole(Some(Bytes::from_static(text))),
            ..Self::json(revision, Vec::new())
        }
    }

    /// The same of something that serializes.
    pub(super) fn of(revision: Revision, value: &impl serde::Serialize) -> Self {
        // Every answer type has string keys and finite numbers, which is all that could fail.
        Self::json(revision, serde_json::to_vec(value).unwrap_or_default())
    }

    /// Done, and nothing to say.
    pub(super) fn no_content(revision: Revision) -> Self {
        let reply = Self::json(revision, Vec::new());
        Self {
            status: StatusCode::NO_CONTENT,
            body: Body::Whole(None),
            ..reply
        }
    }

    /// What the caller has is still good.
    pub(super) fn not_modified(revision: Revision, etag: HeaderValue) -> Self {
        let reply = Self::no_content(revision);
        Self {
            status: StatusCode::NOT_MODIFIED,
            etag: Some(etag),
            ..reply
        }
    }

    /// A problem; its body is made when its request id is known.
    pub(super) fn failure(failure: Failure) -> Self {
        let status = StatusCode::from_u16(failure.problem.status);
        Self {
            status: status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            media_type: PROBLEM_MEDIA_TYPE,
            body: Body::Whole(None),
            revision: None,
            etag: None,
            flags: None,
            failure: Some(failure),
        }
    }
}

/// The headers that every answer has.
#[derive(Debug)]
pub(super) struct Head {
    cluster: HeaderValue,
    /// What every entity tag begins with.
    etag_front: String,
}

impl Head {
    pub(super) fn new(cluster: ClusterId) -> Self {
        let text = cluster.to_string();
        Self {
            etag_front: format!("W/\"{text}-"),
            cluster: HeaderValue::try_from(text).expect("hexadecimal digits are ASCII"),
        }
    }

    /// The entity tag of something at `revision`.
    pub(super) fn etag(&self, revision: Revision) -> HeaderValue {
        let revision = Decimal::from(revision.0);
        let text = [self.etag_front.as_bytes(), revision.as_bytes(), b"\""].concat();
        HeaderValue::try_from(text).expect("digits and quotes are ASCII")
    }

    /// Puts the head on a reply. It is made in the `headers` of the request, which nobody needs any
    /// more: they have room, and the connection reads its next request into them.
    pub(super) fn finish(
        &self,
        reply: Reply,
        engine: &Engine,
        mut headers: HeaderMap,
    ) -> Response<Body> {
        let request_id = request_id(&headers);
        headers.clear();
        if headers.capacity() > HEADERS_KEPT {
            headers = HeaderMap::new();
        }
        let revision = reply
            .revision
            .unwrap_or_else(|| engine.catalog().revision());
        let (age, source) = match engine.log_lost_at() {
            None => (HeaderValue::from_static("0.000"), "live"),
            Some(lost_at) => {
                let age = engine.clock().moment().since(lost_at).as_secs_f64();
                (
                    HeaderValue::try_from(format!("{age:.3}")).expect("a number is ASCII"),
                    "stale",
                )
            }
        };
        let cache_control = if matches!(reply.body, Body::Events(_)) {
            "no-store"
        } else {
            "no-cache"
        };
        if reply.status != StatusCode::NO_CONTENT && reply.status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.media_type));
        }
        headers.insert(CLUSTER, self.cluster.clone());
        headers.insert(REVISION, Decimal::from(revision.0).into());
        headers.insert(AGE, age);
        headers.insert(SOURCE, HeaderValue::from_static(source));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_control));
        headers.insert(SNIFFING, HeaderValue::from_static("nosniff"));
        if reply.media_type.starts_with("text/html") {
            headers.insert(CONTENT_SECURITY_POLICY, docs::POLICY);
        }
        if let Some(flags) = reply.flags {
            headers.insert(FLAGS, HeaderValue::from_static(flags));
        }
        if let Some(etag) = reply.etag {
            headers.insert(ETAG, etag);
        }
        let body = match reply.failure {
            None => reply.body,
            Some(failure) => problem_body(failure, &request_id, &mut headers),
        };
        headers.insert(REQUEST_ID, request_id);
        let mut response = Response::new(body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = headers;
        response
    }
}

/// The caller's own id for the request, when it can be shown back; else a new one.
fn request_id(request: &HeaderMap) -> HeaderValue {
    let visible = |value: &&HeaderValue| {
        (1..=REQUEST_ID_MAX).contains(&value.len())
            && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    let made = || {
        let digits = hexadecimal(fastrand::u64(..));
        HeaderValue::from_bytes(&digits).expect("hexadecimal digits are ASCII")
    };
    request
        .get(&REQUEST_ID)
        .filter(visible)
        .cloned()
        .unwrap_or_else(made)
}

fn problem_body(failure: Failure, request_id: &HeaderValue, headers: &mut HeaderMap) -> Body {
    let Failure {
        mut problem,
        retry_after_seconds,
        allow,
    } = failure;
    problem.request_id = request_id.to_str().unwrap_or_default().into();
    if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
        let scheme = HeaderValue::from_static("Bearer realm=\"hermes\"");
        headers.insert(WWW_AUTHENTICATE, scheme);
    }
    if let Some(seconds) = retry_after_seconds {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(allow) = allow {
        headers.insert(ALLOW, HeaderValue::from_static(allow));
    }
    Body::Whole(serde_json::to_vec(&problem).ok().map(Into::into))
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(stream) => stream
                .poll_next(cx)
                .map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Self::Events(_) => SizeHint::default(),
        }
    }
}
