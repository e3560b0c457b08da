//! Memory, launches and tables of commitments, on the emulator.

use rollmill_algebra::Fr;
use rollmill_algebra::device::Memory;

use super::*;
use crate::device::CudaOptions;
use crate::emulated::{Emulation, Fault};
use crate::sizes::commit_bytes;
use crate::twins::library;

fn device() -> CudaDevice {
    with_slices(None)
}

fn with_slices(table_slices: Option<u32>) -> CudaDevice {
    let emulation = Emulation { late: false, ..Emulation::new(library()) };
    let options = CudaOptions { table_slices, ..CudaOptions::default() };
    CudaDevice::emulated(&emulation, &options).expect("the emulator opens")
}

#[test]
fn a_wrong_slice_of_a_table_makes_a_wrong_sum() {
    let n = 40;
    let base = G1Affine::generator();
    let [scalars, ..] = columns(n);
    let expected = base * scalars.iter().sum::<Fr>();
    for (count, kept) in [(2, 2), (26, 26)] {
        let device = with_slices(Some(count));
        let bases = device.register_bases(&vec![base; n]).unwrap();
        assert_eq!(bases.slices.count, kept);
        let column = device.upload(&scalars).unwrap();
        assert_eq!(device.commit(&bases, &[&column]).unwrap()[0], expected);
        let table = bases.block.as_ref().unwrap();
        let bytes = AFFINE * n as u64;
        for slice in [1, u64::from(kept) - 1] {
            let wrong = device.register_bases(&vec![base; n]).unwrap();
            let to = wrong.block.as_ref().unwrap().start().plus(slice * bytes);
            // The slice before it in its place.
            device.copy(OP, to, table.start().plus((slice - 1) * bytes), bytes).unwrap();
            assert_ne!(device.commit(&wrong, &[&column]).unwrap()[0], expected, "{slice}");
        }
    }
}

/// Columns of `n` scalars: uniform, all equal, and bits.
fn columns(n: usize) -> [Vec<Fr>; 3] {
    let factor = -Fr::from(7u64).inverse().expect("7 is not 0");
    let powers = std::iter::successors(Some(factor), |power| Some(*power * factor));
    let bits = (0..n as u64).map(|i| Fr::from(i & 1));
    [powers.take(n).collect(), vec![factor; n], bits.collect()]
}

#[test]
fn a_commitment_takes_no_more_memory_than_planned() {
    for (log_n, kinds) in [
        (10, &[0, 0, 0, 0, 0][..]),
        (10, &[1, 1, 1, 1, 1]),
        (11, &[2, 0, 1, 2, 0, 1, 2, 0, 0, 0, 0, 1, 2]),
        (12, &[0, 0, 0, 0, 0]),
        (14, &[0, 1, 2]),
        (16, &[2]),
    ] {
        let n = (1usize << log_n) + 8;
        let device = device();
        let base = G1Affine::generator();
        let bases = device.register_bases(&vec![base; n]).unwrap();
        let scalars = columns(n);
        let buffers = scalars.each_ref().map(|column| device.upload(column).unwrap());
        let (before, _, _) = device.memory_usage();
        let of_kinds: Vec<&CudaBuffer> = kinds.iter().map(|kind| &buffers[*kind]).collect();
        let sums = device.commit(&bases, &of_kinds).unwrap();
        for (kind, sum) in kinds.iter().zip(sums) {
            assert_eq!(sum, base * scalars[*kind].iter().sum::<Fr>(), "kind {kind}");
        }
        let (_, peak, _) = device.memory_usage();
        let (took, planned) = (peak - before, commit_bytes(1 << log_n));
        assert!(took <= planned, "2^{log_n}, {kinds:?}: {took} of {planned} B");
    }
}

/// The card is lost at the launch after so many: one more than there are does not happen.
#[test]
fn a_commitment_to_many_columns_takes_as_many_launches_as_one_to_one_column() {
    let scalars = columns(300);
    for kinds in [&[0][..], &[0, 1, 2, 2, 2, 2, 2, 2, 2, 0, 2, 2, 1]] {
        for (launches, fits) in [(13, true), (12, false)] {
            let fault = Some(Fault::LostAfter(launches));
            let emulation = Emulation { fault, ..Emulation::new(library()) };
            let device = CudaDevice::emulated(&emulation, &CudaOptions::default()).unwrap();
            let bases = device.register_bases(&vec![G1Affine::generator(); 300]).unwrap();
            let buffers = scalars.each_ref().map(|column| device.upload(column).unwrap());
            let columns: Vec<&CudaBuffer> = kinds.iter().map(|kind| &buffers[*kind]).collect();
            let sums = device.commit(&bases, &columns);
            assert_eq!(sums.is_ok(), fits, "{kinds:?}, {launches} launches");
        }
    }
}

#[test]
fn columns_that_do_not_fit_together_are_split_into_batches() {
    let device = device();
    let buffer = device.upload(&[Fr::from(1u64)]).unwrap();
    let job = |n: usize| {
        let reach = Reach::of_all(n as u64, 253);
        let plan = crate::plan::full(n as u64);
        let (scalars, load) = (buffer.start().unwrap(), Load::of(plan, &reach, n as u64));
        Job { scalars, n, plan, load }
    };
    let jobs: Vec<Job<'_>> = (0..13).map(|_| job(1 << 17)).collect();
    let lengths: Vec<usize> = batches(&jobs).iter().map(|batch| batch.len()).collect();
    assert_eq!(lengths, [5, 5, 3]);
    let long: Vec<Job<'_>> = (0..3).map(|_| job(1 << 22)).collect();
    assert_eq!(batches(&long).len(), 3);
    assert!(batches(&[]).is_empty());
}
