//! A broker that a fuzzer sends requests to, as an operator without a limit of requests.

use rollmill_broker::Config;
use rollmill_broker::store::{Rules, Tenant};
use rollmill_broker_client::{NewToken, Role};
use rollmill_broker_testing::{TestBroker, TestSchema};

/// Label of the fuzzer's token.
pub const LABEL: &str = "the-fuzzer";

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
        // However full the disk of the machine is.
        let config = Config { disk_free_min_percent: 0, ..Config::default() };
        let broker = schema.broker_with(config).await;
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
