//! Products with `mulx`, `adcx` and `adox`: two chains of carries at a time.
//!
//! This file and [`many`] alone of their folder may use `unsafe`. The assembly is reached only through an [`Adx`],
//! which exists only where the processor has the instructions, so that no caller has to promise anything: numbers
//! beyond the bounds make wrong words, and no access to memory depends on a number. Twin: [`super::Portable`], which
//! returns the same words.
//!
//! # What each block of assembly promises
//! - Memory: it reads whole arrays of four words that its arguments borrow, and a table that never changes. It
//!   writes none, so results may take the place of inputs; words need no alignment beyond their own.
//! - Registers: an output is written before the last input is read, so no output shares a register with an
//!   input (`out`, never `lateout`). `mulx` takes rdx, which is declared. At most thirteen of the fourteen registers
//!   are taken that are left beside the stack's pointer and that of its frame.
//! - Flags: it changes them, so `preserves_flags` is not among the options. `adcx` and `adox` are at home in the flags
//!   CF and OF; `mulx`, `mov` and the loads between them change neither.
//! - It is a function of its arguments (`pure`, `readonly`) and leaves the stack alone (`nostack`).
//!
//! Source: Ozturk, Guilford, Gopal and Feghali, "New instructions supporting large integer arithmetic on Intel
//! architecture processors", 2012.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

use ark_bn254::{FqConfig, FrConfig};
use ark_ff::MontConfig;

use self::many::{factors_q, factors_r, two_q, two_r};
use super::{Modulus, Products, Words, multiple};

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

/// Bytes of a number.
const SIZE: usize = size_of::<Words>();
// The assembly names p, the first multiple, by its offset.
const _: () = assert!(SIZE == 32);

/// What the assembly reads: −1 / p modulo 2^64, and at `k · SIZE` the multiple `k · p`.
const fn table<M: MontConfig<4>>() -> [Words; 6] {
    let mut table = [[M::INV, 0, 0, 0]; 6];
    let mut k = 1;
    while k < table.len() {
        table[k] = multiple(M::MODULUS.0, k);
        k += 1;
    }
    table
}

static Q: [Words; 6] = table::<FqConfig>();
static R: [Words; 6] = table::<FrConfig>();

/// Adds rdx times four words to t0, …, t4. The flags CF and OF are clear before. The sum must be below 2^320: then
/// neither the chain of `adox`, which ends in t4, nor the carry of the chain of `adcx`, which t4 takes after it,
/// leaves a carry.
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

/// Adds the multiple of p that makes t0 zero. The sum must be below 2^320, as for `add_row`.
macro_rules! reduce_row {
    ($t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov rdx, [rip + {table}]\n",
            "imul rdx, {", $t0, "}\n",
            // Clears the flags, as every `xor` does.
            "xor {low:e}, {low:e}\n",
            add_row!(
                "[rip + {table} + 32]", "[rip + {table} + 40]",
                "[rip + {table} + 48]", "[rip + {table} + 56]";
                $t0, $t1, $t2, $t3, $t4),
        )
    };
}

// Below the macros that it uses.
mod many;

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

/// Adds the first product of two: a times a word of b to t0, …, t3, with the carry in t4.
macro_rules! first_row {
    ($word:literal; $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov rdx, ", $word, "\n",
            "xor {", $t4, ":e}, {", $t4, ":e}\n",
            add_row!("[{a}]", "[{a} + 8]", "[{a} + 16]", "[{a} + 24]"; $t0, $t1, $t2, $t3, $t4),
        )
    };
}

/// Adds the second one: c times a word of d to t0, …, t4.
macro_rules! second_row {
    ($word:literal; $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov rdx, ", $word, "\n",
            "xor {low:e}, {low:e}\n",
            add_row!("[{c}]", "[{c} + 8]", "[{c} + 16]", "[{c} + 24]"; $t0, $t1, $t2, $t3, $t4),
        )
    };
}

