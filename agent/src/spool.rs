//! Verified proofs that no broker has taken yet.
//!
//! Proving again would take minutes. So a proof is written and synced before it is uploaded, if there
//! is a directory for it, and it is offered until the broker accepts it, has one already, or no longer
//! needs it. A restarted agent offers what it finds.
//!
//! A file is one line of JSON, which identifies the proof, and the proof. It gets its name only once it
//! is complete, and a damaged one is removed: the job is proven again.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use rollmill_broker_client::{Digest, JobId, LeaseEpoch};
use rollmill_service::traces::Traceparent;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::agent::AgentError;
use crate::metrics::Metrics;

/// Bytes of proofs beyond which an agent claims no further job.
pub(crate) const BYTES_MAX: u64 = 256 << 20;
const EXTENSION: &str = "proof";
/// A file in the directory that is locked while an agent works with it. It stays there, empty.
const LOCK: &str = "lock";

/// Locks the directory for one agent, and creates it if it is missing: two agents would offer each
/// other's proofs as their own. The operating system drops the lock with the process.
///
/// # Errors
/// [`AgentError::SpoolLocked`] while another agent has it locked, [`AgentError::Spool`] where it cannot be used.
pub(crate) fn lock(dir: &Path) -> Result<File, AgentError> {
    let path = dir.display().to_string();
    let open = || File::options().create(true).append(true).open(dir.join(LOCK));
    let opened = rollmill_files::make_folder(dir).and_then(|()| open());
    let file = opened.map_err(|source| AgentError::Spool { path: path.clone(), source })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(AgentError::SpoolLocked { path }),
        Err(TryLockError::Error(source)) => Err(AgentError::Spool { path, source }),
    }
}

/// A verified proof and its job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Proof {
    pub(crate) job: JobId,
    pub(crate) lease_epoch: LeaseEpoch,
    /// When it is no longer needed, seconds since 1970.
    pub(crate) deadline_unix_seconds: Option<u64>,
    pub(crate) stats: serde_json::Value,
    pub(crate) result: Vec<u8>,
    /// The attempt's span of a trace. Not on disk: what a restarted agent offers is in no trace.
    pub(crate) attempt: Option<Traceparent>,
}

/// The outcome of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    AlreadyDone,
    /// The job was cancelled, rejected this result before, or is unknown.
    Unwanted,
    /// Its deadline passed before a broker accepted it.
    Expired,
    /// The broker accepts no result of this size.
    TooLarge,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    job: JobId,
    lease_epoch: LeaseEpoch,
    deadline_unix_seconds: Option<u64>,
    stats: serde_json::Value,
    digest: Digest,
}

/// How long after its deadline a proof is still offered.
const GRACE_SECONDS: u64 = 3600;

#[derive(Debug)]
struct Entry {
    id: u64,
    proof: std::sync::Arc<Proof>,
    file: Option<PathBuf>,
    /// Unix seconds when it was finished.
    finished: u64,
    /// The task that waits for the verdict; none for a proof of an earlier start.
    verdict: Option<oneshot::Sender<Verdict>>,
    not_before: Option<Instant>,
    /// Why the last offer since this start was rejected.
    rejection: Option<String>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    entries: Vec<Entry>,
}

/// What to offer next.
#[derive(Debug)]
pub(crate) enum Next {
    Offer(u64, std::sync::Arc<Proof>),
    /// Nothing before this time, or before something changes.
    Wait(Option<Instant>),
}

/// The proofs of one agent. Shared by the tasks of its jobs and the task that offers.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: Option<PathBuf>,
    inner: Mutex<Inner>,
    /// Why the last proof could not be written.
    failure: Mutex<String>,
    changed: Notify,
    metrics: Metrics,
}

