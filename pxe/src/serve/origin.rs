//! Origins of pages that the service serves, and what a browser asks before a page may send a request.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Schemes of browser extensions, whose origins have an id in place of a host.
const EXTENSIONS: [&str; 2] = ["chrome-extension", "moz-extension"];
/// How long a browser may remember an answer, in seconds.
const REMEMBERED: &str = "600";
/// What a page may send.
const METHODS: &str = "POST";
const HEADERS: &str = "authorization, content-type";
/// Asked by browsers before a page of the internet reaches an address of the machine (Private Network Access).
const ASKS_PRIVATE: &str = "access-control-request-private-network";
const GRANTS_PRIVATE: &str = "access-control-allow-private-network";

/// The origin of a page, as browsers write it: scheme, host in lower case, and a port that is not the scheme's own.
/// `https://`, `http://` of this machine only, and browser extensions.
///
/// # Errors
/// What is expected.
pub fn origin(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("`{text:.100}` is not an origin: {why}"));
    let Some((scheme, site)) = text.split_once("://") else {
        return wrong("expected a scheme and a host, such as https://shop.example");
    };
    let authority = match site.parse::<Authority>() {
        Ok(authority) if authority.as_str() == site && !site.contains('@') => authority,
        _ => return wrong("expected a host and nothing after it"),
    };
    if text.chars().any(|c| c.is_ascii_uppercase()) {
        return wrong("expected lower case, as browsers write it");
    }
    let host = authority.host();
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-.[]:".contains(&b);
    if host.is_empty() || !host.bytes().all(is_plain) {
        return wrong("expected a host without wildcards");
    }
    let own_port = match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    };
    let port_text = site.strip_prefix(host).unwrap_or_default();
    let port = authority.port_u16();
    let written = port.map_or_else(String::new, |port| format!(":{port}"));
    if port_text != written || (port.is_some() && port == own_port) {
        return wrong("expected no port, or one that is not the scheme's own");
    }
    let is_here = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match scheme {
        "https" => Ok(text.to_owned()),
        "http" if is_here => Ok(text.to_owned()),
        "http" => wrong("http:// is for this machine only; others can change such a page"),
        other if EXTENSIONS.contains(&other) && port.is_none() => Ok(text.to_owned()),
        _ => wrong("expected https://, http:// of this machine, or a browser extension"),
    }
}

/// Several origins, separated by commas.
///
/// # Errors
/// As [`origin`].
pub fn origins(text: &str) -> Result<Vec<String>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(origin).collect()
}

/// Several origins. The alias keeps clap's derive from reading the list as an option that is repeated.
pub type Origins = Vec<String>;

/// The origin that a request names. The server has checked that it is one at most.
pub(super) fn named(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(header::ORIGIN)
}

/// The answer to a browser that asks whether a page may send a request. The server has checked the origin: without one,
/// no browser asks, and nothing is allowed.
pub(super) fn preflight(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    if named(headers).is_none() {
        return response;
    }
    let allowed = response.headers_mut();
    allowed.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    allowed.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
    allowed.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBERED));
    if headers.get(ASKS_PRIVATE).is_some_and(|asked| asked == "true") {
        allowed.insert(GRANTS_PRIVATE, HeaderValue::from_static("true"));
    }
    readable(headers, &mut response);
    response
}

/// Lets the page that sent the request read the response.
pub(super) fn readable(headers: &HeaderMap, response: &mut Response) {
    let Some(origin) = named(headers) else { return };
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for good in [
            "https://shop.example",
            "https://shop.example:8443",
            "http://localhost:3000",
            "http://127.0.0.1:8000",
            "http://[::1]:8000",
            "https://10.0.0.1",
            "chrome-extension://abcdefghijklmnop",
            "moz-extension://0f6a2c1e-1111-2222-3333-444455556666",
        ] {
            assert_eq!(origin(good).as_deref(), Ok(good), "{good}");
        }
        for wrong in [
            "",
            "*",
            "null",
            "shop.example",
            "https://",
            "https://*",
            "https://*.example",
            "https://Shop.example",
            "HTTPS://shop.example",
            "https://shop.example/",
            "https://shop.example/page",
            "https://shop.example?x",
            "https://me@shop.example",
            "https://shop.example:443",
            "https://shop.example:",
            "https://shop.example:08443",
            "http://localhost:80",
            "http://shop.example",
            "http://10.0.0.1",
            "file://localhost",
            "chrome-extension://abc:8",
            "https://a b",
        ] {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
        assert_eq!(origins("").as_deref(), Ok(&[][..]));
        let two = ["https://a.example".to_owned(), "http://localhost:1".to_owned()];
        assert_eq!(origins("https://a.example, http://localhost:1,").as_deref(), Ok(&two[..]));
        assert!(origins("https://a.example,null").is_err());
    }
}
