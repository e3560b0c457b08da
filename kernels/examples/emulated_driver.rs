//! Compiles the kernels into a driver library that emulates a card, and prints its folder: with that in
//! `LD_LIBRARY_PATH` a program finds a card on a machine without one. Usage: `emulated_driver FOLDER`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: emulated_driver FOLDER");
        return ExitCode::from(2);
    };
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The library is found by this path wherever the program runs.
    let made = std::path::absolute(folder)
        .and_then(|folder| rollmill_kernels::compile_emulated_driver(here, &folder));
    match made {
        Ok(made) => {
            println!("{}", made.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
