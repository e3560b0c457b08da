//! The names in a query of Prometheus: series with the values that their labels must have, and labels that it
//! groups or matches by. Nothing else of the language is understood.

use std::collections::BTreeSet;

/// A selector.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    /// Labels and the values that they are compared with; one entry for each alternative of a pattern of words.
    pub(super) matched: Vec<(String, String)>,
    /// It is inside of an operator that keeps the labels of `by` alone.
    pub(super) is_grouped: bool,
}

/// What a query names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    pub(super) series: Vec<Series>,
    /// Labels of `by`.
    pub(super) by: BTreeSet<String>,
    /// Labels of `on`, `ignoring`, `without` and `group_left` or `group_right`.
    pub(super) on: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

/// Operators that drop all labels unless `by` keeps some.
const AGGREGATES: [&str; 8] =
    ["sum", "min", "max", "avg", "count", "group", "stddev", "histogram_quantile"];
const KEYWORDS: [&str; 9] =
    ["by", "on", "ignoring", "without", "group_left", "group_right", "and", "or", "unless"];

fn tokens(text: &str) -> Vec<Token> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '$');
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '#' {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if first == '"' || first == '\'' {
            let inner = &rest[1..];
            let end = inner.find(first).unwrap_or(inner.len());
            found.push(Token::Text(inner[..end].to_owned()));
            rest = inner.get(end + 1..).unwrap_or_default();
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else {
            if !first.is_whitespace() {
                found.push(Token::Sign(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// Reads the names of a query.
pub(super) fn read(text: &str) -> Query {
    let tokens = tokens(text);
    let mut query = Query::default();
    // Open parentheses: whether they are, or are inside of, those of an aggregate.
    let mut open: Vec<bool> = Vec::new();
    let mut is_aggregate = false;
    let mut brackets = 0;
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            // A range or a step.
            Token::Sign('[') => brackets += 1,
            Token::Sign(']') => brackets -= 1,
            Token::Sign('(') => {
                let inside = open.last().is_some_and(|outer| *outer);
                open.push(std::mem::take(&mut is_aggregate) || inside);
            }
            Token::Sign(')') => _ = open.pop(),
            Token::Word(word) if brackets == 0 => {
                if matches!(word.as_str(), "by" | "on" | "ignoring" | "without")
                    || word.starts_with("group_")
                {
                    let labels = list(&tokens, &mut at);
                    if word == "by" { &mut query.by } else { &mut query.on }.extend(labels);
                } else if AGGREGATES.contains(&word.as_str()) {
                    is_aggregate = true;
                } else if is_name(word) && tokens.get(at) != Some(&Token::Sign('(')) {
                    let matched = matchers(&tokens, &mut at);
                    let is_grouped = open.last().is_some_and(|outer| *outer);
                    query.series.push(Series { name: word.clone(), matched, is_grouped });
                }
            }
            _ => {}
        }
    }
    query
}

/// Whether a word can be the name of a series: not a number, a keyword or a variable.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && !KEYWORDS.contains(&word)
        && !matches!(word, "bool" | "offset" | "inf" | "nan" | "NaN" | "Inf")
}

/// The words in the parentheses that follow.
fn list(tokens: &[Token], at: &mut usize) -> Vec<String> {
    let mut found = Vec::new();
    if tokens.get(*at) != Some(&Token::Sign('(')) {
        return found;
    }
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token {
            Token::Word(word) => found.push(word.clone()),
            Token::Sign(')') => break,
            _ => {}
        }
    }
    found
}

/// The labels in the braces that follow, if there are some.
fn matchers(tokens: &[Token], at: &mut usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if tokens.get(*at) != Some(&Token::Sign('{')) {
        return found;
    }
    let mut label = String::new();
    while let Some(token) = tokens.get(*at) {
        *at += 1;
        match token {
            Token::Word(word) => label.clone_from(word),
            Token::Text(text) => {
                for value in text.split('|') {
                    found.push((label.clone(), value.to_owned()));
                }
            }
            Token::Sign('}') => break,
            Token::Sign(_) => {}
        }
    }
    found
}
