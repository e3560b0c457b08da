//! Why bytes are not a block's blob.

/// Why a blob cannot be made, read or committed to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The block has more words than a blob can hold.
    ///
    /// Do: Report it with the log: the rules of a block allow fewer words.
    #[error("{code}: {got} words do not fit in a blob of {}", crate::ELEMENTS, code = self.code())]
    TooManyWords { got: usize },

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

    /// A coefficient within the block's words is not below the order of BN254's scalar field.
    ///
    /// Do: Nothing: the block is rejected, and pruned later, since no proof of it exists.
    #[error("{code}: coefficient {index} of the blob is no word of a block", code = self.code())]
    NotAWord { index: usize },

    /// A coefficient after the block's words is not 0.
    ///
    /// Do: Nothing: the block is rejected, and pruned later, since no proof of it exists.
    #[error("{code}: coefficient {index} of the blob is not 0, after the {count} words of the block", code = self.code())]
    AfterEnd { index: usize, count: usize },

    /// The KZG library failed on valid input.
    ///
    /// Do: Check that the machine has free memory, and restart the program.
    #[error("{code}: the KZG library cannot compute the {what}: {reason}", code = self.code())]
    Kzg { what: &'static str, reason: String },
}

rollmill_errors::coded! {
    BlobError {
        Self::TooManyWords { .. } => "BLOB-001",
        Self::Length { .. } => "BLOB-002",
        Self::NotCanonical { .. } => "BLOB-003",
        Self::NotAWord { .. } => "BLOB-004",
        Self::AfterEnd { .. } => "BLOB-005",
        Self::Kzg { .. } => "BLOB-006",
    }
}
