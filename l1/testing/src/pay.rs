//! Payments that cannot fail, and their outcomes.

use alloy::primitives::{Address, U256};
use alloy::providers::Provider;
use rollmill_l1::{L1Client, TxReceipt, TxRequest, TxSender, TxStatus};

use super::proxy::Proxy;
use super::{Anvil, CHAIN_ID, mine, sender, signer};

pub const PAYEE: Address = Address::with_last_byte(0x42);
pub const BLOCK_GAS: u64 = 30_000_000;

/// A payment that cannot fail.
pub fn payment(purpose: &str, wei: u64) -> TxRequest {
    TxRequest {
        value: U256::from(wei),
        gas_limit: Some(21_000),
        ..TxRequest::call(purpose, PAYEE, Default::default())
    }
}

pub async fn paid(client: &L1Client) -> u64 {
    client.provider().get_balance(PAYEE).await.unwrap().to()
}

/// Transactions of account `index` that landed.
pub async fn count(client: &L1Client, index: usize) -> u64 {
    client.provider().get_transaction_count(signer(index).address()).await.unwrap()
}

pub async fn head(client: &L1Client) -> u64 {
    client.latest().await.unwrap().number
}

/// Mines a block too full for what is in the pool, and keeps it so.
pub async fn mine_full(client: &L1Client) {
    set_block_gas(client, 20_000).await;
    mine(client, 1).await;
    set_block_gas(client, BLOCK_GAS).await;
}

pub async fn set_block_gas(client: &L1Client, gas: u64) {
    let set =
        client.provider().raw_request::<_, bool>("evm_setBlockGasLimit".into(), [U256::from(gas)]);
    assert!(set.await.unwrap());
}

/// A sender whose endpoint can be made to fail, and a client that always works.
pub struct Faulty {
    _anvil: Anvil,
    pub proxy: Proxy,
    pub client: L1Client,
    pub proxied: L1Client,
    pub folder: tempfile::TempDir,
}

impl Faulty {
    pub async fn before(anvil: Anvil) -> Self {
        let proxy = Proxy::before(&anvil.url).await;
        let proxied = L1Client::connect(std::slice::from_ref(&proxy.url), CHAIN_ID).await.unwrap();
        let client = anvil.client().await;
        let folder = tempfile::tempdir().unwrap();
        Self { _anvil: anvil, proxy, client, proxied, folder }
    }

    pub async fn new() -> Self {
        Self::before(Anvil::start()).await
    }

    pub async fn sender(&self) -> TxSender {
        sender(&self.proxied, self.folder.path(), 0).await
    }
}

pub fn included(status: Option<TxStatus>) -> TxReceipt {
    match status {
        Some(TxStatus::Included(receipt)) => receipt,
        other => panic!("{other:?}"),
    }
}

pub fn reason(status: Option<TxStatus>) -> String {
    match status {
        Some(TxStatus::Dropped { reason }) => reason,
        other => panic!("{other:?}"),
    }
}
