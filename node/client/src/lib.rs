//! The typed client of a node, and the wire types it shares with the server.
//!
//! ```no_run
//! # async fn example() -> Result<(), rollmill_node_client::ClientError> {
//! let node = rollmill_node_client::NodeClient::new("http://127.0.0.1:8080")?;
//! let tips = node.tips().await?;
//! println!("block {} is proven", tips.proven.block_number);
//! # Ok(()) }
//! ```

pub mod api;
pub mod wire;

use std::time::Duration;

use reqwest::Method;
use rollmill_errors::{Coded, Disposition};
use rollmill_net::{
    AddressError, Answer, Foreign, Limits, Tls, Transport, TransportError, Unreachable,
};
use rollmill_protocol::{DecodeError, Fr, Genesis, Tx};
use serde::de::DeserializeOwned;
use serde_json::Value;

use api::Calls;
use wire::{
    BlockEffects, BlockRef, DepositInfo, Field, HeaderInfo, HexBytes, MessagePath, NotePath,
    NullifierStatus, PublicData, Request, Response, RpcError, TaggedLog, Tips, TxStatus, Versions,
};

/// Connection timeout, after which a node counts as unreachable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a whole request. Admission verifies a proof, which takes well below a second.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const LIMITS: Limits = Limits {
    connect: CONNECT_TIMEOUT,
    request: REQUEST_TIMEOUT,
    answer_bytes: wire::ANSWER_BYTES_MAX,
};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The node is unreachable, or the connection broke. Retrying may succeed.
    ///
    /// Do: Check that the node runs, and correct `--node-url` or the URL of the source.
    #[error("{code}: node {0}; check that it runs and listens there", code = self.code())]
    Transport(Unreachable),
    /// Something other than a node of this release answers.
    ///
    /// Do: Correct `--node-url` or the URL of the source, or run both of the same release.
    #[error("{code}: no node of this release answers at {0}; check the address", code = self.code())]
    NotANode(Foreign),
    /// The node rejected the request. The message carries the node's code instead.
    ///
    /// Do: Look up the node's code.
    // NDC-003 was this variant's, before the node's own code took its place.
    #[error("{}", .0.message)]
    Rejected(RpcError),
    /// A value in the node's response is invalid.
    ///
    /// Do: Run client and node of the same release. Otherwise use another node.
    #[error("{code}: the node's answer is wrong: {cause}", code = self.code(), cause = rollmill_errors::Bare(.0))]
    Answer(#[from] DecodeError),
    /// The node's address is not a URL, or has a user name, a password, a query or a fragment.
    ///
    /// Do: Write it as `http://127.0.0.1:8560`.
    #[error("{code}: a node's address {0}", code = self.code())]
    Address(AddressError),
}

rollmill_errors::coded! {
    ClientError {
        Self::Transport(_) => "NDC-001" retried,
        Self::NotANode(_) => "NDC-002",
        Self::Rejected(error) if error.code == wire::BUSY => [&error.data.code] retried,
        Self::Rejected(error) => [&error.data.code],
        Self::Answer(..) => "NDC-004",
        Self::Address(_) => "NDC-005" usage,
    }
}

impl ClientError {
    /// The stable code of a rejection by the node.
    pub fn node_code(&self) -> Option<&str> {
        match self {
            Self::Rejected(error) => Some(&error.data.code),
            _ => None,
        }
    }

    /// Whether the node rejects the transaction that it was sent, as it is.
    pub fn rejects_transaction(&self) -> bool {
        matches!(self, Self::Rejected(error) if error.rejects_transaction())
    }

    /// Whether the setting itself cannot be used, whatever the node does.
    pub fn is_usage(&self) -> bool {
        self.disposition() == Disposition::Usage
    }

    /// True when the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        self.disposition() == Disposition::Retried
    }
}

/// A client of one node over HTTP. Clones share connections.
#[derive(Debug, Clone)]
pub struct NodeClient {
    transport: Transport,
}

