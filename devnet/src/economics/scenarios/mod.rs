//! The scenarios. Each returns its deployments, for the audit.

mod deadlines;
mod deployments;
mod proofs;
mod proposals;
mod validators;
mod votes;

use super::Scenario;
use super::chain::Chain;
use super::setup::Common;
use super::stage::Stage;
use crate::Error;

/// Plays a scenario.
pub(super) async fn play(
    scenario: Scenario,
    stage: &mut Stage,
    common: &Common,
) -> Result<Vec<Chain>, Error> {
    match scenario {
        Scenario::All => Ok(Vec::new()),
        Scenario::Honest => deadlines::honest(stage, common).await,
        Scenario::Missed => deadlines::missed(stage, common).await,
        Scenario::Challenge => deadlines::challenge(stage, common).await,
        Scenario::Prefix => proofs::prefix(stage, common).await,
        Scenario::ReorgAfterProof => proofs::reorg_after_proof(stage, common).await,
        Scenario::Withheld => proposals::withheld(stage, common).await,
        Scenario::Backdate => proposals::backdate(stage, common).await,
        Scenario::LostBond => proposals::lost_bond(stage, common).await,
        Scenario::Equivocation => validators::equivocation(stage, common).await,
        Scenario::TwoDeployments => deployments::two_deployments(stage, common).await,
        Scenario::Upgrade => votes::upgrade(stage, common).await,
        Scenario::GovernanceFunding => votes::governance_funding(stage, common).await,
    }
}