/// The eight words of a square: six products of two different words, doubled, and four squares.
macro_rules! whole_square {
    () => {
        concat!(
            "mov rdx, [{a}]\n",
            "mulx {r2}, {r1}, [{a} + 8]\n",
            "mulx {r3}, {low}, [{a} + 16]\n",
            "add {r2}, {low}\n",
            "mulx {r4}, {low}, [{a} + 24]\n",
            "adc {r3}, {low}\n",
            "adc {r4}, 0\n",
            "mov rdx, [{a} + 8]\n",
            "mulx {high}, {low}, [{a} + 16]\n",
            "mulx {r5}, {r6}, [{a} + 24]\n",
            "add {high}, {r6}\n",
            "adc {r5}, 0\n",
            "add {r3}, {low}\n",
            "adc {r4}, {high}\n",
            "adc {r5}, 0\n",
            "mov rdx, [{a} + 16]\n",
            "mulx {r6}, {low}, [{a} + 24]\n",
            "add {r5}, {low}\n",
            "adc {r6}, 0\n",
            // Below 2^511, so that a word takes the carry of the doubling.
            "mov {r7:e}, 0\n",
            "add {r1}, {r1}\n",
            "adc {r2}, {r2}\n",
            "adc {r3}, {r3}\n",
            "adc {r4}, {r4}\n",
            "adc {r5}, {r5}\n",
            "adc {r6}, {r6}\n",
            "adc {r7}, 0\n",
            "mov rdx, [{a}]\n",
            "mulx {high}, {r0}, rdx\n",
            "add {r1}, {high}\n",
            "mov rdx, [{a} + 8]\n",
            "mulx {high}, {low}, rdx\n",
            "adc {r2}, {low}\n",
            "adc {r3}, {high}\n",
            "mov rdx, [{a} + 16]\n",
            "mulx {high}, {low}, rdx\n",
            "adc {r4}, {low}\n",
            "adc {r5}, {high}\n",
            "mov rdx, [{a} + 24]\n",
            "mulx {high}, {low}, rdx\n",
            "adc {r6}, {low}\n",
            // The square is below 2^512.
            "adc {r7}, {high}\n",
        )
    };
}

