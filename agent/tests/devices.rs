//! The agent's choice of a device, from outside: what cannot be used ends it with one line.

use std::path::Path;
use std::process::{Command, Output};

fn agent(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn agent_with_icicle(arguments: &[&str], folder: &Path) -> Output {
    program(arguments).env("ROLLMILL_ICICLE_DIR", folder).output().unwrap()
}

fn program(arguments: &[&str]) -> Command {
    rollmill_agent_testing::without_icicle(env!("CARGO_BIN_EXE_rollmill-agent"), arguments)
}

/// An agent on a machine with an NVIDIA driver, made of the emulator, on which `faults` go wrong.
fn with_driver(arguments: &[&str], faults: &str) -> Output {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    rollmill_agent_testing::run_with_driver(program(arguments), scratch, faults)
}

/// The line that a failing agent prints about its device, or else its last line. There are no keys
/// either, which is a line of its own.
fn failure_line(arguments: &[&str]) -> String {
    line_of(arguments, &agent(arguments))
}

fn line_of(arguments: &[&str], output: &Output) -> String {
    assert!(!output.status.success(), "{arguments:?} was accepted");
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    let ends: Vec<&str> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(ends.len(), 1, "{arguments:?}: {text}");
    let of_device: Vec<&str> =
        text.lines().filter(|line| line.contains("check=\"device\"")).collect();
    assert!(of_device.len() <= 1, "{arguments:?}: {text}");
    (*of_device.first().unwrap_or(&ends[0])).to_owned()
}

/// Goal: no file in the cache keeps an agent from proving. Method: a damaged calibration, and none at all.
#[test]
fn a_damaged_calibration_of_the_cpu_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    for (contents, is_warned) in [(Some("{\"schema\":1,"), true), (None, false)] {
        let file = folder.path().join("cpu-tuning.json");
        match contents {
            Some(text) => std::fs::write(&file, text).unwrap(),
            None => std::fs::remove_file(&file).unwrap(),
        }
        let output = program(&["devices"]).env("ROLLMILL_CACHE", folder.path()).output().unwrap();
        let (listed, logged) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success() && listed.contains("cpu-"), "{listed} {logged}");
        assert_eq!(logged.contains("calibration ignored"), is_warned, "{logged}");
        assert_eq!(logged.contains("cpu-tuning.json"), is_warned, "{logged}");
    }
}

#[test]
fn a_device_that_cannot_be_used_ends_the_agent_with_one_line() {
    for (arguments, wanted) in [
        (&["--device", "cuda:0"][..], &["AGT-032", "cuda:0", "--fallback prefer"][..]),
        (&["--device", "cuda:0", "--cuda-image", "/nonexistent/x"], &["AGT-032", "/nonexistent/x"]),
        (
            &["--device", "icicle"],
            &["AGT-032", "icicle:0", "ICICLE was not found", "/nonexistent/icicle"],
        ),
        (
            &["--device", "icicle", "--icicle-dir", "/nonexistent/y"],
            &["ICICLE was not found", "/nonexistent/y"],
        ),
        (
            &["--device", "wgpu:77"],
            &["AGT-032", "there is no adapter wgpu:77", "the adapters are wgpu:0 ("],
        ),
        (
            &["--device", "wgpu:no such adapter"],
            &["AGT-032", "there is no adapter", "no such adapter"],
        ),
        (&["--device", "auto", "--fallback", "require"], &["AGT-033", "cuda:0"]),
        (&["--device", "gpu"], &["device", "`gpu`", "expected auto, cpu, cuda:N"]),
        (&["--device", "cuda:0", "--fallback", "off"], &["cuda:0", "fallback = off"]),
        (&["--fallback", "maybe"], &["fallback"]),
    ] {
        let line = failure_line(arguments);
        for part in wanted {
            assert!(line.contains(part), "{arguments:?}: {line}");
        }
    }
}

