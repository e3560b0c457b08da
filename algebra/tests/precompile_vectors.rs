//! The curve types are those of Ethereum's precompiles: known answers of EIP-196 (ecAdd, ecMul) and
//! EIP-197 (pairing).
//!
//! Source: the vectors named in each test, which clients share; here as go-ethereum lists them in
//! core/vm/testdata/precompiles/bn256{Add,ScalarMul,Pairing}.json, commit 19476a97835b.

use ark_ec::CurveGroup;
use ark_ec::pairing::Pairing;
use ark_ff::PrimeField;
use rollmill_algebra::bytes::{g1_from_slice, g1_to_bytes, g2_from_bytes};
use rollmill_algebra::{Bn254, Fr, G1Affine, G2Affine};

const G2_GENERATOR: &str = "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2\
     1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed\
     090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b\
     12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn g1(hex: &str) -> G1Affine {
    g1_from_slice(&bytes(hex)).unwrap()
}

fn g2(hex: &str) -> G2Affine {
    g2_from_bytes(bytes(hex).as_slice().try_into().unwrap()).unwrap()
}

#[test]
fn addition_matches_the_precompile() {
    for (name, a, b, sum) in [
        (
            "chfast1",
            "18b18acfb4c2c30276db5411368e7185b311dd124691610c5d3b74034e093dc9\
             063c909c4720840cb5134cb9f59fa749755796819658d32efc0d288198f37266",
            "07c2b7f58a84bd6145f00c9c2bc0bb1a187f20ff2c92963a88019e7c6a014eed\
             06614e20c147e940f2d70da3f74c9a17df361706a4485c742bd6788478fa17d7",
            "2243525c5efd4b9c3d3c45ac0ca3fe4dd85e830a4ce6b65fa1eeaee202839703\
             301d1d33be6da8e509df21cc35964723180eed7532537db9ae5e7d48f195c915",
        ),
        (
            "cdetrio11, a doubling",
            "0000000000000000000000000000000000000000000000000000000000000001\
             0000000000000000000000000000000000000000000000000000000000000002",
            "0000000000000000000000000000000000000000000000000000000000000001\
             0000000000000000000000000000000000000000000000000000000000000002",
            "030644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd3\
             15ed738c0e0a7c92e7845f96b2ae9c0a68a6a449e3538fc7ff3ebf7a5a18a2c4",
        ),
    ] {
        let computed = (g1(a) + g1(b)).into_affine();
        assert_eq!(g1_to_bytes(&computed).as_slice(), bytes(sum), "{name}");
    }
}

/// The first scalar is above r; the precompile takes it modulo r.
#[test]
fn multiplication_matches_the_precompile() {
    let point = "1a87b0584ce92f4593d161480614f2989035225609f08058ccfa3d0f940febe3\
         1a2f3c951f6dadcc7ee9007dff81504b0fcd6d7cf59996efdc33d92bf7f9f8f6";
    for (name, scalar, product) in [
        (
            "cdetrio1",
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
            "2cde5879ba6f13c0b5aa4ef627f159a3347df9722efce88a9afbb20b763b4c41\
             1aa7e43076f6aee272755a7f9b84832e71559ba0d2e0b17d5f9f01755e5b0d11",
        ),
        (
            "cdetrio2",
            "30644e72e131a029b85045b68181585d2833e84879b9709143e1f593f0000000",
            "1a87b0584ce92f4593d161480614f2989035225609f08058ccfa3d0f940febe3\
             163511ddc1c3f25d396745388200081287b3fd1472d8339d5fecb2eae0830451",
        ),
        (
            "cdetrio3",
            "0000000000000000000000000000000100000000000000000000000000000000",
            "1051acb0700ec6d42a88215852d582efbaef31529b6fcbc3277b5c1b300f5cf0\
             135b2394bb45ab04b8bd7611bd2dfe1de6a4e6e2ccea1ea1955f577cd66af85b",
        ),
        (
            "cdetrio4",
            "0000000000000000000000000000000000000000000000000000000000000009",
            "1dbad7d39dbc56379f78fac1bca147dc8e66de1b9d183c7b167351bfe0aeab74\
             2cd757d51289cd8dbd0acf9e673ad67d0f0a89f912af47ed1be53664f5692575",
        ),
    ] {
        let computed = (g1(point) * Fr::from_be_bytes_mod_order(&bytes(scalar))).into_affine();
        assert_eq!(g1_to_bytes(&computed).as_slice(), bytes(product), "{name}");
    }
}

#[test]
fn pairing_checks_match_the_precompile() {
    let jeff_1 = (
        g1("1c76476f4def4bb94541d57ebba1193381ffa7aa76ada664dd31c16024c43f59\
            3034dd2920f673e204fee2811c678745fc819b55d3e9d294e45c9b03a76aef41"),
        g2("209dd15ebff5d46c4bd888e51a93cf99a7329636c63514396b4a452003a35bf7\
            04bf11ca01483bfa8b34b43561848d28905960114c8ac04049af4b6315a41678\
            2bb8324af6cfc93537a2ad1a445cfd0ca2a71acd7ac41fadbf933c2a51be344d\
            120a2a4cf30c1bf9845f20c6fe39e07ea2cce61f0c9bb048165fe5e4de877550"),
    );
    for (name, second, expected) in [
        (
            "jeff1",
            "111e129f1cf1097710d41c4ac70fcdfa5ba2023c6ff1cbeac322de49d1b6df7c\
             2032c61a830e3c17286de9462bf242fca2883585b93870a73853face6a6bf411",
            true,
        ),
        (
            "jeff6",
            "111e129f1cf1097710d41c4ac70fcdfa5ba2023c6ff1cbeac322de49d1b6df7c\
             103188585e2364128fe25c70558f1560f4f9350baf3959e603cc91486e110936",
            false,
        ),
    ] {
        let product = Bn254::multi_pairing([jeff_1.0, g1(second)], [jeff_1.1, g2(G2_GENERATOR)]);
        assert_eq!(product.0 == ark_ff::Field::ONE, expected, "{name}");
    }
}
