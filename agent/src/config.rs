//! The agent's settings.

use std::path::PathBuf;

use rollmill_broker_client::{AgentId, SizeClass};
use rollmill_service::{Common, Conflict, Fact, Secret, Settings, TraceSettings, values};

use crate::devices::{AdapterRows, Choice, Fallback};
use crate::pace::Pace;
use crate::reclaim;

/// Default limit of host memory for keys: all cosets of one key of 2^17 rows.
const KEY_CACHE_CPU: u64 = 400 << 20;

/// Maximum threads and maximum concurrent jobs: a higher setting is a mistake and would exhaust the
/// memory.
const THREADS_MAX: usize = 1024;
const JOBS_MAX: usize = 64;

/// The agent's settings.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// URL of the broker
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8551")]
    #[arg(value_parser = values::url, help_heading = "Connection")]
    pub broker: String,

    /// Bearer token for the broker, with the role `agent` [default: none]
    #[arg(long, value_name = "file:PATH|env:NAME", help_heading = "Connection")]
    pub token: Option<Secret>,

    /// Name of this agent, unique and stable over restarts [default: host name and process id]
    #[arg(long, value_name = "NAME", help_heading = "Connection")]
    pub name: Option<AgentId>,

    /// File with the random name of this installation [default: $ROLLMILL_CACHE/agent.installation or
    /// ~/.cache/rollmill/agent.installation]
    ///
    /// It is made at the first start. An agent that comes back with it gets back at once what it held; another
    /// installation under the same name is rejected while this one is alive.
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub installation_file: Option<PathBuf>,

    /// Device class: the largest jobs this agent can hold [default: by the device's memory]
    ///
    /// The memory of the device, or of the machine on the CPU, is shared by `proofs_in_flight` proofs, if that is set. With
    /// less than 20 GiB for each the class is 0, from 20 GiB 1, from 40 GiB 2, and from 76 GiB 3.
    #[arg(long, value_name = "N", value_parser = size_class, help_heading = "Jobs")]
    pub class: Option<SizeClass>,

    /// Time to finish the current job after a signal or a drain request; then the job is returned to the broker
    ///
    /// It must be less than `service.grace_seconds`. 0 returns the job immediately.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, help_heading = "Jobs")]
    #[arg(value_parser = values::whole(0..=86_400_u64))]
    pub drain_seconds: u64,

    /// Who says that this machine is taken away: off, aws, gcp, azure or a URL
    ///
    /// For spot and preemptible machines. The agent asks the cloud's metadata service every few seconds. A URL of your own
    /// answers 200 when the machine goes, else 404; a time in its answer (2026-01-31T23:59:59Z, alone or as `time` in a
    /// JSON object) says when. The agent then takes no more jobs and has until 5 s before that time to finish, or
    /// `drain_seconds` where no time is known; the rest is returned to the broker. The signal SIGUSR1 says the same.
    #[arg(long, value_name = "SOURCE", default_value = "off", help_heading = "Jobs")]
    #[arg(value_parser = reclaim::source)]
    pub reclaim: reclaim::Source,

    /// Directory for finished proofs until a broker accepts them [default: memory only]
    ///
    /// With this setting finished proofs survive a restart of the agent.
    #[arg(long, value_name = "DIR", help_heading = "Jobs")]
    pub spool_dir: Option<PathBuf>,

    /// Jobs to claim ahead while others are proving [default: 0 on the CPU, 1 on accelerators, 2 more than
    /// `proofs_in_flight` on an NVIDIA GPU if the cores suffice]
    ///
    /// Claimed jobs are prepared meanwhile. They are not available to idle agents.
    #[arg(long, value_name = "N", value_parser = values::whole(0..=JOBS_MAX), help_heading = "Jobs")]
    pub prefetch: Option<usize>,

    /// Device to prove on: auto, cpu, cuda:N, wgpu:N or icicle:N
    ///
    /// N counts from 0, or is a UUID or a part of the device's name. `rollmill-agent devices` lists the devices.
    #[arg(long, value_name = "DEVICE", default_value = "auto", help_heading = "Proving")]
    pub device: Choice,

    /// What to do if the device cannot be used [default: require; prefer if the device is auto]
    #[arg(long, value_name = "POLICY", value_enum, help_heading = "Proving")]
    pub fallback: Option<Fallback>,

    /// CPU proving threads; 0 means one per core
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Proving")]
    #[arg(value_parser = values::whole(0..=THREADS_MAX))]
    pub threads: usize,

    /// Proofs to compute concurrently [default: 1, on an NVIDIA GPU 2 to 8 by its memory and measured speed]
    ///
    /// More than one keeps a GPU busy while a proof waits for the host. Each takes memory. Where it is not set, a proof
    /// that does not fit beside others waits for them.
    #[arg(long, value_name = "N", value_parser = values::whole(1..=JOBS_MAX), help_heading = "Proving")]
    pub proofs_in_flight: Option<usize>,

    /// Check every MSM batch with a random linear combination (costs one extra MSM)
    ///
    /// It tells a GPU that computes wrongly from a wrong witness. Proofs are verified before they leave the
    /// agent in any case.
    #[arg(long, default_value_t = false, help_heading = "Proving")]
    pub check_sums: bool,

    /// CUDA image (fatbin) of kernels/cuda/kernels.cu [default: the built-in one]
    #[arg(long, value_name = "FILE", help_heading = "Proving")]
    pub cuda_image: Option<PathBuf>,

    /// Where a graphics adapter (`wgpu:N`) runs row kernels [default: interpreted]
    #[arg(long, value_name = "WHERE", value_enum, help_heading = "Proving")]
    pub adapter_rows: Option<AdapterRows>,

    /// Memory of a graphics adapter (`wgpu:N`) to use [default: nine tenths of its own, where that is known]
    ///
    /// A proof that needs more fails with DEV-002. Without a budget a driver may move memory to the host, which is slow.
    #[arg(long, value_name = "MIB", help_heading = "Proving")]
    #[arg(value_parser = values::whole(64..=1_u64 << 24))]
    pub adapter_memory_mib: Option<u64>,

    /// Directory of the ICICLE libraries [default: $ROLLMILL_ICICLE_DIR or the loader's search path]
    ///
    /// Its backends are in `backend/`.
    #[arg(long, value_name = "DIR", help_heading = "Proving")]
    pub icicle_dir: Option<PathBuf>,

    /// Directory of proving keys and SRS [default: $ROLLMILL_CACHE/keys or ~/.cache/rollmill/keys]
    #[arg(long, value_name = "DIR", help_heading = "Keys")]
    pub keys_dir: Option<PathBuf>,

    /// Chain ID of L1; a development SRS is rejected on every chain but 31337
    #[arg(long, value_name = "ID", default_value_t = 31337, help_heading = "Keys")]
    #[arg(value_parser = values::whole(1..=values::CHAIN_ID_MAX))]
    pub chain_id: u64,

    /// Proving keys to keep in memory
    #[arg(long, value_name = "N", default_value_t = 9, help_heading = "Keys")]
    #[arg(value_parser = values::whole(1..=64_usize))]
    pub resident_keys: usize,

    /// Memory for cached key data, which saves work in each proof [default: half the GPU's memory, or 400]
    ///
    /// A key of 2^17 rows can use 400 MiB. On a GPU, proofs have priority over the cache.
    #[arg(long, value_name = "MIB", help_heading = "Keys")]
    #[arg(value_parser = values::whole(0..=1_u64 << 24))]
    pub key_cache_mib: Option<u64>,

    /// Load proving keys while idle, most frequent jobs first, up to `resident_keys`
    ///
    /// With `false` the first job that needs a key loads it.
    #[arg(long, default_value_t = true, help_heading = "Keys")]
    pub warm_keys: bool,

    #[command(flatten)]
    pub traces: TraceSettings,
}

