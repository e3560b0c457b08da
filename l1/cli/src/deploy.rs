//! `rollmill-l1 deploy`: the contracts of a rollup, from a file of facts to the file that its programs start with.

use std::io::Write as _;
use std::path::Path;

use rollmill_circuits::keyset::KeySet;
use rollmill_circuits::registry::load_key_set;
use rollmill_circuits::store::{DirStore, cache_dir};
use rollmill_deployment::{
    DeployError, Event, Facts, Journal, Plan, Roots, Simulated, client_keys, simulate,
};
use rollmill_l1::alloy::providers::Provider;
use rollmill_l1::{L1Error, parse_key};
use rollmill_service::{Exit, Failure, Outcome};
use serde_json::json;

use crate::answer::Answer;
use crate::args::Deploy;
use crate::context::{Context, SENT_UNKNOWN};
use crate::error::CliError;

/// Prints a file of facts.
pub(crate) fn sample() -> Outcome {
    let mut out = std::io::stdout();
    // A closed pipe is no failure.
    let _ = out.write_all(rollmill_deployment::SAMPLE.as_bytes()).and_then(|()| out.flush());
    Ok(())
}

/// Deploys, or with `--dry-run` tries to.
pub(crate) async fn run(context: &mut Context, deploy: &Deploy) -> Outcome {
    let facts = read_facts(deploy.facts.as_deref())?;
    let set = read_keys(deploy)?;
    let roots = Roots::of(&set, deploy.verifiers.as_deref(), facts.chain_id)?;
    if let Some(key) = &deploy.key {
        context.use_key(parse_key(&format!("{key:?}"), key.reveal())?);
    }
    if context.config.dry_run {
        return dry_run(context, deploy, &facts, &roots).await;
    }
    let account = context.account()?;
    let chain_id = context.config.chain_id;
    context.confirm(&format!("deploy {} on chain {chain_id} by {account}", facts.name))?;
    let mut stop = std::pin::pin!(stopped(context));
    let keys = client_keys(&set).to_bytes();
    let sender = context.sender().await?;
    let mut report = |event: Event<'_>| eprintln!("{}", line(event));
    let deploying =
        rollmill_deployment::deploy(sender, &facts, &roots, &keys, &deploy.out, &mut report);
    let deployed = tokio::select! {
        deployed = deploying => deployed.map_err(|error| unknown_if_sent(error, &deploy.out))?,
        () = &mut stop => {
            let (what, why) = (format!("the deployment {}", facts.name), "stopped".to_owned());
            let failure = CliError::OutcomeUnknown { what, why }.into();
            return Err(Exit { code: SENT_UNKNOWN, failure }.into());
        }
    };
    let at = &deployed.plan.addresses;
    Answer::new()
        .with("deployment", deployed.path.display().to_string())
        .with("name", &facts.name)
        .with("chain_id", facts.chain_id)
        .with("version", &deployed.file.version)
        .with_text("rollup", at.rollup)
        .with_text("token", at.token)
        .with("key_root", &deployed.file.key_root)
        .with("l1_start", deployed.l1_start)
        .with("gas", deployed.gas)
        .print(context.config.json);
    Ok(())
}

/// Resolves when the process is asked to stop.
fn stopped(context: &Context) -> impl Future<Output = ()> + use<> {
    let stopping = context.stopping();
    async move { stopping.started().await }
}

