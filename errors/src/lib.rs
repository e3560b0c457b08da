//! How an error carries its stable code and what a program does with it, and how any error becomes one line.
//!
//! Each error type of the workspace lists its codes once, in [`coded!`], from which [`Coded`] is implemented and
//! `docs/errors.md` generated. The messages stay with the variants, in thiserror's attributes:
//!
//! ```
//! use rollmill_errors::{Coded, Disposition, coded};
//!
//! #[derive(Debug, thiserror::Error)]
//! enum StoreError {
//!     #[error("{code}: there is no file {name}", code = self.code())]
//!     Missing { name: String },
//!     #[error("{code}: the disk is full", code = self.code())]
//!     Full,
//! }
//!
//! coded! {
//!     StoreError {
//!         Self::Missing { .. } => "STO-001" usage,
//!         Self::Full => "STO-002" retried,
//!     }
//! }
//!
//! let error = StoreError::Full;
//! assert_eq!((error.code(), error.disposition()), ("STO-002", Disposition::Retried));
//! assert_eq!(error.to_string(), "STO-002: the disk is full");
//! assert_eq!(rollmill_errors::Bare(&error).to_string(), "the disk is full");
//! ```

use std::error::Error;
use std::{fmt, io};

/// What a program does with an error, as far as its type says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// The type says nothing. A process that ends with the error exits with 1.
    Fails,
    /// A person must change the command line or a setting. A process that ends with the error exits with 2.
    Usage,
    /// The same call may succeed later without anybody changing anything: it is retried.
    Retried,
    /// No retry can help.
    Permanent,
}

/// An error with a stable code. Implement it with [`coded!`].
///
/// Its message begins with the code, a colon and a space, and shows no second code: the message of a cause that
/// is coded itself is quoted with [`Bare`].
pub trait Coded: Error {
    /// The stable code, as in `docs/errors.md`. Never reused.
    fn code(&self) -> &str;

    /// What a program does with the error.
    fn disposition(&self) -> Disposition;
}

/// Lists the codes of an error type, one arm per variant, and implements [`Coded`] for it. The type also gets
/// `code` as a method of its own, so that messages and callers need no import, and `own_codes`, which lists what a
/// figure with a label for the code starts with.
///
/// The value of an arm is one of
///
/// - `"ABC-001"`, or `"ABC-001" usage`, `"ABC-001" retried`, `"ABC-001" permanent` (see [`Disposition`]),
/// - `(error)`: code and disposition of an inner [`Coded`] error; a word after it replaces the disposition,
/// - `[code]`, or `[code] retried`: a code that is a value, such as one that a server answered.
#[macro_export]
macro_rules! coded {
    (@own $code:literal) => { Some($code) };
    (@own $code:tt) => { None };
    (@code $code:literal) => { $code };
    (@code ($error:expr)) => { $crate::Coded::code($error) };
    (@code [$code:expr]) => { $code };
    (@disposition $code:tt usage) => { $crate::Disposition::Usage };
    (@disposition $code:tt retried) => { $crate::Disposition::Retried };
    (@disposition $code:tt permanent) => { $crate::Disposition::Permanent };
    (@disposition ($error:expr)) => { $crate::Coded::disposition($error) };
    (@disposition $code:tt) => { $crate::Disposition::Fails };
    ($name:ident {
        $($pattern:pat $(if $guard:expr)? => $code:tt $($disposition:ident)?),+ $(,)?
    }) => {
        #[allow(dead_code, unreachable_pub)]
        impl $name {
            /// The stable code, as in `docs/errors.md`. Never reused.
            pub fn code(&self) -> &str {
                $crate::Coded::code(self)
            }

            /// The codes of the type's own, in the order of its table; those of inner errors and those that are values
            /// are left out.
            pub fn own_codes() -> impl Iterator<Item = &'static str> {
                let codes: &[Option<&'static str>] = &[$($crate::coded!(@own $code)),+];
                codes.iter().copied().flatten()
            }
        }

        #[allow(unused_variables)]
        impl $crate::Coded for $name {
            fn code(&self) -> &str {
                match self {
                    $($pattern $(if $guard)? => $crate::coded!(@code $code),)+
                }
            }

            fn disposition(&self) -> $crate::Disposition {
                match self {
                    $($pattern $(if $guard)? => $crate::coded!(@disposition $code $($disposition)?),)+
                }
            }
        }
    };
}

/// The message of a coded error without its code, to be quoted in the message of another.
#[derive(Debug, Clone, Copy)]
pub struct Bare<'a, E: ?Sized>(pub &'a E);

impl<E: Coded + ?Sized> fmt::Display for Bare<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let bare = text.strip_prefix(self.0.code()).and_then(|rest| rest.strip_prefix(": "));
        f.write_str(bare.unwrap_or(&text))
    }
}

/// The message of an I/O error without the number of the operating system: `No such file or directory`.
#[derive(Debug, Clone, Copy)]
pub struct InWords<'a>(pub &'a io::Error);

impl fmt::Display for InWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_os_numbers(&self.0.to_string()))
    }
}

