//! A capture of a range that needs an operator: every job's input, and its result if there is one.
//! `rollmill-prover-node replay` finds the invalid job from it alone, without a chain or a broker.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rollmill_broker_client::{Digest, JobId, JobState, KindName};
use rollmill_circuits::circuit::log_n;
use rollmill_circuits::jobs::{self, Input};
use rollmill_circuits::keyset::KeySet;
use rollmill_plonk::check::check;
use rollmill_protocol::Circuit;
use rollmill_protocol::plan::EpochPlan;
use serde::{Deserialize, Serialize};

use crate::jobs::{Broker, JobFailure};
use crate::prove::{ProveError, Source};
use crate::ranges::Row;
use crate::work::WorkError;

const FORMAT: u32 = 1;

/// One job of a captured range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapturedJob {
    /// Index in the plan.
    pub index: usize,
    pub circuit: String,
    /// Hexadecimal digits.
    pub input: String,
    /// Hexadecimal digits; `None` if the broker has no readable result.
    pub result: Option<String>,
    /// The last record of the job at the broker.
    pub state: String,
}

/// A captured range.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    pub format: u32,
    pub reason: String,
    pub row: Row,
    /// Version of the circuit set.
    pub version: String,
    /// Number of transactions of each block, which determines the plan.
    pub tx_counts: Vec<usize>,
    /// In the order of the plan, as far as inputs could be built.
    pub jobs: Vec<CapturedJob>,
    /// Why the capture is incomplete, if it is.
    pub incomplete: Option<String>,
}

/// Why there is no capture, or why it cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The capture file cannot be read or written.
    ///
    /// Do: Check its path, its permissions and the disk.
    #[error("{code}: cannot use {path}: {cause}. Check the path and the disk", code = self.code(), cause = rollmill_errors::InWords(.source))]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// The file is not a capture of this release.
    ///
    /// Do: Pass a capture that a prover node of this release wrote.
    #[error("{code}: {path} is not a capture that this release reads: {why}", code = self.code())]
    Format { path: PathBuf, why: String },
    /// At least one job of the captured range is invalid. The lines above name each.
    ///
    /// Do: Report the capture with these lines.
    #[error("{code}: {count} of {total} jobs of the captured range do not hold", code = self.code())]
    Fails { count: usize, total: usize },
}

rollmill_errors::coded! {
    CaptureError {
        Self::File { .. } => "PRN-050",
        Self::Format { .. } => "PRN-051",
        Self::Fails { .. } => "PRN-052",
    }
}

impl Capture {
    /// Collects everything that still exists. The capture stops at the first missing part and names it.
    pub async fn collect<B: Broker, S: Source>(
        broker: &B,
        source: &S,
        version: &KindName,
        row: &Row,
        reason: &str,
    ) -> Self {
        let mut this = Self {
            format: FORMAT,
            reason: reason.to_owned(),
            row: row.clone(),
            version: version.to_string(),
            tx_counts: Vec::new(),
            jobs: Vec::new(),
            incomplete: None,
        };
        if let Err(error) = this.fill(broker, source).await {
            this.incomplete = Some(rollmill_service::one_line(&error));
        }
        this
    }

    async fn fill<B: Broker, S: Source>(
        &mut self,
        broker: &B,
        source: &S,
    ) -> Result<(), ProveError> {
        let mut blocks = Vec::new();
        for block in &self.row.blocks {
            let gathered = source.block(*block).await?;
            self.tx_counts.push(S::tx_count(&gathered));
            blocks.push(Arc::new(gathered));
        }
        let plan = EpochPlan::new(&self.tx_counts).ok_or(WorkError::NoPlan)?;
        let plan = Arc::new(plan);
        let work = source.work(Arc::clone(&plan), blocks);
        let mut results: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut open: Vec<usize> = (0..plan.nodes.len()).collect();
        // Level by level, so that each request to the broker covers many jobs.
        loop {
            let ready = |index: &usize| {
                plan.nodes[*index].children.iter().all(|child| results.contains_key(child))
            };
            let (wave, rest): (Vec<usize>, Vec<usize>) = open.iter().partition(|i| ready(i));
            if wave.is_empty() {
                return Ok(());
            }
            let mut inputs = Vec::with_capacity(wave.len());
            for index in wave {
                let node = &plan.nodes[index];
                let children: Vec<Vec<u8>> =
                    node.children.iter().map(|child| results[child].clone()).collect();
                let maker = Arc::clone(&work);
                let made = tokio::task::spawn_blocking(move || maker.input(index, &children)).await;
                let circuit = node.circuit.name();
                let input = made.map_err(WorkError::from)?.map_err(|source| JobFailure::Input {
                    index,
                    circuit,
                    source,
                })?;
                inputs.push((index, input));
            }
            self.look_up(broker, &plan, inputs, &mut results).await?;
            open = rest;
        }
    }

