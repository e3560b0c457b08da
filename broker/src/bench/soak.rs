//! `rollmill-broker bench --soak-minutes N`: epochs that come, are closed and are deleted, for as long as asked, and whether
//! what the brokers keep stays flat meanwhile.
//!
//! A line is flat if it does not grow: the straight line that fits its samples best, without those of the first third, rises
//! from its first to its last sample by no more than [`GROWTH`] of the mean, or by no more than a slack that depends on what
//! is measured.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rollmill_broker::{BrokerError, Config};
use rollmill_broker_client::{Client, EpochOutcome, JobState, Options};
use rollmill_service::Outcome;

use super::load::{self, Load, Plan};
use super::server::Servers;
use super::stats::{self, Held};

/// Pause between two samples.
const SAMPLE: Duration = Duration::from_secs(5);
/// Rows of the table.
const ROWS: usize = 24;
/// Samples that say something about a line.
const SAMPLES_MIN: usize = 6;
/// Growth of a flat line, as a share of its mean.
const GROWTH: f64 = 0.10;
/// Every so many epochs one has artifacts in the object store.
const LARGE_EVERY: u64 = 4;
const LARGE_BYTES: usize = 300_000;
const LARGE_JOBS: usize = 40;
/// Retention of the brokers of a soak: an epoch is gone half a minute after it was closed, and forgotten a minute later.
pub(super) const RETENTION: [&str; 6] =
    ["--keep-final-seconds", "30", "--epoch-grace-seconds", "15", "--tombstone-seconds", "60"];

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Database,
    Disk,
    Memory,
    Dead,
    Live,
    Kept,
}

impl Line {
    const ALL: [Self; 6] =
        [Self::Database, Self::Disk, Self::Memory, Self::Dead, Self::Live, Self::Kept];

    const fn name(self) -> &'static str {
        match self {
            Self::Database => "database, MB",
            Self::Disk => "disk, MB",
            Self::Memory => "broker memory, MB",
            Self::Dead => "dead rows",
            Self::Live => "live rows",
            Self::Kept => "artifacts, MB",
        }
    }

    /// Growth that is no trend, whatever the mean: a segment of WAL, an allocator's arena, what one epoch leaves.
    const fn slack(self) -> f64 {
        match self {
            Self::Database => 24.0,
            Self::Disk => 64.0,
            Self::Memory => 16.0,
            Self::Dead | Self::Live => 20_000.0,
            Self::Kept => 24.0,
        }
    }

    fn of(self, sample: &Sample) -> f64 {
        match self {
            Self::Database => sample.held.database_bytes / 1e6,
            Self::Disk => sample.disk_bytes / 1e6,
            Self::Memory => sample.memory_bytes / 1e6,
            Self::Dead => sample.held.dead_rows,
            Self::Live => sample.held.live_rows,
            Self::Kept => sample.held.artifact_bytes / 1e6,
        }
    }
}

/// One look at everything.
#[derive(Clone, Debug)]
struct Sample {
    seconds: f64,
    jobs: u64,
    held: Held,
    disk_bytes: f64,
    memory_bytes: f64,
}

/// What a line did.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Trend {
    mean: f64,
    /// Of the fitted line, from the first to the last sample.
    growth: f64,
}

/// The trend of samples `(seconds, value)`; nothing for too few.
fn trend(samples: &[(f64, f64)]) -> Option<Trend> {
    let counted = &samples[samples.len() / 3..];
    if counted.len() < SAMPLES_MIN {
        return None;
    }
    let count = counted.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| counted.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|s| s.0), mean(|s| s.1));
    let above: f64 = counted.iter().map(|s| (s.0 - x) * (s.1 - y)).sum();
    let below: f64 = counted.iter().map(|s| (s.0 - x).powi(2)).sum();
    let slope = if below > 0.0 { above / below } else { 0.0 };
    let span = counted[counted.len() - 1].0 - counted[0].0;
    Some(Trend { mean: y, growth: slope * span })
}

impl Trend {
    fn is_flat(self, slack: f64) -> bool {
        self.growth <= (GROWTH * self.mean).max(slack)
    }
}

