//! Decides about one proposal, from the cheapest check to the dearest, and signs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::attest;
use rollmill_l1::blob::Kzg;
use rollmill_node::{BlockSigner, Node, Signed, Vote};
use rollmill_service::Secret;
use rollmill_validator_client::{Identity, Proposal, SIGNATURE_BYTES};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::check;
use crate::duties::Duties;
use crate::error::AttestError;
use crate::evidence::{self, Folder, Seen};
use crate::metrics::Metrics;

/// Proposals of which bytes or signature are read at once. Each takes a few milliseconds, before it is known who asks.
const READS: usize = 4;

/// What a validator needs besides its node and its key.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Proposals of one slot that are checked at once.
    pub checks: usize,
    /// How long a proposal waits for others that are being checked.
    pub turn: Duration,
    /// Token that a proposer must send; none is required without one.
    pub token: Option<Secret>,
    /// Folder for evidence against proposers that sign two blocks of a slot.
    pub evidence: PathBuf,
}

/// A member of the committee.
#[derive(Debug)]
pub struct Validator<D> {
    node: Arc<Node>,
    signer: Arc<BlockSigner>,
    kzg: Kzg,
    duties: D,
    reads: Arc<Semaphore>,
    /// For slots of even and of odd number. Proposals of the present slot and the next are checked, and the proposer of
    /// one must not be able to take all places from that of the other.
    checks: [Arc<Semaphore>; 2],
    turn: Duration,
    seen: Seen,
    evidence: Arc<Folder>,
    pub(crate) token: Option<Secret>,
    pub(crate) metrics: Metrics,
}

impl<D: Duties> Validator<D> {
    /// A validator that signs with `signer` what `node` finds valid.
    pub fn new(
        node: Arc<Node>,
        signer: Arc<BlockSigner>,
        kzg: Kzg,
        duties: D,
        settings: Settings,
        metrics: Metrics,
    ) -> Self {
        let Settings { checks, turn, token, evidence } = settings;
        let [reads, even, odd] =
            [READS, checks, checks].map(|places| Arc::new(Semaphore::new(places)));
        let checks = [even, odd];
        let (seen, evidence) = (Seen::default(), Arc::new(Folder::new(evidence)));
        Self { node, signer, kzg, duties, reads, checks, turn, seen, evidence, token, metrics }
    }

    /// Whose signatures these are.
    pub fn identity(&self) -> Identity {
        let ids = self.node.versions();
        Identity {
            account: self.signer.account().to_string(),
            chain_id: ids.ids.chain_id,
            rollup_version: ids.ids.rollup_version.to_string(),
            software: ids.software,
        }
    }

    /// Checks a proposal and signs its link. Asked again for a block that was signed, it returns the signature
    /// without a check, so that a proposer that lost the response gets it, whatever happened to the chain since.
    ///
    /// # Errors
    /// Why nothing is signed.
    pub async fn attest(
        self: &Arc<Self>,
        bytes: Vec<u8>,
    ) -> Result<[u8; SIGNATURE_BYTES], AttestError> {
        let read = self.read(move || Ok((Proposal::from_bytes(&bytes)?, bytes)));
        let (proposal, bytes) = read.await?;
        let vote = self.authorize(&proposal).await?;
        self.watch(evidence::of_proposal(&proposal)).await?;
        let signer = Arc::clone(&self.signer);
        if let Some(signed) = blocking(move || Ok(signer.signed(vote.slot)?)).await? {
            // Another one is rejected below, by the row itself; a check first would be in vain.
            let signer = Arc::clone(&self.signer);
            let signed = match signed.vote == vote {
                true => signed,
                false => blocking(move || Ok(signer.sign(vote, |_| Vec::new())?)).await?,
            };
            return Ok(signed.signature);
        }
        let [even, odd] = &self.checks;
        let place = self.place(if vote.slot.is_multiple_of(2) { even } else { odd }).await?;
        let validator = Arc::clone(self);
        let signature = blocking(move || {
            let _place = place;
            validator.check(&proposal)?;
            let signed = validator.signer.sign(vote, |_| bytes)?;
            Ok(signed.signature)
        });
        let signature = signature.await?;
        self.metrics.attested_total.inc();
        self.metrics.attested_slot.set(i64::try_from(vote.slot).unwrap_or(i64::MAX));
        tracing::info!(block = vote.number, slot = vote.slot, "block attested");
        rollmill_service::failpoint!("validator.attested");
        Ok(signature)
    }

