//! Rows of Poseidon2: permutations, the sponge, hashes.

use ark_ff::Field;
use rollmill_algebra::{Fr, poseidon2};

use super::{Builder, Var};
use crate::gates::external_matrix;
use crate::layout::FixedRow;
use crate::shape::LIMBS;
use crate::weaken::gone;

impl Builder {
    /// Appends a Poseidon2 permutation of `state + input`: 12 rows and, for the result, the row that
    /// follows, which is made here too and serves a following permutation of the same state.
    #[track_caller]
    fn permute_rows(&mut self, state: [Var; 4], input: [Var; 4], first: bool) -> [Var; 4] {
        if first {
            self.raw_row(state, &FixedRow::poseidon_entry(), [0; LIMBS]);
        } else {
            // The previous permutation's last row already contains the state.
            let last = self.fixed.len() - 1;
            self.fixed[last] = self.template(&FixedRow::poseidon_entry());
        }
        self.raw_row(input, &FixedRow::blank(), [0; LIMBS]);
        let sum: [Fr; 4] = std::array::from_fn(|i| self.value(state[i]) + self.value(input[i]));
        let mut values = external_matrix(&sum);
        let mut vars = values.map(|v| self.witness(v));
        for half in 0..2 {
            for pair in 0..2 {
                let round = 4 * half + 2 * pair;
                let rc: [Fr; 8] =
                    std::array::from_fn(|i| poseidon2::EXTERNAL_RC[round + i / 4][i % 4]);
                let mut cells = [Fr::from(0u64); 8];
                for step in 0..2 {
                    let boxed: [Fr; 4] =
                        std::array::from_fn(|i| fifth_power(values[i] + rc[4 * step + i]));
                    cells[4 * step..4 * step + 4].copy_from_slice(&boxed);
                    values = external_matrix(&boxed);
                }
                self.full_row(vars, &FixedRow::external(rc), cells);
                vars = values.map(|v| self.witness(v));
            }
            if half == 0 {
                for block in 0..7 {
                    let rc: [Fr; 8] =
                        std::array::from_fn(|j| poseidon2::INTERNAL_RC[8 * block + j]);
                    let mut cells = [Fr::from(0u64); 8];
                    for j in 0..8 {
                        values[0] = fifth_power(values[0] + rc[j]);
                        cells[j] = values[0];
                        let sum = values.iter().fold(Fr::from(0u64), |acc, v| acc + v);
                        for (value, diagonal) in values.iter_mut().zip(poseidon2::INTERNAL_DIAG) {
                            *value = *value * diagonal + sum;
                        }
                    }
                    self.full_row(vars, &FixedRow::internal(rc), cells);
                    vars = values.map(|v| self.witness(v));
                }
            }
        }
        self.raw_row(vars, &FixedRow::blank(), [0; LIMBS]);
        vars
    }

    /// The permutation of `state + input`. 13 rows and a result row.
    #[track_caller]
    pub fn permute(&mut self, state: [Var; 4], input: [Var; 4]) -> [Var; 4] {
        self.permute_rows(state, input, true)
    }

    /// `poseidon2::hash(domain, inputs)`: 13 rows for each three inputs, and one; without inputs as for one. The first
    /// hash of a domain and a number of inputs takes one more, for a constant.
    #[track_caller]
    pub fn hash(&mut self, domain: u64, inputs: &[Var]) -> Var {
        let tag = u128::from(domain) | (inputs.len() as u128) << 64;
        let iv = self.constant(Fr::from(tag));
        let iv = if gone("gadgets.hash.tag") { self.witness(Fr::from(tag)) } else { iv };
        let mut state = [Self::ZERO, Self::ZERO, Self::ZERO, iv];
        if gone("gadgets.hash.start") {
            state[1] = self.witness(Fr::from(0u64));
        }
        self.absorb(state, inputs)[0]
    }

    /// Absorbs `inputs` three at a time, permuting after each; without inputs it permutes once.
    #[track_caller]
    pub fn absorb(&mut self, state: [Var; 4], inputs: &[Var]) -> [Var; 4] {
        let mut state = state;
        let empty: &[Var] = &[];
        let chunks: Vec<&[Var]> =
            if inputs.is_empty() { vec![empty] } else { inputs.chunks(3).collect() };
        for (i, chunk) in chunks.into_iter().enumerate() {
            let mut input = [Self::ZERO; 4];
            input[..chunk.len()].copy_from_slice(chunk);
            if gone("gadgets.hash.capacity") {
                input[3] = self.witness(Fr::from(0u64));
            }
            if gone("gadgets.hash.padding") && chunk.len() < 3 {
                input[2] = self.witness(Fr::from(0u64));
            }
            state = self.permute_rows(state, input, i == 0);
        }
        state
    }
}

fn fifth_power(x: Fr) -> Fr {
    let square = x.square();
    square.square() * x
}
