//! The parameters of each kernel, declared once.
//!
//! A declaration is a struct whose fields the host sets by name. The WGSL functions that read them are generated
//! from it: the field `len` of the entry point `fold` is `fold_len()` there. So a parameter that is missing or
//! has another name does not compile on either side, and neither side contains an offset.

use std::fmt::Write;

use rollmill_algebra::Fr;

/// Words of the uniform with the parameters.
pub(crate) const PARAMS_WORDS: usize = 64;
/// The word with the number of the first workgroup; see `params.wgsl`.
pub(crate) const FIRST_GROUP: usize = PARAMS_WORDS - 1;
/// Bytes of the uniform. Uniforms of adapters start at multiples of 256 bytes.
pub(crate) const PARAMS_BYTES: u64 = 4 * PARAMS_WORDS as u64;

/// The form of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Word,
    /// Words, read by their index.
    Words(usize),
    Element,
    /// Field elements, read by their index.
    Elements(usize),
}

impl Form {
    const fn words(self) -> usize {
        match self {
            Self::Word => 1,
            Self::Words(n) => n,
            Self::Element => 8,
            Self::Elements(n) => 8 * n,
        }
    }

    /// Elements start at a vector of four words.
    const fn align(self) -> usize {
        match self {
            Self::Word | Self::Words(_) => 1,
            Self::Element | Self::Elements(_) => 4,
        }
    }
}

/// A parameter: its name, and its form in memory.
type Field = (&'static str, Form);

/// The parameters of an entry point.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The entry point.
    pub(crate) entry: &'static str,
    pub(crate) fields: &'static [Field],
}

impl Declared {
    /// Words up to the field of that index, which is aligned. Word 0 is the count of threads.
    const fn offset(&self, index: usize) -> usize {
        let (mut at, mut i) = (1, 0);
        loop {
            if i == self.fields.len() {
                return at;
            }
            at = at.next_multiple_of(self.fields[i].1.align());
            if i == index {
                return at;
            }
            at += self.fields[i].1.words();
            i += 1;
        }
    }

    /// Words of all fields and the count.
    pub(crate) const fn len(&self) -> usize {
        self.offset(self.fields.len())
    }

    /// The WGSL functions that read the parameters.
    pub(crate) fn wgsl(&self) -> String {
        let entry = self.entry;
        let mut out = format!("fn {entry}_count() -> u32 {{ return param(0u); }}\n");
        for (index, (name, form)) in self.fields.iter().enumerate() {
            let at = self.offset(index);
            // Writing into text cannot fail.
            let _ = match form {
                Form::Word => {
                    writeln!(out, "fn {entry}_{name}() -> u32 {{ return param({at}u); }}")
                }
                Form::Words(_) => {
                    writeln!(out, "fn {entry}_{name}(i: u32) -> u32 {{ return param({at}u + i); }}")
                }
                Form::Element => writeln!(
                    out,
                    "fn {entry}_{name}() -> Element {{ return param_element({at}u); }}"
                ),
                Form::Elements(_) => writeln!(
                    out,
                    "fn {entry}_{name}(i: u32) -> Element {{ return param_element({at}u + 8u * i); }}"
                ),
            };
        }
        out
    }

    /// Whether a field element is among the parameters.
    pub(crate) fn has_elements(&self) -> bool {
        self.fields.iter().any(|(_, form)| matches!(form, Form::Element | Form::Elements(_)))
    }
}

/// A value that can be a parameter.
pub(crate) trait Value {
    const FORM: Form;
    fn put(&self, words: &mut [u32]);
}

impl Value for u32 {
    const FORM: Form = Form::Word;
    fn put(&self, words: &mut [u32]) {
        words[0] = *self;
    }
}

/// 1 for true, and 0.
impl Value for bool {
    const FORM: Form = Form::Word;
    fn put(&self, words: &mut [u32]) {
        words[0] = u32::from(*self);
    }
}

impl<const N: usize> Value for [u32; N] {
    const FORM: Form = Form::Words(N);
    fn put(&self, words: &mut [u32]) {
        words[..N].copy_from_slice(self);
    }
}