impl Spool {
    /// The spool in `dir`, with what an earlier start left there; in memory alone without one.
    pub(crate) fn open(dir: Option<PathBuf>, metrics: Metrics) -> io::Result<Self> {
        let (inner, failure, changed) = (Mutex::default(), Mutex::default(), Notify::new());
        let spool = Self { dir, inner, failure, changed, metrics };
        let Some(dir) = &spool.dir else { return Ok(spool) };
        rollmill_files::make_folder(dir)?;
        // Writes that a crash interrupted.
        rollmill_files::sweep_folder(dir);
        let mut paths: Vec<PathBuf> =
            fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.sort();
        for path in paths {
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            match decode(&fs::read(&path)?) {
                Some(proof) => {
                    tracing::info!(job = %proof.job, "spooled proof found");
                    // Writing the file was the last step of the proof.
                    let written = fs::metadata(&path)?.modified()?;
                    spool.insert(proof, Some(path), None, unix_seconds(written));
                }
                None => {
                    let shown = path.display().to_string();
                    tracing::warn!(path = shown, "damaged spooled proof removed");
                    fs::remove_file(&path)?;
                }
            }
        }
        Ok(spool)
    }

    /// Adds a proof, on disk first. A proof that cannot be written stays in memory and is still
    /// offered. Blocks; the receiver gets the verdict.
    pub(crate) fn push(&self, proof: Proof) -> oneshot::Receiver<Verdict> {
        let (sender, receiver) = oneshot::channel();
        let file = self.write(&proof);
        self.insert(proof, file, Some(sender), unix_seconds(SystemTime::now()));
        self.changed.notify_waiters();
        receiver
    }

    fn insert(
        &self,
        proof: Proof,
        file: Option<PathBuf>,
        verdict: Option<oneshot::Sender<Verdict>>,
        finished: u64,
    ) {
        let mut inner = self.lock();
        let id = inner.next;
        inner.next += 1;
        let proof = std::sync::Arc::new(proof);
        inner.entries.push(Entry {
            id,
            proof,
            file,
            finished,
            verdict,
            not_before: None,
            rejection: None,
        });
        self.measure(&inner);
    }

    /// The proof to offer next: the one with the oldest deadline that is not postponed. A proof is
    /// dropped when an offer has failed and its deadline has passed by [`GRACE_SECONDS`]: the deadline
    /// was the producer's estimate, it may have moved since, and this clock may be wrong.
    pub(crate) fn next(&self) -> Next {
        let now = unix_seconds(SystemTime::now());
        let expired: Vec<u64> = {
            let inner = self.lock();
            let passed = |entry: &&Entry| {
                let end = entry.proof.deadline_unix_seconds;
                let end = end.map(|deadline| deadline.saturating_add(GRACE_SECONDS));
                entry.rejection.is_some() && end.is_some_and(|end| end < now)
            };
            inner.entries.iter().filter(passed).map(|entry| entry.id).collect()
        };
        for id in expired {
            self.end(id, Verdict::Expired);
        }
        let inner = self.lock();
        let due = |entry: &&Entry| entry.not_before.is_none_or(|at| at <= Instant::now());
        let oldest =
            inner.entries.iter().filter(due).min_by_key(|entry| {
                (entry.proof.deadline_unix_seconds.unwrap_or(u64::MAX), entry.id)
            });
        match oldest {
            Some(entry) => Next::Offer(entry.id, entry.proof.clone()),
            None => Next::Wait(inner.entries.iter().filter_map(|entry| entry.not_before).min()),
        }
    }

    /// Offers this proof, which was rejected, again only after `pause`, others meanwhile.
    pub(crate) fn postpone(&self, id: u64, pause: Duration, rejection: String) {
        if let Some(entry) = self.lock().entries.iter_mut().find(|entry| entry.id == id) {
            entry.not_before = Some(Instant::now() + pause);
            entry.rejection = Some(rejection);
        }
    }

