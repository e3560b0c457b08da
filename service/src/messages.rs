//! What a person is told of a setting that cannot be read, without the words of the implementation.

use serde_json::Value;

/// The unit that the name of a setting ends with.
fn unit(key: &str) -> &'static str {
    let words: &[(&str, &str)] = &[
        ("_seconds", " of seconds"),
        ("_ms", " of milliseconds"),
        ("_mib", " of MiB"),
        ("_bytes", " of bytes"),
        ("_bytes_max", " of bytes"),
        ("_blocks", " of blocks"),
    ];
    words.iter().find(|(end, _)| key.ends_with(end)).map_or("", |(_, unit)| unit)
}

/// What a setting expects, from the last words of the parser's error.
fn expected(text: &str, key: &str) -> Option<String> {
    let whole = |range: &str| Some(format!("a whole number{}{range}", unit(key)));
    let first = text.split(" at line ").next().unwrap_or(text).trim();
    match first {
        "u8" => whole(" from 0 to 255"),
        "u16" => whole(" from 0 to 65535"),
        "u32" => whole(" from 0 to 4294967295"),
        "u64" | "usize" | "u128" => whole(""),
        "i8" | "i16" | "i32" | "i64" | "isize" => whole(", which may be negative"),
        "f32" | "f64" => Some(format!("a number{}", unit(key))),
        "a boolean" => Some("true or false".to_owned()),
        "a string" | "path string" | "a borrowed string" => Some("text in quotes".to_owned()),
        "a sequence" => Some("a list".to_owned()),
        "a map" => Some("a table".to_owned()),
        _ if first.starts_with("struct ") || first.starts_with("variant") => {
            Some("a table".to_owned())
        }
        _ if first.contains("string") => Some("text in quotes".to_owned()),
        _ => None,
    }
}

/// Says what is wrong with `value` for the setting `key`. `refusal` is the parser's error.
pub(crate) fn of_type(key: &str, value: &Value, refusal: &str) -> String {
    for start in ["invalid type: ", "invalid value: ", "invalid length "] {
        let Some(rest) = refusal.strip_prefix(start) else { continue };
        let wanted = rest.rsplit_once("expected ").and_then(|(_, text)| expected(text, key));
        let wanted = wanted.unwrap_or_else(|| "a value of another kind".to_owned());
        let value = match value {
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        return format!("{key}: {value} cannot be used; expected {wanted}");
    }
    if let Some(rest) = refusal.strip_prefix("unknown variant ") {
        let (given, known) = rest.split_once(", expected ").unwrap_or((rest, ""));
        return format!(
            "{key}: {given} is not a known value; use {}",
            known.replacen("one of ", "", 1)
        );
    }
    format!("{key}: {refusal}")
}

/// Rules for values that are text, by what the setting's name says that it holds.
pub(crate) fn of_text(key: &str, value: &Value) -> Result<(), String> {
    let last = key.rsplit('.').next().unwrap_or(key);
    match value {
        Value::String(text) if text.trim().is_empty() => {
            Err(format!("{key}: the value is empty; leave the setting out to use its default"))
        }
        Value::String(text) if is_address(last) => address(key, text),
        Value::String(text) if is_url(last) => url(key, text),
        Value::Array(items) if is_url(last) => {
            items.iter().filter_map(Value::as_str).try_for_each(|text| url(key, text))
        }
        _ => Ok(()),
    }
}

pub(crate) fn is_address(last: &str) -> bool {
    last == "listen" || last.ends_with("_listen")
}

/// Settings that hold addresses of HTTP services. `database_url` is a secret's reference.
fn is_url(last: &str) -> bool {
    let named = last == "url" || last.ends_with("_url") || last.ends_with("_urls");
    named && last != "database_url" || ["broker", "tx_sources"].contains(&last)
}

fn address(key: &str, text: &str) -> Result<(), String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains('/') && port.parse::<u16>().is_ok()
    });
    if good {
        return Ok(());
    }
    Err(format!(
        "{key}: `{text}` is not an address to listen on; expected HOST:PORT, as 127.0.0.1:8080"
    ))
}

/// Whether two addresses to listen on, `HOST:PORT` each, exclude each other on one machine.
pub(crate) fn share_a_port(one: &str, other: &str) -> bool {
    let parts = |text: &str| {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host == "localhost" { "127.0.0.1" } else { host };
        Some((host.to_owned(), port.parse::<u16>().ok()?))
    };
    let (Some((one, port)), Some((other, other_port))) = (parts(one), parts(other)) else {
        return false;
    };
    // Every address of its family; the IPv6 one takes those of IPv4 as well.
    let covers = |any: &str, host: &str| match any {
        "[::]" => true,
        "0.0.0.0" => !host.starts_with('['),
        _ => any == host,
    };
    // The system chooses another port for each 0.
    port != 0 && port == other_port && (covers(&one, &other) || covers(&other, &one))
}

/// The known name that `name` probably is a misspelling of: at most three letters changed, added or left out,
/// and no more than a third of its last word.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (distance, known) = known.map(|known| (distance(name, known), known)).min()?;
    let last = known.rsplit('_').next().unwrap_or(known).len();
    (distance <= 3.min((last / 3).max(1))).then_some(known)
}

/// Letters to change, add or leave out between two words (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

