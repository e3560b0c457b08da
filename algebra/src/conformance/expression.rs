//! Random expressions, for tests of everything that computes with [`Expr`].

use ark_ff::{AdditiveGroup, Field};

use super::{Stream, picks};
use crate::Fr;
use crate::device::Expr;

/// Expressions joined at random: sums of many products, deep differences, parts used in several places,
/// constants among them. Backends that plan ahead meet unexpected shapes here.
#[derive(Debug, Clone, Copy)]
pub struct Random {
    pub seed: u64,
    /// Chooses among expressions of one seed, and what they have most of: sums, differences or products.
    pub shape: u32,
    /// How many parts are joined one after another.
    pub steps: usize,
}

impl Random {
    /// The constants of expressions: 0, 1, −1 and three random ones.
    pub fn constants<E: Expr>(&self) -> Vec<E> {
        let mut stream = Stream::new(self.seed, "rows constants");
        let random = (0..3).map(|_| stream.fr()).collect::<Vec<_>>();
        [Fr::ZERO, Fr::ONE, -Fr::ONE].into_iter().chain(random).map(E::constant).collect()
    }

    /// Three expressions over `leaves`, variables first, [`Random::constants`] last.
    pub fn expressions<E: Expr>(&self, leaves: Vec<E>) -> [E; 3] {
        let mut pick = picks(self.seed, &format!("rows shape {}", self.shape));
        let mut parts = leaves;
        for _ in 0..self.steps {
            // Mostly of the latest, so that expressions grow deep, but of the first ones too.
            let recent = parts.len() - pick(6) - 1;
            let (a, b) = (parts[recent].clone(), parts[pick(parts.len())].clone());
            // Shapes differ in what they have most of.
            let kind = if pick(3) == 0 { self.shape as usize % 4 } else { pick(4) };
            parts.push(match kind {
                0 => a + b,
                1 => a - b,
                2 => a * b,
                _ => b - a,
            });
        }
        // In long ones a sum of more products than one reduction takes.
        let mut sum = parts[pick(parts.len())].clone();
        for i in 0..self.steps * 2 / 3 {
            let product = parts[pick(parts.len())].clone() * parts[pick(parts.len())].clone();
            sum = if i % 3 == 0 { sum - product } else { sum + product };
        }
        let n = parts.len();
        [sum, parts[n - 1].clone(), parts[n - 2].clone()]
    }

    /// [`Random::expressions`] over `variables` and the constants.
    pub fn over<E: Expr>(&self, variables: &[E]) -> [E; 3] {
        self.expressions([variables, &self.constants()].concat())
    }
}
