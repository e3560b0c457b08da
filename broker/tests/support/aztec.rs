//! A broker, asked in the way of Aztec's programs.

#![allow(dead_code, unreachable_pub)]

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{RequestBuilder, StatusCode};
use rollmill_broker::Config;
use rollmill_broker::store::Store;
use rollmill_broker_client::Digest;
use rollmill_broker_testing::{TestBroker, TestSchema};
use serde_json::{Value, json};

pub const INPUTS: &str = "data:application/json;charset=utf-8,%7B%22type%22%3A16%7D";
pub const PROOF: &str =
    "data:application/json;charset=utf-8,%7B%22type%22%3A16%2C%22result%22%3A1%7D";

/// A broker, and what one tenant's programs ask of it.
pub struct Aztec {
    pub schema: TestSchema,
    pub broker: TestBroker,
    pub http: reqwest::Client,
    pub path: String,
}

impl Aztec {
    pub async fn with(config: Config) -> Self {
        let schema = TestSchema::new().await;
        let broker = schema.broker_with(config).await;
        Self {
            schema,
            broker,
            http: rollmill_service::untimed_http_client(),
            path: "/aztec/none".into(),
        }
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        let url = rollmill_broker::url_of(self.broker.address);
        self.http.post(format!("{url}{path}")).header("content-type", "application/json")
    }

    pub async fn send(&self, body: &Value) -> (StatusCode, Value) {
        let answer = self.post(&self.path).body(body.to_string()).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    /// The whole answer to one call in a list.
    pub async fn call(&self, method: &str, params: Value) -> Value {
        let method = format!("proverBroker_{method}");
        let body = json!([{ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }]);
        let (status, mut answer) = self.send(&body).await;
        assert_eq!(status, 200, "{method}: {answer}");
        assert_eq!((answer[0]["jsonrpc"].as_str(), &answer[0]["id"]), (Some("2.0"), &json!(7)));
        answer[0].take()
    }

    pub async fn result(&self, method: &str, params: Value) -> Value {
        let mut answer = self.call(method, params).await;
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    pub async fn error(&self, method: &str, params: Value) -> (i64, String) {
        let answer = self.call(method, params).await;
        assert!(answer.get("result").is_none(), "{answer}");
        let error = &answer["error"];
        (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
    }

    pub async fn enqueue(&self, id: &str) -> Value {
        self.result("enqueueProvingJob", json!([job(id)])).await
    }

    pub async fn status(&self, id: &str) -> Value {
        self.result("getProvingJobStatus", json!([id])).await
    }

    pub async fn get(&self) -> Value {
        self.result("getProvingJob", json!([{ "allowList": [] }])).await
    }

    pub fn store(&self) -> impl Future<Output = Store> {
        self.schema.store()
    }

    /// Ends every lease, as if no heartbeat had come.
    pub async fn expire(&self) {
        let store = self.store().await;
        let sql = "UPDATE job SET lease_expires_at = now() - interval '1 s' WHERE state = 'leased'";
        sqlx::query(sql).execute(store.pool()).await.unwrap();
        assert_eq!(store.expire(0.5).await.unwrap().len(), 1);
    }
}

/// The id of a job with this input.
pub fn id(epoch: u64, input: &str) -> String {
    format!("{epoch}:PARITY_BASE:{}", Digest::of(input.as_bytes()))
}

pub fn job(id: &str) -> Value {
    let epoch: u64 = id.split(':').next().unwrap().parse().unwrap();
    json!({ "id": id, "type": 16, "epochNumber": epoch, "inputsUri": INPUTS })
}

pub fn state(name: &str) -> Value {
    json!({ "status": name })
}

pub fn quick() -> Config {
    Config { aztec_wait_seconds: 0, ..Config::default() }
}

pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}
