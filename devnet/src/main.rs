//! The program `rollmill-devnet`: see the library and `--help`.

use std::io::Write;
use std::process::ExitCode;

use rollmill_devnet::{
    Command, Error, Network, Options, Programs, Progress, Report, RunDir, chaos, economics,
    failover, guard, scenario, tampering, terminate, upgrade,
};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    if let Some(code) = guard::dispatch() {
        return code;
    }
    let options = match Options::of_command_line() {
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
    // One thread: the kernel ties each child process to the thread that started it, and the main thread
    // lives longest.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return report(&Error::Spawn { name: "the runtime".into(), source }),
    };
    let result = runtime.block_on(run(options));
    // A client proof that is still being generated must not delay the exit.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &Error) -> ExitCode {
    eprintln!("error: {}", rollmill_service::one_line(error));
    ExitCode::from(error.exit_code())
}

async fn run(options: Options) -> Result<(), Error> {
    let mut progress = Progress::standard();
    let devnet = std::env::current_exe().map_err(Error::file("find", "the running program"))?;
    let programs = Programs::beside_this_one()?;
    let dir = match &options.command {
        Some(Command::Economics(chosen)) => &chosen.dir,
        Some(Command::Upgrade(chosen)) => &chosen.dir,
        None => &options.dir,
    };
    let dir = RunDir::create(dir.as_deref(), rand::random())?;
    let mut network = Network::new(programs, &devnet, dir)?;

    let result = tokio::select! {
        result = main_job(&options, &mut network, &mut progress) => result,
        signal = interrupted() => Err(Error::Interrupted { signal }),
    };
    progress.status(String::new());
    if network.has_started() {
        progress.line("stopping every process");
    }
    // A second signal exits immediately; the guard does the rest.
    let stopped = tokio::select! {
        stopped = network.stop() => stopped,
        signal = interrupted() => Err(Error::Interrupted { signal }),
    };
    result?;
    stopped.map(drop)
}

async fn main_job(
    options: &Options,
    network: &mut Network,
    progress: &mut Progress,
) -> Result<(), Error> {
    match &options.command {
        Some(Command::Economics(chosen)) => return economics::run(chosen, network, progress).await,
        Some(Command::Upgrade(chosen)) => return upgrade::run(chosen, network, progress).await,
        None => {}
    }
    let mut report = Report::default();
    if let Some(path) = &options.json {
        // Checked now, so that a wrong path does not cost the result of a long run.
        report.write_json(path)?;
    }
    let mut running = scenario::bring_up(options, network, progress).await?;
    let proven = match (options.tamper, options.chaos) {
        (Some(kind), _) => {
            tampering::run(kind, options, network, &mut running, progress, &mut report).await
        }
        (None, Some(minutes)) => {
            let done = chaos::run(minutes, options, network, &mut running, progress).await;
            done.map(|done| report.chaos = Some(done))
        }
        (None, None) if options.failover => {
            let done = failover::run(options, network, &mut running, progress).await;
            done.map(|done| report.takeovers = done)
        }
        (None, None) if options.terminate => {
            let done = terminate::run(options, network, &mut running, progress).await;
            done.map(|done| report.terminations = done)
        }
        (None, None) => {
            scenario::prove_epochs(options, network, &mut running, progress, &mut report).await
        }
    };
    report.jobs = running.job_reports();
    if let Some(contracts) = &running.contracts {
        report.private_calls = contracts.reports().to_vec();
    }
    report.signatures.clone_from(&running.signatures);
    progress.block(&format!("\n{}\n", report.table()));
    if let Some(path) = &options.json {
        report.write_json(path)?;
    }
    proven?;
    if options.keep_running {
        progress.line(&format!("running until Ctrl-C; node at {}", running.node.url()));
        loop {
            network.check()?;
            running.jobs.poll(progress).await?;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    }
    Ok(())
}

/// Waits for a signal that stops the network, and returns its name.
async fn interrupted() -> &'static str {
    let kinds = [
        (SignalKind::interrupt(), "Ctrl-C"),
        (SignalKind::terminate(), "SIGTERM"),
        (SignalKind::hangup(), "SIGHUP"),
    ];
    let mut waiting = Vec::new();
    for (kind, name) in kinds {
        // A signal that cannot be listened for keeps its usual effect; the guard cleans up then.
        if let Ok(mut stream) = signal(kind) {
            waiting.push(Box::pin(async move {
                stream.recv().await;
                name
            }));
        }
    }
    first(waiting).await
}

/// The result of the future that finishes first; pending forever without any.
async fn first<F: Future + Unpin>(mut futures: Vec<F>) -> F::Output {
    std::future::poll_fn(|context| {
        for future in &mut futures {
            if let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(context) {
                return std::task::Poll::Ready(output);
            }
        }
        std::task::Poll::Pending
    })
    .await
}
