//! The in-circuit verifier says of a proof what the native one says.
//!
//! Thirty-two random changes by default; `ROLLMILL_MUTATIONS` asks for more, `ROLLMILL_SEED` for others.

use ark_ff::UniformRand;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use rollmill_algebra::cpu::CpuDevice;
use rollmill_algebra::{Fr, G1Affine, G1Projective};
use rollmill_circuits::gadgets::verifier::{Opening, ProofVars, reduce};
use rollmill_circuits::gadgets::vk_tree::KeyVars;
use rollmill_plonk::builder::{Builder, Var};
use rollmill_plonk::check::check;
use rollmill_plonk::key::{Bases, ProvingKey, VerifyingKey, setup};
use rollmill_plonk::proof::Proof;
use rollmill_plonk::prover::{Blinding, prove};
use rollmill_plonk::srs::Srs;
use rollmill_plonk::transcript::{TranscriptKind, short_coefficient};
use rollmill_plonk::verifier::{Pair, verify};

const CELL_BITS: u32 = 8;
const KIND: TranscriptKind = TranscriptKind::Poseidon2;

struct Good {
    srs: Srs,
    vk: VerifyingKey,
    public: Vec<Fr>,
    proof: Proof,
}

fn good() -> Good {
    let mut b = Builder::new(2, CELL_BITS);
    let x = b.witness(Fr::from(3u64));
    b.set_public(0, x);
    b.range(x, 6);
    let digest = b.hash(9, &[x, x]);
    b.set_public(1, digest);
    let (layout, witness) = b.finish(None).expect("fits");
    let device = CpuDevice::new(2);
    let srs = Srs::development(layout.shape.log_n);
    let lagrange = srs.lagrange(layout.shape.log_n).expect("long enough");
    let bases = Bases::new(&device, &srs, &lagrange).expect("registered");
    let columns = layout.fixed_columns();
    let vk = setup(&device, &bases, srs.id(), layout.shape, &columns).expect("key");
    let key = ProvingKey::new(&device, vk.clone(), &columns).expect("key");
    let blinding = Blinding::On { seed: [5; 32] };
    let proof = prove(&device, &key, &bases, KIND, &witness, blinding).expect("proves");
    Good { srs, vk, public: witness.public, proof }
}

/// The sums that `reduce` leaves to the curve gadgets, natively.
fn pair(b: &Builder, o: &Opening) -> Pair {
    let sum = |set: &[(rollmill_circuits::gadgets::curve::Point, Var)]| -> G1Projective {
        set.iter()
            .map(|(point, c)| {
                let (low, high) = rollmill_plonk::transcript::halves(&b.value(*c));
                assert_eq!(high, 0, "a short value has at most 128 bits");
                point.value() * short_coefficient(low)
            })
            .sum()
    };
    let r = sum(&o.sets[0]) * b.value(o.factors[0])
        + sum(&o.sets[1]) * b.value(o.factors[1])
        + sum(&o.sets[2])
        + o.w.value() * b.value(o.w_factor)
        + o.w_prime.value() * b.value(o.z_prime);
    Pair { l: o.w_prime.value(), s_l: Fr::from(0u64), r: r.into(), s_r: b.value(o.s_r) }
}

fn in_circuit(good: &Good, public: &[Fr], proof: &Proof) -> bool {
    let mut b = Builder::new(0, 16);
    let shape = good.vk.shape;
    let key = KeyVars::new(&mut b, &good.vk, &[shape.log_n], public.len(), CELL_BITS);
    let public: Vec<Var> = public.iter().map(|p| b.witness(*p)).collect();
    let proof = ProofVars::new(&mut b, proof);
    let opening = reduce(&mut b, &key, CELL_BITS, &public, &proof);
    let pair = pair(&b, &opening);
    let (layout, witness) = b.finish(None).expect("fits");
    check(&layout, &witness).is_ok() && pair.holds(&good.srs.tau_g2)
}

/// Another point, another number, another public input, or two points swapped.
fn change(good: &Good, rng: &mut ChaCha8Rng) -> (Vec<Fr>, Proof) {
    let (mut public, mut points) = (good.public.clone(), good.proof.points());
    let mut evaluations = good.proof.evaluations;
    match rng.gen_range(0..5) {
        0 => {
            let i = rng.gen_range(0..public.len());
            public[i] = Fr::rand(rng);
        }
        1 => {
            let i = rng.gen_range(0..evaluations.len());
            evaluations[i] += Fr::from(1u64);
        }
        2 => {
            let (i, j) = (rng.gen_range(0..points.len()), rng.gen_range(0..points.len()));
            points.swap(i, j);
        }
        // The two openings are the only parts that the gates at ζ do not bind.
        3 => points[22 + rng.gen_range(0..2)] = G1Affine::rand(rng),
        _ => {
            let i = rng.gen_range(0..points.len());
            points[i] = G1Affine::rand(rng);
        }
    }
    (public, Proof::from_parts(&points, evaluations))
}

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn the_in_circuit_verifier_agrees_with_the_native_one() {
    let good = good();
    let native = |public: &[Fr], proof: &Proof| {
        verify(KIND, &good.vk, &good.srs.tau_g2, public, proof, None).is_ok()
    };
    assert!(native(&good.public, &good.proof), "the honest proof, natively");
    assert!(in_circuit(&good, &good.public, &good.proof), "the honest proof, in a circuit");
    let seed = number("ROLLMILL_SEED", 7);
    println!("seed {seed}");
    (0..number("ROLLMILL_MUTATIONS", 32)).into_par_iter().for_each(|i| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(i << 20));
        let (public, proof) = change(&good, &mut rng);
        let expected = native(&public, &proof);
        assert_eq!(in_circuit(&good, &public, &proof), expected, "seed {seed}, change {i}");
        // Swapping a point with itself changes nothing; all else is refused.
        let same = public == good.public && proof == good.proof;
        assert_eq!(expected, same, "seed {seed}, change {i}");
    });
}
