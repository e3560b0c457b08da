//! Rows of values in a fixed order, each declared once.
//!
//! [`layout!`] takes one list of fields with their types and makes two structs of it: the typed one, and
//! a row of cells that is generic over what a cell is. With `T = Fr` the row is what is hashed or
//! encoded; with `T` = a circuit's variable it is the same row inside a circuit; with `T = usize` it
//! holds each cell's own index. Both conversions follow from the types ([`Encode`]), so the order of a
//! header's fields or of public inputs, and the range of each, exist in one place.

use rollmill_algebra::Fr;

use crate::codec::DecodeError;
use crate::field::{self, EthAddress};

/// A fixed number of cells in a fixed order.
pub trait Cells<T>: Sized {
    /// Number of cells.
    const LEN: usize;
    /// Appends the cells in order.
    fn put(self, out: &mut Vec<T>);
    /// Takes the cells in order; `None` when `from` ends early.
    fn take(from: &mut impl Iterator<Item = T>) -> Option<Self>;
    /// Appends the cells' names in order, each a path from `prefix`.
    fn names(prefix: &str, out: &mut Vec<String>);
}

impl<T> Cells<T> for T {
    const LEN: usize = 1;
    fn put(self, out: &mut Vec<T>) {
        out.push(self);
    }
    fn take(from: &mut impl Iterator<Item = T>) -> Option<Self> {
        from.next()
    }
    fn names(prefix: &str, out: &mut Vec<String>) {
        out.push(prefix.to_owned());
    }
}

impl<T, const N: usize> Cells<T> for [T; N] {
    const LEN: usize = N;
    fn put(self, out: &mut Vec<T>) {
        out.extend(self);
    }
    fn take(from: &mut impl Iterator<Item = T>) -> Option<Self> {
        let cells: Vec<T> = from.take(N).collect();
        cells.try_into().ok()
    }
    fn names(prefix: &str, out: &mut Vec<String>) {
        out.extend((0..N).map(|i| format!("{prefix}.{i}")));
    }
}

/// The name of `field` below `prefix`.
pub fn nested(prefix: &str, field: &str) -> String {
    if prefix.is_empty() { field.to_owned() } else { format!("{prefix}.{field}") }
}

/// The values that a cell may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Every element of the scalar field.
    Field,
    /// Integers below 2 to the power of this.
    Bits(u32),
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Field => f.write_str("field element"),
            Self::Bits(bits) => write!(f, "integer below 2^{bits}"),
        }
    }
}

/// One cell of a layout, described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellInfo {
    /// Path of fields, such as `state.tx_state.note_root`.
    pub name: String,
    /// What the strict decoder accepts.
    pub range: Range,
    /// The field's documentation.
    pub doc: &'static str,
}

/// A type that a field of a layout may have.
pub trait Encode: Sized {
    /// The cells that hold a value: one, an array, or another layout.
    type Row<T>: Cells<T>;
    /// Index of the cell with which a pair starts, if the type has one.
    const PAIR_AT: Option<usize> = None;
    /// The cells of this value.
    fn cells(&self) -> Self::Row<Fr>;
    /// The value of these cells; `what` names it in errors.
    ///
    /// # Errors
    /// When a cell is outside its range, or the cells together are not what the type requires.
    fn decode(what: &'static str, cells: &Self::Row<Fr>) -> Result<Self, DecodeError>;
    /// Appends range and documentation of each cell in order; `doc` is that of the field.
    fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>);
}

impl Encode for Fr {
    type Row<T> = T;
    fn cells(&self) -> Fr {
        *self
    }
    fn decode(_: &'static str, cell: &Fr) -> Result<Self, DecodeError> {
        Ok(*cell)
    }
    fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>) {
        out.push((Range::Field, doc));
    }
}

impl<const N: usize> Encode for [Fr; N] {
    type Row<T> = [T; N];
    fn cells(&self) -> [Fr; N] {
        *self
    }
    fn decode(_: &'static str, cells: &[Fr; N]) -> Result<Self, DecodeError> {
        Ok(*cells)
    }
    fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>) {
        out.extend([(Range::Field, doc); N]);
    }
}

impl Encode for u64 {
    type Row<T> = T;
    fn cells(&self) -> Fr {
        (*self).into()
    }
    fn decode(what: &'static str, cell: &Fr) -> Result<Self, DecodeError> {
        field::to_u64(what, cell)
    }
    fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>) {
        out.push((Range::Bits(u64::BITS), doc));
    }
}

