//! The API document and the page that shows it.
//!
//! All of it is part of the program, so that it describes the very server that answers, also where
//! nothing else can be reached. The document is written by hand; tests compare it with the route
//! table, the wire types and every answer that they see.

use hyper::header::HeaderValue;

use super::Call;
use super::error::Failure;
use super::reply::Reply;

/// The API document, OpenAPI 3.1.
pub(super) const OPENAPI: &[u8] = include_bytes!("docs/openapi.json");
/// The page.
pub(super) const PAGE: &[u8] = include_bytes!("docs/page.html");
/// What fills the page from the document.
pub(super) const SCRIPT: &[u8] = include_bytes!("docs/page.js");
/// What it looks like.
pub(super) const STYLE: &[u8] = include_bytes!("docs/page.css");

/// What the page may do: show itself, with its own script and style, and ask its own server.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

impl Call<'_> {
    /// `GET /openapi.json`, `/docs` and what belongs to it.
    pub(super) fn document(
        &mut self,
        text: &'static [u8],
        media_type: &'static str,
    ) -> Result<Reply, Failure> {
        self.end_of_query(&[])?;
        let revision = self.api.engine.catalog().revision();
        Ok(Reply {
            media_type,
            ..Reply::fixed(revision, text)
        })
    }
}
