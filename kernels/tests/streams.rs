//! Sessions: work in several streams of one card, with only the waits that it needs, and their memory.

mod common;

use ark_ec::{AffineRepr, CurveGroup};
use rollmill_algebra::device::{
    Coeff, Column, DeviceError, HostColumn, Memory, Msm, Ntt, Vector, Work,
};
use rollmill_algebra::{Fr, G1Affine, plain};
use rollmill_kernels::{CudaDevice, CudaOptions, Emulation, Fault};

const SMALL: Work = Work { name: "test", n: 1, columns: 1 };

fn numbers(n: u64) -> Vec<Fr> {
    (0..n).map(|i| Fr::from(i * i + 3)).collect()
}

fn session(device: &CudaDevice) -> CudaDevice {
    device.session(SMALL).expect("opens").expect("has sessions")
}

/// Work of two sessions on the same buffers. Each part needs one wait of one stream for another.
fn mixed(device: &CudaDevice) -> Result<bool, DeviceError> {
    let (a, b) = (session(device), session(device));
    let values = numbers(40);
    let sums = plain::prefix_sum(&values);
    let nine = Fr::from(9u64);
    let mut right = true;

    // Uploaded in its own stream, because of its size; then computed with.
    let many = numbers(2100);
    let sum = device.prefix_sum(&device.upload(&many)?)?;
    right &= device.download(&sum)? == plain::prefix_sum(&many);

    // Written in one session, read in another.
    let (a, b) = (&a, &b);
    let x = a.upload(&values)?;
    right &= b.download(&b.prefix_sum(&x)?)? == sums;

    // Written in one, downloaded in another.
    let (c, d) = (session(device), session(device));
    let x = c.prefix_sum(&c.upload(&values)?)?;
    right &= d.download(&x)? == sums;

    // Read in one, then written in another.
    let mut x = device.upload(&values)?;
    device.synchronize()?;
    let sum = b.prefix_sum(&x)?;
    a.write(&mut x, 0, &[nine])?;
    right &= a.download(&x)?[0] == nine;
    right &= b.download(&sum)? == sums;

    // Written in one, then in another.
    let mut x = device.upload(&values)?;
    device.synchronize()?;
    b.invert(&mut x)?;
    a.write(&mut x, 0, &[nine])?;
    let mut expected = plain::invert(&values);
    expected[0] = nine;
    right &= a.download(&x)? == expected;

    // Tables that the first who needs them makes: of the roots, in a stream for uploads, and of a
    // shift's powers.
    let shift = Fr::from(7u64);
    let transform = |session: &CudaDevice| {
        let column: Column<_, Coeff> = Column::new(session.upload(&numbers(8))?);
        session.to_coset(&[&column], shift)
    };
    let column: Column<_, Coeff> = Column::new(a.upload(&numbers(8))?);
    let values = a.download(&a.to_lagrange(&[&column])?[0].buffer)?;
    right &= values == plain::dft(&numbers(8), Fr::from(1u64));
    let _not_run = transform(a)?;
    let values = b.download(&transform(b)?[0].buffer)?;
    right &= values == plain::dft(&numbers(8), shift);
    Ok(right)
}

fn card(change: impl FnOnce(&mut Emulation)) -> CudaDevice {
    common::device(change)
}

#[test]
fn work_in_several_streams_waits_for_what_it_uses_in_every_order() {
    assert_eq!(mixed(&card(|_| {})), Ok(true));
    for seed in 0..20 {
        println!("seed {seed}");
        assert_eq!(mixed(&card(|card| card.shuffle = Some(seed))), Ok(true), "seed {seed}");
    }
}

/// The test above is worth something: without any one of the waits the emulator, which lets streams
/// do not advance as long as nothing waits for them, returns a wrong value.
#[test]
fn leaving_out_any_one_wait_is_seen() {
    let whole = card(|_| {});
    assert_eq!(mixed(&whole), Ok(true));
    let waits = whole.waits();
    assert!(waits >= 7, "only {waits}");
    for missed in 0..waits {
        let spoilt = card(|card| card.fault = Some(Fault::MissesWait(missed)));
        assert_ne!(mixed(&spoilt), Ok(true), "wait {missed} of {waits} is not needed by the test");
    }
}

