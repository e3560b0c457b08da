//! `rollmill-broker bench`: drives brokers over HTTP with many fake agents and reports what they did.
//!
//! Without `--url` it starts brokers of this program over a private PostgreSQL in a temporary directory,
//! so that anyone can repeat a figure. Counts (statements, commits, rows) do not depend on the machine;
//! seconds do, so the report names the profile and the cores.

mod hostile;
mod load;
mod server;
mod soak;
mod stats;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use rollmill_broker::{BrokerError, Config};
use rollmill_broker_client::{Client, JobState, Options};
use rollmill_service::{Outcome, values};
use serde::Serialize;

use hostile::Hostile;
use load::{Load, Plan};
use server::Servers;
use stats::Statistics;

/// Lease of a run that kills a broker.
const SHORT_LEASE: &str = "5";
/// Statements that are printed.
const STATEMENTS_SHOWN: usize = 12;

/// Flags of `rollmill-broker bench`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Bench {
    /// Jobs to enqueue, lease and complete
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = values::whole(1..=10_000_000_usize))]
    jobs: usize,
    /// Fake agents that long-poll, one job at a time each
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = values::whole(1..=9_000_usize))]
    agents: usize,
    /// Jobs enqueued per second, one per request; 0 enqueues in batches as fast as possible
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::whole(0..=100_000_u32))]
    rate: u32,
    /// Jobs per request while `--rate` is 0
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = values::whole(1..=1000_usize))]
    batch: usize,
    /// Size of each job's input and result, which agents then fetch and upload; 0 uses one result for all jobs
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = values::whole(0..=16_777_216_usize))]
    artifact_bytes: usize,
    /// Send a heartbeat with every Nth job of an agent; 0 sends none
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = values::whole(0..=1_000_000_u32))]
    heartbeats: u32,
    /// Brokers to start, unless `--url` names a running one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::whole(1..=8_usize))]
    replicas: usize,
    /// Kill the first broker once half of the jobs are done; needs `--replicas` of 2 or more
    #[arg(long)]
    kill: bool,
    /// Connections to occupy beside those of the agents: silent, with half a head, or with a byte of a body each second
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::whole(0..=5_000_usize))]
    hostile: usize,
    /// Run epochs of `--jobs` jobs for this many minutes, each closed and deleted, and fail if memory, disk or database
    /// grow; 0 runs one
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = values::whole(0..=10_080_u64))]
    soak_minutes: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Bench {
    fn plan(&self) -> Plan {
        Plan {
            jobs: self.jobs,
            agents: self.agents,
            rate: self.rate,
            batch: self.batch,
            artifact_bytes: self.artifact_bytes,
            heartbeats: self.heartbeats,
        }
    }
}

/// What a run found.
#[derive(Debug, Serialize)]
struct Report {
    profile: &'static str,
    cores: usize,
    jobs: usize,
    agents: usize,
    replicas: usize,
    rate: u32,
    artifact_bytes: usize,
    /// From the first enqueue to the last completion.
    seconds: f64,
    lifecycles_per_second: f64,
    /// From sending the enqueue (with a rate: from its due time) to the grant at the agent.
    dispatch_ms: Option<load::Percentiles>,
    /// From sending a completion to its answer.
    complete_ms: Option<load::Percentiles>,
    /// From sending a heartbeat to its answer.
    heartbeat_ms: Option<load::Percentiles>,
    /// Hostile connections at a time, and how many of them the brokers closed.
    hostile: usize,
    hostile_closed: u64,
    /// Requests that were rejected or found no broker, by route and code.
    rejected: Vec<load::Rejected>,
    /// Completions answered `already_done`: a second agent worked on the job.
    already_done: u64,
    /// Jobs that are not done at the end. More than 0 fails the run.
    lost: usize,
    /// Jobs with more than one accepted completion in their history; absent without a database.
    twice: Option<u64>,
    /// Absent without a database.
    database: Option<Statistics>,
    /// CPU and memory of the brokers that this run started and did not kill.
    brokers: Vec<server::Usage>,
}

/// Runs the benchmark and prints its report.
///
/// # Errors
/// [`BrokerError::Bench`] when a job was lost or completed twice, or a heartbeat or completion rejected; errors of the
/// brokers and of the database.
pub(crate) async fn run(config: &Config, bench: &Bench) -> Outcome {
    if bench.kill && (bench.replicas < 2 || config.url.is_some()) {
        let reason =
            "--kill needs brokers of its own: --replicas 2 or more, and no --url".to_owned();
        return Err(BrokerError::Bench { reason }.into());
    }
    if bench.soak_minutes > 0 {
        if config.url.is_some() || bench.kill {
            let reason =
                "--soak-minutes needs brokers of its own: no --url, and no --kill".to_owned();
            return Err(BrokerError::Bench { reason }.into());
        }
        return soak::run(config, bench.plan(), bench.soak_minutes, bench.replicas).await;
    }
    // A run that kills a broker has a short lease, so that the grants in flight return soon.
    let settings: &[&str] = if bench.kill { &["--lease-seconds", SHORT_LEASE] } else { &[] };
    let servers = match config.url {
        Some(_) => None,
        None => Some(Servers::start(config, bench.replicas, settings).await?),
    };
    let done = measure(config, bench, servers.as_ref()).await;
    if let Some(servers) = servers {
        servers.stop().await;
    }
    let report = done?;
    match bench.json {
        true => println!("{}", serde_json::to_string(&report)?),
        false => print(&report),
    }
    let twice = report.twice.unwrap_or(0);
    let rejected: u64 = report
        .rejected
        .iter()
        .filter(|rejected| rejected.breaks_the_promise())
        .map(|rejected| rejected.count)
        .sum();
    if report.lost > 0 || twice > 0 || rejected > 0 {
        let reason = format!(
            "{} jobs lost, {twice} completed twice, and {rejected} heartbeats and completions rejected",
            report.lost
        );
        return Err(BrokerError::Bench { reason }.into());
    }
    Ok(())
}

