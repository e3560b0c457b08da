//! The token that a broker makes at its first start, so that it is open to nobody: any program of the machine, and any
//! page in a browser on it, reaches what listens on loopback.

use std::io::{self, Write as _};
use std::path::Path;

use rollmill_broker_client::{NewToken, Role};
use rollmill_files::Unfinished;
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
    rollmill_files::make_private_folder(data_dir).map_err(|source| not_written(&path, source))?;
    // Under another name first: a secret that cannot be written must open nothing, and one that opens nothing must not
    // take the place of another replica's. It is on disk before the database has its token: without it nobody could
    // make another one.
    // Its name is random, since replicas in containers have the same process id.
    let unfinished = data_dir.join(format!("{FIRST_TOKEN_FILE}.{}", Uuid::new_v4().simple()));
    let secret = secret()?;
    write_secret(&unfinished, &secret)?;
    let new = NewToken::new(LABEL, Role::Operator);
    let tenant = Tenant::default();
    match store.keep_token(By::from(&tenant), &new, &secret).await {
        Ok(()) => {
            // Where that fails, the other file keeps the secret.
            let renamed = rollmill_files::rename(&unfinished, &path);
            renamed.map_err(|source| not_written(&path, source))?;
            tracing::info!(path = %path.display(), label = LABEL, "first token made");
            Ok(())
        }
        Err(BrokerError::LabelTaken { .. }) => {
            // It opens nothing.
            let _ = std::fs::remove_file(&unfinished);
            Ok(())
        }
        // The connection may have broken after the commit: then the other file keeps the only secret.
        Err(other) => Err(other),
    }
}

/// Writes a secret to a new file that only this user can read, in place of any file that is there, and syncs it.
///
/// # Errors
/// [`BrokerError::OperatorFile`].
pub fn write_secret(path: &Path, secret: &str) -> Result<(), BrokerError> {
    let write = || {
        let mut file = Unfinished::create_private(path)?;
        file.write_all(secret.as_bytes())?;
        file.place()
    };
    write().map_err(|source| not_written(path, source))
}

fn not_written(path: &Path, source: io::Error) -> BrokerError {
    BrokerError::OperatorFile { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rollmill_broker_testing::TestSchema;

    use super::*;
    use crate::objects::Objects;
    use crate::store::Rules;

    /// Fault: the secret cannot be written, and another replica is quicker. Goal: no token that nobody can use, and no
    /// secret that opens nothing.
    #[tokio::test]
    async fn a_token_is_made_only_where_its_secret_was_written() {
        let schema = TestSchema::new().await;
        let (options, rules) = (schema.connect_options(), Rules::default());
        let store = Store::connect(options, Objects::nowhere(), rules).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        let error = make(&store, &at("file")).await.unwrap_err();
        assert!(matches!(error, BrokerError::OperatorFile { .. }), "{error}");
        assert!(!store.has_tokens().await.unwrap());
        make(&store, &at("first")).await.unwrap();
        assert!(store.has_tokens().await.unwrap());
        make(&store, &at("second")).await.unwrap();
        let files = |name: &str| std::fs::read_dir(at(name)).unwrap().count();
        assert_eq!((files("first"), files("second")), (1, 0));
        assert!(at("first").join(FIRST_TOKEN_FILE).is_file());
    }

    #[test]
    fn a_secret_is_in_a_whole_file_of_its_owner_whatever_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("token"), folder.path().join("other"));
        std::fs::write(&other, "of somebody else").unwrap();
        symlink(&other, &path).unwrap();
        for secret in ["rm_first", "rm_second"] {
            write_secret(&path, secret).unwrap();
            let kind = std::fs::symlink_metadata(&path).unwrap();
            assert!(kind.is_file() && kind.permissions().mode() & 0o777 == 0o600, "{kind:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), secret);
        }
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "of somebody else");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let error = write_secret(&folder.path().join("missing/token"), "rm_third").unwrap_err();
        assert!(matches!(error, BrokerError::OperatorFile { .. }), "{error}");
    }
}
