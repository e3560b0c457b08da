//! The arguments of `rollmill-bench run`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use rollmill_algebra::CpuPath;
use rollmill_service::values;

use crate::BenchError;
use crate::epoch::{self, Epoch, Fleet, LOG_ROWS};
use crate::peers::PEERS;

/// The most proofs at a time.
const IN_FLIGHT_MAX: u16 = 64;
/// What is measured on a GPU unless the command line says otherwise.
const IN_FLIGHT: [usize; 4] = [1, 2, 4, 8];

/// The groups of measurements, in the order in which they run.
const GROUPS: [&str; 6] = ["field", "poseidon2", "msm", "ntt", "proof", "circuit"];
/// Distributions of scalars.
const DISTRIBUTIONS: [&str; 6] = ["uniform", "u16", "plonk", "equal", "signs", "sparse"];

/// What to measure and where to write the results.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    groups: Vec<String>,
    pub distributions: Vec<String>,
    peers: Vec<String>,
    /// The peers were requested by name, so each must be present.
    peers_named: bool,
    /// Barretenberg's program.
    pub bb: Option<PathBuf>,
    /// Base-2 logarithms of sizes.
    pub sizes: RangeInclusive<u32>,
    pub runs: usize,
    /// Runs of measurements that take seconds, such as whole proofs.
    pub proof_runs: usize,
    /// Numbers of proofs at a time; `None` if the command line does not say.
    in_flight: Option<Vec<usize>>,
    /// The path of the CPU device; `None` for the fastest.
    pub cpu_path: Option<CpuPath>,
    pub json: Option<PathBuf>,
    pub markdown: Option<PathBuf>,
    /// An epoch to state the time and the cost of, and the devices for it.
    pub epoch: Option<(Epoch, Fleet)>,
}

/// The subcommand `run` as clap knows it.
pub fn command() -> Command {
    let list = |name: &'static str, help: String| {
        Arg::new(name).long(name).value_name("LIST").value_delimiter(',').help(help)
    };
    let file = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
    };
    Command::new("run")
        .about("Measure this machine: MSM, NTT, field, hash, whole proofs and every circuit")
        .arg(list("only", format!("What to measure: some of {} [default: all]", GROUPS.join(", "))))
        .arg(
            Arg::new("sizes")
                .long("sizes")
                .value_name("FROM..TO")
                .default_value("14..18")
                .help("Base-2 logarithms of MSM and NTT lengths, and of the rows of proofs (up to 2^22) [1 to 26]"),
        )
        .arg(list("distributions", format!("Distributions of scalars: some of {} [default: all]", DISTRIBUTIONS.join(", "))))
        .arg(list(
            "peers",
            format!(
                "Peers to measure in the same run: some of {}, or none [default: those installed]",
                PEERS.join(", ")
            ),
        ))
        .arg(file(
            "bb",
            "Program of Barretenberg [default: search PATH and the npm directory]",
        ))
        .arg(
            Arg::new("runs")
                .long("runs")
                .value_name("N")
                .default_value("11")
                .value_parser(values::whole(1..=1000_u16))
                .help("Runs per operation; the median counts"),
        )
        .arg(
            Arg::new("proof-runs")
                .long("proof-runs")
                .value_name("N")
                .default_value("3")
                .value_parser(values::whole(1..=1000_u16))
                .help("Runs per whole proof; the median counts"),
        )
        .arg(
            Arg::new("in-flight")
                .long("in-flight")
                .value_name("LIST")
                .value_delimiter(',')
                .value_parser(values::whole(0..=IN_FLIGHT_MAX))
                .help(
                    "Proofs at a time for which `proof` measures proofs per second, or 0 for none [default: 1,2,4,8 on \
                     an NVIDIA GPU, else none]",
                ),
        )
        .arg(
            Arg::new("cpu-path")
                .long("cpu-path")
                .value_name("PATH")
                .help("Path of the CPU device to measure: portable, adx, avx2 or ifma [default: the fastest]"),
        )
        .arg(file(
            "json",
            "Write the results as JSON to this file, again after each figure [default: none]",
        ))
        .arg(file("markdown", "Write the printed table to this file [default: none]"))
        .args(epoch::arguments())
        .arg(
            Arg::new("price-per-hour")
                .long("price-per-hour")
                .value_name("USD")
                .value_parser(value_parser!(f64))
                .requires("epoch")
                .help("Price of a device for the cost of the epoch [above 0] [default: none]"),
        )
}

