//! What the frame guarantees about settings: one precedence, no leaked secret, messages that say what
//! to do.

use rollmill_service::{
    Commands, Common, Conflict, Error, LogFormat, NoCommands, Secret, Settings, command_line,
    defaults, load, load_with_command, one_line, values,
};

#[derive(Clone, Debug, clap::Args)]
struct Config {
    /// Serve on this address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:1")]
    #[arg(value_parser = values::listen_address)]
    listen: String,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = values::whole(1..=1000_u16))]
    workers: u16,
    /// Skip the slow part
    #[arg(long)]
    fast: bool,
    /// Time limit
    #[arg(long, value_name = "SECONDS", value_parser = values::whole(0..=100_u64))]
    limit: Option<u64>,
    /// Name to show
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// Token of clients
    #[arg(long, value_name = "file:PATH|env:NAME")]
    token: Option<Secret>,
    /// Nodes to ask
    ///
    /// They are asked in order.
    #[arg(long, value_name = "URL,...", default_value = "http://a", value_parser = values::urls)]
    peers: values::Urls,
    #[command(flatten)]
    store: Store,
}

#[derive(Clone, Debug, clap::Args)]
struct Store {
    /// Directory of the data
    #[arg(id = "store.data_dir", long, value_name = "DIR", default_value = "d")]
    data_dir: String,
}

impl Default for Config {
    fn default() -> Self {
        defaults()
    }
}

impl Settings for Config {
    fn check(&self, common: &Common) -> Result<(), Conflict> {
        match self.fast && common.grace_seconds < 2 {
            true => Err(Conflict::new(
                &["fast", "service.grace_seconds"],
                "raise grace_seconds to at least 2",
            )),
            false => Ok(()),
        }
    }
}

/// A comment that describes no program.
#[derive(Debug, clap::Subcommand)]
enum Work {
    /// Send something
    Send {
        /// Where to
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// How much
        #[arg(long, value_name = "N", value_parser = values::whole(1..=9_u64))]
        amount: u64,
    },
    /// Keep the store
    #[command(subcommand)]
    Store(Keep),
}

#[derive(Debug, clap::Subcommand)]
enum Keep {
    /// Inspect the store
    Inspect,
}

impl Commands for Work {
    const USES: &'static [(&'static str, &'static [&'static str])] =
        &[("send", &["token"]), ("store", &["store"])];
}

fn work(arguments: &[&str]) -> Result<Option<Work>, Error> {
    load_with_command::<Config, Work>("test-unit", arguments, &[]).map(|(_, _, work)| work)
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
    let peers = "http://a, http://b";
    let arguments = ["--limit", "7", "--label", "7", "--peers", peers, "--fast", "--workers=9"];
    let config = read(&arguments, &[]).unwrap();
    assert_eq!(config.limit, Some(7));
    assert_eq!(config.label.as_deref(), Some("7"));
    assert_eq!(config.peers, ["http://a", "http://b"]);
    assert!(config.fast);
    assert_eq!(config.workers, 9);
    // Every layer can set the empty list, whatever the default is.
    let toml = file("peers = []\n");
    for (arguments, variables) in [
        (&["--peers="][..], &[][..]),
        (&["--config", toml.path().to_str().unwrap()], &[]),
        (&[], &[("ROLLMILL_TEST_UNIT_PEERS", "")]),
    ] {
        assert!(read(arguments, variables).unwrap().peers.is_empty(), "{arguments:?}");
    }
    assert_eq!(Config::default().peers, ["http://a"]);
}

#[test]
fn an_unknown_key_in_the_file_is_rejected_by_name() {
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
    struct Chained {
        text: &'static str,
        source: Option<Box<Chained>>,
    }
    let chained = |text, source: Option<Chained>| Chained { text, source: source.map(Box::new) };
    let line = |text, source| one_line(&chained(text, source));
    // The message quotes its cause, which is also its source.
    let cause = || Some(chained("CCC-003: it is full", None));
    assert_eq!(line("AAA-001: no disk: BBB-002: gone", None), "AAA-001: no disk: gone");
    assert_eq!(
        line("AAA-001: BBB-002: gone: CCC-003: it is full", cause()),
        "AAA-001: gone: it is full"
    );
    assert_eq!(line("AAA-001: no disk", cause()), "AAA-001: no disk: it is full");
    assert_eq!(line("no disk: BBB-002: gone", None), "no disk: gone");
    // Another program's message, and text that only resembles a code.
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
fn every_changed_or_missing_byte_of_a_file_is_rejected_or_read_as_what_it_says() {
    let text = "listen = '127.0.0.1:1'\nworkers = 3\n[service]\nlog_format = 'json'\n";
    assert!(read(&["--config", file(text).path().to_str().unwrap()], &[]).is_ok());
    let mut rejected = 0;
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
                    rejected += 1;
                    let line = one_line(&error);
                    assert!(line.starts_with("SVC-0") && !line.contains('\n'), "{line}");
                }
            }
        }
    }
    assert!(rejected > text.len() * 4, "{rejected}");
}

