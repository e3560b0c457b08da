//! What a program does with an error, read from the methods of the error's type.

use crate::scan::is_word;

/// What a value means, if it is worth a word on the page.
type Meaning = fn(&str) -> Option<String>;

/// Methods with an arm per variant, and what their value means.
const VALUES: &[(&str, Meaning)] = &[("status", http), ("exit_code", exit), ("class", class)];

fn http(value: &str) -> Option<String> {
    value.parse::<u16>().ok().map(|status| format!("HTTP {status}"))
}

fn exit(value: &str) -> Option<String> {
    let code = if value == "USAGE" { 2 } else { value.parse::<u8>().ok()? };
    (code != 1).then(|| format!("exit {code}"))
}

/// The class of failure that an agent reports to the broker.
fn class(value: &str) -> Option<String> {
    let name = value.strip_prefix("Some(FailureClass::")?.strip_suffix(')')?;
    Some(format!("reported to the broker as `{name}`"))
}

/// What the type of the variant declared on line `at` (from 0) says of it; empty if nothing.
pub(super) fn of(code: &[&str], at: usize) -> String {
    let Some(name) = word(code[at].trim_start()) else { return String::new() };
    let owner = code[..at].iter().rev().find_map(|line| {
        let rest = line.split_once("enum ").filter(|(before, _)| !before.contains("//"))?.1;
        word(rest)
    });
    let Some(owner) = owner else { return String::new() };
    let text = code.join("\n");
    let mut found = Vec::new();
    for body in blocks(&text, &format!("impl {owner} {{")) {
        for (method, meaning) in VALUES {
            let value = method_body(body, method).and_then(|body| arm(body, name));
            found.extend(value.and_then(meaning));
        }
    }
    found.join(", ")
}

fn word(text: &str) -> Option<&str> {
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    (end > 0).then(|| &text[..end])
}

/// The texts between the braces of each `head`, which ends with the opening one.
fn blocks<'a>(text: &'a str, head: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(head).map(|(at, _)| block(&text[at + head.len()..]))
}

/// `text` up to the brace that closes the one before it.
fn block(text: &str) -> &str {
    let mut depth = 1usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[..at];
        }
    }
    text
}

fn method_body<'a>(body: &'a str, method: &str) -> Option<&'a str> {
    let at = body.find(&format!("fn {method}(&self)"))?;
    let open = body[at..].find('{')? + at + 1;
    Some(block(&body[open..]))
}

/// Where the pattern of variant `name` of `Self` ends, if there is one for all values of the variant.
fn named(body: &str, name: &str) -> Option<usize> {
    let needle = format!("Self::{name}");
    body.match_indices(&needle).map(|(at, _)| at + needle.len()).find(|end| {
        let rest = &body[*end..];
        let looks_inside = !rest.starts_with(" { .. }")
            && !rest.starts_with("(..)")
            && !rest.starts_with("(_)")
            && rest.trim_start().starts_with(['{', '(']);
        !rest.starts_with(is_word) && !looks_inside
    })
}

/// The value of the arm for variant `name`. The wildcard's says nothing: it also stands for variants
/// that never come to that method.
fn arm<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let at = named(body, name)?;
    let value = body[at..].split_once("=>")?.1;
    Some(value.split([',', '\n', '}']).next()?.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "
pub enum E {
    A,
    B { x: u8 },
    C(u8),
}
impl E {
    pub const fn status(&self) -> u16 {
        match self {
            Self::A | Self::B { .. } => 404,
            _ => 500,
        }
    }
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::A => USAGE,
            Self::B { x: 1 } => 7,
            Self::C(_) => 1,
        }
    }
}";

    #[test]
    fn each_variant_is_handled_as_its_methods_say() {
        let lines: Vec<&str> = SOURCE.lines().collect();
        let handled = |line: &str| of(&lines, lines.iter().position(|l| *l == line).unwrap());
        assert_eq!(handled("    A,"), "HTTP 404, exit 2");
        assert_eq!(handled("    B { x: u8 },"), "HTTP 404", "an arm that looks inside is no rule");
        assert_eq!(handled("    C(u8),"), "", "neither the wildcard nor exit 1 is told");
    }
}