impl Plan {
    /// Reads the arguments of [`command`].
    pub fn of(matches: &ArgMatches) -> Result<Self, BenchError> {
        let list = |name: &'static str, known: &[&str]| -> Result<Vec<String>, BenchError> {
            let Some(given) = matches.get_many::<String>(name) else {
                return Ok(known.iter().map(ToString::to_string).collect());
            };
            for word in given.clone() {
                if !known.contains(&word.as_str()) && word != "none" {
                    let expected = format!("some of {}, or none", known.join(", "));
                    return Err(BenchError::Argument { what: name, expected, got: word.clone() });
                }
            }
            Ok(given.filter(|word| *word != "none").cloned().collect())
        };
        let price = matches.get_one::<f64>("price-per-hour").copied();
        if let Some(got) = price.filter(|usd| !(usd.is_finite() && *usd > 0.0)) {
            let (expected, got) = ("dollars above 0".to_owned(), got.to_string());
            return Err(BenchError::Argument { what: "price-per-hour", expected, got });
        }
        let count = |name| usize::from(matches.get_one::<u16>(name).copied().unwrap_or(1));
        let plan = Self {
            groups: list("only", &GROUPS)?,
            distributions: list("distributions", &DISTRIBUTIONS)?,
            peers: list("peers", &PEERS)?,
            peers_named: matches.contains_id("peers"),
            bb: matches.get_one("bb").cloned(),
            sizes: sizes(matches.get_one::<String>("sizes").map_or("14..18", String::as_str))?,
            runs: count("runs"),
            proof_runs: count("proof-runs"),
            in_flight: matches.get_many::<u16>("in-flight").map(|counts| {
                counts.copied().map(usize::from).filter(|count| *count > 0).collect()
            }),
            cpu_path: matches
                .get_one::<String>("cpu-path")
                .map(|name| cpu_path(name))
                .transpose()?,
            json: matches.get_one("json").cloned(),
            markdown: matches.get_one("markdown").cloned(),
            epoch: epoch::asked(matches)?.map(|(epoch, fleet)| (epoch, Fleet { price, ..fleet })),
        };
        // Found out now, and not after minutes.
        if plan.epoch.is_some() && !(plan.wants("proof") && plan.sizes.contains(&LOG_ROWS)) {
            let expected = format!("proof among --only and {LOG_ROWS} among --sizes");
            let got = format!("--sizes {}..{}", plan.sizes.start(), plan.sizes.end());
            return Err(BenchError::Argument { what: "epoch", expected, got });
        }
        Ok(plan)
    }

    /// Requires that the files of results can be written, before minutes are spent on measuring. Leaves
    /// nothing behind.
    ///
    /// # Errors
    /// [`BenchError::Write`]
    pub fn require_writable(&self) -> Result<(), BenchError> {
        for path in [&self.json, &self.markdown].into_iter().flatten() {
            let is_new = !path.exists();
            let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
            if opened.is_ok() && is_new {
                // The empty file is not needed; removing it is best effort.
                std::fs::remove_file(path).ok();
            }
            opened.map_err(|error| BenchError::Write {
                path: path.display().to_string(),
                reason: rollmill_errors::InWords(&error).to_string(),
            })?;
        }
        Ok(())
    }

    /// Numbers of proofs at a time to measure, on an NVIDIA GPU or on another device.
    pub fn in_flight(&self, is_card: bool) -> Vec<usize> {
        match &self.in_flight {
            Some(counts) => counts.clone(),
            None if is_card => IN_FLIGHT.to_vec(),
            None => Vec::new(),
        }
    }

    /// Whether a group was requested.
    pub fn wants(&self, group: &str) -> bool {
        self.groups.iter().any(|requested| requested == group)
    }

    /// Whether to measure a peer if it is present.
    pub fn wants_peer(&self, name: &str) -> bool {
        self.peers.iter().any(|peer| peer == name)
    }

    /// Whether a peer was requested by name, so that it must be present.
    pub fn names_peer(&self, name: &str) -> bool {
        let named = self.peers_named || (name == "barretenberg" && self.bb.is_some());
        named && self.wants_peer(name)
    }
}

fn cpu_path(name: &str) -> Result<CpuPath, BenchError> {
    CpuPath::ALL.into_iter().find(|path| path.name() == name).ok_or_else(|| BenchError::Argument {
        what: "cpu-path",
        expected: CpuPath::ALL.map(CpuPath::name).join(", "),
        got: name.to_owned(),
    })
}

