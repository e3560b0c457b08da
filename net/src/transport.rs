//! The transport that the clients of one server share: its address and token, requests with a bounded answer, and what
//! the body of an error says.
//!
//! A client has its own error type, whose variants contain the parts of [`TransportError`]: it adds its code, the name
//! of the server and of the setting, and what to do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::{Deserialize, Serialize};

use crate::{Address, AddressError, Tls};

/// Most characters of a message that a server sent: it is text from somebody else.
const MESSAGE_MAX: usize = 500;
/// The content type of canonical bytes.
const BYTES: &str = "application/octet-stream";

/// Bounds of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time for a connection, after which a server counts as unreachable.
    pub connect: Duration,
    /// Time for a whole request, unless the request has its own.
    pub request: Duration,
    /// Bytes of the longest answer that is read.
    pub answer_bytes: usize,
}

/// A client of one server over HTTP. Clones share connections.
#[derive(Clone)]
pub struct Transport {
    http: Client,
    address: Address,
    /// Scheme, host and port, for errors.
    url: String,
    /// The header with the token. Clones share it.
    token: Arc<RwLock<Option<HeaderValue>>>,
    /// Whether a token may go over plain HTTP to another machine.
    plain_tokens: bool,
    answer_bytes: usize,
}

/// Without the token; the path of the address may be a key.
impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What a server answered, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Why there is no answer, or none that is a success.
///
/// A client turns each into an error of its own, so none may be forgotten.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The address cannot be used.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The token has a line break or another control character inside, which no header can have.
    #[error("the token has a line break or another control character in it")]
    Token,
    /// The token would cross a network in the clear.
    #[error("{0}")]
    Exposed(ExposedToken),
    /// No connection, no answer in time, or only a part of one.
    #[error("{0}")]
    Unreachable(Unreachable),
    /// Something else than the server answers.
    #[error("{0}")]
    Foreign(Foreign),
    /// The server rejects the request.
    #[error("{0}")]
    Rejected(Rejection),
}

/// A server that a token would reach over plain HTTP, and that is not this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedToken {
    /// Scheme, host and port.
    pub url: String,
}

impl fmt::Display for ExposedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} would get the token unencrypted; use https://, or set --plain-tokens if the network encrypts by \
             itself",
            self.url
        )
    }
}

/// A server that gives no whole answer.
#[derive(Debug)]
pub struct Unreachable {
    /// Scheme, host and port.
    pub url: String,
    /// In a few words, such as `connection refused`.
    pub reason: String,
    /// For a debugger: its words repeat those of `reason` in three layers.
    pub cause: Box<reqwest::Error>,
}

impl Unreachable {
    /// What came of a request to `url` instead of an answer.
    pub fn new(url: &str, source: reqwest::Error) -> Self {
        let reason = match crate::connection_failure(&source) {
            Some(words) => words,
            None if source.is_timeout() => "no answer in time".to_owned(),
            None if source.is_connect() => "no connection".to_owned(),
            None => "the connection broke off".to_owned(),
        };
        // The address is in the message already.
        Self { url: url.to_owned(), reason, cause: Box::new(source.without_url()) }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} cannot be reached: {}", self.url, self.reason)
    }
}

/// Something that answers in place of the server, or a server of another release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// Scheme, host and port.
    pub url: String,
    /// What is wrong with its answer.
    pub reason: String,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.reason)
    }
}

/// What a server says of a request that it rejects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The HTTP status.
    pub status: u16,
    /// The server's own code.
    pub code: String,
    /// Starts with the code; on one line, and of bounded length.
    pub message: String,
}

impl Rejection {
    /// What the body of an answer that is no success says; `None` without a code.
    pub fn read(status: StatusCode, body: &[u8]) -> Option<Self> {
        let ErrorBody { code, message } = ErrorBody::read(body)?;
        let message = match message.starts_with(&format!("{code}: ")) {
            true => message,
            // The frame of a server, for the host or the form of the request, leaves its code out of the message.
            false if code.starts_with("SVC-") => bounded(&format!("{code}: {message}")),
            false => return None,
        };
        Some(Self { status: status.as_u16(), code, message })
    }

