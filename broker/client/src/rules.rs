//! What a value of the interface may be: one definition for the checks of the broker, for what it says about a wrong
//! value, and for the schemas of `docs/openapi.json`.
//!
//! A type says what JSON it is ([`Described::FORM`]). A field of a request can narrow that with rules, which stand
//! beside it in the tables of `wire!`.

use std::collections::BTreeMap;

use serde::de::{Deserializer, Visitor};
use serde_json::Value;

use crate::limits::FREE_JSON_BYTES_MAX;

/// The characters that a text may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Characters {
    /// Those of names: `A-Z a-z 0-9 . _ -`.
    Name,
    /// Those of names, without the dot.
    Undotted,
    /// Lower-case hexadecimal digits.
    Hex,
    /// Every one but control characters.
    Printable,
    /// Every one but NUL, which PostgreSQL cannot store.
    Storable,
}

impl Characters {
    /// Whether the character is one of them.
    pub fn has(self, character: char) -> bool {
        match self {
            Self::Name => character == '.' || Self::Undotted.has(character),
            Self::Undotted => character.is_ascii_alphanumeric() || matches!(character, '_' | '-'),
            Self::Hex => matches!(character, '0'..='9' | 'a'..='f'),
            Self::Printable => !character.is_control(),
            Self::Storable => character != '\0',
        }
    }

    /// The class of a regular expression, without its brackets.
    const fn class(self) -> &'static str {
        match self {
            Self::Name => "A-Za-z0-9._-",
            Self::Undotted => "A-Za-z0-9_-",
            Self::Hex => "0-9a-f",
            Self::Printable => r"^\u0000-\u001f\u007f-\u009f",
            Self::Storable => r"^\u0000",
        }
    }

    /// The same without the dot.
    const fn class_without_dot(self) -> &'static str {
        match self {
            Self::Name | Self::Undotted => Self::Undotted.class(),
            Self::Hex => Self::Hex.class(),
            Self::Printable => r"^.\u0000-\u001f\u007f-\u009f",
            Self::Storable => r"^.\u0000",
        }
    }

    const fn says(self) -> &'static str {
        match self {
            Self::Name => "of A-Z a-z 0-9 . _ -",
            Self::Undotted => "of A-Z a-z 0-9 _ -",
            Self::Hex => "of 0-9 a-f",
            Self::Printable => "without control characters",
            Self::Storable => "without NUL",
        }
    }
}

/// Longest text whose length the pattern of its schema states.
const COUNTED_MAX: usize = 256;

/// What a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its characters.
    pub characters: Characters,
    /// Fewest characters.
    pub min: usize,
    /// Most characters.
    pub max: usize,
    /// Whether one of them must be another than a dot.
    pub more_than_dots: bool,
    /// Texts that it may not be, since they stand for the broker itself.
    pub reserved: &'static [&'static str],
}

impl Text {
    /// A text of `min` to `max` of these characters.
    pub const fn new(characters: Characters, min: usize, max: usize) -> Self {
        Self { characters, min, max, more_than_dots: false, reserved: &[] }
    }

    /// The same, if it has another character than dots: a path loses parts that are only dots.
    pub const fn more_than_dots(self) -> Self {
        Self { more_than_dots: true, ..self }
    }

    /// The same, if it is none of these texts, which stand for the broker itself.
    pub const fn except(self, reserved: &'static [&'static str]) -> Self {
        Self { reserved, ..self }
    }

    /// Whether it may be this text.
    pub fn accepts(&self, text: &str) -> bool {
        (self.min..=self.max).contains(&text.chars().count())
            && text.chars().all(|character| self.characters.has(character))
            && !(self.more_than_dots && text.chars().all(|character| character == '.'))
            && !self.reserved.contains(&text)
    }

    /// The regular expression of its schema. Where that does not state the length, the schema does, as it does for texts
    /// that are reserved.
    pub fn pattern(&self) -> String {
        format!("^{}$", self.expression())
    }

    /// The same as a part of another one.
    pub(crate) fn expression(&self) -> String {
        let Self { characters, min, max, more_than_dots, .. } = *self;
        let class = characters.class();
        match more_than_dots {
            true => format!(r"\.*[{}][{class}]*", characters.class_without_dot()),
            false if max > COUNTED_MAX => format!("[{class}]*"),
            false => format!("[{class}]{{{min},{max}}}"),
        }
    }

    /// What it may be, after `has`.
    pub fn says(&self) -> String {
        let Self { characters, min, max, more_than_dots, reserved } = *self;
        let dots = if more_than_dots { " and more than dots" } else { "" };
        let others = match reserved.is_empty() {
            true => String::new(),
            false => {
                let names = reserved.join(", ");
                format!(", and is none of {names}, which stand for the broker itself")
            }
        };
        format!("{min} to {max} characters {}{dots}{others}", characters.says())
    }
}

