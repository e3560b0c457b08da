//! The agent's commands from outside: a command that fails ends with one line.

use std::process::Output;

use rollmill_agent_testing::{assert_fails_with_one_line, run_alone};
use rollmill_circuits::Circuit;
use rollmill_circuits::keyset::{CircuitKey, KeySet};
use rollmill_plonk::srs::Srs;

const AGENT: &str = env!("CARGO_BIN_EXE_rollmill-agent");

fn agent(arguments: &[&str]) -> Output {
    run_alone(AGENT, arguments)
}

#[test]
fn a_command_that_fails_ends_with_one_line() {
    for (arguments, expected) in [
        (&["srs", "check", "/nonexistent/srs.bin"][..], &["AGT-050", "/nonexistent/srs.bin"][..]),
        (
            &["srs", "check", "/etc/passwd"],
            &["AGT-052", "/etc/passwd", "`RMSRS`", "rollmill-agent srs"],
        ),
        (&["srs", "import", "--from", "/dev/null", "--out", "x"], &["AGT-053", "/dev/null"]),
        (&["srs", "make", "--powers", "1", "--out", "x"], &["--powers"]),
        (&["srs"], &["subcommand"]),
    ] {
        assert_fails_with_one_line(AGENT, arguments, expected);
    }
}

#[test]
fn an_srs_is_made_and_found_right_by_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("srs.bin").display().to_string();
    let made = agent(&["srs", "make", "--powers", "9", "--out", &path]);
    assert!(made.status.success(), "{made:?}");
    let checked = agent(&["srs", "check", &path]);
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(made.stdout, checked.stdout);
}

/// Attack: whoever listens between two machines takes a token out of a request. It is sent over plain HTTP to another
/// machine only where the operator says that the network encrypts.
#[test]
fn a_token_is_sent_unencrypted_to_this_machine_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "planted").unwrap();
    let token = format!("file:{}", path.display());
    let is_rejected = |broker: &str, flag: &str| {
        let arguments = ["--device", "cpu", "--broker", broker, "--token", &token, flag, "check"];
        let output = agent(&arguments);
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        let text = text.concat();
        assert!(!text.contains("planted"), "{text}");
        // Nobody listens on port 1.
        let is_rejected = text.contains("BRC-019");
        assert_ne!(is_rejected, text.contains("BRC-011"), "{text}");
        is_rejected
    };
    let (default, told) = ("--plain-tokens=false", "--plain-tokens");
    // It leads to this machine, but its name does not say so.
    assert!(is_rejected("http://0.0.0.0:1", default));
    assert!(!is_rejected("http://0.0.0.0:1", told));
    assert!(!is_rejected("http://127.0.0.1:1", default));
    assert!(!is_rejected("https://0.0.0.0:1", default));
}

/// Goal: keys that are damaged, of another circuit, of another SRS or missing, and SRS files that are
/// damaged, each end the agent at its start; and `auto` says by then what it chose and why.
#[test]
fn a_wrong_key_ends_the_agent_with_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let powers = (1 << 17) + rollmill_plonk::srs::EXTRA_POWERS;
    let srs = Srs::development_of(powers).to_bytes();
    std::fs::write(at("srs.bin"), &srs).unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../circuits/tests/golden/keys.set");
    let good = std::fs::read(golden).unwrap();
    // What the checks find ends the start before a device is opened.
    let start = |opens: bool| {
        let keys_dir = folder.path().display().to_string();
        let arguments = ["--device", "auto", "--keys-dir", &keys_dir];
        let output = agent(&arguments);
        assert!(!output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let chosen = text.lines().find(|line| line.contains("device selected"));
        assert_eq!(chosen.is_some_and(|line| line.contains("cuda:0")), opens, "{text}");
        let errors: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{text}");
        assert_eq!(text.lines().last(), Some(errors[0]), "{text}");
        errors[0].to_owned()
    };
    let assert_rejected = |what: &str, set: &[u8], opens: bool, wanted: &[&str]| {
        std::fs::write(at("keys.set"), set).unwrap();
        let line = start(opens);
        for part in wanted {
            assert!(line.contains(part), "{what}: {line}");
        }
    };
    let line = start(false);
    assert!(line.contains("AGT-030") && line.contains("rollmill-agent keys --keys-dir"), "{line}");
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    assert_rejected("a changed byte", &changed, false, &["AGT-030"]);
    assert_rejected(
        "half of it",
        &good[..good.len() / 2],
        false,
        &["AGT-030", "keys.set", "rollmill-agent keys --keys-dir"],
    );
    assert_rejected("another file", b"no keys", false, &["AGT-030"]);

    let set = KeySet::from_bytes(&good).unwrap();
    let with = |change: &dyn Fn(&mut CircuitKey), tau_g2| {
        let mut keys: Vec<CircuitKey> =
            Circuit::ALL.into_iter().map(|circuit| set.key(circuit).clone()).collect();
        keys.iter_mut().for_each(change);
        KeySet::new(keys, tau_g2).unwrap().to_bytes()
    };
    // As another build would lay it out.
    std::fs::write(at("keys.set"), &good).unwrap();
    let keys_dir = folder.path().display().to_string();
    for (chain, wanted) in [("31337", "ok      keys: "), ("1", "this is a development SRS")] {
        let output =
            agent(&["--device", "cpu", "--keys-dir", &keys_dir, "--chain-id", chain, "check"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(wanted), "chain {chain}: {text}");
    }
    let other = with(&|key| key.layout_digest[0] ^= 1, *set.tau_g2());
    assert_rejected(
        "another layout",
        &other,
        true,
        &["AGT-030", "tx_base", "run `rollmill-agent keys`"],
    );
    let ptau = include_bytes!("../../plonk/tests/fixtures/power2.ptau");
    let ceremony = Srs::import_ptau(&mut std::io::Cursor::new(&ptau[..]), None, 1).unwrap();
    let other = with(&|key| key.vk.srs_id = ceremony.id(), ceremony.tau_g2);
    assert_rejected("another string", &other, false, &["AGT-030", "SRS"]);
    // The set on disk is that of the other SRS: `check` must see what the start sees.
    let output = agent(&["--device", "cpu", "--keys-dir", &keys_dir, "check"]);
    assert!(String::from_utf8(output.stdout).unwrap().contains("rollmill-agent keys --keys-dir"));

    let mut changed = srs;
    changed[4000] ^= 1;
    std::fs::write(at("srs.bin"), changed).unwrap();
    assert_rejected(
        "a damaged string",
        &good,
        false,
        &["AGT-030", "SRS file", "rollmill-agent srs import --out"],
    );
}
