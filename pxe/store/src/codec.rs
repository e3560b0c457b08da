//! The bytes of keys and values: one encoding of each value, and nothing may follow it.

use rollmill_protocol::Fr;
use rollmill_protocol::field::{from_bytes, to_bytes};
use zeroize::Zeroizing;

/// What is left to read.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::read(self)?).ok()
    }
}

/// A part of a key or of a value.
pub(crate) trait Code: Sized {
    /// Bytes that [`Self::write`] appends.
    fn size(&self) -> usize;
    fn write(&self, out: &mut Vec<u8>);
    fn read(from: &mut Reader<'_>) -> Option<Self>;

    /// Bytes of values one after the other.
    fn size_all(items: &[Self]) -> usize {
        items.iter().map(Self::size).sum()
    }

    /// Writes values one after the other. Bytes have a faster way.
    fn write_all(items: &[Self], out: &mut Vec<u8>) {
        items.iter().for_each(|item| item.write(out));
    }

    /// Reads values one after the other.
    fn read_all(from: &mut Reader<'_>, count: usize) -> Option<Vec<Self>> {
        (0..count).map(|_| Self::read(from)).collect()
    }
}

/// The bytes of a value. They are wiped, since the value may be a secret.
pub(crate) fn encode<T: Code>(value: &T) -> Zeroizing<Vec<u8>> {
    // At its final capacity, so that no copy is left behind when it grows.
    let mut out = Zeroizing::new(Vec::with_capacity(value.size()));
    value.write(&mut out);
    out
}

/// The value of these bytes; `None` when they are another's, or more.
pub(crate) fn decode<T: Code>(bytes: &[u8]) -> Option<T> {
    let mut reader = Reader { rest: bytes };
    let value = T::read(&mut reader)?;
    reader.rest.is_empty().then_some(value)
}

impl Code for u8 {
    fn size(&self) -> usize {
        1
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.take(1)?.first().copied()
    }

    fn size_all(items: &[Self]) -> usize {
        items.len()
    }

    fn write_all(items: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(items);
    }

    fn read_all(from: &mut Reader<'_>, count: usize) -> Option<Vec<Self>> {
        Some(from.take(count)?.to_vec())
    }
}

impl Code for u32 {
    fn size(&self) -> usize {
        4
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.take(4)?.first_chunk::<4>().map(|word| Self::from_be_bytes(*word))
    }
}

impl Code for u64 {
    fn size(&self) -> usize {
        8
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.take(8)?.first_chunk::<8>().map(|word| Self::from_be_bytes(*word))
    }
}

impl Code for bool {
    fn size(&self) -> usize {
        1
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        match from.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }
}

impl<const N: usize> Code for [u8; N] {
    fn size(&self) -> usize {
        N
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from.take(N)?.first_chunk::<N>().copied()
    }
}

impl Code for Fr {
    fn size(&self) -> usize {
        32
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&to_bytes(self));
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        from_bytes(from.take(32)?.first_chunk::<32>()?)
    }
}

impl Code for String {
    fn size(&self) -> usize {
        4 + self.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        (self.len() as u32).write(out);
        out.extend_from_slice(self.as_bytes());
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let length = from.length()?;
        Self::from_utf8(from.take(length)?.to_vec()).ok()
    }
}

impl<T: Code> Code for Option<T> {
    fn size(&self) -> usize {
        1 + self.as_ref().map_or(0, T::size)
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        match bool::read(from)? {
            true => T::read(from).map(Some),
            false => Some(None),
        }
    }
}

impl<T: Code> Code for Vec<T> {
    fn size(&self) -> usize {
        4 + T::size_all(self)
    }

    fn write(&self, out: &mut Vec<u8>) {
        (self.len() as u32).write(out);
        T::write_all(self, out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let count = from.length()?;
        T::read_all(from, count)
    }
}

impl<A: Code, B: Code> Code for (A, B) {
    fn size(&self) -> usize {
        self.0.size() + self.1.size()
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::read(from)?, B::read(from)?))
    }
}

impl<A: Code, B: Code, C: Code> Code for (A, B, C) {
    fn size(&self) -> usize {
        self.0.size() + self.1.size() + self.2.size()
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
        self.2.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::read(from)?, B::read(from)?, C::read(from)?))
    }
}

impl<A: Code, B: Code, C: Code, D: Code> Code for (A, B, C, D) {
    fn size(&self) -> usize {
        self.0.size() + self.1.size() + self.2.size() + self.3.size()
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
        self.2.write(out);
        self.3.write(out);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some((A::read(from)?, B::read(from)?, C::read(from)?, D::read(from)?))
    }
}

/// Declares a struct whose encoding is that of its fields in order.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $visible:vis struct $name:ident {
            $($(#[$doc:meta])* $field_visible:vis $field:ident: $type:ty,)+
        }
    ) => {
        $(#[$meta])*
        $visible struct $name {
            $($(#[$doc])* $field_visible $field: $type,)+
        }

        impl $crate::codec::Code for $name {
            fn size(&self) -> usize {
                [$($crate::codec::Code::size(&self.$field)),+].into_iter().sum()
            }

            fn write(&self, out: &mut Vec<u8>) {
                $($crate::codec::Code::write(&self.$field, out);)+
            }

            fn read(from: &mut $crate::codec::Reader<'_>) -> Option<Self> {
                $(let $field = <$type as $crate::codec::Code>::read(from)?;)+
                Some(Self { $($field),+ })
            }
        }
    };
}
pub(crate) use record;

#[cfg(test)]
mod tests {
    use super::*;

    record! {
        #[derive(Debug, PartialEq)]
        struct Sample {
            number: u64,
            words: Vec<Fr>,
            name: String,
            last: Option<(u32, bool)>,
        }
    }

    #[test]
    fn a_value_has_one_encoding_and_nothing_may_follow_or_lack() {
        let sample = Sample {
            number: 7,
            words: vec![Fr::from(1u64), Fr::from(2u64)],
            name: "é".to_owned(),
            last: Some((9, true)),
        };
        let bytes = encode(&sample);
        assert_eq!(bytes.len(), sample.size());
        assert_eq!(decode::<Sample>(&bytes), Some(sample));
        for cut in 0..bytes.len() {
            assert_eq!(decode::<Sample>(&bytes[..cut]), None, "cut at {cut}");
        }
        let more = [&bytes[..], &[0]].concat();
        assert_eq!(decode::<Sample>(&more), None);
        assert_eq!(decode::<bool>(&[2]), None);
        assert_eq!(decode::<Fr>(&[0xff; 32]), None);
        assert_eq!(decode::<String>(&[0, 0, 0, 1, 0xff]), None);
        // A length that no bytes follow ends at once.
        assert_eq!(decode::<Vec<Fr>>(&[0xff; 4]), None);
    }

    /// A value that notices when what it is written to must grow, and so leaves a copy behind.
    struct Secret;

    impl Code for Secret {
        fn size(&self) -> usize {
            100
        }

        fn write(&self, out: &mut Vec<u8>) {
            let capacity = out.capacity();
            out.extend_from_slice(&[7; 100]);
            assert_eq!(out.capacity(), capacity, "it grew");
        }

        fn read(from: &mut Reader<'_>) -> Option<Self> {
            from.take(100).map(|_| Self)
        }
    }

    #[test]
    fn bytes_of_secrets_are_written_to_one_place() {
        let bytes = encode(&(7u64, vec![Secret, Secret], Some(Secret)));
        assert_eq!(bytes.len(), 8 + 4 + 200 + 1 + 100);
        assert!(decode::<(u64, Vec<Secret>, Option<Secret>)>(&bytes).is_some());
    }
}
