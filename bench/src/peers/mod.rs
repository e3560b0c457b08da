//! Other provers, measured in the same run on the same work.
//!
//! None of them is required: a missing one is listed as absent, unless it was requested by name.

mod acir;
pub(crate) mod barretenberg;
pub(crate) mod beside;
mod child;
#[cfg(feature = "peers")]
pub(crate) mod halo2;
pub(crate) mod icicle;
mod scalar;

use std::rc::Rc;

use barretenberg::Barretenberg;
use icicle::Icicle;
pub(crate) use scalar::NAME as SCALAR;
use scalar::Scalar;

use crate::result::AbsentPeer;
use crate::{BenchError, Plan};
use rollmill_agent::Config;

/// Every peer that this program knows how to measure.
pub(crate) const PEERS: [&str; 5] =
    [scalar::NAME, "arkworks", "halo2curves", "barretenberg", "icicle"];

/// How arkworks was built: its assembler is only compiled where the build names what it needs of a processor.
pub(crate) const ARKWORKS_BUILD: &str = if cfg!(all(
    feature = "peers",
    target_arch = "x86_64",
    target_feature = "bmi2",
    target_feature = "adx"
)) {
    "built with its assembler"
} else {
    "built without its assembler"
};

/// The peers of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peers {
    pub(crate) arkworks: bool,
    /// Set only in a build that has it.
    pub(crate) halo2curves: bool,
    pub(crate) barretenberg: Option<Rc<Barretenberg>>,
    pub(crate) icicle: Option<Rc<Icicle>>,
    pub(crate) scalar: Option<Rc<Scalar>>,
    pub(crate) absent: Vec<AbsentPeer>,
}

impl Peers {
    /// Finds the peers that the plan requests.
    ///
    /// # Errors
    /// [`BenchError::PeerMissing`] if one that was requested by name is missing.
    pub(crate) fn find(plan: &Plan, threads: usize) -> Result<Self, BenchError> {
        let mut peers = Self { arkworks: plan.wants_peer("arkworks"), ..Self::default() };
        if plan.wants_peer("halo2curves") {
            match cfg!(feature = "peers") {
                true => peers.halo2curves = true,
                false => {
                    let reason = "this build is without it: build with --features peers";
                    peers.missing(plan, "halo2curves", reason.to_owned())?;
                }
            }
        }
        if plan.wants_peer("barretenberg") {
            match Barretenberg::find(plan.bb.as_deref(), threads) {
                Ok(found) => peers.barretenberg = Some(Rc::new(found)),
                Err(reason) => peers.missing(plan, "barretenberg", reason)?,
            }
        }
        Ok(peers)
    }

    /// Finds the devices that the plan requests beside the measured one, whose name is `own`.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub(crate) fn find_beside(
        &mut self,
        plan: &Plan,
        own: &str,
        config: &Config,
    ) -> Result<(), BenchError> {
        if plan.wants_peer("icicle") && !icicle::is_own(own) {
            match Icicle::find(own, config) {
                Ok(found) => self.icicle = Some(Rc::new(found)),
                Err(error) => self.missing(plan, "icicle", error.to_string())?,
            }
        }
        if plan.wants_peer(scalar::NAME) {
            match Scalar::find(own, config) {
                Ok(found) => self.scalar = Some(Rc::new(found)),
                Err(reason) => self.missing(plan, scalar::NAME, reason)?,
            }
        }
        Ok(())
    }

    fn missing(&mut self, plan: &Plan, name: &str, reason: String) -> Result<(), BenchError> {
        let name = name.to_owned();
        if plan.names_peer(&name) {
            return Err(BenchError::PeerMissing { name, reason });
        }
        self.absent.push(AbsentPeer { name, reason });
        Ok(())
    }
}
