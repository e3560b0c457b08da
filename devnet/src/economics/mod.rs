//! The economics of the protocol on the real contracts: each scenario deploys them on an anvil of its own, drives them
//! by real transactions, and requires that everybody is paid what the formulas say, and nobody anything else.
//!
//! `money` has the formulas, `ledger` and `book` what a scenario expects, and `audit` compares it with L1. Proofs are
//! not the subject: `verifier` says what takes their place.

mod audit;
mod book;
mod chain;
mod ledger;
mod money;
mod report;
mod scenarios;
mod setup;
mod stage;
mod verifier;
mod vote;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub use book::Purpose;
pub use report::{EconomicsReport, Holding, Payment, Rejection, ScenarioReport};

use crate::{Error, Network, Progress};
use stage::Stage;

/// What every output says first.
const NOTE: &str = "The contracts are real, and so is every transaction. Epoch proofs are not: the verifier is a stand-in \
                    that accepts the hash of the public inputs.";

/// Options of `rollmill-devnet economics`.
#[derive(Debug, Clone, Args)]
pub struct EconomicsOptions {
    /// Scenario to run; give it several times for several
    #[arg(long, value_enum, value_name = "NAME", required = true)]
    pub scenario: Vec<Scenario>,

    /// Keep data and logs in this new or empty directory [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Write the report as JSON to this file [default: none]
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// Each of the scenarios below
    All,
    /// Epochs are proven in their windows
    Honest,
    /// No proof at all: the bond is lost, the blocks are pruned, the chain goes on
    Missed,
    /// Proofs in the challenge period, by others than the prover
    Challenge,
    /// Rivals prove parts of an epoch before the whole is proven
    Prefix,
    /// Client proofs are withheld, from an honest and from a dishonest committee
    Withheld,
    /// L1 drops an included proof, a claim and a prune
    ReorgAfterProof,
    /// Proposals for slots that are not the current one
    Backdate,
    /// A validator signs two blocks of one slot
    Equivocation,
    /// A bond deposit is too small
    LostBond,
    /// Two deployments, with signatures, proofs and withdrawals of one sent to the other
    TwoDeployments,
    /// Governance moves the network from one deployment to another
    Upgrade,
    /// Governance funds what pays for proofs and blocks
    GovernanceFunding,
}

impl Scenario {
    /// All that are asked for by one value.
    fn each(self) -> Vec<Self> {
        match self {
            Self::All => {
                let all = Self::value_variants().iter().copied();
                all.filter(|scenario| *scenario != Self::All).collect()
            }
            one => vec![one],
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Honest => "honest",
            Self::Missed => "missed",
            Self::Challenge => "challenge",
            Self::Prefix => "prefix",
            Self::Withheld => "withheld",
            Self::ReorgAfterProof => "reorg-after-proof",
            Self::Backdate => "backdate",
            Self::Equivocation => "equivocation",
            Self::LostBond => "lost-bond",
            Self::TwoDeployments => "two-deployments",
            Self::Upgrade => "upgrade",
            Self::GovernanceFunding => "governance-funding",
        }
    }

    /// What it shows, as the help says it.
    pub fn about(self) -> String {
        let help = self.to_possible_value().and_then(|value| value.get_help().cloned());
        help.map(|help| help.to_string()).unwrap_or_default()
    }
}

/// Runs scenarios, prints each, and writes the report of all that passed, also when one fails.
///
/// # Errors
/// [`Error::EconomicsAmount`], [`Error::EconomicsRejection`], [`Error::EconomicsStep`] or [`Error::EconomicsState`] for the
/// first expectation that is not met; [`Error::L1`] and the errors of starting anvil.
pub async fn run(
    options: &EconomicsOptions,
    network: &mut Network,
    progress: &mut Progress,
) -> Result<(), Error> {
    let mut report = EconomicsReport { note: NOTE.to_owned(), scenarios: Vec::new() };
    if let Some(path) = &options.json {
        // Checked now, so that a wrong path does not cost the result of a run.
        report.write_json(path)?;
    }
    progress.block(&format!("{NOTE}\n"));
    let mut chosen: Vec<Scenario> = Vec::new();
    for scenario in options.scenario.iter().flat_map(|scenario| scenario.each()) {
        if !chosen.contains(&scenario) {
            chosen.push(scenario);
        }
    }
    for scenario in chosen {
        progress.status(format!("scenario {}", scenario.name()));
        let done = run_one(scenario, network).await?;
        progress.block(&done.text());
        report.scenarios.push(done);
        if let Some(path) = &options.json {
            report.write_json(path)?;
        }
    }
    progress.line(&format!("scenarios that hold: {}", report.scenarios.len()));
    Ok(())
}

