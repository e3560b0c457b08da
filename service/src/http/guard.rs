//! What a server rejects so that no page in a browser can use it: a page of another site can send requests
//! to any address that the browser reaches, also to this machine's.
//!
//! - `Host` must be a name of this server. A page can point a name of its own at the server's address, and
//!   the browser then takes the server's answers for the page's own (DNS rebinding). An IP address cannot be
//!   pointed elsewhere, and with TLS the certificate would not match, so both need no check.
//! - `Origin` must be the server itself, or one that its operator allows: browsers send it with every request of
//!   a page that may change something.
//! - A POST with a body must have a content type that a page cannot send to another site without asking the
//!   server first, which this server never allows (Fetch standard, "CORS-safelisted request-header").

use std::net::IpAddr;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};

/// Most characters of a header that a message repeats.
const SHOWN_MAX: usize = 100;

/// Content types that a page can send to another site without asking.
const OF_PAGES: [&str; 3] =
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

/// Why a server does not take a request, whatever its path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request's `Host` is not a name of the server.
    ///
    /// Do: Ask by IP address or by a name of the server; add further names to its setting `listen_hosts`.
    #[error("{}: the host `{host}` is not a name of this server; use its IP address, or add the name to the server's setting listen_hosts", self.code())]
    Host { host: String },

    /// A page of another site sent the request.
    ///
    /// Do: Send it from a program. If the page is yours, add its host to the server's setting
    /// `listen_hosts`.
    #[error("{}: a page of another site ({origin}) sent the request; add its host to the server's setting listen_hosts if it is yours", self.code())]
    Origin { origin: String },

    /// A POST has no content type, or one of a form.
    ///
    /// Do: Send the header `content-type: application/json`, or `application/octet-stream` for bytes.
    #[error("{}: a POST with content type `{found}` is not accepted; send `content-type: application/json`, or `application/octet-stream` for bytes", self.code())]
    ContentType { found: String },

    /// Plain HTTP arrived at an address that serves TLS.
    ///
    /// Do: Use `https://` in the URL.
    #[error("{}: this address serves TLS; use https:// in the URL", self.code())]
    PlainHttp,
}

rollmill_errors::coded! {
    RequestError {
        Self::Host { .. } => "SVC-012",
        Self::Origin { .. } => "SVC-013",
        Self::ContentType { .. } => "SVC-014",
        Self::PlainHttp => "SVC-015",
    }
}

impl RequestError {
    /// The HTTP status of its response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Host { .. } | Self::Origin { .. } => StatusCode::FORBIDDEN,
            Self::ContentType { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::PlainHttp => StatusCode::BAD_REQUEST,
        }
    }

    /// The body of its response: a JSON object with `code` and `message`.
    pub(super) fn body(&self) -> String {
        let message = rollmill_errors::uncoded(&self.to_string());
        serde_json::json!({ "code": self.code(), "message": message }).to_string()
    }

    pub(super) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body()));
        *response.status_mut() = self.status();
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}

/// The names of a server, and what it therefore rejects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Guard {
    names: Vec<String>,
    has_tls: bool,
    /// Origins of other sites whose pages are served, as browsers write them.
    origins: Vec<String>,
}

impl Guard {
    /// The guard of a server that listens on `address` (`host:port`) and has further `names`.
    pub(super) fn new(address: &str, names: &[String], has_tls: bool) -> Self {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let names = names.iter().map(String::as_str).chain([host, "localhost"]);
        Self { names: names.map(bare).collect(), has_tls, origins: Vec::new() }
    }

    /// With origins whose pages are served too. They are compared byte by byte.
    pub(super) fn with_origins(self, origins: Vec<String>) -> Self {
        Self { origins, ..self }
    }

    /// # Errors
    /// Why the request is rejected.
    pub(super) fn check(&self, parts: &Parts, has_body: bool) -> Result<(), RequestError> {
        let host = self.host(parts)?;
        self.origin(parts, host)?;
        match parts.method == Method::POST && has_body {
            true => content_type(parts),
            false => Ok(()),
        }
    }

