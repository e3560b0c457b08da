//! Puts an NVIDIA driver and its management library, both without a card, into a folder, and prints the search path
//! with which a program finds them: `cargo run -p rollmill-agent-testing --example card -- FOLDER`.
//!
//! `deploy/live.py` starts an agent on them, whose card then fails.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("error: name a folder");
        return ExitCode::from(2);
    };
    let folder = std::path::absolute(Path::new(&folder)).expect("the current folder is there");
    let driver = rollmill_agent_testing::driver(&folder);
    rollmill_agent_testing::compile_management(&folder.join("libnvidia-ml.so.1"), &[]);
    let paths = std::env::join_paths([driver, folder]).expect("no separator in a path");
    println!("{}", paths.display());
    ExitCode::SUCCESS
}
