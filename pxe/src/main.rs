//! The wallet's command line.
//!
//! Exit codes of `transfer`, `claim`, `withdraw` and `call`: 0 the node has the transaction; 1 nothing was sent; 3
//! it was sent, or may have been, and its outcome is unknown. Only after 1 is it safe to repeat the command, or with
//! the same idempotency key.

mod accounts;
mod cli;
mod contract;
mod home;
mod prompt;
mod serving;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use rand::rngs::OsRng;
use rollmill_node_client::wire::TxStatus;
use rollmill_node_client::{ClientError, NodeClient};
use rollmill_protocol::Fr;
use rollmill_protocol::field::to_hex;
use rollmill_pxe::error::PxeError;
use rollmill_pxe::keys::Keys;
use rollmill_pxe::keystore;
use rollmill_pxe::prover::LocalProver;
use rollmill_pxe::wallet::{
    Delivery, Earlier, FeePayer, IdempotencyKey, Order, Purpose, Quote, Wallet,
};
use rollmill_pxe::withdrawal::Withdrawal;
use rollmill_service::{Exit, Failure, Outcome, Process, Service};

use cli::{Commands, Config, Sending, Stage, Wait};
use home::Home;

/// The transaction may have been sent: a script must not send it again.
const SENT_UNKNOWN: u8 = 3;

fn main() -> ExitCode {
    Service::new(env!("CARGO_BIN_NAME"))
        .about("Manage an account: keys, notes and private transfers")
        .usage(PxeError::is_usage)
        .usage(ClientError::is_usage)
        .exit_codes(
            "3 (transfer, claim, withdraw, call) the transaction was sent, or may have been, and its outcome is \
             unknown: do not send it again, ask `rollmill-pxe status HASH`",
        )
        .run_commands(run)
}

async fn run(process: Process<Config>, command: Option<Commands>) -> Outcome {
    let config = process.config.clone();
    let (payment, kind) = match command {
        // The command line requires a subcommand.
        None => return Ok(()),
        Some(Commands::Keygen) => return keygen(&config),
        Some(Commands::Serve) => return serving::run(&process).await,
        Some(Commands::Store(command)) => return accounts::run(&config, command),
        Some(Commands::Contract(command)) => return contract::manage(&config, command).await,
        Some(Commands::Simulate(call)) => return contract::simulate(&config, &call).await,
        Some(Commands::Call(call)) => return contract::call(&config, &call).await,
        Some(Commands::History) => return contract::history(&config).await,
        Some(Commands::Status { hash, wait }) => {
            return follow(&NodeClient::new(&config.node_url)?, &hash, wait).await;
        }
        Some(Commands::WithdrawalPath { hash }) => {
            return show_path(&NodeClient::new(&config.node_url)?, &hash).await;
        }
        Some(Commands::Address { l1 }) => {
            let address = home::open(&config)?.0.address();
            match l1 {
                true => println!("{}", to_hex(&address.to_field())),
                false => println!("{address}"),
            }
            return Ok(());
        }
        Some(Commands::Sync) => (None, None),
        Some(Commands::Balance) => (None, Some(Shown::Balance)),
        Some(Commands::Notes) => (None, Some(Shown::Notes)),
        Some(paying) => (Some(paying), None),
    };
    let (keys, source) = home::open(&config)?;
    let node = NodeClient::new(&config.node_url)?;
    let home = Home::of(&config, &keys, source)?;
    let mut wallet = home.load(keys)?;
    wallet.sync(&node).await?;
    let interrupted = wallet.unreported();
    for hash in &interrupted {
        tracing::warn!(tx = to_hex(hash), "transaction of an interrupted command sent");
    }
    match payment {
        Some(paying) if !interrupted.is_empty() && key_of(&paying).is_none() => {
            // A user who repeats an interrupted command would pay twice. Only a command that pays clears
            // this state: the user may not have read the output of another command.
            let hashes: Vec<String> = interrupted.iter().map(to_hex).collect();
            interrupted.iter().for_each(|hash| wallet.report(hash));
            if let Err(error) = home.save(&wallet) {
                tracing::warn!(%error, "wallet state not saved; the next command repeats this");
            }
            let failure = PxeError::Interrupted { hashes: hashes.join(", ") }.into();
            Err(Exit { code: SENT_UNKNOWN, failure }.into())
        }
        Some(paying) => {
            home.save(&wallet)?;
            let key = key_of(&paying).cloned();
            let (order, sending) = order(paying, &node, &wallet).await?;
            send((&order, &sending, key.as_ref()), &config, &node, &home, &mut wallet).await
        }
        None => {
            home.save(&wallet)?;
            if kind.is_none()
                && let Home::Store(store, _) = &home
            {
                contract::refresh(store, &node).await?;
            }
            show(kind, &node, &wallet).await
        }
    }
}

/// What a command prints about a synced wallet.
enum Shown {
    Balance,
    Notes,
}