    /// Removes a proof and sends its verdict to the task that waits. Returns the job's type if none
    /// waits.
    pub(crate) fn end(&self, id: u64, verdict: Verdict) -> Option<String> {
        let entry = {
            let mut inner = self.lock();
            let place = inner.entries.iter().position(|entry| entry.id == id)?;
            let entry = inner.entries.remove(place);
            self.measure(&inner);
            entry
        };
        if let Some(path) = entry.file
            && let Err(error) = fs::remove_file(&path)
        {
            // It is offered again after a restart, and the broker has one already.
            let error = rollmill_errors::InWords(&error).to_string();
            tracing::warn!(path = path.display().to_string(), error, "proof not removed");
        }
        self.changed.notify_waiters();
        match entry.verdict.map(|waits| waits.send(verdict)) {
            Some(Ok(())) => None,
            None | Some(Err(_)) => Some(entry.proof.job.kind().to_owned()),
        }
    }

    /// Ready when a proof was added or forgotten. Register before reading: `let changed =
    /// spool.changed(); look; changed.await`.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }

    /// Whether another job may be claimed.
    pub(crate) fn has_space(&self) -> bool {
        total(&self.lock()) < BYTES_MAX
    }

    /// Why a proof does not get to the broker that answers, or why the agent claims nothing.
    pub(crate) fn held_up(&self) -> Option<String> {
        let inner = self.lock();
        if total(&inner) >= BYTES_MAX {
            let proofs = inner.entries.len();
            return Some(format!(
                "{proofs} proofs wait for a broker, as much as an agent keeps; no job is claimed"
            ));
        }
        inner.entries.iter().find_map(|entry| entry.rejection.clone())
    }

    /// Whether proofs are written to a directory.
    pub(crate) fn is_on_disk(&self) -> bool {
        self.dir.is_some()
    }

    /// Why proofs are in memory only although there is a directory for them, and what to do.
    pub(crate) fn trouble(&self) -> Option<String> {
        let dir = self.dir.as_ref()?.display();
        let is_unsaved = self.lock().entries.iter().any(|entry| entry.file.is_none());
        let error = self.failure.lock();
        is_unsaved.then(|| {
            format!(
                "finished proofs are in memory only, since {dir} (spool_dir) cannot be written: {error}; free space \
                 there, or they are lost when the agent ends"
            )
        })
    }

    /// Writes again what could not be written: the disk may have space meanwhile. Returns for each proof its job
    /// and whether it is on disk, and so outlives the process. Blocks.
    pub(crate) fn save(&self) -> Vec<(JobId, bool)> {
        let mut inner = self.lock();
        let mut saved = Vec::with_capacity(inner.entries.len());
        for entry in &mut inner.entries {
            if entry.file.is_none() {
                entry.file = self.write(&entry.proof);
            }
            saved.push((entry.proof.job.clone(), entry.file.is_some()));
        }
        saved
    }

    /// The file of this proof, if it could be written.
    fn write(&self, proof: &Proof) -> Option<PathBuf> {
        let dir = self.dir.as_ref()?;
        write(dir, proof)
            .inspect_err(|error| {
                *self.failure.lock() = rollmill_errors::InWords(error).to_string();
            })
            .ok()
    }

