//! The hashes taken from libraries, against published vectors: a wrong feature or a wrong function of
//! the same family (SHA-3 for Keccak) would still hash, to something L1 does not agree with.

use sha2::{Digest, Sha256};
use sha3::Keccak256;

/// Source: FIPS 180-4 example messages (NIST, "SHA256.pdf") and the one-million-`a` message of FIPS 180-2.
#[test]
fn sha_256_gives_the_published_digests() {
    let million = vec![b'a'; 1_000_000];
    let cases: [(&[u8], &str); 4] = [
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ];
    for (message, digest) in cases {
        assert_eq!(hex::encode(Sha256::digest(message)), digest, "{} bytes", message.len());
    }
}

/// Source: Keccak-256 with the original padding, as Ethereum uses it: the empty string (Yellow Paper,
/// section 4.1) and `abc` (Keccak team, KeccakKAT).
#[test]
fn keccak_256_gives_the_published_digests() {
    let cases: [(&[u8], &str); 2] = [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
    ];
    for (message, digest) in cases {
        assert_eq!(hex::encode(Keccak256::digest(message)), digest);
    }
}
