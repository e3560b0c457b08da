//! The subcommands that look after a broker.

use std::sync::Arc;
use std::time::Duration;

use rollmill_broker::Config;
use rollmill_broker::embedded::discover;
use rollmill_broker::store::Store;
use rollmill_broker::{BrokerError, Target};
use rollmill_broker_client::overview::device_of;
use rollmill_broker_client::{
    Answer, AttemptView, AutoscaleResponse, Client, ClientError, EpochView, JobId, JobState,
    JobView, ListQuery, Options, OutlookView, StatusResponse,
};
use rollmill_service::{Finding, Outcome, Preflight, one_line};

use crate::commands::{Agents, DeadLetters, Epochs, Request, State};

/// How long a check of the object store may take. It also runs at the start, which must not wait for a bucket.
const STORE_PATIENCE: Duration = Duration::from_secs(10);

/// Asks the running broker.
pub(crate) async fn ask(config: &Config, request: Request) -> Outcome {
    let role = match &request {
        Request::Pardon { .. } | Request::Agents(Agents::Drain { .. }) => "operator",
        Request::Epochs(Epochs::Close { .. } | Epochs::Open { .. })
        | Request::Epochs(Epochs::Drop { .. })
        | Request::Cancel { .. }
        | Request::DeadLetters(DeadLetters::Replay { .. } | DeadLetters::Drop { .. }) => {
            "producer or operator"
        }
        _ => "reader, producer or operator",
    };
    ask_of(&client(config)?, request).await.map_err(|failure| with_role(failure, role))
}

/// A rejected token, with the role that the command needs and the setting that names a token.
pub(crate) fn with_role(
    failure: rollmill_service::Failure,
    role: &str,
) -> rollmill_service::Failure {
    match failure.downcast_ref::<ClientError>() {
        Some(ClientError::Rejected { status: 401 | 403, .. }) => {
            format!("{failure}; give --token a token of role {role} (`rollmill-broker tokens add`)")
                .into()
        }
        _ => failure,
    }
}

async fn ask_of(client: &Client, request: Request) -> Outcome {
    match request {
        Request::Status { output } => {
            let status = client.status().await?;
            match output.json {
                true => println!("{}", serde_json::to_string(&status)?),
                false => print_status(&status),
            }
        }
        Request::Autoscale { output } => {
            let autoscale = client.autoscale().await?;
            match output.json {
                true => println!("{}", serde_json::to_string(&autoscale)?),
                false => print_autoscale(&autoscale),
            }
        }
        Request::Jobs { state, epoch, label, limit, output } => {
            let state = state.map(|State(state)| state);
            let query = ListQuery { state, epoch, label, limit, before: None };
            print_jobs(&client.list(&query).await?, output.json)?;
        }
        Request::History { id, output } => {
            let history = client.history(&id).await?;
            match output.json {
                true => println!("{}", serde_json::to_string(&history)?),
                false => print_history(&history.attempts),
            }
        }
        Request::Cancel { ids } => println!("{} cancelled", client.cancel(&ids).await?),
        Request::Pardon { agent } => {
            if client.pardon(&agent).await? == 0 {
                return Err(BrokerError::NotQuarantined { agent }.into());
            }
        }
        Request::Agents(Agents::Drain { agent, undo }) => {
            if !client.drain(&agent, undo).await? {
                return Err(BrokerError::UnknownAgent { agent }.into());
            }
            println!("{agent} {}", if undo { "gets jobs again" } else { "is asked to leave" });
        }
        Request::Epochs(Epochs::List { output }) => {
            print_epochs(&client.epochs().await?, output.json)?
        }
        Request::Epochs(Epochs::Close { epoch, outcome }) => {
            print_epochs(&[client.close_epoch(epoch, outcome.into(), None).await?], false)?;
        }
        Request::Epochs(Epochs::Open { epoch }) => {
            print_epochs(&[client.open_epoch(epoch).await?], false)?;
        }
        Request::Epochs(Epochs::Drop { epoch }) => {
            let jobs = client.drop_epoch(epoch).await?;
            println!("epoch {epoch} is deleted, and {jobs} jobs with it");
        }
        Request::DeadLetters(command) => dead_letters(client, command).await?,
    }
    Ok(())
}

