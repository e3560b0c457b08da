//! The lanes of a replica: what its agents' requests hand in, see [`crate::lane`].

use axum::body::Bytes;
use rollmill_broker_client::{
    CompleteRequest, Digest, FailRequest, HeartbeatRequest, JobView, LeaseRef, NewJob,
    ProgressRequest, ReleaseRequest,
};
use rollmill_service::Shutdown;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::BrokerError;
use crate::lane::{Flush, Lane, Name};
use crate::metrics::Metrics;
use crate::policy::Next;
use crate::store::{Arrival, Beat, Completed, Place, Pulse, Store, Tenant, Upload, Uploaded};

/// See the module.
#[derive(Debug)]
pub(crate) struct Lanes {
    store: Store,
    completions: Lane<Completions>,
    releases: Lane<Releases>,
    beats: Lane<Beats>,
    sightings: Lane<Sightings>,
    uploads: Lane<Uploads>,
    enqueues: Lane<Enqueues>,
    /// Places of the requests that need a transaction of their own. They wait for one, so that they do not give up
    /// on a connection.
    apart: Semaphore,
}

/// See [`Lanes::apart`]: half of the connections of [`Store`].
const APART: usize = 6;

macro_rules! flushes {
    ($($name:ident: $item:ty => $verdict:ty, $function:ident, $before:literal, $after:literal;)+) => {$(
        struct $name(Store);

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        impl Flush for $name {
            type Item = $item;
            type Verdict = $verdict;
            const LANE: Name = Name::$name;

            async fn flush(&self, items: &[$item]) -> Result<Vec<$verdict>, BrokerError> {
                rollmill_service::failpoint!($before);
                let verdicts = self.0.$function(items).await?;
                rollmill_service::failpoint!($after);
                Ok(verdicts)
            }
        }
    )+};
}

flushes! {
    Completions: (Tenant, CompleteRequest) => Option<Completed>, complete_many,
        "broker.before_completions", "broker.after_completions";
    Releases: (Tenant, ReleaseRequest) => bool, release_many,
        "broker.before_releases", "broker.after_releases";
    Sightings: Arrival => bool, admit_many, "broker.before_sightings", "broker.after_sightings";
}

/// One item per request, since a heartbeat may name many leases.
#[derive(Debug)]
struct Beats(Store);

impl Flush for Beats {
    type Item = Vec<Beat>;
    type Verdict = Vec<Pulse>;
    const LANE: Name = Name::Beats;

    async fn flush(&self, items: &[Vec<Beat>]) -> Result<Vec<Vec<Pulse>>, BrokerError> {
        let beats: Vec<Beat> = items.iter().flatten().cloned().collect();
        rollmill_service::failpoint!("broker.before_beats");
        let mut pulses = self.0.beat(&beats).await?.into_iter();
        rollmill_service::failpoint!("broker.after_beats");
        Ok(items.iter().map(|item| pulses.by_ref().take(item.len()).collect()).collect())
    }

    fn bytes(item: &Vec<Beat>) -> usize {
        // Ids and numbers.
        item.len() * 256
    }
}

#[derive(Debug)]
struct Uploads(Store);

impl Flush for Uploads {
    type Item = Upload;
    type Verdict = Option<Uploaded>;
    const LANE: Name = Name::Uploads;

    async fn flush(&self, items: &[Upload]) -> Result<Vec<Option<Uploaded>>, BrokerError> {
        rollmill_service::failpoint!("broker.before_uploads");
        let verdicts = self.0.put_many(items).await?;
        rollmill_service::failpoint!("broker.after_uploads");
        Ok(verdicts)
    }

    fn bytes(item: &Upload) -> usize {
        item.body.len()
    }
}

#[derive(Debug)]
struct Enqueues(Store);

impl Flush for Enqueues {
    type Item = (Tenant, Vec<NewJob>);
    type Verdict = Option<Vec<JobView>>;
    const LANE: Name = Name::Enqueues;

