//! Deposits to L2, and withdrawals from it.

use std::io::Read;
use std::path::Path;

use rollmill_l1::abi::{self, FeePortal, Outbox};
use rollmill_l1::economics::Call;
use rollmill_l1::{Azt, L1Error};
use rollmill_protocol::field::to_hex;
use rollmill_pxe::withdrawal::Withdrawal;
use rollmill_service::{Failure, Outcome, uncoded};

use crate::answer::Answer;
use crate::args::Deposit;
use crate::context::{Context, Deployment, Order, Spending};
use crate::error::CliError;

/// Longest text of a withdrawal that is read: a path has at most six siblings.
const WITHDRAWAL_BYTES_MAX: u64 = 16 << 10;

/// `rollmill-l1 deposit`.
pub(crate) async fn deposit(context: &mut Context, deposit: &Deposit) -> Outcome {
    let amount = deposit.amount;
    let units = amount.units().ok_or(CliError::NotWholeUnits { amount })?;
    let Deployment { rollup, economics, .. } = context.deployment().await?;
    let portal = economics.contracts().feePortal;
    let call = FeePortal::depositCall { to: abi::word(&deposit.to), amount: amount.word() };
    let order = Order {
        spends: Some(Spending { spender: portal, amount }),
        ..Order::new(
            format!("deposit {amount} AZT ({units} units) for {}", to_hex(&deposit.to)),
            Call::new(portal, &call),
        )
    };
    let Some(sent) = context.send(Some(&economics), &order).await? else { return Ok(()) };
    let event: FeePortal::Deposited = sent.event(&context.client, portal, "the deposit").await?;
    let tip = rollup.tips().await.map(|tips| tips.pending).ok();
    let answer = Answer::new()
        .with("index", event.index)
        .with("units", event.units)
        .with("appended_in_block", event.block)
        .with("claim_from_block", event.block.saturating_add(1))
        .with("pending_tip", tip);
    context.print(&order, &sent, answer);
    Ok(())
}

/// `rollmill-l1 withdraw`.
pub(crate) async fn withdraw(context: &mut Context, file: &Path) -> Outcome {
    let withdrawal = read(file)?;
    let deployment = context.deployment().await?;
    let Withdrawal { block_number, tx, recipient, amount, path, .. } = &withdrawal;
    let portal = deployment.economics.contracts().feePortal;
    let transaction = u16::try_from(*tx).map_err(|_| CliError::WithdrawalFile {
        file: file.display().to_string(),
        why: format!("transaction {tx} is beyond any block"),
    })?;
    let call = FeePortal::withdrawCall {
        number: *block_number,
        transaction,
        recipient: abi::address(*recipient),
        units: *amount,
        path: path.iter().map(abi::word).collect(),
    };
    let value = Azt::from_units(*amount);
    let what = format!("withdraw {value} AZT to {recipient}");
    let order = Order::new(what, Call::new(portal, &call));
    if !context.is_continued(&order).await? {
        payable(context, &deployment, *block_number, *tx, transaction).await?;
    }
    let Some(sent) = context.send(None, &order).await? else { return Ok(()) };
    let answer = Answer::new().with_text("recipient", recipient).with("paid_azt", value);
    context.print(&order, &sent, answer);
    Ok(())
}

/// Requires that the block is proven and its withdrawal not paid.
async fn payable(
    context: &Context,
    deployment: &Deployment,
    block: u64,
    tx: usize,
    transaction: u16,
) -> Result<(), Failure> {
    let proven = deployment.rollup.tips().await?.proven;
    if block == 0 || block > proven {
        return Err(CliError::NotProven { block, proven }.into());
    }
    let outbox = deployment.economics.contracts().outbox;
    let outbox = Outbox::new(outbox, context.client.provider().clone());
    let paid = outbox.isConsumed(block, transaction, 0).call().await;
    match paid.map_err(L1Error::contract("isConsumed"))? {
        true => Err(CliError::Paid { block, tx }.into()),
        false => Ok(()),
    }
}

fn read(file: &Path) -> Result<Withdrawal, CliError> {
    let is_input = file == Path::new("-");
    let name = if is_input { "standard input".to_owned() } else { file.display().to_string() };
    let failed = |why: String| CliError::WithdrawalFile { file: name.clone(), why };
    let words = |error: &std::io::Error| failed(rollmill_errors::InWords(error).to_string());
    let mut text = String::new();
    let source: Box<dyn Read> = match is_input {
        true => Box::new(std::io::stdin()),
        false => Box::new(std::fs::File::open(file).map_err(|error| words(&error))?),
    };
    source.take(WITHDRAWAL_BYTES_MAX).read_to_string(&mut text).map_err(|error| words(&error))?;
    text.parse().map_err(|error: rollmill_pxe::error::PxeError| failed(uncoded(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_withdrawal_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        for text in ["", "block 1", "block x\ntransaction 0\nrecipient 0x\namount 1\npath []"] {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert_eq!(error.code(), "L1C-004");
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
        let error = read(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.contains("No such file"), "{error}");
    }
}
