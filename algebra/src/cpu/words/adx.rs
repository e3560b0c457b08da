//! Products with `mulx`, `adcx` and `adox`: two chains of carries at a time.
//!
//! This file alone of its folder may use `unsafe`. Its assembly is reached only through an [`Adx`], which
//! exists only where the processor has the instructions, so that no caller has to promise anything.
//! Twin: [`super::Portable`], which returns the same words.
//!
//! Source: Ozturk, Guilford, Gopal and Feghali, "New instructions supporting large integer arithmetic on Intel
//! architecture processors", 2012.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use ark_bn254::{FqConfig, FrConfig};
use ark_ff::MontConfig;

use super::{Modulus, Products, Words};

/// Proof that the processor has the instructions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Adx(());

impl Adx {
    /// Asks the processor.
    pub(crate) fn detect() -> Option<Self> {
        let has = std::arch::is_x86_feature_detected!("bmi2")
            && std::arch::is_x86_feature_detected!("adx");
        has.then_some(Self(()))
    }
}

/// p, then −1 / p modulo 2^64: what the assembly reads.
const fn table<M: MontConfig<4>>() -> [u64; 5] {
    let p = M::MODULUS.0;
    [p[0], p[1], p[2], p[3], M::INV]
}

static Q: [u64; 5] = table::<FqConfig>();
static R: [u64; 5] = table::<FrConfig>();

/// Adds rdx times four words to t0, …, t4. The flags CF and OF are clear before. What it adds to must leave
/// the sum below 2^320.
macro_rules! add_row {
    ($w0:literal, $w1:literal, $w2:literal, $w3:literal;
     $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mulx {high}, {low}, ",
            $w0,
            "\n",
            "adcx {",
            $t0,
            "}, {low}\n",
            "adox {",
            $t1,
            "}, {high}\n",
            "mulx {high}, {low}, ",
            $w1,
            "\n",
            "adcx {",
            $t1,
            "}, {low}\n",
            "adox {",
            $t2,
            "}, {high}\n",
            "mulx {high}, {low}, ",
            $w2,
            "\n",
            "adcx {",
            $t2,
            "}, {low}\n",
            "adox {",
            $t3,
            "}, {high}\n",
            "mulx {high}, {low}, ",
            $w3,
            "\n",
            "adcx {",
            $t3,
            "}, {low}\n",
            "adox {",
            $t4,
            "}, {high}\n",
            "adc {",
            $t4,
            "}, 0\n",
        )
    };
}

/// Adds the multiple of p that makes t0 zero.
macro_rules! reduce_row {
    ($t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov rdx, [rip + {p} + 32]\n",
            "imul rdx, {", $t0, "}\n",
            // Clears the flags, as every `xor` does.
            "xor {low:e}, {low:e}\n",
            add_row!("[rip + {p}]", "[rip + {p} + 8]", "[rip + {p} + 16]", "[rip + {p} + 24]";
                $t0, $t1, $t2, $t3, $t4),
        )
    };
}

/// Adds a times a word of b to t0, …, t3 and writes the carry to t4.
macro_rules! product_row {
    ($word:literal; $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov rdx, ", $word, "\n",
            "xor {", $t4, ":e}, {", $t4, ":e}\n",
            add_row!("{a0}", "{a1}", "{a2}", "{a3}"; $t0, $t1, $t2, $t3, $t4),
        )
    };
}

