//! Descriptions of the structs on the wire, for pages.

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
    /// Whether it has a default. A request can leave it out, and so it can one of type [`Option`].
    pub has_default: bool,
    /// What it holds; as [`Shape::doc`].
    pub doc: &'static str,
}

/// Declares the structs of requests and answers with the documentation of each field, which
/// `docs/http.md` repeats. A field without documentation does not compile.
macro_rules! wire {
    ($(
        $(#[doc = $doc:literal])+
        #[derive($($derive:ident),+)]
        $(#[serde($strict:ident)])?
        pub struct $type:ident {$(
            $(#[doc = $field_doc:literal])+
            $(#[serde($default:ident $(, skip_serializing_if = $skip:literal)?)])?
            pub $field:ident: $kind:ty,
        )+}
    )+) => {
        $(
            $(#[doc = $doc])+
            #[derive($($derive),+)]
            $(#[serde($strict)])?
            #[serde(expecting = "an object")]
            pub struct $type {$(
                $(#[doc = $field_doc])+
                $(#[serde($default $(, skip_serializing_if = $skip)?)])?
                pub $field: $kind,
            )+}
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
