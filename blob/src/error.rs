//! Why bytes are not a blob.

/// Why a blob cannot be made, read or committed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// There are too few or too many bytes.
    ///
    /// Do: Nothing: the next source of the blob is asked. Check the source that the log names if it recurs.
    #[error("{code}: {what} of {got} bytes, expected {expected}", code = self.code())]
    Length { what: &'static str, expected: usize, got: usize },

    /// An element of the blob is not below the order of BLS12-381's scalar field.
    ///
    /// Do: Nothing: the next source of the blob is asked. Check the source that the log names if it recurs.
    #[error("{code}: element {index} of the blob is not below the order of its field", code = self.code())]
    NotCanonical { index: usize },

    /// The KZG library failed on valid input.
    ///
    /// Do: Check that the machine has free memory, and restart the program.
    #[error("{code}: the KZG library cannot compute the {what}: {reason}", code = self.code())]
    Kzg { what: &'static str, reason: String },
}

// BLOB-001, BLOB-004 and BLOB-005 are retired.
rollmill_errors::coded! {
    BlobError {
        Self::Length { .. } => "BLOB-002",
        Self::NotCanonical { .. } => "BLOB-003",
        Self::Kzg { .. } => "BLOB-006",
    }
}
