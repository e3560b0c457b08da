//! The wallet as a service: JSON-RPC 2.0 over HTTP for programs of the same user on the same machine, over a store
//! with several accounts.
//!
//! - **One queue per account.** Whatever reads or uses an account waits for its turn, so that two transfers never
//!   choose the same notes.
//! - **Work outlives its request.** A client that goes away, or waits too long, does not stop a transaction half-way.
//!   What it did not learn counts as unreported, so that the next request that would send something gets PXE-018 first.
//!   A client that chose an idempotency key asks again with it instead.
//! - **Nothing is kept in memory only.** The intent of a transaction is on the disk before anything is sent.

pub mod access;
pub mod api;
mod contracts;
mod error;
mod http;
mod methods;
pub mod origin;
mod session;
pub mod wire;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rollmill_node_client::NodeClient;
use rollmill_pxe_store::{Account, Store};
use rollmill_service::{Secret, Shutdown};
use tokio::sync::{Mutex as Queue, Semaphore};

pub use access::Access;
pub use error::{CallError, UNAUTHORIZED};

use crate::contracts::{CallProver, ContractError, FunctionKeys};
use crate::error::PxeError;
use crate::wallet::{ClientProver, Wallet};

/// Most bytes of a request's body that the service reads: an artifact of a contract fits.
pub const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Longest wait of `pxe_wait`, in seconds.
pub const WAIT_SECONDS_MAX: u64 = 60;

/// Opens the prover of a chain, by its id. A development SRS is accepted only on a development chain.
pub type OpenProver = Box<dyn Fn(u64) -> Result<Arc<dyn ClientProver>, PxeError> + Send + Sync>;

/// Opens what makes the keys of functions for a chain, by its id.
pub type OpenFunctionKeys = Box<dyn Fn(u64) -> Result<Arc<SharedKeys>, PxeError> + Send + Sync>;

/// Opens what proves calls of contracts for a chain, by its id.
pub type OpenCallProver = Box<dyn Fn(u64) -> Result<Arc<dyn CallProver>, PxeError> + Send + Sync>;

/// Makes the keys of functions for several requests.
pub type SharedKeys = dyn FunctionKeys + Send + Sync;

/// Bounds of the work on requests.
#[derive(Debug, Clone, Copy)]
pub struct ServiceLimits {
    /// Maximum requests in progress, those of `pxe_wait` left out.
    pub calls: usize,
    /// Maximum requests of `pxe_wait` in progress.
    pub waits: usize,
    /// Maximum requests that use or wait for one account. Requests for other accounts still get a place then.
    pub of_account: usize,
    /// How long a request waits for its turn at an account, and for that at reading blocks for contracts.
    pub turn: Duration,
    /// How long a client waits for the work on its request.
    pub answer: Duration,
    /// How long the node has at least to report a transaction for the first time in a `pxe_wait`, so that a wait of
    /// no time has a result too.
    pub report: Duration,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            calls: 64,
            waits: 64,
            of_account: 16,
            turn: Duration::from_secs(60),
            // The first sync of an old chain takes longest.
            answer: Duration::from_secs(300),
            report: Duration::from_secs(5),
        }
    }
}

/// The wallet of an account between two requests; none before the first one and after a panic, when it is read from
/// the store.
type Kept = Arc<Queue<Option<Wallet>>>;

/// A wallet service over one store.
pub struct Service {
    store: Arc<Store>,
    node: NodeClient,
    token: Secret,
    access: Access,
    open_prover: OpenProver,
    /// The prover of the last transaction, with the id of its chain.
    prover: Mutex<Option<(u64, Arc<dyn ClientProver>)>>,
    open_function_keys: Option<OpenFunctionKeys>,
    open_call_prover: Option<OpenCallProver>,
    /// The prover of the last transaction of contracts, with the id of its chain.
    call_prover: Mutex<Option<(u64, Arc<dyn CallProver>)>>,
    /// Held while blocks are read for contracts, which are read for all accounts at once.
    following: Mutex<()>,
    accounts: Mutex<BTreeMap<Account, Kept>>,
    calls: Semaphore,
    waits: Semaphore,
    limits: ServiceLimits,
    shutdown: Shutdown,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// A service for clients that have the token. `shutdown` ends the waits of clients.
    pub fn new(
        store: Store,
        node: NodeClient,
        token: Secret,
        open_prover: OpenProver,
        shutdown: Shutdown,
    ) -> Self {
        let limits = ServiceLimits::default();
        Self {
            store: Arc::new(store),
            node,
            token,
            access: Access::default(),
            open_prover,
            prover: Mutex::new(None),
            open_function_keys: None,
            open_call_prover: None,
            call_prover: Mutex::new(None),
            following: Mutex::default(),
            accounts: Mutex::default(),
            calls: Semaphore::new(limits.calls),
            waits: Semaphore::new(limits.waits),
            limits,
            shutdown,
        }
    }