fn read_facts(path: Option<&Path>) -> Result<Facts, Failure> {
    let path = path.unwrap_or(Path::new("-"));
    let text = match path == Path::new("-") {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = text.map_err(|source| {
        let (action, path) = ("read", path.to_owned());
        DeployError::File { action, path, source }
    })?;
    Ok(Facts::parse(&text)?)
}

fn read_keys(deploy: &Deploy) -> Result<KeySet, Failure> {
    let folder = cache_dir(deploy.keys_dir.as_deref());
    Ok(load_key_set(&DirStore::new(folder))?)
}

/// A failure after which a transaction may be in no block yet: the exit code says that the same command continues.
fn unknown_if_sent(error: DeployError, folder: &Path) -> Failure {
    let is_open = matches!(&error, DeployError::L1(error) if error.is_transient());
    // Without a journal nothing was sent.
    match Journal::open(folder) {
        Ok(Some(_)) if is_open => Exit { code: SENT_UNKNOWN, failure: error.into() }.into(),
        _ => error.into(),
    }
}

/// Prints the steps that are left, with the gas that each of them takes on L1's state.
async fn dry_run(context: &mut Context, deploy: &Deploy, facts: &Facts, roots: &Roots) -> Outcome {
    let account = context.account()?;
    let journal = Journal::open(&deploy.out)?;
    let (first_nonce, done) = match &journal {
        Some(journal) => {
            journal.require_account(context.config.chain_id, account)?;
            (journal.first_nonce(), journal.count())
        }
        None => {
            let count = context.client.provider().get_transaction_count(account).await;
            (count.map_err(L1Error::rpc("nonce"))?, 0)
        }
    };
    rollmill_deployment::require_chain(facts, &context.client)?;
    let plan = Plan::new(facts, roots, account, first_nonce)?;
    if let Some(journal) = &journal {
        journal.require(&plan)?;
    }
    let rest = plan.steps.get(done..).unwrap_or_default();
    let simulated = simulate(&context.client, account, rest).await?;
    let (gas, why) = match simulated {
        Simulated::Gas(gas) => (gas, None),
        Simulated::Unavailable(why) => (Vec::new(), Some(why)),
    };
    let steps: Vec<_> = rest
        .iter()
        .enumerate()
        .map(|(i, step)| {
            let creates = step.creates.map(|address| address.to_string());
            json!({ "id": step.id, "what": step.what, "creates": creates, "gas": gas.get(i) })
        })
        .collect();
    let total = why.is_none().then(|| gas.iter().sum::<u64>());
    let mut answer = Answer::new()
        .with_text("from", account)
        .with_text("rollup", plan.addresses.rollup)
        .with("needs_azt", facts.spent())
        .with("steps_done", done)
        .with("step", steps)
        .with("gas", total);
    if let Some(why) = why {
        answer.push("not_tried", why);
    }
    answer.with("sent", false).print(context.config.json);
    Ok(())
}

/// What happened, as a line.
fn line(event: Event<'_>) -> String {
    match event {
        Event::Tried { gas } => format!("tried on L1's state: every step succeeds, {gas} gas"),
        Event::NotTried { why } => {
            format!(
                "not tried as a whole: L1 has no eth_simulateV1 ({why}); each step is tried in its turn"
            )
        }
        Event::Done { step, number, of, is_earlier } => {
            let earlier = if is_earlier { ", by an earlier run" } else { "" };
            format!("{number}/{of} {}{earlier}", step.what)
        }
    }
}

#[cfg(test)]
mod tests {
    use rollmill_deployment::JOURNAL_FILE;

    use super::*;

    /// Goal: a script that runs the command again after exit code 3 ends: only what may still land asks for that.
    #[test]
    fn only_a_transaction_that_may_still_land_asks_for_another_run() {
        let folder = tempfile::tempdir().unwrap();
        let open = || L1Error::NotIncluded { id: "alpha@0/rollup".into(), blocks: 256 };
        let asks = |error: DeployError| {
            let failure = unknown_if_sent(error, folder.path());
            failure.downcast_ref::<Exit>().is_some_and(|exit| exit.code == SENT_UNKNOWN)
        };
        assert!(!asks(open().into()), "nothing was sent");
        let journal = r#"{"format":1,"chain_id":1,"account":"0x0000000000000000000000000000000000000001",
                          "first_nonce":0,"l1_start":0,"steps":[]}"#;
        std::fs::write(folder.path().join(JOURNAL_FILE), journal).unwrap();
        // The first step of all may be in a pool, although the journal has none yet.
        assert!(asks(open().into()));
        let path = folder.path().join(JOURNAL_FILE);
        assert!(!asks(DeployError::JournalOther { path, what: "account".into() }));
        let step = "alpha/rollup".to_owned();
        assert!(!asks(DeployError::WouldRevert { step, why: "no".into() }));
    }
}