    /// The request's `Host`. Without one the request is of HTTP/1.0, which no browser speaks.
    fn host<'a>(&self, parts: &'a Parts) -> Result<Option<&'a str>, RequestError> {
        let mut values = parts.headers.get_all(header::HOST).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let rejected = || RequestError::Host { host: shown(value) };
        let text = value.to_str().map_err(|_| rejected())?;
        let authority: Authority = text.parse().map_err(|_| rejected())?;
        let is_known = self.has_tls || self.is_own(authority.host());
        match is_known && values.next().is_none() {
            true => Ok(Some(text)),
            false => Err(rejected()),
        }
    }

    fn origin(&self, parts: &Parts, host: Option<&str>) -> Result<(), RequestError> {
        let mut values = parts.headers.get_all(header::ORIGIN).iter();
        let Some(value) = values.next() else { return Ok(()) };
        let rejected = || Err(RequestError::Origin { origin: shown(value) });
        // Of two origins another reader may take the second one.
        if values.next().is_some() {
            return rejected();
        }
        let origin = value.to_str().unwrap_or_default();
        if self.origins.iter().any(|allowed| allowed == origin) {
            return Ok(());
        }
        let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let is_same = |site: &str| host.is_some_and(|host| host.eq_ignore_ascii_case(site));
        let is_named = |site: &str| {
            let authority = site.parse::<Authority>();
            authority.is_ok_and(|authority| self.names.contains(&bare(authority.host())))
        };
        match site.is_some_and(|site| is_same(site) || (!is_local(site) && is_named(site))) {
            true => Ok(()),
            false => rejected(),
        }
    }

    fn is_own(&self, host: &str) -> bool {
        let host = bare(host);
        host.parse::<IpAddr>().is_ok() || self.names.contains(&host)
    }
}

/// A host in lower case, without the brackets of an IPv6 address and the dot that ends a full name.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase()
}

/// Whether a page is of this machine. Another port of it may be anybody's server.
fn is_local(site: &str) -> bool {
    let authority = site.parse::<Authority>();
    let host = authority.map(|authority| bare(authority.host())).unwrap_or_default();
    host == "localhost" || host.parse::<IpAddr>().is_ok()
}

fn content_type(parts: &Parts) -> Result<(), RequestError> {
    let value = parts.headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.is_empty() || OF_PAGES.contains(&essence.as_str()) {
        true => Err(RequestError::ContentType { found: value.map(shown).unwrap_or_default() }),
        false => Ok(()),
    }
}