/// A label of a job, and its value.
pub const LABEL: Text = Text::new(Characters::Printable, 0, 200);
/// A text that is kept, as a part of JSON of at most [`FREE_JSON_BYTES_MAX`] bytes.
pub const KEPT: Text = Text::new(Characters::Storable, 0, FREE_JSON_BYTES_MAX);

/// A label with its value as one text, `NAME=VALUE`.
///
/// # Errors
/// What is wrong with the text.
pub fn pair(text: &str) -> Result<(&str, &str), Violation> {
    let pair = text
        .split_once('=')
        .filter(|(name, value)| !name.is_empty() && LABEL.accepts(name) && LABEL.accepts(value));
    let most = LABEL.max;
    pair.ok_or_else(|| {
        Violation::Wrong(format!(
            "a label is NAME=VALUE, each of at most {most} characters without control characters"
        ))
    })
}

/// The regular expression of such a text.
pub fn pair_pattern() -> String {
    let most = LABEL.max;
    let control = r"\u0000-\u001f\u007f-\u009f";
    format!("^[^={control}]{{1,{most}}}=[^{control}]{{0,{most}}}$")
}

/// The regular expression, without anchors, of the decimal numbers from 0 to `max` without leading zeros.
pub(crate) fn decimals_up_to(max: u64) -> String {
    let digits = max.to_string();
    let length = digits.len();
    let mut forms = vec!["0".to_owned()];
    if length > 1 {
        forms.push(format!("[1-9][0-9]{{0,{}}}", length - 2));
    }
    // Of as many digits: equal up to a place, and smaller there.
    for (place, digit) in digits.bytes().enumerate() {
        let least = if place == 0 { b'1' } else { b'0' };
        if digit > least {
            let (equal, rest) = (&digits[..place], length - place - 1);
            let (least, below) = (char::from(least), char::from(digit - 1));
            let smaller =
                if least == below { least.to_string() } else { format!("[{least}-{below}]") };
            let any = if rest == 0 { String::new() } else { format!("[0-9]{{{rest}}}") };
            forms.push(format!("{equal}{smaller}{any}"));
        }
    }
    if max > 0 {
        forms.push(digits);
    }
    format!("({})", forms.join("|"))
}

/// A kind of string with a form of its own: an id or a name.
#[derive(Clone, Copy, Debug)]
pub struct Id {
    /// Name of its type.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Its regular expression.
    pub pattern: fn() -> String,
    /// Fewest and most characters.
    pub length: (usize, usize),
}

/// An enumeration whose values have names.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Name of its type.
    pub name: &'static str,
    /// What it is, in two or three words.
    pub what: &'static str,
    /// The names, in the order of declaration.
    pub names: &'static [&'static str],
}

