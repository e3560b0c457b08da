//! A device with buffers of its own: slow, and it obeys every law.
//!
//! A device is whatever implements [`Memory`], [`Msm`], [`Ntt`] and [`Vector`]. This one keeps its
//! columns in host memory and computes by the definitions in `rollmill_algebra::plain`, apart from the
//! transforms. To add a real device, start here, replace one function at a time, and run the same laws
//! after each.
//!
//! ```sh
//! cargo run --release -p rollmill-plonk --example device
//! ```

use rollmill_algebra::device::{
    Coeff, Column, Coset, DeviceBuffer, DeviceError, Lagrange, Memory, Msm, Ntt, RowKernel, Vector,
};
use rollmill_algebra::field::horner;
use rollmill_algebra::{Fr, G1Affine, omega, plain};

/// Computes everything by its definition, in one thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct SlowDevice;

/// A column in host memory.
#[derive(Debug, Clone)]
pub struct HostColumn(Vec<Fr>);

impl DeviceBuffer for HostColumn {
    fn len(&self) -> usize {
        self.0.len()
    }
}

fn shape<T>(operation: &'static str, expected: &str, got: impl ToString) -> Result<T, DeviceError> {
    Err(DeviceError::Shape { operation, expected: expected.to_owned(), got: got.to_string() })
}

impl Memory for SlowDevice {
    type Buffer = HostColumn;

    fn name(&self) -> String {
        "slow".to_owned()
    }
    fn upload(&self, values: &[Fr]) -> Result<HostColumn, DeviceError> {
        Ok(HostColumn(values.to_vec()))
    }
    fn upload_u16(&self, values: &[u16]) -> Result<HostColumn, DeviceError> {
        Ok(HostColumn(values.iter().map(|value| Fr::from(*value)).collect()))
    }
    fn download(&self, buffer: &HostColumn) -> Result<Vec<Fr>, DeviceError> {
        Ok(buffer.0.clone())
    }
}

impl Msm for SlowDevice {
    type Bases = Vec<G1Affine>;

    fn register_bases(&self, bases: &[G1Affine]) -> Result<Self::Bases, DeviceError> {
        Ok(bases.to_vec())
    }
    fn commit(
        &self,
        bases: &Self::Bases,
        columns: &[&HostColumn],
    ) -> Result<Vec<G1Affine>, DeviceError> {
        if let Some(long) = columns.iter().find(|column| column.len() > bases.len()) {
            return shape("commit", "no more scalars than bases", long.len());
        }
        Ok(columns.iter().map(|column| plain::msm(bases, &column.0)).collect())
    }
}

/// Values on `shift · H`: p(x) = e(x²) + x·o(x²), with the even and the odd coefficients.
fn evaluate(coefficients: &[Fr], shift: Fr) -> Vec<Fr> {
    let n = coefficients.len();
    if n == 1 {
        return coefficients.to_vec();
    }
    let half = |parity| coefficients.iter().skip(parity).step_by(2).copied().collect::<Vec<_>>();
    let (even, odd) = (evaluate(&half(0), shift * shift), evaluate(&half(1), shift * shift));
    let root = omega(n.trailing_zeros());
    let points = std::iter::successors(Some(shift), |point| Some(*point * root));
    points.take(n).enumerate().map(|(i, x)| even[i % (n / 2)] + x * odd[i % (n / 2)]).collect()
}

/// Interpolates from `shift · H`: the transform by the inverse root, the coset undone, divided by n.
fn interpolate(values: &[Fr], shift: Fr) -> Vec<Fr> {
    let mut out = evaluate(values, Fr::from(1u64));
    // The transform by ω⁻¹ is that by ω with the order of all but the first turned around.
    out[1..].reverse();
    let inverses = plain::invert(&[Fr::from(out.len() as u64), shift]);
    let mut factor = inverses[0];
    for value in &mut out {
        *value *= factor;
        factor *= inverses[1];
    }
    out
}

fn transform<A: rollmill_algebra::device::Basis, B: rollmill_algebra::device::Basis>(
    operation: &'static str,
    columns: &[&Column<HostColumn, A>],
    one: impl Fn(&[Fr]) -> Vec<Fr>,
) -> Result<Vec<Column<HostColumn, B>>, DeviceError> {
    let n = columns.first().map_or(1, |column| column.buffer.len());
    if let Some(bad) = columns.iter().map(|c| c.buffer.len()).find(|len| *len != n) {
        return shape(operation, "columns of one length", bad);
    }
    if !n.is_power_of_two() {
        return shape(operation, "a power of two", n);
    }
    Ok(columns.iter().map(|column| Column::new(HostColumn(one(&column.buffer.0)))).collect())
}