    /// Whether the server asks for the same request later.
    pub fn is_unavailable(&self) -> bool {
        self.status == StatusCode::SERVICE_UNAVAILABLE
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The body of a response that is no success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// Stable code, such as `SEQ-020`.
    pub code: String,
    /// Text for people; starts with the code, except from a server's frame.
    pub message: String,
}

impl ErrorBody {
    /// What a body says, on one line and of bounded length; `None` without a stable code.
    pub fn read(body: &[u8]) -> Option<Self> {
        let Self { code, message } = serde_json::from_slice(body).ok()?;
        rollmill_errors::is_code(&code).then(|| Self { message: bounded(&message), code })
    }
}

/// The header of a token, which no log shows, in requests to `address`. Every token of a client goes through here, so
/// this alone decides whether one may be sent: whoever reads it on its way acts in the client's name.
fn bearer(
    token: &str,
    address: &Address,
    plain_tokens: bool,
) -> Result<HeaderValue, TransportError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let mut value = value.map_err(|_| TransportError::Token)?;
    if address.is_exposed() && !plain_tokens {
        return Err(TransportError::Exposed(ExposedToken { url: address.origin() }));
    }
    value.set_sensitive(true);
    Ok(value)
}

/// Text from somebody else, as it is shown.
fn bounded(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect()
}

impl Transport {
    /// A client of the server at `url`, with the bearer token that it requires, if it does. White space around the token
    /// is dropped: a token that was read from a file ends with a newline. Nothing is sent yet.
    ///
    /// # Errors
    /// [`TransportError::Address`] for a URL that [`Address`] does not take, [`TransportError::Token`], and
    /// [`TransportError::Exposed`] for a token over plain HTTP to another machine, unless
    /// [`Tls::with_plain_tokens`] allows it.
    pub fn new(
        url: &str,
        token: Option<&str>,
        limits: Limits,
        tls: &Tls,
    ) -> Result<Self, TransportError> {
        let address: Address = url.parse()?;
        let url = address.origin();
        let plain_tokens = tls.sends_plain_tokens();
        let token = token.map(|token| bearer(token, &address, plain_tokens)).transpose()?;
        let http = match address.is_loopback() {
            // A proxy would be another machine.
            true => tls.http_client().no_proxy(),
            false => tls.http_client(),
        };
        let http = http
            .connect_timeout(limits.connect)
            .timeout(limits.request)
            // A redirect would carry the token to another server, and a body to one that nobody named.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|source| TransportError::Unreachable(Unreachable::new(&url, source)))?;
        let (token, answer_bytes) = (Arc::new(RwLock::new(token)), limits.answer_bytes);
        Ok(Self { http, address, url, token, plain_tokens, answer_bytes })
    }

    /// Sends another token from now on, as do all clones.
    ///
    /// # Errors
    /// [`TransportError::Token`] and [`TransportError::Exposed`], as [`Self::new`]; the one before stays.
    pub fn set_token(&self, token: &str) -> Result<(), TransportError> {
        let token = bearer(token, &self.address, self.plain_tokens)?;
        *self.token.write() = Some(token);
        Ok(())
    }

