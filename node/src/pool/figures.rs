//! Why transactions wait outside the builder's view, how they leave, and how many there are.

/// Why a waiting transaction cannot be part of the next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Parked {
    /// The next block's prices are above what it allows.
    Price,
    /// Its payer cannot pay for it, after the better offers of that payer.
    Balance,
    /// Its anchor is not in the archive: a reorganisation removed it.
    Anchor,
    /// The deposit that it claims is not in the message tree: a reorganisation removed it.
    Deposit,
}

impl Parked {
    pub(crate) const ALL: [Self; 4] = [Self::Price, Self::Balance, Self::Anchor, Self::Deposit];

    /// The value of the label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Price => "price",
            Self::Balance => "balance",
            Self::Anchor => "anchor",
            Self::Deposit => "deposit",
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Price => "the next block's prices are above what it allows",
            Self::Balance => "who pays for it has too little for that now",
            Self::Anchor => "a reorganisation removed its anchor",
            Self::Deposit => "a reorganisation removed the deposit that it claims",
        }
    }
}

/// How a transaction left the pool without a block. Its number is its place in [`Self::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    Evicted,
    Replaced,
    Expired,
    Spent,
    Unanchored,
}

const _: () = {
    let mut place = 0;
    while place < Dropped::ALL.len() {
        assert!(Dropped::ALL[place] as usize == place, "Dropped::ALL is in another order");
        place += 1;
    }
};

impl Dropped {
    pub(crate) const ALL: [Self; 5] =
        [Self::Evicted, Self::Replaced, Self::Expired, Self::Spent, Self::Unanchored];

    /// The value of the label `reason`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Replaced => "replaced",
            Self::Expired => "expired",
            Self::Spent => "spent",
            Self::Unanchored => "anchor",
        }
    }
}

/// Numbers of the pool for metrics and logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PoolCounts {
    pub(crate) ready: usize,
    pub(crate) bytes: usize,
    /// In the order of [`Parked::ALL`].
    pub(crate) parked: [usize; Parked::ALL.len()],
    pub(crate) included: usize,
    /// Since the process started, in the order of [`Dropped::ALL`].
    pub(crate) dropped: [u64; 5],
}
