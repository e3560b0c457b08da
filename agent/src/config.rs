//! The agent's settings.

use std::path::PathBuf;

use rollmill_broker_client::{AgentId, CLASS_MAX};
use rollmill_service::{Common, Secret, Settings};
use serde::{Deserialize, Serialize};

use crate::devices::{Choice, Fallback};

/// What keys may keep in host memory when nothing is said: all cosets of one key of 2^17 rows.
const KEY_CACHE_CPU: u64 = 400 << 20;

/// Most threads, and most jobs at once: above these a setting is a slip, and takes the machine's memory.
const THREADS_MAX: usize = 1024;
const JOBS_MAX: usize = 64;

/// See `HELP` below for each key.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub broker: String,
    pub token: Option<Secret>,
    pub name: Option<AgentId>,
    pub class: u8,
    pub drain_seconds: u64,
    pub spool_dir: Option<PathBuf>,
    pub keys_dir: Option<PathBuf>,
    pub chain_id: u64,
    pub device: Choice,
    pub fallback: Option<Fallback>,
    pub cuda_image: Option<PathBuf>,
    pub icicle_dir: Option<PathBuf>,
    pub threads: usize,
    pub resident_keys: usize,
    pub key_cache_mib: Option<u64>,
    pub proofs_in_flight: usize,
    pub warm_keys: bool,
    pub check_sums: bool,
    pub prefetch: Option<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            broker: "http://127.0.0.1:8551".into(),
            token: None,
            name: None,
            class: 0,
            drain_seconds: 20,
            spool_dir: None,
            keys_dir: None,
            chain_id: 31337,
            device: Choice::Auto,
            fallback: None,
            cuda_image: None,
            icicle_dir: None,
            threads: 0,
            resident_keys: 9,
            key_cache_mib: None,
            proofs_in_flight: 1,
            warm_keys: true,
            check_sums: false,
            prefetch: None,
        }
    }
}

impl Settings for Config {
    const HELP: &'static [(&'static str, &'static str)] = &[
        ("broker", "address of the broker"),
        ("token", "bearer token for the broker, as file:PATH or env:NAME"),
        ("name", "this agent's name, stable over restarts; host and process id when unset"),
        ("class", "class of the device, 0 to 3: the largest jobs it can hold"),
        (
            "drain_seconds",
            "time to finish the present job in after a signal; then it is handed back",
        ),
        (
            "spool_dir",
            "directory that keeps finished proofs until a broker has taken them, so that they survive a \
             restart; in memory alone when unset",
        ),
        (
            "keys_dir",
            "folder of keys and SRS; $ROLLMILL_CACHE/keys or ~/.cache/rollmill/keys when unset",
        ),
        ("chain_id", "L1's chain id; a development SRS is refused on any other chain"),
        ("device", "where to prove: auto, cpu, cuda:N, wgpu:N or icicle:N; N counts from 0"),
        (
            "fallback",
            "require the device, prefer it and take the CPU where it cannot be used, or off to use \
             the CPU alone; require for a device that is named and prefer for auto when unset",
        ),
        (
            "cuda_image",
            "a fatbin of kernels/cuda/kernels.cu to use instead of the one that is built in",
        ),
        (
            "icicle_dir",
            "folder of ICICLE's libraries, with its backends in backend/; $ROLLMILL_ICICLE_DIR or \
             wherever the system looks when unset",
        ),
        ("threads", "threads to prove with on the CPU, at most 1024; 0 for one a core"),
        ("resident_keys", "proving keys kept in memory"),
        (
            "key_cache_mib",
            "memory that the proving keys together may keep for what each proof would compute again, \
             in MiB; a key of 2^17 rows can use 400; half of a card's memory or 400 when unset, and on \
             a card proofs come first",
        ),
        (
            "proofs_in_flight",
            "proofs on the device at a time; more than one keeps a card busy while a proof waits for \
             the host, and takes memory for each",
        ),
        (
            "warm_keys",
            "load proving keys while there is no job, those of the most frequent jobs first, as many as \
             resident_keys lets stay; false leaves each to the first job that needs it",
        ),
        (
            "check_sums",
            "hold each batch of the device's multi-scalar multiplications to a random relation among \
             them, at the cost of one more; tells a card that computes wrongly from a wrong witness. \
             Proofs are verified before they leave the agent in any case",
        ),
        (
            "prefetch",
            "jobs claimed and prepared while one is proven, which an idle agent could have had; \
             0 on the CPU and 1 elsewhere when unset",
        ),
    ];

    fn check(&self) -> Result<(), String> {
        if self.class > CLASS_MAX {
            return Err(format!("class is at most {CLASS_MAX}"));
        }
        for (key, value, least, most) in [
            ("threads", self.threads, 0, THREADS_MAX),
            ("proofs_in_flight", self.proofs_in_flight, 1, JOBS_MAX),
            ("prefetch", self.prefetch.unwrap_or(0), 0, JOBS_MAX),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("{key} is {value}, expected {least} to {most}"));
            }
        }
        if self.fallback == Some(Fallback::Off) && self.device.is_accelerator() {
            return Err(format!(
                "device is {}, but fallback = off uses the CPU alone; leave out one of them",
                self.device
            ));
        }
        Ok(())
    }

    fn check_with(&self, common: &Common) -> Result<(), String> {
        let (drain, grace) = (self.drain_seconds, common.grace_seconds);
        if drain > 0 && drain >= grace {
            return Err(format!(
                "drain_seconds is {drain} and grace_seconds is {grace}, so that the process would be cut \
                 off before it hands its job back; give --drain-seconds less than --grace-seconds"
            ));
        }
        Ok(())
    }
}