impl NodeClient {
    /// A client of the node at `url`, with the TLS of this process. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ClientError::Address`] unless `url` is the address of a server, without user name, password, query and
    /// fragment.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        Self::with_tls(url, &Tls::of_process())
    }

    /// As [`Self::new`], with other TLS than that of this process.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_tls(url: &str, tls: &Tls) -> Result<Self, ClientError> {
        match Transport::new(url, None, LIMITS, tls) {
            Ok(transport) => Ok(Self { transport }),
            Err(error) => Err(failed(error)),
        }
    }

    /// Scheme, host and port of the node's address.
    pub fn url(&self) -> &str {
        self.transport.url()
    }

    /// Pending and proven tips.
    pub async fn tips(&self) -> Result<Tips, ClientError> {
        Calls(self).tips().await
    }

    /// A header; `None` when the node has no such block.
    pub async fn header(&self, block: BlockRef) -> Result<Option<HeaderInfo>, ClientError> {
        Calls(self).header(block).await
    }

    /// The genesis file of the node's deployment.
    pub async fn genesis(&self) -> Result<Genesis, ClientError> {
        Calls(self).genesis().await
    }

    /// Versions and deployment of the node.
    pub async fn versions(&self) -> Result<Versions, ClientError> {
        Calls(self).versions().await
    }

    /// Submits a transaction to the node's pool. Sending a known one again succeeds.
    pub async fn send_transaction(&self, tx: &Tx) -> Result<Fr, ClientError> {
        let sent = Calls(self).send_transaction(HexBytes(tx.to_bytes())).await?;
        if sent.tx_hash == tx.hash() {
            Ok(sent.tx_hash)
        } else {
            Err(self.not_a_node("it names another transaction than the one sent"))
        }
    }

    /// The status of a transaction.
    pub async fn transaction_status(&self, tx_hash: &Fr) -> Result<TxStatus, ClientError> {
        Calls(self).transaction_status(Field(*tx_hash)).await
    }

    /// A transaction with its client proof, which nodes keep until it is proven; `None` when this
    /// node does not have it.
    pub async fn transaction(&self, tx_hash: &Fr) -> Result<Option<Tx>, ClientError> {
        let found = Calls(self).transaction(Field(*tx_hash)).await?;
        let Some(HexBytes(bytes)) = found else { return Ok(None) };
        let tx = Tx::from_bytes(&bytes)?;
        if tx.hash() == *tx_hash {
            Ok(Some(tx))
        } else {
            Err(self.not_a_node("it gave another transaction than the one asked for"))
        }
    }

    /// For each tag, in order, the logs that carry it: oldest first, at most
    /// [`wire::LOGS_PER_TAG_MAX`]. At most [`wire::TAGS_MAX`] tags.
    pub async fn logs_by_tags(&self, tags: &[Fr]) -> Result<Vec<Vec<TaggedLog>>, ClientError> {
        let logs = Calls(self).logs_by_tags(tags.iter().copied().map(Field).collect()).await?;
        if logs.len() == tags.len() {
            Ok(logs)
        } else {
            Err(self.not_a_node("it answered for another number of tags"))
        }
    }

    /// Headers and effects of up to `limit` blocks from number `from`, at most [`wire::BLOCKS_MAX`].
    pub async fn block_effects(
        &self,
        from: u64,
        limit: u64,
    ) -> Result<Vec<BlockEffects>, ClientError> {
        Calls(self).block_effects(from, limit).await
    }

    /// Siblings of a note hash under the note root of the header with this hash.
    pub async fn note_path(
        &self,
        leaf_index: u64,
        header_hash: &Fr,
    ) -> Result<NotePath, ClientError> {
        Calls(self).note_path(leaf_index, Field(*header_hash)).await
    }

    /// Deposits on L1 into the fee balance of `address`, by index from `from_index` on, at most
    /// [`wire::DEPOSITS_MAX`]. Those that no block has taken yet are among them, and claimed ones too.
    pub async fn deposits(
        &self,
        address: &Fr,
        from_index: u64,
    ) -> Result<Vec<DepositInfo>, ClientError> {
        let deposits = Calls(self).deposits(Field(*address), from_index).await?;
        let mut least = Some(from_index);
        for deposit in &deposits {
            if least.is_none_or(|least| deposit.index < least) {
                return Err(self.not_a_node("its deposits are not in the order of their index"));
            }
            least = deposit.index.checked_add(1);
        }
        Ok(deposits)
    }

    /// Siblings of a message from L1 under the message root of the header with this hash.
    pub async fn message_path(
        &self,
        index: u64,
        header_hash: &Fr,
    ) -> Result<MessagePath, ClientError> {
        Calls(self).message_path(index, Field(*header_hash)).await
    }

    /// The value of a public data slot at the pending tip; `None` when the slot was never written.
    pub async fn public_data(&self, slot: &Fr) -> Result<Option<PublicData>, ClientError> {
        Calls(self).public_data(Field(*slot)).await
    }

    /// Whether a nullifier was published.
    pub async fn nullifier_status(&self, nullifier: &Fr) -> Result<NullifierStatus, ClientError> {
        Calls(self).nullifier_status(Field(*nullifier)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        params: Value,
    ) -> Result<T, ClientError> {
        let Value::Array(params) = params else {
            return Err(self.not_a_node("parameters must be a list"));
        };
        let request = Request {
            jsonrpc: "2.0".to_owned(),
            id: Value::from(1),
            method: method.to_owned(),
            params,
        };
        let request = self.transport.request(Method::POST, "").json(&request);
        let answer = self.transport.answer(request).await.map_err(failed)?;
        let Answer { status, body, .. } = answer;
        let response: Response =
            serde_json::from_slice(&body).map_err(|_| match speaks_json_rpc(&body) {
                true => self.not_a_node("it is a JSON-RPC server, but not a Rollmill node"),
                false => match of_the_frame(&body) {
                    Some(message) => self.not_a_node(&message),
                    None => self.not_a_node(&format!("HTTP {status} without a JSON-RPC answer")),
                },
            })?;
        if let Some(error) = response.error {
            return Err(ClientError::Rejected(error));
        }
        let result = response.result.ok_or_else(|| self.not_a_node("no result and no error"))?;
        serde_json::from_value(result)
            .map_err(|error| self.not_a_node(&format!("its answer to {method}: {error}")))
    }

    fn not_a_node(&self, reason: &str) -> ClientError {
        ClientError::NotANode(self.transport.foreign(reason))
    }
}

