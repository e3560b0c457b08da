//! Sends tampered values to the running network and requires that each is rejected at the earliest
//! place that can detect it. Then it submits the honest proof, which shows that the changes were the
//! reason for the rejections.
//!
//! The prover node of this run sends nothing to L1 (dry run), so that every submission
//! meets the same state.

use rollmill_algebra::{Fr, G1Affine};
use rollmill_broker_client::{JobState, JobView, ListQuery};
use rollmill_circuits::jobs::{self, Output};
use rollmill_l1::abi::{self, EpochArgs, verifier::IVerifier};
use rollmill_l1::alloy::primitives::{Address, Bytes, U256};
use rollmill_l1::alloy::sol_types::SolCall;
use rollmill_l1::{SenderConfig, TxRequest, TxSender};
use rollmill_plonk::proof::Proof;
use rollmill_protocol::{EpochRoot, ProofKind, Tx};

use crate::deployment::{PROVER_KEY, signer};
use crate::scenario::{POLL, Running};
use crate::{Error, Network, Options, Progress, Report, Tamper, TamperReport};

/// Names of the public inputs, by index.
fn input_names() -> Vec<String> {
    rollmill_protocol::public_inputs::EpochRootLayout::<Fr>::cell_names()
}

/// Runs everything that `--tamper` requests.
///
/// # Errors
/// [`Error::TamperAccepted`] when a tampered value was accepted; whatever failed before.
pub async fn run(
    kind: Tamper,
    options: &Options,
    network: &mut Network,
    running: &mut Running,
    progress: &mut Progress,
    report: &mut Report,
) -> Result<(), Error> {
    let count = usize::try_from(options.blocks * options.txs).unwrap_or(usize::MAX);
    let honest = running.accounts.prepare_round(count, &running.node, progress).await?;
    // The wallets have not seen the first round, so these spend the same notes.
    let again = running.accounts.prepare_round(1, &running.node, progress).await?;
    let mut run = Run { kind, running, report };
    run.before_inclusion(&honest).await?;
    run.running.send_and_wait(&honest, options, network, progress).await?;
    run.after_inclusion(&honest, &again).await?;

    progress.line("waiting for the root proof, which the prover node does not send");
    let root = run.root(network, progress).await?;
    run.on_l1(&root).await?;
    run.swapped_children(&root).await?;
    run.honest(network, &root, progress).await?;
    let (count, total) = (report.tampers_accepted(), report.tampers.len());
    progress.line(&format!("{} of {total} tampered values were rejected", total - count));
    if count > 0 { Err(Error::TamperAccepted { count, total }) } else { Ok(()) }
}

struct Run<'a> {
    kind: Tamper,
    running: &'a mut Running,
    report: &'a mut Report,
}

/// The finished root job.
struct Root {
    name: String,
    output: Output,
    bytes: Vec<u8>,
}