/// `text` without each ` (os error N)`, which the standard library appends to a message.
fn without_os_numbers(text: &str) -> String {
    const START: &str = " (os error ";
    let mut parts = text.split(START);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.parse::<i32>().is_ok() => kept.push_str(rest),
            _ => {
                kept.push_str(START);
                kept.push_str(part);
            }
        }
    }
    kept
}

/// Whether a text begins with a stable code, such as `SVC-010: `.
pub fn is_coded(text: &str) -> bool {
    text.split_once(": ").is_some_and(|(code, _)| is_code(code))
}

/// Whether a text is a stable code, such as `SVC-010`.
pub fn is_code(text: &str) -> bool {
    let Some((letters, number)) = text.split_once('-') else { return false };
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
    (2..=4).contains(&letters.len())
        && letters.chars().all(is_name)
        && number.len() == 3
        && number.chars().all(|c| c.is_ascii_digit())
}

/// The error and its causes on one line, without repeating a cause its effect already quotes. The line
/// carries one code, that of the error itself: its causes are quoted without theirs, and I/O errors as
/// [`InWords`].
pub fn one_line(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let mut line = match text.split_once(": ") {
        Some((code, rest)) if is_code(code) => format!("{code}: {}", uncoded(rest)),
        _ => uncoded(&text),
    };
    let mut next = error.source();
    while let Some(cause) = next {
        let text = uncoded(&cause.to_string());
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        next = cause.source();
    }
    line
}

/// `text` on one line without the codes of errors that it quotes and without the numbers of I/O errors. Codes inside
/// double quotes, such as those in another program's last line, stay.
pub fn uncoded(text: &str) -> String {
    let mut is_quoted = false;
    let text = without_os_numbers(text);
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let is_of_a_cause = word.strip_suffix(':').is_some_and(is_code);
        if is_quoted || !is_of_a_cause {
            words.push(word);
        }
        is_quoted ^= word.matches('"').count() % 2 == 1;
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Inner {
        #[error("{code}: full", code = self.code())]
        Full,
        #[error("{answered}: {message}")]
        Answered { answered: String, message: String },
    }

    coded! {
        Inner {
            Self::Full => "ZZA-001" retried,
            Self::Answered { answered, .. } if answered == "BUSY" => [answered] retried,
            Self::Answered { answered, .. } => [answered],
        }
    }

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("{code}: not written: {}", Bare(.0), code = self.code())]
        Write(#[source] Inner),
        #[error(transparent)]
        Through(Inner),
        #[error(transparent)]
        Hopeless(Inner),
        #[error("{code}: bad name", code = self.code())]
        Name,
    }

    coded! {
        Outer {
            Self::Write(_) => "ZZB-001",
            Self::Through(error) => (error),
            Self::Hopeless(error) => (error) permanent,
            Self::Name => "ZZB-002" usage,
        }
    }

    fn answered(answered: &str) -> Inner {
        Inner::Answered { answered: answered.to_owned(), message: "no".to_owned() }
    }

    #[test]
    fn code_and_disposition_come_from_the_table_or_from_the_inner_error() {
        use Disposition::{Fails, Permanent, Retried, Usage};
        for (error, code, disposition) in [
            (Outer::Write(Inner::Full), "ZZB-001", Fails),
            (Outer::Through(Inner::Full), "ZZA-001", Retried),
            (Outer::Hopeless(Inner::Full), "ZZA-001", Permanent),
            (Outer::Through(answered("BUSY")), "BUSY", Retried),
            (Outer::Through(answered("NO-1")), "NO-1", Fails),
            (Outer::Name, "ZZB-002", Usage),
        ] {
            assert_eq!((error.code(), error.disposition()), (code, disposition), "{error}");
            let of_any: &dyn Coded = &error;
            assert_eq!(of_any.code(), code);
            assert!(error.to_string().starts_with(&format!("{code}: ")), "{error}");
        }
    }

    #[test]
    fn the_codes_of_a_type_are_those_that_its_table_has_literally() {
        assert_eq!(Inner::own_codes().collect::<Vec<_>>(), ["ZZA-001"]);
        assert_eq!(Outer::own_codes().collect::<Vec<_>>(), ["ZZB-001", "ZZB-002"]);
    }

    #[test]
    fn a_quoted_cause_brings_no_second_code() {
        let error = Outer::Write(Inner::Full);
        assert_eq!(error.to_string(), "ZZB-001: not written: full");
        assert_eq!(one_line(&error), "ZZB-001: not written: full");
        assert_eq!(Bare(&Outer::Through(answered("BRK-001"))).to_string(), "no");
    }

    #[test]
    fn an_io_error_is_shown_without_its_number() {
        let error = io::Error::from_raw_os_error(2);
        assert!(error.to_string().ends_with(" (os error 2)"), "{error}");
        let words = InWords(&error).to_string();
        assert_eq!(words, "No such file or directory");
        assert_eq!(one_line(&error), words);
        for (text, kept) in [
            ("a (os error 2); b (os error -13)", "a; b"),
            ("a (os error x) b", "a (os error x) b"),
            ("a (os error 2", "a (os error 2"),
        ] {
            assert_eq!(uncoded(text), kept);
        }
    }
}
