//! Where the account of a command and its state are: in a store with several accounts, or in files of its own.

use std::path::{Path, PathBuf};

use rand::rngs::OsRng;
use rollmill_pxe::error::PxeError;
use rollmill_pxe::keys::{Address, Keys};
use rollmill_pxe::keystore::{self, Lock};
use rollmill_pxe::stored;
use rollmill_pxe::wallet::{State, Wallet};
use rollmill_pxe_store::{Account, Store, Zeroizing};
use rollmill_service::Failure;

use crate::cli::Config;
use crate::prompt;

/// Where the keys were found.
pub(crate) enum Source {
    Keystore,
    Store(Box<Store>, Account),
}

/// Where the state is kept. Nobody else uses the account as long as this lives.
pub(crate) enum Home {
    File { path: PathBuf, _lock: Lock },
    Store(Box<Store>, Account),
}

/// The keys of the account.
pub(crate) fn open(config: &Config) -> Result<(Keys, Source), Failure> {
    let Some(path) = &config.store else { return Ok((open_keystore(config)?, Source::Keystore)) };
    let store = Store::open(path, &password(config, "password of the store")?);
    let store = store.map_err(PxeError::Store)?;
    let account = choose(&store, config.account.as_ref())?;
    let keys = stored::keys(&store, account)?;
    Ok((keys, Source::Store(Box::new(store), account)))
}

/// The keys of the keystore file.
fn open_keystore(config: &Config) -> Result<Keys, Failure> {
    let password = || password(config, "password of the keystore");
    read_keystore(&config.keystore, password)
}

/// The keys of a keystore file, with the password that is asked for once the file is there.
pub(crate) fn read_keystore(
    path: &Path,
    password: impl FnOnce() -> Result<Zeroizing<String>, Failure>,
) -> Result<Keys, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| PxeError::NoKeystore { path: path.display().to_string(), source })?;
    let keys = keystore::open(&text, &password()?);
    Ok(keys.map_err(|error| error.in_file(path))?)
}

/// The password of the settings, or the one that is entered on the terminal.
pub(crate) fn password(config: &Config, question: &str) -> Result<Zeroizing<String>, Failure> {
    if let Some(secret) = &config.password {
        return Ok(Zeroizing::new(secret.reveal().to_owned()));
    }
    Ok(prompt::secret(question)?.ok_or(PxeError::NoPassword)?)
}

/// As [`password`], but entered twice.
pub(crate) fn new_password(config: &Config, question: &str) -> Result<Zeroizing<String>, Failure> {
    if let Some(secret) = &config.password {
        return Ok(Zeroizing::new(secret.reveal().to_owned()));
    }
    Ok(prompt::new_secret(question)?.ok_or(PxeError::NoPassword)?)
}

/// The account that is asked for, or the only one.
pub(crate) fn choose(store: &Store, wanted: Option<&Address>) -> Result<Account, PxeError> {
    let accounts = store.accounts()?;
    let mut accounts = accounts.into_iter().map(|info| info.account);
    let choice = |why| PxeError::AccountChoice { why };
    match wanted {
        Some(address) => {
            let wanted = Account(address.to_field());
            accounts
                .find(|account| *account == wanted)
                .ok_or(choice("the store has no such account"))
        }
        None => match (accounts.next(), accounts.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(choice("the store has no account")),
            (Some(_), Some(_)) => Err(choice("the store has several accounts")),
        },
    }
}

/// The path of the account's state file: `pxe-` and the start of its address, beside the keystore. A
/// state file under the keystore's own name, as earlier releases wrote it, is moved there if it belongs
/// to this account.
pub(crate) fn state_path(config: &Config, keys: &Keys) -> Result<PathBuf, PxeError> {
    if let Some(path) = &config.state {
        return Ok(path.clone());
    }
    let name = keys.address().to_file_name();
    let path = config.keystore.with_file_name(format!("pxe-{name}.state"));
    let old = config.keystore.with_extension("state");
    let is_new = !path.exists() && !imported_path(&path).exists();
    if is_new && std::fs::read(&old).is_ok_and(|b| keystore::open_state(keys, &b).is_ok()) {
        std::fs::rename(&old, &path)
            .map_err(|source| PxeError::File { path: old.display().to_string(), source })?;
    }
    Ok(path)
}

/// The name that a state file gets once a store has the state.
pub(crate) fn imported_path(state: &Path) -> PathBuf {
    state.with_extension("state.imported")
}

/// The state in a file, in clear; `None` when there is no file.
pub(crate) fn read_state(path: &Path, keys: &Keys) -> Result<Option<Vec<u8>>, PxeError> {
    match std::fs::read(path) {
        Ok(bytes) => {
            let plain = keystore::open_state(keys, &bytes).map_err(|error| error.in_file(path))?;
            Ok(Some(plain))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PxeError::File { path: path.display().to_string(), source }),
    }
}

impl Home {
    /// Takes the account for this process.
    pub(crate) fn of(config: &Config, keys: &Keys, source: Source) -> Result<Self, PxeError> {
        match source {
            Source::Store(store, account) => Ok(Self::Store(store, account)),
            Source::Keystore => {
                let path = state_path(config, keys)?;
                let lock = keystore::lock(&path.with_extension("lock"))?;
                // With a new state the wallet would use tags again that the store has used.
                let imported = imported_path(&path);
                if !path.exists() && imported.exists() {
                    let why = "a store has the account now; use --store";
                    return Err(PxeError::State { file: format!(" {}", imported.display()), why });
                }
                // What a killed command left of the state.
                rollmill_files::sweep(&path);
                Ok(Self::File { path, _lock: lock })
            }
        }
    }

    /// The wallet as it was saved last.
    pub(crate) fn load(&self, keys: Keys) -> Result<Wallet, PxeError> {
        match self {
            Self::File { path, .. } => {
                let plain = read_state(path, &keys)?;
                let state = plain.map(|plain| State::from_bytes(&plain)).transpose();
                Ok(match state.map_err(|error| error.in_file(path))? {
                    Some(state) => Wallet::with_state(keys, state),
                    None => Wallet::new(keys),
                })
            }
            Self::Store(store, account) => stored::load(store, *account, keys),
        }
    }

    /// Saves the wallet, durably.
    pub(crate) fn save(&self, wallet: &Wallet) -> Result<(), PxeError> {
        match self {
            Self::File { path, .. } => {
                let plain = wallet.state().to_bytes().map_err(|error| error.in_file(path))?;
                let sealed = keystore::seal_state(wallet.keys(), &plain, &mut OsRng)?;
                write(path, &sealed)
            }
            Self::Store(store, account) => stored::save(store, *account, wallet),
        }
    }
}

/// Writes a file that its owner only can read.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), PxeError> {
    keystore::write_private(path, bytes)
        .map_err(|source| PxeError::File { path: path.display().to_string(), source })
}