impl Run<'_> {
    /// Records one response: `Err` is a rejection.
    fn note(&mut self, kind: String, place: &str, answer: Result<String, String>) {
        let rejected = answer.is_err();
        let (Ok(answer) | Err(answer)) = answer;
        self.report.tampers.push(TamperReport { kind, place: place.into(), rejected, answer });
    }

    async fn offer(&mut self, kind: &str, tx: &Tx) {
        let answer = match self.running.node.send_transaction(tx).await {
            Ok(_) => Ok("accepted".to_owned()),
            Err(error) if error.rejects_transaction() => Err(error.to_string()),
            // Not a rejection: the node was unreachable, busy or at fault, so nothing was shown.
            Err(error) => Ok(error.to_string()),
        };
        self.note(kind.to_owned(), "node", answer);
    }

    async fn before_inclusion(&mut self, honest: &[Tx]) -> Result<(), Error> {
        let Some(tx) = honest.first() else { return Ok(()) };
        if self.kind.includes(Tamper::ClientKey) {
            let client_proof = self.running.keys.proof_under_another_key(tx)?;
            self.offer("client proof under another key", &Tx { client_proof, ..tx.clone() }).await;
            let other = Tx { proof_kind: ProofKind::PrivateTail, ..tx.clone() };
            self.offer("client proof under another kind", &other).await;
            if let Some(other) = honest.get(1) {
                let client_proof = other.client_proof.clone();
                let other = Tx { client_proof, ..tx.clone() };
                self.offer("client proof of another transaction", &other).await;
            }
        }
        if self.kind.includes(Tamper::ForgedFee) {
            let mut forged = tx.clone();
            forged.body.effects.gas.max_fee_per_l2_gas += 1;
            self.offer("forged fee", &forged).await;
            let mut forged = tx.clone();
            forged.body.effects.fee_payer += Fr::from(1u64);
            self.offer("forged fee payer", &forged).await;
        }
        Ok(())
    }

    async fn after_inclusion(&mut self, honest: &[Tx], again: &[Tx]) -> Result<(), Error> {
        if self.kind.includes(Tamper::SpentNote)
            && let Some(tx) = again.first()
        {
            self.offer("spent note", tx).await;
        }
        if self.kind.includes(Tamper::ReplayedNullifier)
            && let Some(tx) = honest.first()
        {
            let mut replayed = tx.clone();
            replayed.body.effects.note_hashes[0] += Fr::from(1u64);
            self.offer("replayed nullifier", &replayed).await;
        }
        Ok(())
    }

    async fn finished(&self, prefix: &str) -> Result<Vec<JobView>, Error> {
        let query = ListQuery { state: Some(JobState::Done), ..ListQuery::default() };
        let mut jobs = self.running.jobs.client().list(&query).await?;
        jobs.retain(|job| job.id.kind().starts_with(prefix));
        Ok(jobs)
    }

    async fn output(&self, job: &JobView) -> Result<(Output, Vec<u8>), Error> {
        let digest = job.result.ok_or_else(|| Error::NoResult { job: job.id.to_string() })?;
        let bytes = self.running.jobs.client().get_artifact(&digest).await?;
        let output =
            Output::from_bytes(&bytes).map_err(|_| Error::NoResult { job: job.id.to_string() })?;
        Ok((output, bytes))
    }

    async fn root(
        &mut self,
        network: &mut Network,
        progress: &mut Progress,
    ) -> Result<Root, Error> {
        loop {
            network.check()?;
            self.running.jobs.poll(progress).await?;
            if let Some(job) = self.finished("epoch_root").await?.first() {
                let (output, bytes) = self.output(job).await?;
                return Ok(Root { name: job.id.kind().to_owned(), output, bytes });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Simulates this call on L1 without sending it. The inner error is a rejection.
    async fn call(&self, to: Address, input: Bytes) -> Result<Result<Bytes, String>, Error> {
        let from = signer(PROVER_KEY)?.address();
        let answer = self.running.l1.call(from, to, input).await?;
        Ok(answer.map_err(|reason| one_line(&reason)))
    }

    async fn submit_call(
        &self,
        args: EpochArgs,
        proof: &Proof,
    ) -> Result<Result<String, String>, Error> {
        let input = abi::submit_calldata(args, proof.to_bytes());
        let answer = self.call(self.running.deployment.rollup, input).await?;
        Ok(answer.map(|_| "accepted".to_owned()))
    }

    async fn verifier_call(
        &self,
        blocks: u64,
        public: &[Fr],
        proof: &Proof,
    ) -> Result<Result<String, String>, Error> {
        let call = IVerifier::verifyCall {
            proof: proof.to_bytes().into(),
            publicInputs: public.iter().map(abi::word).collect(),
        };
        let verifier = self.running.deployment.verifier_of(blocks);
        let answer = self.call(verifier, call.abi_encode().into()).await?;
        Ok(answer.and_then(|answer| match IVerifier::verifyCall::abi_decode_returns(&answer) {
            Ok(true) => Ok("accepted".to_owned()),
            Ok(false) => Err("the verifier returned false".to_owned()),
            Err(error) => Ok(format!("no answer of a verifier: {error}")),
        }))
    }

    async fn on_l1(&mut self, root: &Root) -> Result<(), Error> {
        let Parts { args, proof, blocks } = parts(root)?;
        // A rejection means something only if the honest values pass.
        let honest = self.submit_call(args.clone(), &proof).await?;
        honest.map_err(|answer| Error::HonestRefused { answer })?;
        if self.kind.includes(Tamper::PublicInputs) {
            let honest = self.verifier_call(blocks, &root.output.public, &proof).await?;
            honest.map_err(|answer| Error::HonestRefused { answer })?;
            for (i, name) in input_names().into_iter().enumerate() {
                let mut public = root.output.public.clone();
                public[i] += Fr::from(1u64);
                let answer = self.verifier_call(blocks, &public, &proof).await?;
                self.note(format!("public input {name}"), "verifier", answer);
            }
            for (name, changed) in changed_args(&args) {
                let answer = self.submit_call(changed, &proof).await?;
                self.note(format!("argument {name}"), "L1", answer);
            }
        }
        if self.kind.includes(Tamper::Proof) {
            for (name, changed) in changed_proofs(&proof) {
                let answer = self.submit_call(args.clone(), &changed).await?;
                self.note(format!("proof {name}"), "L1", answer);
            }
        }
        Ok(())
    }

    /// A root job with swapped children: the plain rules reject its input before proving.
    async fn swapped_children(&mut self, root: &Root) -> Result<(), Error> {
        if !self.kind.includes(Tamper::SwappedChildren) {
            return Ok(());
        }
        let mut ranges = Vec::new();
        for job in self.finished("block_root").await? {
            ranges.push(self.output(&job).await?.1);
        }
        if ranges.len() != 2 {
            return Ok(());
        }
        let config = self.running.deployment.config;
        let mut answers = Vec::new();
        for _ in 0..2 {
            let answer = jobs::epoch_root_input(config, &ranges).and_then(|input| {
                jobs::verify(self.running.keys.set(), &root.name, &input, &root.bytes)
            });
            answers
                .push(answer.map(|_| "accepted".to_owned()).map_err(|e| one_line(&e.to_string())));
            ranges.swap(0, 1);
        }
        // One of the two orders is the honest one and must pass.
        answers.sort_by_key(Result::is_err);
        let wrong = answers.pop();
        if let Some(Err(answer)) = answers.pop() {
            return Err(Error::HonestRefused { answer });
        }
        self.note("swapped children".into(), "prover node", wrong.unwrap_or(Ok(String::new())));
        Ok(())
    }

    /// Sends the honest proof and waits until L1 accepts it.
    async fn honest(
        &mut self,
        network: &mut Network,
        root: &Root,
        progress: &mut Progress,
    ) -> Result<(), Error> {
        let Parts { args, proof, .. } = parts(root)?;
        let intents = network.dir.path().join("data").join("tamper-intents.json");
        let client = self.running.l1.clone();
        let sender =
            TxSender::open(client, signer(PROVER_KEY)?, &intents, SenderConfig::default()).await?;
        let input = abi::submit_calldata(args, proof.to_bytes());
        sender.send(TxRequest::call("honest", self.running.deployment.rollup, input)).await?;
        loop {
            network.check()?;
            if let Some(event) = self.running.follow(progress).await?.first() {
                let accepted = self.running.accepted(event).await?;
                self.report.epochs.push(accepted);
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

struct Parts {
    args: EpochArgs,
    proof: Proof,
    /// Blocks of the range.
    blocks: u64,
}

fn parts(root: &Root) -> Result<Parts, Error> {
    let broken = || Error::NoResult { job: root.name.clone() };
    let epoch = EpochRoot::from_fields(&root.output.public).map_err(|_| broken())?;
    let proof = Proof::from_bytes(&root.output.proof).map_err(|_| broken())?;
    let blocks = (epoch.last_block + 1).saturating_sub(epoch.first_block);
    Ok(Parts { args: abi::epoch_args(&epoch), proof, blocks })
}

/// Every argument of a submission, changed one at a time.
fn changed_args(args: &EpochArgs) -> Vec<(String, EpochArgs)> {
    // Names all of them: a new one has to be changed below.
    let EpochArgs { epoch, lastBlock, prover: _, numConstraints, pair } = args.clone();
    let mut out = vec![
        ("epoch".to_owned(), EpochArgs { epoch: epoch + 1, ..args.clone() }),
        ("lastBlock".to_owned(), EpochArgs { lastBlock: lastBlock + 1, ..args.clone() }),
        ("prover".to_owned(), EpochArgs { prover: Address::repeat_byte(7), ..args.clone() }),
        (
            "numConstraints".to_owned(),
            EpochArgs { numConstraints: numConstraints + 1, ..args.clone() },
        ),
    ];
    for i in 0..pair.len() {
        let mut pair = pair;
        pair[i] += U256::from(1);
        out.push((format!("pair[{i}]"), EpochArgs { pair, ..args.clone() }));
    }
    out
}

/// Every element of a proof, changed one at a time: points to another point, numbers by one.
fn changed_proofs(proof: &Proof) -> Vec<(String, Proof)> {
    let points = proof.points();
    let mut out = Vec::new();
    for i in 0..points.len() {
        let mut changed = points;
        let sum = changed[i] + rollmill_plonk::generator();
        changed[i] = G1Affine::from(sum);
        out.push((format!("point {i}"), Proof::from_parts(&changed, proof.evaluations)));
    }
    for i in 0..proof.evaluations.len() {
        let mut changed = proof.clone();
        changed.evaluations[i] += Fr::from(1u64);
        out.push((format!("evaluation {i}"), changed));
    }
    out
}

fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().take(120).collect()
}