#[test]
fn each_fault_of_a_driver_or_a_card_ends_the_agent_with_a_line_of_its_own() {
    let damaged = Path::new(env!("CARGO_TARGET_TMPDIR")).join("damaged.fatbin");
    std::fs::write(&damaged, &rollmill_kernels::COMPILED[..1000]).unwrap();
    let damaged = damaged.to_str().unwrap();
    for (arguments, faults, wanted) in [
        (
            &["--device", "cuda:0"][..],
            "version=11080",
            &["AGT-032", "driver supports CUDA 11.8"][..],
        ),
        (&["--device", "cuda:0"], "devices=0", &["AGT-032", "no CUDA device", "there are: none"]),
        (&["--device", "cuda:3"], "", &["AGT-032", "no CUDA device", "`3`", "0 (GPU-"]),
        (
            &["--device", "cuda:0"],
            "image=209",
            &["AGT-032", "could not be loaded", "NO_BINARY_FOR_GPU"],
        ),
        (
            &["--device", "cuda:0", "--cuda-image", damaged],
            "",
            &["AGT-032", "could not be loaded", "1000"],
        ),
        (&["--fallback", "require"], "init=100", &["AGT-033", "no CUDA device"]),
    ] {
        let line = line_of(arguments, &with_driver(arguments, faults));
        for part in wanted {
            assert!(line.contains(part), "{arguments:?} with {faults:?}: {line}");
        }
    }
    // The card among the devices.
    let text = String::from_utf8(with_driver(&["devices"], "").stdout).unwrap();
    assert!(text.contains("cuda:0\temulated card 0 GPU-00010203-0405-"), "{text}");
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
    assert!(!text.contains("icicle"), "{text}");
    let output = agent(&["devices", "--json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let lines = listed.iter().map(|it| {
        format!("{}\t{}", it["device"].as_str().unwrap(), it["description"].as_str().unwrap())
    });
    assert_eq!(lines.collect::<Vec<_>>(), text.lines().collect::<Vec<_>>());
}

/// ICICLE's interface without the arithmetic: every sum is the identity.
const IDLE_ICICLE: &str = r#"
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
int icicle_is_device_available(const char *device) { return strcmp(device, "CPU") != 0; }
int icicle_set_device(const char *device) { if (strcmp(device, "CPU")) abort(); return 0; }
int icicle_get_registered_devices(char *out, size_t n) { strncpy(out, "CPU", n); return 0; }
int icicle_get_device_count(int *out) { *out = 1; return 0; }
int icicle_get_available_memory(size_t *total, size_t *left) { *total = *left = 0; return 10; }
int icicle_load_backend(const char *path, bool deep) { return 12; }
int icicle_load_backend_from_env_or_default(void) { return 12; }
int icicle_malloc(void **out, size_t n) { *out = malloc(n); return 0; }
int icicle_free(void *p) { free(p); return 0; }
int icicle_copy_to_device(void *to, const void *from, size_t n) { memcpy(to, from, n); return 0; }
int bn254_msm(const void *s, const void *p, int n, const void *config, unsigned long long *out)
{ memset(out, 0, 96); out[4] = 1; return 0; }
int bn254_ntt(const void *in, int n, int direction, const void *config, void *out)
{ memcpy(out, in, 32 * (size_t)n); return 0; }
int bn254_ntt_init_domain(const void *root, const void *config) { return 0; }
int bn254_ntt_release_domain(void) { return 0; }
"#;

#[test]
fn icicle_is_listed_where_it_is_and_not_trusted_before_it_is_tested() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("idle.c");
    std::fs::write(&source, IDLE_ICICLE).unwrap();
    let file = |name: &str| {
        let name =
            format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        folder.path().join(name)
    };
    // The linker that Rust itself needs.
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(file("icicle_device")).arg(&source);
    let output = compiler.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["icicle_field_bn254", "icicle_curve_bn254"] {
        std::fs::copy(file("icicle_device"), file(name)).unwrap();
    }
    let listed = agent_with_icicle(&["devices"], folder.path());
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.status.success() && text.contains("icicle:0\tICICLE CPU:0"), "{text}");
    for (arguments, wanted) in [
        (&["--device", "icicle"][..], &["AGT-032", "computes wrong values", "an MSM of 200"][..]),
        (&["--device", "icicle:cpu"], &["computes wrong values"]),
        (&["--device", "icicle:1"], &["no ICICLE device", "CPU:0"]),
        (&["--device", "icicle:CUDA"], &["no ICICLE device", "`CUDA`"]),
    ] {
        let line = line_of(arguments, &agent_with_icicle(arguments, folder.path()));
        for part in wanted {
            assert!(line.contains(part), "{arguments:?}: {line}");
        }
    }
}
