//! What a caller shows of itself: a secret, or a certificate that stands for a token without one.
//!
//! The handshake has checked the certificate: an authority of `listen_client_ca` signed it, it was valid then, and the
//! caller has its key. Here its DNS names are compared with those of tokens. Its subject does not count: authorities do
//! not check it, and many certificates have none.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::http::header;
use axum::http::request::Parts;
use rollmill_service::ClientCertificate;

use crate::store::tokens::hash;

/// A certificate is valid to its last moment, and not a moment later.
const PAST_THE_END: Duration = Duration::from_millis(1);

/// What a caller shows of itself.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    /// Nothing, or a header without a token.
    Nothing,
    /// A secret, as its hash.
    Secret([u8; 32]),
    /// The certificate of its connection.
    Certificate(Arc<ClientCertificate>),
}

impl Credential {
    /// That of a request. Who sends a secret does not fall back on a certificate: a wrong one is told.
    pub(crate) fn of(parts: &Parts) -> Self {
        let certificate = || parts.extensions.get::<Arc<ClientCertificate>>().cloned();
        match parts.headers.get(header::AUTHORIZATION) {
            Some(value) => {
                let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
                token.map_or(Self::Nothing, Self::secret)
            }
            None => certificate().map_or(Self::Nothing, Self::Certificate),
        }
    }

    /// A secret.
    pub(crate) fn secret(secret: &str) -> Self {
        Self::Secret(hash(secret))
    }

    /// Waits until it ends by itself, of which no change of a token tells: a certificate does.
    pub(crate) async fn ended(&self) {
        if let Self::Certificate(certificate) = self {
            let now = SystemTime::now();
            if !certificate.has_ended(now) {
                let left = certificate.left(now).saturating_add(PAST_THE_END);
                return tokio::time::sleep(left).await;
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::http::Request;

    use super::*;

    #[test]
    fn a_header_counts_before_a_certificate_also_when_no_token_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let signed = rollmill_net_testing::Authority::new(dir.path(), "ca").sign("a", &["agent-1"]);
        let read = |path: &Path| rollmill_net::PemFile::read(path).unwrap();
        let identity = read(&signed.cert).with_key(&read(&signed.key)).unwrap();
        let certificate = Arc::new(ClientCertificate::of(&identity.cert[0]).unwrap());
        let of = |authorization: Option<&str>, has_certificate: bool| {
            let mut request = Request::builder();
            if let Some(authorization) = authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let (mut parts, ()) = request.body(()).unwrap().into_parts();
            if has_certificate {
                parts.extensions.insert(Arc::clone(&certificate));
            }
            Credential::of(&parts)
        };
        for has_certificate in [false, true] {
            let secret = of(Some("Bearer rm_1"), has_certificate);
            assert!(matches!(secret, Credential::Secret(it) if it == hash("rm_1")), "{secret:?}");
            for other in ["Basic eDp5", "Bearer", "bearer rm_1", ""] {
                let found = of(Some(other), has_certificate);
                assert!(matches!(found, Credential::Nothing), "{other}: {found:?}");
            }
        }
        assert!(matches!(of(None, false), Credential::Nothing));
        let found = of(None, true);
        assert!(matches!(&found, Credential::Certificate(it) if it.names() == ["agent-1"]));
    }
}
