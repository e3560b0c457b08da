//! Laws of element-wise and scanning work.

use ark_ff::{AdditiveGroup, Field};

use std::fmt::Debug;

use super::{Laws, Random};
use crate::device::{Coeff, Column, Device, DeviceError, Expr, Row, RowKernel};
use crate::field::horner;
use crate::{Fr, plain};

pub(super) fn run<D: Device>(laws: &Laws<'_, D>) {
    // Around the lengths where devices cut vectors into lanes and pieces.
    for n in [1, 2, 7, 8, 9, 63, 100, 1023, 1025, 5000] {
        let sample = Sample { factor: laws.fr("rows factor") };
        laws.group("rows", |laws| laws.rows_match(n, &sample));
        laws.group("scans", |laws| laws.scans_match(n.min(1500)));
        laws.group("inverses", |laws| laws.inverses_match(n));
        laws.group("polynomials", |laws| laws.polynomials_match(n));
    }
    for shape in 0..12 {
        let random = Random { seed: laws.seed, shape, steps: 150 };
        laws.group("rows of random expressions", |laws| laws.rows_match(40, &random));
    }
    laws.group("long scans", Laws::long_scans_match);
    laws.group("linear combinations", Laws::linear_combinations_match);
    laws.group("shapes of vectors", Laws::vector_shapes);
    laws.group("batches of vectors", Laws::batches_match);
}

/// Every operation of [`Expr`] on cells with and without rotation. Three outputs of four columns.
#[derive(Debug)]
struct Sample {
    factor: Fr,
}

impl RowKernel for Sample {
    type Constants<E: Expr> = (E, E);

    fn constants<E: Expr>(&self) -> (E, E) {
        (E::constant(self.factor), E::constant(-Fr::ONE))
    }

    fn outputs(&self) -> usize {
        3
    }

    fn eval<E: Expr, R: Row<E>>(&self, (factor, minus_one): &(E, E), row: &R, out: &mut [E]) {
        let (a, b, c, d) = (row.cell(0, 0), row.cell(1, 0), row.cell(2, 0), row.cell(3, 0));
        let next = row.cell(0, 1);
        // A chain without products, so that devices which reduce lazily meet their bounds.
        let mut sum = a.clone();
        for _ in 0..20 {
            sum = sum.clone() + sum.clone() - b.clone() + next.clone();
        }
        let mut difference = b.clone();
        for _ in 0..20 {
            difference = difference.clone() - c.clone() - next.clone() - difference.clone();
        }
        out[0] = a.clone() * b.clone() + c.square() * factor.clone() - next.clone() * d.clone();
        out[1] = sum * minus_one.clone() + difference.square();
        out[2] = (a - b).scale(self.factor) + row.cell(3, 2) + d.square().square() * c;
    }
}

/// Random expressions over twelve cells of four columns, three outputs.
impl RowKernel for Random {
    type Constants<E: Expr> = Vec<E>;

    fn constants<E: Expr>(&self) -> Vec<E> {
        Random::constants(self)
    }

    fn outputs(&self) -> usize {
        3
    }

    fn eval<E: Expr, R: Row<E>>(&self, constants: &Vec<E>, row: &R, out: &mut [E]) {
        let cells = (0..12).map(|i| row.cell(i % 4, i / 4));
        let expressions = self.expressions(cells.chain(constants.iter().cloned()).collect());
        out.clone_from_slice(&expressions);
    }
}