async fn dead_letters(client: &Client, command: DeadLetters) -> Outcome {
    let (ids, is_replay) = match command {
        DeadLetters::List { output } => {
            let query = ListQuery { state: Some(JobState::Dead), ..ListQuery::default() };
            return print_jobs(&client.list_all(&query).await?, output.json);
        }
        DeadLetters::Replay { ids } => (ids, true),
        DeadLetters::Drop { ids } => (ids, false),
    };
    let (dead, others) = split_dead(client, ids).await?;
    let count = match is_replay {
        _ if dead.is_empty() => 0,
        true => client.replay(&dead).await?,
        false => client.drop_dead(&dead).await?,
    };
    println!("{count} {}", if is_replay { "replayed" } else { "dropped" });
    match others.is_empty() {
        true => Ok(()),
        false => Err(BrokerError::NotDead { ids: others.join(", ") }.into()),
    }
}

/// The ids of dead letters among `ids`, and each other one with what it is.
async fn split_dead(
    client: &Client,
    ids: Vec<JobId>,
) -> Result<(Vec<JobId>, Vec<String>), ClientError> {
    let jobs = client.jobs(&ids).await?;
    let state = |id: &JobId| jobs.iter().find(|job| job.id == *id).map(|job| job.state);
    let (dead, others): (Vec<_>, Vec<_>) =
        ids.into_iter().partition(|id| state(id) == Some(JobState::Dead));
    let shown = |id: &JobId| format!("{id} ({})", state(id).map_or("unknown", JobState::as_str));
    let others = others.iter().map(shown).collect();
    Ok((dead, others))
}

/// What the broker needs, checked at its start and by `check`. Creates and changes nothing.
pub(crate) fn checks(config: &Config) -> Preflight {
    let config = Arc::new(config.clone());
    let [dir, database, objects] = std::array::from_fn(|_| Arc::clone(&config));
    Preflight::new()
        .check("data_dir", move || {
            std::future::ready(Finding::of_directory(&dir.data_dir, "--data-dir"))
        })
        .needed("database", move || {
            let config = Arc::clone(&database);
            async move { database_of(&config).await }
        })
        .check("object_store", move || {
            let config = Arc::clone(&objects);
            async move { objects_of(&config).await }
        })
}

/// Whether large artifacts can be stored. A bucket is asked for its identity, which writes nothing.
async fn objects_of(config: &Config) -> Finding {
    let Some(address) = &config.object_store else {
        return Finding::Ok("in data_dir".to_owned());
    };
    if let Some(directory) = address.directory() {
        return Finding::of_directory(directory, "--object-store");
    }
    let asked = async { config.objects()?.identity().await };
    let todo = "Check --object-store, --object-store-endpoint and the bucket's credentials";
    match tokio::time::timeout(STORE_PATIENCE, asked).await {
        Ok(Ok(_)) => Finding::Ok(address.as_str().to_owned()),
        Ok(Err(error @ BrokerError::Objects { .. })) => Finding::absent(&error).todo(todo),
        Ok(Err(error)) => Finding::wrong(&error),
        Err(_) => {
            let why = format!("{} did not answer in {STORE_PATIENCE:?}", address.as_str());
            Finding::Absent { why, todo: todo.to_owned() }
        }
    }
}

async fn database_of(config: &Config) -> Finding {
    let Some(url) = &config.database_url else {
        return match discover(config.postgres_bin.as_deref(), &config.data_dir) {
            Ok(found) => Finding::Ok(format!("private, {}", found.version)),
            Err(error) => Finding::wrong(&error),
        };
    };
    let checked = async {
        let (store, target) = connect(config, url.reveal()).await?;
        let release = store.check_release().await;
        store.pool().close().await;
        release.map(|()| target)
    };
    match checked.await {
        Ok(target) => Finding::Ok(target.to_string()),
        Err(error @ BrokerError::Connect { is_absent: true, .. }) => Finding::absent(&error),
        Err(error) => Finding::wrong(&error),
    }
}

