//! Descriptions of the structs on the wire, for pages and schemas.

use crate::rules::{Form, Rule};

/// A struct of requests or answers. Its JSON is an object.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Name of the type.
    pub name: &'static str,
    /// What it is; in Markdown, with links of rustdoc to constants.
    pub doc: &'static str,
    /// Whether it is part of requests: the broker rejects unknown fields of it.
    pub strict: bool,
    /// Its fields, in the order of declaration.
    pub fields: &'static [Field],
}

/// A field of a [`Shape`].
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name in JSON.
    pub name: &'static str,
    /// Its Rust type as text.
    pub kind: &'static str,
    /// What JSON it is.
    pub form: &'static Form,
    /// What it may be, beyond that.
    pub rules: &'static [Rule],
    /// Whether it has a default. A request can leave it out, and so it can one of type [`Option`].
    pub has_default: bool,
    /// What it holds; as [`Shape::doc`].
    pub doc: &'static str,
}

impl Field {
    /// Whether a request can leave it out.
    pub const fn is_optional(&self) -> bool {
        self.has_default || matches!(self.form, Form::Nullable(_))
    }
}

/// Declares the structs of requests and answers with the documentation of each field, which
/// `docs/http.md` repeats. A field without documentation does not compile.
///
/// The attribute `#[rule(…)]` of a field lists the [`Rule`]s that its value keeps. The broker checks them, and
/// `docs/openapi.json` states them.
macro_rules! wire {
    ($(
        $(#[doc = $doc:literal])+
        #[derive($($derive:ident),+)]
        $(#[serde($strict:ident)])?
        pub struct $type:ident {$(
            $(#[doc = $field_doc:literal])+
            $(#[rule($($rule:expr),+)])?
            $(#[serde($default:ident $(, skip_serializing_if = $skip:literal)?)])?
            pub $field:ident: $kind:ty,
        )+}
    )+) => {
        $(
            $(#[doc = $doc])+
            #[derive($($derive),+)]
            $(#[serde($strict)])?
            // What is derived becomes functions of the type's own, for the implementations below.
            #[serde(remote = "Self", expecting = "an object")]
            pub struct $type {$(
                $(#[doc = $field_doc])+
                $(#[serde($default $(, skip_serializing_if = $skip)?)])?
                pub $field: $kind,
            )+}

            impl serde::Serialize for $type {
                fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                    Self::serialize(self, to)
                }
            }

            impl<'de> serde::Deserialize<'de> for $type {
                fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                    Self::deserialize($crate::rules::ObjectOnly(from))
                }
            }

            impl $crate::rules::Described for $type {
                const FORM: &'static $crate::rules::Form =
                    &$crate::rules::Form::Shape(stringify!($type));

                fn check(&self, _: &$crate::rules::At) -> Result<(), $crate::rules::Violation> {
                    $({
                        const AT: $crate::rules::At = $crate::rules::At {
                            name: stringify!($field),
                            number: concat!("the number of `", stringify!($field), "`"),
                            rules: &[$($($rule),+)?],
                        };
                        $crate::rules::Described::check(&self.$field, &AT)?;
                    })+
                    Ok(())
                }
            }
        )+

        /// Every struct of this module.
        pub(crate) const SHAPES: &[$crate::shapes::Shape] = &[$(
            $crate::shapes::Shape {
                name: stringify!($type),
                doc: concat!($($doc),+),
                strict: wire!(@strict $($strict)?),
                fields: &[$($crate::shapes::Field {
                    name: stringify!($field),
                    kind: stringify!($kind),
                    form: <$kind as $crate::rules::Described>::FORM,
                    rules: &[$($($rule),+)?],
                    has_default: wire!(@default $($default)?),
                    doc: concat!($($field_doc),+),
                }),+],
            }
        ),+];
    };
    (@strict) => { false };
    (@strict deny_unknown_fields) => { true };
    (@default) => { false };
    (@default default) => { true };
}
pub(crate) use wire;
