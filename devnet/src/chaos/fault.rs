//! The faults that a run draws.

use std::time::Duration;

use rand::Rng;

use crate::endpoint::EndpointFault;

/// Deepest reorganisation. anvil forgets the state of blocks far below its head.
const REORG_DEPTH_MAX: u64 = 20;
/// Longest time a process stays down after its end, and a frozen one stays frozen.
const DOWNTIME_MAX: Duration = Duration::from_secs(8);

/// A fault injected into the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Replaces the last blocks of L1. Their transactions are dropped, or sent to L1 again.
    Reorg { depth: u64, returned: bool },
    /// Kills a process as a crash would, and restarts it after a while.
    Kill { victim: usize, down: Duration },
    /// Asks a process to exit, and starts it again after a while.
    Terminate { victim: usize, down: Duration },
    /// Freezes a process, and resumes it after a while.
    Freeze { victim: usize, down: Duration },
    /// Makes one of the endpoints before L1 faulty for a while.
    Endpoint { which: usize, fault: EndpointFault, time: Duration },
}

impl Fault {
    pub(super) fn draw(rng: &mut impl Rng, victims: usize, endpoints: usize) -> Self {
        let down = |rng: &mut dyn rand::RngCore| {
            Duration::from_millis(rng.gen_range(0..DOWNTIME_MAX.as_millis() as u64))
        };
        match rng.gen_range(0..15) {
            0..=4 => {
                // Most reorganisations are of one block.
                let depth = if rng.gen_bool(0.5) { 1 } else { rng.gen_range(1..=REORG_DEPTH_MAX) };
                Self::Reorg { depth, returned: rng.gen_bool(0.5) }
            }
            5..=7 => Self::Kill { victim: rng.gen_range(0..victims), down: down(rng) },
            8..=9 => Self::Freeze { victim: rng.gen_range(0..victims), down: down(rng) },
            10..=11 => Self::Terminate { victim: rng.gen_range(0..victims), down: down(rng) },
            _ => Self::Endpoint {
                which: rng.gen_range(0..endpoints),
                fault: EndpointFault::ALL[rng.gen_range(0..EndpointFault::ALL.len())],
                time: down(rng),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn a_seed_always_gives_the_same_faults_and_every_kind_of_them() {
        let draw = |seed| {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            (0..1000).map(|_| Fault::draw(&mut rng, 5, 2)).collect::<Vec<_>>()
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        let faults = draw(3);
        for depth in [1, 2, REORG_DEPTH_MAX] {
            let has = |f: &Fault| matches!(f, Fault::Reorg { depth: d, .. } if *d == depth);
            assert!(faults.iter().any(has), "no reorganisation of {depth} blocks");
        }
        for victim in 0..5 {
            assert!(
                faults.iter().any(|f| matches!(f, Fault::Kill { victim: v, .. } if *v == victim))
            );
            assert!(
                faults.iter().any(|f| matches!(f, Fault::Freeze { victim: v, .. } if *v == victim))
            );
            let is = |f: &Fault| matches!(f, Fault::Terminate { victim: v, .. } if *v == victim);
            assert!(faults.iter().any(is));
        }
        for expected in EndpointFault::ALL {
            for endpoint in 0..2 {
                let is = |f: &Fault| matches!(f, Fault::Endpoint { which, fault, .. } if (*which, *fault) == (endpoint, expected));
                assert!(draw(3).iter().chain(&draw(5)).any(is), "{expected:?} at {endpoint}");
            }
        }
    }
}
