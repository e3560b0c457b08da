//! The token that a broker makes when nobody has made one.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::process::{Broker, free_address};
use crate::support::program;
use rollmill_broker::store::Tenant;
use rollmill_broker_client::{Client, Options, Role};
use rollmill_broker_testing::TestSchema;

/// Where one broker runs again and again.
struct Place {
    schema: TestSchema,
    folder: tempfile::TempDir,
    address: String,
}

impl Place {
    async fn new() -> Self {
        let (schema, folder) = (TestSchema::new().await, tempfile::tempdir().unwrap());
        Self { schema, folder, address: free_address() }
    }

    /// A broker makes it.
    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn token_file(&self) -> PathBuf {
        self.data_dir().join("first.token")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .args(["--listen", &self.address, "--database-url", "env:ROLLMILL_TEST_DATABASE"])
            .arg("--data-dir")
            .arg(self.data_dir())
            .args(arguments)
            .env("ROLLMILL_TEST_DATABASE", self.schema.database_url())
            .stdin(Stdio::null());
        command
    }

    /// A broker that logs to the file.
    fn start(&self, log: &Path) -> Broker {
        let log = std::fs::File::create(log).unwrap();
        let child = self.command(&[]).stderr(log).spawn().unwrap();
        Broker { child, address: self.address.clone() }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn client(&self, token: Option<&str>) -> Client {
        let options =
            Options { patience: Duration::from_secs(60), timeout: Duration::from_secs(30) };
        Client::new(&format!("http://{}", self.address), token, options).unwrap()
    }
}

/// Attack: a user of the machine, or a page in a browser on it, calls a broker whose operator has made no token yet.
#[tokio::test]
async fn a_broker_without_tokens_makes_one_and_requires_it() {
    let place = Place::new().await;
    let log = place.folder.path().join("log");
    let broker = place.start(&log);
    let error = place.client(None).status().await.unwrap_err();
    assert_eq!(error.broker_code(), Some("BRK-023"), "{error}");

    let secret = std::fs::read_to_string(place.token_file()).unwrap();
    assert_eq!((&secret[..3], secret.len()), ("rm_", 67), "256 bits");
    let mode = std::fs::metadata(place.token_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let files = std::fs::read_dir(place.data_dir()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("first.token")).count(), 1);
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains("first token made") && told.contains("first.token"), "{told}");
    assert!(!told.contains(&secret), "{told}");

    let tokens = place.client(Some(&secret)).tokens().await.unwrap();
    let token = &tokens[0];
    assert_eq!((tokens.len(), token.label.as_str(), token.role), (1, "first", Role::Operator));
    let stored: Vec<u8> = sqlx::query_scalar("SELECT hash FROM token")
        .fetch_one(place.schema.store().await.pool())
        .await
        .unwrap();
    assert_eq!(stored.len(), 32, "a hash, and not the secret");

    // Who can read the directory needs no more.
    let status = place.run(&["status"]);
    assert!(status.status.success(), "{status:?}");
    // And who names another broker does not send it there.
    let url = format!("http://{}", place.address);
    let stranger = place.run(&["status", "--url", &url]);
    assert!(String::from_utf8_lossy(&stranger.stderr).contains("BRK-023"), "{stranger:?}");

    drop(broker);
    let _broker = place.start(&log);
    let tokens = place.client(Some(&secret)).tokens().await.unwrap();
    assert_eq!(tokens.len(), 1, "the first start made it");
    assert_eq!(std::fs::read_to_string(place.token_file()).unwrap(), secret);
}

/// Goal: an operator's own tokens are all that there are.
#[tokio::test]
async fn a_broker_with_a_token_makes_none() {
    let place = Place::new().await;
    let store = place.schema.store().await;
    let own = store.add_token("own", Role::Operator, &Tenant::default()).await.unwrap();
    let _broker = place.start(&place.folder.path().join("log"));
    let tokens = place.client(Some(&own)).tokens().await.unwrap();
    assert_eq!(tokens.len(), 1);
    assert!(!place.token_file().exists());
}

/// Fault: the file of an earlier database is in the way, readable by all.
#[tokio::test]
async fn the_file_of_another_token_is_replaced() {
    let place = Place::new().await;
    std::fs::create_dir(place.data_dir()).unwrap();
    std::fs::write(place.token_file(), "rm_old").unwrap();
    std::fs::set_permissions(place.token_file(), Permissions::from_mode(0o644)).unwrap();
    let _broker = place.start(&place.folder.path().join("log"));
    let error = place.client(Some("rm_old")).status().await.unwrap_err();
    assert_eq!(error.broker_code(), Some("BRK-023"), "{error}");
    let secret = std::fs::read_to_string(place.token_file()).unwrap();
    let mode = std::fs::metadata(place.token_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    place.client(Some(&secret)).status().await.unwrap();
}

/// Fault: the broker stops between the commit of the token and giving the file its name. Goal: the secret is in a whole
/// file beside it.
#[tokio::test]
async fn a_secret_whose_file_gets_no_name_is_kept_beside_it() {
    let place = Place::new().await;
    std::fs::create_dir_all(place.token_file().join("in the way")).unwrap();
    let failed = place.run(&[]);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("BRK-048"), "{failed:?}");
    let files = std::fs::read_dir(place.data_dir()).unwrap().map(|file| file.unwrap().path());
    let beside: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
    let mode = std::fs::metadata(&beside[0]).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let secret = std::fs::read_to_string(&beside[0]).unwrap();
    let _broker = place.start(&place.folder.path().join("log"));
    assert_eq!(place.client(Some(&secret)).tokens().await.unwrap().len(), 1);
}

/// Goal: where the settings open it, the machine's own programs need no token, and none is made.
#[tokio::test]
async fn a_broker_is_open_on_loopback_where_the_settings_say_so() {
    let place = Place::new().await;
    let child = place.command(&["--open-on-loopback"]).stderr(Stdio::null()).spawn().unwrap();
    let _broker = Broker { child, address: place.address.clone() };
    assert!(place.client(None).tokens().await.unwrap().is_empty());
    assert!(!place.token_file().exists());
}
