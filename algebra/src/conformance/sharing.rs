//! Laws of buffers that are passed to an operation more than once, or dropped while work is queued.

use ark_ff::AdditiveGroup;

use super::{Laws, points};
use crate::Fr;
use crate::device::{Coeff, Column, Device};

pub(super) fn run<D: Device>(laws: &Laws<'_, D>) {
    laws.group("one buffer many times", Laws::one_buffer_many_times);
    laws.group("outputs become inputs", Laws::outputs_become_inputs);
}

impl<D: Device> Laws<'_, D> {
    /// One buffer in several places of one call is as good as several equal ones.
    fn one_buffer_many_times(&self) {
        let n = 64;
        let values = self.frs("shared", n);
        let buffer = self.upload(&values);
        let [x, y] = [self.fr("shared x"), self.fr("shared y")];
        let terms =
            [(&buffer, x), (&buffer, y), (&buffer, x), (&buffer, y), (&buffer, -x), (&buffer, -x)];
        let sum = self.download(&self.device.linear_combination(&terms).expect("combine"));
        let expected: Vec<Fr> = values.iter().map(|value| *value * (y + y)).collect();
        self.check(sum == expected, "linear_combination of one buffer", n);

        let column = Column::<_, Coeff>::new(buffer.clone());
        let out = self.device.to_lagrange(&[&column, &column]).expect("to_lagrange");
        let [a, b] = [&out[0], &out[1]].map(|out| self.download(&out.buffer));
        self.check(a == b, "one column transformed twice", n);
        let out = self.device.evaluate(&[&column, &column], x).expect("evaluate");
        self.check(out[0] == out[1], "one column evaluated twice", n);
        let bases = self.device.register_bases(&points(self.seed, n)).expect("register_bases");
        let sums = self.device.commit(&bases, &[&buffer, &buffer]).expect("commit");
        self.check(sums[0] == sums[1], "one column committed to twice", n);
        self.check(self.download(&buffer) == values, "a shared buffer stays as it was", n);
    }

    /// Results feed the next operation without a download between, and every source is dropped as soon
    /// as the work that reads it is queued.
    fn outputs_become_inputs(&self) {
        let n = 512;
        let values = self.frs("chain", n);
        let mut column = Column::<_, Coeff>::new(self.upload(&values));
        for step in 1..=4u64 {
            let shift = Fr::from(step);
            let on_coset = self.device.to_coset(&[&column], shift).expect("to_coset").remove(0);
            drop(column);
            let back = self.device.from_coset(&[&on_coset], shift).expect("from_coset").remove(0);
            drop(on_coset);
            let twice = [(&back.buffer, Fr::from(2u64))];
            let doubled = self.device.linear_combination(&twice).expect("combine");
            drop(back);
            column = Column::new(doubled);
        }
        let expected: Vec<Fr> = values.iter().map(|value| *value * Fr::from(16u64)).collect();
        self.check(self.download(&column.buffer) == expected, "a chain of operations", n);
        let mut buffer = column.buffer;
        self.device.invert(&mut buffer).expect("invert");
        let products = self.device.prefix_product(&buffer).expect("prefix_product");
        self.device.invert(&mut buffer).expect("invert");
        let again = self.device.prefix_product(&buffer).expect("prefix_product");
        drop(buffer);
        let last = [products, again].map(|products| self.download(&products)[n - 1]);
        let zero = expected.contains(&Fr::ZERO);
        self.check(zero || last[0] * last[1] == Fr::from(1u64), "inverses of a chain", n);
    }
}