    fn measure(&self, inner: &Inner) {
        let Metrics { spool_bytes, spool_proofs, spool_oldest_timestamp_seconds, .. } =
            &self.metrics;
        spool_bytes.set(i64::try_from(total(inner)).unwrap_or(i64::MAX));
        spool_proofs.set(i64::try_from(inner.entries.len()).unwrap_or(i64::MAX));
        let oldest = inner.entries.iter().map(|entry| entry.finished).min();
        spool_oldest_timestamp_seconds.set(oldest.map_or(f64::NAN, |seconds| seconds as f64));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

fn total(inner: &Inner) -> u64 {
    inner.entries.iter().map(|entry| entry.proof.result.len() as u64).sum()
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Writes a proof completely or not at all.
fn write(dir: &Path, proof: &Proof) -> io::Result<PathBuf> {
    let head = Head {
        job: proof.job.clone(),
        lease_epoch: proof.lease_epoch,
        deadline_unix_seconds: proof.deadline_unix_seconds,
        stats: proof.stats.clone(),
        digest: Digest::of(&proof.result),
    };
    // One name per job, so that a job proven twice has one file.
    let name = Digest::of(proof.job.as_str().as_bytes()).to_string();
    let path = dir.join(&name).with_extension(EXTENSION);
    let head = serde_json::to_vec(&head)?;
    rollmill_files::write(&path, &[&head, b"\n", &proof.result])?;
    Ok(path)
}

fn decode(bytes: &[u8]) -> Option<Proof> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
    let result = bytes[end + 1..].to_vec();
    (Digest::of(&result) == head.digest).then_some(Proof {
        job: head.job,
        lease_epoch: head.lease_epoch,
        deadline_unix_seconds: head.deadline_unix_seconds,
        stats: head.stats,
        result,
        attempt: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Spool {
        /// How many proofs wait.
        fn len(&self) -> usize {
            self.lock().entries.len()
        }
    }

    fn proof(n: u8, deadline: Option<u64>) -> Proof {
        Proof {
            job: JobId::new(7, &"leaf".parse().unwrap(), Digest::of(&[n])),
            lease_epoch: LeaseEpoch(3),
            deadline_unix_seconds: deadline,
            stats: serde_json::json!({ "rows": 1 }),
            result: vec![n, b'\n', n],
            attempt: None,
        }
    }

    fn open(dir: Option<&Path>) -> Spool {
        Spool::open(dir.map(Path::to_owned), Metrics::create(&[])).unwrap()
    }

    fn offered(spool: &Spool) -> (u64, Proof) {
        match spool.next() {
            Next::Offer(id, proof) => (id, (*proof).clone()),
            Next::Wait(until) => panic!("nothing to offer until {until:?}"),
        }
    }

    #[test]
    fn what_was_pushed_is_there_after_a_restart_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let _unheard = open(Some(dir.path())).push(proof(1, Some(u64::MAX)));
        let spool = open(Some(dir.path()));
        let (id, found) = offered(&spool);
        assert_eq!(found, proof(1, Some(u64::MAX)));
        assert_eq!(spool.end(id, Verdict::Accepted), Some("leaf".into()), "nobody waits for it");
        assert_eq!(open(Some(dir.path())).len(), 0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// Goal: a proof that could not be written does not pass for one that outlives the process, and it is written
    /// once there is space. Fault: the directory of the file takes none, as a full disk does.
    #[test]
    fn what_could_not_be_written_is_said_and_written_later() {
        let above = tempfile::tempdir().unwrap();
        let dir = above.path().join("spool");
        let spool = open(Some(&dir));
        let _first = spool.push(proof(1, None));
        fs::rename(&dir, above.path().join("away")).unwrap();
        assert_eq!(spool.trouble(), None);
        let _second = spool.push(proof(2, None));
        let trouble = spool.trouble().unwrap();
        assert!(trouble.contains(&dir.display().to_string()), "{trouble}");
        let [first, second] = [1, 2].map(|n| proof(n, None).job);
        assert_eq!(spool.save(), [(first.clone(), true), (second.clone(), false)]);
        assert_eq!(spool.len(), 2, "both are still offered");
        fs::rename(above.path().join("away"), &dir).unwrap();
        assert_eq!(spool.save(), [(first, true), (second, true)]);
        assert_eq!(spool.trouble(), None);
        assert_eq!(open(Some(&dir)).len(), 2);
        let none = open(None);
        let _third = none.push(proof(3, None));
        assert_eq!((none.save().len(), none.trouble()), (1, None), "nothing promised a disk");
    }

    /// Goal: an attempt that failed leaves no half file. Fault: the name is taken by a directory, so renaming fails.
    #[test]
    fn a_failed_write_leaves_no_half_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = write(dir.path(), &proof(1, None)).unwrap();
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(write(dir.path(), &proof(1, None)).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    /// Goal: the age of what waits survives a restart, and ends with what waits.
    #[test]
    fn the_oldest_proof_is_dated_by_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let oldest = |spool: &Spool| spool.metrics.spool_oldest_timestamp_seconds.get();
        let first = open(Some(dir.path()));
        assert!(oldest(&first).is_nan());
        let _unheard = first.push(proof(1, None));
        let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let file = File::options().append(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000)).unwrap();
        let spool = open(Some(dir.path()));
        let _unheard = spool.push(proof(2, None));
        assert_eq!((oldest(&spool), spool.metrics.spool_proofs.get()), (1_000.0, 2));
        spool.end(0, Verdict::Accepted);
        assert!(oldest(&spool) > 1e9, "the newer one was finished now");
        spool.end(1, Verdict::Accepted);
        assert!(oldest(&spool).is_nan());
    }

    #[test]
    fn the_oldest_deadline_is_offered_first_and_a_postponed_one_delays_no_other() {
        let spool = open(None);
        let far = u64::MAX - 1;
        let _kept: Vec<_> = [(1, None), (2, Some(far)), (3, Some(far - 9))]
            .map(|(n, deadline)| spool.push(proof(n, deadline)))
            .into();
        let (id, first) = offered(&spool);
        assert_eq!(first.result[0], 3);
        assert_eq!(spool.held_up(), None);
        spool.postpone(id, Duration::from_secs(3600), "no such version".to_owned());
        assert_eq!(spool.held_up().as_deref(), Some("no such version"));
        let rejected = id;
        let (id, second) = offered(&spool);
        assert_eq!(second.result[0], 2);
        spool.end(id, Verdict::Unwanted);
        assert_eq!(offered(&spool).1.result[0], 1);
        spool.end(rejected, Verdict::Accepted);
        assert_eq!(spool.held_up(), None);
    }

    #[test]
    fn a_proof_expires_long_after_its_deadline_and_not_unoffered() {
        let spool = open(None);
        let late = unix_seconds(SystemTime::now()) - 1;
        let mut kept = spool.push(proof(1, Some(late)));
        let mut verdict = spool.push(proof(2, Some(1)));
        // Each is offered once, at any clock time.
        for job in [2, 1] {
            let Next::Offer(id, offered) = spool.next() else { panic!("nothing to offer") };
            assert_eq!(offered.job, proof(job, None).job);
            spool.postpone(id, Duration::from_secs(60), String::new());
        }
        assert!(matches!(spool.next(), Next::Wait(Some(_))));
        assert_eq!(verdict.try_recv().unwrap(), Verdict::Expired);
        assert!(kept.try_recv().is_err(), "its deadline may have moved");
    }

    /// Fault: every possible cut of a file, and a flipped bit in each byte of the proof.
    #[test]
    fn a_damaged_file_is_removed_and_never_offered() {
        let dir = tempfile::tempdir().unwrap();
        let _unheard = open(Some(dir.path())).push(proof(1, None));
        let path = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read(&path).unwrap();
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|n| whole[..n].to_vec()).collect();
        for back in 1..=3 {
            let mut flipped = whole.clone();
            let place = whole.len() - back;
            flipped[place] ^= 1;
            damaged.push(flipped);
        }
        for bytes in damaged {
            fs::write(&path, &bytes).unwrap();
            assert_eq!(open(Some(dir.path())).len(), 0);
            assert!(!path.exists());
        }
        fs::write(path.with_added_extension("0123456789abcdef.part"), b"half").unwrap();
        fs::write(&path, &whole).unwrap();
        assert_eq!(open(Some(dir.path())).len(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_spool_takes_no_further_job() {
        let spool = open(None);
        assert!(spool.has_space());
        let large =
            Proof { result: vec![0; usize::try_from(BYTES_MAX).unwrap()], ..proof(1, None) };
        let _kept = spool.push(large);
        assert!(!spool.has_space());
        assert!(spool.held_up().unwrap().contains("no job is claimed"));
    }
}