    /// Scheme, host and port of the server's address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A request to a path below the address, or to the address itself for an empty one.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, self.address.join(path));
        match self.token.read().clone() {
            Some(token) => request.header(AUTHORIZATION, token),
            None => request,
        }
    }

    /// A POST of canonical bytes.
    pub fn post_bytes(&self, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
        self.request(Method::POST, path).header(CONTENT_TYPE, BYTES).body(body)
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`TransportError::Unreachable`] without a whole answer, and [`TransportError::Foreign`] for one that is longer
    /// than the limit.
    pub async fn answer(&self, request: RequestBuilder) -> Result<Answer, TransportError> {
        let broken = |source| TransportError::Unreachable(Unreachable::new(&self.url, source));
        let mut response = request.send().await.map_err(broken)?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            if body.len() + chunk.len() > self.answer_bytes {
                let reason = format!("its answer exceeds {} bytes", self.answer_bytes);
                return Err(TransportError::Foreign(self.foreign(reason)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, headers, body })
    }

    /// Sends a request and reads the answer of a success.
    ///
    /// # Errors
    /// As [`Self::answer`], and for another status [`TransportError::Rejected`] with the server's code, or
    /// [`TransportError::Foreign`] without one.
    pub async fn success(&self, request: RequestBuilder) -> Result<Answer, TransportError> {
        let answer = self.answer(request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(match Rejection::read(answer.status, &answer.body) {
            Some(rejection) => TransportError::Rejected(rejection),
            None => {
                let reason = format!("HTTP {} without a code", answer.status.as_u16());
                TransportError::Foreign(self.foreign(reason))
            }
        })
    }

    /// What is wrong with an answer of this address.
    pub fn foreign(&self, reason: impl Into<String>) -> Foreign {
        Foreign { url: self.url.clone(), reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const LIMITS: Limits = Limits {
        connect: Duration::from_secs(60),
        request: Duration::from_secs(60),
        answer_bytes: 100,
    };

    fn transport(url: &str, token: Option<&str>) -> Result<Transport, TransportError> {
        Transport::new(url, token, LIMITS, &Tls::of_process())
    }

    /// A server that gives one answer, and returns the request's head.
    async fn serve(answer: String) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            // A client that has read enough closes the connection.
            let _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8(head).unwrap()
        });
        (url, serving)
    }

    fn answer(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn the_token_goes_with_the_request_and_into_no_output() {
        let (url, serving) = serve(answer("200 OK", "yes")).await;
        let client = transport(&format!("{url}/key"), Some("planted\n")).unwrap();
        let shown = format!("{client:?} {}", client.url());
        assert!(!shown.contains("planted") && !shown.contains("key"), "{shown}");
        let got = client.success(client.request(Method::GET, "/x")).await.unwrap();
        assert_eq!((got.status, got.body), (StatusCode::OK, b"yes".to_vec()));
        let head = serving.await.unwrap().to_lowercase();
        assert!(head.starts_with("get /key/x http/1.1\r\n"), "{head}");
        assert!(head.contains("authorization: bearer planted\r\n"), "{head}");
        let error = transport(&url, Some("a\nplanted")).unwrap_err();
        assert!(matches!(error, TransportError::Token), "{error}");
        assert!(!format!("{error:?}").contains("planted"));
        let error = transport("http://u:planted@host", None).unwrap_err();
        assert!(matches!(error, TransportError::Address(_)), "{error}");
    }

    /// Goal: a token that was replaced goes with the next request of each clone, and one that cannot be sent changes nothing.
    #[tokio::test]
    async fn another_token_goes_with_the_requests_of_every_clone() {
        let (url, serving) = serve(answer("200 OK", "")).await;
        let client = transport(&url, Some("old")).unwrap();
        let clone = client.clone();
        client.set_token("new\n").unwrap();
        let error = client.set_token("a\nplanted").unwrap_err();
        assert!(matches!(error, TransportError::Token), "{error}");
        clone.success(clone.request(Method::GET, "")).await.unwrap();
        let head = serving.await.unwrap().to_lowercase();
        assert!(head.contains("authorization: bearer new\r\n"), "{head}");
        assert!(!head.contains("old"), "{head}");
    }

    /// Goal: no client sends a token over plain HTTP to another machine unless it was told that it may, however it gets
    /// the token; and without a token it may go anywhere.
    #[test]
    fn a_token_goes_over_plain_http_to_this_machine_only() {
        let told = Tls::of_process().with_plain_tokens(true);
        for (url, is_exposed) in [
            ("http://broker:8551/planted", true),
            ("http://192.0.2.1", true),
            ("http://0.0.0.0:8551", true),
            ("http://localhost.example:8551", true),
            ("http://[2001:db8::1]:8551", true),
            ("http://localhost:8551", false),
            ("http://127.0.0.1:8551", false),
            ("http://[::1]:8551", false),
            ("https://broker:8551", false),
        ] {
            let open = transport(url, None).unwrap();
            for made in [transport(url, Some("planted")).map(drop), open.set_token("planted")] {
                match made {
                    Ok(()) => assert!(!is_exposed, "{url}"),
                    Err(TransportError::Exposed(exposed)) => {
                        assert!(is_exposed, "{url}");
                        let text = format!("{exposed} {exposed:?}");
                        assert!(text.contains("set --plain-tokens"), "{text}");
                        assert!(!text.contains("planted"), "{text}");
                    }
                    Err(other) => panic!("{url}: {other}"),
                }
            }
            assert_eq!(open.token.read().is_none(), is_exposed, "{url}");
            let allowed = Transport::new(url, Some("planted"), LIMITS, &told).unwrap();
            allowed.set_token("other").unwrap();
        }
    }

    /// Goal: neither a declared nor an undeclared length makes a client keep more than its limit.
    #[tokio::test]
    async fn an_answer_is_read_up_to_its_limit() {
        let (most, more) = ("x".repeat(100), "x".repeat(101));
        let open = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20));
        for (text, is_taken) in
            [(answer("200 OK", &most), true), (answer("200 OK", &more), false), (open, false)]
        {
            let (url, serving) = serve(text).await;
            let client = transport(&url, None).unwrap();
            match client.answer(client.request(Method::GET, "")).await {
                Ok(got) => assert!(is_taken && got.body.len() == 100),
                Err(TransportError::Foreign(Foreign { reason, .. })) => {
                    assert!(!is_taken, "{reason}");
                    assert_eq!(reason, "its answer exceeds 100 bytes");
                }
                Err(other) => panic!("{other}"),
            }
            serving.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed() {
        let (there, _never) = serve(answer("200 OK", "")).await;
        let text = format!("HTTP/1.1 307 x\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n");
        let (url, serving) = serve(text).await;
        let client = transport(&url, Some("token")).unwrap();
        let error = client.success(client.request(Method::GET, "/x")).await.unwrap_err();
        assert!(matches!(error, TransportError::Foreign(_)), "{error}");
        serving.await.unwrap();
    }

    #[test]
    fn only_a_body_with_a_code_is_a_rejection() {
        let read = |body: &str| Rejection::read(StatusCode::SERVICE_UNAVAILABLE, body.as_bytes());
        let told = read(r#"{"code":"SEQ-020","message":"SEQ-020: no\ntoken"}"#).unwrap();
        assert_eq!((told.code.as_str(), told.message.as_str()), ("SEQ-020", "SEQ-020: notoken"));
        assert!(told.is_unavailable());
        let frame = read(r#"{"code":"SVC-012","message":"the host"}"#).unwrap();
        assert_eq!(frame.message, "SVC-012: the host");
        for other in [
            "",
            "<html>",
            r#"{"code":"SEQ-020","message":"no token"}"#,
            r#"{"code":"no","message":"no: token"}"#,
            r#"{"code":"","message":": x"}"#,
            r#"{"code":"SVC-","message":"x"}"#,
            r#"{"code":"SEQ-020: x","message":"SEQ-020: x: y"}"#,
        ] {
            assert_eq!(read(other), None, "{other}");
        }
        let long =
            format!("{{\"code\":\"SEQ-020\",\"message\":\"SEQ-020: {}\"}}", "x".repeat(9999));
        assert_eq!(read(&long).unwrap().message.len(), MESSAGE_MAX);
    }
}
