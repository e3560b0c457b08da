//! The token that a broker makes at its first start, so that it is open to nobody: any program of the machine, and any
//! page in a browser on it, reaches what listens on loopback.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rollmill_broker_client::{NewToken, Role};
use uuid::Uuid;

use crate::error::BrokerError;
use crate::store::{By, Store, Tenant, secret};

/// The file in the data directory with the secret of the first token.
pub const FIRST_TOKEN_FILE: &str = "first.token";

/// Label of the first token.
const LABEL: &str = "first";

/// Makes a token of an operator, and writes its secret to [`FIRST_TOKEN_FILE`] in `data_dir`. Does nothing where
/// another replica has made it.
pub(crate) async fn make(store: &Store, data_dir: &Path) -> Result<(), BrokerError> {
    let path = data_dir.join(FIRST_TOKEN_FILE);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.map_err(|source| not_written(&path, source))?;
    // Under another name first: a secret that cannot be written must open nothing, and one that opens nothing must not
    // take the place of another replica's.
    // Its name is random, since replicas in containers have the same process id.
    let unfinished = data_dir.join(format!("{FIRST_TOKEN_FILE}.{}", Uuid::new_v4().simple()));
    let secret = secret()?;
    write_secret(&unfinished, &secret)?;
    let new = NewToken::new(LABEL, Role::Operator);
    let tenant = Tenant::default();
    match store.keep_token(By::from(&tenant), &new, &secret).await {
        Ok(()) => {
            // Where that fails, the other file keeps the secret.
            let renamed = std::fs::rename(&unfinished, &path);
            renamed.map_err(|source| not_written(&path, source))?;
            tracing::info!(path = %path.display(), label = LABEL, "first token made");
            Ok(())
        }
        Err(error) => {
            // It opens nothing.
            let _ = std::fs::remove_file(&unfinished);
            match error {
                BrokerError::LabelTaken { .. } => Ok(()),
                other => Err(other),
            }
        }
    }
}

/// Writes a secret to a new file that only this user can read.
///
/// # Errors
/// [`BrokerError::OperatorFile`].
pub fn write_secret(path: &Path, secret: &str) -> Result<(), BrokerError> {
    let write = || {
        // One that an earlier broker left may be readable by others, and keeps its mode.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(secret.as_bytes())
    };
    write().map_err(|source| not_written(path, source))
}

fn not_written(path: &Path, source: io::Error) -> BrokerError {
    BrokerError::OperatorFile { path: path.display().to_string(), source }
}
