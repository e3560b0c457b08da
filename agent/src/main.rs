//! The proving agent's process. See the library for what it does.

use std::process::ExitCode;

use rollmill_agent::{Agent, Config, prover};
use rollmill_service::{Process, Service};

fn main() -> ExitCode {
    Service::new("agent").about("Leases proof jobs from a broker and proves them").run(
        |process: Process<Config>| async move {
            let worker = prover::open(&process.config)?;
            let agent = Agent::new(&process, worker)?;
            // Ready only now: a process that cannot prove must not look healthy.
            process.ready();
            agent.serve(&process.shutdown).await?;
            Ok(())
        },
    )
}