#[test]
fn a_wrong_value_is_told_in_the_same_words_in_every_layer() {
    let toml = file("workers = 0\n");
    let path = toml.path().to_str().unwrap();
    let expected = "expected a whole number from 1 to 1000";
    for (error, what) in [
        (read(&["--workers", "0"], &[]), "`0` for --workers".to_owned()),
        (read(&["--workers", "x"], &[]), "`x` for --workers".to_owned()),
        (read(&["--workers", "-1"], &[]), "`-1` for --workers".to_owned()),
        (
            read(&[], &[("ROLLMILL_TEST_UNIT_WORKERS", "0")]),
            "`0` for ROLLMILL_TEST_UNIT_WORKERS".to_owned(),
        ),
        (read(&["--config", path], &[]), format!("{path}, line 1: invalid value `0` for workers")),
    ] {
        let error = error.unwrap_err();
        assert!(error.to_string().contains(&format!("{what}: {expected}")), "{error}");
        assert!(error.to_string().starts_with("SVC-001: "), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    for error in [
        read(&["--label", " "], &[]),
        read(&[], &[("ROLLMILL_TEST_UNIT_LABEL", "")]),
        read(&["--store-data-dir="], &[]),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("SVC-001: the value of ") && error.contains(" is empty"),
            "{error}"
        );
    }
    let error = read(&["--limit", "x"], &[]).unwrap_err().to_string();
    assert!(error.ends_with("expected a whole number of seconds from 0 to 100"), "{error}");
    let error = read(&["--log-format", "jsn"], &[]).unwrap_err().to_string();
    assert!(error.contains("expected one of: human, json; did you mean `json`?"), "{error}");
    let error = read(&["--log-format", "no"], &[]).unwrap_err().to_string();
    assert!(error.ends_with("expected one of: human, json"), "{error}");
}

#[derive(Debug, clap::Parser)]
#[command(name = "tool")]
struct Tool {
    /// Number
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = values::whole(2..=7_u64))]
    #[arg(conflicts_with = "other")]
    number: u64,
    /// Other
    #[arg(long)]
    other: bool,
}

/// Goal: a program without settings has the same help texts and errors as the others.
#[test]
fn a_program_without_settings_shows_bounds_and_errors_of_one_line() {
    let run = |arguments: &[&str]| {
        let words = std::iter::once("tool").chain(arguments.iter().copied());
        command_line::<Tool>(words.map(Into::into))
    };
    let help = run(&["--help"]).unwrap().unwrap_err();
    assert!(help.contains("Number [2 to 7]"), "{help}");
    assert_eq!(run(&["--number", "3"]).unwrap().unwrap().number, 3);
    for (arguments, expected) in [
        (&["--number", "1"][..], "`1` for --number: expected a whole number from 2 to 7"),
        (&["--number"], "the value of --number is missing; write --number <N>"),
        (&["--nmber", "1"], "a similar argument exists: '--number'"),
        (&["--number", "3", "--other"], "'--number <N>' cannot be used with '--other'"),
    ] {
        let line = one_line(&run(arguments).unwrap_err());
        assert!(line.starts_with("SVC-003: ") && line.contains(expected), "{line}");
    }
}

/// Goal: a flag overrides a wrong variable only if the variable is right as well: what is written and
/// wrong is reported, and not discovered when the flag is dropped.
#[test]
fn a_wrong_value_is_told_even_where_a_higher_layer_overrides_it() {
    let error = read(&["--workers", "2"], &[("ROLLMILL_TEST_UNIT_WORKERS", "none")]).unwrap_err();
    assert!(error.to_string().contains("ROLLMILL_TEST_UNIT_WORKERS"), "{error}");
}

