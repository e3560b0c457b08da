//! The address of a server, as a client gets it: a URL without anything that identifies the client.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// Most bytes of an address. No host, port and path of a server need as many.
const BYTES_MAX: usize = 2048;

/// The URL of a server: `http://` or `https://`, a host, and as the case may be a port and a path. It has no user name,
/// password, query and fragment: a token is a setting of its own, and is sent in a header.
///
/// [`fmt::Debug`] and [`fmt::Display`] show scheme, host and port; the path may be a key of a proxy.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    url: Url,
}

/// Why a text is not the address of a server. The texts show scheme, host and port, as far as they can be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It is no URL, or one of another scheme or without a host.
    #[error("`{shown}` is not a URL such as http://127.0.0.1:8551 or https://HOST")]
    NotAUrl { shown: String },
    /// It has a user name or a password.
    #[error("`{shown}` has a user name or a password before the host; remove them")]
    Credentials { shown: String },
    /// It has a query.
    #[error("`{shown}` has a query; remove the `?` and what follows it")]
    Query { shown: String },
    /// It has a fragment.
    #[error("`{shown}` has a fragment; remove the `#` and what follows it")]
    Fragment { shown: String },
}

impl Address {
    /// The whole URL, with its path.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Whether it is this machine by its very name: `localhost`, or an address of the loopback interface. What another
    /// name leads to, only a resolver knows.
    pub fn is_loopback(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether what is sent here crosses a network in the clear: without TLS, to a machine that may be another one.
    pub fn is_exposed(&self) -> bool {
        self.url.scheme() == "http" && !self.is_loopback()
    }

    /// The URL of a path below this one. `path` starts with a slash; an empty one is this very URL.
    pub fn join(&self, path: &str) -> String {
        match path.is_empty() {
            true => self.as_str().to_owned(),
            false => format!("{}{path}", self.as_str().trim_end_matches('/')),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        let parsed = Some(text).filter(|text| text.len() <= BYTES_MAX);
        let parsed = parsed.and_then(|text| Url::parse(text).ok()).filter(is_http);
        let Some(url) = parsed else {
            return Err(AddressError::NotAUrl { shown: crate::unreadable_url(text) });
        };
        let shown = url.origin().ascii_serialization();
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressError::Credentials { shown });
        }
        if url.query().is_some() {
            return Err(AddressError::Query { shown });
        }
        if url.fragment().is_some() {
            return Err(AddressError::Fragment { shown });
        }
        Ok(Self { url })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_nothing_that_identifies_the_client() {
        let long = format!("http://planted/{}", "x".repeat(BYTES_MAX));
        for (wrong, why) in [
            ("nonsense", "`nonsense` is not a URL"),
            ("", "`` is not a URL"),
            ("127.0.0.1:8551", "`127.0.0.1:8551` is not a URL"),
            ("ftp://host/planted", "`ftp://host` is not a URL"),
            ("user:planted@host", "`host` is not a URL"),
            ("http://", "is not a URL"),
            (&long, "is not a URL"),
            ("https://user:planted@host/x", "`https://host` has a user name or a password"),
            ("https://planted@host", "`https://host` has a user name or a password"),
            ("https://:planted@host", "`https://host` has a user name or a password"),
            ("http://host:1/?key=planted", "`http://host:1` has a query"),
            ("http://host?", "`http://host` has a query"),
            ("http://host/#planted", "`http://host` has a fragment"),
        ] {
            let error = wrong.parse::<Address>().unwrap_err();
            let (text, debug) = (error.to_string(), format!("{error:?}"));
            assert!(text.contains(why), "{text}");
            assert!(!debug.contains("planted") || wrong == long, "{debug}");
        }
    }

    #[test]
    fn what_leaves_the_machine_without_tls_is_exposed() {
        for (text, is_exposed) in [
            ("http://broker:8551", true),
            ("http://192.0.2.1", true),
            ("http://[2001:db8::1]:8551/x", true),
            ("http://0.0.0.0:8551", true),
            ("http://localhost.example", true),
            ("http://localhost:8551", false),
            ("http://127.0.0.2", false),
            ("http://[::1]:8551", false),
            ("https://broker", false),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().is_exposed(), is_exposed, "{text}");
        }
    }

    #[test]
    fn paths_are_appended_and_not_shown() {
        for (text, below) in [
            ("http://host:8580", "http://host:8580/quotes"),
            ("http://host:8580/", "http://host:8580/quotes"),
            ("https://host/planted//", "https://host/planted/quotes"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.join("/quotes"), below);
            assert_eq!(address.join(""), address.as_str());
            assert!(text.starts_with(&address.to_string()));
            assert!(!format!("{address} {address:?}").contains("planted"));
        }
        let slash: Address = "https://host/x/".parse().unwrap();
        assert_eq!(slash.join(""), "https://host/x/", "a node's own URL stays as it is");
    }
}
