//! The subcommands of `rollmill-pxe store`: a database file with several accounts.

use std::io::Read;

use rollmill_pxe::error::PxeError;
use rollmill_pxe::keys::Keys;
use rollmill_pxe::keystore;
use rollmill_pxe::stored;
use rollmill_pxe_store::{Account, Cost, Scope, Store, Zeroizing};
use rollmill_service::{Failure, Outcome, Secret};

use crate::cli::{Config, StoreCommand};
use crate::home;
use crate::prompt;

pub(crate) fn run(config: &Config, command: StoreCommand) -> Outcome {
    let path = config.store.as_ref().ok_or(PxeError::NoStore)?;
    if let StoreCommand::Create = command {
        let password = home::new_password(config, "new password of the store")?;
        let created = Store::create_with_account(path, &password, Cost::default(), "account");
        let (store, account) = created.map_err(PxeError::Store)?;
        return show(&store, account);
    }
    let password = home::password(config, "password of the store")?;
    let store = Store::open(path, &password).map_err(PxeError::Store)?;
    match command {
        StoreCommand::Create => Ok(()),
        StoreCommand::Accounts => list(&store),
        StoreCommand::Add { label, seed } => add(&store, seed, &label),
        StoreCommand::Phrase { seed } => {
            let phrase = store.seed_phrase(seed).map_err(PxeError::Store)?;
            println!("{}", *phrase);
            Ok(())
        }
        StoreCommand::Restore { accounts, label } => {
            let phrase = phrase()?;
            let restored = store.restore(&phrase, accounts, &label);
            let (seed, accounts) = restored.map_err(PxeError::Store)?;
            eprintln!("seed {seed}");
            accounts.into_iter().try_for_each(|account| show(&store, account))
        }
        StoreCommand::Import { label, keystore_password } => {
            import(config, &store, &label, keystore_password.as_ref())
        }
        StoreCommand::Password { new_password } => {
            let new = match new_password {
                Some(secret) => Zeroizing::new(secret.reveal().to_owned()),
                None => {
                    prompt::new_secret("new password of the store")?.ok_or(PxeError::NoPassword)?
                }
            };
            let changed = store.change_password(&password, &new, Cost::default());
            changed.map_err(PxeError::Store)?;
            eprintln!("password changed; copies of the file from before open with the old one");
            Ok(())
        }
    }
}

fn list(store: &Store) -> Outcome {
    for info in store.accounts().map_err(PxeError::Store)? {
        let address = stored::keys(store, info.account)?.address();
        let origin = match info.origin {
            Some((seed, index)) => format!("seed {seed}, index {index}"),
            None => "imported".to_owned(),
        };
        println!("{address}  {origin}  {}", info.label);
    }
    Ok(())
}

fn add(store: &Store, seed: u32, label: &str) -> Outcome {
    let account = store.add_account(seed, label).map_err(PxeError::Store)?;
    show(store, account)
}

fn show(store: &Store, account: Account) -> Outcome {
    println!("{}", stored::keys(store, account)?.address());
    Ok(())
}

/// A seed phrase from the terminal, or else from standard input.
fn phrase() -> Result<Zeroizing<String>, Failure> {
    if let Some(phrase) = prompt::secret("seed phrase")? {
        return Ok(phrase);
    }
    let mut phrase = Zeroizing::new(String::with_capacity(PHRASE_MAX));
    std::io::stdin().take(PHRASE_MAX as u64).read_to_string(&mut phrase)?;
    Ok(phrase)
}

/// Bytes of standard input that are read for a phrase.
const PHRASE_MAX: usize = 1024;

/// Takes the account of a keystore file into the store, with its state. The state file is renamed afterwards, so that
/// no command continues from the old copy: a tag that is used twice links two transfers.
fn import(config: &Config, store: &Store, label: &str, password: Option<&Secret>) -> Outcome {
    let password = || -> Result<Zeroizing<String>, Failure> {
        match password {
            Some(secret) => Ok(Zeroizing::new(secret.reveal().to_owned())),
            None => {
                let entered = prompt::secret("password of the keystore")?;
                Ok(entered.ok_or(PxeError::NoPassword)?)
            }
        }
    };
    let keys = home::read_keystore(&config.keystore, password)?;
    let path = home::state_path(config, &keys)?;
    let _lock = keystore::lock(&path.with_extension("lock"))?;
    let state = home::read_state(&path, &keys)?.map(Zeroizing::new);
    let plain = state.as_ref().map(|state| state.as_slice());
    // An import that was killed between this step and the new name below is finished by the next one.
    let is_imported = state.is_some() && kept(store, &keys)? == state;
    if !is_imported && let Err(error) = store.import(&keys.master(), label, plain) {
        if state.is_some() {
            eprintln!(
                "the store may have the newer state; the old one stays in {}",
                path.display()
            );
        }
        return Err(PxeError::Store(error).into());
    }
    if state.is_some() {
        let old = home::imported_path(&path);
        rollmill_files::rename(&path, &old)
            .map_err(|source| PxeError::File { path: path.display().to_string(), source })?;
        eprintln!("the state file is now {}; use the account with --store only", old.display());
    }
    println!("{}", keys.address());
    Ok(())
}

/// The state that the store has of the account.
fn kept(store: &Store, keys: &Keys) -> Result<Option<Zeroizing<Vec<u8>>>, PxeError> {
    let account = keys.master().account();
    let scope = Scope::of([account]);
    Ok(store.view(&scope)?.wallet_state(&account)?)
}