/// The Montgomery form, the lowest word first.
impl Value for Fr {
    const FORM: Form = Form::Element;
    fn put(&self, words: &mut [u32]) {
        for (pair, limb) in words.chunks_exact_mut(2).zip(self.0.0) {
            pair.copy_from_slice(&[limb as u32, (limb >> 32) as u32]);
        }
    }
}

impl<const N: usize> Value for [Fr; N] {
    const FORM: Form = Form::Elements(N);
    fn put(&self, words: &mut [u32]) {
        for (words, value) in words.chunks_exact_mut(8).zip(self) {
            value.put(words);
        }
    }
}

/// The parameters of one entry point with their values.
pub(crate) trait Params {
    const DECLARED: &'static Declared;

    /// The words of the uniform; word 0, the count, is left for the launch, and the last for its dispatches.
    fn words(&self) -> [u32; PARAMS_WORDS];
}

macro_rules! params {
    ($(
        $(#[$about:meta])*
        $entry:literal: $name:ident { $($(#[$field_about:meta])* $field:ident: $type:ty,)* }
    )*) => {
        $(
            $(#[$about])*
            #[derive(Debug, Clone, Copy)]
            pub(crate) struct $name {
                $($(#[$field_about])* pub(crate) $field: $type,)*
            }

            impl Params for $name {
                const DECLARED: &'static Declared = &Declared {
                    entry: $entry,
                    fields: &[$((stringify!($field), <$type as Value>::FORM),)*],
                };

                fn words(&self) -> [u32; PARAMS_WORDS] {
                    const { assert!(Self::DECLARED.len() <= FIRST_GROUP) };
                    #[allow(unused_mut)]
                    let mut words = [0; PARAMS_WORDS];
                    let values: &[&dyn Fn(&mut [u32])] =
                        &[$(&|words: &mut [u32]| self.$field.put(words),)*];
                    for (index, put) in values.iter().enumerate() {
                        put(&mut words[Self::DECLARED.offset(index)..]);
                    }
                    words
                }
            }
        )*
    };
}

params! {
    "product": Product {
        /// How often the second factor is multiplied.
        rounds: u32,
    }

    "sums": Sums {}

    "widen": Widen {}

    "combine": Combine {
        /// Number of sources, at most 4.
        sources: u32,
        /// Whether to add to what the output contains.
        accumulate: bool,
        /// Elements of each source.
        len: [u32; 4],
        factor: [Fr; 4],
    }

    "fold": Fold {
        /// Elements that a thread scans.
        segment: u32,
        /// Elements of the source.
        len: u32,
        /// `PRODUCT`, `SUM` or `HORNER`.
        mode: u32,
        /// Index of the total of the first segment.
        first_total: u32,
        /// Where `HORNER` evaluates.
        point: Fr,
    }

    "spread": Spread {
        /// Elements that a thread scans.
        segment: u32,
        /// Elements of the source.
        len: u32,
        /// `PRODUCT`, `SUM` or `HORNER`.
        mode: u32,
        /// Index of the start value of the first segment.
        first_start: u32,
        /// Where `HORNER` evaluates.
        point: Fr,
    }

    "invert": Invert {
        /// Elements of the source.
        len: u32,
    }

    "reorder": Reorder {
        log_n: u32,
        /// log2 of the elements of a buffer.
        log_buffer: u32,
        /// Number of the output buffer.
        to: u32,
        /// Number of the source buffer.
        from: u32,
        /// Whether to multiply by the powers in the table.
        scaled: bool,
        /// log2 of the fine part of the table.
        split: u32,
    }

    "scale": Scale {
        /// log2 of the fine part of the table.
        split: u32,
        /// Exponent of the first element.
        start: u32,
    }

    "pass_layers": PassLayers {
        log_n: u32,
        /// log2 of the fine part of the table.
        split: u32,
        /// First layer of the pass.
        first: u32,
        /// Layers of the pass, at most 8.
        bits: u32,
    }

    "across": Across {
        log_n: u32,
        /// log2 of the fine part of the table.
        split: u32,
        layer: u32,
        /// Index of the first element in the layer's half block.
        place: u32,
    }

    "widest": Widest {
        /// Which counter takes the result.
        slot: u32,
        /// Index of the first scalar.
        first_scalar: u32,
    }

    "digits": Digits {
        /// Bits of a window.
        c: u32,
        windows: u32,
        /// Whether to write entries, and not only to count them.
        write: bool,
        /// Index of the first scalar.
        first_scalar: u32,
        /// Whether a base may be the identity.
        identities: bool,
        /// 2^(c − 1) in every window.
        addend: [u32; 9],
    }

    "blocks": Blocks {
        /// Numbers that count; later ones are zero.
        numbers: u32,
        /// `VALUES`, `RUNS_OF` or `RUNS_BETWEEN`.
        mode: u32,
        /// Entries of a run.
        run: u32,
        /// Numbers to write.
        out_len: u32,
    }

    "carry_over": CarryOver {}

    "accumulate": Accumulate {
        buckets: u32,
        /// Entries of a run.
        run: u32,
    }

    "sum_runs": SumRuns {
        /// Buckets, for `GROUPS` only.
        buckets: u32,
        /// Points of a run.
        run: u32,
        /// Runs of a window, for `BUCKETS` and `RUNS`.
        runs: u32,
        /// `GROUPS`, `BUCKETS` or `RUNS`.
        arrangement: u32,
        /// Whether to compute weighted sums as well.
        weighted: bool,
        /// Points of a window, for `BUCKETS` and `RUNS`.
        points: u32,
        /// Points at the start of a window that are left out, for `BUCKETS` and `RUNS`.
        skip: u32,
    }

    "row_program": RowProgram {
        /// Cells of a column.
        stride: u32,
        /// Instructions of the program.
        instructions: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::LimbForm;
    use crate::kernel::Kernel;

    /// No two parameters share words, and all fit the uniform.
    #[test]
    fn parameters_do_not_overlap_and_fit_the_uniform() {
        for declared in Kernel::ALL.iter().map(|kernel| kernel.spec().params) {
            let mut end = 1;
            for (index, (name, form)) in declared.fields.iter().enumerate() {
                let at = declared.offset(index);
                assert!(at >= end && at % form.align() == 0, "{}_{name}", declared.entry);
                end = at + form.words();
            }
            assert!(end <= FIRST_GROUP, "{}", declared.entry);
        }
    }

    /// A parameter that no kernel reads shows that the host and the kernel disagree.
    #[test]
    fn every_declared_parameter_is_read_by_its_kernels_source() {
        for kernel in Kernel::ALL.iter().copied() {
            let spec = kernel.spec();
            let text = crate::source::assemble(&spec, LimbForm::U32).unwrap();
            for (name, _) in spec.params.fields {
                let call = format!("{}_{name}(", spec.params.entry);
                // Once where it is defined, and where it is read.
                assert!(text.matches(&call).count() > 1, "nothing reads {call})");
            }
        }
    }

    #[test]
    fn values_are_at_the_words_that_the_kernels_read() {
        let factor = [2u64, 3, 5, 7].map(Fr::from);
        let words = Combine { sources: 4, accumulate: true, len: [11, 12, 13, 14], factor }.words();
        let text = Combine::DECLARED.wgsl();
        for line in [
            "fn combine_sources() -> u32 { return param(1u); }",
            "fn combine_accumulate() -> u32 { return param(2u); }",
            "fn combine_len(i: u32) -> u32 { return param(3u + i); }",
            "fn combine_factor(i: u32) -> Element { return param_element(8u + 8u * i); }",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert_eq!(words[..7], [0, 4, 1, 11, 12, 13, 14]);
        for (i, factor) in factor.iter().enumerate() {
            let limbs = factor.0.0.map(|limb| [limb as u32, (limb >> 32) as u32]);
            assert_eq!(words[8 + 8 * i..16 + 8 * i], limbs.concat());
        }
    }
}
