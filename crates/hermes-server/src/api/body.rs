//! Request bodies: read whole, within bounds of size and time, and only as JSON.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hermes_core::wire::problem::{Problem, code};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};

use super::error::Failure;

/// The media type of every body but that of PATCH.
pub(super) const JSON: &str = "application/json";
/// The media type of PATCH (RFC 7396).
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Reads a body of `media_type`, of at most `max` bytes, within `time`.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    media_type: &str,
    (max, time): (usize, Duration),
) -> Result<Bytes, Failure> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    check_media_type(headers, media_type)?;
    let read = tokio::time::timeout(time, read_whole(body, max)).await;
    read.unwrap_or_else(|_elapsed| {
        let detail = format!(
            "The body did not come within {} s. Send it without pausing.",
            time.as_secs_f64()
        );
        Err(Problem::new(code::INVALID_BODY, detail).into())
    })
}

/// All of it, without a copy where it comes in one piece, as nearly every one does.
async fn read_whole(mut body: Incoming, max: usize) -> Result<Bytes, Failure> {
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let detail = format!("The body broke off: {error}. Send it whole.");
            Problem::new(code::INVALID_BODY, detail)
        })?;
        // Trailers say nothing here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if first.len() + whole.len() + data.len() > max {
            return Err(Failure::too_large("body", max));
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        whole.extend_from_slice(&std::mem::take(&mut first));
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() {
        first
    } else {
        whole.freeze()
    })
}

/// A body may come without a media type, but not with another one, and not compressed.
fn check_media_type(headers: &HeaderMap, media_type: &str) -> Result<(), Failure> {
    let unsupported = |what: String| {
        let detail = format!(
            "{what} Send plain JSON with `Content-Type: {media_type}` (curl: -H 'content-type: \
             {media_type}')."
        );
        Err(Problem::new(code::UNSUPPORTED_MEDIA_TYPE, detail).into())
    };
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        return unsupported("The body is compressed, which is not read.".into());
    }
    let Some(found) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let found = found.to_str().unwrap_or_default();
    let essence = found.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(media_type) {
        return Ok(());
    }
    let shown: String = found.chars().take(64).collect();
    unsupported(format!("The body is declared as {shown:?}."))
}
