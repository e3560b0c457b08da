//! Keys are made from files that are what they claim to be: each file that defines a key, with each lie that
//! keeps the file's own digest right.

use ark_ec::{AffineRepr, CurveGroup};
use rollmill_algebra::bytes::{G1_BYTES, g1_to_bytes};
use rollmill_algebra::cpu::CpuDevice;
use rollmill_algebra::{Fr, G1Affine, G2Affine};
use rollmill_circuits::Circuit;
use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::maker::{MadeKey, lagrange_name, make};
use rollmill_circuits::registry::{RegistryError, open_srs, require_expected_root};
use rollmill_circuits::store::{MemoryStore, Store};
use rollmill_plonk::builder::Builder;
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::layout::Layout;
use rollmill_plonk::srs::{Origin, Srs, SrsError};

const LOG_N: u32 = 6;

/// Layouts of one shape that differ in one constant.
fn layout(constant: u64) -> Result<Layout, RegistryError> {
    let mut b = Builder::new(1, 4);
    let x = b.witness(Fr::from(3u64));
    b.set_public(0, x);
    let y = b.mul(x, x);
    b.assert_constant(y, Fr::from(constant));
    Ok(b.layout(Some(LOG_N)).expect("the circuit fits"))
}

/// The keys, and of each layout whether its key was there.
type Made = (Vec<MadeKey>, Vec<(usize, bool)>);

fn keys(srs: &Srs, store: &dyn Store) -> Result<Made, RegistryError> {
    let heard = parking_lot::Mutex::new(Vec::new());
    let layouts: [&dyn Fn() -> _; 2] = [&|| layout(9), &|| layout(10)];
    let progress = |i, kept| heard.lock().push((i, kept));
    let keys = make(&CpuDevice::new(1), srs, store, &layouts, &progress)?;
    let mut heard = heard.into_inner();
    heard.sort_unstable();
    Ok((keys, heard))
}

/// A store with honest keys, the names of their two files, and the keys.
fn honest(srs: &Srs) -> (MemoryStore, [String; 2], Vec<MadeKey>) {
    let store = MemoryStore::default();
    let (made, heard) = keys(srs, &store).unwrap();
    assert_eq!(heard, [(0, false), (1, false)]);
    let name = |key: &MadeKey| {
        let powers = hex::encode(&srs.powers_digest(LOG_N)[..16]);
        format!("key-{}-{powers}.bin", hex::encode(&key.layout_digest[..16]))
    };
    let names = [name(&made[0]), name(&made[1])];
    assert_ne!(names[0], names[1]);
    (store, names, made)
}

#[test]
fn kept_keys_are_found_and_are_the_same() {
    let srs = Srs::development(LOG_N);
    let (store, _, made) = honest(&srs);
    let (again, heard) = keys(&srs, &store).unwrap();
    assert_eq!(heard, [(0, true), (1, true)]);
    assert_eq!(again, made);
}

/// Goal: no file of a key leads to another key. Method: each change is resealed, as whoever writes the file
/// would.
#[test]
fn a_kept_key_that_is_not_what_it_claims_is_made_anew() {
    let srs = Srs::development(LOG_N);
    let (store, names, made) = honest(&srs);
    let files = names.each_ref().map(|name| store.get_sealed(name).unwrap().unwrap());
    let other_point = g1_to_bytes(&(G1Affine::generator() * Fr::from(77u64)).into_affine());
    let first_column = made[0].vk.to_bytes().len() - made[0].vk.fixed.len() * G1_BYTES;
    let mut lies = vec![("the file of another circuit".to_owned(), files[1].clone())];
    for column in 0..made[0].vk.fixed.len() {
        let at = first_column + column * G1_BYTES;
        let mut lie = files[0].clone();
        lie[at..at + G1_BYTES].copy_from_slice(&other_point);
        lies.push((format!("column {column} is another point"), lie));
    }
    let mut swapped = files[0].clone();
    swapped[first_column..first_column + G1_BYTES]
        .copy_from_slice(&files[0][first_column + G1_BYTES..first_column + 2 * G1_BYTES]);
    lies.push(("a column twice".to_owned(), swapped));
    // The other circuit's key, with a claim to be of this layout.
    let vk_bytes = made[0].vk.to_bytes().len();
    let claimed = [&files[1][..vk_bytes], &files[0][vk_bytes..]].concat();
    lies.push(("another circuit's key under this layout's digest".to_owned(), claimed));
    for (at, what) in
        [(3, "shape"), (20, "id of the SRS"), (vk_bytes, "layout"), (vk_bytes + 32, "powers")]
    {
        let mut lie = files[0].clone();
        lie[at] ^= 1;
        lies.push((format!("another {what}"), lie));
    }
    for (what, lie) in lies {
        assert_ne!(lie, files[0], "{what}");
        store.put_sealed(&names[0], lie).unwrap();
        let (again, heard) = keys(&srs, &store).unwrap();
        assert_eq!(again, made, "{what}");
        assert_eq!(heard[0], (0, false), "{what}");
        assert_eq!(store.get_sealed(&names[0]).unwrap().unwrap(), files[0], "{what}");
    }
}

/// Each claim of a kept key alone is enough to reject it, before any sum is made.
#[test]
fn a_kept_key_says_what_it_was_made_for() {
    let srs = Srs::development(LOG_N);
    let (store, names, made) = honest(&srs);
    let file = store.get_sealed(&names[0]).unwrap().unwrap();
    let vk_bytes = made[0].vk.to_bytes().len();
    for at in [3, 20, vk_bytes, vk_bytes + 32] {
        let mut lie = file.clone();
        lie[at] ^= 1;
        store.put_sealed(&names[0], lie).unwrap();
        let (_, heard) = keys(&srs, &store).unwrap();
        // Were it taken, the sum over both would be false, and both be made anew.
        assert_eq!(heard, [(0, false), (1, true)], "byte {at}");
    }
}

