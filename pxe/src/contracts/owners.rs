//! The accounts that one request may use, under all their addresses.

use ark_ec::{AffineRepr, CurveGroup, PrimeGroup};
use ark_ff::{BigInteger, PrimeField};
use ark_grumpkin::{Affine, Projective};
use rollmill_algebra::poseidon2;
use rollmill_protocol::Fr;
use rollmill_protocol::note::{self, ViewingKey};
use rollmill_pxe_store::{Account, Contract, KeyKind, MasterKeys, Scope, View};

use super::book;
use super::error::ContractError;
use crate::keys::ViewingSecret;

/// The tag `sign` of the Noir library, in ASCII.
const SIGN: u64 = 0x7369_676e;

/// An account with its secrets, and the addresses that its keys belong to: its own, and those of contracts that were
/// registered with its keys.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) account: Account,
    pub(crate) keys: MasterKeys,
    pub(crate) npk: Fr,
    pub(crate) vpk: Affine,
    /// Each address, and what it has beside the keys.
    addresses: Vec<(Fr, Fr)>,
}

impl Owner {
    pub(crate) fn new(keys: MasterKeys, contracts: &[(Fr, Contract)]) -> Self {
        let (account, keys_hash) = (keys.account(), keys.keys_hash());
        let mut addresses = vec![(account.0, Fr::from(0u64))];
        let own = contracts.iter().filter(|(address, contract)| {
            contract.keys_hash == keys_hash && book::address(contract) == *address
        });
        addresses.extend(own.map(|(address, contract)| (*address, book::partial(contract))));
        let (npk, vpk) = (note::npk(&keys.nullifier()), keys.public(KeyKind::IncomingViewing));
        Self { account, keys, npk, vpk, addresses }
    }

    /// The addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Fr> {
        self.addresses.iter().map(|(address, _)| address)
    }

    /// The viewing key in the form that the protocol hashes.
    pub(crate) fn viewing(&self) -> ViewingKey {
        let (x, y) = self.vpk.xy().unwrap_or_default();
        ViewingKey { x, y }
    }

    /// The coordinates of the key with which the account's contract signs.
    pub(crate) fn signing_key(&self) -> [Fr; 2] {
        signing_key(&self.keys)
    }

    /// The signature of a message, as its words: the challenge, and the response as its low 128 bits and the rest.
    /// `nonce` is random and secret, and never used again.
    pub(crate) fn sign(&self, message: &Fr, nonce: &ViewingSecret) -> [Fr; 3] {
        let [rx, ry] = coordinates(Projective::generator() * *nonce);
        let [kx, ky] = self.signing_key();
        let challenge = poseidon2::hash(SIGN, &[rx, ry, kx, ky, *message]);
        let e = ViewingSecret::from_le_bytes_mod_order(&challenge.into_bigint().to_bytes_le());
        let response = (*nonce - e * *self.keys.signing()).into_bigint().to_bytes_le();
        let (low, high) = response.split_at(response.len().min(16));
        [challenge, Fr::from_le_bytes_mod_order(low), Fr::from_le_bytes_mod_order(high)]
    }
}

/// The coordinates of the key with which the contract of an account signs: the words that a Schnorr account is made
/// with.
pub fn signing_key(keys: &MasterKeys) -> [Fr; 2] {
    coordinates(Projective::generator() * *keys.signing())
}

fn coordinates(point: Projective) -> [Fr; 2] {
    let (x, y) = point.into_affine().xy().unwrap_or_default();
    [x, y]
}

/// All accounts of a scope.
#[derive(Debug)]
pub(crate) struct Owners(Vec<Owner>);

impl Owners {
    pub(crate) fn read(view: &View<'_>, scope: &Scope) -> Result<Self, ContractError> {
        let contracts = view.contracts()?;
        let owner = |account| -> Result<Owner, ContractError> {
            Ok(Owner::new(view.master_keys(account)?, &contracts))
        };
        Ok(Self(scope.accounts().map(owner).collect::<Result<_, _>>()?))
    }

    pub(crate) fn all(&self) -> &[Owner] {
        &self.0
    }

    /// The account of an address, and what the address has beside its keys.
    pub(crate) fn at(&self, address: &Fr) -> Option<(&Owner, Fr)> {
        self.0.iter().find_map(|owner| {
            let found = owner.addresses.iter().find(|(known, _)| known == address)?;
            Some((owner, found.1))
        })
    }

    /// The account of a public nullifier key.
    pub(crate) fn with_npk(&self, npk: &Fr) -> Option<&Owner> {
        self.0.iter().find(|owner| owner.npk == *npk)
    }
}
