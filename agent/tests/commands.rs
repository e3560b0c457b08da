//! The agent's commands from outside: what cannot be done ends them with one line.

use std::process::{Command, Output};

fn agent(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_agent"))
        .args(arguments)
        // Nowhere near a folder of npm's, and nothing on the path.
        .current_dir(folder.path())
        .env("PATH", folder.path())
        .env("ROLLMILL_CACHE", "/nonexistent/cache")
        .output()
        .unwrap()
}

#[test]
fn a_command_that_cannot_be_done_ends_with_one_line() {
    for (arguments, wanted) in [
        (
            &["--device", "cpu", "bench", "--only", "poseidon2", "--peers", "barretenberg"][..],
            &["AGT-046", "barretenberg", "--bb"][..],
        ),
        (
            &["--device", "cpu", "bench", "--only", "poseidon2", "--bb", "/nonexistent/bb"],
            &["AGT-046", "/nonexistent/bb"],
        ),
        (&["srs", "check", "/nonexistent/srs.bin"], &["AGT-050", "/nonexistent/srs.bin"]),
        (&["srs", "import", "--from", "/dev/null", "--out", "x"], &["AGT-053", "/dev/null"]),
        (&["srs", "make", "--powers", "1", "--out", "x"], &["--powers"]),
        (&["srs"], &["subcommand"]),
    ] {
        let output = agent(arguments);
        assert!(!output.status.success(), "{arguments:?} was accepted");
        let text = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("error")).collect();
        assert_eq!(lines.len(), 1, "{arguments:?}: {text}");
        for part in wanted {
            assert!(lines[0].contains(part), "{arguments:?}: {}", lines[0]);
        }
    }
}

#[test]
fn a_string_is_made_and_found_right_by_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("srs.bin").display().to_string();
    let made = agent(&["srs", "make", "--powers", "9", "--out", &path]);
    assert!(made.status.success(), "{made:?}");
    let checked = agent(&["srs", "check", &path]);
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(made.stdout, checked.stdout);
}
