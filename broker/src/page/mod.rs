//! The web page: one document with a script and a style of its own, all three part of the program.
//!
//! It holds nothing secret, so no token is needed to load it. Its script asks for one, and follows the events of
//! [`rollmill_broker_client::routes::Events`]. Requests pass the same checks of host and origin as all others.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::broker::Shared;

/// What the page may load and do: its own script and style, and requests to this broker. Text that somebody wrote into
/// a name or a message therefore cannot run, and no other site can show the page within its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The routes. `POST /` may belong to the interface for Aztec's programs.
pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(async || file("text/html; charset=utf-8", include_str!("page.html"))))
        .route(
            "/page.js",
            get(async || file("text/javascript; charset=utf-8", include_str!("page.js"))),
        )
        .route("/page.css", get(async || file("text/css; charset=utf-8", include_str!("page.css"))))
}

fn file(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers: [(HeaderName, &str); 7] = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        // The three files are of one release.
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, text)
}
