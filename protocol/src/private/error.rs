//! Why the kernel rejects a call or a transaction: a variant for each rule.

/// Why the private kernel rejects a call or a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A word of a call or a witness is outside the range of its meaning.
    ///
    /// Do: Correct the contract or the wallet; the message names the word.
    #[error("{code}: {what} is outside its range", code = self.code())]
    Range { what: &'static str },
    /// An entry of a list follows one that is absent.
    ///
    /// Do: Correct the contract's library: it must fill lists from the front.
    #[error("{code}: {what}: entry {index} follows an absent one", code = self.code())]
    Gap { what: &'static str, index: usize },
    /// An absent entry of a list has a word that is not zero.
    ///
    /// Do: Correct the contract's library: it must leave absent entries zero.
    #[error("{code}: {what}: entry {index} is absent and has words", code = self.code())]
    AbsentWords { what: &'static str, index: usize },
    /// A call read the state of another block than the transaction.
    ///
    /// Do: Execute all calls of a transaction against one block.
    #[error("{code}: the call has another anchor than the transaction", code = self.code())]
    WrongAnchor,
    /// A call is for another L1 chain.
    ///
    /// Do: Execute all calls of a transaction for one chain.
    #[error("{code}: the call has another chain id than the transaction", code = self.code())]
    WrongChain,
    /// A call is for another deployment.
    ///
    /// Do: Execute all calls of a transaction for one deployment.
    #[error("{code}: the call has another rollup version than the transaction", code = self.code())]
    WrongVersion,
    /// A call, or the end of the transaction, has other gas settings than the request.
    ///
    /// Do: Execute all calls of a transaction with the gas settings of its request.
    #[error("{code}: the gas settings are not those of the transaction", code = self.code())]
    WrongGas,
    /// No call waits for a proof.
    ///
    /// Do: Finish the transaction; the kernel has taken every call.
    #[error("{code}: no call waits for a proof", code = self.code())]
    StackEmpty,
    /// The proof is for another contract than the one that was called.
    ///
    /// Do: Prove the call that its caller made.
    #[error("{code}: the call is of another contract than was called", code = self.code())]
    WrongContract,
    /// The proof is for another function than the one that was called.
    ///
    /// Do: Prove the call that its caller made.
    #[error("{code}: the call is of another function than was called", code = self.code())]
    WrongSelector,
    /// The function saw another caller than the one that called it.
    ///
    /// Do: Execute the function with its caller as the sender.
    #[error("{code}: the call has another sender than its caller", code = self.code())]
    WrongSender,
    /// The function was executed as static and called otherwise, or the other way round.
    ///
    /// Do: Execute the function with the caller's flag.
    #[error("{code}: the call is static and its request is not, or the other way round", code = self.code())]
    WrongStatic,
    /// The function had other arguments than its caller passed.
    ///
    /// Do: Execute the function with its caller's arguments.
    #[error("{code}: the call has other arguments than its caller passed", code = self.code())]
    WrongArgs,
    /// The function returned other values than its caller was given.
    ///
    /// Do: Execute the caller with what the function returns.
    #[error("{code}: the call returns other values than its caller was given", code = self.code())]
    WrongReturns,
    /// The function started or ended with other counters than its caller states.
    ///
    /// Do: Execute the function from its caller's counter on.
    #[error("{code}: the call has other counters than its caller states", code = self.code())]
    WrongCounters,
    /// A call ends before it starts.
    ///
    /// Do: Correct the contract's library: counters must grow.
    #[error("{code}: the end counter is not above the start counter", code = self.code())]
    CounterOrder,
    /// An entry has a counter from before or after its call.
    ///
    /// Do: Correct the contract's library: entries take counters of their call.
    #[error("{code}: {what}: a counter lies outside its call's interval", code = self.code())]
    CounterOutside { what: &'static str },
    /// Nested calls overlap, are out of order or reach beyond their caller.
    ///
    /// Do: Correct the contract's library: a nested call takes counters of its caller.
    #[error("{code}: nested call {index} does not lie after the one before and inside its caller", code = self.code())]
    CallInterval { index: usize },
    /// A call names another contract than its own as the sender of a nested call.
    ///
    /// Do: Do not use the contract: it tries to act for another one.
    #[error("{code}: nested call {index} names another contract as its sender", code = self.code())]
    ForgedSender { index: usize },
    /// A static call has effects.
    ///
    /// Do: Call the function without the flag, or another function.
    #[error("{code}: a static call has {what}", code = self.code())]
    StaticEffect { what: &'static str },
    /// A static call makes a call that is not static.
    ///
    /// Do: Call the function without the flag, or another function.
    #[error("{code}: nested call {index} of a static call is not static", code = self.code())]
    StaticCall { index: usize },
    /// A call asks for public calls, which this version does not have.
    ///
    /// Do: Use a contract without public functions.
    #[error("{code}: public calls are not supported by this version", code = self.code())]
    PublicCalls,
    /// A call sets the start of what may be reverted to a counter outside its interval.
    ///
    /// Do: Correct the contract's library.
    #[error("{code}: the first revertible counter lies outside its call's interval", code = self.code())]
    RevertibleOutside,
    /// Two calls set the start of what may be reverted.
    ///
    /// Do: Let one call of the transaction set it.
    #[error("{code}: two calls set the first revertible counter", code = self.code())]
    RevertibleTwice,
    /// Two calls elect their contracts to pay the fee.
    ///
    /// Do: Let one contract of the transaction pay.
    #[error("{code}: two calls elect themselves to pay the fee", code = self.code())]
    TwoFeePayers,
    /// The transaction has more entries of a kind than the kernel keeps.
    ///
    /// Do: Do less in one transaction.
    #[error("{code}: {what}: the transaction has more than {max}", code = self.code())]
    TooMany { what: &'static str, max: usize },
    /// The key of the proof is not that of the called function of the contract.
    ///
    /// Do: Prove the function that the contract's class names, with its key.
    #[error("{code}: the key is not that of the contract's function", code = self.code())]
    NotOfContract,
    /// Calls still wait for their proofs.
    ///
    /// Do: Add the proofs of all nested calls.
    #[error("{code}: {waiting} calls wait for their proofs", code = self.code())]
    StackNotEmpty { waiting: usize },
    /// Two entries of the transaction have one counter.
    ///
    /// Do: Correct the contract's library: each entry takes a counter of its own.
    #[error("{code}: a counter occurs twice in the transaction", code = self.code())]
    CounterRepeated,
    /// A note hash that a call read is neither one of the transaction nor shown to be a leaf.
    ///
    /// Do: Sync the wallet and execute the transaction again.
    #[error("{code}: read {index} is of a note hash that does not exist", code = self.code())]
    NoteUnknown { index: usize },
    /// A call read a note hash of the transaction before it was created.
    ///
    /// Do: Do not use the contract: it read a note that was not there.
    #[error("{code}: read {index} is of a note hash that is created later", code = self.code())]
    NoteTooLate { index: usize },
    /// The path of a note hash does not lead to the anchor's root.
    ///
    /// Do: Sync the wallet and execute the transaction again.
    #[error("{code}: read {index}: the path does not lead from the note hash to the anchor's root", code = self.code())]
    NotePath { index: usize },
    /// A nullifier that a call read is neither one of the transaction, which stays, nor shown to be a leaf.
    ///
    /// Do: Sync the wallet and execute the transaction again.
    #[error("{code}: read {index} is of a nullifier that does not exist", code = self.code())]
    NullifierUnknown { index: usize },
    /// A call read a nullifier of the transaction before it was published.
    ///
    /// Do: Do not use the contract: it read a nullifier that was not there.
    #[error("{code}: read {index} is of a nullifier that is published later", code = self.code())]
    NullifierTooLate { index: usize },
    /// The path of a nullifier does not lead to the anchor's root.
    ///
    /// Do: Sync the wallet and execute the transaction again.
    #[error("{code}: read {index}: the path does not lead from the nullifier to the anchor's root", code = self.code())]
    NullifierPath { index: usize },
    /// A call used a kind of key that does not exist.
    ///
    /// Do: Use a contract whose library is of this release.
    #[error("{code}: key request {index} is of an unknown kind", code = self.code())]
    KeyKind { index: usize },
    /// The nullifier key of a request is not the one that its public part belongs to.
    ///
    /// Do: Use the wallet that has the account's keys.
    #[error("{code}: key request {index} needs another nullifier key", code = self.code())]
    KeyUnknown { index: usize },
    /// A call used a key that is not the account's key for its contract.
    ///
    /// Do: Execute the call with the keys of the account.
    #[error("{code}: key request {index} has another contract's key", code = self.code())]
    AppKeyWrong { index: usize },
    /// No call elects its contract to pay the fee.
    ///
    /// Do: Call an account that pays, or a contract that pays for others.
    #[error("{code}: no call elects itself to pay the fee", code = self.code())]
    NoFeePayer,
    /// The contract that pays was called in the part that may be reverted.
    ///
    /// Do: Call the paying contract before that part.
    #[error("{code}: the fee payer is elected in the revertible part", code = self.code())]
    FeePayerRevertible,
    /// A nullifier names a note hash that its contract has not created before in the transaction.
    ///
    /// Do: Correct the contract's library: a nullifier of an older note names none.
    #[error("{code}: a nullifier names a note hash that is not there before it", code = self.code())]
    NullifiedUnknown,
    /// A nullifier names a note hash on the other side of the first revertible counter. Both would have to stay, and
    /// the note could be nullified again as a leaf.
    ///
    /// Do: Nullify the note in the same part, or in a later transaction.
    #[error("{code}: a nullifier in the revertible part names a note hash from before it", code = self.code())]
    NullifiedAcross,
    /// A log names a note that its contract has not created in the transaction.
    ///
    /// Do: Correct the contract's library.
    #[error("{code}: a log names a note that is not there", code = self.code())]
    LogNoteUnknown,
    /// The number of entries that the transaction is to show is none of those that wallets may choose.
    ///
    /// Do: Choose 2, 4 or 8.
    #[error("{code}: a transaction shows 2, 4 or 8 entries of each kind, not {got}", code = self.code())]
    Size { got: usize },
    /// More entries of a kind are left than the transaction is to show.
    ///
    /// Do: Choose a larger size, or do less in one transaction.
    #[error("{code}: {what}: {got} are left and {max} are shown", code = self.code())]
    TooManyLeft { what: &'static str, max: usize, got: usize },
    /// A log that hides the number of logs has no hash.
    ///
    /// Do: Add a hash of random words to the padding.
    #[error("{code}: padding log {index} is absent", code = self.code())]
    PaddingLog { index: usize },
}

rollmill_errors::coded! {
    KernelError {
        Self::Range { .. } => "PRO-200",
        Self::Gap { .. } => "PRO-201",
        Self::AbsentWords { .. } => "PRO-202",
        Self::WrongAnchor => "PRO-203",
        Self::WrongChain => "PRO-204",
        Self::WrongVersion => "PRO-205",
        Self::WrongGas => "PRO-206",
        Self::StackEmpty => "PRO-207",
        Self::WrongContract => "PRO-208",
        Self::WrongSelector => "PRO-209",
        Self::WrongSender => "PRO-210",
        Self::WrongStatic => "PRO-211",
        Self::WrongArgs => "PRO-212",
        Self::WrongReturns => "PRO-213",
        Self::WrongCounters => "PRO-214",
        Self::CounterOrder => "PRO-215",
        Self::CounterOutside { .. } => "PRO-216",
        Self::CallInterval { .. } => "PRO-217",
        Self::ForgedSender { .. } => "PRO-218",
        Self::StaticEffect { .. } => "PRO-219",
        Self::StaticCall { .. } => "PRO-220",
        Self::PublicCalls => "PRO-221",
        Self::RevertibleOutside => "PRO-222",
        Self::RevertibleTwice => "PRO-223",
        Self::TwoFeePayers => "PRO-224",
        Self::TooMany { .. } => "PRO-225",
        Self::NotOfContract => "PRO-226",
        Self::StackNotEmpty { .. } => "PRO-227",
        Self::CounterRepeated => "PRO-228",
        Self::NoteUnknown { .. } => "PRO-229",
        Self::NoteTooLate { .. } => "PRO-230",
        Self::NotePath { .. } => "PRO-231",
        Self::NullifierUnknown { .. } => "PRO-232",
        Self::NullifierTooLate { .. } => "PRO-233",
        Self::NullifierPath { .. } => "PRO-234",
        Self::KeyKind { .. } => "PRO-235",
        Self::KeyUnknown { .. } => "PRO-236",
        Self::AppKeyWrong { .. } => "PRO-237",
        Self::NoFeePayer => "PRO-238",
        Self::FeePayerRevertible => "PRO-239",
        Self::NullifiedUnknown => "PRO-240",
        Self::LogNoteUnknown => "PRO-241",
        Self::Size { .. } => "PRO-242",
        Self::TooManyLeft { .. } => "PRO-243",
        Self::PaddingLog { .. } => "PRO-244",
        Self::NullifiedAcross => "PRO-245",
    }
}

impl KernelError {
    /// The name that the specification gives the rule.
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Range { .. } => "range",
            Self::Gap { .. } => "gap",
            Self::AbsentWords { .. } => "absent_words",
            Self::WrongAnchor => "wrong_anchor",
            Self::WrongChain => "wrong_chain",
            Self::WrongVersion => "wrong_version",
            Self::WrongGas => "wrong_gas",
            Self::StackEmpty => "stack_empty",
            Self::WrongContract => "wrong_contract",
            Self::WrongSelector => "wrong_selector",
            Self::WrongSender => "wrong_sender",
            Self::WrongStatic => "wrong_static",
            Self::WrongArgs => "wrong_args",
            Self::WrongReturns => "wrong_returns",
            Self::WrongCounters => "wrong_counters",
            Self::CounterOrder => "counter_order",
            Self::CounterOutside { .. } => "counter_outside",
            Self::CallInterval { .. } => "call_interval",
            Self::ForgedSender { .. } => "forged_sender",
            Self::StaticEffect { .. } => "static_effect",
            Self::StaticCall { .. } => "static_call",
            Self::PublicCalls => "public_calls",
            Self::RevertibleOutside => "revertible_outside",
            Self::RevertibleTwice => "revertible_twice",
            Self::TwoFeePayers => "two_fee_payers",
            Self::TooMany { .. } => "too_many",
            Self::NotOfContract => "not_of_contract",
            Self::StackNotEmpty { .. } => "stack_not_empty",
            Self::CounterRepeated => "counter_repeated",
            Self::NoteUnknown { .. } => "note_unknown",
            Self::NoteTooLate { .. } => "note_too_late",
            Self::NotePath { .. } => "note_path",
            Self::NullifierUnknown { .. } => "nullifier_unknown",
            Self::NullifierTooLate { .. } => "nullifier_too_late",
            Self::NullifierPath { .. } => "nullifier_path",
            Self::KeyKind { .. } => "key_kind",
            Self::KeyUnknown { .. } => "key_unknown",
            Self::AppKeyWrong { .. } => "app_key_wrong",
            Self::NoFeePayer => "no_fee_payer",
            Self::FeePayerRevertible => "fee_payer_revertible",
            Self::NullifiedUnknown => "nullified_unknown",
            Self::NullifiedAcross => "nullified_across",
            Self::LogNoteUnknown => "log_note_unknown",
            Self::Size { .. } => "size",
            Self::TooManyLeft { .. } => "too_many_left",
            Self::PaddingLog { .. } => "padding_log",
        }
    }
}