    /// With what applications are granted, and the origins of pages that are served. Serve it with an
    /// [`rollmill_service::HttpServer`] that has these origins.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// With what makes the keys of functions. Without it no contract can be registered.
    #[must_use]
    pub fn with_function_keys(self, open: OpenFunctionKeys) -> Self {
        Self { open_function_keys: Some(open), ..self }
    }

    /// With what proves calls of contracts. Without it none can be sent.
    #[must_use]
    pub fn with_call_prover(self, open: OpenCallProver) -> Self {
        Self { open_call_prover: Some(open), ..self }
    }

    /// With other bounds of the work on requests.
    #[must_use]
    pub fn within(self, limits: ServiceLimits) -> Self {
        let (calls, waits) = (Semaphore::new(limits.calls), Semaphore::new(limits.waits));
        Self { calls, waits, limits, ..self }
    }

    /// Serves under `/`. Serve it with an [`rollmill_service::HttpServer`], which checks `Host` and `Origin`; add no
    /// state.
    pub fn router(self: &Arc<Self>) -> axum::Router {
        http::router(Arc::clone(self))
    }

    /// Waits until no request works on any account, also those whose clients went away. The grace period of the process
    /// bounds it.
    pub async fn settle(&self) {
        let queues: Vec<Kept> = self.accounts.lock().values().cloned().collect();
        for queue in queues {
            drop(queue.lock().await);
        }
    }

    /// The queue of an account of the store.
    fn queue(&self, account: Account) -> Result<Kept, CallError> {
        let found = self.accounts.lock().get(&account).cloned();
        if let Some(found) = found {
            return Ok(found);
        }
        let known = self.store.accounts().map_err(PxeError::Store)?;
        if known.iter().all(|info| info.account != account) {
            return Err(CallError::NoAccount);
        }
        Ok(self.accounts.lock().entry(account).or_default().clone())
    }

    /// The turn at reading blocks for contracts. Whatever holds it ends by [`crate::contracts::sync::READ_TIMEOUT`], or
    /// later if blocks are read once more; whoever waits for longer than for an account is told to come again.
    ///
    /// # Errors
    /// [`CallError::Busy`].
    fn turn_to_follow(&self) -> Result<MutexGuard<'_, ()>, CallError> {
        self.following.try_lock_for(self.limits.turn).ok_or(CallError::Busy)
    }

    /// The prover of a chain. It is opened for the first transaction, which takes seconds.
    fn prover(&self, chain_id: u64) -> Result<Arc<dyn ClientProver>, PxeError> {
        let mut kept = self.prover.lock();
        if let Some((_, prover)) = kept.as_ref().filter(|(of, _)| *of == chain_id) {
            return Ok(Arc::clone(prover));
        }
        let prover = (self.open_prover)(chain_id)?;
        *kept = Some((chain_id, Arc::clone(&prover)));
        Ok(prover)
    }

    /// As [`Self::prover`], for calls of contracts.
    fn call_prover(&self, chain_id: u64) -> Result<Arc<dyn CallProver>, PxeError> {
        let mut kept = self.call_prover.lock();
        if let Some((_, prover)) = kept.as_ref().filter(|(of, _)| *of == chain_id) {
            return Ok(Arc::clone(prover));
        }
        let open = self.open_call_prover.as_ref().ok_or_else(|| ContractError::Prove {
            what: "a call".to_owned(),
            why: "this service proves none".to_owned(),
        })?;
        let prover = open(chain_id)?;
        *kept = Some((chain_id, Arc::clone(&prover)));
        Ok(prover)
    }
}

#[cfg(test)]
mod tests;
