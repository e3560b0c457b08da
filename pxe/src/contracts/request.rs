//! What a user asks for: the first call of a transaction, the calls that it leads to, and what an account allows.

use std::collections::BTreeMap;

use rollmill_acir::private::{args_hash, selector};
use rollmill_algebra::poseidon2;
use rollmill_protocol::gas::GasSettings;
use rollmill_protocol::private::{FEW_PER_CALL, TxRequest, gas_hash};
use rollmill_protocol::{Fr, Header};
use rollmill_pxe_store::{Scope, Store};

use super::error::ContractError;
use super::owners::Owners;

/// Tags `entr` and `auth` of the Noir library, in ASCII.
const ENTRY: u64 = 0x656e_7472;
const AUTH: u64 = 0x6175_7468;
/// The function of an account that makes the calls which its owner signed.
const ENTRYPOINT: &str = "entrypoint";

/// A call that an account is to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractCall {
    pub contract: Fr,
    pub selector: Fr,
    /// The words of the arguments, see [`rollmill_acir::private::arguments`].
    pub args: Vec<Fr>,
    /// Whether it may have no effects.
    pub is_static: bool,
}

/// On which state and for which price a transaction is made.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The header whose state every call reads.
    pub anchor: Header,
    pub gas: GasSettings,
}

/// What an account signs beside the calls that it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryTerms {
    /// Whether the account pays the fee.
    pub pays: bool,
    /// The last slot of a block that may include the transaction.
    pub expiry_slot: u64,
}

/// The first call of a transaction, and the arguments of those that it is to make.
#[derive(Debug, Clone)]
pub struct CallRequest {
    pub(crate) tx: TxRequest,
    pub(crate) args: Vec<Fr>,
    /// Arguments of prepared calls by their hash.
    pub(crate) prepared: BTreeMap<Fr, Vec<Fr>>,
    /// The message that the first contract's account signs with this request, and no other one does.
    pub(crate) entry: Option<Fr>,
}

impl CallRequest {
    /// A call of any contract, without an account that signs. `salt` is random.
    pub fn direct(environment: &Environment, call: &ContractCall, salt: Fr) -> Self {
        let Environment { anchor, gas } = environment;
        let tx = TxRequest {
            origin: call.contract,
            selector: call.selector,
            args_hash: args_hash(&call.args),
            chain_id: anchor.chain_id,
            version: anchor.version,
            gas: *gas,
            salt,
        };
        Self { tx, args: call.args.clone(), prepared: BTreeMap::new(), entry: None }
    }

    /// At most four calls that the account at `account` makes, whose contract is the one of `noir/examples`. `nonce`
    /// and `salt` are random.
    ///
    /// # Errors
    /// [`ContractError::TooManyCalls`].
    pub fn of_account(
        environment: &Environment,
        account: Fr,
        calls: &[ContractCall],
        EntryTerms { pays, expiry_slot }: EntryTerms,
        [nonce, salt]: [Fr; 2],
    ) -> Result<Self, ContractError> {
        if calls.len() > FEW_PER_CALL {
            return Err(ContractError::TooManyCalls { max: FEW_PER_CALL, got: calls.len() });
        }
        let (mut payload, mut prepared) = (Vec::new(), BTreeMap::new());
        for call in calls {
            let hash = args_hash(&call.args);
            payload.extend([call.contract, call.selector, hash, Fr::from(call.is_static)]);
            prepared.insert(hash, call.args.clone());
        }
        payload.resize(4 * FEW_PER_CALL, Fr::from(0u64));
        payload.extend([Fr::from(pays), Fr::from(expiry_slot), nonce]);
        // It has fewer than 32 letters.
        let entrypoint = selector(ENTRYPOINT).unwrap_or_default();
        let first = ContractCall {
            contract: account,
            selector: entrypoint,
            args: payload,
            is_static: false,
        };
        let request = Self::direct(environment, &first, salt);
        let tx = request.tx;
        let words =
            [account, tx.chain_id.into(), tx.version.into(), gas_hash(&tx.gas), tx.args_hash];
        let entry = Some(poseidon2::hash(ENTRY, &words));
        Ok(Self { prepared, entry, ..request })
    }

    /// The request as the kernel's rules name it.
    pub fn tx(&self) -> &TxRequest {
        &self.tx
    }
}

/// A call that an account allows another one to make on its behalf, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authorization {
    /// The account that allows it.
    pub account: Fr,
    /// What may be called, by whom.
    pub contract: Fr,
    pub selector: Fr,
    pub caller: Fr,
    /// Hash of all arguments.
    pub args_hash: Fr,
    /// In which deployment.
    pub chain_id: u64,
    pub version: u64,
}

impl Authorization {
    /// What the account signs: `H(auth; account, contract, selector, caller, args_hash, chain_id, version)`.
    pub fn message(&self) -> Fr {
        let words = [
            self.account,
            self.contract,
            self.selector,
            self.caller,
            self.args_hash,
            self.chain_id.into(),
            self.version.into(),
        ];
        poseidon2::hash(AUTH, &words)
    }
}

/// Lets an account of the scope allow a call: the store keeps its signature until it is asked for. `nonce` is random
/// and secret, and never used again.
///
/// # Errors
/// [`ContractError::Unknown`] where the scope has no account of this address, and those of the store.
pub fn allow(
    store: &Store,
    scope: &Scope,
    authorization: &Authorization,
    nonce: &crate::keys::ViewingSecret,
) -> Result<Fr, ContractError> {
    let message = authorization.message();
    let owners = Owners::read(&store.view(scope)?, scope)?;
    let (owner, _) = owners
        .at(&authorization.account)
        .ok_or(ContractError::Unknown { address: authorization.account })?;
    let witness = owner.sign(&message, nonce);
    store.step(scope, |step| step.set_witness(&owner.account, &message, &witness))?;
    Ok(message)
}

/// Takes an authorization back that was not used. Whoever has seen the signature can use it all the same. Returns
/// whether there was one.
///
/// # Errors
/// As [`allow`].
pub fn disallow(
    store: &Store,
    scope: &Scope,
    authorization: &Authorization,
) -> Result<bool, ContractError> {
    let owners = Owners::read(&store.view(scope)?, scope)?;
    let (owner, _) = owners
        .at(&authorization.account)
        .ok_or(ContractError::Unknown { address: authorization.account })?;
    let message = authorization.message();
    Ok(store.step(scope, |step| step.remove_witness(&owner.account, &message))?)
}
