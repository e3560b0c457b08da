//! Messages about settings: similar names, ports used twice, URLs without credentials.

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
    // Every address of its family; the IPv6 wildcard includes IPv4.
    let covers = |any: &str, host: &str| match any {
        "[::]" => true,
        "0.0.0.0" => !host.starts_with('['),
        _ => any == host,
    };
    // The system chooses another port for each 0.
    port != 0 && port == other_port && (covers(&one, &other) || covers(&other, &one))
}

/// The known name that `name` probably is a misspelling of: at most three letters changed, added, left out or
/// swapped, and no more than a third of its last word.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = known.map(|known| (strsim::osa_distance(name, known), known)).min();
    near.filter(|(distance, known)| *distance <= slips(known)).map(|(_, known)| known)
}

/// As [`nearest`] of the full name; if none is near, of the name within its table, since the table may
/// be missing or wrong. `known` are full names with their names within their tables.
pub(crate) fn nearest_in_any_table<'a>(
    (full, inner): (&str, &str),
    known: impl Iterator<Item = (&'a str, &'a str)> + Clone,
) -> Option<&'a str> {
    nearest(full, known.clone().map(|(full, _)| full)).or_else(|| {
        let near = known.map(|(full, known)| (strsim::osa_distance(inner, known), known, full));
        near.min().filter(|(distance, known, _)| *distance <= slips(known)).map(|(_, _, full)| full)
    })
}

/// Maximum edit distance for a name of this length.
fn slips(known: &str) -> usize {
    let last = known.rsplit(['_', '.']).next().unwrap_or(known).len();
    3.min((last / 3).max(1))
}

/// A URL without the parts that may be secret: userinfo, the query, and a path with a long segment,
/// such as an RPC provider's key. Other text is not changed.
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

/// clap's message as one line: what is wrong, its tips, the usage and where to find help.
pub(crate) fn of_clap(text: &str) -> String {
    let paragraphs = text.trim().trim_start_matches("error: ").split("\n\n");
    let sentences = paragraphs.map(|paragraph| {
        let mut lines = paragraph.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next().unwrap_or_default().to_owned();
        let rest: Vec<&str> = lines.collect();
        let line = if rest.is_empty() { first } else { format!("{first} {}", rest.join(", ")) };
        line.trim_end_matches('.').to_owned()
    });
    sentences.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(". ")
}

#[cfg(test)]
mod tests {
    use super::*;

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
            // Two swapped letters count as one edit.
            ("X_ULR", Some("X_URL")),
            // Another word of three letters is no misspelling of the first.
            ("X_TAG", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), found, "{name}");
        }
    }
}