async fn measure(
    config: &Config,
    bench: &Bench,
    servers: Option<&Servers>,
) -> Result<Report, rollmill_service::Failure> {
    let urls = servers.map_or_else(|| vec![config.url()], Servers::urls);
    // Refusals are what is counted here, so the client repeats nothing on its own.
    let options = Options { patience: Duration::ZERO, timeout: Duration::from_secs(60) };
    let token = config.token.as_ref().map(rollmill_service::Secret::reveal);
    let clients: Result<Vec<Client>, _> =
        urls.iter().map(|url| Client::new(url, token, options.clone())).collect();
    let mut database = stats::connect(config, servers).await?;
    // An epoch of its own, so that a run on a broker in use leaves its jobs alone.
    let epoch = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let load = Arc::new(Load::prepare(bench.plan(), clients?, epoch).await?);
    let before = stats::read(&mut database).await?;
    let usage_before = servers.map(Servers::usage).unwrap_or_default();

    let hostile = match bench.hostile {
        0 => None,
        count => Some(Hostile::start(&addresses(&urls).await?, count)),
    };
    let seconds = load::drive(&load, servers.filter(|_| bench.kill)).await?;
    let hostile_closed = hostile.as_ref().map_or(0, Hostile::closed);
    drop(hostile);

    let usage = servers.map(Servers::usage).unwrap_or_default();
    // One that was killed has no figures any more.
    let both = usage.into_iter().zip(usage_before).filter(|(end, _)| end.memory_bytes > 0);
    let brokers: Vec<_> = both.map(|(end, start)| end.since(start)).collect();
    let views = load.views().await?;
    let done = views.iter().filter(|view| view.state == JobState::Done).count();
    let twice = stats::completed_twice(&mut database, load.epoch()).await?;
    // A server keeps its counts until a connection ends or has been idle for a while.
    if let Some(servers) = servers {
        servers.stop_brokers().await;
    }
    let after = stats::read(&mut database).await?;
    if servers.is_none() {
        load.clean_up().await?;
    }
    Ok(Report {
        profile: if cfg!(debug_assertions) { "dev" } else { "release" },
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        jobs: bench.jobs,
        agents: bench.agents,
        replicas: urls.len(),
        rate: bench.rate,
        artifact_bytes: bench.artifact_bytes,
        seconds,
        lifecycles_per_second: bench.jobs as f64 / seconds,
        dispatch_ms: load.dispatch(),
        complete_ms: load.completion(),
        heartbeat_ms: load.heartbeats(),
        hostile: bench.hostile,
        hostile_closed,
        rejected: load.rejected(),
        already_done: load.already_done(),
        lost: bench.jobs - done,
        twice,
        database: before.zip(after).map(|(before, after)| after.since(before, bench.jobs)),
        brokers,
    })
}

/// Where the brokers of these URLs listen.
async fn addresses(urls: &[String]) -> Result<Vec<SocketAddr>, rollmill_service::Failure> {
    let mut found = Vec::new();
    for url in urls {
        // A hostile client needs no TLS to occupy a connection.
        let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or(host);
        found.extend(tokio::net::lookup_host(host).await?.next());
    }
    Ok(found)
}

fn print(report: &Report) {
    let Report { jobs, agents, seconds, .. } = report;
    println!(
        "{jobs} jobs, {agents} agents, {} brokers, {} profile, {} cores: {seconds:.2} s, {:.0} lifecycles/s",
        report.replicas, report.profile, report.cores, report.lifecycles_per_second
    );
    if report.hostile > 0 {
        println!(
            "{} hostile connections beside them; {} were closed and opened again",
            report.hostile, report.hostile_closed
        );
    }
    for (what, times) in [
        ("dispatch", &report.dispatch_ms),
        ("completion", &report.complete_ms),
        ("heartbeat", &report.heartbeat_ms),
    ] {
        if let Some(times) = times {
            println!(
                "{what}: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
                times.p50, times.p90, times.p99, times.max
            );
        }
    }
    println!("lost: {}, completed by two agents: {}", report.lost, report.already_done);
    for rejected in &report.rejected {
        let load::Rejected { route, code, count, of } = rejected;
        println!("rejected: {count} of {of} requests to {route} with {code}");
    }
    if let Some(database) = &report.database {
        println!(
            "per job: {:.2} commits, {} statements, {:.0} bytes of WAL; database {:.1} MB, {:+.1} MB",
            database.commits_per_job,
            database.statements_per_job.map_or_else(|| "unknown".into(), |n| format!("{n:.2}")),
            database.wal_bytes_per_job,
            database.bytes as f64 / 1e6,
            database.grown_bytes as f64 / 1e6,
        );
        for statement in database.statements.iter().take(STATEMENTS_SHOWN) {
            println!(
                "  {:>9} calls {:>9.3} ms mean  {}",
                statement.calls, statement.mean_ms, statement.name
            );
        }
    }
    for usage in &report.brokers {
        println!(
            "broker: {:.2} s CPU, {:.1} MB of memory, {:.1} MB at most",
            usage.cpu_seconds,
            usage.memory_bytes as f64 / 1e6,
            usage.memory_bytes_max as f64 / 1e6
        );
    }
}
