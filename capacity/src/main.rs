//! The program `rollmill-capacity`: see the library and `--help`.

use std::io::Write;
use std::process::ExitCode;

use rollmill_capacity::options::{Command, Options};
use rollmill_capacity::report;

fn main() -> ExitCode {
    let options: Options = match rollmill_service::command_line(std::env::args_os()) {
        Ok(Ok(options)) => options,
        Ok(Err(text)) => {
            // A closed pipe (`--help | head`) is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("error: {}", rollmill_service::one_line(&error));
            return ExitCode::from(error.exit_code());
        }
    };
    let printed = match &options.command {
        Command::Plan(options) => report::plans(options),
        Command::Simulate(options) => report::simulation(options),
    };
    match printed {
        Ok(text) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", rollmill_service::one_line(&error));
            ExitCode::from(error.exit_code())
        }
    }
}
