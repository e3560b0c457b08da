//! How deep MessagePack nests. Its readers call themselves for each level, and a stack that overflows ends the process.

/// Levels that bytecode may have: a compiler's has about ten, and three more for each array within an array that an
/// unconstrained function passes to an oracle.
pub(super) const LEVELS_MAX: usize = 128;

/// Whether the first value of these bytes has more than [`LEVELS_MAX`] levels, in memory that does not grow with them.
///
/// Where the bytes end early or are no MessagePack, the levels before count. The reader finds the rest.
pub(super) fn is_too_deep(bytes: &[u8]) -> bool {
    // Values to come in each array and map that is open.
    let mut open: Vec<u64> = Vec::new();
    let mut rest = bytes;
    while let Some((values, after)) = value(rest) {
        rest = after;
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if values > 0 {
            open.push(values);
        }
        if open.len() > LEVELS_MAX {
            return true;
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        if open.is_empty() {
            return false;
        }
    }
    false
}

/// The number of values inside the value that comes next, and the bytes after its own; `None` where there is none.
fn value(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (marker, after) = bytes.split_first()?;
    let (values, own) = match *marker {
        0x80..=0x8f => (2 * u64::from(marker & 15), 0),
        0x90..=0x9f => (u64::from(marker & 15), 0),
        0xa0..=0xbf => (0, u64::from(marker & 31)),
        // Bytes, and extensions with a byte for their type.
        0xc4..=0xc6 => return skip_counted(after, 1 << (marker - 0xc4), 0),
        0xc7..=0xc9 => return skip_counted(after, 1 << (marker - 0xc7), 1),
        0xca => (0, 4),
        0xcb => (0, 8),
        0xcc..=0xcf => (0, 1 << (marker - 0xcc)),
        0xd0..=0xd3 => (0, 1 << (marker - 0xd0)),
        0xd4..=0xd8 => (0, 1 + (1 << (marker - 0xd4))),
        0xd9..=0xdb => return skip_counted(after, 1 << (marker - 0xd9), 0),
        0xdc | 0xdd => return number(after, 2 << (marker - 0xdc)),
        0xde | 0xdf => {
            let (pairs, after) = number(after, 2 << (marker - 0xde))?;
            return Some((2 * pairs, after));
        }
        _ => (0, 0),
    };
    Some((values, after.get(usize::try_from(own).ok()?..)?))
}

/// Skips as many bytes as the number of `width` bytes says, and `more`.
fn skip_counted(bytes: &[u8], width: usize, more: u64) -> Option<(u64, &[u8])> {
    let (count, after) = number(bytes, width)?;
    Some((0, after.get(usize::try_from(count + more).ok()?..)?))
}

/// A number of 1, 2 or 4 bytes, the highest first.
fn number(bytes: &[u8], width: usize) -> Option<(u64, &[u8])> {
    let (own, after) = bytes.split_at_checked(width)?;
    Some((own.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)), after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_count_and_neighbours_do_not() {
        let arrays = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        assert!(!is_too_deep(&arrays(LEVELS_MAX)));
        assert!(is_too_deep(&arrays(LEVELS_MAX + 1)));
        let maps = |levels: usize| [[0x81, 0x01].repeat(levels), vec![0xc0]].concat();
        assert!(!is_too_deep(&maps(LEVELS_MAX)));
        assert!(is_too_deep(&maps(LEVELS_MAX + 1)));
        // Arrays of one and of no value, side by side.
        let mut side_by_side = vec![0xdd, 0, 0, 2, 0];
        side_by_side.extend([0x91, 0x00, 0x90].repeat(256));
        assert!(!is_too_deep(&side_by_side));
    }

    #[test]
    fn values_of_every_kind_are_skipped_whole() {
        let skipped: [&[u8]; 16] = [
            &[0x7f],
            &[0xe0],
            &[0xc0],
            &[0xc3],
            &[0xa2, 0x91, 0x91],
            &[0xc4, 1, 0x91],
            &[0xc5, 0, 1, 0x91],
            &[0xc6, 0, 0, 0, 1, 0x91],
            &[0xc7, 1, 0x91, 0x91],
            &[0xca, 0x91, 0x91, 0x91, 0x91],
            &[0xcd, 0x91, 0x91],
            &[0xcf, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91],
            &[0xd2, 0x91, 0x91, 0x91, 0x91],
            &[0xd5, 0x91, 0x91, 0x91],
            &[0xd9, 2, 0x91, 0x91],
            &[0xda, 0, 2, 0x91, 0x91],
        ];
        let nothing: &[u8] = &[];
        for bytes in skipped {
            assert_eq!(value(bytes), Some((0, nothing)), "{bytes:x?}");
            for cut in 1..bytes.len() {
                assert_eq!(value(&bytes[..cut]), None, "{bytes:x?}, {cut} bytes");
            }
        }
        assert_eq!(value(&[0xdc, 1, 0]), Some((256, nothing)));
        assert_eq!(value(&[0xdf, 0, 0, 1, 0]), Some((512, nothing)));
        assert!(!is_too_deep(&[]));
    }
}
