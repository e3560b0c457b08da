//! The verification of transactions: a few at a time, the most promising first, and an immediate
//! rejection when there are too many.
//!
//! Whether a proof is valid is only known once it was verified, and until then a sender may claim
//! anything. So peers whose transactions were recently rejected come last, whatever they offer, and no
//! peer has more than a share of the queue.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use rollmill_protocol::Fr;
use rollmill_service::prometheus::{self, Registry};
use tokio::sync::oneshot;

use crate::error::PoolError;
use crate::metrics::AdmissionMetrics;
use crate::node::{Considered, Node};
use crate::pool::Candidate;

/// Limits of the verification of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Transactions verified at the same time. At least 1.
    pub workers: usize,
    /// Transactions that wait for that.
    pub queue: usize,
    /// Of those, from one peer address.
    pub queue_per_peer: usize,
}

impl Default for AdmissionLimits {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // The other cores are for the process's own work.
        Self { workers: (cores / 2).max(1), queue: 256, queue_per_peer: 64 }
    }
}

/// Number of peers whose rejections are counted.
const PEERS_MAX: usize = 4096;

type Answer = oneshot::Sender<Result<Fr, PoolError>>;

/// The least is verified first: fewest rejections, best offer, oldest.
type Order = (u32, Reverse<u128>, u64);

struct Waiting {
    candidate: Box<Candidate>,
    peer: Option<IpAddr>,
    answer: Answer,
}

#[derive(Default)]
struct Queue {
    waiting: BTreeMap<Order, Waiting>,
    running: usize,
    arrivals: u64,
    rejections: HashMap<IpAddr, u32>,
}

/// The queue in front of [`Node::admit`].
pub(super) struct Admission {
    node: Arc<Node>,
    limits: AdmissionLimits,
    queue: Mutex<Queue>,
    metrics: AdmissionMetrics,
}

impl Admission {
    pub(super) fn new(node: Arc<Node>, limits: AdmissionLimits) -> Self {
        let metrics = AdmissionMetrics::create(&[]);
        Self { node, limits, queue: Mutex::default(), metrics }
    }

    pub(super) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        self.metrics.register(registry)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Adds a transaction to the node's pool, once it is its turn.
    pub(super) async fn submit(
        self: &Arc<Self>,
        bytes: Vec<u8>,
        peer: Option<IpAddr>,
    ) -> Result<Fr, PoolError> {
        let node = Arc::clone(&self.node);
        let considered = tokio::task::spawn_blocking(move || node.consider(&bytes)).await;
        let candidate = match considered.map_err(|_| PoolError::Busy)?? {
            Considered::Known(tx_hash) => return Ok(tx_hash),
            Considered::New(candidate) => candidate,
        };
        let (answer, result) = oneshot::channel();
        self.enqueue(Waiting { candidate, peer, answer });
        // Dropped without a response when a better one took its place in the queue.
        result.await.unwrap_or(Err(PoolError::Busy))
    }

    fn enqueue(self: &Arc<Self>, new: Waiting) {
        let mut queue = self.queue();
        let rejections =
            new.peer.and_then(|peer| queue.rejections.get(&peer)).copied().unwrap_or(0);
        queue.arrivals += 1;
        let order = (rejections, Reverse(new.candidate.offer()), queue.arrivals);
        let of_peer = queue.waiting.values().filter(|waiting| waiting.peer == new.peer).count();
        if new.peer.is_some() && of_peer >= self.limits.queue_per_peer {
            // The last of the same peer, if this one is better.
            let of_peer = queue.waiting.iter().rev().find(|(_, waiting)| waiting.peer == new.peer);
            let last = of_peer.map(|(last, _)| *last).filter(|last| order < *last);
            self.metrics.admission_busy_total.inc();
            let Some(last) = last else { return };
            queue.waiting.remove(&last);
        }
        queue.waiting.insert(order, new);
        if queue.running < self.limits.workers.max(1) {
            queue.running += 1;
            let own = Arc::clone(self);
            tokio::task::spawn_blocking(move || own.work());
        } else if queue.waiting.len() > self.limits.queue {
            // Its sender gets the error that the node is busy.
            queue.waiting.pop_last();
            self.metrics.admission_busy_total.inc();
        }
        self.metrics.admission_waiting.set(i64::try_from(queue.waiting.len()).unwrap_or(i64::MAX));
    }

    /// Verifies until nothing waits.
    fn work(&self) {
        // Also if a verification panics, another worker can start.
        let mut running = Running(Some(self));
        loop {
            let next = {
                let mut queue = self.queue();
                let next = queue.waiting.pop_first();
                self.metrics
                    .admission_waiting
                    .set(i64::try_from(queue.waiting.len()).unwrap_or(i64::MAX));
                if next.is_none() {
                    // Under the lock, so that the next transaction starts a worker.
                    queue.running = queue.running.saturating_sub(1);
                    running.0 = None;
                }
                next
            };
            let Some((_, Waiting { candidate, peer, answer })) = next else { return };
            if answer.is_closed() {
                // Its sender is gone.
                continue;
            }
            let result = self.node.admit(*candidate);
            self.metrics.admission_verified_total.inc();
            let is_rejected = matches!(result, Err(PoolError::Proof { .. }));
            if is_rejected {
                self.metrics.admission_refused_total.inc();
            }
            if let Some(peer) = peer {
                self.queue().note(peer, is_rejected);
            }
            let _ = answer.send(result);
        }
    }
}

