//! The wallet's command line.
//!
//! `pxe keygen`, `pxe address`, `pxe sync`, `pxe balance`, `pxe notes`, `pxe transfer --to A --amount N`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use rand::rngs::OsRng;
use rollmill_node_client::NodeClient;
use rollmill_pxe::error::PxeError;
use rollmill_pxe::keys::{Address, Keys};
use rollmill_pxe::keystore;
use rollmill_pxe::prover::LocalProver;
use rollmill_pxe::wallet::{State, Wallet};
use rollmill_service::{Failure, Outcome, Process, Secret, Service, Settings};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    keystore: PathBuf,
    state: Option<PathBuf>,
    password: Option<Secret>,
    node_url: String,
    keys_dir: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keystore: "pxe-keystore.json".into(),
            state: None,
            password: None,
            node_url: "http://127.0.0.1:8560".into(),
            keys_dir: None,
        }
    }
}

impl Settings for Config {
    const HELP: &'static [(&'static str, &'static str)] = &[
        ("keystore", "file with the account's encrypted keys"),
        ("state", "file of the wallet's sealed state; beside the keystore when unset"),
        ("password", "the keystore's password, as file:PATH or env:NAME"),
        ("node_url", "JSON-RPC address of a node"),
        (
            "keys_dir",
            "folder of keys and SRS; $ROLLMILL_CACHE/keys or ~/.cache/rollmill/keys when unset",
        ),
    ];
}

fn main() -> ExitCode {
    let to = Arg::new("to").long("to").required(true).help("recipient's address, rm1…");
    let amount = Arg::new("amount")
        .long("amount")
        .required(true)
        .value_parser(clap::value_parser!(u64))
        .help("amount in the smallest unit");
    Service::new("pxe")
        .about("A user's account: keys, notes and private transfers")
        .subcommand(Command::new("keygen").about("Make an account and its keystore file"))
        .subcommand(Command::new("address").about("Print the account's address"))
        .subcommand(Command::new("sync").about("Read the chain up to the pending tip"))
        .subcommand(Command::new("balance").about("Print spendable value and fee balance"))
        .subcommand(Command::new("notes").about("List the account's notes"))
        .subcommand(Command::new("transfer").about("Send a private transfer").arg(to).arg(amount))
        .run(run)
}

async fn run(process: Process<Config>) -> Outcome {
    let config = process.config.clone();
    let Some((name, arguments)) = process.command() else {
        return Err("PXE-010: say what to do: keygen, address, sync, balance, notes or transfer \
                    (see --help)"
            .into());
    };
    if name == "keygen" {
        return keygen(&config);
    }
    let keys = open(&config)?;
    if name == "address" {
        println!("{}", keys.address());
        return Ok(());
    }
    let node = NodeClient::new(&config.node_url)?;
    let mut wallet = load(&config, keys)?;
    wallet.sync(&node).await?;
    let result = command(name, arguments, &config, &node, &mut wallet).await;
    // Counters and pending marks are kept even when the command failed half-way.
    save(&config, &wallet)?;
    result
}

async fn command(
    name: &str,
    arguments: &ArgMatches,
    config: &Config,
    node: &NodeClient,
    wallet: &mut Wallet,
) -> Outcome {
    match name {
        "balance" => {
            println!("balance {}", wallet.balance());
            println!("fee balance {}", wallet.fee_balance(node).await?);
        }
        "notes" => {
            for note in wallet.notes() {
                let state = match (note.spent_in, note.pending) {
                    (Some(block), _) => format!("spent in block {block}"),
                    (None, true) => "being spent".to_owned(),
                    (None, false) if note.given_back => {
                        "spendable, given back by a dropped transaction".to_owned()
                    }
                    (None, false) => "spendable".to_owned(),
                };
                println!("{:>20}  leaf {:>10}  {state}", note.value, note.leaf_index);
            }
        }
        "transfer" => {
            let text = arguments.get_one::<String>("to").map_or("", String::as_str);
            let to: Address = text.parse()?;
            let amount = arguments.get_one::<u64>("amount").copied().unwrap_or(0);
            let chain_id = node.versions().await?.ids.chain_id;
            let prover = LocalProver::open(config.keys_dir.as_deref(), chain_id)?;
            let tx = wallet.transfer(node, &prover, &to, amount, &mut OsRng).await?;
            println!("{}", rollmill_protocol::field::to_hex(&tx.hash()));
        }
        _ => println!("synced"),
    }
    Ok(())
}

fn keygen(config: &Config) -> Outcome {
    if config.keystore.exists() {
        let path = config.keystore.display();
        return Err(format!("PXE-011: {path} exists; name another file by --keystore").into());
    }
    let keys = Keys::generate(&mut OsRng);
    let text = keystore::seal(&keys, password(config)?.reveal(), &mut OsRng)?;
    write(&config.keystore, text.as_bytes())?;
    println!("{}", keys.address());
    Ok(())
}

fn open(config: &Config) -> Result<Keys, Failure> {
    let text = std::fs::read_to_string(&config.keystore)
        .map_err(|source| PxeError::File { path: config.keystore.display().to_string(), source })?;
    Ok(keystore::open(&text, password(config)?.reveal())?)
}

fn password(config: &Config) -> Result<&Secret, Failure> {
    config
        .password
        .as_ref()
        .ok_or_else(|| "PXE-012: no password: give --password file:PATH or env:NAME".into())
}

fn state_path(config: &Config) -> PathBuf {
    config.state.clone().unwrap_or_else(|| config.keystore.with_extension("state"))
}

fn load(config: &Config, keys: Keys) -> Result<Wallet, Failure> {
    let path = state_path(config);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let plain = keystore::open_state(&keys, &bytes)?;
            let state: State = serde_json::from_slice(&plain)
                .map_err(|_| PxeError::State { why: "it is of another version" })?;
            Ok(Wallet::with_state(keys, state))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Wallet::new(keys)),
        Err(source) => Err(PxeError::File { path: path.display().to_string(), source }.into()),
    }
}

fn save(config: &Config, wallet: &Wallet) -> Outcome {
    let plain = serde_json::to_vec(wallet.state())?;
    let sealed = keystore::seal_state(wallet.keys(), &plain, &mut OsRng)?;
    write(&state_path(config), &sealed)
}

fn write(path: &std::path::Path, bytes: &[u8]) -> Outcome {
    keystore::write_private(path, bytes)
        .map_err(|source| PxeError::File { path: path.display().to_string(), source }.into())
}
