//! Why a request to the service has no result.

use rollmill_node_client::wire::{BUSY, ErrorData, RpcError};

use super::REQUEST_BYTES_MAX;
use crate::error::PxeError;

/// JSON-RPC's number for a request without the access token; the HTTP status is then 401.
pub const UNAUTHORIZED: i64 = -32001;

/// Errors of the service, each with a stable code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request has no access token, or a wrong one.
    ///
    /// Do: Send the header `Authorization: Bearer TOKEN`, with the token of the file that the service named in its log
    /// when it started, or of its setting `serve.token`.
    #[error("{code}: the request has no valid access token; send the header `Authorization: Bearer TOKEN`", code = self.code())]
    Token,
    /// The token is one of an application whose grant names other pages than the one that sent the request, or the page
    /// is one of an application and the token another's.
    ///
    /// Do: Use the token with the pages of its grant, or correct `origins` in the file of `serve.apps`.
    #[error("{code}: the access token is not for this page; use it with the origins of its grant", code = self.code())]
    Page,
    /// The application was not granted what the request needs.
    ///
    /// Do: Ask the owner of the wallet to grant it in the file of `serve.apps`, or ask for what `pxe_capabilities` lists.
    #[error("{code}: the application {app} was not granted {what}; pxe_capabilities lists what it was granted", code = self.code())]
    Right { app: String, what: &'static str },
    /// The request body exceeds the maximum size.
    ///
    /// Do: Correct the client: no request of this service is that large.
    #[error("{code}: a request of at most {REQUEST_BYTES_MAX} bytes is read", code = self.code())]
    TooLarge,
    /// The request body is incomplete.
    ///
    /// Do: Send the request again.
    #[error("{code}: the request is incomplete; send it again", code = self.code())]
    Body,
    /// The request body is not JSON.
    ///
    /// Do: Correct the client.
    #[error("{code}: the request is not JSON: {0}", code = self.code())]
    NotJson(String),
    /// The request body is not a JSON-RPC 2.0 request. Batches are not served.
    ///
    /// Do: Correct the client; send the requests of a batch one by one.
    #[error("{code}: a JSON-RPC 2.0 request object expected: {0}", code = self.code())]
    NotARequest(String),
    /// The method does not exist.
    ///
    /// Do: Check its name against the release of the service.
    #[error("{code}: there is no method {0:.64}", code = self.code())]
    NoMethod(String),
    /// A parameter is missing, superfluous or invalid.
    ///
    /// Do: Correct the parameter; `docs/book/pxe-service.md` lists those of each method.
    #[error("{code}: {method}: {reason}", code = self.code())]
    Parameters { method: &'static str, reason: String },
    /// The store has no such account.
    ///
    /// Do: Use an address that `pxe_accounts` lists.
    #[error("{code}: the store has no such account; use an address that pxe_accounts lists", code = self.code())]
    NoAccount,
    /// Too many requests at the same time, or an earlier one of the account takes long. Nothing was done.
    ///
    /// Do: Send the request again later.
    #[error("{code}: the service is busy with other requests; send it again later", code = self.code())]
    Busy,
    /// The request takes longer than the service lets a client wait. It is still being worked on.
    ///
    /// Do: Read `pxe_sent` before sending again, or `pxe_history` after a call of a contract: what this request sends
    /// appears there, and the next request of its kind without a key gets PXE-018 first.
    #[error("{code}: the request takes longer than {seconds} s and is still being worked on; read pxe_sent, or pxe_history after a call of a contract, before sending again", code = self.code())]
    Late { seconds: u64 },
    /// The node did not report the status of the transaction within the time of the wait.
    ///
    /// Do: Wait again, with more seconds. If that fails too, check the node.
    #[error("{code}: the node did not report the transaction within the wait of {seconds} s; wait again, with more seconds", code = self.code())]
    Unreported { seconds: u64 },
    /// Internal error: the work on the request panicked.
    ///
    /// Do: A bug in Rollmill: report it with the log of the service. Read `pxe_sent`, or `pxe_history` after a call of
    /// a contract, before sending again.
    #[error("{code}: internal error: the work on the request panicked; read pxe_sent, or pxe_history after a call of a contract, before sending again", code = self.code())]
    Died,
    /// The wallet could not do what was asked. The message has the code.
    #[error(transparent)]
    Pxe(#[from] PxeError),
}

rollmill_errors::coded! {
    CallError {
        Self::Token => "PXE-036",
        Self::Page => "PXE-087",
        Self::Right { .. } => "PXE-086",
        Self::TooLarge => "PXE-037",
        Self::Body => "PXE-038",
        Self::NotJson(_) => "PXE-039",
        Self::NotARequest(_) => "PXE-040",
        Self::NoMethod(_) => "PXE-041",
        Self::Parameters { .. } => "PXE-042",
        Self::NoAccount => "PXE-043",
        Self::Busy => "PXE-044",
        Self::Late { .. } => "PXE-045",
        Self::Died => "PXE-046",
        Self::Unreported { .. } => "PXE-068",
        Self::Pxe(error) => (error),
    }
}

impl CallError {
    /// JSON-RPC's number for this error.
    pub fn number(&self) -> i64 {
        match self {
            Self::Token | Self::Page => UNAUTHORIZED,
            Self::NotJson(_) => -32700,
            Self::TooLarge | Self::Body | Self::NotARequest(_) => -32600,
            Self::NoMethod(_) => -32601,
            Self::Parameters { .. } => -32602,
            Self::Died => -32603,
            Self::Busy => BUSY,
            Self::NoAccount
            | Self::Right { .. }
            | Self::Late { .. }
            | Self::Unreported { .. }
            | Self::Pxe(_) => -32000,
        }
    }

    /// The HTTP status of its response.
    pub fn status(&self) -> u16 {
        match self {
            Self::Token => 401,
            Self::Page => 403,
            Self::Body => 400,
            Self::TooLarge => 413,
            Self::Busy => 503,
            _ => 200,
        }
    }

    /// The error as it goes over the wire.
    pub(super) fn to_wire(&self) -> RpcError {
        let message = self.to_string();
        RpcError { code: self.number(), message, data: ErrorData { code: self.code().to_owned() } }
    }
}
