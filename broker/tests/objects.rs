//! The object store: what every kind of store has to do, on each of them, and what its faults do to the broker.

#[path = "support/s3.rs"]
mod s3;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::support::{Bench, agent, blocked, capability, job};
use axum::body::Bytes;
use object_store::chunked::ChunkedStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use rollmill_broker::Config;
use rollmill_broker::objects::{Found, Objects, PART_BYTES, object_store};
use rollmill_broker::policy::Next;
use rollmill_broker::store::{ROW_ARTIFACT_BYTES_MAX, Tenant};
use rollmill_broker_client::{
    Answer, AuditQuery, ClaimRequest, CompleteRequest, Digest, FailureClass, JobState, LeaseRef,
    RejectOutcome,
};
use rollmill_broker_testing::TestSchema;
use s3::{BUCKET, Fault, KEY, S3, SECRET};

fn local() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Bytes that do not repeat.
fn body(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

async fn write(
    objects: &Objects,
    path: &Path,
    bytes: &[u8],
    digest: Digest,
) -> Result<u64, String> {
    let mut write = objects.write(path.clone());
    for chunk in bytes.chunks(700_000) {
        write
            .put(Bytes::copy_from_slice(chunk))
            .await
            .map_err(|error| format!("{error}: {error:?}"))?;
    }
    write.finish(digest).await.map_err(|error| format!("{error}: {error:?}"))
}

async fn read(objects: &Objects, path: &Path) -> Option<Vec<u8>> {
    let mut object = objects.open(path).await.unwrap()?;
    let mut bytes = Vec::new();
    while let Some(more) = object.next().await.unwrap() {
        bytes.extend_from_slice(&more);
    }
    assert_eq!(bytes.len() as u64, object.bytes());
    Some(bytes)
}

/// What the broker needs of a store. `other` is another handle on the same one, as of another replica.
async fn conforms(objects: &Objects, other: &Objects) {
    // Bodies of one part and of several, read back by another replica, whole.
    let lengths = [0, 1, 300_000, PART_BYTES - 1, PART_BYTES, 2 * PART_BYTES + 12_345];
    for (n, length) in lengths.into_iter().enumerate() {
        let bytes = body(length, n as u64);
        let (digest, path) = (Digest::of(&bytes), Path::from(format!("t/7/{n}")));
        assert_eq!(objects.check(&path, digest).await.unwrap(), Found::Absent);
        assert_eq!(write(objects, &path, &bytes, digest).await.unwrap(), length as u64);
        assert_eq!(other.check(&path, digest).await.unwrap(), Found::Whole, "{length} bytes");
        assert_eq!(read(other, &path).await.unwrap(), bytes, "{length} bytes");
        let wrong = Digest::of(b"other");
        assert_eq!(other.check(&path, wrong).await.unwrap(), Found::Damaged);
    }
    // Bytes of another digest never become an object, whatever their length.
    for length in [100, 2 * PART_BYTES + 1] {
        let path = Path::from("t/7/wrong");
        let refused = write(objects, &path, &body(length, 9), Digest::of(b"other")).await;
        assert!(refused.unwrap_err().contains("BRK-015"));
        assert!(objects.open(&path).await.unwrap().is_none(), "{length} bytes");
    }
    // A body that is given up leaves nothing, and does not change what was there.
    let kept = Path::from("t/7/1");
    let mut half = objects.write(kept.clone());
    half.put(Bytes::from(body(PART_BYTES + 1, 3))).await.unwrap();
    drop(half);
    assert_eq!(read(objects, &kept).await.unwrap(), body(1, 1));
    // Writing again replaces; the last whole body counts.
    let again = body(2 * PART_BYTES, 5);
    write(objects, &kept, &again, Digest::of(&again)).await.unwrap();
    assert_eq!(read(other, &kept).await.unwrap(), again);
    // A copy is whole, and its own.
    let copy = Path::from("t/8/copy");
    objects.copy(&kept, &copy).await.unwrap();
    assert_eq!(other.check(&copy, Digest::of(&again)).await.unwrap(), Found::Whole);
    // Deleting a folder leaves the folders whose names begin like it, and may be repeated.
    let near = Path::from("t/70/0");
    write(objects, &near, b"near", Digest::of(b"near")).await.unwrap();
    assert_eq!(objects.delete_below(&Path::from("t/7")).await.unwrap(), lengths.len() as u64);
    assert_eq!(objects.delete_below(&Path::from("t/7")).await.unwrap(), 0);
    assert!(objects.open(&kept).await.unwrap().is_none());
    assert_eq!(read(other, &near).await.unwrap(), b"near");
    assert_eq!(other.check(&copy, Digest::of(&again)).await.unwrap(), Found::Whole);
    // One identity, whoever asks first, and at once.
    assert_eq!(objects.identity().await.unwrap(), None);
    let (first, second) = tokio::join!(objects.identify(), other.identify());
    assert_eq!(first.unwrap(), second.unwrap());
    assert_eq!(objects.identity().await.unwrap(), other.identity().await.unwrap());
}

#[tokio::test]
async fn a_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Objects::in_directory(dir.path()).unwrap();
    conforms(&open(), &open()).await;
    let url = format!("file://{}", dir.path().display());
    let by_url = object_store(&url).unwrap().open(None, None).unwrap();
    assert_eq!(by_url.identity().await.unwrap(), open().identity().await.unwrap());
}

