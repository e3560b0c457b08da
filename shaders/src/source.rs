//! WGSL sources and how they are joined.
//!
//! A line `#import name` is replaced by the source of that name, which is inserted once, before the rest.
//! Three names are generated: `words` is the form of limbs that the adapter uses; `fr` and `fq` are the
//! constants of arkworks, so that they cannot differ from the CPU's. `params` is followed by the functions
//! that read the parameters of the source's entry points ([`crate::params`]) and by the numbers that host
//! and kernels share.

use std::fmt::Write;

use ark_ff::{BigInt, PrimeField};
use rollmill_algebra::{Fq, Fr};

use crate::adapter::LimbForm;
use crate::kernel::{Compiled, Kernel, PIECE_WORKGROUP, Spec};
use crate::{msm, ntt, program, vector};

const SOURCES: &[(&str, &str)] = &[
    ("curve", include_str!("../wgsl/curve.wgsl")),
    ("field", include_str!("../wgsl/field.wgsl")),
    ("msm_buckets", include_str!("../wgsl/msm_buckets.wgsl")),
    ("msm_digits", include_str!("../wgsl/msm_digits.wgsl")),
    ("msm_places", include_str!("../wgsl/msm_places.wgsl")),
    ("msm_sums", include_str!("../wgsl/msm_sums.wgsl")),
    ("ntt", include_str!("../wgsl/ntt.wgsl")),
    ("params", include_str!("../wgsl/params.wgsl")),
    ("product", include_str!("../wgsl/product.wgsl")),
    ("row_program", include_str!("../wgsl/row_program.wgsl")),
    ("rows", include_str!("../wgsl/rows.wgsl")),
    ("vector", include_str!("../wgsl/vector.wgsl")),
    ("words_u32", include_str!("../wgsl/words_u32.wgsl")),
    ("words_u64", include_str!("../wgsl/words_u64.wgsl")),
];

/// Constants that the host defines and the kernels of a source use, by name.
const SHARED: &[(&str, &[(&str, u32)])] = &[
    ("msm_places", msm::PLACES_CONSTANTS),
    ("msm_sums", msm::ARRANGEMENTS),
    ("ntt", ntt::CONSTANTS),
    ("row_program", program::NUMBERS),
    ("vector", vector::MODES),
];

/// The whole source of a kernel: the field's constants where the source serves both fields, then what it
/// imports, then the source.
///
/// # Errors
/// A text that names the import that does not exist.
pub(crate) fn assemble(spec: &Spec, form: LimbForm) -> Compiled<String> {
    let text = format!("const WORKGROUP = {}u;\n", spec.workgroup);
    let mut joined = Joined { text, form, params: params_of(spec.source), seen: vec![] };
    if let Some(field) = spec.field {
        joined.import(field)?;
    }
    joined.import(spec.source)?;
    Ok(joined.text)
}

/// The whole source of a piece of a row program, from its entry point.
///
/// # Errors
/// As [`assemble`].
pub(crate) fn assemble_piece(entry: &str, form: LimbForm) -> Compiled<String> {
    let text = format!("const WORKGROUP = {PIECE_WORKGROUP}u;\n");
    let mut joined = Joined { text, form, params: params_of("row_program"), seen: vec![] };
    joined.import("rows")?;
    joined.text.push_str(entry);
    Ok(joined.text)
}

/// What follows `params.wgsl`: the functions that read the parameters of the entry points of a source, and
/// the constants it shares with the host.
fn params_of(source: &str) -> String {
    let mut out = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for spec in Kernel::ALL.iter().map(|kernel| kernel.spec()).filter(|spec| spec.source == source)
    {
        if !seen.contains(&spec.params.entry) {
            seen.push(spec.params.entry);
            out.push_str(&spec.params.wgsl());
            if spec.params.has_elements() && !out.contains(PARAM_ELEMENT) {
                out.push_str(PARAM_ELEMENT);
            }
        }
    }
    for (name, value) in SHARED.iter().filter(|(of, _)| *of == source).flat_map(|(_, all)| *all) {
        // Writing into text cannot fail.
        let _ = writeln!(out, "const {name} = {value}u;");
    }
    out
}

/// Reads a field element from eight words of the parameters.
const PARAM_ELEMENT: &str = "\
fn param_element(at: u32) -> Element {
    return element(
        vec4<u32>(param(at), param(at + 1u), param(at + 2u), param(at + 3u)),
        vec4<u32>(param(at + 4u), param(at + 5u), param(at + 6u), param(at + 7u)),
    );
}
";

