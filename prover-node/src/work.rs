//! Why a job's input cannot be built, or its result is not accepted.

use rollmill_broker_client::IdError;
use rollmill_circuits::jobs::JobError;

/// Why a job's input cannot be built, or its result is not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The plan of the range has no such job.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: the plan has no job {index}", code = self.code())]
    NoJob { index: usize },
    /// There is no plan for the blocks of the range.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: there is no plan for these blocks", code = self.code())]
    NoPlan,
    /// The jobs that a job builds on are not part of what is proven.
    ///
    /// Do: A bug in Rollmill: report it with the range's capture.
    #[error("{code}: its children are not part of the graph", code = self.code())]
    NoChildren,
    /// The thread that built an input or verified a result panicked.
    ///
    /// Do: Report it with the log and the range's capture.
    #[error("{code}: the work panicked: {source}", code = self.code())]
    Panicked {
        #[from]
        source: tokio::task::JoinError,
    },
    /// The broker takes no job of this name.
    #[error(transparent)]
    Name(#[from] IdError),
    /// The circuit rejects the input or the result.
    #[error(transparent)]
    Job(#[from] JobError),
}

rollmill_errors::coded! {
    WorkError {
        Self::NoJob { .. } => "PRN-005" permanent,
        Self::NoPlan => "PRN-006" permanent,
        Self::NoChildren => "PRN-007" permanent,
        Self::Panicked { .. } => "PRN-008",
        Self::Name(error) => (error),
        Self::Job(error) => (error),
    }
}