    async fn look_up<B: Broker>(
        &mut self,
        broker: &B,
        plan: &EpochPlan,
        inputs: Vec<(usize, Vec<u8>)>,
        results: &mut BTreeMap<usize, Vec<u8>>,
    ) -> Result<(), ProveError> {
        let mut ids = Vec::with_capacity(inputs.len());
        for (index, input) in &inputs {
            let kind = plan.nodes[*index].circuit.name().parse::<KindName>();
            let kind = kind.map_err(WorkError::from)?;
            ids.push(JobId::new(self.row.epoch, &kind, Digest::of(input)));
        }
        let mut views = BTreeMap::new();
        for chunk in ids.chunks(rollmill_broker_client::BATCH_MAX) {
            for view in broker.jobs(chunk).await? {
                views.insert(view.id.clone(), view);
            }
        }
        for ((index, input), id) in inputs.into_iter().zip(ids) {
            let view = views.get(&id);
            let digest = view.filter(|view| view.state == JobState::Done).and_then(|v| v.result);
            let result = match digest {
                Some(digest) => broker.get_artifact(&digest).await.ok(),
                None => None,
            };
            let state = view.map_or("unknown", |view| view.state.as_str());
            let failure = view.and_then(|view| view.failure.as_ref());
            let state = match failure {
                Some(failure) => format!("{state}: {}", failure.message),
                None => state.to_owned(),
            };
            let circuit = plan.nodes[index].circuit.name().to_owned();
            let (input, hex) = (hex::encode(input), result.as_ref().map(hex::encode));
            self.jobs.push(CapturedJob { index, circuit, input, result: hex, state });
            results.extend(result.map(|result| (index, result)));
        }
        Ok(())
    }

    /// Writes the capture to a new file in `folder` and returns its path.
    pub fn write(&self, folder: &Path) -> Result<PathBuf, CaptureError> {
        let path = folder.join(format!("range-{:08}-{}.json", self.row.id, self.row.log.len()));
        let failed = |source| CaptureError::File { path: path.clone(), source };
        rollmill_files::make_folder(folder).map_err(failed)?;
        let bytes = serde_json::to_vec(self)
            .map_err(|error| CaptureError::File { path: path.clone(), source: error.into() })?;
        rollmill_files::write(&path, &[&bytes]).map_err(failed)?;
        Ok(path)
    }

    /// Reads a capture.
    pub fn read(path: &Path) -> Result<Self, CaptureError> {
        let failed = |source| CaptureError::File { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(failed)?;
        let format = |why: String| CaptureError::Format { path: path.to_owned(), why };
        let this: Self =
            serde_json::from_slice(&bytes).map_err(|error| format(error.to_string()))?;
        if this.format != FORMAT {
            return Err(format(format!("its format is {}, expected {FORMAT}", this.format)));
        }
        Ok(this)
    }
}

/// The result of a replay for one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The result verifies against the input.
    Holds,
    /// There is no result, and the input satisfies its circuit: prove it again.
    Provable,
    /// What is wrong.
    Fails(String),
}

/// Checks every job of a capture: its index in the plan, its children's results inside its input, and
/// its result; without a result, that its witness satisfies the circuit.
pub fn replay(keys: &KeySet, capture: &Capture) -> Vec<Finding> {
    let Some(plan) = EpochPlan::new(&capture.tx_counts) else {
        return vec![Finding::Fails("the range has no block".to_owned())];
    };
    let results: BTreeMap<usize, Vec<u8>> = capture
        .jobs
        .iter()
        .filter_map(|job| Some((job.index, hex::decode(job.result.as_ref()?).ok()?)))
        .collect();
    capture.jobs.iter().map(|job| examine(keys, &plan, &results, job)).collect()
}

fn examine(
    keys: &KeySet,
    plan: &EpochPlan,
    results: &BTreeMap<usize, Vec<u8>>,
    job: &CapturedJob,
) -> Finding {
    let checked = || -> Result<Finding, String> {
        let node = plan.nodes.get(job.index).ok_or("the plan has no such job")?;
        let circuit = Circuit::from_name(&job.circuit).ok_or("there is no such circuit")?;
        if circuit != node.circuit {
            return Err(format!("the plan has {} in its place", node.circuit));
        }
        let input = hex::decode(&job.input).map_err(|error| error.to_string())?;
        let read = Input::from_bytes(circuit, &input).map_err(|error| error.to_string())?;
        for (child, at) in read.children().iter().zip(&node.children) {
            if results.get(at) != Some(&child.to_bytes()) {
                return Err(format!("its input does not hold the result of job {at}"));
            }
        }
        let Some(result) = results.get(&job.index) else {
            let builder =
                jobs::lay_out(keys, &job.circuit, &input).map_err(|error| error.to_string())?;
            let (layout, witness) =
                builder.finish(Some(log_n(circuit))).map_err(|error| error.to_string())?;
            return match check(&layout, &witness) {
                Ok(()) => Ok(Finding::Provable),
                Err(violation) => Err(violation.to_string()),
            };
        };
        jobs::verify(keys, &job.circuit, &input, result).map_err(|error| error.to_string())?;
        Ok(Finding::Holds)
    };
    checked().unwrap_or_else(Finding::Fails)
}
