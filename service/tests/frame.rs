//! The promises of the frame: one precedence, no leaked secret, an end that is ordered.

use std::time::Duration;

use rollmill_service::{Error, LogFormat, Process, Secret, Settings, Shutdown, load, one_line};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    listen: String,
    workers: u16,
    fast: bool,
    limit: Option<u64>,
    label: Option<String>,
    token: Option<Secret>,
    kinds: Vec<String>,
    store: Store,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    data_dir: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:1".into(),
            workers: 1,
            fast: false,
            limit: None,
            label: None,
            token: None,
            kinds: vec![],
            store: Store { data_dir: "d".into() },
        }
    }
}

impl Settings for Config {
    fn check(&self) -> Result<(), String> {
        if self.workers == 0 { Err("workers must be at least 1".into()) } else { Ok(()) }
    }
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Config, Error> {
    load::<Config>("test-unit", arguments, variables).map(|(config, _)| config)
}

#[test]
fn flags_override_environment_overrides_file_overrides_defaults() {
    let toml = file("listen = 'file:1'\nworkers = 2\n[store]\ndata_dir = 'file'\n");
    let path = toml.path().to_str().unwrap();
    let variables =
        [("ROLLMILL_TEST_UNIT_WORKERS", "3"), ("ROLLMILL_TEST_UNIT_STORE_DATA_DIR", "e")];
    let config = read(&["--config", path, "--store-data-dir", "flag"], &variables).unwrap();
    assert_eq!(config.listen, "file:1");
    assert_eq!(config.workers, 3);
    assert_eq!(config.store.data_dir, "flag");
    assert!(!config.fast);
}

#[test]
fn text_is_read_as_the_type_of_its_key() {
    let arguments = ["--limit", "7", "--label", "7", "--kinds", "a, b", "--fast", "--workers=9"];
    let config = read(&arguments, &[]).unwrap();
    assert_eq!(config.limit, Some(7));
    assert_eq!(config.label.as_deref(), Some("7"));
    assert_eq!(config.kinds, ["a", "b"]);
    assert!(config.fast);
    assert_eq!(config.workers, 9);
}

#[test]
fn an_unknown_key_in_the_file_is_refused_by_name() {
    for text in ["lisen = 'x'\n", "[store]\ndata = 'x'\n", "[service]\nlog = 'x'\n"] {
        let toml = file(text);
        let error = read(&["--config", toml.path().to_str().unwrap()], &[]).unwrap_err();
        assert!(error.to_string().contains("unknown key"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn an_error_and_its_causes_are_one_line_with_one_code() {
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Told>>,
    }
    let told = |text, source: Option<Told>| Told { text, source: source.map(Box::new) };
    let line = |text, source| one_line(&told(text, source));
    // The message quotes its cause, which is also its source.
    let cause = || Some(told("CCC-003: it is full", None));
    assert_eq!(line("AAA-001: no disk: BBB-002: gone", None), "AAA-001: no disk: gone");
    assert_eq!(
        line("AAA-001: BBB-002: gone: CCC-003: it is full", cause()),
        "AAA-001: gone: it is full"
    );
    assert_eq!(line("AAA-001: no disk", cause()), "AAA-001: no disk: it is full");
    assert_eq!(line("no disk: BBB-002: gone", None), "no disk: gone");
    // Another program's words, and what only looks like a code.
    let quoted = "AAA-001: b ended: \"error: BBB-002: gone\"";
    assert_eq!(line(quoted, None), quoted);
    assert_eq!(line("AAA-001: no UTF-8: at 3", None), "AAA-001: no UTF-8: at 3");
}

#[test]
fn a_broken_file_is_one_line_with_a_code() {
    for text in ["listen = ", "workers = 'many'", "workers = 99999", "listen = 3", "\u{0}"] {
        let toml = file(text);
        let error = read(&["--config", toml.path().to_str().unwrap()], &[]).unwrap_err();
        let line = one_line(&error);
        assert!(line.starts_with("SVC-001: "), "{line}");
        assert!(!line.contains('\n'), "{line}");
    }
    let error = read(&["--config", "/nonexistent/x.toml"], &[]).unwrap_err();
    assert!(one_line(&error).starts_with("SVC-002: "));
}

/// Goal: no damage to a file makes the process panic, start with settings that break their own
/// rules, or print more than a line.
#[test]
fn every_changed_or_missing_byte_of_a_file_is_refused_or_read_as_what_it_says() {
    let text = "listen = '127.0.0.1:1'\nworkers = 3\n[service]\nlog_format = 'json'\n";
    assert!(read(&["--config", file(text).path().to_str().unwrap()], &[]).is_ok());
    let mut refused = 0;
    for at in 0..text.len() {
        let mut cases: Vec<Vec<u8>> = vec![text.as_bytes()[..at].to_vec()];
        for bit in 0..8 {
            let mut changed = text.as_bytes().to_vec();
            changed[at] ^= 1 << bit;
            cases.push(changed);
        }
        for case in cases {
            let toml = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(toml.path(), &case).unwrap();
            match read(&["--config", toml.path().to_str().unwrap()], &[]) {
                Ok(config) => assert!(config.workers >= 1),
                Err(error) => {
                    refused += 1;
                    let line = one_line(&error);
                    assert!(line.starts_with("SVC-0") && !line.contains('\n'), "{line}");
                }
            }
        }
    }
    assert!(refused > text.len() * 4, "{refused}");
}

#[test]
fn a_wrong_variable_or_flag_is_named_in_the_error() {
    let error = read(&[], &[("ROLLMILL_TEST_UNIT_WORKERS", "x")]).unwrap_err();
    assert!(error.to_string().contains("ROLLMILL_TEST_UNIT_WORKERS"), "{error}");
    let error = read(&["--workers", "x"], &[]).unwrap_err();
    assert!(error.to_string().contains("workers"), "{error}");
    let error = read(&["--workers", "0"], &[]).unwrap_err();
    assert!(error.to_string().contains("at least 1"), "{error}");
}

#[test]
fn a_negative_number_is_told_in_the_words_of_its_setting() {
    let error = read(&["--workers", "-1"], &[]).unwrap_err().to_string();
    assert!(error.contains("workers: `-1` cannot be used; expected a whole number"), "{error}");
    let seconds = clap::Arg::new("wait").long("wait").value_parser(clap::value_parser!(u64));
    let wait = clap::Command::new("wait").arg(seconds);
    let error =
        rollmill_service::check_arguments::<Config>("test-unit", wait, &["wait", "--wait", "-1"]);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("--wait") && !error.contains("unexpected argument"), "{error}");
}

#[test]
fn two_settings_that_listen_on_one_port_are_named() {
    let arguments = ["--listen", "127.0.0.1:28560", "--admin-listen", "127.0.0.1:28560"];
    let error = read(&arguments, &[]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let error = error.to_string();
    for part in ["--admin-listen", "--listen", "both 127.0.0.1:28560", "change one"] {
        assert!(error.contains(part), "{error}");
    }
    let error = read(&["--listen", "0.0.0.0:7", "--admin-listen", "127.0.0.1:7"], &[]).unwrap_err();
    assert!(error.to_string().contains("--listen 0.0.0.0:7"), "{error}");
    read(&["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"], &[]).unwrap();
}

#[test]
fn common_settings_need_no_table_name_in_flags() {
    let (_, common) =
        load::<Config>("test-unit", &["--log-format", "json", "--grace-seconds", "3"], &[])
            .unwrap();
    assert_eq!(common.log_format, LogFormat::Json);
    assert_eq!(common.grace_seconds, 3);
}

#[test]
fn a_secret_comes_from_a_file_and_is_never_shown() {
    let secret = file("hunter2\n");
    let reference = format!("file:{}", secret.path().display());
    let config = read(&["--token", &reference], &[]).unwrap();
    assert_eq!(config.token.as_ref().unwrap().reveal(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(!serde_json::to_string(&config).unwrap().contains("hunter2"));

    let Err(Error::Usage { message: printed }) =
        load::<Config>("test-unit", &["--token", &reference, "config", "--print"], &[])
    else {
        panic!("printed settings are an answer")
    };
    assert!(printed.contains("file:") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn a_literal_secret_is_refused_without_being_repeated() {
    let error = read(&["--token", "hunter2"], &[]).unwrap_err();
    assert!(!one_line(&error).contains("hunter2"));
    assert!(read(&["--token", "file:/nonexistent/x"], &[]).is_err());
}

#[tokio::test]
async fn shutdown_moves_forward_only_and_reaches_every_clone() {
    let shutdown = Shutdown::new();
    let clone = shutdown.clone();
    let waiter = tokio::spawn(async move { clone.started().await });
    shutdown.start();
    waiter.await.unwrap();
    shutdown.abort();
    shutdown.start();
    shutdown.aborted().await;
    assert!(shutdown.is_started());
}

#[tokio::test]
async fn a_taken_port_says_what_to_change() {
    let first = rollmill_service::listen("127.0.0.1:0", "--listen").await.unwrap();
    let address = first.local_addr().unwrap().to_string();
    let error = rollmill_service::listen(&address, "--listen").await.unwrap_err();
    assert!(matches!(error, Error::PortTaken { .. }));
    assert!(error.to_string().contains("--listen"), "{error}");
}

#[tokio::test]
async fn a_server_ends_when_shutdown_is_pulled() {
    let process = Process::new("test-unit", Config::default());
    let listener = rollmill_service::listen("127.0.0.1:0", "--listen").await.unwrap();
    let server = tokio::spawn(rollmill_service::serve(
        listener,
        axum::Router::new(),
        process.shutdown.clone(),
    ));
    process.shutdown.start();
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap().unwrap();
}

#[test]
fn status_shows_the_facts_given() {
    let process = Process::new("test-unit", ());
    process.board.show("jobs", || serde_json::json!(3));
    process.ready();
    let status = process.board.status();
    assert_eq!(status["phase"], "ready");
    assert_eq!(status["jobs"], 3);
}

#[test]
fn a_log_level_that_is_none_is_refused_by_name() {
    for wrong in ["loud", "info,brokr=debug", "rollmill_broker=loud", ""] {
        let variables = [("ROLLMILL_TEST_UNIT_LOG_LEVEL", wrong)];
        let error = read(&[], &variables).unwrap_err();
        assert!(error.to_string().contains("service.log_level"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    for right in ["warn", "INFO", "info,rollmill_broker=debug,sqlx::query=off"] {
        read(&["--log-level", right], &[]).unwrap();
    }
}

#[test]
fn a_wrong_value_in_a_file_is_named_with_its_key_and_line() {
    for (text, line, words) in [
        ("workers = 2\nlisten = 5\n", 2, "listen: `5` cannot be used; expected text in quotes"),
        ("[store]\n\ndata_dir = 7\n", 3, "store.data_dir: `7`"),
        ("fast = 'x'\n", 1, "fast: `x` cannot be used; expected true or false"),
        ("\n[service]\ngrace_seconds = 'x'\n", 3, "expected a whole number of seconds"),
        ("store = 3\n", 1, "store: `3` cannot be used; expected a table"),
        ("\nlisen = 'x'\n", 2, "unknown key `lisen`"),
    ] {
        let toml = file(text);
        let error = read(&["--config", toml.path().to_str().unwrap()], &[]).unwrap_err();
        let message = one_line(&error);
        assert!(message.contains(&format!("line {line}: ")), "{message}");
        assert!(message.contains(words), "{message}");
        assert!(!message.contains("invalid type"), "{message}");
    }
}

#[test]
fn missing_arguments_are_named_with_the_usage_of_their_command() {
    let send = clap::Command::new("send")
        .arg(clap::Arg::new("to").long("to").required(true))
        .arg(clap::Arg::new("amount").long("amount").required(true));
    let error =
        rollmill_service::check_arguments::<Config>("test-unit", send, &["send"]).unwrap_err();
    let message = error.to_string();
    for part in ["--to <to>", "--amount <amount>", "Usage: test-unit send"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn printed_settings_show_what_is_unset_and_hide_credentials_and_can_be_read_again() {
    let print = |arguments: &[&str]| match load::<Config>("test-unit", arguments, &[]) {
        Err(Error::Usage { message }) => message,
        other => panic!("{other:?}"),
    };
    let arguments = ["--workers", "7", "--kinds", "https://u:planted@h/x", "config"];
    let printed = print(&arguments);
    assert!(printed.contains("# limit =\n") && printed.contains("# token =\n"), "{printed}");
    assert!(printed.contains("[env: ROLLMILL_TEST_UNIT_STORE_DATA_DIR]"), "{printed}");
    assert!(!printed.contains("planted"), "{printed}");
    let toml = file(&printed);
    let again = read(&["--config", toml.path().to_str().unwrap()], &[]).unwrap();
    assert_eq!((again.workers, again.store.data_dir.as_str()), (7, "d"));
}

#[test]
fn readiness_is_the_conjunction_of_named_conditions() {
    let process = Process::new("test-unit", ());
    process.conditions.expect(&["broker", "l1"]);
    assert_eq!(process.board.not_ready().len(), 3, "starting, and two not checked");
    process.ready();
    process.conditions.set("broker", Ok(()));
    process.conditions.set("l1", Err("no answer".into()));
    assert_eq!(process.board.not_ready(), [("l1", "no answer".to_owned())]);
    let status = process.board.status();
    assert_eq!(status["ready"], false);
    assert_eq!(status["conditions"]["l1"]["reason"], "no answer");
    assert!(status["conditions"]["broker"]["since_unix_seconds"].as_u64().unwrap() > 0);
    let text = scrape(&process);
    assert!(text.contains("rollmill_condition{name=\"broker\"} 1"), "{text}");
    assert!(text.contains("rollmill_condition{name=\"l1\"} 0"), "{text}");
    assert!(text.contains("rollmill_last_success_timestamp_seconds{what=\"broker\"}"), "{text}");
    assert!(!text.contains("what=\"l1\""), "never succeeded: {text}");
    assert!(text.contains("rollmill_build_info{program=\"test-unit\""), "{text}");
    process.conditions.set("l1", Ok(()));
    assert!(process.board.not_ready().is_empty());
}

fn scrape<C>(process: &Process<C>) -> String {
    use rollmill_service::prometheus::{Encoder, TextEncoder};
    let mut text = Vec::new();
    TextEncoder::new().encode(&process.metrics.gather(), &mut text).unwrap();
    String::from_utf8(text).unwrap()
}