#[test]
fn a_lagrange_form_of_other_points_is_made_anew() {
    let srs = Srs::development(LOG_N);
    let (store, names, made) = honest(&srs);
    let name = lagrange_name(&srs, LOG_N);
    let points = store.get_sealed(&name).unwrap().unwrap();
    let other = g1_to_bytes(&G1Affine::generator());
    for at in 0..1 << LOG_N {
        let mut lie = points.clone();
        match at % 2 {
            0 => lie[at * G1_BYTES..(at + 1) * G1_BYTES].copy_from_slice(&other),
            _ => lie[(at - 1) * G1_BYTES..(at + 1) * G1_BYTES].rotate_left(G1_BYTES),
        }
        store.put_sealed(&name, lie).unwrap();
        // No kept key, so that the lie would be used.
        let fresh = MemoryStore::default();
        fresh.put(&name, &store.get(&name).unwrap().unwrap()).unwrap();
        assert_eq!(keys(&srs, &fresh).unwrap().0, made, "point {at}");
        assert_eq!(fresh.get_sealed(&name).unwrap().unwrap(), points, "point {at}");
    }
    // And with kept keys, which must not be taken for false.
    assert_eq!(keys(&srs, &store).unwrap().1, [(0, true), (1, true)]);
    assert!(store.get_sealed(&names[0]).unwrap().is_some());
}

/// Goal: no made-up string makes a key, though its points are on the curve, its file's digest is right and
/// its `[τ]_2` is genuine.
#[test]
fn keys_are_not_made_from_points_that_are_no_powers() {
    let srs = Srs::development(LOG_N);
    let g = G1Affine::generator();
    let last = srs.powers.len() - 1;
    for at in [1, 2, 1 << LOG_N, last] {
        let mut lie = srs.clone();
        lie.powers[at] = (g * Fr::from(5u64)).into_affine();
        let lie = Srs::from_bytes(&lie.to_bytes()).expect("nothing else is wrong with it");
        assert_eq!(lie.id(), srs.id());
        let error = keys(&lie, &MemoryStore::default()).unwrap_err();
        assert!(matches!(error, RegistryError::Srs(SrsError::Powers)), "power {at}: {error}");
    }
    let mut lie = srs.clone();
    lie.powers.fill(g);
    let error = keys(&lie, &MemoryStore::default()).unwrap_err();
    assert!(matches!(error, RegistryError::Srs(SrsError::Powers)), "{error}");
}

/// Powers that differ have keys of their own, though `[τ]_2` names both.
#[test]
fn keys_of_other_powers_are_not_taken() {
    let srs = Srs::development(LOG_N);
    let mut longer = Srs::development(LOG_N + 1);
    assert_eq!(srs.powers_digest(LOG_N), longer.powers_digest(LOG_N));
    longer.powers[3] = G1Affine::generator();
    assert_ne!(srs.powers_digest(LOG_N), longer.powers_digest(LOG_N));
    longer.tau_g2 = G2Affine::generator();
    assert_ne!(srs.powers_digest(0), longer.powers_digest(0));
}

#[test]
fn a_string_of_a_known_secret_is_rejected_wherever_it_is_opened() {
    let two = Fr::from(2u64);
    let powers = rollmill_algebra::field::powers(two, 12);
    let srs = Srs {
        powers: powers.iter().map(|x| (G1Affine::generator() * x).into_affine()).collect(),
        tau_g2: (G2Affine::generator() * two).into_affine(),
        origin: Origin::Ceremony,
    };
    let store = MemoryStore::default();
    store.put("srs.bin", &srs.to_bytes()).unwrap();
    let error = open_srs(&store, 1).unwrap_err();
    assert!(matches!(error, RegistryError::Srs(SrsError::Known { .. })), "{error}");
}

#[test]
fn a_verifying_key_alone_is_no_kept_key() {
    let srs = Srs::development(LOG_N);
    let (store, names, made) = honest(&srs);
    for bytes in [made[0].vk.to_bytes(), Vec::new(), vec![0; 40]] {
        assert!(VerifyingKey::from_bytes(&bytes).is_ok() || bytes.len() < 64);
        store.put_sealed(&names[0], bytes).unwrap();
        let (again, heard) = keys(&srs, &store).unwrap();
        assert_eq!((again, heard), (made.clone(), vec![(0, false), (1, true)]));
    }
}

/// The recorded keys of the golden epoch are those of this release; keys that differ in one point are not.
#[test]
fn keys_of_another_root_than_the_release_expects_are_rejected() {
    let set = KeySet::from_bytes(include_bytes!("golden/keys.set")).expect("the golden keys");
    assert!(require_expected_root(&set).expect("this release's keys"));
    for circuit in Circuit::ALL {
        let mut keys: Vec<_> = Circuit::ALL.into_iter().map(|c| set.key(c).clone()).collect();
        keys[circuit as usize].vk.fixed.swap(0, 1);
        let other = KeySet::new(keys, *set.tau_g2()).expect("nothing else is wrong with it");
        let error = require_expected_root(&other).unwrap_err();
        assert!(error.to_string().starts_with("CIR-033"), "{circuit}: {error}");
    }
}
