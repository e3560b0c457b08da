//! The program `rollmill-noir`. See the library for what it does.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use rand::RngCore as _;
use rand::rngs::OsRng;
use rollmill_acir::artifact::Function;
use rollmill_acir::lower::Options;
use rollmill_agent::Config;
use rollmill_agent::accelerator::{self, Accelerator};
use rollmill_algebra::device::Device;
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_noir::backend::{self, Backend, Order};
use rollmill_noir::files::{
    KeyFile, ProofFile, create_directory, require_other, require_writable, unwritable, write,
    write_bytes,
};
use rollmill_noir::{NoirError, inputs, program, solidity};
use rollmill_plonk::transcript::TranscriptKind;
use rollmill_service::{Outcome, Process, Service, values};

/// The settings that choose a device and its keys.
const USED: &[&str] = &[
    "device",
    "fallback",
    "threads",
    "cuda_image",
    "adapter_rows",
    "adapter_memory_mib",
    "icicle_dir",
    "keys_dir",
    "chain_id",
];

/// After a signal the work in progress has this long to end by itself.
const STOP_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Clone, Subcommand)]
enum Commands {
    /// Print the rows of a program by kind of opcode
    Gates {
        #[command(flatten)]
        program: ProgramArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make the key of a program, which provers and verifiers use
    Key {
        #[command(flatten)]
        program: ProgramArgs,
        /// File to write the key to
        #[arg(long, value_name = "FILE", default_value = "noir-key.json")]
        output: PathBuf,
    },
    /// Prove that a program accepts its inputs, and print what it returns
    Prove {
        #[command(flatten)]
        program: ProgramArgs,
        /// Values of the parameters: TOML, or JSON if the name ends with .json
        #[arg(long, value_name = "FILE", default_value = "Prover.toml")]
        inputs: PathBuf,
        /// Key to prove with [default: make it, or take it from the directory of keys]
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Hash of the challenges: keccak for verifiers on Ethereum, poseidon2 for verifiers in a circuit
        #[arg(long, value_name = "HASH", default_value = "keccak")]
        transcript: Hash,
        /// File to write proof and public inputs to
        #[arg(long, value_name = "FILE", default_value = "noir-proof.json")]
        output: PathBuf,
    },
    /// Execute a program and write its witness, as other provers of Noir programs read it
    ///
    /// The file has every private value.
    Witness {
        /// Artifact that `nargo compile` wrote to the directory `target`
        #[arg(value_name = "ARTIFACT")]
        artifact: PathBuf,
        /// Function to execute; of a contract, one of its private functions
        #[arg(long, value_name = "FUNCTION", default_value = "main")]
        function: String,
        /// Values of the parameters: TOML, or JSON if the name ends with .json
        #[arg(long, value_name = "FILE", default_value = "Prover.toml")]
        inputs: PathBuf,
        /// File to write the witness to
        #[arg(long, value_name = "FILE", default_value = "witness.gz")]
        output: PathBuf,
    },
    /// Verify a proof with the key of its program
    ///
    /// Exit code 0 means that the proof is valid for the public inputs in its file. Compare those with what you expect.
    Verify {
        /// Key of the program, from a source that you trust
        #[arg(long, value_name = "FILE", default_value = "noir-key.json")]
        key: PathBuf,
        /// Proof and public inputs
        #[arg(long, value_name = "FILE", default_value = "noir-proof.json")]
        proof: PathBuf,
    },
    /// Write a Solidity contract that verifies the proofs of a program, and the interface that it imports
    Solidity {
        /// Key of the program
        #[arg(long, value_name = "FILE", default_value = "noir-key.json")]
        key: PathBuf,
        /// Name of the contract
        #[arg(long, value_name = "NAME", default_value = "NoirVerifier")]
        contract: String,
        /// Directory to write NAME.sol and IVerifier.sol to; it is made if it is missing
        #[arg(long, value_name = "DIR", default_value = ".")]
        output: PathBuf,
    },
    /// List the devices that --device can name
    Devices,
}

/// A function of an artifact, and how it is laid out.
#[derive(Debug, Clone, Args)]
struct ProgramArgs {
    /// Artifact that `nargo compile` wrote to the directory `target`
    #[arg(value_name = "ARTIFACT")]
    artifact: PathBuf,
    /// Function to prove; of a contract, one of its private functions
    #[arg(long, value_name = "FUNCTION", default_value = "main")]
    function: String,
    /// Bits of a limb cell; a circuit has at least 2^BITS rows [1 to 16] [default: those of the key, else those of 12, 10
    /// and 8 under which the circuit is smallest]
    #[arg(long, value_name = "BITS", value_parser = values::whole(1..=16_u32))]
    cell_bits: Option<u32>,
    /// Base-2 logarithm of the most rows that a circuit may have [4 to 25]
    #[arg(long, value_name = "LOG", default_value_t = 22, value_parser = values::whole(4..=25_u32))]
    max_log_rows: u32,
}

impl ProgramArgs {
    /// How the function is laid out, to be proven under this key if there is one.
    fn options(&self, function: &Function, key: Option<&KeyFile>) -> Result<Options, NoirError> {
        let options = Options { rows_max: 1 << self.max_log_rows, ..Options::default() };
        match self.cell_bits.or(key.map(|key| key.vk.shape.cell_bits)) {
            Some(cell_bits) => Ok(Options { cell_bits, ..options }),
            None => program::fitting(function, &options),
        }
    }
}

/// The hash of a transcript.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Hash {
    Keccak,
    Poseidon2,
}