pub(crate) async fn connect(config: &Config, url: &str) -> Result<(Store, Target), BrokerError> {
    let options = super::database(url)?;
    let target = Target::of(&options);
    Ok((Store::connect_to_database(options, config.rules()).await?, target))
}

pub(crate) async fn check_schema(store: &Store) -> Result<String, String> {
    let checked = store.check().await.map(|()| "current".to_owned());
    checked.map_err(|error| match &error {
        BrokerError::SchemaNewer { .. } | BrokerError::ServerTooOld { .. } => one_line(&error),
        _ => format!("{}; run `rollmill-broker migrate`", one_line(&error)),
    })
}

/// What the answer of the broker's address says, and whether a broker runs there: nobody there, there
/// and rejecting the token, there without its database, something else there, or all is well.
pub(crate) fn ask_broker(
    url: &str,
    answer: Result<StatusResponse, ClientError>,
) -> (Result<String, String>, bool) {
    let error = match answer {
        Ok(status) => {
            let text = format!("answers at {url}, {} agents", status.agents.len());
            return (Ok(text), true);
        }
        Err(error) => error,
    };
    let rejected = error.answer() == Answer::TokenRejected;
    match error {
        ClientError::Unreachable(error) => {
            (Ok(format!("none answers at {url} ({})", error.reason)), false)
        }
        ClientError::Rejected { message, .. } if rejected => {
            let text = format!("runs at {url} and rejects the token ({message}); set --token");
            (Err(text), true)
        }
        ClientError::Unavailable { message, .. } => {
            (Err(format!("runs at {url} and cannot serve: {message}")), true)
        }
        ClientError::NotABroker { status, .. } => (
            Err(format!(
                "something else than a broker answers at {url} (status {status}); set --url"
            )),
            false,
        ),
        other => (Err(format!("runs at {url}: {}", one_line(&other))), true),
    }
}

/// Whether the directory can be written, or made.
pub(crate) fn check_directory(path: &std::path::Path) -> Result<String, String> {
    let shown = path.display();
    let absolute = std::path::absolute(path)
        .map_err(|error| format!("{shown}: {}", rollmill_errors::InWords(&error)))?;
    // The nearest directory that exists decides.
    let Some(existing) = absolute.ancestors().find(|above| above.exists()) else {
        return Err(format!("{shown}: no directory above it exists"));
    };
    let access = nix::unistd::access(existing, nix::unistd::AccessFlags::W_OK);
    match access {
        Ok(()) if existing == absolute => Ok(shown.to_string()),
        Ok(()) => Ok(format!("{shown}, made at the first start")),
        Err(error) => Err(format!("{}: {}", existing.display(), error.desc())),
    }
}

/// The broker of the settings, or else the one of this machine with the secret that its data directory has. That secret
/// goes to no broker that the settings name: it may be another one.
pub(crate) fn client(config: &Config) -> Result<Client, rollmill_service::Failure> {
    match &config.token {
        Some(token) => client_with(config, Some(token.reveal())),
        None if config.url.is_some() => client_with(config, None),
        None => client_with(config, crate::access::secret_of_data_dir(config).as_deref()),
    }
}

pub(crate) fn client_with(
    config: &Config,
    token: Option<&str>,
) -> Result<Client, rollmill_service::Failure> {
    let options = Options { patience: Duration::ZERO, ..Options::default() };
    Ok(Client::new(&config.url(), token, options)?)
}