/// What JSON a value is.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    Boolean,
    /// A number without a fraction, with its bounds and its format in OpenAPI.
    Whole {
        min: i64,
        max: u64,
        format: &'static str,
    },
    /// A number, with its format in OpenAPI.
    Number(&'static str),
    /// Any string.
    String,
    Id(Id),
    Names(Names),
    /// Or null.
    Nullable(&'static Form),
    List(&'static Form),
    /// An object with any names of fields.
    Map(&'static Form),
    /// An object: the [`crate::shapes::Shape`] of this name.
    Shape(&'static str),
    /// Any JSON of at most [`FREE_JSON_BYTES_MAX`] bytes, without NUL in its strings.
    Free,
}

/// What a field's value may be, beyond what its type says.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// A whole number from the first to the second.
    Within(u64, u64),
    /// A number from 0 to 1.
    Share,
    /// At most so many items or entries.
    AtMost(usize),
    /// A string of this kind; also each item of a list, and each key and each string of a map.
    Text(&'static Text),
    /// A label with its value, as [`pair`] reads it.
    Pair,
    /// A text that an earlier answer had. What it holds concerns the broker alone.
    Opaque,
    /// None of these names, which only the broker uses.
    Not(&'static [&'static str]),
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// It is larger than it may be.
    TooLarge {
        /// What of it is.
        what: &'static str,
        /// The largest that it may be.
        max: usize,
    },
    /// Anything else, in words.
    Wrong(String),
}

/// The field that a value is in.
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Its name.
    pub name: &'static str,
    /// What is too large where it has too many items.
    pub number: &'static str,
    /// Its rules.
    pub rules: &'static [Rule],
}

impl At {
    /// No field: a query or a body as a whole.
    pub const TOP: Self = Self { name: "it", number: "the number of items", rules: &[] };

    fn wrong(&self, says: impl std::fmt::Display) -> Violation {
        Violation::Wrong(format!("{} {says}", self.name))
    }

    fn check_whole(&self, number: u64) -> Result<(), Violation> {
        for rule in self.rules {
            if let Rule::Within(min, max) = rule
                && !(*min..=*max).contains(&number)
            {
                return Err(self.wrong(format!("is {number}; it is {min} to {max}")));
            }
        }
        Ok(())
    }

    fn check_number(&self, number: f64) -> Result<(), Violation> {
        for rule in self.rules {
            if matches!(rule, Rule::Share) && !(0.0..=1.0).contains(&number) {
                return Err(self.wrong("lies between 0 and 1"));
            }
        }
        Ok(())
    }

    fn check_text(&self, text: &str) -> Result<(), Violation> {
        for rule in self.rules {
            match rule {
                Rule::Text(wanted) if !wanted.accepts(text) => {
                    return Err(self.wrong(format!("has {}", wanted.says())));
                }
                Rule::Pair => {
                    pair(text)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn check_length(&self, length: usize) -> Result<(), Violation> {
        for rule in self.rules {
            if let Rule::AtMost(max) = rule
                && length > *max
            {
                return Err(Violation::TooLarge { what: self.number, max: *max });
            }
        }
        Ok(())
    }

    /// For the enumerations of `named!`.
    #[doc(hidden)]
    pub fn check_name(&self, what: &str, name: &str) -> Result<(), Violation> {
        for rule in self.rules {
            if let Rule::Not(names) = rule
                && names.contains(&name)
            {
                return Err(Violation::Wrong(format!("only the broker sets the {what} `{name}`")));
            }
        }
        Ok(())
    }
}

/// A type of the interface.
pub trait Described {
    /// What JSON it is.
    const FORM: &'static Form;

    /// Checks it against the rules of its field, and what it holds against those of its own fields.
    ///
    /// # Errors
    /// What is wrong first.
    fn check(&self, at: &At) -> Result<(), Violation>;
}

impl Described for bool {
    const FORM: &'static Form = &Form::Boolean;

    fn check(&self, _: &At) -> Result<(), Violation> {
        Ok(())
    }
}

impl Described for u32 {
    const FORM: &'static Form = &Form::Whole { min: 0, max: Self::MAX as u64, format: "uint32" };

    fn check(&self, at: &At) -> Result<(), Violation> {
        at.check_whole(u64::from(*self))
    }
}

impl Described for u64 {
    const FORM: &'static Form = &Form::Whole { min: 0, max: Self::MAX, format: "uint64" };

    fn check(&self, at: &At) -> Result<(), Violation> {
        at.check_whole(*self)
    }
}

impl Described for i64 {
    const FORM: &'static Form =
        &Form::Whole { min: Self::MIN, max: Self::MAX as u64, format: "int64" };

    fn check(&self, _: &At) -> Result<(), Violation> {
        Ok(())
    }
}

impl Described for f32 {
    const FORM: &'static Form = &Form::Number("float");

    fn check(&self, at: &At) -> Result<(), Violation> {
        at.check_number(f64::from(*self))
    }
}

impl Described for f64 {
    const FORM: &'static Form = &Form::Number("double");

    fn check(&self, at: &At) -> Result<(), Violation> {
        at.check_number(*self)
    }
}

impl Described for String {
    const FORM: &'static Form = &Form::String;

    fn check(&self, at: &At) -> Result<(), Violation> {
        at.check_text(self)
    }
}

impl<T: Described> Described for Option<T> {
    const FORM: &'static Form = &Form::Nullable(T::FORM);

    fn check(&self, at: &At) -> Result<(), Violation> {
        self.as_ref().map_or(Ok(()), |value| value.check(at))
    }
}

impl<T: Described> Described for Vec<T> {
    const FORM: &'static Form = &Form::List(T::FORM);

    fn check(&self, at: &At) -> Result<(), Violation> {
        at.check_length(self.len())?;
        self.iter().try_for_each(|item| item.check(at))
    }
}

impl<T: Described> Described for BTreeMap<String, T> {
    const FORM: &'static Form = &Form::Map(T::FORM);

    fn check(&self, at: &At) -> Result<(), Violation> {
        at.check_length(self.len())?;
        self.iter().try_for_each(|(name, value)| {
            name.check(at)?;
            value.check(at)
        })
    }
}

impl Described for Value {
    const FORM: &'static Form = &Form::Free;

    fn check(&self, _: &At) -> Result<(), Violation> {
        if self.to_string().len() > FREE_JSON_BYTES_MAX {
            return Err(Violation::TooLarge {
                what: "the JSON of `info` or `stats`, in bytes,",
                max: FREE_JSON_BYTES_MAX,
            });
        }
        match has_nul(self) {
            true => Err(Violation::Wrong("`info` and `stats` hold no NUL character".to_owned())),
            false => Ok(()),
        }
    }
}

/// Whether a string in the value has a NUL. The value comes from text of at most 128 levels.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => {
            fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Reads a struct from an object and from nothing else: what serde derives takes an array of the fields as well, in
/// their order.
#[derive(Debug)]
pub struct ObjectOnly<D>(pub D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ObjectOnly<D> {
    type Error = D::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Text = Text::new(Characters::Name, 1, 60);

    #[test]
    fn a_text_is_what_its_characters_and_length_say() {
        for (text, wanted, accepted) in [
            ("", NAME, false),
            ("a.b_c-9", NAME, true),
            ("a b", NAME, false),
            ("..", NAME, true),
            ("..", NAME.more_than_dots(), false),
            (".a", NAME.more_than_dots(), true),
            ("broker", NAME, true),
            ("broker", NAME.except(&["me", "broker"]), false),
            ("brokers", NAME.except(&["me", "broker"]), true),
            ("a.b", Text::new(Characters::Undotted, 1, 60), false),
            // Characters are counted, and not bytes.
            (&"é".repeat(200), LABEL, true),
            (&"é".repeat(201), LABEL, false),
            ("a\u{9f}", LABEL, false),
            ("a\nb", KEPT, true),
            ("a\0b", KEPT, false),
        ] {
            assert_eq!(wanted.accepts(text), accepted, "{text:?}: {}", wanted.says());
        }
        assert_eq!(NAME.pattern(), "^[A-Za-z0-9._-]{1,60}$");
        assert_eq!(NAME.more_than_dots().pattern(), r"^\.*[A-Za-z0-9_-][A-Za-z0-9._-]*$");
        assert_eq!(KEPT.pattern(), r"^[^\u0000]*$");
    }

    #[test]
    fn a_label_with_its_value_has_a_name() {
        assert_eq!(pair("rollup=0x1=2"), Ok(("rollup", "0x1=2")));
        assert_eq!(pair("rollup="), Ok(("rollup", "")));
        for wrong in ["", "=", "rollup", "=x", "a=\0", "a\n=b"] {
            assert!(pair(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_expression_of_numbers_names_each_place_that_may_be_smaller() {
        assert_eq!(decimals_up_to(0), "(0)");
        assert_eq!(decimals_up_to(7), "(0|[1-6]|7)");
        assert_eq!(decimals_up_to(205), "(0|[1-9][0-9]{0,1}|1[0-9]{2}|20[0-4]|205)");
    }

    #[test]
    fn free_json_has_no_nul_at_any_depth() {
        let at = At::TOP;
        let free = |text: &str| serde_json::from_str::<Value>(text).unwrap().check(&at);
        assert_eq!(free(r#"{"a":["\\u0000",1.5,null]}"#), Ok(()));
        assert!(free(r#"{"a":["\u0000"]}"#).is_err());
        assert!(free(r#"{"a\u0000":1}"#).is_err());
        let long = Value::from("x".repeat(FREE_JSON_BYTES_MAX));
        assert!(matches!(long.check(&at), Err(Violation::TooLarge { .. })));
    }
}