/// Credentials come from the environment of a process, so what needs them runs in a child of this program.
fn in_child(test: &str, environment: &[(&str, &str)]) {
    let test = format!("objects::{test}");
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test.as_str(), "--ignored", "--nocapture"])
        .envs(environment.iter().copied())
        .env("ROLLMILL_TEST_CHILD", "1")
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
    assert!(!text.contains(SECRET), "the secret is shown");
}

const AWS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_REGION", "eu-north-1")];

fn bucket(s3: &S3, folder: &str) -> Objects {
    std::env::var("ROLLMILL_TEST_CHILD").expect("started by a test");
    let address = object_store(&format!("s3://{BUCKET}/{folder}")).unwrap();
    address.open(Some(&s3.endpoint()), None).unwrap()
}

#[test]
fn a_bucket_of_s3_conforms() {
    in_child("child_with_a_bucket", &AWS);
}

#[tokio::test]
#[ignore = "not a test: the process that the test above starts, with credentials"]
async fn child_with_a_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = S3::start(dir.path(), true).await;
    let objects = bucket(&s3, "a/b");
    conforms(&objects, &bucket(&s3, "a/b")).await;
    assert!(s3.file("a/b/rollmill-store-id").exists(), "the folder of the URL");
    assert!(!format!("{objects:?}").contains(SECRET));
}

/// The API of Google's buckets that the library uses is the same one, with other signatures and names of headers. The
/// server takes requests without a signature here, and the names are translated; Google's own answers are not tested.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_google_conforms_as_far_as_its_api_is_that_of_s3() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = S3::start(&dir.path().join("buckets"), false).await;
    let account = dir.path().join("account.json");
    let json = format!(
        r#"{{"gcs_base_url": "{}", "disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}}"#,
        s3.endpoint()
    );
    std::fs::write(&account, json).unwrap();
    let account = account.display().to_string();
    tokio::task::spawn_blocking(move || {
        let environment =
            [("GOOGLE_SERVICE_ACCOUNT", account.as_str()), ("GOOGLE_SKIP_SIGNATURE", "true")];
        in_child("child_with_a_google_bucket", &environment);
    })
    .await
    .unwrap();
}

#[tokio::test]
#[ignore = "not a test: the process that the test above starts, with credentials"]
async fn child_with_a_google_bucket() {
    std::env::var("ROLLMILL_TEST_CHILD").expect("started by a test");
    let open = || {
        let address = object_store(&format!("gs://{BUCKET}/folder")).unwrap();
        address.open(None, None).unwrap()
    };
    conforms(&open(), &open()).await;
}

/// Faults: the store is away, silent, cuts its answers. The broker says so within its bounds, blames nobody, loses nothing,
/// and works when the store is back.
#[test]
fn faults_of_a_bucket_pass() {
    in_child("child_with_a_faulty_bucket", &AWS);
}

