//! Bodies: bounded, and compressed where the client compresses.

use std::io::{Read, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::api::admission::Memory;
use crate::api::direct;
use crate::broker::Shared;
use crate::error::BrokerError;

/// Answers from this size on are compressed for a client that can read it, as Aztec's server does.
const COMPRESS_FROM: usize = 1024;
/// A client that fills a body counts its calls alone, without what makes them a list.
const LIST_BYTES: usize = 1024;
/// Bytes that are compressed or decompressed before other tasks get their turn.
const STEP: usize = 128 << 10;

/// Memory of a body: as it was sent, and decompressed.
pub(super) type Taken<'a> = (Memory<'a>, Vec<SemaphorePermit<'a>>);

/// Reads a body of at most `aztec_body_bytes_max` bytes, decompressed. `share` is what its token may have of the
/// memory.
pub(super) async fn read<'a>(
    shared: &'a Shared,
    parts: &Parts,
    body: Body,
    share: Option<Arc<Semaphore>>,
) -> Result<(Bytes, Taken<'a>), BrokerError> {
    let max = shared.aztec.body_bytes_max + LIST_BYTES;
    let is_compressed = match encoding(&parts.headers) {
        None | Some("identity") => false,
        Some("gzip" | "x-gzip") => true,
        Some(_) => return Err(BrokerError::bad("the content encoding is gzip or identity")),
    };
    let (body, sent) = direct::body(shared, parts, body, max, share).await?;
    let mut memory = Vec::new();
    if !is_compressed {
        return Ok((body, (sent, memory)));
    }
    let mut decoder = MultiGzDecoder::new(&body[..]);
    let mut plain = Vec::new();
    loop {
        memory.push(shared.admission.more(STEP)?);
        // One byte more than allowed tells that there is more.
        let rest = (max + 1 - plain.len()).min(STEP) as u64;
        let read = decoder.by_ref().take(rest).read_to_end(&mut plain);
        let read = read.map_err(|_| BrokerError::bad("the body is not gzip"))?;
        if plain.len() > max {
            return Err(BrokerError::TooLarge { what: direct::BODY, max });
        }
        if read == 0 {
            return Ok((plain.into(), (sent, memory)));
        }
        tokio::task::yield_now().await;
    }
}

fn encoding(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_ENCODING)?;
    // What is not text is no encoding that is known.
    Some(value.to_str().unwrap_or("unknown").trim())
}

/// Makes the response of a body.
pub(super) async fn write(
    asked: &HeaderMap,
    status: StatusCode,
    body: Result<Vec<u8>, serde_json::Error>,
) -> Result<Response, BrokerError> {
    let internal = |error: &dyn std::fmt::Display| BrokerError::Internal {
        reason: format!("an answer to Aztec's clients: {error}"),
    };
    let body = body.map_err(|error| internal(&error))?;
    let reads_gzip = |value: &HeaderValue| value.to_str().is_ok_and(accepts_gzip);
    let compress = body.len() >= COMPRESS_FROM
        && asked.get_all(header::ACCEPT_ENCODING).iter().any(reads_gzip);
    let bytes = match compress {
        true => gzip(&body).await.map_err(|error| internal(&error))?,
        false => body,
    };
    let mut response = (status, bytes).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if compress {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn accepts_gzip(value: &str) -> bool {
    value.split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip =
            parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip") || name == "*");
        is_gzip
            && !parts.any(|weight| {
                weight.starts_with("q=0")
                    && !weight.contains(['1', '2', '3', '4', '5', '6', '7', '8', '9'])
            })
    })
}

async fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::fast());
    for step in body.chunks(STEP) {
        encoder.write_all(step)?;
        tokio::task::yield_now().await;
    }
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_read_from_the_list_of_codings() {
        for (value, found) in [
            ("gzip", true),
            ("br, gzip;q=0.5", true),
            ("GZIP", true),
            ("*", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("gzip; q=0.0, br", false),
            ("", false),
        ] {
            assert_eq!(accepts_gzip(value), found, "{value}");
        }
    }
}