impl Default for Config {
    fn default() -> Self {
        rollmill_service::defaults()
    }
}

impl Settings for Config {
    const DEPLOYMENT: &'static [Fact] = &[Fact::identity("chain_id", "chain_id")];

    fn check(&self, common: &Common) -> Result<(), Conflict> {
        if self.fallback == Some(Fallback::Off) && self.device.is_accelerator() {
            return Err(Conflict::new(
                &["device", "fallback"],
                "fallback off uses the CPU only; remove one of the two",
            ));
        }
        if self.drain_seconds > 0 && self.drain_seconds >= common.grace_seconds {
            return Err(Conflict::new(
                &["drain_seconds", "service.grace_seconds"],
                "the process would be killed before it returns its job; set drain_seconds below \
                 grace_seconds",
            ));
        }
        Ok(())
    }

    fn traces(&self) -> Option<&TraceSettings> {
        Some(&self.traces)
    }
}

impl Config {
    /// Bytes that keys may keep on a device with this much memory.
    pub fn key_cache_bytes(&self, memory_bytes: Option<u64>) -> u64 {
        match (self.key_cache_mib, memory_bytes) {
            (Some(mib), _) => mib.saturating_mul(1 << 20),
            (None, Some(bytes)) => bytes / 2,
            (None, None) => KEY_CACHE_CPU,
        }
    }

    /// Proofs at a time and jobs ahead: what the settings say, else what suits the device.
    pub(crate) fn pace(&self, suits: Pace) -> Pace {
        Pace {
            proofs_in_flight: self.proofs_in_flight.unwrap_or(suits.proofs_in_flight),
            prefetch: self.prefetch.unwrap_or(suits.prefetch),
        }
    }

    /// The class of this agent, on a device of this memory. A number of proofs that nobody asked for makes no job too
    /// large: one that needs the memory of others waits for them.
    pub fn class_of(&self, memory_bytes: Option<u64>) -> SizeClass {
        let proofs = self.proofs_in_flight.unwrap_or(1);
        self.class.unwrap_or_else(|| class_by_memory(memory_bytes, proofs))
    }