fn url(key: &str, text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let host = rest.map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
    if host.is_some_and(|host| !host.trim_end_matches(':').is_empty() && !text.contains(' ')) {
        return Ok(());
    }
    // Not repeated where it may hold credentials.
    let is_plain = !text.contains(['@', '/', '?', '#']);
    let shown = match text.split_once("://") {
        Some((scheme, _)) if !scheme.contains(['@', '/', '?', '#']) => {
            format!("an address that begins with `{scheme}://`")
        }
        _ if is_plain => format!("`{text}`"),
        _ => "the value".to_owned(),
    };
    Err(format!("{key}: {shown} is not a URL; expected http://HOST:PORT or https://HOST"))
}

/// A URL without what may be secret in it: userinfo, a query, and a path with a long segment, as keys
/// of RPC providers are. Other text stays as it is.
pub(crate) fn without_credentials(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (authority, tail) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit_once('@').map_or(authority.to_owned(), |(_, h)| format!("***@{h}"));
    let keyed = tail.contains(['?', '#']) || tail.split('/').any(|part| part.len() > 15);
    format!("{scheme}://{host}{}", if keyed { "/***" } else { tail })
}

/// The line of `text`, counted from 1, on which the TOML key `dotted` is set.
pub(crate) fn line_of(text: &str, dotted: &str) -> Option<usize> {
    let plain = |key: &str| key.replace(['"', '\'', ' ', '\t'], "");
    let mut table = String::new();
    let mut found = None;
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            table = format!("{}.", plain(name));
        } else if let Some((key, _)) = line.split_once('=') {
            let here = format!("{table}{}", plain(key).trim_start_matches('#'));
            if !line.starts_with('#') && (dotted == here || dotted.starts_with(&format!("{here}.")))
            {
                found = Some(i + 1);
            }
        }
    }
    found
}

/// clap's message as one line: its paragraphs, without the hint at the general help.
pub(crate) fn of_clap(text: &str) -> String {
    let text = text.trim().trim_start_matches("error: ");
    let paragraphs = text.split("\n\n").filter(|p| !p.starts_with("For more information"));
    let lines = paragraphs.map(|paragraph| {
        let mut lines = paragraph.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = lines.collect();
        if rest.is_empty() { first } else { format!("{first} {}", rest.join(", ")) }
    });
    lines.collect::<Vec<_>>().join(". ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_type_is_told_in_the_words_of_the_setting() {
        let text =
            of_type("lease_seconds", &json!("abc"), "invalid type: string \"abc\", expected u64");
        assert_eq!(text, "lease_seconds: `abc` cannot be used; expected a whole number of seconds");
        let text = of_type("listen", &json!(5), "invalid type: integer `5`, expected a string");
        assert_eq!(text, "listen: `5` cannot be used; expected text in quotes");
        let text = of_type("f", &json!("x"), "unknown variant `x`, expected `human` or `json`");
        assert_eq!(text, "f: `x` is not a known value; use `human` or `json`");
        let text =
            of_type("workers", &json!(70000), "invalid value: integer `70000`, expected u16");
        assert!(text.ends_with("a whole number from 0 to 65535"), "{text}");
    }

    #[test]
    fn credentials_leave_a_url_and_nothing_else_does() {
        for (text, shown) in [
            ("http://a:8545", "http://a:8545"),
            ("http://a:8545/rpc", "http://a:8545/rpc"),
            ("https://user:planted@a/x", "https://***@a/x"),
            ("https://a/v3/0123456789abcdef0123456789abcdef", "https://a/***"),
            ("https://a?key=planted", "https://a/***"),
            ("no url", "no url"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }

    #[test]
    fn addresses_that_exclude_each_other_are_told() {
        for (one, other, excluded) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("localhost:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::1]:80", "[::]:80", true),
            ("0.0.0.0:80", "[::]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:80", "10.0.0.1:80", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
        ] {
            assert_eq!(share_a_port(one, other), excluded, "{one} {other}");
        }
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["X_LISTEN", "X_LEASE_SECONDS", "X_URL"];
        for (name, found) in [
            ("X_LISEN", Some("X_LISTEN")),
            ("X_LEASE_SECOND", Some("X_LEASE_SECONDS")),
            ("X_SOMETHING_ELSE", None),
            // Another word of three letters is no misspelling of the first.
            ("X_TAG", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), found, "{name}");
        }
    }

    #[test]
    fn a_key_is_found_on_its_line() {
        let text = "a = 1\n# b = 2\nb = 2\n[t]\nb = 3\n\"c\" = { d = 4 }\n[t.u]\nb = 5\n";
        let lines = ["a", "b", "t.b", "t.c.d", "t.u.b", "x"].map(|key| line_of(text, key));
        assert_eq!(lines, [Some(1), Some(3), Some(5), Some(6), Some(8), None]);
    }

    #[test]
    fn addresses_and_urls_are_checked_by_the_names_of_their_settings() {
        for (key, value, good) in [
            ("node.listen", json!("127.0.0.1:0"), true),
            ("listen", json!("8080"), false),
            ("listen", json!("a:http"), false),
            ("service.admin_listen", json!("nonsense"), false),
            ("broker", json!("127.0.0.1:1"), false),
            ("broker", json!("http://127.0.0.1:1"), true),
            ("node.l1_urls", json!(["http://a", "nonsense"]), false),
            ("tx_sources", json!([]), true),
            ("database_url", json!("env:X"), true),
            ("node.rollup", json!(" "), false),
        ] {
            assert_eq!(of_text(key, &value).is_ok(), good, "{key} {value}");
        }
    }
}