    /// Requires that the slot's proposer asks, in its slot or just before it, and that this account's signature
    /// counts there.
    async fn authorize(&self, proposal: &Proposal) -> Result<Vote, AttestError> {
        let (slot, number) = (proposal.header.slot, proposal.header.block_number);
        let node = Arc::clone(&self.node);
        let time = blocking(move || Ok(node.l1_time()?)).await?;
        // The proposer's L1 may be one block ahead of this one, and in the next slot with it.
        let current = self.node.config().slot_at(time);
        if slot != current && slot != current.saturating_add(1) {
            return Err(AttestError::Slot { current, got: slot });
        }
        let duty = self.duties.duty(slot).await?.ok_or(AttestError::NoCommittee { slot })?;
        let account = self.signer.account();
        if !duty.members.contains(&account) {
            return Err(AttestError::NotAMember {
                account: account.to_string(),
                epoch: duty.epoch,
            });
        }
        let vote = Vote { number, slot, chain: proposal.chain };
        let (digest, signature) = (self.signer.digest(vote), proposal.signature);
        let by = self.read(move || Ok(attest::recover(&digest, &signature))).await?;
        match by == Some(duty.proposer) {
            true => Ok(vote),
            false => Err(AttestError::NotTheProposer { slot, expected: duty.proposer.to_string() }),
        }
    }

    /// Keeps evidence if the slot's proposer, who has signed this, has signed another block of the slot before. That ends
    /// no request: what is attested is decided by what this member signed.
    async fn watch(&self, signed: Signed) -> Result<(), AttestError> {
        let seen = self.seen.observe(signed);
        let (signer, folder) = (Arc::clone(&self.signer), Arc::clone(&self.evidence));
        let kept = blocking(move || {
            let first = match seen {
                Some(first) => Some(first),
                None => evidence::attested_before(&signer, &signed)?,
            };
            let Some(first) = first else { return Ok(None) };
            let Ok(evidence) = evidence::of_two(&signer, &first, &signed) else { return Ok(None) };
            let kept = folder.keep(&evidence);
            Ok(Some((evidence.attester, kept)))
        });
        let Some((account, kept)) = kept.await? else { return Ok(()) };
        self.accuse(account, signed.vote.slot, kept);
        Ok(())
    }

    /// Tells the operator of evidence that is new.
    fn accuse(&self, account: Address, slot: u64, kept: std::io::Result<Option<PathBuf>>) {
        match kept {
            Ok(None) => {}
            Ok(Some(path)) => {
                self.metrics.equivocations_total.inc();
                let path = path.display();
                tracing::error!(%account, slot, %path, "proposer signed two blocks of a slot");
            }
            Err(error) => {
                let error = rollmill_errors::InWords(&error).to_string();
                tracing::error!(%account, slot, error, "evidence against a proposer not kept");
            }
        }
    }

    /// A place among a few. It is taken until what it is for is over, also when the request is dropped before.
    async fn place(&self, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, AttestError> {
        let turn = tokio::time::timeout(self.turn, Arc::clone(places).acquire_owned()).await;
        turn.ok().and_then(Result::ok).ok_or(AttestError::Busy)
    }

    /// Reads of a proposal what tells who asks: on a thread of its own, a few at a time.
    async fn read<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<R, AttestError> + Send + 'static,
    ) -> Result<R, AttestError> {
        let place = self.place(&self.reads).await?;
        let reading = move || {
            let _place = place;
            work()
        };
        blocking(reading).await
    }

    fn check(&self, proposal: &Proposal) -> Result<(), AttestError> {
        self.metrics.checks.inc();
        let timer = self.metrics.check_seconds.start_timer();
        let checked = check::check(&self.node, &self.kzg, proposal);
        timer.observe_duration();
        self.metrics.checks.dec();
        checked
    }
}

/// Runs work that computes or waits for the disk. It goes on when the request is dropped.
async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, AttestError> + Send + 'static,
) -> Result<R, AttestError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(AttestError::Died(error.into())),
    }
}
