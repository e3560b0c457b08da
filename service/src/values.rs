//! Parsers of values, one per type of setting. Their errors say what is expected.

use std::fmt;
use std::ops::RangeInclusive;

pub use rollmill_net::Address;

/// The bounds of a number. The parser of [`whole`] returns them as its error, so that help texts, pages and
/// messages show the bounds that are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    least: u64,
    most: u64,
}

impl Bounds {
    /// Both ends, as help texts show them.
    pub fn range(&self) -> String {
        format!("{} to {}", self.least, self.most)
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected a whole number from {} to {}", self.least, self.most)
    }
}

impl std::error::Error for Bounds {}

/// An error whose message describes the value itself, because the value may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded(pub String);

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Guarded {}

/// The largest chain ID of an Ethereum chain, by EIP-2294.
pub const CHAIN_ID_MAX: u64 = u64::MAX / 2 - 36;

/// Types that [`whole`] parses.
pub trait Whole: Copy + Send + Sync + 'static {
    #[doc(hidden)]
    fn widen(self) -> u64;
    #[doc(hidden)]
    fn narrow(value: u64) -> Option<Self>;
}

macro_rules! whole {
    ($($type:ty),*) => {$(
        impl Whole for $type {
            fn widen(self) -> u64 {
                self as u64
            }
            fn narrow(value: u64) -> Option<Self> {
                Self::try_from(value).ok()
            }
        }
    )*};
}
whole!(u8, u16, u32, u64, usize);

/// A parser of whole numbers within `range`. The frame adds the range to the help text.
pub fn whole<T: Whole>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, Bounds> + Clone + Send + Sync + 'static {
    let bounds = Bounds { least: range.start().widen(), most: range.end().widen() };
    move |text| {
        let value = text.parse().ok().filter(|value| (bounds.least..=bounds.most).contains(value));
        value.and_then(T::narrow).ok_or(bounds)
    }
}

/// Parses the address of an HTTP service.
///
/// # Errors
/// A description of the value without credentials.
pub fn url(text: &str) -> Result<String, Guarded> {
    let expected = "http://HOST:PORT or https://HOST";
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    if host.is_some_and(|host| !host.trim_end_matches(':').is_empty() && !text.contains(' ')) {
        return Ok(text.to_owned());
    }
    let is_plain = !text.contains(['@', '/', '?', '#']);
    let shown = match text.split_once("://") {
        Some(("http" | "https", _)) => "a text without a host, or with a space in it,".to_owned(),
        Some((scheme, _)) if !scheme.contains(['@', '/', '?', '#']) => {
            format!("an address that starts with `{scheme}://`")
        }
        _ if is_plain => format!("`{text}`"),
        _ => "the value (not shown, it may hold credentials)".to_owned(),
    };
    Err(Guarded(format!("{shown} is not a URL; expected {expected}")))
}

/// Parses the address of a server that is asked with a token or none: it has no user name, password, query and fragment.
///
/// # Errors
/// A description of the value without what may be secret in it.
pub fn address(text: &str) -> Result<Address, Guarded> {
    text.parse::<Address>().map_err(|error| Guarded(error.to_string()))
}

/// Parses addresses of HTTP services, separated by commas. An empty text is an empty list.
///
/// # Errors
/// As [`url`].
pub fn urls(text: &str) -> Result<Vec<String>, Guarded> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(url).collect()
}

/// Parses addresses as [`urls`] does, and requires one at least.
///
/// # Errors
/// As [`url`], and for an empty list.
pub fn some_urls(text: &str) -> Result<Vec<String>, Guarded> {
    let list = urls(text)?;
    match list.is_empty() {
        true => Err(Guarded("at least one URL is required, such as http://HOST:PORT".to_owned())),
        false => Ok(list),
    }
}

/// Parses host names, separated by commas. An empty text is an empty list.
///
/// # Errors
/// What is expected.
pub fn hosts(text: &str) -> Result<Vec<String>, String> {
    let is_name = |name: &&str| {
        name.len() <= 253 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let names = items.map(|item| match is_name(&item) {
        true => Ok(item.to_ascii_lowercase()),
        false => Err(format!(
            "`{item}` is not a host name; expected names such as broker.example, without port"
        )),
    });
    names.collect()
}

/// Several host names. The alias keeps clap's derive from reading the list as an option that is repeated.
pub type Hosts = Vec<String>;

/// Several URLs. The alias keeps clap's derive from reading the list as an option that is repeated.
pub type Urls = Vec<String>;

/// Parses an address to listen on.
///
/// # Errors
/// What is expected.
pub fn listen_address(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
    });
    match good {
        true => Ok(text.to_owned()),
        false => Err("expected HOST:PORT, such as 127.0.0.1:8080".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_bounds_are_rejected_with_both_ends() {
        let parse = whole::<u16>(1..=600);
        assert_eq!((parse("1"), parse("600")), (Ok(1), Ok(600)));
        for wrong in ["0", "601", "-1", "x", "", "1.5", "99999999999999999999"] {
            let text = parse(wrong).unwrap_err().to_string();
            assert_eq!(text, "expected a whole number from 1 to 600", "{wrong}");
        }
    }

    #[test]
    fn only_urls_of_http_services_are_taken_and_others_are_not_repeated() {
        for right in ["http://127.0.0.1:1", "https://u:planted@h/x?key=planted"] {
            assert_eq!(url(right).as_deref(), Ok(right));
        }
        for wrong in ["wss://planted", "u:planted@h", "h/planted", "http://", "http://a b", ""] {
            let text = url(wrong).unwrap_err().to_string();
            assert!(text.contains("expected http://HOST:PORT"), "{text}");
            assert!(!text.contains("planted"), "{text}");
        }
        let text = url("127.0.0.1:1").unwrap_err().to_string();
        assert_eq!(text, "`127.0.0.1:1` is not a URL; expected http://HOST:PORT or https://HOST");
        assert_eq!(urls("http://a, http://b,"), Ok(vec!["http://a".into(), "http://b".into()]));
        assert_eq!(urls(""), Ok(vec![]));
        assert!(urls("http://a,nonsense").is_err());
        assert_eq!(some_urls("http://a"), urls("http://a"));
        for none in ["", " , "] {
            let text = some_urls(none).unwrap_err().to_string();
            assert!(text.starts_with("at least one URL is required"), "{text}");
        }
    }

    #[test]
    fn an_address_of_a_server_has_no_credentials() {
        assert_eq!(address("http://h:1/x").unwrap().as_str(), "http://h:1/x");
        for wrong in ["http://u:planted@h", "http://h?planted", "http://h#planted", "planted@h"] {
            let text = address(wrong).unwrap_err().to_string();
            assert!(text.starts_with('`') && !text.contains("planted"), "{text}");
        }
    }

    #[test]
    fn host_names_are_names_without_port_and_scheme() {
        let two = Ok(vec!["a.example".to_owned(), "b".to_owned()]);
        assert_eq!(hosts("A.example, b,"), two);
        assert_eq!(hosts(""), Ok(vec![]));
        for wrong in ["a:80", "http://a", "a b", "*.a", "[::1]"] {
            assert!(hosts(wrong).unwrap_err().contains("is not a host name"), "{wrong}");
        }
    }

    #[test]
    fn an_address_to_listen_on_has_host_and_port() {
        for (text, good) in [("127.0.0.1:0", true), ("[::1]:80", true), ("8080", false)] {
            assert_eq!(listen_address(text).is_ok(), good, "{text}");
        }
        for wrong in ["a:http", ":80", "http://a:80", "nonsense"] {
            assert!(listen_address(wrong).is_err(), "{wrong}");
        }
    }
}