impl From<Hash> for TranscriptKind {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Keccak => Self::Keccak,
            Hash::Poseidon2 => Self::Poseidon2,
        }
    }
}

impl rollmill_service::Commands for Commands {
    const IS_REQUIRED: bool = true;
    const USES: &'static [(&'static str, &'static [&'static str])] = &[
        ("key", USED),
        ("prove", USED),
        ("verify", &["chain_id"]),
        ("devices", &["device", "cuda_image", "icicle_dir"]),
    ];
}

fn main() -> ExitCode {
    rollmill_algebra::cpu::map_large_arrays();
    // The agent's settings: a device is chosen as an agent chooses it.
    Service::tool("rollmill-noir", "agent")
        .about("Prove and verify Noir programs, with the settings of an agent")
        .usage(NoirError::is_usage)
        .run_commands(run)
}

async fn run(process: Process<Config>, command: Option<Commands>) -> Outcome {
    // The command line requires a subcommand.
    let Some(command) = command else { return Ok(()) };
    let (config, shutdown) = (process.config.clone(), process.shutdown);
    let asked = shutdown.clone();
    let running =
        tokio::task::spawn_blocking(move || work(&config, &command, &|| !asked.is_started()));
    let cut_off = async {
        shutdown.started().await;
        tokio::time::sleep(STOP_WAIT).await;
    };
    let text = tokio::select! {
        // Work that has ended is not reported as stopped: its file is there.
        biased;
        text = running => text??,
        () = cut_off => return Err(NoirError::Stopped.into()),
    };
    print(&text)?;
    Ok(())
}

/// Prints a text. A closed pipe (`| head`) is no failure, but a full disk is one.
fn print(text: &str) -> Result<(), NoirError> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(unwritable(Path::new("standard output"), &error))
        }
        _ => Ok(()),
    }
}

