//! The plot in the README and in docs/book/bench.md is drawn from the recorded results.
//!
//! `ROLLMILL_BLESS=1 cargo test -p rollmill-bench --test all plot` draws it again.

use std::path::Path;

/// Files of one machine that hold figures of peers.
const RECORDED: [&str; 3] = ["msm-peers", "ntt-peers", "proof"];
const MACHINE: &str = "zen4-2cores";

#[test]
fn the_plot_of_the_documentation_is_that_of_the_recorded_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let drawn = folder.path().join("peers.svg");
    let mut arguments = vec!["compare".to_owned(), "--peers".to_owned(), "--svg".to_owned()];
    arguments.push(drawn.display().to_string());
    arguments.extend(RECORDED.map(|name| {
        root.join(format!("benches/results/bench-{name}-{MACHINE}.json")).display().to_string()
    }));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let program = env!("CARGO_BIN_EXE_rollmill-bench");
    let output = rollmill_agent_testing::run_alone(program, &arguments);
    assert!(output.status.success(), "{output:?}");
    let drawn = std::fs::read_to_string(drawn).unwrap();
    for implementation in ["rollmill", "arkworks", "halo2curves", "barretenberg", "scalar"] {
        assert!(
            drawn.contains(&format!(">{implementation}</text>")),
            "{implementation} is missing"
        );
    }
    let page = root.join(format!("docs/book/peers-{MACHINE}.svg"));
    if std::env::var_os("ROLLMILL_BLESS").is_some() {
        std::fs::write(&page, &drawn).unwrap();
    }
    let committed = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        committed == drawn,
        "{} is not what the results draw: run `ROLLMILL_BLESS=1 cargo test -p rollmill-bench --test all plot`",
        page.display()
    );
}
