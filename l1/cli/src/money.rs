//! Bonds, and the pay of provers, proposers and attesters.

use rollmill_l1::alloy::primitives::Address;
use rollmill_l1::economics::{self, Bond as BondOf, Due, Economics, Unclaimed};
use rollmill_l1::{Azt, RollupContract, abi};
use rollmill_service::{Failure, Outcome};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::args::{Bond, Rewards, Scan};
use crate::context::{Context, Deployment, Order, Spending};
use crate::error::CliError;

/// `rollmill-l1 bond …`.
pub(crate) async fn bond(context: &mut Context, command: Bond) -> Outcome {
    let Deployment { economics, .. } = context.deployment().await?;
    match command {
        Bond::Status { account } => {
            let account = context.account_or(account)?;
            bond_status(context, &economics, account).await
        }
        Bond::Deposit { amount, proposer } => {
            let account = context.account_or(proposer)?;
            let spender = economics.contracts().bondVault;
            let order = Order {
                spends: Some(Spending { spender, amount }),
                ..Order::new(
                    format!("bond {amount} AZT for {account}"),
                    economics.deposit_bond(account, amount),
                )
            };
            context.run(Some(&economics), &order).await
        }
        Bond::Withdraw { amount } => {
            let account = context.account()?;
            let BondOf { free, locked } = economics.bond(account).await?;
            let wanted = amount.unwrap_or(free);
            let what = format!("unbond {wanted} AZT of {account}");
            let order = Order::new(what, economics.withdraw_bond(wanted));
            // Without anything free there is nothing to send, unless it was sent already.
            let is_possible = wanted <= free && !wanted.is_zero();
            if !is_possible && !context.is_continued(&order).await? {
                return Err(CliError::BondTooLow { free, locked, wanted }.into());
            }
            context.run(None, &order).await
        }
        Bond::Collect => {
            context.run(None, &Order::recurring("collect lost bonds", economics.collect())).await
        }
    }
}

async fn bond_status(context: &Context, economics: &Economics, account: Address) -> Outcome {
    let bond = economics.bond(account).await?;
    let needed = economics.bond_amount().await?;
    let epochs = match needed.is_zero() {
        true => Value::Null,
        false => {
            json!(u64::try_from(bond.free.base_units() / needed.base_units()).unwrap_or(u64::MAX))
        }
    };
    Answer::new()
        .with_text("account", account)
        .with("free_azt", bond.free)
        .with("locked_azt", bond.locked)
        .with("bond_of_an_epoch_azt", needed)
        .with("epochs_that_can_be_opened", epochs)
        .with("wallet_azt", economics.balance(account).await?)
        .print(context.config.json);
    Ok(())
}

/// `rollmill-l1 rewards …`.
pub(crate) async fn rewards(context: &mut Context, command: Rewards) -> Outcome {
    let deployment = context.deployment().await?;
    match command {
        Rewards::Status { account, scan } => {
            let account = context.account_or(account)?;
            status(context, &deployment, account, scan).await
        }
        Rewards::Claim { account, scan } => {
            let account = context.account_or(account)?;
            claim(context, &deployment, account, scan).await
        }
    }
}

async fn status(
    context: &Context,
    deployment: &Deployment,
    account: Address,
    scan: Scan,
) -> Outcome {
    let Deployment { rollup, info, economics } = deployment;
    let dues = rollup.dues(info, economics, scan.epochs).await?;
    let shown: Vec<Value> = dues
        .iter()
        .map(|due| match due {
            Due::Settle { epoch } => json!({ "epoch": epoch, "needs": "settle" }),
            Due::Claim(Unclaimed { epoch, from, to }) => {
                json!({ "epoch": epoch, "needs": "claim", "from_block": from, "to_block": to })
            }
        })
        .collect();
    let (owed, funds) = economics.funds().await?;
    Answer::new()
        .with_text("account", account)
        .with("owed_azt", economics.owed(account).await?)
        .with("epoch", shown)
        .with("owed_to_all_azt", owed)
        .with("funds_azt", funds)
        .print(context.config.json);
    Ok(())
}

async fn claim(
    context: &mut Context,
    deployment: &Deployment,
    account: Address,
    scan: Scan,
) -> Outcome {
    let Deployment { rollup, info, economics } = deployment;
    let mut done = Vec::new();
    for due in rollup.dues(info, economics, scan.epochs).await? {
        let mut next = Some(due);
        // Settling an epoch makes its blocks claimable.
        while let Some(due) = next.take() {
            let order = due_order(deployment, &due).await?;
            let Some(sent) = context.send(None, &order).await? else { continue };
            context.report(&sent);
            done.push(json!({ "done": order.what, "l1_tx": sent.receipt.tx_hash }));
            if let Due::Settle { epoch } = due {
                let dues = rollup.dues(info, economics, scan.epochs).await?;
                next = dues
                    .into_iter()
                    .find(|due| matches!(due, Due::Claim(unclaimed) if unclaimed.epoch == epoch));
            }
        }
    }
    let order = Order::recurring(format!("pay what {account} is owed"), economics.claim(account));
    let owed = economics.owed(account).await?;
    if owed.is_zero() {
        if done.is_empty() {
            return Err(CliError::NothingOwed { account }.into());
        }
        Answer::new().with("transaction", done).with("paid_azt", owed).print(context.config.json);
        return Ok(());
    }
    let before = economics.balance(account).await?;
    let Some(sent) = context.send(None, &order).await? else { return Ok(()) };
    let paid: abi::Rewards::Paid =
        sent.event(&context.client, economics.contracts().rewards, "the payment").await?;
    let answer = Answer::new()
        .with("transaction", done)
        .with("paid_azt", Azt::from_word(paid.amount))
        .with("still_owed_azt", economics.owed(account).await?)
        .with("wallet_before_azt", before);
    context.print(&order, &sent, answer);
    Ok(())
}

/// The order that does what is due for an epoch's pay.
async fn due_order(deployment: &Deployment, due: &Due) -> Result<Order, Failure> {
    let Deployment { rollup, info, economics } = deployment;
    Ok(match due {
        Due::Settle { epoch } => settling(rollup, *epoch),
        Due::Claim(blocks) => {
            let committee = rollup.selection(info).committee(blocks.epoch).await?;
            let Unclaimed { epoch, from, to } = blocks;
            let what = format!("claim blocks {from} to {to} of epoch {epoch}");
            Order::recurring(what, economics.claim_blocks(*blocks, committee))
        }
    })
}

fn settling(rollup: &RollupContract, epoch: u64) -> Order {
    Order::recurring(format!("settle epoch {epoch}"), economics::settle(rollup.address(), epoch))
}

/// `rollmill-l1 settle`.
pub(crate) async fn settle(context: &mut Context, epoch: u64) -> Outcome {
    let Deployment { rollup, .. } = context.deployment().await?;
    context.run(None, &settling(&rollup, epoch)).await
}

/// `rollmill-l1 prune`.
pub(crate) async fn prune(context: &mut Context) -> Outcome {
    let Deployment { rollup, info, .. } = context.deployment().await?;
    let input = abi::prune_calldata();
    let order = Order::recurring(
        "prune unproven blocks",
        economics::Call { to: rollup.address(), input, gas_spare: 0 },
    );
    let deadline = rollup.proof_deadline(&info).await?;
    let is_due = deadline.is_some_and(|deadline| deadline.is_prune_due);
    if !is_due {
        return Err(CliError::NoPruneDue.into());
    }
    context.run(None, &order).await
}