/// A `u64` of which a cell accepts only this many bits: `as BITS` behind the type of a field.
#[derive(Debug)]
pub struct Bits<const BITS: u32>;

impl<const BITS: u32> Bits<BITS> {
    /// The cell of a value, which is within the bits in every decoded struct.
    pub fn cells(value: &u64) -> Fr {
        (*value).into()
    }

    /// The value of a cell.
    ///
    /// # Errors
    /// When it has more bits.
    pub fn decode(what: &'static str, cell: &Fr) -> Result<u64, DecodeError> {
        field::to_bits(what, cell, BITS)
    }

    /// As [`Encode::describe`].
    pub fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>) {
        out.push((Range::Bits(BITS), doc));
    }
}

impl Encode for u128 {
    type Row<T> = T;
    fn cells(&self) -> Fr {
        (*self).into()
    }
    fn decode(what: &'static str, cell: &Fr) -> Result<Self, DecodeError> {
        field::to_u128(what, cell)
    }
    fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>) {
        out.push((Range::Bits(u128::BITS), doc));
    }
}

impl Encode for EthAddress {
    type Row<T> = T;
    fn cells(&self) -> Fr {
        self.to_field()
    }
    fn decode(what: &'static str, cell: &Fr) -> Result<Self, DecodeError> {
        Self::from_field(what, cell)
    }
    fn describe(doc: &'static str, out: &mut Vec<(Range, &'static str)>) {
        out.push((Range::Bits(Self::BITS), doc));
    }
}