#[tokio::test]
#[ignore = "not a test: the process that the test above starts, with credentials"]
async fn child_with_a_faulty_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = S3::start(dir.path(), true).await;
    let schema = TestSchema::new().await;
    let store = schema.store_with(bucket(&s3, "x")).await;
    let broker = TestSchema::broker_over(store, local(), Config::default()).await;
    let client = broker.client();
    let (input, result) = (body(3 * PART_BYTES, 1), body(2 * PART_BYTES, 2));
    let digest = client.put_artifact(7, input.clone()).await.unwrap();
    let job = job(7, "leaf", digest);
    client.enqueue(vec![job.clone()]).await.unwrap();
    let claim = ClaimRequest::new(agent("a"), vec![capability("leaf")]);
    let grant = client.claim(&claim).await.unwrap().unwrap();
    assert_eq!(client.get_artifact(&digest).await.unwrap(), input);

    // Each request fails alone: the client is told that it may come again.
    let once = client.with_options(rollmill_broker_client::Options {
        patience: Duration::ZERO,
        timeout: Duration::from_secs(120),
    });
    for fault in [Fault::Away, Fault::Cut] {
        s3.set(fault);
        if fault == Fault::Away {
            let error = once.put_artifact(7, result.clone()).await.unwrap_err();
            assert_eq!(error.answer(), Answer::Transient, "{fault:?}: {error}");
        }
        let error = once.get_artifact(&digest).await.unwrap_err();
        assert_eq!(error.answer(), Answer::Transient, "{fault:?}: {error}");
        s3.set(Fault::None);
        assert_eq!(once.get_artifact(&digest).await.unwrap(), input, "after {fault:?}");
    }
    let digest = client.put_artifact(7, result.clone()).await.unwrap();
    client.complete(&CompleteRequest::new(agent("a"), grant.lease(), digest)).await.unwrap();

    // Other bytes of the same length: the answer breaks off, and the job is made again.
    let file = s3.file(&format!("x/default/7/{digest}"));
    let mut damaged = result.clone();
    damaged[PART_BYTES] ^= 1;
    std::fs::write(&file, &damaged).unwrap();
    let error = once.get_artifact(&digest).await.unwrap_err();
    assert_eq!(error.answer(), Answer::Transient, "{error}");
    let error = once.get_artifact(&digest).await.unwrap_err();
    assert_eq!(error.answer(), Answer::ArtifactLost, "{error}");
    let view = client.jobs(std::slice::from_ref(&job.id)).await.unwrap().remove(0);
    assert_eq!((view.state, view.result), (JobState::Ready, None));
    client.put_artifact(7, result.clone()).await.unwrap();
    assert_eq!(once.get_artifact(&digest).await.unwrap(), result, "repaired");
    broker.stop().await;
}

/// A job with a result in the object store, or with its input there, leased to `a` and done if it has the result.
async fn large_job(store: Objects, schema: TestSchema, of: &str) -> (Bench, LeaseRef, Digest) {
    let large = body(ROW_ARTIFACT_BYTES_MAX + 1, 1);
    let store = schema.store_with(store).await;
    let bench = Bench { schema, store, tenant: Tenant::default() };
    let input: &[u8] = if of == "input" { &large } else { b"input" };
    let job = bench.ready_job_with(7, "leaf", 1, input).await;
    let lease = bench.lease("a").await;
    if of == "input" {
        return (bench, lease, job.id.input());
    }
    let result = bench.put(7, &large).await;
    bench.complete("a", &lease, result).await.unwrap();
    (bench, lease, result)
}

/// A directory that gives its bodies as streams: what delays a store takes no files.
fn directory(schema: &TestSchema) -> ChunkedStore {
    std::fs::create_dir_all(schema.objects()).unwrap();
    let files = LocalFileSystem::new_with_prefix(schema.objects()).unwrap();
    ChunkedStore::new(Arc::new(files), 1 << 16)
}