async fn show(kind: Option<Shown>, node: &NodeClient, wallet: &Wallet) -> Outcome {
    match kind {
        Some(Shown::Balance) => {
            let balances = wallet.balances();
            println!("balance {}", balances.proven);
            println!("pending {}", balances.pending);
            if balances.unverified > 0 {
                println!("unverified {} (no proof of these blocks yet)", balances.unverified);
            }
            let locked = wallet.locked();
            if locked > 0 {
                println!("locked {locked} (in notes of transactions that are in no block yet)");
            }
            println!("public balance {}", wallet.fee_balance(node).await?);
        }
        Some(Shown::Notes) => {
            for note in wallet.notes() {
                let state = match (note.spent_in, note.pending) {
                    (Some(block), _) => format!("spent in block {block}"),
                    (None, true) => "being spent".to_owned(),
                    (None, false) if note.given_back => {
                        "spendable, released by a dropped transaction".to_owned()
                    }
                    (None, false) => "spendable".to_owned(),
                };
                let finality = wallet.finality(note);
                println!(
                    "{:>20}  leaf {:>10}  {finality:10}  {state}",
                    note.value, note.leaf_index
                );
            }
        }
        None => println!("synced"),
    }
    Ok(())
}

/// The idempotency key of a command that sends a transaction.
fn key_of(paying: &Commands) -> Option<&IdempotencyKey> {
    match paying {
        Commands::Transfer(transfer) => transfer.repeat.idempotency_key.as_ref(),
        Commands::Withdraw(withdraw) => withdraw.repeat.idempotency_key.as_ref(),
        _ => None,
    }
}

/// The order that a command line asks for.
async fn order(
    paying: Commands,
    node: &NodeClient,
    wallet: &Wallet,
) -> Result<(Order, Sending), Failure> {
    let (purpose, payer, sending) = match paying {
        Commands::Transfer(transfer) => {
            let purpose = Purpose::Transfer { to: transfer.to, amount: transfer.amount };
            (purpose, transfer.fee.into(), transfer.sending)
        }
        Commands::Withdraw(withdraw) => {
            let purpose = Purpose::Withdraw { to: withdraw.to_l1, amount: withdraw.amount };
            (purpose, withdraw.fee.into(), withdraw.sending)
        }
        Commands::Claim(claim) => {
            let deposit = match claim.deposit() {
                Some(deposit) => deposit,
                None => wallet.find_deposit(node).await?,
            };
            let purpose = Purpose::Claim { deposit, keep: claim.keep };
            (purpose, FeePayer::Account, claim.sending)
        }
        other => return Err(format!("{other:?} sends nothing").into()),
    };
    Ok((sending.order(purpose, payer), sending))
}

/// What is about to be sent.
fn announce(order: &Order, quote: &Quote) {
    let Quote { fee, change, notes_in, balance, expiry_slot } = quote;
    let payer = match order.fee_payer {
        FeePayer::Notes => "notes, which get back what the fee does not use".to_owned(),
        FeePayer::Account => format!("the public balance of {balance}"),
    };
    match &order.purpose {
        Purpose::Transfer { amount, .. } => eprintln!("amount {amount}, change {change}"),
        Purpose::Withdraw { to, amount } => {
            eprintln!("withdrawal of {amount} to {to} on L1, change {change}");
            eprintln!("warning: the recipient and the amount of a withdrawal are public");
        }
        Purpose::Claim { deposit, .. } => eprintln!(
            "claim of deposit {} of {}, of which {notes_in} go into a note",
            deposit.index, deposit.amount
        ),
    }
    eprintln!("fee {} now and at most {}, from {payer}", fee.now, fee.max);
    eprintln!("valid up to slot {expiry_slot}");
    if order.fee_payer == FeePayer::Account {
        eprintln!("warning: the transaction names this account as the payer of the fee");
    }
}

async fn send(
    (order, sending, key): (&Order, &Sending, Option<&IdempotencyKey>),
    config: &Config,
    node: &NodeClient,
    home: &Home,
    wallet: &mut Wallet,
) -> Outcome {
    wallet.set_spend_pending(sending.spend_pending);
    if let Some(key) = key
        && let Some(earlier) = wallet.recall(key, order)?
    {
        return repeat(&earlier, sending.wait, node).await;
    }
    announce(order, &wallet.quote(node, order).await?);
    if sending.dry_run {
        println!("nothing sent");
        return Ok(());
    }
    confirm(sending.yes)?;
    let chain_id = node.genesis().await?.chain_id;
    let prover = LocalProver::open(config.keys_dir.as_deref(), chain_id)?;
    let mut keep = |wallet: &Wallet| home.save(wallet);
    let sent = wallet.deliver(node, &prover, order, key, &mut OsRng, &mut keep).await;
    let (tx, doubt) = match sent {
        Err(error) => {
            // Nothing was sent. That the state could not be saved does no harm: the next command
            // queries the node.
            if let Err(error) = home.save(wallet) {
                tracing::warn!(%error, "wallet state not saved");
            }
            return Err(error.into());
        }
        Ok(Delivery::Accepted(tx)) => (tx, None),
        Ok(Delivery::Unknown(tx, error)) => (tx, Some(error)),
        Ok(Delivery::Earlier(earlier)) => return repeat(&earlier, sending.wait, node).await,
    };
    // From here on the transaction was sent, or may have been: no error may be reported as "not sent".
    let hash = tx.hash();
    // If this fails the user was not informed, so the next transfer reports it.
    print_hash(&hash)?;
    rollmill_service::failpoint!("pxe.before_report");
    wallet.report(&hash);
    if let Err(error) = home.save(wallet) {
        tracing::warn!(%error, "transaction sent; wallet state not saved, the next sync repairs it");
    }
    rollmill_service::failpoint!("pxe.after_report");
    finish((&hash, doubt), sending.wait, node).await
}

