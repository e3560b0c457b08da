//! Every setting of every program, set wrong by flag, by environment and by file, is named in the
//! answer; and a subcommand runs beside its server with the server's own file.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rollmill_devnet::Programs;

const PROGRAMS: &[&str] = &[
    "rollmill-agent",
    "rollmill-broker",
    "rollmill-l1",
    "rollmill-prover-node",
    "rollmill-pxe",
    "rollmill-sequencer",
];

fn program(name: &str) -> PathBuf {
    Programs::beside(Path::new(env!("CARGO_BIN_EXE_rollmill-devnet"))).own(name).unwrap()
}

struct Setting {
    table: String,
    key: String,
    variable: String,
    /// A value of the wrong kind: text where a number, a truth value or a URL is expected, no name where names are, and
    /// nothing where any text would do.
    wrong: &'static str,
}

impl Setting {
    fn dotted(&self) -> String {
        if self.table.is_empty() {
            self.key.clone()
        } else {
            format!("{}.{}", self.table, self.key)
        }
    }

    fn flag(&self) -> String {
        let dotted = self.dotted();
        dotted.strip_prefix("service.").unwrap_or(&dotted).replace(['.', '_'], "-")
    }
}

/// The settings of a program, as it prints them itself.
fn settings(program: &Path) -> Vec<Setting> {
    let output = Command::new(program).args(["config", "--print"]).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let (mut table, mut variable, mut out) = (String::new(), String::new(), Vec::new());
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("[env: ") {
            variable = rest.trim_end_matches(']').to_owned();
        } else if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.trim_start_matches("# ").split_once(" =") {
            let value = value.trim();
            let typed = !value.is_empty() && !value.starts_with(['"', '\'']);
            out.push(Setting {
                table: table.clone(),
                key: key.to_owned(),
                variable: std::mem::take(&mut variable),
                wrong: match key {
                    // Nothing is an empty list, and nonsense a name.
                    "listen_hosts" => "a/b",
                    _ if typed => "nonsense",
                    _ => "",
                },
            });
        }
    }
    assert!(out.len() >= 8 && out.iter().all(|setting| !setting.variable.is_empty()), "{text}");
    out
}

/// Requires a message that names what the user wrote: the flag, the variable or the key.
fn assert_rejected(output: &Output, setting: &Setting, layer: &str, written: &str, program: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    let what = format!("{program}: {} by {layer}: {error}", setting.dotted());
    assert_eq!(output.status.code(), Some(2), "{what}");
    assert!(error.contains(written), "{what}");
    // A setting may have the name of a format.
    let error = error.replace(written, "");
    for word in ["invalid type", "invalid digit", "u64", "usize", "JSON", "serde"] {
        assert!(!error.contains(word), "{what}");
    }
}

#[test]
fn every_setting_that_is_wrong_is_named_by_every_program() {
    let folder = tempfile::tempdir().unwrap();
    for name in PROGRAMS {
        let path = program(name);
        let run = || {
            let mut command = Command::new(&path);
            // Only printed: a value that is taken by mistake starts nothing.
            command.args(["config", "--print"]).current_dir(folder.path());
            command
        };
        for setting in settings(&path) {
            let flag = format!("--{}={}", setting.flag(), setting.wrong);
            let written = format!("--{}", setting.flag());
            assert_rejected(&run().arg(flag).output().unwrap(), &setting, "flag", &written, name);
            let set = run().env(&setting.variable, setting.wrong).output().unwrap();
            assert_rejected(&set, &setting, "environment", &setting.variable, name);
            let file = folder.path().join("wrong.toml");
            let head = match setting.table.as_str() {
                "" => String::new(),
                table => format!("[{table}]\n"),
            };
            std::fs::write(&file, format!("{head}{} = '{}'\n", setting.key, setting.wrong))
                .unwrap();
            let read = run().arg("--config").arg(&file).output().unwrap();
            assert_rejected(&read, &setting, "file", &setting.dotted(), name);
            assert!(String::from_utf8_lossy(&read.stderr).contains("line "), "{read:?}");
        }
    }
}

