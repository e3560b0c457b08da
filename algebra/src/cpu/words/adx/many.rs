//! Several products at a time: two that do not wait for each other, and sums of four with one reduction.
//!
//! [`super`] says what a block of assembly promises. Two products leave a register for a single address, so all their
//! factors are in one array, which the block reads beside the table. A sum leaves registers for five addresses: that of
//! its first factors, which lie beside each other, and those of the second ones.
#![allow(unsafe_code)]

use std::arch::asm;

use super::{Adx, Q, R};
use crate::cpu::words::Words;

/// Adds four words times the word at `$word` to t0, …, t3 and writes the carry to t4.
macro_rules! fresh_row {
    ($word:literal, $w0:literal, $w1:literal, $w2:literal, $w3:literal;
     $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov rdx, ", $word, "\n",
            "xor {", $t4, ":e}, {", $t4, ":e}\n",
            add_row!($w0, $w1, $w2, $w3; $t0, $t1, $t2, $t3, $t4),
        )
    };
}

/// Adds four words times the word at `$word` to t0, …, t4.
macro_rules! further_row {
    ($word:literal, $w0:literal, $w1:literal, $w2:literal, $w3:literal;
     $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov rdx, ", $word, "\n",
            "xor {low:e}, {low:e}\n",
            add_row!($w0, $w1, $w2, $w3; $t0, $t1, $t2, $t3, $t4),
        )
    };
}

/// The first row of all: t0, …, t4 have no value before it.
macro_rules! opening_row {
    ($word:literal, $w0:literal, $w1:literal, $w2:literal, $w3:literal;
     $t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal) => {
        concat!(
            "mov rdx, ",
            $word,
            "\n",
            "mulx {",
            $t1,
            "}, {",
            $t0,
            "}, ",
            $w0,
            "\n",
            "mulx {",
            $t2,
            "}, {low}, ",
            $w1,
            "\n",
            "add {",
            $t1,
            "}, {low}\n",
            "mulx {",
            $t3,
            "}, {low}, ",
            $w2,
            "\n",
            "adc {",
            $t2,
            "}, {low}\n",
            "mulx {",
            $t4,
            "}, {low}, ",
            $w3,
            "\n",
            "adc {",
            $t3,
            "}, {low}\n",
            // The product of a number by a word is below 2^320.
            "adc {",
            $t4,
            "}, 0\n",
        )
    };
}

/// A row of one of two products, whose first factors are the first two numbers, and the reduction after it.
macro_rules! row_of_two {
    ($row:ident, 0, $word:literal; $($t:literal),*) => {
        concat!(
            $row!($word, "[{p}]", "[{p} + 8]", "[{p} + 16]", "[{p} + 24]"; $($t),*),
            reduce_row!($($t),*),
        )
    };
    ($row:ident, 1, $word:literal; $($t:literal),*) => {
        concat!(
            $row!($word, "[{p} + 32]", "[{p} + 40]", "[{p} + 48]", "[{p} + 56]"; $($t),*),
            reduce_row!($($t),*),
        )
    };
}

/// A row of one product of a sum whose first factors lie beside each other: number `$k` is at `32 · k`.
macro_rules! row_of_factor {
    ($row:ident, 0, $word:literal; $($t:literal),*) => {
        $row!($word, "[{p}]", "[{p} + 8]", "[{p} + 16]", "[{p} + 24]"; $($t),*)
    };
    ($row:ident, 1, $word:literal; $($t:literal),*) => {
        $row!($word, "[{p} + 32]", "[{p} + 40]", "[{p} + 48]", "[{p} + 56]"; $($t),*)
    };
    ($row:ident, 2, $word:literal; $($t:literal),*) => {
        $row!($word, "[{p} + 64]", "[{p} + 72]", "[{p} + 80]", "[{p} + 88]"; $($t),*)
    };
    ($row:ident, 3, $word:literal; $($t:literal),*) => {
        $row!($word, "[{p} + 96]", "[{p} + 104]", "[{p} + 112]", "[{p} + 120]"; $($t),*)
    };
}

/// A round of such a sum: a row of each product, whose second factors have their words at these places, and the
/// reduction.
macro_rules! round_of_factors {
    ($row:ident, [$w0:literal, $w1:literal, $w2:literal, $w3:literal]; $($t:literal),*) => {
        concat!(
            row_of_factor!($row, 0, $w0; $($t),*),
            row_of_factor!(further_row, 1, $w1; $($t),*),
            row_of_factor!(further_row, 2, $w2; $($t),*),
            row_of_factor!(further_row, 3, $w3; $($t),*),
            reduce_row!($($t),*),
        )
    };
}