fn check_coset(operation: &'static str, shift: Fr) -> Result<(), DeviceError> {
    if shift == Fr::from(0u64) {
        shape(operation, "a shift that is not zero", shift)
    } else {
        Ok(())
    }
}

impl Ntt for SlowDevice {
    fn to_lagrange(
        &self,
        columns: &[&Column<HostColumn, Coeff>],
    ) -> Result<Vec<Column<HostColumn, Lagrange>>, DeviceError> {
        transform("to_lagrange", columns, |values| evaluate(values, Fr::from(1u64)))
    }
    fn to_coeff(
        &self,
        columns: &[&Column<HostColumn, Lagrange>],
    ) -> Result<Vec<Column<HostColumn, Coeff>>, DeviceError> {
        transform("to_coeff", columns, |values| interpolate(values, Fr::from(1u64)))
    }
    fn to_coset(
        &self,
        columns: &[&Column<HostColumn, Coeff>],
        shift: Fr,
    ) -> Result<Vec<Column<HostColumn, Coset>>, DeviceError> {
        check_coset("to_coset", shift)?;
        transform("to_coset", columns, |values| evaluate(values, shift))
    }
    fn from_coset(
        &self,
        columns: &[&Column<HostColumn, Coset>],
        shift: Fr,
    ) -> Result<Vec<Column<HostColumn, Coeff>>, DeviceError> {
        check_coset("from_coset", shift)?;
        transform("from_coset", columns, |values| interpolate(values, shift))
    }
}

impl Vector for SlowDevice {
    fn rows<K: RowKernel>(
        &self,
        kernel: &K,
        columns: &[&HostColumn],
    ) -> Result<Vec<HostColumn>, DeviceError> {
        let Some(n) = columns.first().map(|column| column.len()) else {
            return shape("rows", "at least one column", 0);
        };
        if let Some(bad) = columns.iter().find(|column| column.len() != n) {
            return shape("rows", "columns of one length", bad.len());
        }
        let columns: Vec<Vec<Fr>> = columns.iter().map(|column| column.0.clone()).collect();
        Ok(plain::rows(kernel, &columns).into_iter().map(HostColumn).collect())
    }
    fn invert(&self, buffer: &mut HostColumn) -> Result<(), DeviceError> {
        buffer.0 = plain::invert(&buffer.0);
        Ok(())
    }
    fn prefix_product(&self, buffer: &HostColumn) -> Result<HostColumn, DeviceError> {
        Ok(HostColumn(plain::prefix_product(&buffer.0)))
    }
    fn prefix_sum(&self, buffer: &HostColumn) -> Result<HostColumn, DeviceError> {
        Ok(HostColumn(plain::prefix_sum(&buffer.0)))
    }
    fn evaluate(
        &self,
        columns: &[&Column<HostColumn, Coeff>],
        point: Fr,
    ) -> Result<Vec<Fr>, DeviceError> {
        Ok(columns.iter().map(|column| horner(&column.buffer.0, point)).collect())
    }
    fn divide_by_linear(
        &self,
        column: &Column<HostColumn, Coeff>,
        point: Fr,
    ) -> Result<Column<HostColumn, Coeff>, DeviceError> {
        // Long division from the top: q[i−1] = c[i] + point · q[i].
        let mut carry = Fr::from(0u64);
        let mut quotient = column.buffer.0.clone();
        for value in quotient.iter_mut().rev() {
            let next = *value + point * carry;
            *value = carry;
            carry = next;
        }
        Ok(Column::new(HostColumn(quotient)))
    }
    fn linear_combination(&self, terms: &[(&HostColumn, Fr)]) -> Result<HostColumn, DeviceError> {
        let Some(n) = terms.iter().map(|(buffer, _)| buffer.len()).max() else {
            return shape("linear_combination", "at least one term", 0);
        };
        let mut out = vec![Fr::from(0u64); n];
        for (buffer, factor) in terms {
            out.iter_mut().zip(&buffer.0).for_each(|(sum, value)| *sum += *value * factor);
        }
        Ok(HostColumn(out))
    }
}

#[allow(dead_code)] // A test uses the parts of this example.
fn main() {
    let seed = 1;
    rollmill_algebra::conformance::run_all(&SlowDevice, seed);
    println!("the device obeys every law of the device traits");
    rollmill_plonk::conformance::proof_is_the_cpus(&SlowDevice);
    println!("keys and proofs made on it are those of the CPU device, byte for byte");
}