#[test]
fn settings_that_exclude_each_other_are_told_with_the_layer_of_each() {
    let toml = file("\nfast = true\n");
    let path = toml.path().to_str().unwrap();
    let variables = [("ROLLMILL_TEST_UNIT_GRACE_SECONDS", "1")];
    let error = read(&["--config", path], &variables).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "SVC-001: fast = true ({path}, line 2) and service.grace_seconds = 1 \
             (ROLLMILL_TEST_UNIT_GRACE_SECONDS): raise grace_seconds to at least 2"
        )
    );
}

#[test]
fn a_certificate_of_clients_without_its_key_is_told() {
    for flags in [["--tls-cert", "a.pem"], ["--tls-key", "a.key"]] {
        let error = read(&flags, &[]).unwrap_err().to_string();
        assert!(error.starts_with("SVC-001: service.tls_cert"), "{error}");
        assert!(
            error.contains("service.tls_key") && error.ends_with("set both or none"),
            "{error}"
        );
    }
    let both = ["--tls-cert", "a.pem", "--tls-key", "a.key", "--tls-ca", "ca.pem"];
    let (_, common) = load::<Config>("test-unit", &both, &[]).unwrap();
    assert_eq!(common.tls_ca.unwrap().to_str(), Some("ca.pem"));
}

/// Goal: no layer but one that says so lets tokens leave the machine in the clear.
#[test]
fn tokens_go_over_plain_http_only_where_a_setting_says_so() {
    let plain = |arguments: &[&str], variables: &[(&str, &str)]| {
        let (_, common) = load::<Config>("test-unit", arguments, variables).unwrap();
        common.plain_tokens
    };
    assert!(!plain(&[], &[]));
    assert!(plain(&["--plain-tokens"], &[]));
    assert!(plain(&[], &[("ROLLMILL_TEST_UNIT_PLAIN_TOKENS", "true")]));
    let toml = file("[service]\nplain_tokens = true\n");
    let path = toml.path().to_str().unwrap();
    assert!(plain(&["--config", path], &[]));
    assert!(!plain(&["--config", path, "--plain-tokens=false"], &[]));
}