/// Why there is no answer. A node's errors are read of the answer itself, and a client has no token.
fn failed(error: TransportError) -> ClientError {
    match error {
        TransportError::Address(error) => ClientError::Address(error),
        TransportError::Unreachable(error) => ClientError::Transport(error),
        TransportError::Foreign(foreign) => ClientError::NotANode(foreign),
        TransportError::Token | TransportError::Exposed(_) | TransportError::Rejected(_) => {
            unreachable!("no token is sent, and no code is read")
        }
    }
}

/// Why the frame of a node's server rejected the request, without its code.
fn of_the_frame(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let code = answer.get("code")?.as_str()?;
    let message = answer.get("message")?.as_str()?;
    code.starts_with("SVC-").then(|| rollmill_errors::uncoded(message))
}

/// Whether a response has the form of JSON-RPC 2.0, from whichever server.
fn speaks_json_rpc(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|answer| answer.get("jsonrpc").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_json_rpc_server_is_told_from_one_without() {
        let error = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no method"}}"#;
        assert!(speaks_json_rpc(error));
        assert!(serde_json::from_slice::<Response>(error).is_err(), "no node answers so");
        for other in [&b"<html>"[..], b"{}", b"[1]", b""] {
            assert!(!speaks_json_rpc(other));
        }
    }

    #[test]
    fn an_address_that_is_no_url_is_reported_and_no_password_in_it() {
        for wrong in ["nonsense", "", "ftp://host/", "user:planted@host", "http://u:planted@host"] {
            let error = NodeClient::new(wrong).unwrap_err();
            let text = format!("{error} {error:?}");
            assert!(text.starts_with("NDC-005: a node's address `"), "{text}");
            assert!(!text.contains("planted") && error.is_usage(), "{text}");
        }
        let client = NodeClient::new("https://node.example:8560/planted").unwrap();
        assert_eq!(client.url(), "https://node.example:8560");
        assert!(!format!("{client:?}").contains("planted"));
    }
}