impl<D: Device> Laws<'_, D> {
    fn rows_match<K: RowKernel + Debug>(&self, n: usize, kernel: &K) {
        let mut columns: Vec<Vec<Fr>> = (0..4).map(|i| self.frs(&format!("rows {i}"), n)).collect();
        // Rows of extreme values among the random ones.
        for (i, column) in columns.iter_mut().enumerate() {
            for (row, value) in column.iter_mut().enumerate().step_by(3) {
                *value = [Fr::ZERO, Fr::ONE, -Fr::ONE][(row / 3 + i) % 3];
            }
        }
        let buffers: Vec<D::Buffer> = columns.iter().map(|column| self.upload(column)).collect();
        let refs: Vec<&D::Buffer> = buffers.iter().collect();
        let out = self.device.rows(kernel, &refs).expect("rows");
        let expected = plain::rows(kernel, &columns);
        self.check(out.len() == 3, "rows returns a column per output", n);
        for (i, (out, expected)) in out.iter().zip(expected).enumerate() {
            let holds = self.download(out) == expected;
            self.check(
                holds,
                "rows runs the kernel on every row",
                format!("n {n}, output {i}, {kernel:?}"),
            );
        }
    }

    fn scans_match(&self, n: usize) {
        let values = self.frs("scan", n);
        let buffer = self.upload(&values);
        let products = self.download(&self.device.prefix_product(&buffer).expect("prefix_product"));
        self.check(products == plain::prefix_product(&values), "prefix_product", n);
        let sums = self.download(&self.device.prefix_sum(&buffer).expect("prefix_sum"));
        self.check(sums == plain::prefix_sum(&values), "prefix_sum", n);
    }

    /// The recurrences that define the scans, at a length the plain twins are too slow for.
    fn long_scans_match(&self) {
        let n = 20_000;
        let values = self.frs("long scan", n);
        let buffer = self.upload(&values);
        let products = self.download(&self.device.prefix_product(&buffer).expect("prefix_product"));
        let sums = self.download(&self.device.prefix_sum(&buffer).expect("prefix_sum"));
        let starts = products[0] == Fr::ONE && sums[0] == Fr::ZERO;
        self.check(starts, "scans start at their neutral element", n);
        for i in 1..n {
            let holds = products[i] == products[i - 1] * values[i - 1]
                && sums[i] == sums[i - 1] + values[i - 1];
            self.check(holds, "scans take one step at a time", i);
        }
    }

    fn inverses_match(&self, n: usize) {
        let mut values = self.frs("invert", n);
        for i in (0..n).step_by(5) {
            values[i] = if i % 2 == 0 { Fr::ZERO } else { Fr::ONE };
        }
        let mut buffer = self.upload(&values);
        let shared = buffer.clone();
        self.device.invert(&mut buffer).expect("invert");
        self.check(self.download(&buffer) == plain::invert(&values), "invert", n);
        self.check(self.download(&shared) == values, "invert leaves clones alone", n);
        let mut zeros = self.upload(&vec![Fr::ZERO; n]);
        self.device.invert(&mut zeros).expect("invert");
        self.check(self.download(&zeros) == vec![Fr::ZERO; n], "zeros stay zero", n);
        let mut small = self.device.upload_u16(&[0, 1, 2]).expect("upload_u16");
        self.device.invert(&mut small).expect("invert");
        let expected = plain::invert(&[0u64, 1, 2].map(Fr::from));
        self.check(self.download(&small) == expected, "small values invert", 3);
    }

    fn polynomials_match(&self, n: usize) {
        let values = self.frs("polynomial", n);
        let column = Column::<_, Coeff>::new(self.upload(&values));
        let shorter = Column::<_, Coeff>::new(self.upload(&values[..n / 2]));
        for point in [self.fr("point"), Fr::ZERO, Fr::ONE, -Fr::ONE] {
            let got = self.device.evaluate(&[&column, &shorter], point).expect("evaluate");
            let expected = vec![horner(&values, point), horner(&values[..n / 2], point)];
            self.check(got == expected, "evaluate", n);

            let quotient = self.device.divide_by_linear(&column, point).expect("divide_by_linear");
            let quotient = self.download(&quotient.buffer);
            self.check(quotient.len() == n, "a quotient keeps the length", n);
            self.check(quotient[n - 1] == Fr::ZERO, "a quotient's top is zero", n);
            // quotient · (X − point) + value = polynomial, coefficient by coefficient.
            let value = horner(&values, point);
            let holds = (0..n).all(|i| {
                let low = if i == 0 { value } else { quotient[i - 1] };
                low - quotient[i] * point == values[i]
            });
            self.check(holds, "divide_by_linear", n);
        }
        let none = self.device.evaluate(&[], Fr::ONE).expect("evaluate");
        self.check(none.is_empty(), "no polynomials have no values", 0);
    }

    /// Vectors of different lengths in one batch, around the lengths where devices cut them into pieces.
    fn batches_match(&self) {
        let lengths = [1, 5000, 16, 2000, 17, 4096, 4097];
        let all: Vec<Vec<Fr>> = lengths
            .iter()
            .map(|n| {
                let mut values = self.frs(&format!("batch of {n}"), *n);
                values.iter_mut().skip(3).step_by(7).for_each(|value| *value = Fr::ZERO);
                values
            })
            .collect();
        let mut buffers: Vec<D::Buffer> = all.iter().map(|values| self.upload(values)).collect();
        // Storage that two of a batch share.
        buffers.push(buffers[1].clone());
        let shared = buffers[1].clone();
        let mut refs: Vec<&mut D::Buffer> = buffers.iter_mut().collect();
        self.device.invert_all(&mut refs).expect("invert_all");
        for (values, buffer) in all.iter().chain([&all[1]]).zip(&buffers) {
            let holds = self.download(buffer) == plain::invert(values);
            self.check(holds, "a batch of inverses", values.len());
        }
        self.check(self.download(&shared) == all[1], "invert_all leaves clones alone", 5000);

        let columns: Vec<Column<D::Buffer, Coeff>> =
            all.iter().map(|values| Column::new(self.upload(values))).collect();
        let points = [self.fr("batch x"), self.fr("batch y"), Fr::ZERO];
        // Each polynomial at one point, the first ones at another too, and one without coefficients.
        let claims: Vec<(usize, Fr)> =
            (0..10).map(|i| (i % columns.len(), points[i % points.len()])).collect();
        let empty = Column::<_, Coeff>::new(self.upload(&[]));
        let refs = claims.iter().map(|(i, x)| (&columns[*i], *x)).chain([(&empty, points[0])]);
        let refs: Vec<(&Column<D::Buffer, Coeff>, Fr)> = refs.collect();
        let got = self.device.evaluate_all(&refs).expect("evaluate_all");
        let values = claims.iter().map(|(i, x)| horner(&all[*i], *x)).chain([Fr::ZERO]);
        self.check(got == values.collect::<Vec<_>>(), "a batch of values", refs.len());
        let quotients = self.device.divide_all(&refs[..10]).expect("divide_all");
        self.check(quotients.len() == 10, "a batch has a quotient for each", 10);
        for ((i, x), quotient) in claims.iter().zip(&quotients) {
            let one = self.device.divide_by_linear(&columns[*i], *x).expect("divide_by_linear");
            let holds = self.download(&quotient.buffer) == self.download(&one.buffer);
            self.check(holds, "a batch of quotients", all[*i].len());
        }
        self.device.invert_all(&mut []).expect("invert_all");
        let nothing = self.device.evaluate_all(&[]).expect("evaluate_all").len()
            + self.device.divide_all(&[]).expect("divide_all").len();
        self.check(nothing == 0, "empty batches", 0);
    }

    fn linear_combinations_match(&self) {
        for n in [1, 9, 3000] {
            let (a, b) = (self.frs("combine a", n), self.frs("combine b", n / 2));
            let small = vec![u16::MAX; n];
            let [x, y, z] = ["x", "y", "z"].map(|name| self.fr(name));
            let terms = [
                (&self.upload(&b), y),
                (&self.upload(&a), x),
                (&self.device.upload_u16(&small).expect("upload_u16"), z),
            ];
            let got = self.download(&self.device.linear_combination(&terms).expect("combine"));
            let expected: Vec<Fr> = (0..n)
                .map(|i| {
                    let second = b.get(i).copied().unwrap_or(Fr::ZERO);
                    a[i] * x + second * y + Fr::from(u16::MAX) * z
                })
                .collect();
            self.check(got == expected, "linear_combination pads with zeros", n);
        }
    }

    fn vector_shapes(&self) {
        let (a, b) = (self.upload(&self.frs("shape", 4)), self.upload(&self.frs("shape", 5)));
        let kernel = Sample { factor: Fr::ONE };
        let outcome = self.device.rows(&kernel, &[&a, &a, &b, &a]);
        let rejected = matches!(outcome, Err(DeviceError::Shape { .. }));
        self.check(rejected, "rows rejects columns of two lengths", "");
        let rejected =
            matches!(self.device.linear_combination(&[]), Err(DeviceError::Shape { .. }));
        self.check(rejected, "linear_combination rejects an empty list of terms", "");
        for empty in [
            self.device.prefix_product(&self.upload(&[])),
            self.device.prefix_sum(&self.upload(&[])),
        ] {
            self.check(
                self.download(&empty.expect("scan")).is_empty(),
                "an empty scan is empty",
                0,
            );
        }
        let empty = Column::<_, Coeff>::new(self.upload(&[]));
        let value = self.device.evaluate(&[&empty], Fr::ONE).expect("evaluate");
        self.check(value == [Fr::ZERO], "the empty polynomial is zero", 0);
    }
}