fn sizes(text: &str) -> Result<RangeInclusive<u32>, BenchError> {
    let rejected = || BenchError::Argument {
        what: "sizes",
        expected: "FROM..TO or one number, from 1 to 26".to_owned(),
        got: text.to_owned(),
    };
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str| text.trim_start_matches('=').parse::<u32>().map_err(|_| rejected());
    let (from, to) = (number(from)?, number(to)?);
    match 1 <= from && from <= to && to <= 26 {
        true => Ok(from..=to),
        false => Err(rejected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peers::Peers;

    fn plan(arguments: &[&str]) -> Result<Plan, BenchError> {
        let words = std::iter::once("run").chain(arguments.iter().copied());
        Plan::of(&command().try_get_matches_from(words).unwrap())
    }

    #[test]
    fn everything_is_measured_unless_something_is_named() {
        let all = plan(&[]).unwrap();
        assert!(GROUPS.iter().all(|group| all.wants(group)));
        assert!(PEERS.iter().all(|peer| all.wants_peer(peer) && !all.names_peer(peer)));
        assert_eq!((all.in_flight(true), all.in_flight(false)), (vec![1, 2, 4, 8], vec![]));
        let epoch =
            plan(&["--epoch", "4x16", "--price-per-hour", "2.5", "--devices", "3"]).unwrap();
        let fleet = Fleet { devices: 3, price: Some(2.5), utilization: 1.0 };
        assert_eq!(epoch.epoch, Some(("4x16".parse().unwrap(), fleet)));
        let few = plan(&["--in-flight", "3,64"]).unwrap();
        assert_eq!((few.in_flight(true), few.in_flight(false)), (vec![3, 64], vec![3, 64]));
        assert!(plan(&["--in-flight", "0"]).unwrap().in_flight(true).is_empty());
        assert_eq!((all.sizes, all.runs, all.cpu_path), (14..=18, 11, None));
        assert_eq!(plan(&["--cpu-path", "adx"]).unwrap().cpu_path, Some(CpuPath::Adx));
        let some = plan(&["--only", "msm,ntt", "--peers", "none", "--sizes", "20"]).unwrap();
        assert!(some.wants("msm") && !some.wants("proof"));
        assert!(!PEERS.iter().any(|peer| some.wants_peer(peer)));
        assert_eq!(some.sizes, 20..=20);
    }

    #[test]
    fn a_peer_must_be_there_once_it_is_named() {
        let one = plan(&["--peers", "halo2curves"]).unwrap();
        assert!(one.names_peer("halo2curves") && !one.wants_peer("arkworks"));
        let by_path = plan(&["--bb", "/nonexistent/bb"]).unwrap();
        assert!(by_path.names_peer("barretenberg") && !by_path.names_peer("halo2curves"));
        let error = Peers::find(&by_path, 1).unwrap_err();
        assert_eq!(error.code(), "BEN-007");
        assert!(error.to_string().contains("/nonexistent/bb cannot be run"), "{error}");
        if !cfg!(feature = "peers") {
            let error = Peers::find(&one, 1).unwrap_err();
            assert!(error.to_string().contains("--features peers"), "{error}");
            let both = Peers::find(&plan(&[]).unwrap(), 1).unwrap();
            assert!(both.arkworks && both.absent.iter().any(|peer| peer.name == "halo2curves"));
        }
    }

    #[test]
    fn an_unknown_word_is_rejected_with_those_that_are_known() {
        for (arguments, part) in [
            (&["--only", "fft"][..], "msm, ntt"),
            (&["--distributions", "gauss"], "uniform"),
            (&["--peers", "gnark"], "arkworks"),
            (&["--cpu-path", "avx"], "portable, adx, avx2, ifma"),
            (&["--sizes", "18..14"], "FROM..TO"),
            (&["--sizes", "27"], "to 26"),
            (&["--sizes", "many"], "FROM..TO"),
            (&["--epoch", "4"], "BLOCKSxTXS"),
            (&["--epoch", "4x4", "--sizes", "16"], "17 among --sizes"),
            (&["--epoch", "4x4", "--only", "msm"], "proof among --only"),
            (&["--epoch", "4x4", "--utilization", "1.5"], "up to 1"),
            (&["--epoch", "4x4", "--price-per-hour", "0"], "above 0"),
        ] {
            let error = plan(arguments).unwrap_err();
            assert_eq!(error.code(), "BEN-001");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
