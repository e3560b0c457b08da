//! A small scanner of Rust source: separates code from comments and string literals.
//!
//! The rules of this program look for words such as `unsafe`. They must neither miss one nor trip
//! over one in a comment or a message, and a full parser would cost more to build than it is worth.

/// A string literal and the line (from 1) on which it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literal {
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A source text split by kind. Line numbers are those of the source.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// The source with comments and the contents of literals replaced by spaces.
    pub(crate) code: String,
    /// String literals, in order, escapes left as written.
    pub(crate) literals: Vec<Literal>,
}

/// Splits `source`. Never fails: an unfinished comment or literal runs to the end of the text.
pub(crate) fn scan(source: &str) -> Scanned {
    let chars: Vec<char> = source.chars().collect();
    let mut out = Scanner { chars: &chars, at: 0, line: 1, scanned: Scanned::default() };
    out.run();
    out.scanned
}

struct Scanner<'a> {
    chars: &'a [char],
    at: usize,
    line: usize,
    scanned: Scanned,
}

impl Scanner<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn keep(&mut self) {
        let c = self.peek(0);
        self.advance(c);
    }

    fn blank(&mut self) {
        let c = self.peek(0);
        self.advance(if c == '\n' { c } else { ' ' });
    }

    fn advance(&mut self, written: char) {
        if self.peek(0) == '\n' {
            self.line += 1;
        }
        self.scanned.code.push(written);
        self.at += 1;
    }

    fn run(&mut self) {
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '/') => self.line_comment(),
                ('/', '*') => self.block_comment(),
                ('"', _) => self.string(0),
                ('r' | 'b' | 'c', _) if self.raw_hashes().is_some() && !self.after_word() => {
                    let (prefix, hashes) = self.raw_hashes().unwrap_or((1, 0));
                    for _ in 0..prefix {
                        self.keep();
                    }
                    self.raw_string(hashes);
                }
                ('\'', _) => self.quote(),
                _ => self.keep(),
            }
        }
    }

    fn after_word(&self) -> bool {
        self.at > 0 && is_word(self.chars[self.at - 1])
    }

    fn line_comment(&mut self) {
        while self.at < self.chars.len() && self.peek(0) != '\n' {
            self.blank();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.blank();
                    continue;
                }
            }
            self.blank();
            self.blank();
            if depth == 0 {
                return;
            }
        }
    }

    /// Length of `r`, `br` or `cr` and the number of `#` that follow, at the start of a raw string.
    fn raw_hashes(&self) -> Option<(usize, usize)> {
        let prefix = match (self.peek(0), self.peek(1)) {
            ('r', _) => 1,
            ('b' | 'c', 'r') => 2,
            _ => return None,
        };
        let hashes = (0..).take_while(|i| self.peek(prefix + i) == '#').count();
        (self.peek(prefix + hashes) == '"').then_some((prefix, hashes))
    }

    fn raw_string(&mut self, hashes: usize) {
        for _ in 0..hashes {
            self.blank();
        }
        self.string_until(hashes, false);
    }

    fn string(&mut self, hashes: usize) {
        self.string_until(hashes, true);
    }

    fn string_until(&mut self, hashes: usize, escapes: bool) {
        let line = self.line;
        let mut text = String::new();
        self.keep();
        while self.at < self.chars.len() {
            let c = self.peek(0);
            if escapes && c == '\\' {
                text.push(c);
                text.push(self.peek(1));
                self.blank();
                if self.at < self.chars.len() {
                    self.blank();
                }
                continue;
            }
            if c == '"' && (1..=hashes).all(|i| self.peek(i) == '#') {
                self.keep();
                for _ in 0..hashes {
                    self.blank();
                }
                break;
            }
            text.push(c);
            self.blank();
        }
        self.scanned.literals.push(Literal { line, text });
    }

    /// A character literal or a lifetime. A lifetime has no closing quote two characters on.
    fn quote(&mut self) {
        if self.peek(1) == '\\' {
            self.keep();
            self.blank();
            self.blank();
            while self.at < self.chars.len() && self.peek(0) != '\'' {
                self.blank();
            }
            self.keep();
        } else if self.peek(2) == '\'' {
            self.keep();
            self.blank();
            self.keep();
        } else {
            self.keep();
        }
    }
}

/// Whether `c` can be part of an identifier.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The lines (from 1) of `code` on which `word` is a whole word.
///
/// `word` may end in punctuation (`todo!`); then only its start must be a boundary.
pub(crate) fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let ends_in_word = word.ends_with(is_word);
    let mut lines = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let found = line.match_indices(word).any(|(at, _)| {
            let before = line[..at].chars().next_back().is_some_and(is_word);
            let after = line[at + word.len()..].chars().next().is_some_and(is_word);
            !(before || ends_in_word && after)
        });
        if found {
            lines.push(index + 1);
        }
    }
    lines
}

/// The first line (from 1) of the module `#[cfg(test)] mod …` at the end of a file, if there is one.
pub(crate) fn test_module_line(code: &str) -> Option<usize> {
    let lines: Vec<&str> = code.lines().map(str::trim).collect();
    (0..lines.len()).find_map(|i| {
        let next =
            lines.iter().skip(i + 1).find(|line| !line.is_empty() && !line.starts_with("#["));
        (lines[i] == "#[cfg(test)]" && next.is_some_and(|line| is_module(line))).then_some(i + 1)
    })
}

/// Whether a line declares a module, with or without a visibility.
fn is_module(line: &str) -> bool {
    let visible = line.strip_prefix("pub").map_or(line, |rest| {
        let rest =
            rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(rest, |r| r.1);
        rest.trim_start()
    });
    visible.starts_with("mod ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_comments_and_strings_are_not_code() {
        let source = "// unsafe\nlet a = \"unsafe\"; /* unsafe /* deep */ unsafe */ let b = 'u';\n\
                      let c = r#\"a \" unsafe\"#; let d = b\"unsafe\"; fn f<'a>(x: &'a str) {}";
        let scanned = scan(source);
        assert!(lines_with_word(&scanned.code, "unsafe").is_empty(), "{}", scanned.code);
        assert_eq!(scanned.literals.len(), 3);
        assert_eq!(scanned.literals[1].text, "a \" unsafe");
        assert!(scanned.code.contains("fn f<'a>(x: &'a str) {}"));
    }

    #[test]
    fn code_after_an_escaped_quote_is_still_code() {
        let scanned = scan("let q = '\\''; let s = \"\\\"\"; unsafe { }");
        assert_eq!(lines_with_word(&scanned.code, "unsafe"), [1]);
    }

    #[test]
    fn a_word_is_found_whole_and_with_its_line() {
        let code = "unsafe_code\nmy_unsafe\n  unsafe fn\ntodo!()\nnot_todo!()";
        assert_eq!(lines_with_word(code, "unsafe"), [3]);
        assert_eq!(lines_with_word(code, "todo!"), [4]);
    }

    #[test]
    fn the_test_module_is_found_and_a_lone_test_item_is_not() {
        assert_eq!(test_module_line("fn a() {}\n#[cfg(test)]\nmod tests {\n}"), Some(2));
        assert_eq!(test_module_line("#[cfg(test)]\npub(crate) mod tests {\n}"), Some(1));
        assert_eq!(test_module_line("#[cfg(test)]\nfn helper() {}"), None);
        assert_eq!(test_module_line("#[cfg(test)]\npub(crate) fn within(self) {}"), None);
    }
}