    async fn flush(&self, items: &[Self::Item]) -> Result<Vec<Self::Verdict>, BrokerError> {
        rollmill_service::failpoint!("broker.before_enqueues");
        let verdicts = self.0.enqueue_many(items).await?;
        rollmill_service::failpoint!("broker.after_enqueues");
        Ok(verdicts)
    }

    fn bytes((_, jobs): &Self::Item) -> usize {
        // So that about as many jobs as one request may have are one flush.
        jobs.len() * 4096
    }
}

impl Lanes {
    /// Starts the lanes' tasks in `tasks`.
    pub(crate) fn start(
        store: &Store,
        metrics: &Metrics,
        shutdown: &Shutdown,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        macro_rules! lane {
            ($flush:ident) => {{
                let flush = $flush(store.clone());
                let (lane, task) = Lane::new(flush, metrics.clone(), shutdown.clone());
                tasks.spawn(task);
                lane
            }};
        }
        Self {
            completions: lane!(Completions),
            releases: lane!(Releases),
            beats: lane!(Beats),
            sightings: lane!(Sightings),
            uploads: lane!(Uploads),
            enqueues: lane!(Enqueues),
            apart: Semaphore::new(APART),
            store: store.clone(),
        }
    }

    /// As [`Store::complete`], together with others.
    pub(crate) async fn complete(
        &self,
        tenant: &Tenant,
        request: CompleteRequest,
    ) -> Result<Completed, BrokerError> {
        match self.completions.send((tenant.clone(), request.clone())).await? {
            Some(done) => Ok(done),
            None => {
                let _place = self.apart.acquire().await;
                self.store.complete(tenant, &request).await
            }
        }
    }

    /// As [`Store::release`], together with others.
    pub(crate) async fn release(
        &self,
        tenant: &Tenant,
        request: ReleaseRequest,
    ) -> Result<(), BrokerError> {
        match self.releases.send((tenant.clone(), request.clone())).await? {
            true => Ok(()),
            false => {
                let _place = self.apart.acquire().await;
                self.store.release(tenant, &request).await
            }
        }
    }

    /// As [`Store::fail`], a few at a time.
    pub(crate) async fn fail(
        &self,
        tenant: &Tenant,
        request: &FailRequest,
        spread: f64,
    ) -> Result<Next, BrokerError> {
        let _place = self.apart.acquire().await;
        self.store.fail(tenant, request, spread).await
    }

    /// As [`Store::heartbeat`], together with others: the leases that the agent no longer has, and whether it may soon
    /// lose others.
    pub(crate) async fn heartbeat(
        &self,
        tenant: &Tenant,
        request: HeartbeatRequest,
    ) -> Result<(Vec<LeaseRef>, bool), BrokerError> {
        let HeartbeatRequest { agent, leases } = request;
        if leases.is_empty() {
            return Ok((leases, false));
        }
        let beat = |lease: &LeaseRef| Beat {
            tenant: tenant.clone(),
            agent: agent.clone(),
            lease: lease.clone(),
            extends: true,
            progress: None,
        };
        let pulses = self.beats.send(leases.iter().map(beat).collect()).await?;
        let (has_near, held) = (pulses.iter().any(|pulse| pulse.near), leases.len());
        let lost = leases.into_iter().zip(pulses).filter(|(_, pulse)| !pulse.within);
        let lost: Vec<LeaseRef> = lost.map(|(lease, _)| lease).collect();
        // What ended one lease mostly ends those of its epoch, one after another.
        let is_ending = !lost.is_empty() && lost.len() < held;
        Ok((lost, has_near || is_ending))
    }

    /// As [`Store::progress`], together with others.
    pub(crate) async fn progress(
        &self,
        tenant: &Tenant,
        request: &ProgressRequest,
    ) -> Result<(), BrokerError> {
        let ProgressRequest { agent, lease, progress } = request.clone();
        let (tenant, progress) = (tenant.clone(), Some(progress));
        let beat = Beat { tenant: tenant.clone(), agent, lease, extends: false, progress };
        let pulses = self.beats.send(vec![beat]).await?;
        match pulses.first().is_some_and(|pulse| pulse.held) {
            true => Ok(()),
            // It says why.
            false => {
                let _place = self.apart.acquire().await;
                self.store.progress(&tenant, request).await
            }
        }
    }