    /// The configured name, or one from host and process id.
    pub fn agent_id(&self) -> AgentId {
        self.name.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            AgentId::of_process(&host, std::process::id())
        })
    }
}

/// The class of an agent whose settings name none. One that does not know its memory takes the jobs that every agent can
/// hold.
fn class_by_memory(memory_bytes: Option<u64>, proofs_in_flight: usize) -> SizeClass {
    let proofs = u64::try_from(proofs_in_flight).unwrap_or(u64::MAX).max(1);
    memory_bytes.map_or(SizeClass::SMALLEST, |bytes| SizeClass::of_memory(bytes / proofs))
}

/// Parses a size class, with the bounds of the type.
fn size_class(text: &str) -> Result<SizeClass, values::Bounds> {
    let number = values::whole(0..=SizeClass::LARGEST.number())(text)?;
    Ok(SizeClass::new(number).unwrap_or(SizeClass::LARGEST))
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
    fn what_suits_the_device_counts_where_the_settings_say_nothing() {
        let suits = Pace { proofs_in_flight: 4, prefetch: 6 };
        assert_eq!(Config::default().pace(suits), suits);
        let some = Config { proofs_in_flight: Some(2), ..Config::default() };
        assert_eq!(some.pace(suits), Pace { proofs_in_flight: 2, prefetch: 6 });
        let all = Config { prefetch: Some(0), ..some };
        assert_eq!(all.pace(suits), Pace { proofs_in_flight: 2, prefetch: 0 });
    }

    #[test]
    fn the_class_follows_from_the_memory_of_a_proof_unless_the_settings_say_otherwise() {
        let class = |class, memory_gib: Option<u64>, proofs| {
            let proofs_in_flight = (proofs > 0).then_some(proofs);
            let config = Config { class, proofs_in_flight, ..Config::default() };
            config.class_of(memory_gib.map(|gib| gib << 30)).number()
        };
        for (memory_gib, proofs, expected) in [
            (None, 1, 0),
            (Some(16), 1, 0),
            (Some(24), 1, 1),
            (Some(48), 1, 2),
            (Some(80), 1, 3),
            (Some(80), 0, 3),
            (Some(80), 2, 2),
            (Some(80), 4, 1),
            (Some(80), 64, 0),
        ] {
            let found = class(None, memory_gib, proofs);
            assert_eq!(found, expected, "{memory_gib:?} GiB, {proofs} proofs");
            assert_eq!(class(Some(SizeClass::LARGEST), memory_gib, proofs), 3);
            assert_eq!(class(Some(SizeClass::SMALLEST), memory_gib, proofs), 0);
        }
    }

    #[test]
    fn settings_that_take_the_machine_or_cut_a_job_off_are_rejected_with_their_bounds() {
        for (flags, parts) in [
            (&["--threads", "100000"][..], &["`100000` for --threads", "0 to 1024"][..]),
            (&["--proofs-in-flight", "0"], &["`0` for --proofs-in-flight", "1 to 64"]),
            (&["--class", "4"], &["`4` for --class", "0 to 3"]),
            (&["--prefetch", "65"], &["`65` for --prefetch", "0 to 64"]),
            (&["--reclaim", "amazon"], &["amazon", "--reclaim", "off, aws, gcp or azure"]),
            (
                &["--drain-seconds", "100", "--grace-seconds", "5"],
                &["drain_seconds = 100 (--drain-seconds)", "= 5 (--grace-seconds)"],
            ),
            (&["--grace-seconds", "20"], &["drain_seconds = 20 (default)"]),
            (
                &["--device", "cuda:0", "--fallback", "off"],
                &["device = cuda:0 (--device)", "fallback = off (--fallback)"],
            ),
        ] {
            let error = rollmill_service::load::<Config>("agent", flags, &[]).unwrap_err();
            let text = error.to_string();
            assert!(parts.iter().all(|part| text.contains(part)), "{flags:?}: {text}");
            assert_eq!(error.exit_code(), 2);
        }
        let flags = ["--drain-seconds", "0", "--grace-seconds", "0", "--threads", "1024"];
        rollmill_service::load::<Config>("agent", &flags, &[]).unwrap();
    }

    /// A number of a type of its own is a number in the file too, not a text.
    #[test]
    fn a_class_in_the_settings_file_is_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let load = |text: &str| {
            let path = folder.path().join("agent.toml");
            std::fs::write(&path, text).unwrap();
            let path = path.to_str().unwrap().to_owned();
            rollmill_service::load::<Config>("agent", &["--config", &path], &[])
        };
        assert_eq!(load("class = 1\n").unwrap().0.class, SizeClass::new(1));
        assert_eq!(load("").unwrap().0.class, None);
        for wrong in ["class = \"1\"\n", "class = 4\n"] {
            let error = load(wrong).unwrap_err();
            assert!(error.to_string().contains("0 to 3"), "{error}");
        }
    }
}
