//! The broker's process: serve, and look after what is served.

mod access;
mod bench;
mod cli;
mod commands;
mod doctor;

use std::process::ExitCode;
use std::str::FromStr;

use commands::Commands;
use rollmill_broker::embedded::{Options, PrivatePostgres};
use rollmill_broker::store::Store;
use rollmill_broker::{BrokerError, Config};
use rollmill_broker_client::{AuditQuery, ClientError};
use rollmill_service::{Failure, Outcome, Process, Service};
use sqlx::postgres::PgConnectOptions;

fn main() -> ExitCode {
    Service::new(env!("CARGO_BIN_NAME"))
        .about("Queue proof jobs on PostgreSQL and lease them to agents")
        .usage(BrokerError::is_usage)
        .usage(ClientError::is_usage)
        .run_checked(cli::checks, |process: Process<Config>, command| async move {
            match command {
                None | Some(Commands::Serve) => serve(process).await,
                Some(Commands::Migrate) => {
                    let (store, postgres) = open_database(&process.config).await?;
                    store.migrate().await?;
                    store.check().await?;
                    println!("the schema is up to date");
                    close(store, postgres).await;
                    Ok(())
                }
                Some(Commands::AdoptStore) => {
                    let (store, postgres) = open(&process.config).await?;
                    let adopted = async {
                        store.migrate().await?;
                        store.adopt_objects().await
                    };
                    let adopted = adopted.await;
                    let name = store.objects().name().to_owned();
                    close(store, postgres).await;
                    adopted?;
                    println!("the database's object store is {name}");
                    Ok(())
                }
                Some(Commands::Tokens(command)) => access::tokens(&process.config, command).await,
                Some(Commands::Audit { before, limit, output }) => {
                    let query = AuditQuery { before, limit };
                    access::audit(&process.config, &query, output.json).await
                }
                Some(Commands::Bench(bench)) => bench::run(&process.config, &bench).await,
                Some(Commands::Doctor) => doctor::run(&process.config).await,
                Some(Commands::Ask(request)) => cli::ask(&process.config, request).await,
            }
        })
}

async fn serve(process: Process<Config>) -> Outcome {
    // The port first: a second broker must say so before it touches the data.
    let listener = rollmill_service::listen(&process.config.listen, "--listen").await?;
    // The private Postgres may wait for its predecessor; one that is told to end meanwhile does.
    let (store, postgres) = tokio::select! {
        opened = open(&process.config) => opened?,
        () = process.shutdown.started() => return Ok(()),
    };
    // It waits for a backup, which takes as long as it takes.
    tokio::select! {
        migrated = store.migrate() => migrated?,
        () = process.shutdown.started() => {
            close(store, postgres).await;
            return Ok(());
        }
    }
    let served = match &postgres {
        None => rollmill_broker::serve(&process, store.clone(), listener).await,
        Some(postgres) => {
            tracing::info!(version = postgres.version(), "private PostgreSQL started");
            // Nobody else can reach this database while the broker runs.
            let operator = access::OperatorToken::create(&process.config)?;
            let secret = Some(operator.secret());
            tokio::select! {
                served = rollmill_broker::serve_with_operator(&process, store.clone(), listener, secret) => served,
                () = postgres.exited() => {
                    let log = process.config.data_dir.join("postgres.log");
                    Err(BrokerError::PostgresEnded { log: log.display().to_string() }.into())
                }
            }
        }
    };
    close(store, postgres).await;
    served
}

/// Opens the object store, and connects to the database named, or starts the private one.
async fn open(config: &Config) -> Result<(Store, Option<PrivatePostgres>), Failure> {
    // Before a server is started for nothing.
    let objects = config.objects()?;
    let (options, postgres) = server(config).await?;
    Ok((Store::connect(options, objects, config.rules()).await?, postgres))
}

/// As [`open`], for what needs no artifacts.
pub(crate) async fn open_database(
    config: &Config,
) -> Result<(Store, Option<PrivatePostgres>), Failure> {
    let (options, postgres) = server(config).await?;
    Ok((Store::connect_to_database(options, config.rules()).await?, postgres))
}

/// How to connect to the database named, or to the private one, which it starts.
async fn server(config: &Config) -> Result<(PgConnectOptions, Option<PrivatePostgres>), Failure> {
    if let Some(url) = &config.database_url {
        return Ok((database(url.reveal())?, None));
    }
    let postgres = PrivatePostgres::start(&Options {
        data_dir: config.data_dir.clone(),
        bin_dir: config.postgres_bin.clone(),
        throwaway: false,
    })
    .await?;
    Ok((postgres.connect_options(), Some(postgres)))
}

/// How to connect to the database at `url`.
pub(crate) fn database(url: &str) -> Result<PgConnectOptions, BrokerError> {
    let wrong = |reason: String| BrokerError::DatabaseUrl { reason };
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(wrong("it does not begin with postgres://".into()));
    }
    PgConnectOptions::from_str(url).map_err(|_| wrong("it cannot be read".into()))
}

/// Connections first, so that Postgres has none to wait for.
pub(crate) async fn close(store: Store, postgres: Option<PrivatePostgres>) {
    store.close().await;
    if let Some(postgres) = postgres {
        postgres.stop().await;
    }
}