    /// As [`Store::enqueue`], together with others.
    pub(crate) async fn enqueue(
        &self,
        tenant: &Tenant,
        jobs: Vec<NewJob>,
    ) -> Result<Vec<JobView>, BrokerError> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        match self.enqueues.send((tenant.clone(), jobs.clone())).await? {
            Some(views) => Ok(views),
            None => {
                let _place = self.apart.acquire().await;
                self.store.enqueue(tenant, &jobs).await
            }
        }
    }

    /// Records an agent that asks for work; returns whether it is in quarantine.
    pub(crate) async fn sight(&self, arrival: Arrival) -> Result<bool, BrokerError> {
        self.sightings.send(arrival).await
    }

    /// As [`Store::put_artifact`], small ones together with others. `may_open`: the epoch is opened if it never was.
    pub(crate) async fn put_artifact(
        &self,
        tenant: &Tenant,
        (epoch, may_open): (u64, bool),
        digest: Digest,
        body: Vec<u8>,
    ) -> Result<Uploaded, BrokerError> {
        let got = Digest::of(&body);
        if got != digest {
            return Err(BrokerError::DigestMismatch { wanted: digest, got });
        }
        if Place::of(body.len()) == Place::Object {
            let mut object = self.store.write_object(tenant, epoch, digest, may_open).await?;
            object.write.put(body.into()).await?;
            return self.store.end_object(object).await;
        }
        let upload = Upload { tenant: tenant.clone(), epoch, digest, body: body.into() };
        let done = self.upload(tenant, (epoch, may_open), vec![upload]).await?;
        done.into_iter().next().ok_or(BrokerError::EpochClosing { epoch })
    }

    /// Stores small artifacts of one epoch.
    async fn upload(
        &self,
        tenant: &Tenant,
        (epoch, may_open): (u64, bool),
        uploads: Vec<Upload>,
    ) -> Result<Vec<Uploaded>, BrokerError> {
        let done = self.uploads.send_all(uploads.iter().cloned()).await?;
        let done: Option<Vec<Uploaded>> = done.into_iter().collect();
        if let Some(done) = done {
            return Ok(done);
        }
        {
            let _place = self.apart.acquire().await;
            self.store.require_open(tenant, epoch, may_open).await?;
        }
        let again = self.uploads.send_all(uploads.into_iter()).await?;
        // It was closed between the two.
        again.into_iter().collect::<Option<_>>().ok_or(BrokerError::EpochClosing { epoch })
    }

    /// Stores artifacts under their digests, small ones together; returns what each did and its length.
    pub(crate) async fn put_artifacts(
        &self,
        tenant: &Tenant,
        (epoch, may_open): (u64, bool),
        bodies: Vec<Bytes>,
    ) -> Result<Vec<(Uploaded, u64)>, BrokerError> {
        let lengths: Vec<u64> = bodies.iter().map(|body| body.len() as u64).collect();
        let (small, large): (Vec<Bytes>, Vec<Bytes>) =
            bodies.into_iter().partition(|body| Place::of(body.len()) == Place::Row);
        let upload = |body: Bytes| {
            let digest = Digest::of(&body);
            Upload { tenant: tenant.clone(), epoch, digest, body }
        };
        let small = small.into_iter().map(upload).collect();
        let mut done = self.upload(tenant, (epoch, may_open), small).await?;
        for body in large {
            let digest = Digest::of(&body);
            let mut object = self.store.write_object(tenant, epoch, digest, may_open).await?;
            object.write.put(body).await?;
            done.push(self.store.end_object(object).await?);
        }
        // The order among small and large ones is the callers' no longer; places count the same.
        let (rows, objects): (Vec<u64>, Vec<u64>) =
            lengths.into_iter().partition(|length| Place::of(*length as usize) == Place::Row);
        Ok(done.into_iter().zip(rows.into_iter().chain(objects)).collect())
    }
}
