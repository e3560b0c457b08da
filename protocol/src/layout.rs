//! Flat orders of values, defined once and generic over what a value is.
//!
//! A layout is a struct of cells. With `T = Fr` it is a row of values to be hashed or encoded; with
//! `T` = a circuit's variable it is the same row inside a circuit. So the order of a header's
//! fields or of public inputs exists in one place, and code names fields where it would otherwise
//! count them.

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

/// Declares a struct of cells, generic over `T`, whose order is the order of its fields.
macro_rules! layout {
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
