//! What the clients of the node, the broker, proposers, validators and L1 share: TLS, one transport over HTTP,
//! connection failures in words, URLs without what may be secret in them, and retries: their pauses, and what of their
//! failures is logged. Also the trace that a request belongs to.

mod address;
mod backoff;
mod handshake;
mod outage;
mod pem;
mod retry;
mod tls;
mod traceparent;
mod transport;

use std::error::Error;
use std::io::ErrorKind;

pub use address::{Address, AddressError};
pub use backoff::Backoff;
pub use handshake::of_server as handshake_failure;
pub use outage::Outage;
pub use pem::{PemError, PemFile, provider};
pub use retry::{Again, Retry};
pub use tls::{Tls, TlsFiles, http_client, untimed_http_client};
pub use traceparent::Traceparent;
pub use transport::{
    Answer, ErrorBody, ExposedToken, Foreign, Limits, Rejection, Transport, TransportError,
    Unreachable,
};

/// Most characters of a text that is shown.
const SHOWN_MAX: usize = 200;

/// Why a connection failed, in a few words, if `error` or one of its causes is a failed connection: the
/// messages of HTTP libraries say only that a request was not sent.
pub fn connection_failure(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    let mut words = None;
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            words = Some(match tls_error(io) {
                Some(tls) => return Some(handshake::of_client(tls)),
                None => io_failure(io),
            });
        } else if error.to_string().starts_with("invalid HTTP") {
            words = Some("what listens there does not speak HTTP".to_owned());
        }
        next = error.source();
    }
    words
}

/// The error of TLS inside one of a connection, under any number of others.
fn tls_error(error: &std::io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    match inner.downcast_ref() {
        Some(tls) => Some(tls),
        None => tls_error(inner.downcast_ref()?),
    }
}

fn io_failure(error: &std::io::Error) -> String {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused; is it running?".to_owned(),
        ErrorKind::TimedOut => "no answer in time".to_owned(),
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => "the connection broke off".to_owned(),
        // The standard library has no kind for it.
        _ if text.contains("lookup") => "the host name is unknown".to_owned(),
        _ => rollmill_errors::InWords(error).to_string(),
    }
}

/// The printable part of a text that should be a URL and is not: scheme, host and port, as far as they
/// can be found. The text before an `@` may be a password, and a path may be a key.
pub fn unreadable_url(text: &str) -> String {
    let shown = text.rsplit('@').next().unwrap_or_default();
    let host = shown.find("://").map_or(0, |at| at + 3);
    let end = shown[host..].find(['/', '?', '#']).map_or(shown.len(), |at| host + at);
    shown[..end].chars().take(SHOWN_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error of a library around another.
    #[derive(Debug)]
    struct Outer(&'static str, Option<Box<dyn Error>>);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref()
        }
    }

    #[test]
    fn the_cause_of_a_failed_connection_is_found_under_what_a_library_says() {
        let of = |kind: ErrorKind, text: &'static str| {
            let io = std::io::Error::new(kind, text);
            connection_failure(&Outer("error sending request", Some(Box::new(io))))
        };
        for (kind, text, expected) in [
            (ErrorKind::ConnectionRefused, "os error 111", "connection refused; is it running?"),
            (ErrorKind::TimedOut, "x", "no answer in time"),
            (ErrorKind::ConnectionReset, "x", "the connection broke off"),
            (ErrorKind::UnexpectedEof, "x", "the connection broke off"),
            (ErrorKind::Other, "failed to lookup address", "the host name is unknown"),
            (ErrorKind::Other, "something else", "something else"),
        ] {
            assert_eq!(of(kind, text).as_deref(), Some(expected), "{kind:?}");
        }
        let unreachable = std::io::Error::from_raw_os_error(113);
        let found = connection_failure(&Outer("outer", Some(Box::new(unreachable))));
        assert_eq!(found.as_deref(), Some("No route to host"));
        let not_http = Outer("invalid HTTP version parsed", None);
        let found = connection_failure(&Outer("outer", Some(Box::new(not_http))));
        assert_eq!(found.as_deref(), Some("what listens there does not speak HTTP"));
        assert_eq!(connection_failure(&Outer("a body that is no JSON", None)), None);
    }

    #[test]
    fn no_secret_of_a_text_that_is_no_url_is_shown() {
        for (text, shown) in [
            ("http://user:secret@host:80/key", "host:80"),
            ("http://host:80:80/key?x=secret#y", "http://host:80:80"),
            ("user:se@cret@host/key", "host"),
            ("host name/secret", "host name"),
            ("", ""),
        ] {
            assert_eq!(unreadable_url(text), shown, "{text}");
        }
        assert_eq!(unreadable_url(&"é".repeat(300)).chars().count(), SHOWN_MAX);
    }
}
