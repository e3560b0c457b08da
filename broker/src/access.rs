//! The subcommands about tokens and the record: through the running broker, or on its database where none runs.

use std::path::PathBuf;

use rollmill_broker::store::{By, DATABASE, Store, Tenant, secret};
use rollmill_broker::{BrokerError, Config, FIRST_TOKEN_FILE, OPERATOR_TOKEN_FILE, write_secret};
use rollmill_broker_client::{
    AuditQuery, AuditView, Client, ClientError, Rotation, TokenLabel, TokenSecret, TokenState,
    TokenView,
};
use rollmill_service::{Failure, Outcome, Secret};

use crate::cli::{client_with, utc, with_role};
use crate::commands::{Tokens, days};

/// The secret of whoever can read the data directory, in a file there while a broker runs. It opens no other broker, and
/// none after this one has ended.
pub(crate) struct OperatorToken {
    path: PathBuf,
    secret: String,
}

impl OperatorToken {
    /// Writes the file anew; only this user can read it.
    pub(crate) fn create(config: &Config) -> Result<Self, BrokerError> {
        let path = config.data_dir.join(OPERATOR_TOKEN_FILE);
        let secret = secret()?;
        write_secret(&path, &secret)?;
        Ok(Self { path, secret })
    }

    /// What opens the broker.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }
}