impl Queue {
    fn note(&mut self, peer: IpAddr, is_rejected: bool) {
        if !is_rejected {
            self.rejections.remove(&peer);
        } else if self.rejections.len() < PEERS_MAX || self.rejections.contains_key(&peer) {
            let count = self.rejections.entry(peer).or_default();
            *count = count.saturating_add(1);
        } else {
            // Full of rejected peers: all start over.
            self.rejections.clear();
        }
    }
}

/// A worker that has not ended by itself.
struct Running<'a>(Option<&'a Admission>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(admission) = self.0 {
            let mut queue = admission.queue();
            queue.running = queue.running.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::mpsc;

    use rollmill_protocol::{ClientInputs, ProofKind};

    use super::*;
    use crate::tests::{TestNode, settings, support};
    use crate::{ClientProofVerifier, Node, ProofRejected};

    /// Rejects proofs that do not start with 7, reports which transactions it verifies, and waits for
    /// permission to continue.
    #[derive(Debug)]
    struct Watched {
        seen: mpsc::Sender<Fr>,
        go_on: Mutex<mpsc::Receiver<()>>,
    }

    impl ClientProofVerifier for Watched {
        fn verify(
            &self,
            _: ProofKind,
            inputs: &ClientInputs,
            proof: &[u8],
        ) -> Result<(), ProofRejected> {
            self.seen.send(inputs.tx_hash).unwrap();
            let _ = self.go_on.lock().recv();
            let reason = "it does not begin with 7".to_owned();
            proof.first().filter(|b| **b == 7).map(|_| ()).ok_or(ProofRejected { reason })
        }
    }

    /// Goal: a peer that sent rejected proofs comes last, whatever it offers; else the best offer is
    /// first.
    #[tokio::test]
    async fn the_best_offer_is_verified_first_and_that_of_a_rejected_peer_last() {
        let dir = tempfile::tempdir().unwrap();
        let (seen, started) = mpsc::channel();
        let (go, go_on) = mpsc::channel();
        let verifier = Watched { seen, go_on: Mutex::new(go_on) };
        let node = Node::open(settings(dir.path()), Arc::new(verifier)).unwrap();
        let test = TestNode { node, dir };
        let limits = AdmissionLimits { workers: 1, queue: 8, queue_per_peer: 8 };
        let admission = Arc::new(Admission::new(Arc::clone(&test.node), limits));
        let anchor = test.node.genesis_header().hash();
        let [bad, good] = [66, 1].map(|n| Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, n))));
        let tx = |i: u64, max: u64| {
            let mut tx = support::tx(i, anchor);
            tx.body.effects.gas.max_fee_per_l2_gas = max;
            tx
        };
        let send = |tx: &rollmill_protocol::Tx, peer| {
            let (own, bytes) = (Arc::clone(&admission), tx.to_bytes());
            tokio::spawn(async move { own.submit(bytes, peer).await })
        };
        // Steps in the thread of the test: what waits is counted by the queue itself.
        let wait_for = |count: usize| {
            let own = Arc::clone(&admission);
            async move {
                while own.queue().waiting.len() < count {
                    tokio::task::yield_now().await;
                }
            }
        };
        let next = |started: mpsc::Receiver<Fr>| async move {
            tokio::task::spawn_blocking(move || (started.recv().unwrap(), started)).await.unwrap()
        };
        let mut forged = tx(0, 10);
        forged.client_proof = vec![1];
        let rejected = send(&forged, bad);
        go.send(()).unwrap();
        assert!(matches!(rejected.await.unwrap(), Err(PoolError::Proof { .. })));
        let (_, started) = next(started).await;

        let first = send(&tx(1, 10), good);
        let (_, mut started) = next(started).await;
        let (bold, low, high) = (tx(2, 200), tx(3, 20), tx(4, 30));
        let mut sent = vec![first];
        for (i, (tx, peer)) in [(&bold, bad), (&low, good), (&high, good)].into_iter().enumerate() {
            sent.push(send(tx, peer));
            wait_for(i + 1).await;
        }
        let mut order = Vec::new();
        for _ in 0..3 {
            go.send(()).unwrap();
            let (hash, rest) = next(started).await;
            order.push(hash);
            started = rest;
        }
        go.send(()).unwrap();
        assert_eq!(order, [high.hash(), low.hash(), bold.hash()]);
        for sent in sent {
            sent.await.unwrap().unwrap();
        }
        // A valid proof makes up for it.
        assert!(admission.queue().rejections.is_empty());
        assert_eq!(
            (
                admission.metrics.admission_verified_total.get(),
                admission.metrics.admission_refused_total.get()
            ),
            (5, 1)
        );
    }
}