/// Does what a command says, and returns what to print.
fn work(
    config: &Config,
    command: &Commands,
    goes_on: &dyn Fn() -> bool,
) -> Result<String, NoirError> {
    match command {
        Commands::Gates { program, json } => {
            let function = program::load(&program.artifact, &program.function)?;
            let gates = program::gates(&function, &program.options(&function, None)?)?;
            Ok(match json {
                true => format!("{}\n", serde_json::json!(gates)),
                false => gates.to_string(),
            })
        }
        Commands::Key { .. } | Commands::Prove { .. } => {
            let chosen = accelerator::choose(config)?;
            tracing::info!(device = chosen.device.name(), reason = chosen.why, "device chosen");
            match chosen.device {
                Accelerator::Cpu(device) => work_on(&*device, config, command, goes_on),
                Accelerator::Cuda(device) => work_on(&*device, config, command, goes_on),
                Accelerator::Wgpu(device) => work_on(&*device, config, command, goes_on),
                Accelerator::Icicle(device) => work_on(&*device, config, command, goes_on),
            }
        }
        Commands::Witness { artifact, function, inputs, output } => {
            require_other(output, [artifact.as_path(), inputs.as_path()])?;
            let function = program::load(artifact, function)?;
            let inputs = inputs::load(inputs)?;
            require_writable(output)?;
            write_bytes(output, &backend::witness(&function, &inputs, goes_on)?)?;
            Ok(String::new())
        }
        Commands::Verify { key, proof } => {
            let key = KeyFile::load(key)?;
            backend::verify(&key, &ProofFile::load(proof)?, config.chain_id)?;
            Ok(format!("valid for key {}\n", key.digest()))
        }
        Commands::Solidity { key, contract, output } => {
            let key = KeyFile::load(key)?;
            let source = solidity::contract(&key, contract)?;
            create_directory(output)?;
            write(&output.join(solidity::INTERFACE_FILE), solidity::INTERFACE)?;
            write(&output.join(format!("{contract}.sol")), &source)?;
            Ok(format!("{contract} verifies proofs for key {}\n", key.digest()))
        }
        Commands::Devices => {
            let listed = accelerator::list(config);
            Ok(listed.into_iter().map(|(name, what)| format!("{name}\t{what}\n")).collect())
        }
    }
}

/// Does what a command says that needs a device.
fn work_on<D: Device>(
    device: &D,
    config: &Config,
    command: &Commands,
    goes_on: &dyn Fn() -> bool,
) -> Result<String, NoirError> {
    let store = DirStore::new(cache_dir(config.keys_dir.as_deref()));
    let backend = Backend { device, store: &store, chain_id: config.chain_id };
    match command {
        Commands::Key { program, output } => {
            require_other(output, [program.artifact.as_path()])?;
            let function = program::load(&program.artifact, &program.function)?;
            require_writable(output)?;
            let key = backend.key(&function, &program.options(&function, None)?)?;
            write(output, &key.to_json())?;
            Ok(format!("{}\n", key.digest()))
        }
        Commands::Prove { program, inputs, key, transcript, output } => {
            let read = [Some(program.artifact.as_path()), Some(inputs.as_path()), key.as_deref()];
            require_other(output, read.into_iter().flatten())?;
            let function = program::load(&program.artifact, &program.function)?;
            let inputs = inputs::load(inputs)?;
            let key = key.as_deref().map(KeyFile::load).transpose()?;
            require_writable(output)?;
            let order = Order {
                options: &program.options(&function, key.as_ref())?,
                inputs: &inputs,
                key: key.as_ref(),
                transcript: (*transcript).into(),
                seed: seed()?,
            };
            let proof = backend.prove(&function, &order, goes_on)?;
            write(output, &proof.to_json())?;
            Ok(proof.returned.map(|value| format!("{value}\n")).unwrap_or_default())
        }
        // The other commands need no device.
        _ => Ok(String::new()),
    }
}

/// A fresh secret, from which the values that hide the witness are derived.
fn seed() -> Result<[u8; 32], NoirError> {
    let mut seed = [0; 32];
    let drawn = OsRng.try_fill_bytes(&mut seed);
    drawn.map_err(|error| NoirError::Random { reason: error.to_string() })?;
    Ok(seed)
}