/// Three columns, each of which is uploaded while the ones before it are summed. Returns whether all of it is right,
/// the waits of a stream for another, and the downloads, at which alone the host waits.
fn overlapped(emulation: &Emulation) -> (Result<bool, DeviceError>, [u64; 2]) {
    let options = CudaOptions { overlap_bytes: Some(1), ..CudaOptions::default() };
    let device = CudaDevice::emulated(emulation, &options).expect("opens");
    // As many as have their own stream for uploads.
    let n = 2100;
    let rest = [Fr::from(5u64), Fr::from(6u64)];
    let columns = [1u64, 2, 3].map(|factor| -> Vec<Fr> {
        numbers(n as u64).into_iter().map(|number| number * Fr::from(factor)).collect()
    });
    let run = || {
        let base = G1Affine::generator();
        let bases = device.register_bases(&vec![base; n])?;
        let sent = [0, 1, 2].map(|i| {
            let values: &[Fr] = &columns[i];
            HostColumn { values, start: n - rest.len(), rest: &rest }
        });
        let before = device.calls();
        let (buffers, points) = device.upload_and_commit(&bases, &sent)?;
        let downloads = device.calls().since(&before).downloads;
        let mut right = true;
        for ((values, buffer), point) in columns.iter().zip(&buffers).zip(points) {
            let mut expected = values.clone();
            expected[n - rest.len()..].copy_from_slice(&rest);
            let sum: Fr = expected.iter().sum();
            right &= point == (base * sum).into_affine() && device.download(buffer)? == expected;
        }
        Ok::<_, DeviceError>((right, downloads))
    };
    let outcome = run();
    let downloads = outcome.as_ref().map_or(0, |(_, downloads)| *downloads);
    (outcome.map(|(right, _)| right), [device.waits(), downloads])
}

/// Goal: a column travels while the ones before it are summed, and no sum reads it too early. Method: the host waits
/// twice for each column, for the lengths of its scalars and for its sum, and a stream once, for the column; without
/// any one of these waits a sum is wrong.
#[test]
fn columns_travel_while_others_are_summed_and_no_sum_is_too_early() {
    let emulation = Emulation::new(common::library());
    let (outcome, counts) = overlapped(&emulation);
    assert_eq!((outcome, counts), (Ok(true), [3, 6]));
    for missed in 0..3 {
        let fault = Some(Fault::MissesWait(missed));
        let (outcome, _) = overlapped(&Emulation { fault, ..emulation.clone() });
        assert_ne!(outcome, Ok(true), "wait {missed}");
    }
    for seed in 0..20 {
        println!("seed {seed}");
        let (outcome, _) = overlapped(&Emulation { shuffle: Some(seed), ..emulation.clone() });
        assert_eq!(outcome, Ok(true), "seed {seed}");
    }
}

/// A block is dropped while a session is still to read it, and memory is so short that another session
/// is given it at once.
fn handed_on(emulation: &Emulation) -> (Result<bool, DeviceError>, u64) {
    let options = CudaOptions { budget_bytes: Some(6000 << 10), ..CudaOptions::default() };
    let device = CudaDevice::emulated(emulation, &options).expect("opens");
    let run = || {
        let (a, b) = (session(&device), session(&device));
        let (first, second) = (numbers(1 << 16), vec![Fr::from(9u64); 1 << 16]);
        let x = device.upload(&first)?;
        device.synchronize()?;
        let sum = b.prefix_sum(&x)?;
        drop(x);
        let y = a.upload(&second)?;
        let same = a.download(&y)? == second;
        Ok(same && b.download(&sum)? == plain::prefix_sum(&first))
    };
    (run(), device.waits())
}

#[test]
fn memory_that_a_session_gave_up_while_it_was_to_be_read_is_not_overwritten() {
    let emulation = Emulation::new(common::library());
    let (outcome, waits) = handed_on(&emulation);
    assert_eq!((outcome, waits), (Ok(true), 2));
    for missed in 0..waits {
        let fault = Some(Fault::MissesWait(missed));
        let (outcome, _) = handed_on(&Emulation { fault, ..emulation.clone() });
        assert_ne!(outcome, Ok(true), "wait {missed}");
    }
}

#[test]
fn what_is_set_aside_for_a_session_is_nobody_elses() {
    let budget = 16 << 20;
    let options = CudaOptions { budget_bytes: Some(budget), ..CudaOptions::default() };
    let device = CudaDevice::emulated(&Emulation::new(common::library()), &options).unwrap();
    let work = Work { name: "proof", n: 1 << 10, columns: 100 };
    let planned = CudaDevice::peak_bytes(work.n, work.columns);
    assert!(planned > budget / 2 && planned < budget);

    let first = device.session(work).unwrap().unwrap();
    let free = budget - planned;
    let large = vec![Fr::from(1u64); (free / 32) as usize + 1000];
    let rejected = device.upload(&large).unwrap_err();
    assert!(matches!(rejected, DeviceError::Memory { free_bytes, .. } if free_bytes == free));
    let buffer = first.upload(&large).expect("its own");
    assert!(!first.keep(&[&buffer]), "that would take what is set aside");
    let small = first.upload(&numbers(10)).unwrap();
    assert!(first.keep(&[&small]));

    // Another of that size waits for the first; one that can never fit is rejected at once.
    let huge = Work { columns: 1000, ..work };
    let needed = CudaDevice::peak_bytes(huge.n, huge.columns);
    let rejected = device.session(huge).unwrap_err();
    assert_eq!(
        rejected,
        DeviceError::Memory { operation: "proof", needed_bytes: needed, free_bytes: budget - 512 }
    );
    let second = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| device.session(work).unwrap().unwrap());
        drop(buffer);
        drop(first);
        waiting.join().expect("no panic")
    });
    assert_eq!(second.download(&small).unwrap(), numbers(10), "what was kept is there");
    drop(small);
    drop(second);
    assert_eq!(device.memory_usage().0, 0);
    assert!(device.upload(&large).is_ok());
}
