//! The agent's token, which may be replaced while it runs.

use rollmill_broker_client::Client;
use rollmill_service::{RotatingSecret, Secret, one_line};

/// The token that the agent's clients send.
#[derive(Debug, Clone)]
pub(super) struct Token {
    secret: RotatingSecret,
    clients: [Client; 2],
}

impl Token {
    /// The token that these clients have.
    pub(super) fn new(secret: Secret, clients: [Client; 2]) -> Self {
        Self { secret: RotatingSecret::new(secret), clients }
    }

    /// What was read last.
    pub(super) fn present(&self) -> Secret {
        self.secret.present()
    }

    /// Reads the token again; returns whether requests have another one from now on than `before`.
    pub(super) fn is_other_than(&self, before: &Secret) -> bool {
        self.secret.read_again();
        let present = self.secret.present();
        self.send(&present);
        present != *before
    }

    /// Follows its file, until it is dropped.
    pub(super) async fn keep(self) {
        let secret = self.secret.clone();
        secret.keep(move |changed| self.send(changed)).await;
    }

    fn send(&self, secret: &Secret) {
        for client in &self.clients {
            if let Err(error) = client.set_token(secret.reveal()) {
                tracing::error!(error = one_line(&error), "token cannot be sent");
            }
        }
    }
}
