//! Number-theoretic transforms by ICICLE. Elements go over and come back as they lie in memory: in
//! Montgomery form, which a transform keeps because it is linear.

use ark_ff::{AdditiveGroup, BigInt, Field, PrimeField};
use rollmill_algebra::Fr;
use rollmill_algebra::cpu::CpuBuffer;
use rollmill_algebra::device::{
    Basis, Coeff, Column, Coset, DeviceBuffer, DeviceError, Lagrange, Memory, Ntt,
};
use rollmill_algebra::field::TWO_ADICITY;

use crate::device::{IcicleDevice, convert, shape};
use crate::library::Direction;

impl IcicleDevice {
    fn transform(
        &self,
        operation: &'static str,
        values: &[Fr],
        direction: Direction,
        shift: Fr,
    ) -> Result<Vec<Fr>, DeviceError> {
        // A transform of one element changes nothing.
        if values.len() < 2 {
            return Ok(values.to_vec());
        }
        let threads = self.cpu.threads();
        let limbs = convert(threads, values, |value| value.0.0);
        let out = self
            .library
            .ntt(&self.id, &limbs, direction, shift.into_bigint().0)
            .map_err(|error| self.failed(operation, error))?;
        if out.iter().any(|limbs| BigInt(*limbs) >= Fr::MODULUS) {
            let n = values.len();
            let what = format!("a transform of {n} returned a value that is not below the modulus");
            return Err(self.failed(operation, self.wrong(what)));
        }
        Ok(convert(threads, &out, |limbs| Fr::new_unchecked(BigInt(*limbs))))
    }

    fn transform_all<S: Basis, T: Basis>(
        &self,
        operation: &'static str,
        columns: &[&Column<CpuBuffer, S>],
        direction: Direction,
        shift: Fr,
    ) -> Result<Vec<Column<CpuBuffer, T>>, DeviceError> {
        self.check(operation)?;
        if shift == Fr::ZERO {
            return shape(operation, "a shift that is not zero", "0");
        }
        let Some(n) = columns.first().map(|column| column.buffer.len()) else {
            return Ok(Vec::new());
        };
        if let Some(other) = columns.iter().map(|column| column.buffer.len()).find(|len| *len != n)
        {
            return shape(operation, format!("columns of length {n}"), other.to_string());
        }
        if !n.is_power_of_two() || n.trailing_zeros() > TWO_ADICITY {
            return shape(operation, "a power of two up to 2^28", n.to_string());
        }
        let one = |column: &&Column<CpuBuffer, S>| {
            let values = self.transform(operation, column.buffer.as_slice(), direction, shift)?;
            self.upload(&values).map(Column::new)
        };
        columns.iter().map(one).collect()
    }
}

impl Ntt for IcicleDevice {
    fn to_lagrange(
        &self,
        columns: &[&Column<CpuBuffer, Coeff>],
    ) -> Result<Vec<Column<CpuBuffer, Lagrange>>, DeviceError> {
        self.transform_all("to_lagrange", columns, Direction::Forward, Fr::ONE)
    }

    fn to_coeff(
        &self,
        columns: &[&Column<CpuBuffer, Lagrange>],
    ) -> Result<Vec<Column<CpuBuffer, Coeff>>, DeviceError> {
        self.transform_all("to_coeff", columns, Direction::Inverse, Fr::ONE)
    }

    fn to_coset(
        &self,
        columns: &[&Column<CpuBuffer, Coeff>],
        shift: Fr,
    ) -> Result<Vec<Column<CpuBuffer, Coset>>, DeviceError> {
        self.transform_all("to_coset", columns, Direction::Forward, shift)
    }

    fn from_coset(
        &self,
        columns: &[&Column<CpuBuffer, Coset>],
        shift: Fr,
    ) -> Result<Vec<Column<CpuBuffer, Coeff>>, DeviceError> {
        self.transform_all("from_coset", columns, Direction::Inverse, shift)
    }
}