/// Fault: the object store is slow. Nobody waits for a job meanwhile: what a rejection, a failure and a search for lost
/// results have to read, they read before they lock the job. Method: its row is asked for, for as long as the store
/// takes.
#[tokio::test]
async fn a_slow_object_store_locks_no_job() {
    for ask in ["reject", "fail", "heal"] {
        let schema = TestSchema::new().await;
        let wait =
            ThrottleConfig { wait_get_per_call: Duration::from_secs(1), ..Default::default() };
        let slow = Objects::over(ThrottledStore::new(directory(&schema), wait), "slow");
        let of = if ask == "fail" { "input" } else { "result" };
        let (bench, lease, digest) = large_job(slow, schema, of).await;
        if ask == "heal" {
            let object = bench.schema.objects().join(format!("default/7/{digest}"));
            std::fs::remove_file(object).unwrap();
        }
        let pool = bench.store.pool().clone();
        let asking = tokio::spawn(async move {
            match ask {
                "reject" => {
                    let rejected = bench.reject(&lease, digest).await;
                    assert_eq!(rejected.outcome, RejectOutcome::Reopened);
                }
                "fail" => {
                    let next = bench.fail("a", &lease, FailureClass::InputMissing).await.unwrap();
                    assert!(matches!(next, Next::Retry { .. }), "{next:?}: it can be read");
                }
                _ => {
                    let mut views = vec![bench.view(&lease).await];
                    assert_eq!(bench.store.heal(&bench.tenant, &mut views).await.unwrap(), 1);
                }
            }
        });
        let (mut free, mut locked) = (0, 0);
        while !asking.is_finished() {
            let row = sqlx::query("SELECT seq FROM job FOR UPDATE NOWAIT").execute(&pool).await;
            match row {
                Ok(_) => free += 1,
                Err(_) => locked += 1,
            }
        }
        asking.await.unwrap();
        assert!(free > locked, "{ask}: {free} looks found it free, {locked} locked");
    }
}

/// Fault: an upload repairs a result after somebody found it lost, and before that somebody has locked its job. The job
/// stays done. Method: the test holds the job until the other waits for it.
#[tokio::test]
async fn a_result_that_is_repaired_meanwhile_is_not_lost() {
    for bytes in [b"a small one".to_vec(), body(ROW_ARTIFACT_BYTES_MAX + 1, 1)] {
        let bench = Arc::new(Bench::new().await);
        bench.ready_job(7, "leaf", 1).await;
        let lease = bench.lease("a").await;
        let result = bench.put(7, &bytes).await;
        bench.complete("a", &lease, result).await.unwrap();
        // As many bytes as the small one has.
        bench.sql("DELETE FROM artifact_body WHERE octet_length(body) = 11").await;
        // There is no such file of the small one.
        let _ = std::fs::remove_file(bench.schema.objects().join(format!("default/7/{result}")));

        let mut views = vec![bench.view(&lease).await];
        let mut holder = bench.store.pool().begin().await.unwrap();
        sqlx::query("SELECT seq FROM job FOR UPDATE").execute(&mut *holder).await.unwrap();
        let healer = Arc::clone(&bench);
        let healing =
            tokio::spawn(async move { healer.store.heal(&healer.tenant, &mut views).await });
        blocked(&mut holder, "%").await;
        assert!(!healing.is_finished(), "it looks for the job");
        bench.put(7, &bytes).await;
        holder.rollback().await.unwrap();
        assert_eq!(healing.await.unwrap().unwrap(), 0);
        assert_eq!(bench.only_job().await.state, JobState::Done);
    }
}

/// Goal: an answer that names a large result does not read it each time. Method: the object goes away, which only who
/// reads it can notice: each replica reads it once if it was not written there, and the fetch of it reopens the job.
#[tokio::test]
async fn answers_read_a_large_result_once_and_its_fetch_finds_a_loss() {
    let schema = TestSchema::new().await;
    let (writer, reader) = (schema.broker().await, schema.broker().await);
    let client = writer.client();
    let input = client.put_artifact(7, b"input".to_vec()).await.unwrap();
    let job = job(7, "leaf", input);
    client.enqueue(vec![job.clone()]).await.unwrap();
    let large = body(ROW_ARTIFACT_BYTES_MAX + 1, 1);
    for (broker, reads_first) in [(&writer, false), (&reader, true)] {
        let claim = ClaimRequest::new(agent("a"), vec![capability("leaf")]);
        let grant = client.claim(&claim).await.unwrap().unwrap();
        let digest = client.put_artifact(7, large.clone()).await.unwrap();
        client.complete(&CompleteRequest::new(agent("a"), grant.lease(), digest)).await.unwrap();
        let asked = broker.client();
        let state = async || {
            let ids = std::slice::from_ref(&job.id);
            let waited = asked.wait(ids, Duration::ZERO).await.unwrap().jobs.remove(0).state;
            let changed = asked.changes(7, None, Duration::ZERO).await.unwrap().jobs.remove(0);
            assert_eq!(changed.state, waited);
            waited
        };
        if reads_first {
            assert_eq!(state().await, JobState::Done);
        }
        let object = schema.objects().join(format!("default/7/{digest}"));
        std::fs::remove_file(object).unwrap();
        assert_eq!(state().await, JobState::Done, "not read again");
        let error = asked.get_artifact(&digest).await.unwrap_err();
        assert_eq!(error.answer(), Answer::ArtifactLost, "{error}");
        let view = asked.jobs(std::slice::from_ref(&job.id)).await.unwrap().remove(0);
        assert_eq!((view.state, view.result), (JobState::Ready, None));
    }
    writer.stop().await;
    reader.stop().await;
}