fn print_epochs(epochs: &[EpochView], json: bool) -> Outcome {
    if json {
        println!("{}", serde_json::to_string(epochs)?);
        return Ok(());
    }
    println!(
        "{:<12} {:>10} {:<8} {:<11} {:<19}",
        "EPOCH", "GENERATION", "STATE", "OUTCOME", "CLOSED"
    );
    for view in epochs {
        let outcome = view.outcome.map_or("-", |outcome| outcome.as_str());
        let closed = view.closed_unix_ms.map_or_else(|| "-".to_owned(), utc);
        let EpochView { epoch, generation, state, .. } = view;
        println!("{epoch:<12} {generation:>10} {:<8} {outcome:<11} {closed:<19}", state.as_str());
    }
    Ok(())
}

fn print_status(status: &StatusResponse) {
    for unable in &status.unable {
        println!(
            "no live agent can do {} of version {} (class {}): {} jobs, for {:.0} s",
            unable.kind, unable.version, unable.class, unable.jobs, unable.since_seconds
        );
    }
    for OutlookView { epoch, jobs, finish_in_seconds, deadline_in_seconds, at_risk } in
        &status.epochs
    {
        let finish = match finish_in_seconds {
            Some(seconds) => format!("in {seconds:.0} s"),
            None => "unknown, since no live agent can do one of them".to_owned(),
        };
        let deadline = deadline_in_seconds.map_or_else(
            || "no deadline, so it asks for one agent of each version and class".to_owned(),
            |seconds| {
                format!("deadline in {seconds:.0} s{}", if *at_risk { ", AT RISK" } else { "" })
            },
        );
        println!("epoch {epoch}: {jobs} unfinished jobs, expected end {finish}, {deadline}");
    }
    println!(
        "{:<20} {:<14} {:>5} {:<12} {:>8} {:>10}",
        "TYPE", "VERSION", "CLASS", "STATE", "JOBS", "OLDEST s"
    );
    for queue in &status.queue {
        let version: String = queue.version.chars().take(14).collect();
        println!(
            "{:<20} {version:<14} {:>5} {:<12} {:>8} {:>10.0}",
            queue.kind,
            queue.class,
            queue.state.as_str(),
            queue.count,
            queue.oldest_seconds
        );
    }
    println!("\n{:<32} {:>6} {:>10} {:>9}  DEVICE", "AGENT", "LEASES", "SEEN s", "REJECTED");
    for agent in &status.agents {
        let mark = match (agent.quarantined, &agent.draining_by) {
            (true, _) => " (quarantined)".to_owned(),
            (false, Some(by)) => format!(" (asked to leave by {by})"),
            (false, None) => String::new(),
        };
        println!(
            "{:<32} {:>6} {:>10.0} {:>9}  {}{mark}",
            agent.agent.as_str(),
            agent.leases,
            agent.last_seen_seconds,
            agent.rejected,
            device_of(&agent.info).as_deref().unwrap_or("-")
        );
    }
    println!("\n{} dead letters", status.dead_letters);
}

fn print_autoscale(autoscale: &AutoscaleResponse) {
    println!(
        "{:<14} {:>5} {:>8} {:>10} {:>6} {:>7}  TYPES",
        "VERSION", "CLASS", "JOBS", "SECONDS", "LIVE", "WANTED"
    );
    for pool in &autoscale.pools {
        let version: String = pool.version.chars().take(14).collect();
        println!(
            "{version:<14} {:>5} {:>8} {:>10.0} {:>6} {:>7}  {}{}",
            pool.class,
            pool.jobs,
            pool.seconds,
            pool.live,
            pool.wanted,
            pool.kinds.join(" "),
            if pool.measured { "" } else { " (durations not measured yet)" }
        );
    }
    println!("\n{} agents wanted, {} live", autoscale.wanted, autoscale.live);
    for class in autoscale.classes.iter().filter(|class| class.wanted > 0 || class.live > 0) {
        println!("class {}: {} wanted, {} live", class.class, class.wanted, class.live);
    }
    for agent in &autoscale.removable {
        println!("may be stopped: {agent}");
    }
    if !autoscale.removable.is_empty() {
        println!("ask each to leave first: rollmill-broker agents drain NAME");
    }
}