/// Asks on a terminal whether to send, unless `yes`.
fn confirm(yes: bool) -> Outcome {
    if std::io::stdin().is_terminal() && !yes {
        eprint!("send? [y/N] ");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        if !["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            return Err(PxeError::NotConfirmed.into());
        }
    }
    Ok(())
}

/// Ends a command whose transaction was sent and reported.
async fn finish((hash, doubt): (&Fr, Option<PxeError>), wait: Wait, node: &NodeClient) -> Outcome {
    if let Some(error) = doubt {
        return Err(unknown(format!("{error}; the transaction may have been sent").into()).into());
    }
    match wait.wait {
        Some(_) => follow(node, hash, wait).await.map_err(|f| unknown(f).into()),
        None => Ok(()),
    }
}

/// The transaction was sent, or may have been, but not everything went well after that.
fn unknown(failure: Failure) -> Exit {
    Exit { code: SENT_UNKNOWN, failure }
}

/// Prints the hash of a transaction that was sent.
fn print_hash(hash: &Fr) -> Outcome {
    let mut out = std::io::stdout();
    writeln!(out, "{}", to_hex(hash))
        .and_then(|()| out.flush())
        .map_err(|source| unknown(PxeError::Unprinted { hash: to_hex(hash), source }.into()).into())
}

/// Reports the transaction of an earlier command with the same idempotency key, as that command did.
async fn repeat(earlier: &Earlier, wait: Wait, node: &NodeClient) -> Outcome {
    eprintln!(
        "an earlier command with this idempotency key made the transaction; nothing is sent now"
    );
    let hash = earlier.tx_hash;
    print_hash(&hash)?;
    if !earlier.accepted {
        let failure = PxeError::Unconfirmed { hash: to_hex(&hash) }.into();
        return Err(unknown(failure).into());
    }
    match wait.wait {
        Some(_) => follow(node, &hash, wait).await.map_err(|f| unknown(f).into()),
        None => Ok(()),
    }
}

/// Prints a transaction's status; with `--wait`, once it has reached the requested stage.
async fn follow(node: &NodeClient, hash: &Fr, wait: Wait) -> Outcome {
    let (stage, seconds) = (wait.wait, wait.wait_seconds);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
    loop {
        let status = node.transaction_status(hash).await?;
        let reached = match (&status, stage) {
            (_, None) | (TxStatus::Dropped { .. }, _) => true,
            (TxStatus::Included { .. }, Some(Stage::Included)) => true,
            (TxStatus::Proven { .. }, Some(Stage::Included | Stage::Proven)) => true,
            (TxStatus::Proven { block_number, .. }, Some(_)) => {
                node.tips().await?.finalized.block_number >= *block_number
            }
            _ => false,
        };
        if reached {
            match &status {
                TxStatus::Unknown => println!("unknown to this node"),
                TxStatus::Pending { parked: Some(why) } => println!("pending, parked: {why}"),
                TxStatus::Pending { parked: None } => println!("pending"),
                TxStatus::Included { block_number, .. } => {
                    println!("included in block {block_number}")
                }
                TxStatus::Proven { block_number, .. } => {
                    let word = if stage == Some(Stage::Finalized) { "finalized" } else { "proven" };
                    println!("{word} in block {block_number}");
                }
                TxStatus::Dropped { reason } => {
                    return Err(PxeError::Dropped { reason: reason.clone() }.into());
                }
            }
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            let stage = stage.map_or("", Stage::as_str);
            if matches!(status, TxStatus::Unknown) {
                let url = node.url().into();
                return Err(PxeError::UnknownTx { url, seconds }.into());
            }
            return Err(PxeError::Late { stage: stage.into(), seconds }.into());
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Prints what the contract needs to pay out a withdrawal.
async fn show_path(node: &NodeClient, hash: &Fr) -> Outcome {
    let withdrawal = Withdrawal::find(node, hash).await?;
    if !withdrawal.is_proven {
        eprintln!("warning: the block is not proven on L1 yet; the contract pays only then");
    }
    println!("{withdrawal}");
    Ok(())
}

fn keygen(config: &Config) -> Outcome {
    if config.keystore.exists() {
        let path = config.keystore.display().to_string();
        return Err(PxeError::KeystoreExists { path }.into());
    }
    let keys = Keys::generate(&mut OsRng);
    let password = home::new_password(config, "new password of the keystore")?;
    let text = keystore::seal(&keys, &password, &mut OsRng)?;
    home::write(&config.keystore, text.as_bytes())?;
    println!("{}", keys.address());
    Ok(())
}
