//! The table of what the prover node does for each response of the broker.

use rollmill_broker_client::Answer;

/// The request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `PUT /v1/artifacts/{digest}`, of an input.
    Upload,
    /// `GET /v1/artifacts/{digest}`, of a result.
    Fetch,
    /// `POST /v1/jobs`.
    Enqueue,
    /// `POST /v1/epochs/{epoch}/changes` and `/v1/jobs/query`.
    Watch,
    /// `POST /v1/jobs/reject`.
    Reject,
    /// `POST /v1/dead-letters/replay`.
    Replay,
    /// `GET /v1/jobs` and `POST /v1/jobs/cancel`.
    Cancel,
    /// `POST /v1/named-leases/{verb}`, and requests that only read.
    Lease,
}

impl Route {
    /// Every route, for tables and tests.
    pub const ALL: [Self; 8] = [
        Self::Upload,
        Self::Fetch,
        Self::Enqueue,
        Self::Watch,
        Self::Reject,
        Self::Replay,
        Self::Cancel,
        Self::Lease,
    ];
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Retry after a growing pause, for as long as the range is needed.
    Retry,
    /// Condition `token` is false; retry every 30 s.
    AwaitToken,
    /// Park the range for an operator; others continue.
    Park,
    /// The broker does not know the job: restart it.
    StartAgain,
    /// Upload the input again.
    UploadAgain,
    /// The broker closed or deleted the epoch that a range still needs, such as after a reorg: open it again.
    OpenEpoch,
    /// The result is lost; the broker reopens the job. Nobody is blamed.
    AwaitReopening,
    /// Send a smaller request; a single item parks the range.
    Split,
    /// Nothing is left to do.
    Nothing,
}

/// The table.
pub const fn action(route: Route, answer: Answer) -> Action {
    use Action as Do;
    match (answer, route) {
        (Answer::Transient, _) => Do::Retry,
        (Answer::TokenRejected | Answer::Quarantined | Answer::IdentityTaken, _) => Do::AwaitToken,
        // A lease that is not granted is requested again at its own pace.
        (_, Route::Lease) => Do::Retry,
        // Only agents get the last three.
        (
            Answer::Incompatible
            | Answer::VersionConflict
            | Answer::LeaseLost
            | Answer::UnknownSession
            | Answer::RejectedBefore,
            _,
        ) => Do::Park,
        (Answer::UnknownJob | Answer::Cancelled, Route::Cancel) => Do::Nothing,
        (Answer::UnknownJob | Answer::Cancelled, _) => Do::StartAgain,
        (Answer::EpochEnded, Route::Upload) => Do::OpenEpoch,
        (Answer::EpochEnded, Route::Cancel) => Do::Nothing,
        // From the upload on, which opens the epoch.
        (Answer::EpochEnded, _) => Do::StartAgain,
        (Answer::NotUploaded, _) => Do::UploadAgain,
        (Answer::UnknownArtifact | Answer::ArtifactLost, Route::Fetch) => Do::AwaitReopening,
        (Answer::UnknownArtifact | Answer::ArtifactLost, _) => Do::UploadAgain,
        (Answer::DigestMismatch, Route::Upload) => Do::UploadAgain,
        (Answer::DigestMismatch, _) => Do::Park,
        (Answer::TooLarge, Route::Enqueue | Route::Watch | Route::Cancel) => Do::Split,
        (Answer::TooLarge, _) => Do::Park,
    }
}