#[test]
fn a_misspelt_flag_subcommand_or_key_is_told_with_the_nearest() {
    let error = read(&["--lisen", "x"], &[]).unwrap_err().to_string();
    assert!(error.contains("a similar argument exists: '--listen'"), "{error}");
    assert!(error.contains("--help"), "{error}");
    let error = work(&["sned"]).unwrap_err().to_string();
    assert!(error.contains("a similar subcommand exists: 'send'"), "{error}");
    let error = work(&["--fast", "no"]).unwrap_err().to_string();
    let expected = "SVC-003: unexpected `no` after --fast; write --fast=true or --fast=false";
    assert_eq!(error, expected);
    let toml = file("[store]\ndata_di = 'x'\n");
    let error = read(&["--config", toml.path().to_str().unwrap()], &[]).unwrap_err().to_string();
    assert!(error.contains("line 2: unknown key `store.data_di`"), "{error}");
    assert!(error.contains("did you mean `store.data_dir`?"), "{error}");
    for (text, expected) in [
        // In a table that is not its own, or in none.
        ("data_dri = 'x'\n", "did you mean `data_dir` in the table [store]?"),
        ("[store]\nlog_levl = 'x'\n", "did you mean `log_level` in the table [service]?"),
        ("[service]\nlisten = 'x'\n", "did you mean `listen`, above all tables?"),
        ("[sevice]\nx = 1\n", "unknown table [sevice]; did you mean [service]?"),
        ("[other]\nx = 1\n", "unknown table [other]; expected one of: [service], [store]"),
    ] {
        let toml = file(text);
        let error = read(&["--config", toml.path().to_str().unwrap()], &[]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn a_help_text_shows_value_names_bounds_variables_and_defaults() {
    let help = |arguments: &[&str]| match work(arguments) {
        Err(Error::Usage { message }) => message,
        other => panic!("{other:?}"),
    };
    let text = help(&["--help"]);
    for part in [
        "--workers <N>",
        "Worker threads [1 to 1000]",
        "[env: ROLLMILL_TEST_UNIT_WORKERS]",
        "[default: 1]",
        "--store-data-dir <DIR>",
        "[env: ROLLMILL_TEST_UNIT_CONFIG]",
        "--log-format <FORMAT>",
        "--fast[=<BOOL>]",
        "Logging:",
        "Service:",
        "Settings:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("A comment that describes no program"), "{text}");
    // A subcommand lists what it uses.
    let text = help(&["send", "--help"]);
    assert!(text.contains("--token") && text.contains("--log-level"), "{text}");
    assert!(!text.contains("--workers") && !text.contains("--store-data-dir"), "{text}");
    let text = help(&["store", "inspect", "--help"]);
    assert!(text.contains("--store-data-dir") && !text.contains("--token"), "{text}");
    // And accepts the others, so that it runs with the flags of the server.
    assert!(work(&["store", "inspect", "--workers", "3"]).is_ok());
}

#[test]
fn two_settings_that_listen_on_one_port_are_named() {
    let arguments = ["--listen", "127.0.0.1:28560", "--admin-listen", "127.0.0.1:28560"];
    let error = read(&arguments, &[]).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let error = error.to_string();
    for part in ["--admin-listen", "--listen", "= 127.0.0.1:28560 (", "change one"] {
        assert!(error.contains(part), "{error}");
    }
    let error = read(&["--listen", "0.0.0.0:7", "--admin-listen", "127.0.0.1:7"], &[]).unwrap_err();
    assert!(error.to_string().contains("listen = 0.0.0.0:7 (--listen)"), "{error}");
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

    let Err(Error::Usage { message: printed }) =
        load::<Config>("test-unit", &["--token", &reference, "config", "--print"], &[])
    else {
        panic!("printed settings are an answer")
    };
    assert!(printed.contains("file:") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn a_literal_secret_is_rejected_without_being_repeated() {
    let toml = file("token = 'hunter2'\n");
    for error in [
        read(&["--token", "hunter2"], &[]),
        read(&[], &[("ROLLMILL_TEST_UNIT_TOKEN", "hunter2")]),
        read(&["--config", toml.path().to_str().unwrap()], &[]),
    ] {
        let line = one_line(&error.unwrap_err());
        assert!(!line.contains("hunter2"), "{line}");
        assert!(line.contains("expected file:PATH or env:NAME"), "{line}");
    }
}

/// Goal: each way in which a secret can be missing is reported in plain words, with what to do.
#[test]
fn a_secret_that_cannot_be_read_is_told_with_what_to_do() {
    let empty = file("\n");
    let empty = format!("file:{}", empty.path().display());
    let folder = tempfile::tempdir().unwrap();
    let folder = format!("file:{}", folder.path().display());
    for (reference, expected) in [
        ("file:/nonexistent/x", "file /nonexistent/x does not exist; correct the path"),
        (&folder, "is a directory; name a file in it"),
        (&empty, "holds an empty secret"),
        ("file:/dev/zero", "file /dev/zero cannot be read (longer than 1 MiB)"),
        ("env:ROLLMILL_TEST_UNIT_NOT_SET", "ROLLMILL_TEST_UNIT_NOT_SET is not set; set it"),
    ] {
        let line = one_line(&read(&["--token", reference], &[]).unwrap_err());
        assert!(line.starts_with("SVC-001: invalid value for --token: "), "{line}");
        assert!(line.contains(expected) && !line.contains("os error"), "{line}");
    }
}

/// Goal: the message names what the person wrote: the flag or the variable that names the file.
#[test]
fn a_settings_file_that_cannot_be_read_is_told_with_what_named_it() {
    let variable = ("ROLLMILL_TEST_UNIT_CONFIG", "/nonexistent");
    for (error, setting) in [
        (read(&["--config", "/nonexistent"], &[variable]), "--config"),
        (read(&[], &[variable]), "ROLLMILL_TEST_UNIT_CONFIG"),
    ] {
        let line = one_line(&error.unwrap_err());
        let start = "SVC-002: cannot read the settings file /nonexistent (No such file";
        assert!(line.starts_with(start), "{line}");
        assert!(line.contains(&format!("; correct {setting}, or")), "{line}");
    }
    let line = one_line(&read(&["--config", "/dev/zero"], &[]).unwrap_err());
    assert!(line.contains("(longer than 1 MiB); correct --config"), "{line}");
    let error = read(&[], &[("ROLLMILL_TEST_UNIT_CONFIG", "")]).unwrap_err().to_string();
    assert!(error.contains("the value of ROLLMILL_TEST_UNIT_CONFIG is empty"), "{error}");
}

#[test]
fn a_log_level_that_is_none_is_rejected_by_name() {
    for wrong in ["loud", "info,brokr=debug", "rollmill_broker=loud", ""] {
        let variables = [("ROLLMILL_TEST_UNIT_LOG_LEVEL", wrong)];
        let error = read(&[], &variables).unwrap_err();
        assert!(error.to_string().contains("ROLLMILL_TEST_UNIT_LOG_LEVEL"), "{error}");
        let shown = error.to_string().matches(&format!("`{wrong}`")).count();
        assert!(shown <= 1, "the value is repeated: {error}");
        assert_eq!(error.exit_code(), 2);
    }
    for right in ["warn", "INFO", "info,rollmill_broker=debug,sqlx::query=off"] {
        read(&["--log-level", right], &[]).unwrap();
    }
}

#[test]
fn a_wrong_value_in_a_file_is_named_with_its_key_and_line() {
    for (text, line, words) in [
        ("workers = 2\nlisten = 5\n", 2, "`5` for listen: expected text in quotes"),
        ("[store]\n\ndata_dir = 7\n", 3, "`7` for store.data_dir"),
        ("fast = 'x'\n", 1, "`x` for fast: expected true or false"),
        ("\n[service]\ngrace_seconds = 'x'\n", 3, "expected a whole number of seconds"),
        (
            "workers = '7'\n",
            1,
            "`7` for workers: expected a whole number from 1 to 1000, without quotes",
        ),
        ("fast = 'true'\n", 1, "`true` for fast: expected true or false, without quotes"),
        ("# c\npeers = 'http://a'\n", 2, "expected a list"),
        ("peers = ['http://a,http://b']\n", 1, "without commas in them"),
        ("workers = ''\n", 1, "the value of workers is empty"),
        ("peers = ['http://']\n", 1, "without a host"),
        ("peers = ['http://a', 'nonsense']\n", 1, "`nonsense` is not a URL"),
        ("store = 3\n", 1, "store is not a setting, but a table: write [store]"),
        ("\nlisen = 'x'\n", 2, "unknown key `lisen`; did you mean `listen`?"),
        ("\nquite = 'x'\n", 2, "unknown key `quite`; expected one of: fast, label, limit"),
        ("listen = 'a:1'\nlisten = 'a:1'\n", 2, "not TOML"),
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
    let error = work(&["send"]).unwrap_err();
    let message = error.to_string();
    for part in ["--to <ADDRESS>", "--amount <N>", "Usage: test-unit send"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(error.exit_code(), 2);
    let error = work(&["send", "--to", "a", "--amount", "-1"]).unwrap_err().to_string();
    assert_eq!(
        error,
        "SVC-003: invalid value `-1` for --amount: expected a whole number from 1 to 9"
    );
    let error = work(&["store"]).unwrap_err().to_string();
    assert!(error.contains("requires a subcommand"), "{error}");
    assert!(matches!(work(&["send", "--to", "a", "--amount", "9"]), Ok(Some(Work::Send { .. }))));
}

#[test]
fn printed_settings_show_what_is_unset_and_hide_credentials_and_can_be_read_again() {
    let print = |arguments: &[&str]| match load::<Config>("test-unit", arguments, &[]) {
        Err(Error::Usage { message }) => message,
        other => panic!("{other:?}"),
    };
    let arguments = ["--workers", "7", "--peers", "https://u:planted@h/x", "config"];
    let printed = print(&arguments);
    assert!(printed.contains("# limit =\n") && printed.contains("# token =\n"), "{printed}");
    assert!(printed.contains("[env: ROLLMILL_TEST_UNIT_STORE_DATA_DIR]"), "{printed}");
    assert!(!printed.contains("planted"), "{printed}");
    let toml = file(&printed);
    let again = read(&["--config", toml.path().to_str().unwrap()], &[]).unwrap();
    assert_eq!((again.workers, again.store.data_dir.as_str()), (7, "d"));
}

#[test]
fn a_sample_file_can_be_read_as_it_is_and_with_every_default_uncommented() {
    let Err(Error::Usage { message: sample }) =
        load_with_command::<Config, NoCommands>("test-unit", &["config", "--sample"], &[])
    else {
        panic!("a sample is an answer")
    };
    for part in ["#workers = 1\n", "# Worker threads\n", "#peers = [\"http://a\"]\n", "#limit =\n"]
    {
        assert!(sample.contains(part), "{part}: {sample}");
    }
    let set = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && !rest.ends_with('=') => rest.to_owned(),
        _ => line.to_owned(),
    };
    let all: Vec<String> = sample.lines().map(set).collect();
    for text in [sample.clone(), all.join("\n")] {
        let toml = file(&text);
        let config = read(&["--config", toml.path().to_str().unwrap()], &[]).unwrap();
        assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    }
}