macro_rules! operations {
    ($table:ident, $two:ident, $factors:ident) => {
        /// [`super::Products::mul_two`]: the rounds of both in turn, so that one's multiplications fill the time in
        /// which the other waits for its carries. Each keeps four words between its rounds, and the ninth register
        /// is the fifth word of the one whose round it is.
        #[inline(always)]
        pub(super) fn $two(Adx(()): Adx, a: [&Words; 2], b: [&Words; 2]) -> [Words; 2] {
            let operands: [Words; 4] = [*a[0], *a[1], *b[0], *b[1]];
            let (r0, r1, r2, r3);
            let (s0, s1, s2, s3);
            // SAFETY: the processor has the instructions, as the `Adx` of the caller proves. The assembly reads the
            // numbers of the array and some of the table; it writes no memory, leaves the stack alone, and declares
            // what registers it changes.
            unsafe {
                asm!(
                    row_of_two!(opening_row, 0, "[{p} + 64]"; "x0", "x1", "x2", "x3", "f"),
                    row_of_two!(opening_row, 1, "[{p} + 96]"; "y0", "y1", "y2", "y3", "x0"),
                    row_of_two!(fresh_row, 0, "[{p} + 72]"; "x1", "x2", "x3", "f", "y0"),
                    row_of_two!(fresh_row, 1, "[{p} + 104]"; "y1", "y2", "y3", "x0", "x1"),
                    row_of_two!(fresh_row, 0, "[{p} + 80]"; "x2", "x3", "f", "y0", "y1"),
                    row_of_two!(fresh_row, 1, "[{p} + 112]"; "y2", "y3", "x0", "x1", "x2"),
                    row_of_two!(fresh_row, 0, "[{p} + 88]"; "x3", "f", "y0", "y1", "y2"),
                    row_of_two!(fresh_row, 1, "[{p} + 120]"; "y3", "x0", "x1", "x2", "x3"),
                    p = in(reg) operands.as_ptr(),
                    table = sym $table,
                    f = out(reg) r0,
                    y0 = out(reg) r1,
                    y1 = out(reg) r2,
                    y2 = out(reg) r3,
                    x0 = out(reg) s0,
                    x1 = out(reg) s1,
                    x2 = out(reg) s2,
                    x3 = out(reg) s3,
                    y3 = out(reg) _,
                    low = out(reg) _,
                    high = out(reg) _,
                    out("rdx") _,
                    options(pure, readonly, nostack),
                );
            }
            [[r0, r1, r2, r3], [s0, s1, s2, s3]]
        }

        /// [`super::Products::dot_factors`].
        #[inline(always)]
        pub(super) fn $factors(
            Adx(()): Adx,
            factors: &[Words; 4],
            values: [&Words; 4],
        ) -> Words {
            let (s0, s1, s2, s3);
            // SAFETY: as for two products, with the four numbers of the array and one at each of the other addresses.
            unsafe {
                asm!(
                    round_of_factors!(opening_row, ["[{v0}]", "[{v1}]", "[{v2}]", "[{v3}]"];
                        "t0", "t1", "t2", "t3", "t4"),
                    round_of_factors!(fresh_row, ["[{v0} + 8]", "[{v1} + 8]", "[{v2} + 8]", "[{v3} + 8]"];
                        "t1", "t2", "t3", "t4", "t0"),
                    round_of_factors!(fresh_row, ["[{v0} + 16]", "[{v1} + 16]", "[{v2} + 16]", "[{v3} + 16]"];
                        "t2", "t3", "t4", "t0", "t1"),
                    round_of_factors!(fresh_row, ["[{v0} + 24]", "[{v1} + 24]", "[{v2} + 24]", "[{v3} + 24]"];
                        "t3", "t4", "t0", "t1", "t2"),
                    p = in(reg) factors.as_ptr(),
                    v0 = in(reg) values[0].as_ptr(),
                    v1 = in(reg) values[1].as_ptr(),
                    v2 = in(reg) values[2].as_ptr(),
                    v3 = in(reg) values[3].as_ptr(),
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
    };
}

operations!(Q, two_q, factors_q);
operations!(R, two_r, factors_r);
