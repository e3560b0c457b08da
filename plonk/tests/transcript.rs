//! Both transcripts against an independent model.

use ark_ff::{BigInteger, Field, PrimeField};
use rollmill_algebra::{Fq, Fr, G1Affine};
use rollmill_plonk::gates::{Challenges, power_of_two};
use rollmill_plonk::proof::{CLAIMS, COMMITMENTS, EVALUATIONS, Proof};
use rollmill_plonk::transcript::{Transcript, TranscriptKind};
use rollmill_plonk::verifier::challenges;
use sha2::{Digest, Sha256};

/// Messages are SHA-256 of their number, reduced: as in the model.
struct Messages(usize);

impl Messages {
    fn next<F: PrimeField>(&mut self) -> F {
        let digest = Sha256::digest(format!("message {}", self.0));
        self.0 += 1;
        F::from_be_bytes_mod_order(&digest)
    }
    fn scalars(&mut self, t: &mut Transcript, count: usize) {
        (0..count).for_each(|_| t.absorb(&self.next::<Fr>()));
    }
    /// The points need not be on the curve to be absorbed.
    fn points(&mut self, t: &mut Transcript, count: usize) {
        for _ in 0..count {
            let (x, y) = (self.next::<Fq>(), self.next::<Fq>());
            t.absorb_point(&G1Affine::new_unchecked(x, y));
        }
    }
}

fn text(value: &Fr) -> String {
    let hex = hex::encode(value.into_bigint().to_bytes_be());
    format!("0x{}", hex.trim_start_matches('0'))
}

fn run(kind: TranscriptKind) -> Vec<(&'static str, Vec<String>)> {
    let mut messages = Messages(0);
    let mut t = Transcript::new(kind, 3);
    let all = |v: Vec<Fr>| v.iter().map(text).collect::<Vec<_>>();
    messages.scalars(&mut t, 4);
    messages.points(&mut t, 13);
    let first = all(t.squeeze(3));
    messages.points(&mut t, 4);
    let alpha = all(t.squeeze(1));
    messages.points(&mut t, 5);
    let zeta = all(t.squeeze(1));
    messages.scalars(&mut t, EVALUATIONS);
    let short = t.squeeze_short(CLAIMS).iter().map(|c| format!("{c:#x}")).collect();
    messages.points(&mut t, 1);
    let z_prime = all(t.squeeze(1));
    messages.points(&mut t, 1);
    let fold = all(t.squeeze(1));
    vec![
        ("first", first),
        ("alpha", alpha),
        ("zeta", zeta),
        ("short", short),
        ("z_prime", z_prime),
        ("fold", fold),
    ]
}

/// The same messages as a proof, in the order in which they are sent; its points are on no curve.
fn challenges_of_a_proof(kind: TranscriptKind) -> Vec<(&'static str, Vec<String>)> {
    let mut messages = Messages(0);
    let vk_digest = messages.next::<Fr>();
    let public: Vec<Fr> = (0..3).map(|_| messages.next()).collect();
    let point = |messages: &mut Messages| {
        let (x, y) = (messages.next::<Fq>(), messages.next::<Fq>());
        G1Affine::new_unchecked(x, y)
    };
    let mut points: Vec<G1Affine> = (0..COMMITMENTS).map(|_| point(&mut messages)).collect();
    let evaluations = std::array::from_fn(|_| messages.next::<Fr>());
    points.extend([point(&mut messages), point(&mut messages)]);
    let points: [G1Affine; COMMITMENTS + 2] = points.try_into().expect("as many");
    let proof = Proof::from_parts(&points, evaluations);
    let c = challenges(kind, &vk_digest, &public, &proof);
    // The short value c is represented by 2c + 1 − 2^128.
    let half = (Fr::from(2u64)).inverse().expect("not zero");
    let short = |rho: &Fr| (*rho + power_of_two(128) - Fr::from(1u64)) * half;
    let short = c.rho.iter().map(|rho| text(&short(rho))).collect();
    let Challenges { eta, beta, gamma } = c.gates;
    vec![
        ("first", [eta, beta, gamma].iter().map(text).collect()),
        ("alpha", vec![text(&c.alpha)]),
        ("zeta", vec![text(&c.zeta)]),
        ("short", short),
        ("z_prime", vec![text(&c.z_prime)]),
        ("fold", vec![text(&c.fold)]),
    ]
}

/// Source: `tests/vectors/transcript.py`, which knows the written protocol only.
#[test]
fn challenges_equal_those_of_the_independent_model() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("vectors/transcript.json")).expect("vectors");
    for (name, kind) in
        [("poseidon2", TranscriptKind::Poseidon2), ("keccak", TranscriptKind::Keccak)]
    {
        let of_the_sponge = run(kind);
        let of_the_verifier = challenges_of_a_proof(kind);
        for (challenge, values) in of_the_sponge.into_iter().chain(of_the_verifier) {
            let expected: Vec<String> =
                serde_json::from_value(vectors[name][challenge].clone()).expect("vectors");
            assert_eq!(values, expected, "{name} {challenge}");
        }
    }
}
