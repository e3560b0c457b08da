//! The signatures that L1 requires of a block: the proposer's own, and those of other members of the committee.
//!
//! All members are asked at once. Collecting ends with the quorum, so a member that is away costs nothing as long
//! as enough others sign; it ends without one when the time is over, and the block is not proposed. Members that
//! cannot sign yet, since they are a moment behind, are asked again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rollmill_l1::abi::Attestations;
use rollmill_l1::alloy::primitives::{Address, B256};
use rollmill_l1::attest::{self, Duty};
use rollmill_l1::{L1Error, abi};
use rollmill_node::{BlockSigner, Signed, Vote};
use rollmill_protocol::Header;
use rollmill_service::{Backoff, Outage};
use rollmill_validator::{CommitteeConfig, Duties, L1Duties};
use rollmill_validator_client::{ClientError, Proposal, SIGNATURE_BYTES, ValidatorClient};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::error::SequencerError;
use crate::metrics::Metrics;

/// First and longest pause before a member is asked again that may sign later.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Members whose reasons an error quotes.
const REASONS_MAX: usize = 4;
/// Answers that wait to be counted; each member's task waits for its own.
const ANSWERS: usize = 64;

/// What is signed of a proposal.
fn vote(proposal: &Proposal) -> Vote {
    let Header { block_number: number, slot, .. } = proposal.header;
    Vote { number, slot, chain: proposal.chain }
}

/// What came of asking a member once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Signed,
    /// The member does not sign, or not yet.
    Rejected,
    /// The answer is no signature of the member.
    Wrong,
    Unreachable,
}

impl Outcome {
    pub(crate) const ALL: [Self; 4] =
        [Self::Signed, Self::Rejected, Self::Wrong, Self::Unreachable];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Rejected => "rejected",
            Self::Wrong => "wrong",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What a member answered.
type Answer = (Address, Result<[u8; SIGNATURE_BYTES], (Outcome, String)>);

/// Another member and its client.
#[derive(Debug)]
struct Member {
    client: ValidatorClient,
    outage: Outage,
}

/// The committee as its proposers see it.
#[derive(Debug)]
pub struct Committee {
    signer: Arc<BlockSigner>,
    duties: L1Duties,
    members: BTreeMap<Address, Member>,
    wait: Duration,
    metrics: Metrics,
}

impl Committee {
    /// The committee of these settings, in which `signer` is the own account.
    ///
    /// # Errors
    /// When a URL or the token cannot be used.
    pub fn new(
        signer: Arc<BlockSigner>,
        duties: L1Duties,
        config: &CommitteeConfig,
        metrics: Metrics,
    ) -> Result<Self, ClientError> {
        let token = config.peers_token.as_ref().map(|token| token.reveal());
        let members = config.others().iter().map(|peer| {
            let client = ValidatorClient::new(peer.url.as_str(), token)?;
            Ok((abi::address(peer.account), Member { client, outage: Outage::default() }))
        });
        let members = members.collect::<Result<_, ClientError>>()?;
        Ok(Self {
            signer,
            duties,
            members,
            wait: Duration::from_secs(config.wait_seconds),
            metrics,
        })
    }

    /// Waits at most this long for the other members.
    pub fn set_wait(&mut self, seconds: u64) {
        self.wait = Duration::from_secs(seconds);
    }

    /// The own account.
    pub fn account(&self) -> Address {
        self.signer.account()
    }

    /// Who proposes in a slot, and in which committee; `None` if the slot stays empty.
    ///
    /// # Errors
    /// When L1 cannot be read.
    pub async fn duty(&self, slot: u64) -> Result<Option<Duty>, L1Error> {
        self.duties.duty(slot).await
    }

    /// What the account has signed of a slot.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn signed(&self, slot: u64) -> Result<Option<Signed>, SequencerError> {
        let signer = Arc::clone(&self.signer);
        let found = tokio::task::spawn_blocking(move || signer.signed(slot)).await;
        Ok(found.map_err(SequencerError::task("reading the record of signatures"))??)
    }

