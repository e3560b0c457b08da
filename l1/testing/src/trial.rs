//! An endpoint that tries calls one after the other (`eth_simulateV1`) as a full node does: anvil's rejects those that create
//! a contract. The calls are really made, between a snapshot and the return to it.

use rollmill_l1::alloy::transports::http::reqwest;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use crate::proxy::{answer, request, result};

#[derive(Clone)]
struct Node {
    client: reqwest::Client,
    url: String,
}

/// Starts the endpoint before the anvil at `target`, and returns its URL. It ends with the runtime of its test.
pub async fn before(target: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let node = Node { client: rollmill_net::untimed_http_client(), url: target.to_owned() };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, node.clone()));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, node: Node) {
    while let Some(body) = request(&mut stream).await {
        let asked: Value = serde_json::from_slice(&body).unwrap();
        let said = match asked["method"].as_str() {
            Some("eth_simulateV1") => {
                let blocks = asked["params"][0]["blockStateCalls"].as_array().unwrap();
                Some(result(&body, &node.simulate(blocks).await))
            }
            _ => node.post(body).await,
        };
        let Some(said) = said else { return };
        answer(&mut stream, "200 OK", &said).await;
    }
}

impl Node {
    /// [`None`] if the node is gone.
    async fn post(&self, body: Vec<u8>) -> Option<Vec<u8>> {
        let sent = self.client.post(&self.url).header("content-type", "application/json");
        let response = sent.body(body).send().await.ok()?;
        Some(response.bytes().await.ok()?.to_vec())
    }

    async fn ask(&self, method: &str, params: Value) -> Value {
        let asked = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let said = self.post(asked.to_string().into_bytes()).await.unwrap();
        serde_json::from_slice(&said).unwrap()
    }

    /// Once the transaction is in a block.
    async fn receipt(&self, hash: &Value) -> Value {
        for _ in 0..100_000 {
            let asked = self.ask("eth_getTransactionReceipt", json!([hash])).await;
            if asked["result"].is_object() {
                return asked["result"].clone();
            }
        }
        panic!("transaction {hash} is in no block");
    }

    /// Each block has one call.
    async fn simulate(&self, blocks: &[Value]) -> Value {
        let snapshot = self.ask("evm_snapshot", json!([])).await["result"].clone();
        let mut simulated = Vec::new();
        for block in blocks {
            let call = &block["calls"][0];
            // The transaction's receipt does not say why it failed.
            let tried = self.ask("eth_call", json!([call, "latest"])).await;
            let sent = self.ask("eth_sendTransaction", json!([call])).await;
            let receipt = self.receipt(&sent["result"]).await;
            let newest = self.ask("eth_getBlockByNumber", json!(["latest", false])).await;
            let mut simulated_block = newest["result"].clone();
            let mut made = json!({
                "status": receipt["status"], "gasUsed": receipt["gasUsed"], "logs": [],
                "returnData": tried["result"].as_str().unwrap_or("0x"),
            });
            if let Some(error) = tried["error"].as_object() {
                made["returnData"] = error.get("data").cloned().unwrap_or_else(|| "0x".into());
                made["error"] = json!({ "code": 3, "message": error["message"] });
            }
            simulated_block["calls"] = json!([made]);
            simulated.push(simulated_block);
        }
        let reverted = self.ask("evm_revert", json!([snapshot])).await;
        assert_eq!(reverted["result"], true);
        simulated.into()
    }
}
