//! Slopes for the witness of curve arithmetic: many with one field inversion.
//!
//! A slope is a quotient, and each operation of a chain needs the result of the one before. So a chain is first
//! computed in Jacobian coordinates, whose formulas have no divisions. They leave every slope as a fraction, and all
//! denominators are inverted together.

use ark_ff::{AdditiveGroup, Field};
use rollmill_algebra::{Fq, batch_invert};

/// Affine coordinates.
pub(crate) type At = (Fq, Fq);

/// One operation on the result of the operations before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Double,
    Add(At),
}

/// The sum of two points on a line of this slope, which is the tangent if the points are equal.
pub(crate) fn sum_on_line(p: At, q: At, slope: Fq) -> At {
    let x = slope.square() - p.0 - q.0;
    (x, slope * (q.0 - x) - q.1)
}

/// Fractions whose denominators are not inverted yet.
#[derive(Debug, Default)]
pub(crate) struct Slopes {
    numerators: Vec<Fq>,
    denominators: Vec<Fq>,
}

impl Slopes {
    /// Adds the slope of each step of a chain that starts at a point.
    ///
    /// A slope that does not exist is zero, and the chain continues with the result. Such a chain is laid out as well,
    /// and where it adds two equal points the equations of a circuit hold for any slope. The offset of an MSM ensures
    /// that this does not happen.
    pub(crate) fn chain(&mut self, start: At, steps: impl IntoIterator<Item = Step>) {
        // (x, y) = (X / Z², Y / Z³)
        let (mut x, mut y, mut z) = (start.0, start.1, Fq::ONE);
        for step in steps {
            let (numerator, denominator) = match step {
                // Source: the Explicit-Formulas Database, Jacobian coordinates with a = 0, dbl-2009-l.
                Step::Double => (x.square() * Fq::from(3u64), y.double() * z),
                // The same, madd, with H = x_q·Z² − X and r = y_q·Z³ − Y.
                Step::Add((qx, qy)) => {
                    let zz = z.square();
                    (qy * z * zz - y, (qx * zz - x) * z)
                }
            };
            self.numerators.push(numerator);
            self.denominators.push(denominator);
            if denominator == Fq::ZERO {
                let inverse = z.inverse().expect("Z is one or a denominator that is not zero");
                let square = inverse.square();
                let at = (x * square, y * square * inverse);
                let other = match step {
                    Step::Double => at,
                    Step::Add(other) => other,
                };
                ((x, y), z) = (sum_on_line(at, other, Fq::ZERO), Fq::ONE);
                continue;
            }
            match step {
                Step::Double => {
                    let b = y.square();
                    let d = (x * b).double().double();
                    x = numerator.square() - d.double();
                    y = numerator * (d - x) - b.square().double().double().double();
                }
                Step::Add((qx, _)) => {
                    let h = qx * z.square() - x;
                    let hh = h.square();
                    let (hhh, v) = (h * hh, x * hh);
                    x = numerator.square() - hhh - v.double();
                    y = numerator * (v - x) - y * hhh;
                }
            }
            z = denominator;
        }
    }

    /// The slopes in the order in which they were added.
    pub(crate) fn finish(mut self) -> Vec<Fq> {
        batch_invert(&mut self.denominators);
        self.numerators.iter().zip(&self.denominators).map(|(n, d)| *n * d).collect()
    }
}

#[cfg(test)]
mod tests {
    use ark_ec::{AffineRepr, CurveGroup};
    use ark_ff::UniformRand;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rollmill_algebra::{Fr, G1Affine};

    use super::*;

    /// The slope of one step, by its own inversion: the twin of [`Slopes`].
    fn slope(p: At, step: Step) -> Fq {
        let (numerator, denominator) = match step {
            Step::Double => (p.0.square() * Fq::from(3u64), p.1.double()),
            Step::Add(q) => (q.1 - p.1, q.0 - p.0),
        };
        numerator * denominator.inverse().unwrap_or_default()
    }

    fn point(rng: &mut ChaCha8Rng) -> At {
        (G1Affine::generator() * Fr::rand(rng)).into_affine().xy().expect("not the identity")
    }

    fn one_by_one(start: At, steps: &[Step]) -> Vec<Fq> {
        let mut at = start;
        steps
            .iter()
            .map(|step| {
                let slope = slope(at, *step);
                let other = if let Step::Add(other) = step { *other } else { at };
                at = sum_on_line(at, other, slope);
                slope
            })
            .collect()
    }

    #[test]
    fn slopes_of_a_chain_are_those_of_its_steps_one_by_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(21);
        let mut slopes = Slopes::default();
        let mut expected = Vec::new();
        for len in [0, 1, 2, 300] {
            let start = point(&mut rng);
            let steps: Vec<Step> = (0..len)
                .map(|_| if rng.r#gen() { Step::Double } else { Step::Add(point(&mut rng)) })
                .collect();
            slopes.chain(start, steps.iter().copied());
            expected.extend(one_by_one(start, &steps));
        }
        assert_eq!(slopes.finish(), expected);
    }

    /// Points of an invalid witness: equal points, opposite points, points off the curve, and (0, 0), which encodes the
    /// identity.
    #[test]
    fn a_chain_goes_on_after_a_slope_that_does_not_exist() {
        let mut rng = ChaCha8Rng::seed_from_u64(22);
        let (p, q) = (point(&mut rng), point(&mut rng));
        let (twice, origin) = (sum_on_line(p, p, slope(p, Step::Double)), (Fq::ZERO, Fq::ZERO));
        let off = (Fq::from(5u64), Fq::from(7u64));
        let add = Step::Add;
        for (start, steps) in [
            (p, vec![add(p), add(q), Step::Double]),
            (p, vec![add((p.0, -p.1)), Step::Double, add(q)]),
            (p, vec![Step::Double, add(twice), add(twice), add(q)]),
            (p, vec![Step::Double, add((twice.0, -twice.1)), add(off)]),
            (origin, vec![Step::Double, Step::Double, add(p), Step::Double]),
            (off, vec![Step::Double, add(p), add(origin), add(origin)]),
        ] {
            let mut slopes = Slopes::default();
            slopes.chain(start, steps.iter().copied());
            let got = slopes.finish();
            assert_eq!(got, one_by_one(start, &steps), "{steps:?}");
        }
    }
}
