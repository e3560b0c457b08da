//! Domain tags: one number for every use of the hash, so that no value of one kind can be taken for
//! a value of another. Frozen; a new use gets a new number.

/// Declares tags, and the list of them with their names.
macro_rules! domains {
    (
        $(#[$list_doc:meta])+ $list:ident;
        $($(#[$doc:meta])+ $name:ident = $tag:literal,)+
    ) => {
        $($(#[$doc])+ pub const $name: u64 = $tag;)+

        $(#[$list_doc])+
        pub const $list: &[(&str, u64)] = &[$((stringify!($name), $name),)+];
    };
}

domains! {
    /// Every tag of the network's circuits and of L1, with its name.
    ALL;
    /// Inner node of every Merkle tree.
    NODE = 1,
    /// A note: its partial and its value.
    NOTE = 2,
    /// A note made unique by its place: the leaf of the note-hash tree.
    UNIQUE_NOTE = 3,
    /// A nullifier of a spent note.
    NULLIFIER = 4,
    /// Public part of the nullifier key.
    NPK = 5,
    /// An address on the rollup: keys, and the contract if it has one.
    ADDRESS = 6,
    /// A transaction's effects.
    TX = 7,
    /// The running hash of a block's transactions.
    TXS_CHAIN = 8,
    /// A block header.
    HEADER = 9,
    /// The running hash of blocks that L1 stores.
    CHAIN = 10,
    /// A leaf of the nullifier tree.
    NULLIFIER_LEAF = 11,
    /// A leaf of the public data tree.
    PUBLIC_DATA_LEAF = 12,
    /// The public data slot of an address's fee balance.
    FEE_BALANCE_SLOT = 13,
    /// A leaf of the verification-key tree.
    VK_LEAF = 14,
    /// A discovery tag of a log.
    TAG = 15,
    // 16 is retired: keys of encrypted logs come from SHA-256.
    /// The proof transcript.
    TRANSCRIPT = 17,
    /// The digest of a verification key.
    VK_DIGEST = 18,
    /// Replaces the first nullifier of genesis notes.
    GENESIS = 19,
    /// The transcript that folds the children's pairs.
    FOLD = 20,
    /// The parameters of a deployment that circuits open.
    CONFIG = 21,
    /// The point at which a block's blob is opened.
    BLOB_Z = 22,
    /// The words of a log.
    LOG_HASH = 23,
    /// A general message from L1.
    MESSAGE_IN = 24,
    /// A deposit from L1 into a fee balance.
    FEE_DEPOSIT = 25,
    /// The nullifier of a deposit.
    CLAIM = 26,
    /// A general message to L1.
    MESSAGE_OUT = 27,
    /// A withdrawal to L1.
    WITHDRAW = 28,
    /// What of a note hides its owner: everything but the value.
    NOTE_PARTIAL = 29,
    /// The keys of an address.
    KEYS = 30,
    // 31 to 35 and 37 to 47 belong to the private kernel, see [`PRIVATE`].
    /// A tag with the contract that wrote its log.
    SILO_TAG = 36,
    /// The running hash of a block's messages from L1.
    MESSAGE_CHAIN = 48,
}

domains! {
    /// The tags that only the private kernel and its functions use, with their names. 42 to 47 are reserved.
    PRIVATE;
    /// What an address says about its contract.
    ADDRESS_PARTIAL = 31,
    /// A class of contracts.
    CLASS = 32,
    /// A leaf of a class's tree of functions.
    FUNCTION = 33,
    /// A note hash with the contract that made it.
    SILO_NOTE = 34,
    /// A nullifier with the contract that made it.
    SILO_NULLIFIER = 35,
    /// What a private function's proof states.
    CALL = 37,
    /// A nullifier key as one contract knows it.
    APP_KEY = 38,
    /// The state that one proof of the kernel hands to the next.
    KERNEL_STATE = 39,
    /// The first call of a transaction, as its user asks for it.
    TX_REQUEST = 40,
    /// The gas settings of a transaction.
    GAS_SETTINGS = 41,
}

// Two uses with one number do not compile.
const _: () = {
    let lists = [ALL, PRIVATE];
    let n = ALL.len() + PRIVATE.len();
    let mut i = 0;
    while i < n {
        let mut j = 0;
        while j < i {
            assert!(tag(lists, i) != tag(lists, j), "two domain tags have one number");
            j += 1;
        }
        i += 1;
    }
};

/// The `i`th tag of two lists, one behind the other.
const fn tag(lists: [&[(&str, u64)]; 2], i: usize) -> u64 {
    let [first, second] = lists;
    if i < first.len() { first[i].1 } else { second[i - first.len()].1 }
}
