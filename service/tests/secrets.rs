//! A secret is read where its setting counts, and nowhere else.

use rollmill_service::{Secret, Settings, load};

#[derive(Clone, Debug, clap::Args)]
struct Config {
    /// Token of clients
    #[arg(long, value_name = "file:PATH|env:NAME")]
    token: Option<Secret>,
}

impl Settings for Config {}

/// Goal: a settings file that machines share may name a secret that one of them does not have, and has by a flag or a
/// variable from elsewhere. What is written is checked all the same: it is no secret itself.
#[test]
fn an_overridden_secret_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let [toml, own] = ["settings.toml", "own"].map(path);
    let (gone, own_file) = ("file:/nonexistent/token", format!("file:{own}"));
    std::fs::write(&own, "mine").unwrap();
    let load = |written: &str, flags: &[&str], variable: Option<&str>| {
        std::fs::write(&toml, format!("token = '{written}'\n")).unwrap();
        let flags = [&["--config", &toml], flags].concat();
        let variables: Vec<_> =
            variable.map(|v| ("ROLLMILL_TEST_UNIT_TOKEN", v)).into_iter().collect();
        let loaded = load::<Config>("test-unit", &flags, &variables);
        loaded.map(|(config, _)| config.token.unwrap().reveal().to_owned())
    };
    let flag = ["--token", &own_file];
    assert_eq!(load(gone, &[], Some(&own_file)).unwrap(), "mine");
    assert_eq!(load(gone, &flag, None).unwrap(), "mine");
    assert_eq!(load(gone, &flag, Some(gone)).unwrap(), "mine");
    assert_eq!(load(&own_file, &flag, Some("env:ROLLMILL_TEST_UNIT_NOT_SET")).unwrap(), "mine");
    // What counts is read, whatever lies below it.
    for error in [load(gone, &[], None), load(&own_file, &[], Some(gone))] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/token does not exist"), "{error}");
    }
    for (error, what) in [
        (load("hunter2", &flag, None), "settings.toml, line 1: invalid value for token"),
        (load(gone, &flag, Some("hunter2")), "invalid value for ROLLMILL_TEST_UNIT_TOKEN"),
        (load(" ", &flag, None), "the value of token is empty"),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(what) && !error.contains("hunter2"), "{error}");
    }
}