macro_rules! products {
    ($mul:ident, $square:ident, $table:ident) => {
        /// [`Products::mul`], round by round as the twin does: the word that a reduction makes zero is the
        /// next round's highest.
        #[inline(always)]
        fn $mul(Adx(()): Adx, a: &Words, b: &Words) -> Words {
            let (t0, t1, t2, t4);
            // SAFETY: the processor has the instructions, as the `Adx` proves. The assembly reads four words at
            // b and five at p, writes no memory and leaves the stack alone.
            unsafe {
                asm!(
                    "mov rdx, [{b}]",
                    "mulx {t1}, {t0}, {a0}",
                    "mulx {t2}, {low}, {a1}",
                    "add {t1}, {low}",
                    "mulx {t3}, {low}, {a2}",
                    "adc {t2}, {low}",
                    "mulx {t4}, {low}, {a3}",
                    "adc {t3}, {low}",
                    "adc {t4}, 0",
                    reduce_row!("t0", "t1", "t2", "t3", "t4"),
                    product_row!("[{b} + 8]"; "t1", "t2", "t3", "t4", "t0"),
                    reduce_row!("t1", "t2", "t3", "t4", "t0"),
                    product_row!("[{b} + 16]"; "t2", "t3", "t4", "t0", "t1"),
                    reduce_row!("t2", "t3", "t4", "t0", "t1"),
                    product_row!("[{b} + 24]"; "t3", "t4", "t0", "t1", "t2"),
                    reduce_row!("t3", "t4", "t0", "t1", "t2"),
                    a0 = in(reg) a[0],
                    a1 = in(reg) a[1],
                    a2 = in(reg) a[2],
                    a3 = in(reg) a[3],
                    b = in(reg) b.as_ptr(),
                    p = sym $table,
                    t0 = out(reg) t1,
                    t1 = out(reg) t2,
                    t2 = out(reg) t4,
                    t3 = out(reg) _,
                    t4 = out(reg) t0,
                    low = out(reg) _,
                    high = out(reg) _,
                    out("rdx") _,
                    options(pure, readonly, nostack),
                );
            }
            [t0, t1, t2, t4]
        }

        /// [`Products::square`]: six products of two different words, doubled, and four squares; then the low
        /// half is reduced to at most p, to which the high half is added.
        #[inline(always)]
        fn $square(Adx(()): Adx, a: &Words) -> Words {
            let (s0, s1, s2, s3);
            // SAFETY: the processor has the instructions, as the `Adx` proves. The assembly reads four words at
            // a and five at p, writes no memory and leaves the stack alone.
            unsafe {
                asm!(
                    "mov rdx, [{a}]",
                    "mulx {r2}, {r1}, [{a} + 8]",
                    "mulx {r3}, {low}, [{a} + 16]",
                    "add {r2}, {low}",
                    "mulx {r4}, {low}, [{a} + 24]",
                    "adc {r3}, {low}",
                    "adc {r4}, 0",
                    "mov rdx, [{a} + 8]",
                    "mulx {high}, {low}, [{a} + 16]",
                    "mulx {r5}, {r6}, [{a} + 24]",
                    "add {high}, {r6}",
                    "adc {r5}, 0",
                    "add {r3}, {low}",
                    "adc {r4}, {high}",
                    "adc {r5}, 0",
                    "mov rdx, [{a} + 16]",
                    "mulx {r6}, {low}, [{a} + 24]",
                    "add {r5}, {low}",
                    "adc {r6}, 0",
                    // Below 2^511, so that a word takes the carry of the doubling.
                    "mov {r7:e}, 0",
                    "add {r1}, {r1}",
                    "adc {r2}, {r2}",
                    "adc {r3}, {r3}",
                    "adc {r4}, {r4}",
                    "adc {r5}, {r5}",
                    "adc {r6}, {r6}",
                    "adc {r7}, 0",
                    "mov rdx, [{a}]",
                    "mulx {high}, {r0}, rdx",
                    "add {r1}, {high}",
                    "mov rdx, [{a} + 8]",
                    "mulx {high}, {low}, rdx",
                    "adc {r2}, {low}",
                    "adc {r3}, {high}",
                    "mov rdx, [{a} + 16]",
                    "mulx {high}, {low}, rdx",
                    "adc {r4}, {low}",
                    "adc {r5}, {high}",
                    "mov rdx, [{a} + 24]",
                    "mulx {high}, {low}, rdx",
                    "adc {r6}, {low}",
                    "adc {r7}, {high}",
                    "mov {r8:e}, 0",
                    reduce_row!("r0", "r1", "r2", "r3", "r8"),
                    reduce_row!("r1", "r2", "r3", "r8", "r0"),
                    reduce_row!("r2", "r3", "r8", "r0", "r1"),
                    reduce_row!("r3", "r8", "r0", "r1", "r2"),
                    "add {r8}, {r4}",
                    "adc {r0}, {r5}",
                    "adc {r1}, {r6}",
                    "adc {r2}, {r7}",
                    a = in(reg) a.as_ptr(),
                    p = sym $table,
                    r0 = out(reg) s1,
                    r1 = out(reg) s2,
                    r2 = out(reg) s3,
                    r3 = out(reg) _,
                    r4 = out(reg) _,
                    r5 = out(reg) _,
                    r6 = out(reg) _,
                    r7 = out(reg) _,
                    r8 = out(reg) s0,
                    low = out(reg) _,
                    high = out(reg) _,
                    out("rdx") _,
                    options(pure, readonly, nostack),
                );
            }
            [s0, s1, s2, s3]
        }
    };
}

products!(mul_q, square_q, Q);
products!(mul_r, square_r, R);

impl Products for Adx {
    #[inline(always)]
    fn mul<M: Modulus>(self, a: &Words, b: &Words) -> Words {
        if M::IS_BASE_FIELD { mul_q(self, a, b) } else { mul_r(self, a, b) }
    }

    #[inline(always)]
    fn square<M: Modulus>(self, a: &Words) -> Words {
        if M::IS_BASE_FIELD { square_q(self, a) } else { square_r(self, a) }
    }

    #[inline(always)]
    fn prefetch<T>(self, place: &T) {
        // SAFETY: a hint for the address of something that lives; every processor of this architecture has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
}
