//! The file of a deployment is the layer right above the defaults, and nobody contradicts what it identifies.

use std::path::PathBuf;

use rollmill_service::{Fact, Settings, load, values};

#[derive(Clone, Debug, clap::Args)]
struct Config {
    /// Chain
    #[arg(id = "node.chain_id", long, value_name = "ID", default_value_t = 31337)]
    #[arg(value_parser = values::whole(1..=u64::from(u32::MAX)))]
    chain_id: u64,
    /// Address
    #[arg(id = "node.rollup", long, value_name = "ADDRESS")]
    rollup: Option<String>,
    /// Block
    #[arg(long, value_name = "BLOCK", default_value_t = 0, value_parser = values::whole(0..=100_u64))]
    start: u64,
    /// File
    #[arg(long, value_name = "FILE", default_value = "genesis.json")]
    genesis: PathBuf,
}

impl Settings for Config {
    const DEPLOYMENT: &'static [Fact] = &[
        Fact::identity("node.chain_id", "chain_id"),
        Fact::identity("node.rollup", "contracts.rollup"),
        Fact::default("start", "l1_start"),
        Fact::path("genesis", "genesis"),
    ];
}

const FILE: &str = "format = 1\nchain_id = 7\nl1_start = 5\ngenesis = \"genesis.json\"\nother = true\n\
                    [contracts]\nrollup = \"0xAb\"\n";

struct Case {
    folder: tempfile::TempDir,
}

impl Case {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("deployment.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn load(&self, flags: &[&str], variables: &[(&str, &str)]) -> Result<Config, String> {
        let file = self.path("deployment.toml");
        let flags = [&["--deployment", &file], flags].concat();
        load("case", &flags, variables).map(|(config, _)| config).map_err(|error| error.to_string())
    }
}

#[test]
fn the_file_ranks_above_the_defaults_and_below_everything_else() {
    let case = Case::new(FILE);
    let config = case.load(&[], &[]).unwrap();
    assert_eq!((config.chain_id, config.rollup.as_deref(), config.start), (7, Some("0xAb"), 5));
    // Beside the file, wherever the process was started.
    assert_eq!(config.genesis, case.folder.path().join("genesis.json"));

    let file = case.path("settings.toml");
    std::fs::write(&file, "start = 6\ngenesis = \"own.json\"\n").unwrap();
    let config = case.load(&["--config", &file], &[]).unwrap();
    assert_eq!((config.start, config.genesis), (6, PathBuf::from("own.json")));
    let variable = [("ROLLMILL_CASE_START", "7")];
    assert_eq!(case.load(&["--config", &file], &variable).unwrap().start, 7);
    assert_eq!(case.load(&["--start", "8"], &variable).unwrap().start, 8);
}

#[test]
fn the_file_is_named_by_flag_variable_or_settings_file() {
    let case = Case::new(FILE);
    let (file, settings) = (case.path("deployment.toml"), case.path("settings.toml"));
    let by_variable = load::<Config>("case", &[], &[("ROLLMILL_CASE_DEPLOYMENT", &file)]);
    assert_eq!(by_variable.unwrap().0.chain_id, 7);
    std::fs::write(&settings, format!("[service]\ndeployment = \"{file}\"\n")).unwrap();
    let by_file = load::<Config>("case", &["--config", &settings], &[]);
    assert_eq!(by_file.unwrap().0.chain_id, 7);
}

#[test]
fn a_contradiction_names_both_places() {
    let case = Case::new(FILE);
    let error = case.load(&["--node-chain-id", "8"], &[]).unwrap_err();
    assert!(
        error.starts_with("SVC-001: node.chain_id = 8 (--node-chain-id) contradicts 7 ("),
        "{error}"
    );
    assert!(error.contains("deployment.toml, line 2"), "{error}");
    let error = case.load(&[], &[("ROLLMILL_CASE_NODE_ROLLUP", "0xcd")]).unwrap_err();
    assert!(
        error.contains("node.rollup = 0xcd (ROLLMILL_CASE_NODE_ROLLUP) contradicts 0xAb"),
        "{error}"
    );
    // The same value is no contradiction, whatever the case of its digits.
    case.load(&["--node-rollup", "0xaB", "--node-chain-id", "7"], &[]).unwrap();
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    for (text, part) in [
        ("", "format 1 expected, got none"),
        ("format = 2\n", "format 1 expected, got 2"),
        ("format = \n", "line 1: not TOML"),
        ("format = 1\nchain_id = \"7\"\n", "line 2: invalid value for chain_id"),
        ("format = 1\nl1_start = 101\n", "line 2: invalid value `101` for l1_start"),
    ] {
        let error = Case::new(text).load(&[], &[]).unwrap_err();
        assert!(error.starts_with("SVC-001: ") && error.contains(part), "{text}: {error}");
    }
    let error = load::<Config>("case", &["--deployment", "/nowhere/d.toml"], &[]).unwrap_err();
    let error = error.to_string();
    assert!(error.starts_with("SVC-016: ") && error.contains("correct --deployment"), "{error}");
}
