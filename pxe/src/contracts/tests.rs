//! Contracts of `noir/examples` in a wallet: from registration to the effects of a transaction, and what a wallet must
//! not do for a contract.

mod artifacts;
mod discovery;
mod nested;
mod privacy;
mod scopes;
pub(crate) mod sends;
pub(crate) mod town;
mod transactions;