/// Runs the soak and prints its table.
///
/// # Errors
/// [`BrokerError::Bench`] when a line is not flat, a job was lost, or there were too few samples; errors of the brokers
/// and of the database.
pub(super) async fn run(config: &Config, plan: Plan, minutes: u64, replicas: usize) -> Outcome {
    let servers = Servers::start(config, replicas, &RETENTION).await?;
    let done = soak(config, plan, Duration::from_secs(60 * minutes), &servers).await;
    servers.stop().await;
    let (samples, lost) = done?;
    print!("{}", table(&samples));
    let mut wrong = Vec::new();
    if lost > 0 {
        wrong.push(format!("{lost} jobs lost"));
    }
    for line in Line::ALL {
        let values: Vec<(f64, f64)> = samples.iter().map(|s| (s.seconds, line.of(s))).collect();
        match trend(&values) {
            None => wrong.push(format!("too few samples of {}; soak for longer", line.name())),
            Some(trend) => {
                let verdict = if trend.is_flat(line.slack()) { "flat" } else { "NOT FLAT" };
                println!(
                    "{}: {verdict}; mean {:.1}, growth {:+.1} after the first third",
                    line.name(),
                    trend.mean,
                    trend.growth
                );
                if !trend.is_flat(line.slack()) {
                    wrong.push(format!("{} grows", line.name()));
                }
            }
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(BrokerError::Bench { reason: wrong.join("; ") }.into()),
    }
}

/// Epoch after epoch until the time is over; returns the samples and how many jobs were not done.
async fn soak(
    config: &Config,
    plan: Plan,
    time: Duration,
    servers: &Servers,
) -> Result<(Vec<Sample>, u64), rollmill_service::Failure> {
    let options = Options { patience: Duration::from_secs(20), timeout: Duration::from_secs(60) };
    let clients: Result<Vec<Client>, _> =
        servers.urls().iter().map(|url| Client::new(url, None, options.clone())).collect();
    let clients = clients?;
    let mut database = stats::connect(config, Some(servers)).await?;
    let first = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let start = Instant::now();
    let (mut samples, mut jobs, mut lost) = (Vec::new(), 0, 0);
    for number in 0.. {
        let is_large = number % LARGE_EVERY == LARGE_EVERY - 1;
        let plan = match is_large {
            true => Plan { jobs: LARGE_JOBS, artifact_bytes: LARGE_BYTES, ..plan },
            false => plan,
        };
        let load = Arc::new(Load::prepare(plan, clients.clone(), first + number).await?);
        load::drive(&load, None).await?;
        let done = load.views().await?.iter().filter(|view| view.state == JobState::Done).count();
        jobs += plan.jobs as u64;
        lost += (plan.jobs - done) as u64;
        clients[0].close_epoch(load.epoch(), EpochOutcome::Final, None).await?;
        let is_due = samples.last().is_none_or(|last: &Sample| {
            start.elapsed().as_secs_f64() - last.seconds >= SAMPLE.as_secs_f64()
        });
        if is_due {
            let held = stats::held(&mut database).await?.unwrap_or_default();
            let memory = servers.usage().iter().map(|usage| usage.memory_bytes as f64).sum();
            samples.push(Sample {
                seconds: start.elapsed().as_secs_f64(),
                jobs,
                held,
                disk_bytes: bytes_below(servers.folder()) as f64,
                memory_bytes: memory,
            });
        }
        if start.elapsed() >= time {
            break;
        }
    }
    Ok((samples, lost))
}

/// Bytes of the files below a directory. One that goes away meanwhile is not counted.
fn bytes_below(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(of).sum()
}

/// The samples in Markdown, at most [`ROWS`] of them.
fn table(samples: &[Sample]) -> String {
    let mut text = String::from("| minutes | jobs |");
    for line in Line::ALL {
        let _ = write!(text, " {} |", line.name());
    }
    text.push_str("\n| ---: | ---: |");
    text.push_str(&" ---: |".repeat(Line::ALL.len()));
    text.push('\n');
    let every = samples.len().div_ceil(ROWS).max(1);
    let last = samples.len().saturating_sub(1);
    for (n, sample) in samples.iter().enumerate() {
        if n % every != 0 && n != last {
            continue;
        }
        let _ = write!(text, "| {:.1} | {} |", sample.seconds / 60.0, sample.jobs);
        for line in Line::ALL {
            let _ = write!(text, " {:.1} |", line.of(sample));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(of: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
        (0..60).map(|n| (f64::from(n) * 5.0, of(f64::from(n)))).collect()
    }

    /// Goal: a leak is found, and neither a warm-up nor a saw is taken for one.
    #[test]
    fn what_grows_is_not_flat_and_a_warm_up_or_a_saw_is() {
        let is_flat = |of: fn(f64) -> f64| trend(&samples(of)).unwrap().is_flat(1.0);
        assert!(is_flat(|_| 100.0));
        assert!(is_flat(|n| 100.0 + (n % 6.0)));
        assert!(is_flat(|n| 100.0 * (1.0 - (-n / 4.0).exp())));
        assert!(is_flat(|n| 100.0 - n));
        assert!(!is_flat(|n| 100.0 + n));
        assert!(!is_flat(|n| 100.0 + n + 7.0 * (n % 5.0)));
        assert!(!is_flat(|n| if n < 40.0 { 100.0 } else { 160.0 }));
    }

    #[test]
    fn too_few_samples_say_nothing() {
        assert_eq!(trend(&samples(|_| 1.0)[..6]), None);
        assert!(trend(&samples(|_| 1.0)[..9]).is_some());
    }
}