/// Goal: the exit code is 2 for every usage error, whichever part of a program finds it.
#[test]
fn a_setting_that_cannot_be_used_ends_each_program_with_2() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("nonsense"), "nonsense").unwrap();
    let to = rollmill_pxe::keys::Keys::from_seed(&[1; 32]).address().to_string();
    let hash = format!("0x{}", "0".repeat(64));
    let zero = format!("0x{}", "0".repeat(40));
    for (name, arguments, code) in [
        ("rollmill-broker", &["--database-url", "file:nonsense"][..], "BRK-008"),
        ("rollmill-broker", &["--database-url", "file:nonsense", "migrate"], "BRK-008"),
        (
            "rollmill-broker",
            &["tokens", "add", "x", "agent", "a/b"],
            "SVC-003: invalid value `a/b` for <TENANT>: ",
        ),
        (
            "rollmill-broker",
            &["status", "--url", "ftp://x"],
            "SVC-001: invalid value for --url: an address that starts with `ftp://`",
        ),
        (
            "rollmill-agent",
            &["--device", "cpu", "--broker", "ftp://x"],
            "SVC-001: invalid value for --broker",
        ),
        ("rollmill-bench", &["run", "--sizes", "27"], "BEN-001"),
        ("rollmill-sequencer", &[], "NODE-064"),
        (
            "rollmill-sequencer",
            &["--node-rollup", "0x12"],
            "SVC-001: invalid value `0x12` for --node-rollup",
        ),
        (
            "rollmill-sequencer",
            &["--coinbase", "0x12"],
            "SVC-001: invalid value `0x12` for --coinbase",
        ),
        (
            "rollmill-sequencer",
            &["--node-poll-ms", "0"],
            "SVC-001: invalid value `0` for --node-poll-ms",
        ),
        ("rollmill-sequencer", &["--node-l1-urls", "http://["], "L1-003"),
        ("rollmill-sequencer", &["--node-tx-sources", "http://["], "NDC-005"),
        (
            "rollmill-prover-node",
            &["--prover-id", "0x12"],
            "SVC-001: invalid value `0x12` for --prover-id",
        ),
        (
            "rollmill-prover-node",
            &["ranges", "show", "x"],
            "SVC-003: invalid value `x` for <RANGE>",
        ),
        ("rollmill-l1", &[], "SVC-003: 'rollmill-l1' requires a subcommand"),
        ("rollmill-l1", &["--l1-urls", "http://[", "deployment"], "L1-003"),
        ("rollmill-l1", &["--from", &zero, "deployment"], "SVC-001: "),
        (
            "rollmill-l1",
            &["bond", "deposit", "--amount", "1e3"],
            "SVC-003: invalid value `1e3` for --amount: expected an amount of AZT",
        ),
        (
            "rollmill-sequencer",
            &["--bond-top-up", "-1"],
            "SVC-001: invalid value `-1` for --bond-top-up: expected an amount of AZT",
        ),
        ("rollmill-pxe", &[], "SVC-003: 'rollmill-pxe' requires a subcommand"),
        ("rollmill-prover-node", &["--broker", "http://["], "BRC-010"),
        ("rollmill-pxe", &["--node-url", "http://[", "status", &hash], "NDC-005"),
        (
            "rollmill-pxe",
            &["transfer", "--to", "x", "--amount", "1"],
            "SVC-003: invalid value `x` for --to",
        ),
        ("rollmill-pxe", &["transfer", "--to", &to[..31], "--amount", "1"], "a part is missing"),
        (
            "rollmill-pxe",
            &["transfer", "--to", &to, "--amount", "0"],
            "SVC-003: invalid value `0` for --amount",
        ),
        ("rollmill-pxe", &["status", "0x1"], "SVC-003: invalid value `0x1` for <HASH>"),
        ("rollmill-pxe", &["--keystore", "nonsense", "address"], "PXE-012"),
    ] {
        let mut command = Command::new(program(name));
        let output = command.current_dir(folder.path()).args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name} {arguments:?}: {error}");
        assert!(error.contains(code), "{name} {arguments:?}: {error}");
    }
}

/// Goal: the command that shows the settings also reports a misspelt variable.
#[test]
fn a_misspelt_variable_is_told_with_the_one_that_was_meant() {
    for (name, wrong, right) in [
        ("rollmill-broker", "ROLLMILL_BROKER_LISEN", "ROLLMILL_BROKER_LISTEN"),
        ("rollmill-sequencer", "ROLLMILL_SEQUENCER_L1_ULRS", "ROLLMILL_SEQUENCER_NODE_L1_URLS"),
        ("rollmill-sequencer", "ROLLMILL_SEQUENCER_ROLLUP", "ROLLMILL_SEQUENCER_NODE_ROLLUP"),
    ] {
        let output = Command::new(program(name)).arg("config").env(wrong, "x").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(&format!("{wrong} names no setting")), "{error}");
        assert!(error.contains(&format!("did you mean {right}?")), "{error}");
    }
}

