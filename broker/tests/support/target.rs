//! A broker that a fuzzer sends requests to, as an operator without a limit of requests.

use std::time::Duration;

use rollmill_broker::store::{Rules, Tenant};
use rollmill_broker_client::{NewToken, Role};
use rollmill_broker_testing::{TestBroker, TestSchema};

use super::document::{EVENT_STREAM, events};

/// Label of the fuzzer's token.
pub const LABEL: &str = "the-fuzzer";
/// Events of a stream that are read. It need not have an end.
const EVENTS: usize = 2;
/// Longest time until an answer has come.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Target {
    pub broker: TestBroker,
    pub url: String,
    pub token: String,
    pub http: reqwest::Client,
}

impl Target {
    pub async fn new(rules: Rules) -> Self {
        let schema = TestSchema::with(rules).await;
        let new = NewToken {
            requests_per_second: Some(1_000_000),
            ..NewToken::new(LABEL, Role::Operator)
        };
        let created = schema.store().await.create_token(&Tenant::default(), &new).await;
        let token = created.unwrap().token;
        let broker = schema.broker().await;
        let url = rollmill_broker::url_of(broker.address);
        let http = rollmill_service::untimed_http_client();
        Self { broker, url, token, http }
    }

    /// Requires that the broker can do its work and serves, and stops it.
    pub async fn end_well(self) {
        let failing = self.broker.conditions.failing();
        assert!(failing.is_empty(), "{failing:?}");
        self.broker.client_with(Some(&self.token)).status().await.unwrap();
        self.broker.stop().await;
    }
}

/// The body of an answer; of a stream, its first events.
///
/// # Errors
/// Why it is not there.
pub async fn body_of(mut answer: reqwest::Response) -> Result<Vec<u8>, String> {
    let kind = answer.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let is_stream = kind.is_some_and(|kind| kind.starts_with(EVENT_STREAM));
    let mut bytes = Vec::new();
    let read = async {
        while let Some(part) = answer.chunk().await? {
            bytes.extend_from_slice(&part);
            if is_stream && events(&bytes).len() >= EVENTS {
                break;
            }
        }
        Ok::<_, reqwest::Error>(())
    };
    let read = tokio::time::timeout(LIMIT, read).await;
    let read = read.map_err(|_| format!("the answer does not come within {LIMIT:?}"))?;
    read.map_err(|error| format!("half an answer: {error}"))?;
    Ok(bytes)
}
