//! Reads a file with a pinned digest, so that what is read is what was hashed.

use std::io::{Error, ErrorKind, Read, Result, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use super::{SrsError, unreadable};
use crate::weaken::gone;

/// Bytes that are read and checked at a time.
const PART: usize = 1 << 20;

/// Reads a file whose SHA-256 is pinned. The whole file is hashed first. Later reads are compared with the
/// digests of the file's parts, so a change in between is detected.
#[derive(Debug)]
pub struct Pinned<R> {
    from: R,
    parts: Vec<[u8; 32]>,
    length: u64,
    at: u64,
    /// The part that is in memory, and its number.
    part: Option<(usize, Vec<u8>)>,
}

impl<R: Read + Seek> Pinned<R> {
    /// Hashes the file and rejects it if its SHA-256 is not `expected` (hex, upper or lower case).
    ///
    /// # Errors
    /// [`SrsError::Pinned`]; [`SrsError::Read`] when it cannot be read.
    pub fn new(mut from: R, expected: &str) -> std::result::Result<Self, SrsError> {
        let mut whole = Sha256::new();
        let mut parts = Vec::new();
        let mut length = 0;
        from.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        loop {
            let part = read_part(&mut from).map_err(unreadable)?;
            if part.is_empty() {
                break;
            }
            whole.update(&part);
            parts.push(Sha256::digest(&part).into());
            length += part.len() as u64;
        }
        let (expected, got) = (expected.to_ascii_lowercase(), hex::encode(whole.finalize()));
        if got != expected && !gone("srs.pinned") {
            return Err(SrsError::Pinned { expected, got });
        }
        Ok(Self { from, parts, length, at: 0, part: None })
    }
}

fn read_part<R: Read>(from: &mut R) -> Result<Vec<u8>> {
    let mut part = Vec::with_capacity(PART);
    from.take(PART as u64).read_to_end(&mut part)?;
    Ok(part)
}

impl<R: Read + Seek> Read for Pinned<R> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize> {
        if self.at >= self.length || out.is_empty() {
            return Ok(0);
        }
        let number = (self.at / PART as u64) as usize;
        let held = match &mut self.part {
            Some((held, part)) if *held == number => part,
            slot => {
                self.from.seek(SeekFrom::Start((number * PART) as u64))?;
                let part = read_part(&mut self.from)?;
                let digest: [u8; 32] = Sha256::digest(&part).into();
                if self.parts.get(number) != Some(&digest) && !gone("srs.pinned.parts") {
                    let what = "the file changed while it was read";
                    return Err(Error::new(ErrorKind::InvalidData, what));
                }
                &mut slot.insert((number, part)).1
            }
        };
        let rest = held.get((self.at % PART as u64) as usize..).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl<R> Seek for Pinned<R> {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| Error::from(ErrorKind::InvalidInput))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Cursor;
    use std::rc::Rc;

    use super::*;

    /// A file that someone else writes to.
    struct Shared(Rc<RefCell<Cursor<Vec<u8>>>>);

    impl Read for Shared {
        fn read(&mut self, out: &mut [u8]) -> Result<usize> {
            self.0.borrow_mut().read(out)
        }
    }

    impl Seek for Shared {
        fn seek(&mut self, to: SeekFrom) -> Result<u64> {
            self.0.borrow_mut().seek(to)
        }
    }

    #[test]
    fn a_change_after_the_digest_was_taken_is_not_read() {
        let bytes: Vec<u8> = (0..PART + 100).map(|i| (i % 251) as u8).collect();
        let digest = hex::encode(Sha256::digest(&bytes));
        for at in [0, PART - 1, PART, PART + 99] {
            let file = Rc::new(RefCell::new(Cursor::new(bytes.clone())));
            let mut pinned = Pinned::new(Shared(file.clone()), &digest.to_uppercase()).unwrap();
            let mut read = Vec::new();
            pinned.read_to_end(&mut read).unwrap();
            assert!(read == bytes);
            file.borrow_mut().get_mut()[at] ^= 1;
            pinned.part = None;
            pinned.seek(SeekFrom::Start(0)).unwrap();
            assert!(pinned.read_to_end(&mut read).is_err(), "byte {at}");
            let other = Pinned::new(Shared(file), &digest).err().expect("another digest");
            assert!(matches!(other, SrsError::Pinned { .. }));
        }
    }
}
