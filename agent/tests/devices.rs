//! The agent's choice of a device, from outside: what cannot be used ends it with one line.

use std::process::{Command, Output};

fn agent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_agent"))
        .args(arguments)
        .env("ROLLMILL_CACHE", "/nonexistent/cache")
        // The graphics driver complains where it is not set.
        .env("XDG_RUNTIME_DIR", std::env::temp_dir())
        .output()
        .unwrap()
}

/// The one line that a failing agent says.
fn refusal(arguments: &[&str]) -> String {
    let output = agent(arguments);
    assert!(!output.status.success(), "{arguments:?} was accepted");
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("error")).collect();
    assert_eq!(lines.len(), 1, "{arguments:?}: {text}");
    lines[0].to_owned()
}

#[test]
fn a_device_that_cannot_be_used_ends_the_agent_with_one_line() {
    for (arguments, wanted) in [
        (&["--device", "cuda:0"][..], &["AGT-032", "cuda:0", "CUD-00", "--fallback prefer"][..]),
        (&["--device", "cuda:0", "--cuda-image", "/nonexistent/x"], &["AGT-032", "/nonexistent/x"]),
        (&["--device", "icicle:0"], &["AGT-032", "icicle:0"]),
        (&["--device", "wgpu:77"], &["AGT-032", "SHD-002", "there are"]),
        (&["--device", "wgpu:no such adapter"], &["AGT-032", "SHD-002", "no such adapter"]),
        (&["--device", "auto", "--fallback", "require"], &["AGT-033", "cuda:0"]),
        (&["--device", "gpu"], &["device", "`gpu`", "expected auto, cpu, cuda:N"]),
        (&["--device", "cuda:0", "--fallback", "off"], &["cuda:0", "fallback = off"]),
        (&["--fallback", "maybe"], &["fallback"]),
    ] {
        let line = refusal(arguments);
        for part in wanted {
            assert!(line.contains(part), "{arguments:?}: {line}");
        }
    }
}

/// Mesa's software adapter is installed with the tools for the tests.
#[test]
fn the_devices_of_the_machine_are_listed_as_they_are_named() {
    let output = agent(&["devices"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.lines().next().unwrap().starts_with("cpu\tcpu"), "{text}");
    assert!(text.contains("wgpu:0\t"), "{text}");
    assert!(text.contains("software"), "{text}");
}