/// Subcommands by program, with arguments with which they exit soon in any case.
const COMMANDS: &[(&str, &[&[&str]])] = &[
    (
        "rollmill-broker",
        &[
            &["status"],
            &["jobs"],
            &["dead-letters", "list"],
            &["pardon", "a"],
            &["agents", "drain", "a"],
            &["doctor"],
            &["check"],
        ],
    ),
    ("rollmill-agent", &[&["devices"], &["srs", "check", "/nonexistent"], &["check"]]),
    ("rollmill-prover-node", &[&["keys", "/nonexistent/key"], &["ranges", "list"], &["check"]]),
    ("rollmill-sequencer", &[&["check"]]),
];

#[test]
fn a_subcommand_runs_beside_its_server_with_the_servers_file() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    let admin = server.local_addr().unwrap();
    std::fs::write(&file, format!("[service]\nadmin_listen = '{admin}'\n")).unwrap();
    let run = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(program(name));
        command.current_dir(folder.path()).arg("--config").arg(&file).args(arguments);
        String::from_utf8_lossy(&command.output().unwrap().stderr).into_owned()
    };
    for (name, commands) in COMMANDS {
        for arguments in *commands {
            let error = run(name, arguments);
            let taken = error.contains("SVC-005") || error.contains("admin endpoint");
            assert!(!taken, "{name} {arguments:?}: {error}");
            assert!(!error.contains("SVC-003"), "{name} {arguments:?} is no command: {error}");
        }
        assert!(run(name, &[]).contains("SVC-005"), "{name}: the server itself binds it");
    }
}

/// Attack: a log, a terminal or `/status` shows the password in the URL of a server that does not
/// respond.
#[test]
fn a_password_in_a_url_is_in_no_output() {
    const PASSWORD: &str = "planted";
    let folder = tempfile::tempdir().unwrap();
    // The port of the discard service has no listener. A long part of a path is a key, as providers of
    // L1 nodes have them.
    let server = format!("bob:{PASSWORD}@127.0.0.1:9/{PASSWORD}0123456789abcdef");
    let (http, postgres) = (format!("http://{server}"), format!("postgres://{server}"));
    let transaction = format!("0x{}", "1".repeat(64));
    let status = ["status", transaction.as_str()];
    let of_wallet: [&[&str]; 1] = [&status];
    let wallet = ("rollmill-pxe", of_wallet.as_slice());
    let shown: &[&str] = &["config", "--print"];
    for (name, commands) in COMMANDS.iter().copied().chain([wallet]) {
        let path = program(name);
        let urls = settings(&path).into_iter().filter_map(|setting| {
            let value = match setting.key.as_str() {
                "database_url" => "env:ROLLMILL_TEST_DATABASE",
                "broker" | "tx_sources" | "url" => &http,
                key if key.ends_with("_url") || key.ends_with("_urls") => &http,
                _ => return None,
            };
            Some(format!("--{}={value}", setting.flag()))
        });
        let urls: Vec<String> = urls.collect();
        assert!(!urls.is_empty(), "{name} has a URL");
        let mut named = 0;
        for arguments in commands.iter().copied().chain([shown]) {
            let mut command = Command::new(&path);
            command.args(&urls).args(arguments).current_dir(folder.path());
            command.env("ROLLMILL_TEST_DATABASE", &postgres);
            let output = command.output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            named += usize::from(text.contains("127.0.0.1:9"));
            assert!(!text.contains(PASSWORD), "{name} {arguments:?}: {text}");
        }
        assert!(named > 1, "{name}: only its settings name the servers");
        // What cannot be used is not repeated either.
        for wrong in ["wss://host", "http://[", "bob:planted@host", "host"] {
            let wrong = format!("{wrong}/{PASSWORD}0123456789abcdef");
            for flag in urls.iter().filter(|flag| flag.contains(&http)) {
                let mut command = Command::new(&path);
                command
                    .arg(flag.replace(&http, &wrong))
                    .args(commands[0])
                    .current_dir(folder.path());
                let output = command.output().unwrap();
                let text = [output.stdout, output.stderr].concat();
                let text = String::from_utf8_lossy(&text);
                assert!(!text.contains(PASSWORD), "{name} {wrong}: {text}");
            }
        }
    }
}