impl Config {
    /// Bytes that keys may keep on a device with so much memory of its own.
    pub fn key_cache_bytes(&self, memory_bytes: Option<u64>) -> u64 {
        match (self.key_cache_mib, memory_bytes) {
            (Some(mib), _) => mib.saturating_mul(1 << 20),
            (None, Some(bytes)) => bytes / 2,
            (None, None) => KEY_CACHE_CPU,
        }
    }

    /// The name given, or one made of host and process id.
    pub fn agent_id(&self) -> AgentId {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let allowed = |c: &char| c.is_ascii_alphanumeric() || "._-".contains(*c);
        let host: String = host.chars().filter(allowed).take(60).collect();
        let name =
            format!("{}-{}", if host.is_empty() { "agent" } else { &host }, std::process::id());
        // Filtered to what a name may hold, so this parses; the process id alone does in any case.
        name.parse().unwrap_or_else(|_| Config::default().agent_id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_may_keep_half_of_a_cards_memory_unless_the_settings_say_otherwise() {
        let unset = Config::default();
        assert_eq!(unset.key_cache_bytes(Some(24 << 30)), 12 << 30);
        assert_eq!(unset.key_cache_bytes(None), 400 << 20);
        let set = Config { key_cache_mib: Some(3), ..Config::default() };
        assert_eq!(set.key_cache_bytes(Some(24 << 30)), 3 << 20);
    }

    #[test]
    fn settings_that_take_the_machine_or_cut_a_job_off_are_refused_with_their_bounds() {
        for (flags, parts) in [
            (&["--threads", "100000"][..], &["threads is 100000", "0 to 1024"][..]),
            (&["--proofs-in-flight", "0"], &["proofs_in_flight is 0", "1 to 64"]),
            (&["--prefetch", "65"], &["prefetch is 65", "0 to 64"]),
            (
                &["--drain-seconds", "100", "--grace-seconds", "5"],
                &["--drain-seconds", "--grace-seconds", "100", "5"],
            ),
            (&["--grace-seconds", "20"], &["drain_seconds is 20"]),
        ] {
            let error = rollmill_service::load::<Config>("agent", flags, &[]).unwrap_err();
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{flags:?}: {text}");
            assert_eq!(error.exit_code(), 2);
        }
        let flags = ["--drain-seconds", "0", "--grace-seconds", "0", "--threads", "1024"];
        rollmill_service::load::<Config>("agent", &flags, &[]).unwrap();
    }
}
