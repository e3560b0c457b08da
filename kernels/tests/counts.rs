//! How many products operations take, counted by the emulator. One test in a program of its own, since the counter
//! is that of the process.

mod common;

use rollmill_algebra::Fr;
use rollmill_algebra::conformance::numbers;
use rollmill_algebra::device::{Column, Memory, Ntt};
use rollmill_kernels::CudaDevice;

/// Products of limbs in a product of field elements.
const PRODUCT: u64 = 128;

/// Products in eighths per element that `run` takes once its tables are there.
fn eighths(device: &CudaDevice, n: usize, run: impl Fn()) -> u64 {
    run();
    let counted = || device.limb_products().expect("it runs").expect("the emulator counts");
    let before = counted();
    run();
    let products = counted() - before;
    let eighth = PRODUCT * n as u64 / 8;
    assert_eq!(products % eighth, 0, "{products} of {n}");
    products / eighth
}

/// Goal: transforms take the products that `docs/book/kernels.md` states, and no more. The rows are the passes' bits
/// and products on H: a pass of 2^5 takes 13 eighths after the first factor, one of 2^6 17, of 2^7 21, of 2^8 25.
#[test]
fn transforms_take_the_products_that_are_stated() {
    let device = common::device(|card| card.late = false);
    let expected = [
        (3, 5, 8),
        (6, 17, 8),
        (8, 25, 8),
        // One factor between two passes, which on the way back holds 1/n.
        (9, 13 + 9 + 8, 0),
        (12, 17 + 17 + 8, 0),
        (17, 17 + 17 + 13 + 16, 0),
    ];
    for (log_n, plain, for_n_inverse) in expected {
        let n = 1 << log_n;
        let values = device.upload(&numbers(1, "counted", n)).unwrap();
        let (coeff, lagrange) = (Column::new(values.clone()), Column::new(values.clone()));
        let coset = Column::new(values);
        let shift = Fr::from(7u64);
        let forward = eighths(&device, n, || drop(device.to_lagrange(&[&coeff]).unwrap()));
        let back = eighths(&device, n, || drop(device.to_coeff(&[&lagrange]).unwrap()));
        let to_coset = eighths(&device, n, || drop(device.to_coset(&[&coeff], shift).unwrap()));
        let from_coset = eighths(&device, n, || drop(device.from_coset(&[&coset], shift).unwrap()));
        let got = [forward, back, to_coset, from_coset];
        assert_eq!(got, [plain, plain + for_n_inverse, plain + 8, plain + 8], "2^{log_n}");
    }
}