    /// The proposal that was signed in a slot, if it is still kept.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub async fn proposal(&self, slot: u64) -> Result<Option<Proposal>, SequencerError> {
        let signer = Arc::clone(&self.signer);
        let found = tokio::task::spawn_blocking(move || signer.proposal(slot)).await;
        let found = found.map_err(SequencerError::task("reading the record of signatures"))??;
        Ok(found.and_then(|bytes| Proposal::from_bytes(&bytes).ok()))
    }

    /// Signs a block with the own account, at most one of a slot, and returns the proposal with the signature.
    ///
    /// # Errors
    /// As [`BlockSigner::sign`].
    pub async fn sign(&self, mut proposal: Proposal) -> Result<Proposal, SequencerError> {
        let signer = Arc::clone(&self.signer);
        let work = move || {
            let signed = signer.sign(vote(&proposal), |signature| {
                proposal.signature = *signature;
                proposal.to_bytes()
            })?;
            proposal.signature = signed.signature;
            Ok(proposal)
        };
        let signed = tokio::task::spawn_blocking(work).await;
        signed.map_err(SequencerError::task("signing a block"))?
    }

    /// Collects a quorum of signatures beside the own one.
    ///
    /// # Errors
    /// [`SequencerError::NoQuorum`] after `limit`, or the configured wait if that is shorter, or when no further
    /// member can sign.
    pub async fn collect(
        &self,
        duty: &Duty,
        proposal: &Proposal,
        limit: Duration,
    ) -> Result<Attestations, SequencerError> {
        let mut signatures = BTreeMap::from([(self.account(), proposal.signature)]);
        let (needed, started) = (duty.quorum(), Instant::now());
        let mut reasons: BTreeMap<Address, String> = BTreeMap::new();
        if signatures.len() < needed {
            let limit = limit.min(self.wait);
            let (mut answers, _asking) = self.ask_all(duty, proposal);
            let counting = self.count(&mut answers, needed, &mut signatures, &mut reasons);
            // Both ends are examined below.
            let _ = tokio::time::timeout(limit, counting).await;
            self.log(&signatures, &reasons);
        }
        if signatures.len() < needed {
            self.metrics.quorum_missed_total.inc();
            let Vote { number, slot, .. } = vote(proposal);
            let (got, seconds) = (signatures.len(), started.elapsed().as_secs());
            let reasons = self.describe(duty, &signatures, &reasons);
            return Err(SequencerError::NoQuorum { number, slot, got, needed, seconds, reasons });
        }
        self.metrics.quorum_seconds.observe(started.elapsed().as_secs_f64());
        let of = |member: &Address| signatures.get(member).and_then(attest::read);
        let signed: Vec<_> = duty.members.iter().map(|member| (*member, of(member))).collect();
        Ok(attest::attestations(&signed))
    }

    /// Starts a task for each other member. They end with the second value.
    fn ask_all(&self, duty: &Duty, proposal: &Proposal) -> (mpsc::Receiver<Answer>, JoinSet<()>) {
        let digest = self.signer.digest(vote(proposal));
        let proposal = Bytes::from(proposal.to_bytes());
        let (send, answers) = mpsc::channel(ANSWERS);
        let mut asking = JoinSet::new();
        for account in duty.members.iter().filter(|account| **account != self.account()) {
            if let Some(member) = self.members.get(account) {
                let client = member.client.clone();
                asking.spawn(ask(client, *account, digest, proposal.clone(), send.clone()));
            }
        }
        (answers, asking)
    }

    /// Counts signatures until there are enough, or nobody is asked any more.
    async fn count(
        &self,
        answers: &mut mpsc::Receiver<Answer>,
        needed: usize,
        signatures: &mut BTreeMap<Address, [u8; SIGNATURE_BYTES]>,
        reasons: &mut BTreeMap<Address, String>,
    ) {
        while signatures.len() < needed
            && let Some((account, answer)) = answers.recv().await
        {
            let outcome = match answer {
                Ok(signature) => {
                    signatures.insert(account, signature);
                    Outcome::Signed
                }
                Err((outcome, reason)) => {
                    reasons.insert(account, reason);
                    outcome
                }
            };
            self.metrics.attestations_total.with_label_values(&[outcome.label()]).inc();
        }
    }

    /// Logs members that do not sign, each once a minute at most, and those that sign again.
    fn log(
        &self,
        signatures: &BTreeMap<Address, [u8; SIGNATURE_BYTES]>,
        reasons: &BTreeMap<Address, String>,
    ) {
        for (account, member) in &self.members {
            if signatures.contains_key(account) {
                if let Some(wait_seconds) = member.outage.ended() {
                    tracing::info!(member = %account, wait_seconds, "member of the committee signs again");
                }
            } else if let Some(error) = reasons.get(account)
                && let Some(repeated) = member.outage.failed()
            {
                tracing::warn!(member = %account, error, repeated, "member of the committee did not sign");
            }
        }
    }

    /// Why members did not sign, of a few.
    fn describe(
        &self,
        duty: &Duty,
        signatures: &BTreeMap<Address, [u8; SIGNATURE_BYTES]>,
        reasons: &BTreeMap<Address, String>,
    ) -> String {
        let missing: Vec<_> =
            duty.members.iter().filter(|member| !signatures.contains_key(*member)).collect();
        let told = missing.iter().take(REASONS_MAX).map(|account| {
            let reason = match (self.members.get(*account), reasons.get(*account)) {
                (None, _) => "it has no URL in --committee-peers",
                (Some(_), None) => "no answer in time",
                (Some(_), Some(reason)) => reason,
            };
            format!("{account}: {}", rollmill_service::uncoded(reason))
        });
        let told: Vec<_> = told.collect();
        let more = missing.len().saturating_sub(REASONS_MAX);
        let more = if more == 0 { String::new() } else { format!("; and {more} more") };
        format!("{}{more}", told.join("; "))
    }
}

/// Asks a member until it signs or says that it will not. What it answers goes to `send`.
async fn ask(
    client: ValidatorClient,
    account: Address,
    digest: B256,
    proposal: Bytes,
    send: mpsc::Sender<Answer>,
) {
    let mut again = Backoff::new(AGAIN.0, AGAIN.1);
    loop {
        let (answer, is_over) = match client.attest(proposal.clone()).await {
            Ok(signature) if attest::recover(&digest, &signature) == Some(account) => {
                (Ok(signature), true)
            }
            Ok(_) => {
                let reason = format!("the answer of {} is no signature of its", client.url());
                (Err((Outcome::Wrong, reason)), true)
            }
            Err(error) => {
                let outcome = match &error {
                    ClientError::Rejected { .. } => Outcome::Rejected,
                    _ => Outcome::Unreachable,
                };
                (Err((outcome, error.to_string())), !error.is_transient())
            }
        };
        // Nobody counts any more when the receiver is gone.
        if send.send((account, answer)).await.is_err() || is_over {
            return;
        }
        tokio::time::sleep(again.pause()).await;
    }
}
