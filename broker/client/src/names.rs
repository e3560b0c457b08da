//! Enums whose values have one name each: on the wire, in the database, in metrics and in help texts.

use std::fmt;

/// A value with a name. The name is what crosses the wire as JSON, what the database stores and
/// what people read.
pub trait Named: Copy + Eq + fmt::Debug + Send + Sync + 'static {
    /// What it is, in two or three words.
    const WHAT: &'static str;
    /// Every value, in the order of declaration.
    const VALUES: &'static [Self];

    /// Its name.
    fn name(self) -> &'static str;

    /// The value of that name.
    fn of_name(name: &str) -> Option<Self> {
        Self::VALUES.iter().copied().find(|value| value.name() == name)
    }
}

/// Declares enums with the name of each value. JSON, [`Named`], `ALL`, `as_str` and `parse` come from
/// the same list; the broker's tests compare the list with the CHECK constraints of its tables.
#[macro_export]
macro_rules! named {
    ($($(#[$meta:meta])* pub enum $type:ident is $what:literal {
        $($(#[$value_meta:meta])* $value:ident = $name:literal,)+
    })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$value_meta])* $value,)+
        }

        impl $type {
            /// Every value, in the order of declaration.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$value),+];

            /// Its name, the same on the wire, in the database and in metrics.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)+
                }
            }

            /// The value of that name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|value| value.as_str() == name)
            }
        }

        impl $crate::Named for $type {
            const WHAT: &'static str = $what;
            const VALUES: &'static [Self] = &Self::ALL;

            fn name(self) -> &'static str {
                self.as_str()
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&name).ok_or_else(|| {
                    let known = Self::ALL.map(Self::as_str).join(", ");
                    serde::de::Error::custom(format!("`{name}` is no {}: one of {known}", $what))
                })
            }
        }
    )+};
}