struct Joined {
    text: String,
    form: LimbForm,
    /// The parts that follow `params`.
    params: String,
    /// Names that are imported, or being imported.
    seen: Vec<String>,
}

impl Joined {
    fn import(&mut self, name: &str) -> Compiled<()> {
        if self.seen.iter().any(|seen| seen == name) {
            return Ok(());
        }
        self.seen.push(name.to_owned());
        let source = match name {
            "fr" => constants::<Fr>(),
            "fq" => constants::<Fq>(),
            "words" => match self.form {
                LimbForm::U64 => "#import words_u64\n".to_owned(),
                LimbForm::U32 => "#import words_u32\n".to_owned(),
            },
            _ => match SOURCES.iter().find(|(known, _)| *known == name) {
                Some((_, source)) => (*source).to_owned(),
                None => return Err(format!("there is no source `{name}` to import")),
            },
        };
        for line in source.lines() {
            if let Some(import) = line.strip_prefix("#import ") {
                self.import(import.trim())?;
            }
        }
        for line in source.lines().filter(|line| !line.starts_with("#import ")) {
            self.text.push_str(line);
            self.text.push('\n');
        }
        if name == "params" {
            self.text.push_str(&std::mem::take(&mut self.params));
        }
        Ok(())
    }
}

/// The constants of a field that `field.wgsl` uses.
fn constants<F: PrimeField<BigInt = BigInt<4>>>() -> String {
    // Montgomery forms as values: 2^256 is the form of one, its square over R that of 2^256.
    let two_to = |power: u64| F::from(2u64).pow([power]).into_bigint();
    let mut out = String::new();
    let mut define = |name: &str, value: BigInt<4>| {
        let words: Vec<String> = words(value).iter().map(|word| format!("{word}u")).collect();
        let _ = writeln!(out, "const {name} = array<u32, 8>({});", words.join(", "));
    };
    define("P", F::MODULUS);
    define("HALF", F::MODULUS_MINUS_ONE_DIV_TWO);
    define("ONE", two_to(256));
    define("R_SQUARED", two_to(512));
    let _ = writeln!(out, "const P_INVERSE = {}u;", minus_inverse(words(F::MODULUS)[0]));
    out
}

fn words(value: BigInt<4>) -> [u32; 8] {
    std::array::from_fn(|i| (value.0[i / 2] >> (32 * (i % 2))) as u32)
}

/// `−1 / x` modulo 2^32 for an odd x, by Newton's iteration, which doubles the right bits each time.
fn minus_inverse(x: u32) -> u32 {
    let mut inverse = x;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(x.wrapping_mul(inverse)));
    }
    inverse.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_import_is_put_in_once_and_before_the_rest() {
        for (form, own, other) in
            [(LimbForm::U64, "u64(a)", "b_high"), (LimbForm::U32, "b_high", "u64(a)")]
        {
            let text = assemble(&Kernel::Widen.spec(), form).unwrap();
            assert_eq!(text.matches("fn mul(").count(), 1);
            assert_eq!(text.matches("fn param(").count(), 1);
            assert!(text.find("fn mul(").unwrap() < text.find("fn widen(").unwrap());
            assert!(text.contains(own) && !text.contains(other), "{form:?}");
            assert!(!text.contains("#import"));
        }
    }

    #[test]
    fn an_unknown_import_is_rejected() {
        let spec = Spec { source: "no_such_source", ..Kernel::Widen.spec() };
        assert!(assemble(&spec, LimbForm::U32).unwrap_err().contains("no_such_source"));
    }

    #[test]
    fn the_montgomery_constants_are_those_of_arkworks() {
        assert_eq!(minus_inverse(words(Fr::MODULUS)[0]), Fr::INV as u32);
        assert_eq!(minus_inverse(words(Fq::MODULUS)[0]), Fq::INV as u32);
        let text = constants::<Fr>();
        let one: Vec<String> = words(Fr::R).iter().map(|word| format!("{word}u")).collect();
        assert!(text.contains(&format!("const ONE = array<u32, 8>({});", one.join(", "))));
    }

    /// The bounds that `field.wgsl` relies on.
    #[test]
    fn both_moduli_leave_two_bits_and_inversion_borrows_within_a_word() {
        for modulus in [words(Fr::MODULUS), words(Fq::MODULUS)] {
            assert!(modulus[7] < 1 << 30);
            assert!(modulus[0] >= 2);
        }
    }
}