/// Runs a scenario on an anvil of its own and audits it.
async fn run_one(scenario: Scenario, network: &mut Network) -> Result<ScenarioReport, Error> {
    let address = network.start_idle_anvil().await?;
    let folder = network.dir.data(scenario.name());
    let mut stage = Stage::open(scenario, format!("http://{address}"), folder).await?;
    let common = setup::common(&mut stage).await?;
    let chains = scenarios::play(scenario, &mut stage, &common).await?;
    audit::check(&mut stage, &common, &chains).await?;
    network.end("anvil").await?;
    Ok(stage.report)
}

#[cfg(test)]
mod tests {
    use rollmill_l1::abi::{AztToken, Rollup};
    use rollmill_l1::alloy::primitives::U256;
    use rollmill_l1_testing::Anvil;

    use super::setup::Setup;
    use super::stage::{Call, Role};
    use super::*;

    /// Goal: no expectation passes unseen. Method: each kind of expectation, wrong by one base unit or one name, on a
    /// deployment that is otherwise as expected.
    #[tokio::test]
    async fn a_wrong_expectation_fails_with_its_code() {
        let (anvil, folder) = (Anvil::start(), tempfile::tempdir().unwrap());
        let path = folder.path().to_owned();
        let mut stage = Stage::open(Scenario::Honest, anvil.url.clone(), path).await.unwrap();
        let common = setup::common(&mut stage).await.unwrap();
        let chain = setup::chain(&mut stage, &common, Setup::STANDARD).await.unwrap();
        let (rewards, member) = (chain.money.rewards, Role::Member(0).address().unwrap());
        let mut chains = [chain];
        audit::check(&mut stage, &common, &chains).await.unwrap();

        chains[0].money.bonds.entry(member).or_default().free += 1;
        let error = audit::check(&mut stage, &common, &chains).await.unwrap_err();
        assert_eq!(error.code(), "NET-038", "{error}");
        assert!(error.to_string().contains("free bond of member 0"), "{error}");
        chains[0].money.bonds.entry(member).or_default().free -= 1;
        chains[0].times.window += 1;
        let error = audit::check(&mut stage, &common, &chains).await.unwrap_err();
        assert_eq!(error.code(), "NET-041", "{error}");
        let holder = Role::Holder.address().unwrap();
        stage.book.moved(holder, rewards, 1, Purpose::Grant);
        let error = audit::check(&mut stage, &common, &chains).await.unwrap_err();
        assert_eq!(error.code(), "NET-038", "{error}");
        assert!(error.to_string().contains("all that holder paid to Rewards"), "{error}");

        let value = U256::from(1);
        let transfer = Call::new(common.token, &AztToken::transferCall { to: rewards, value });
        let taken = stage.rejected::<AztToken::NotMinter>(Role::Holder, "pay", transfer).await;
        let error = taken.unwrap_err();
        assert_eq!(error.code(), "NET-039", "{error}");
        assert!(error.to_string().contains("NotMinter(address), got success"), "{error}");
        let prune = Call::new(chains[0].rollup.address(), &Rollup::pruneCall {});
        let other = stage.rejected::<AztToken::NotMinter>(Role::Anyone, "prune", prune.clone());
        let error = other.await.unwrap_err();
        assert_eq!(error.code(), "NET-039", "{error}");
        assert!(error.to_string().contains("got NothingToPrune"), "{error}");
        let error = stage.send(Role::Anyone, "prune", prune).await.unwrap_err();
        assert_eq!(error.code(), "NET-040", "{error}");
        assert!(error.to_string().contains("NothingToPrune"), "{error}");
    }

    #[test]
    fn names_are_those_of_the_command_line_and_each_has_a_text() {
        for scenario in Scenario::value_variants() {
            assert_eq!(scenario.to_possible_value().unwrap().get_name(), scenario.name());
            assert!(scenario.about().len() > 20, "{scenario:?}");
        }
        assert_eq!(Scenario::All.each().len(), Scenario::value_variants().len() - 1);
        assert_eq!(Scenario::Honest.each(), [Scenario::Honest]);
    }
}