/// Declares a layout.
///
/// `struct Name as NameLayout, "name in errors"` with typed fields makes both structs, [`Encode`] for the
/// typed one, and its conversions; `checked by f` adds `Self::f` to what the decoder requires. `u64 as 48`
/// is a `u64` whose cell has 48 bits. Every field has a doc comment. `struct NameLayout<T>` alone makes a
/// row of cells whose typed twin is made by hand.
macro_rules! layout {
    (@cells $value:expr, $ty:ty) => { $crate::layout::Encode::cells(&$value) };
    (@cells $value:expr, $ty:ty, $bits:literal) => { $crate::layout::Bits::<$bits>::cells(&$value) };
    (@decode $what:expr, $cell:expr, $ty:ty) => {
        <$ty as $crate::layout::Encode>::decode($what, &$cell)
    };
    (@decode $what:expr, $cell:expr, $ty:ty, $bits:literal) => {
        $crate::layout::Bits::<$bits>::decode($what, &$cell)
    };
    (@describe $doc:expr, $out:expr, $ty:ty) => {
        <$ty as $crate::layout::Encode>::describe($doc, $out)
    };
    (@describe $doc:expr, $out:expr, $ty:ty, $bits:literal) => {
        $crate::layout::Bits::<$bits>::describe($doc, $out)
    };

    (
        $(#[$meta:meta])*
        pub struct $name:ident as $layout:ident, $what:literal $(, checked by $check:ident)? {
            $($(#[doc = $doc:literal])+ pub $field:ident: $ty:ty $(as $bits:literal)?),* $(,)?
        }
    ) => {
        $(#[$meta])*
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $ty),*
        }

        $crate::layout::layout! {
            #[doc = concat!("The cells of [`", stringify!($name), "`] in order.")]
            pub struct $layout<T> {
                $($(#[doc = $doc])+ pub $field: <$ty as $crate::layout::Encode>::Row<T>),*
            }
        }

        impl $name {
            /// Number of field elements.
            pub const FIELDS: usize = $layout::<rollmill_algebra::Fr>::CELLS;

            /// The field elements by name.
            pub fn layout(&self) -> $layout<rollmill_algebra::Fr> {
                $layout {
                    $($field: $crate::layout::layout!(@cells self.$field, $ty $(, $bits)?)),*
                }
            }

            /// The value of these field elements.
            ///
            /// # Errors
            /// When one is outside the range of its type, or together they are not what the type requires.
            pub fn from_layout(
                cells: &$layout<rollmill_algebra::Fr>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let value = Self {
                    $($field: $crate::layout::layout!(
                        @decode stringify!($field), cells.$field, $ty $(, $bits)?)?),*
                };
                $(value.$check()?;)?
                Ok(value)
            }

            /// The field elements in order.
            pub fn to_fields(&self) -> Vec<rollmill_algebra::Fr> {
                self.layout().into_vec()
            }

            /// The value of exactly these field elements.
            ///
            /// # Errors
            /// As [`Self::from_layout`], and when there are not [`Self::FIELDS`].
            pub fn from_fields(
                fields: &[rollmill_algebra::Fr],
            ) -> Result<Self, $crate::codec::DecodeError> {
                let cells = $layout::from_slice(fields).ok_or(
                    $crate::codec::DecodeError::Length {
                        what: $what,
                        expected: Self::FIELDS,
                        got: fields.len(),
                    })?;
                Self::from_layout(&cells)
            }

            /// Name, range and documentation of each field element in order.
            pub fn cell_infos() -> Vec<$crate::layout::CellInfo> {
                let mut described = Vec::with_capacity(Self::FIELDS);
                <Self as $crate::layout::Encode>::describe("", &mut described);
                $layout::<rollmill_algebra::Fr>::cell_names()
                    .into_iter()
                    .zip(described)
                    .map(|(name, (range, doc))| $crate::layout::CellInfo { name, range, doc })
                    .collect()
            }
        }

        impl $crate::layout::Encode for $name {
            type Row<T> = $layout<T>;
            const PAIR_AT: Option<usize> = {
                let mut cells = 0;
                let mut found = None;
                $(
                    if let Some(at) = <$ty as $crate::layout::Encode>::PAIR_AT {
                        found = Some(cells + at);
                    }
                    cells += <<$ty as $crate::layout::Encode>::Row<rollmill_algebra::Fr>
                        as $crate::layout::Cells<rollmill_algebra::Fr>>::LEN;
                )*
                assert!(cells == Self::FIELDS);
                found
            };
            fn cells(&self) -> $layout<rollmill_algebra::Fr> {
                self.layout()
            }
            fn decode(
                _: &'static str,
                cells: &$layout<rollmill_algebra::Fr>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                Self::from_layout(cells)
            }
            fn describe(_: &'static str, out: &mut Vec<($crate::layout::Range, &'static str)>) {
                $($crate::layout::layout!(
                    @describe concat!($($doc),+).trim_ascii(), out, $ty $(, $bits)?);)*
            }
        }
    };

    ($(#[$meta:meta])* pub struct $name:ident<T> {
        $($(#[$field_meta:meta])* pub $field:ident: $ty:ty),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name<T> {
            $($(#[$field_meta])* pub $field: $ty),*
        }

        impl<T> $crate::layout::Cells<T> for $name<T> {
            const LEN: usize = 0 $(+ <$ty as $crate::layout::Cells<T>>::LEN)*;
            fn put(self, out: &mut Vec<T>) {
                $($crate::layout::Cells::<T>::put(self.$field, out);)*
            }
            fn take(from: &mut impl Iterator<Item = T>) -> Option<Self> {
                Some(Self { $($field: <$ty as $crate::layout::Cells<T>>::take(from)?),* })
            }
            fn names(prefix: &str, out: &mut Vec<String>) {
                $(<$ty as $crate::layout::Cells<T>>::names(
                    &$crate::layout::nested(prefix, stringify!($field)), out);)*
            }
        }

        impl<T> $name<T> {
            /// Number of cells.
            pub const CELLS: usize = <Self as $crate::layout::Cells<T>>::LEN;

            /// The cells in order.
            pub fn into_vec(self) -> Vec<T> {
                let mut out = Vec::with_capacity(Self::CELLS);
                $crate::layout::Cells::<T>::put(self, &mut out);
                out
            }

            /// The cells in order, copied.
            pub fn to_vec(&self) -> Vec<T> where T: Clone {
                self.clone().into_vec()
            }

            /// The struct of exactly these cells; `None` when their number is not [`Self::CELLS`].
            pub fn from_slice(cells: &[T]) -> Option<Self> where T: Clone {
                if cells.len() != Self::CELLS {
                    return None;
                }
                <Self as $crate::layout::Cells<T>>::take(&mut cells.iter().cloned())
            }

            /// The same row with each cell replaced by `f(cell)`, in order.
            pub fn map<U>(self, f: impl FnMut(T) -> U) -> $name<U> {
                let cells = self.into_vec().into_iter();
                <$name<U> as $crate::layout::Cells<U>>::take(&mut cells.map(f))
                    .expect("both rows have one length")
            }

            /// The row whose cells are their own indices.
            pub fn indices() -> $name<usize> {
                <$name<usize> as $crate::layout::Cells<usize>>::take(&mut (0..))
                    .expect("there is an index for each cell")
            }

            /// Names of the cells in order, nested ones as `outer.inner`.
            pub fn cell_names() -> Vec<String> {
                let mut out = Vec::with_capacity(Self::CELLS);
                <Self as $crate::layout::Cells<T>>::names("", &mut out);
                out
            }
        }
    };
}
pub(crate) use layout;