impl Drop for OperatorToken {
    fn drop(&mut self) {
        // One that stays opens nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The secret that the broker of the data directory left there for whoever can read it: the one of this run, which only
/// a broker with a private database writes, or that of the first token.
pub(crate) fn secret_of_data_dir(config: &Config) -> Option<String> {
    let own = config.database_url.is_none().then_some(OPERATOR_TOKEN_FILE);
    let mut files = own.into_iter().chain([FIRST_TOKEN_FILE]);
    let read = |file: &str| std::fs::read_to_string(config.data_dir.join(file)).ok();
    files.find_map(read).map(|secret| secret.trim().to_owned())
}

/// The running broker with the secret of its data directory; [`None`] where there is none.
fn of_data_dir(config: &Config) -> Result<Option<Client>, Failure> {
    match secret_of_data_dir(config) {
        Some(secret) => client_with(config, Some(&secret)).map(Some),
        None => Ok(None),
    }
}

/// Whom the settings name: `--url` and `--token` a broker.
fn of_settings(config: &Config) -> Result<Option<Client>, Failure> {
    if config.url.is_none() && config.token.is_none() {
        return Ok(None);
    }
    client_with(config, config.token.as_ref().map(Secret::reveal)).map(Some)
}

/// Whether the error says that the file is left of a broker that ended.
fn is_nobody(failure: &Failure) -> bool {
    matches!(
        failure.downcast_ref::<ClientError>(),
        Some(
            ClientError::Unreachable(_)
                | ClientError::NotABroker { .. }
                | ClientError::Rejected { status: 401, .. }
        )
    )
}

pub(crate) async fn tokens(config: &Config, command: Tokens) -> Outcome {
    if let Some(client) = of_settings(config)? {
        let asked = ask(&client, &command).await;
        return asked.map_err(|failure| with_role(failure, "operator"));
    }
    if config.database_url.is_none()
        && let Some(client) = of_data_dir(config)?
    {
        match ask(&client, &command).await {
            Err(failure) if is_nobody(&failure) => {}
            done => return done,
        }
    }
    // Only `add` creates the database: a token is added before the first start.
    if !matches!(command, Tokens::Add { .. })
        && config.database_url.is_none()
        && !config.data_dir.join("pg").exists()
    {
        let folder = config.data_dir.display().to_string();
        return Err(BrokerError::NoDatabase { folder }.into());
    }
    let (store, postgres) = crate::open_database(config).await?;
    let done = change(&store, &command).await;
    crate::close(store, postgres).await;
    done
}

/// Through a broker.
async fn ask(client: &Client, command: &Tokens) -> Outcome {
    match command {
        Tokens::Add(new) => print_secret(&client.add_token(&new.to_wire()).await?),
        Tokens::List { output } => print_tokens(&client.tokens().await?, output.json)?,
        Tokens::Rotate { label, overlap_seconds, valid_days } => {
            let how = how(*overlap_seconds, *valid_days);
            print_secret(&client.rotate_token(label, &how).await?);
        }
        Tokens::Revoke { label } => client.revoke_token(label).await?,
        Tokens::Resume { label } => resumed(client.resume_token(label).await? == 1, label)?,
    }
    Ok(())
}

/// On the database.
async fn change(store: &Store, command: &Tokens) -> Outcome {
    store.migrate().await?;
    let tenant = Tenant::default();
    let by = By { tenant: &tenant, label: DATABASE };
    match command {
        Tokens::Add(new) => print_secret(&store.create_token(by, &new.to_wire()).await?),
        Tokens::List { output } => print_tokens(&store.tokens(None).await?, output.json)?,
        Tokens::Rotate { label, overlap_seconds, valid_days } => {
            let how = how(*overlap_seconds, *valid_days);
            print_secret(&store.rotate_token(by, None, label, &how).await?);
        }
        Tokens::Revoke { label } => store.revoke_token(by, None, label).await?,
        Tokens::Resume { label } => resumed(store.resume_token(by, None, label).await?, label)?,
    }
    Ok(())
}

fn how(overlap_seconds: u64, valid_days: Option<u64>) -> Rotation {
    Rotation { overlap_seconds, valid_seconds: days(valid_days) }
}

fn resumed(was_suspended: bool, label: &TokenLabel) -> Outcome {
    match was_suspended {
        true => Ok(()),
        false => Err(BrokerError::NotSuspended { label: label.as_str().to_owned() }.into()),
    }
}

fn print_secret(secret: &TokenSecret) {
    match secret.token.is_empty() {
        true => println!("{} has no secret: a client's certificate stands for it", secret.label),
        false => println!("{}", secret.token),
    }
}

fn print_tokens(tokens: &[TokenView], json: bool) -> Outcome {
    if json {
        println!("{}", serde_json::to_string(tokens)?);
        return Ok(());
    }
    for token in tokens {
        let agent = token.agent.as_ref().map_or("-", |agent| agent.as_str());
        let end = token.expires_unix_ms.map_or_else(|| "-".to_owned(), utc);
        let also = token.previous_until_unix_ms.filter(|_| token.state == TokenState::Valid);
        let also = also.map_or_else(String::new, |at| format!("\tsecret before until {}", utc(at)));
        let name = token.certificate.as_ref();
        let name = name.map_or_else(String::new, |name| format!("\tcertificate {name}"));
        println!(
            "{}\t{}\t{}\t{}\t{agent}\t{end}{also}{name}",
            token.label, token.role, token.tenant, token.state
        );
    }
    Ok(())
}

pub(crate) async fn audit(config: &Config, query: &AuditQuery, json: bool) -> Outcome {
    let client = match of_settings(config)? {
        Some(client) => client,
        None => of_data_dir(config)?.map_or_else(|| client_with(config, None), Ok)?,
    };
    let asked = client.audit(query).await.map_err(Failure::from);
    let answer = asked.map_err(|failure| with_role(failure, "operator"))?;
    if json {
        println!("{}", serde_json::to_string(&answer)?);
        return Ok(());
    }
    println!(
        "{:>10} {:<20} {:<14} {:<20} {:<20} WHAT",
        "NUMBER", "AT (UTC)", "TENANT", "BY", "ACTION"
    );
    for AuditView { number, unix_ms, tenant, by, action, detail } in &answer.entries {
        println!("{number:>10} {:<20} {tenant:<14} {by:<20} {action:<20} {detail}", utc(*unix_ms));
    }
    if let Some(last) = answer.entries.last().filter(|_| answer.more) {
        println!("there are older ones: --before {}", last.number);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_for_this_user_alone_and_goes_with_the_broker() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        let path = &dir.path().join(OPERATOR_TOKEN_FILE);
        std::fs::write(path, "left over, and readable by all").unwrap();
        let token = OperatorToken::create(&config).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), token.secret());
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(token);
        assert!(!path.exists());
    }

    /// Fault: a broker that had a private database left the file of its last run, which opens nothing now.
    #[test]
    fn the_secret_is_that_of_this_run_or_of_the_first_token() {
        let dir = tempfile::tempdir().unwrap();
        let private = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        let url = Some(Secret::generated("postgres://x"));
        let shared = Config { database_url: url, ..private.clone() };
        let found = secret_of_data_dir;
        assert_eq!((found(&private), found(&shared)), (None, None));
        let write = |file: &str, text: &str| std::fs::write(dir.path().join(file), text).unwrap();
        write(FIRST_TOKEN_FILE, "rm_first\n");
        let first = Some("rm_first".to_owned());
        assert_eq!((found(&private), found(&shared)), (first.clone(), first.clone()));
        write(OPERATOR_TOKEN_FILE, "rm_run");
        assert_eq!((found(&private), found(&shared)), (Some("rm_run".to_owned()), first));
    }
}
