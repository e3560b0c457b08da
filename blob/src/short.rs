//! Debug output of what is too long for a log or a failed test.

use std::fmt;

use sha2::{Digest, Sha256};

/// Bytes of the hash that are shown.
const SHOWN: usize = 8;

/// Bytes as `Debug` shows them in short: how many there are, and the first 8 bytes of their SHA-256. Types that carry
/// a blob or calldata show it in this form, so that a log line stays a line.
///
/// ```
/// let blob = vec![0u8; 131_072];
/// assert_eq!(format!("{:?}", rollmill_blob::Short(&blob)), "131072 bytes, SHA-256 0xfa43239bcee7b97c…");
/// ```
pub struct Short<'a>(pub &'a [u8]);

impl fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, SHA-256 0x", self.0.len())?;
        let digest = Sha256::digest(self.0);
        digest.iter().take(SHOWN).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…")
    }
}