macro_rules! operations {
    ($table:ident, $mul:ident, $dot:ident, $square:ident, $sub:ident, $less:ident, $negated_if:ident) => {
        /// [`Products::mul`], round by round as the twin does: the word that a reduction makes zero is the
        /// next round's highest.
        #[inline(always)]
        fn $mul(Adx(()): Adx, a: &Words, b: &Words) -> Words {
            let (s0, s1, s2, s3);
            // SAFETY: the processor has the instructions, as the `Adx` proves. The assembly reads four words at
            // b, which is a whole number that the caller borrows, and some of the table; it writes no memory, leaves
            // the stack alone, and declares what registers it changes.
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
                    table = sym $table,
                    t4 = out(reg) s0,
                    t0 = out(reg) s1,
                    t1 = out(reg) s2,
                    t2 = out(reg) s3,
                    t3 = out(reg) _,
                    low = out(reg) _,
                    high = out(reg) _,
                    out("rdx") _,
                    options(pure, readonly, nostack),
                );
            }
            [s0, s1, s2, s3]
        }

        /// [`Products::dot`], round by round as the twin does.
        #[inline(always)]
        fn $dot(Adx(()): Adx, [a, b]: [&Words; 2], [c, d]: [&Words; 2]) -> Words {
            let (s0, s1, s2, s3);
            // SAFETY: as for the product, with four words at each of a, b, c and d.
            unsafe {
                asm!(
                    "mov rdx, [{b}]",
                    "mulx {t1}, {t0}, [{a}]",
                    "mulx {t2}, {low}, [{a} + 8]",
                    "add {t1}, {low}",
                    "mulx {t3}, {low}, [{a} + 16]",
                    "adc {t2}, {low}",
                    "mulx {t4}, {low}, [{a} + 24]",
                    "adc {t3}, {low}",
                    "adc {t4}, 0",
                    second_row!("[{d}]"; "t0", "t1", "t2", "t3", "t4"),
                    reduce_row!("t0", "t1", "t2", "t3", "t4"),
                    first_row!("[{b} + 8]"; "t1", "t2", "t3", "t4", "t0"),
                    second_row!("[{d} + 8]"; "t1", "t2", "t3", "t4", "t0"),
                    reduce_row!("t1", "t2", "t3", "t4", "t0"),
                    first_row!("[{b} + 16]"; "t2", "t3", "t4", "t0", "t1"),
                    second_row!("[{d} + 16]"; "t2", "t3", "t4", "t0", "t1"),
                    reduce_row!("t2", "t3", "t4", "t0", "t1"),
                    first_row!("[{b} + 24]"; "t3", "t4", "t0", "t1", "t2"),
                    second_row!("[{d} + 24]"; "t3", "t4", "t0", "t1", "t2"),
                    reduce_row!("t3", "t4", "t0", "t1", "t2"),
                    a = in(reg) a.as_ptr(),
                    b = in(reg) b.as_ptr(),
                    c = in(reg) c.as_ptr(),
                    d = in(reg) d.as_ptr(),
                    table = sym $table,
                    t4 = out(reg) s0,
                    t0 = out(reg) s1,
                    t1 = out(reg) s2,
                    t2 = out(reg) s3,
                    t3 = out(reg) _,
                    low = out(reg) _,
                    high = out(reg) _,
                    out("rdx") _,
                    options(pure, readonly, nostack),
                );
            }
            [s0, s1, s2, s3]
        }

        /// [`Products::square`]: the low half is reduced to at most p, and the high half is added to it. For a number
        /// below 4p that is below 4.03p, so the last addition leaves no carry.
        #[inline(always)]
        fn $square(Adx(()): Adx, a: &Words) -> Words {
            let (s0, s1, s2, s3);
            // SAFETY: as for the product, with four words at a.
            unsafe {
                asm!(
                    whole_square!(),
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
                    table = sym $table,
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

        /// [`Products::sub`]: a difference below zero is one modulo 2^256, and the addition's carry returns what was
        /// borrowed.
        #[inline(always)]
        fn $sub<const K: usize>(Adx(()): Adx, a: &Words, b: &Words) -> Words {
            const { assert!(K < $table.len()) };
            let [mut s0, mut s1, mut s2, mut s3] = *a;
            // SAFETY: as for the product, with four words at b and the multiple `K · p`, which the table has.
            unsafe {
                asm!(
                    "sub {s0}, [{b}]",
                    "sbb {s1}, [{b} + 8]",
                    "sbb {s2}, [{b} + 16]",
                    "sbb {s3}, [{b} + 24]",
                    "add {s0}, [rip + {table} + {at}]",
                    "adc {s1}, [rip + {table} + {at} + 8]",
                    "adc {s2}, [rip + {table} + {at} + 16]",
                    "adc {s3}, [rip + {table} + {at} + 24]",
                    b = in(reg) b.as_ptr(),
                    table = sym $table,
                    at = const K * SIZE,
                    s0 = inout(reg) s0,
                    s1 = inout(reg) s1,
                    s2 = inout(reg) s2,
                    s3 = inout(reg) s3,
                    options(pure, readonly, nostack),
                );
            }
            [s0, s1, s2, s3]
        }

        /// [`Products::less`].
        #[inline(always)]
        fn $less<const K: usize>(Adx(()): Adx, a: &Words) -> Words {
            const { assert!(K < $table.len()) };
            let [mut s0, mut s1, mut s2, mut s3] = *a;
            // SAFETY: as for the product, with the multiple `K · p`, which the table has.
            unsafe {
                asm!(
                    "mov {d0}, {s0}",
                    "mov {d1}, {s1}",
                    "mov {d2}, {s2}",
                    "mov {d3}, {s3}",
                    "sub {d0}, [rip + {table} + {at}]",
                    "sbb {d1}, [rip + {table} + {at} + 8]",
                    "sbb {d2}, [rip + {table} + {at} + 16]",
                    "sbb {d3}, [rip + {table} + {at} + 24]",
                    "cmovnc {s0}, {d0}",
                    "cmovnc {s1}, {d1}",
                    "cmovnc {s2}, {d2}",
                    "cmovnc {s3}, {d3}",
                    table = sym $table,
                    at = const K * SIZE,
                    s0 = inout(reg) s0,
                    s1 = inout(reg) s1,
                    s2 = inout(reg) s2,
                    s3 = inout(reg) s3,
                    d0 = out(reg) _,
                    d1 = out(reg) _,
                    d2 = out(reg) _,
                    d3 = out(reg) _,
                    options(pure, readonly, nostack),
                );
            }
            [s0, s1, s2, s3]
        }

        /// [`Products::negated_if`].
        #[inline(always)]
        fn $negated_if(Adx(()): Adx, negative: bool, a: &Words) -> Words {
            let [mut s0, mut s1, mut s2, mut s3] = *a;
            // SAFETY: as for the product, with p of the table.
            unsafe {
                asm!(
                    "mov {d0}, [rip + {table} + 32]",
                    "mov {d1}, [rip + {table} + 40]",
                    "mov {d2}, [rip + {table} + 48]",
                    "mov {d3}, [rip + {table} + 56]",
                    "sub {d0}, {s0}",
                    "sbb {d1}, {s1}",
                    "sbb {d2}, {s2}",
                    "sbb {d3}, {s3}",
                    "test {negative:e}, {negative:e}",
                    "cmovnz {s0}, {d0}",
                    "cmovnz {s1}, {d1}",
                    "cmovnz {s2}, {d2}",
                    "cmovnz {s3}, {d3}",
                    table = sym $table,
                    negative = in(reg) u32::from(negative),
                    s0 = inout(reg) s0,
                    s1 = inout(reg) s1,
                    s2 = inout(reg) s2,
                    s3 = inout(reg) s3,
                    d0 = out(reg) _,
                    d1 = out(reg) _,
                    d2 = out(reg) _,
                    d3 = out(reg) _,
                    options(pure, readonly, nostack),
                );
            }
            [s0, s1, s2, s3]
        }
    };
}

operations!(Q, mul_q, dot_q, square_q, sub_q, less_q, negated_if_q);
operations!(R, mul_r, dot_r, square_r, sub_r, less_r, negated_if_r);

impl Products for Adx {
    #[inline(always)]
    fn mul<M: Modulus>(self, a: &Words, b: &Words) -> Words {
        if M::IS_BASE_FIELD { mul_q(self, a, b) } else { mul_r(self, a, b) }
    }

    #[inline(always)]
    fn dot<M: Modulus>(self, ab: [&Words; 2], cd: [&Words; 2]) -> Words {
        if M::IS_BASE_FIELD { dot_q(self, ab, cd) } else { dot_r(self, ab, cd) }
    }

    #[inline(always)]
    fn dot_factors<M: Modulus>(self, factors: &[Words; 4], values: [&Words; 4]) -> Words {
        if M::IS_BASE_FIELD {
            factors_q(self, factors, values)
        } else {
            factors_r(self, factors, values)
        }
    }

    #[inline(always)]
    fn mul_two<M: Modulus>(self, a: [&Words; 2], b: [&Words; 2]) -> [Words; 2] {
        if M::IS_BASE_FIELD { two_q(self, a, b) } else { two_r(self, a, b) }
    }

    #[inline(always)]
    fn square<M: Modulus>(self, a: &Words) -> Words {
        if M::IS_BASE_FIELD { square_q(self, a) } else { square_r(self, a) }
    }

    #[inline(always)]
    fn sub<M: Modulus, const K: usize>(self, a: &Words, b: &Words) -> Words {
        if M::IS_BASE_FIELD { sub_q::<K>(self, a, b) } else { sub_r::<K>(self, a, b) }
    }

    #[inline(always)]
    fn less<M: Modulus, const K: usize>(self, a: &Words) -> Words {
        if M::IS_BASE_FIELD { less_q::<K>(self, a) } else { less_r::<K>(self, a) }
    }

    #[inline(always)]
    fn negated_if<M: Modulus>(self, negative: bool, a: &Words) -> Words {
        if M::IS_BASE_FIELD {
            negated_if_q(self, negative, a)
        } else {
            negated_if_r(self, negative, a)
        }
    }

    #[inline(always)]
    fn prefetch<T>(self, place: &T) {
        // SAFETY: a hint for the address of something that lives; every processor of this architecture has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) };
    }
}
