//! Laws of number-theoretic transforms.

use ark_ff::{AdditiveGroup, Field};

use super::Laws;
use crate::device::{Coeff, Column, Coset, Device, DeviceError, Lagrange};
use crate::{Fr, omega, plain};

pub(super) fn run<D: Device>(laws: &Laws<'_, D>) {
    for log_n in [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] {
        laws.group("transforms", |laws| laws.ntt_matches_its_twin(log_n));
    }
    for log_n in [10, 11, 12, 13, 14, 15] {
        laws.group("long transforms", |laws| laws.ntt_round_trips(log_n));
    }
    laws.group("transforms of special values", Laws::ntt_of_special_values);
    laws.group("transforms are linear", Laws::ntt_is_linear);
    laws.group("convolutions", Laws::ntt_turns_convolution_into_products);
    laws.group("batches of transforms", Laws::ntt_batches);
    laws.group("shapes of transforms", Laws::ntt_shapes);
}

impl<D: Device> Laws<'_, D> {
    fn coeff(&self, values: &[Fr]) -> Column<D::Buffer, Coeff> {
        Column::new(self.upload(values))
    }

    fn lagrange(&self, values: &[Fr]) -> Column<D::Buffer, Lagrange> {
        Column::new(self.upload(values))
    }

    fn coset(&self, values: &[Fr]) -> Column<D::Buffer, Coset> {
        Column::new(self.upload(values))
    }

    fn forward(&self, values: &[Fr]) -> Vec<Fr> {
        self.download(
            &self.device.to_lagrange(&[&self.coeff(values)]).expect("to_lagrange")[0].buffer,
        )
    }

    fn inverse(&self, values: &[Fr]) -> Vec<Fr> {
        self.download(&self.device.to_coeff(&[&self.lagrange(values)]).expect("to_coeff")[0].buffer)
    }

    fn forward_on(&self, values: &[Fr], shift: Fr) -> Vec<Fr> {
        let out = self.device.to_coset(&[&self.coeff(values)], shift).expect("to_coset");
        self.download(&out[0].buffer)
    }

    fn inverse_on(&self, values: &[Fr], shift: Fr) -> Vec<Fr> {
        let out = self.device.from_coset(&[&self.coset(values)], shift).expect("from_coset");
        self.download(&out[0].buffer)
    }

    fn ntt_matches_its_twin(&self, log_n: u32) {
        let values = self.frs("twin", 1 << log_n);
        let shift = self.fr("twin shift");
        let on_h = plain::dft(&values, Fr::ONE);
        let on_coset = plain::dft(&values, shift);
        let case = format!("log_n {log_n}");
        self.check(self.forward(&values) == on_h, "to_lagrange evaluates on H", &case);
        self.check(self.inverse(&on_h) == values, "to_coeff interpolates on H", &case);
        let law = "to_coset evaluates on the coset";
        self.check(self.forward_on(&values, shift) == on_coset, law, &case);
        let law = "from_coset interpolates on the coset";
        self.check(self.inverse_on(&on_coset, shift) == values, law, &case);
        let law = "the coset of shift 1 is H";
        self.check(self.forward_on(&values, Fr::ONE) == on_h, law, &case);
        self.check(self.inverse_on(&on_h, Fr::ONE) == values, law, &case);
    }

    /// Larger sizes: one value against Horner's rule, and the way back.
    fn ntt_round_trips(&self, log_n: u32) {
        let n = 1usize << log_n;
        let values = self.frs("round trip", n);
        let shift = self.fr("round trip shift");
        let case = format!("log_n {log_n}");
        let on_h = self.forward(&values);
        let on_coset = self.forward_on(&values, shift);
        for i in [0, 1, n / 2 + 3, n - 1] {
            let point = omega(log_n).pow([i as u64]);
            let place = format!("{case}, index {i}");
            let value = crate::field::horner(&values, point);
            self.check(on_h[i] == value, "to_lagrange evaluates on H", &place);
            let value = crate::field::horner(&values, shift * point);
            self.check(on_coset[i] == value, "to_coset evaluates on the coset", &place);
        }
        self.check(self.inverse(&on_h) == values, "to_coeff undoes to_lagrange", &case);
        let law = "from_coset undoes to_coset";
        self.check(self.inverse_on(&on_coset, shift) == values, law, &case);
        self.check(self.forward(&self.inverse(&values)) == values, "and the other way", &case);
    }

    fn ntt_of_special_values(&self) {
        for n in [8usize, 1 << 11] {
            let zeros = vec![Fr::ZERO; n];
            self.check(self.forward(&zeros) == zeros, "zero transforms to zero", n);
            let mut constant = zeros.clone();
            constant[0] = -Fr::ONE;
            let all = vec![-Fr::ONE; n];
            self.check(self.forward(&constant) == all, "a constant has one value", n);
            self.check(self.inverse(&all) == constant, "one value comes from a constant", n);
            let mut top = zeros;
            top[n - 1] = Fr::ONE;
            let root = omega(n.trailing_zeros());
            let inverse = root.pow([n as u64 - 1]);
            let expected = crate::field::powers(inverse, n);
            self.check(self.forward(&top) == expected, "the highest monomial", n);
        }
    }

    fn ntt_is_linear(&self) {
        let n = 1 << 10;
        let (a, b) = (self.frs("linear a", n), self.frs("linear b", n));
        let factor = self.fr("linear factor");
        let shift = self.fr("linear shift");
        let mix = |a: &[Fr], b: &[Fr]| -> Vec<Fr> {
            a.iter().zip(b).map(|(a, b)| *a * factor + b).collect()
        };
        let holds = self.forward(&mix(&a, &b)) == mix(&self.forward(&a), &self.forward(&b));
        self.check(holds, "to_lagrange is linear", n);
        let images = mix(&self.forward_on(&a, shift), &self.forward_on(&b, shift));
        self.check(self.forward_on(&mix(&a, &b), shift) == images, "to_coset is linear", n);
    }

    fn ntt_turns_convolution_into_products(&self) {
        let n = 256;
        let mut a = self.frs("convolution a", n / 2);
        let mut b = self.frs("convolution b", n / 2 - 6);
        let mut product = plain::multiply(&a, &b);
        for values in [&mut a, &mut b, &mut product] {
            values.resize(n, Fr::ZERO);
        }
        let values: Vec<Fr> =
            self.forward(&a).iter().zip(self.forward(&b)).map(|(a, b)| *a * b).collect();
        self.check(self.inverse(&values) == product, "products on H are convolutions", n);
    }

    fn ntt_batches(&self) {
        let none = self.device.to_lagrange(&[]).expect("to_lagrange");
        self.check(none.is_empty(), "a batch of no columns returns no columns", 0);
        for n in [1, 4, 512] {
            let columns: Vec<Vec<Fr>> =
                (0..5).map(|i| self.frs(&format!("batch {i}"), n)).collect();
            let uploaded: Vec<_> = columns.iter().map(|values| self.coeff(values)).collect();
            let refs: Vec<_> = uploaded.iter().collect();
            let out = self.device.to_lagrange(&refs).expect("to_lagrange");
            self.check(out.len() == columns.len(), "a batch returns a column for each", n);
            for (values, out) in columns.iter().zip(&out) {
                let holds = self.download(&out.buffer) == plain::dft(values, Fr::ONE);
                self.check(holds, "a batch transforms each column", n);
            }
            for (values, uploaded) in columns.iter().zip(&uploaded) {
                let holds = self.download(&uploaded.buffer) == *values;
                self.check(holds, "a transform leaves its input alone", n);
            }
        }
        let small = self.device.upload_u16(&[1, 2, 3, 4]).expect("upload_u16");
        let out = self.device.to_lagrange(&[&Column::new(small)]).expect("to_lagrange");
        let expected = plain::dft(&[1u64, 2, 3, 4].map(Fr::from), Fr::ONE);
        let holds = self.download(&out[0].buffer) == expected;
        self.check(holds, "small values transform as field elements", 4);
    }

    fn ntt_shapes(&self) {
        let rejected = |error: Option<DeviceError>, law: &str| {
            self.check(matches!(error, Some(DeviceError::Shape { .. })), law, "");
        };
        for n in [0, 3, 12] {
            let column = self.coeff(&self.frs("shape", n));
            let law = format!("a transform of length {n} is rejected");
            rejected(self.device.to_lagrange(&[&column]).err(), &law);
        }
        let (a, b) = (self.coeff(&self.frs("shape", 4)), self.coeff(&self.frs("shape", 8)));
        rejected(self.device.to_lagrange(&[&a, &b]).err(), "columns of two lengths are rejected");
        rejected(self.device.to_coset(&[&a], Fr::ZERO).err(), "to_coset rejects shift 0");
        let values = self.coset(&self.frs("shape", 4));
        rejected(self.device.from_coset(&[&values], Fr::ZERO).err(), "from_coset rejects shift 0");
    }
}
