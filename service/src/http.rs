//! Listening and serving, with errors a person can act on.

use tokio::net::TcpListener;

use crate::{Error, Shutdown};

/// Listens on `address` (`host:port`; port 0 lets the system choose). `setting` is named in the
/// error, so that it says what to change.
pub async fn listen(address: &str, setting: &str) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            Error::PortTaken { address: address.into(), setting: setting.into() }
        }
        _ => Error::Listen { address: address.into(), setting: setting.into(), source },
    })
}

/// Serves until `shutdown` starts and the open requests are answered. A handler that waits long
/// must itself watch `shutdown`.
pub async fn serve(
    listener: TcpListener,
    router: axum::Router,
    shutdown: Shutdown,
) -> Result<(), Error> {
    axum::serve(listener, router.into_make_service_with_connect_info::<std::net::SocketAddr>())
        .with_graceful_shutdown(async move { shutdown.started().await })
        .await
        .map_err(|source| Error::Serve { source })
}