fn print_jobs(jobs: &[JobView], json: bool) -> Outcome {
    if json {
        println!("{}", serde_json::to_string(jobs)?);
        return Ok(());
    }
    println!(
        "{:<90} {:<12} {:>8} {:<20} {:>10}  LAST FAILURE",
        "ID", "STATE", "ATTEMPTS", "CREATED (UTC)", "SECONDS"
    );
    for job in jobs {
        let failure = job.failure.as_ref().map_or_else(String::new, |failure| {
            format!("{}: {}", failure.class.as_str(), failure.message)
        });
        println!(
            "{:<90} {:<12} {:>8} {:<20} {:>10}  {failure}",
            job.id.as_str(),
            job.state.as_str(),
            job.attempts,
            utc(job.created_unix_ms),
            between(job.created_unix_ms, job.finished_unix_ms),
        );
    }
    Ok(())
}

fn print_history(attempts: &[AttemptView]) {
    println!(
        "{:<20} {:<20} {:>10} {:>5} {:<32} {:<15} MESSAGE",
        "STARTED (UTC)", "ENDED (UTC)", "SECONDS", "LEASE", "AGENT", "OUTCOME"
    );
    for attempt in attempts {
        let message = attempt.failure.as_ref().map_or_else(String::new, |failure| {
            format!("{}: {}", failure.class.as_str(), failure.message)
        });
        println!(
            "{:<20} {:<20} {:>10} {:>5} {:<32} {:<15} {message}",
            utc(attempt.started_unix_ms),
            attempt.ended_unix_ms.map_or_else(|| "-".into(), utc),
            between(attempt.started_unix_ms, attempt.ended_unix_ms),
            attempt.lease_epoch.map_or_else(|| "-".into(), |epoch| epoch.to_string()),
            attempt.agent.as_str(),
            attempt.outcome,
        );
    }
}

/// Seconds from one time to a later one; a dash while there is none.
fn between(start_ms: u64, end_ms: Option<u64>) -> String {
    let seconds = |end: u64| format!("{:.1}", end.saturating_sub(start_ms) as f64 / 1000.0);
    end_ms.map_or_else(|| "-".into(), seconds)
}

/// A time as `2026-01-31 23:59:59`.
pub(crate) fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days in years that begin with March, so that a leap day ends its year; eras of 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + carry;
    let (hours, minutes, seconds) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{of_month:02} {hours:02}:{minutes:02}:{seconds:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_the_calendar_has_them() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (1_767_225_599, "2025-12-31 23:59:59"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(utc(seconds * 1000), text);
        }
    }

    #[test]
    fn a_rejected_token_is_told_with_the_role_that_the_command_needs() {
        let rejected = |status| ClientError::Rejected {
            status,
            broker_code: "BRK-023".into(),
            message: "a valid bearer token is required".into(),
        };
        for status in [401, 403] {
            let text = with_role(rejected(status).into(), "operator").to_string();
            assert!(text.starts_with("BRK-023: a valid bearer token"), "{text}");
            assert!(text.contains("--token") && text.contains("operator"), "{text}");
        }
        assert!(!with_role(rejected(404).into(), "operator").to_string().contains("--token"));
    }

    #[test]
    fn each_answer_of_the_brokers_address_is_told_apart() {
        let url = "http://x";
        let rejected = |status, code: &str| ClientError::Rejected {
            status,
            broker_code: code.into(),
            message: "a valid bearer token is required".into(),
        };
        let text = |error| ask_broker(url, Err(error));
        let (line, is_running) = text(rejected(401, "BRK-023"));
        assert!(line.unwrap_err().contains("rejects the token") && is_running);
        let unreachable = ClientError::Unavailable {
            url: url.into(),
            status: 503,
            broker_code: "BRK-001".into(),
            message: "database error".into(),
        };
        let (line, is_running) = text(unreachable);
        assert!(line.unwrap_err().contains("cannot serve: database error") && is_running);
        let (line, is_running) = text(ClientError::NotABroker { url: url.into(), status: 404 });
        assert!(line.unwrap_err().contains("something else") && !is_running);
    }
}