/// Fault: two replicas with a directory each over one database. The second does not serve, and says which store it needs;
/// `adopt` makes its store the database's.
#[tokio::test]
async fn a_replica_with_another_store_is_refused() {
    let schema = TestSchema::new().await;
    let first = schema.store().await;
    first.join_objects().await.unwrap();
    schema.store().await.join_objects().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let other = schema.store_with(Objects::in_directory(dir.path()).unwrap()).await;
    for identity in ["none", "another"] {
        if identity == "another" {
            other.objects().identify().await.unwrap();
        }
        let error = other.join_objects().await.unwrap_err();
        assert_eq!(error.code(), "BRK-061", "{identity}: {error}");
        let name = schema.objects().display().to_string();
        assert!(error.to_string().contains(&name), "{error}");
    }
    other.adopt_objects().await.unwrap();
    other.join_objects().await.unwrap();
    assert_eq!(first.probe_objects().await.unwrap_err().code(), "BRK-061");
    let record = other.audit(None, &AuditQuery::default()).await.unwrap().entries;
    assert_eq!(
        (record[0].by.as_str(), record[0].action.as_str()),
        ("database", "adopt object store")
    );
}

/// Fault: two databases over one store. Both have folders of the same names, and each would delete the other's
/// artifacts. The second does not serve, and leaves the choice open. Brokers of one database that start at once are no
/// such case.
#[tokio::test]
async fn a_store_of_another_database_is_refused() {
    let (mine, others) = (TestSchema::new().await, TestSchema::new().await);
    let (first, second) = (mine.store().await, mine.store().await);
    let (a, b) = tokio::join!(first.join_objects(), second.join_objects());
    a.unwrap();
    b.unwrap();
    let objects = || Objects::in_directory(mine.objects()).unwrap();
    let other = others.store_with(objects()).await;
    let error = other.join_objects().await.unwrap_err();
    assert_eq!(error.code(), "BRK-066", "{error}");
    assert!(error.to_string().contains(&mine.objects().display().to_string()), "{error}");
    // With a store of its own it serves.
    others.store().await.join_objects().await.unwrap();
    // Or its database was lost, and the artifacts are its own.
    let lost = TestSchema::new().await.store_with(objects()).await;
    lost.adopt_objects().await.unwrap();
    lost.join_objects().await.unwrap();
}

/// Goal: one upload of a large body costs two parts of memory, not its length. Method: a body beyond the limit is rejected
/// while it is being sent, without a length in front, and nothing is left of it.
#[tokio::test]
async fn a_body_without_a_length_is_stored_in_parts_and_bounded() {
    let schema = TestSchema::new().await;
    let config = Config { artifact_bytes_max: 3 * PART_BYTES, ..Config::default() };
    let broker = schema.broker_with(config).await;
    let client = broker.client();
    let whole = body(3 * PART_BYTES, 4);
    for (bytes, status) in [(whole.clone(), 204), (body(3 * PART_BYTES + 1, 5), 413)] {
        let digest = Digest::of(&bytes);
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            bytes.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let frames = futures_util::StreamExt::map(futures_util::stream::iter(chunks), |chunk| {
            chunk.map(hyper::body::Frame::data)
        });
        let body = reqwest::Body::wrap(http_body_util::StreamBody::new(frames));
        let url = format!("http://{}/v1/artifacts/{digest}?epoch=7", broker.address);
        let request = rollmill_service::untimed_http_client().put(url).body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let is_there = client.get_artifact(&digest).await.is_ok();
        assert_eq!(is_there, status == 204);
    }
    let folder = std::fs::read_dir(schema.objects().join("default/7")).unwrap();
    let names: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [Digest::of(&whole).to_string().as_str()]);
    assert!(whole.len() > ROW_ARTIFACT_BYTES_MAX);
    broker.stop().await;
}