/// The printable part of a header.
fn shown(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = axum::http::Request::builder().method(method).uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn check(guard: &Guard, method: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let code = |error: RequestError| match error.code() {
            "SVC-012" => "host",
            "SVC-013" => "origin",
            "SVC-014" => "type",
            _ => "other",
        };
        guard.check(&parts(method, headers), method == "POST").err().map(code)
    }

    #[test]
    fn only_names_of_the_server_are_taken_as_host_unless_a_certificate_has_them() {
        let names = ["broker.internal".to_owned()];
        let plain = Guard::new("queue.example:8551", &names, false);
        let hosts = [
            ("127.0.0.1:8551", None),
            ("10.0.0.7", None),
            ("[::1]:8551", None),
            ("localhost:8551", None),
            ("LocalHost", None),
            ("broker.internal:1", None),
            ("broker.internal.", None),
            ("Queue.Example", None),
            ("evil.example", Some("host")),
            ("localhost.evil.example", Some("host")),
            ("127.0.0.1.evil.example", Some("host")),
            ("internal", Some("host")),
            ("", Some("host")),
            ("a b", Some("host")),
            ("broker.internal@evil.example", Some("host")),
        ];
        for (host, expected) in hosts {
            assert_eq!(check(&plain, "GET", &[("host", host)]), expected, "{host}");
        }
        assert_eq!(check(&plain, "GET", &[]), None);
        let twice = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(check(&plain, "GET", &twice), Some("host"));
        let tls = Guard::new("0.0.0.0:8551", &[], true);
        assert_eq!(check(&tls, "GET", &[("host", "any.example")]), None);
    }

    #[test]
    fn a_page_of_another_site_is_rejected_and_one_of_the_server_is_not() {
        let names = ["pages.example".to_owned()];
        let plain = Guard::new("127.0.0.1:8551", &names, false);
        let json = ("content-type", "application/json");
        for (host, origin, expected) in [
            ("localhost:8551", "http://localhost:8551", None),
            ("pages.example", "https://pages.example", None),
            ("127.0.0.1:8551", "https://pages.example:8443", None),
            ("127.0.0.1:8551", "http://127.0.0.1:3000", Some("origin")),
            ("localhost:8551", "http://localhost:3000", Some("origin")),
            ("localhost:8551", "null", Some("origin")),
            ("localhost:8551", "https://evil.example", Some("origin")),
            ("localhost:8551", "file://localhost:8551", Some("origin")),
            ("localhost:8551", "", Some("origin")),
        ] {
            let headers = [("host", host), ("origin", origin), json];
            for method in ["GET", "POST", "DELETE"] {
                assert_eq!(check(&plain, method, &headers), expected, "{method} {host} {origin}");
            }
        }
    }

    #[test]
    fn an_allowed_origin_is_served_and_nothing_that_resembles_it() {
        let allowed = vec!["http://localhost:3000".to_owned(), "https://shop.example".to_owned()];
        let guard = Guard::new("127.0.0.1:8551", &[], false).with_origins(allowed);
        for (origin, expected) in [
            ("http://localhost:3000", None),
            ("https://shop.example", None),
            ("http://localhost:3001", Some("origin")),
            ("http://localhost", Some("origin")),
            ("https://localhost:3000", Some("origin")),
            ("http://LOCALHOST:3000", Some("origin")),
            ("https://Shop.example", Some("origin")),
            ("https://shop.example:443", Some("origin")),
            ("https://shop.example/", Some("origin")),
            ("https://a.shop.example", Some("origin")),
            ("https://shop.example.evil.example", Some("origin")),
            ("https://shop.example, https://evil.example", Some("origin")),
            ("null", Some("origin")),
            ("", Some("origin")),
        ] {
            for method in ["OPTIONS", "GET"] {
                let headers = [("host", "localhost:8551"), ("origin", origin)];
                assert_eq!(check(&guard, method, &headers), expected, "{method} {origin}");
            }
        }
        let one = ("origin", "https://shop.example");
        let two = [("host", "localhost"), one, ("origin", "https://evil.example")];
        assert_eq!(check(&guard, "GET", &two), Some("origin"));
        let foreign_host = [("host", "evil.example"), one];
        assert_eq!(check(&guard, "GET", &foreign_host), Some("host"), "the host counts too");
    }

    #[test]
    fn what_a_form_can_send_is_no_content_type_of_a_post() {
        let plain = Guard::new("127.0.0.1:8551", &[], false);
        for (value, expected) in [
            ("application/json", None),
            ("Application/JSON; charset=utf-8", None),
            ("application/octet-stream", None),
            ("text/plain", Some("type")),
            ("TEXT/plain;charset=UTF-8", Some("type")),
            ("application/x-www-form-urlencoded", Some("type")),
            ("multipart/form-data; boundary=x", Some("type")),
            ("", Some("type")),
        ] {
            assert_eq!(check(&plain, "POST", &[("content-type", value)]), expected, "{value}");
        }
        assert_eq!(check(&plain, "POST", &[]), Some("type"));
        assert!(plain.check(&parts("POST", &[]), false).is_ok(), "a POST without a body");
        // A page cannot send these without asking.
        assert_eq!(check(&plain, "PUT", &[("content-type", "text/plain")]), None);
    }

    #[test]
    fn a_header_is_repeated_without_what_would_break_a_line_and_not_at_length() {
        let value = HeaderValue::from_bytes(&[b'x'; 500]).unwrap();
        assert_eq!(shown(&value).len(), SHOWN_MAX);
        let value = HeaderValue::from_bytes(b"a\tb\xff").unwrap();
        assert_eq!(shown(&value), "ab\u{fffd}");
    }
}
