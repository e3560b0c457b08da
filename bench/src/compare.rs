//! Compares result files: speed, distance from the floor, and cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::epoch::{self, Epoch, Estimate, Fleet, Speeds};
use crate::result::{Entry, Results};
use crate::{BenchError, svg};

/// A result file and its name in the table.
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) results: Results,
    /// Dollars per hour.
    price: Option<f64>,
}

/// The subcommand `compare` as clap knows it.
pub fn command() -> Command {
    Command::new("compare")
        .about("Print result files side by side, and draw them")
        .arg(
            Arg::new("files")
                .value_name("FILE")
                .num_args(1..)
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Results written by --json"),
        )
        .arg(
            Arg::new("svg")
                .long("svg")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Draw speeds into this SVG file [default: none]"),
        )
        .arg(
            Arg::new("peers")
                .long("peers")
                .action(ArgAction::SetTrue)
                .conflicts_with("price")
                .help("Compare our figures with those of the peers; the files are of one machine"),
        )
        .arg(
            Arg::new("price")
                .long("price")
                .value_name("FILE=USD")
                .action(ArgAction::Append)
                .help("Price per hour of the machine of a result file; adds the cost of proofs [default: none]"),
        )
        .args(epoch::arguments())
}

/// Reads the files of `rollmill-bench compare`, prints the table and draws.
pub fn run(matches: &ArgMatches) -> Result<String, BenchError> {
    let files: Vec<&PathBuf> = matches.get_many("files").unwrap_or_default().collect();
    let prices: Vec<&String> = matches.get_many("price").unwrap_or_default().collect();
    let mut prices =
        prices.into_iter().map(|text| price(text)).collect::<Result<BTreeMap<_, _>, _>>()?;
    if let Some(svg) = matches.get_one::<PathBuf>("svg")
        && let Some(path) = files.iter().find(|path| rollmill_agent::srs::is_one_file(path, svg))
    {
        let reason = "it is one of the files to compare; choose another".to_owned();
        return Err(BenchError::Write { path: path.display().to_string(), reason });
    }
    let mut columns = Vec::with_capacity(files.len());
    for path in files {
        let results = Results::read(path)?;
        let name = shown(path);
        let price = prices.remove(&name).or_else(|| prices.remove(&path.display().to_string()));
        columns.push(Column { name, results, price });
    }
    if let Some((unused, _)) = prices.into_iter().next() {
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let expected = format!("one of the files to compare: {}", names.join(", "));
        return Err(BenchError::Argument { what: "price", expected, got: unused });
    }
    let epoch = epoch::asked(matches)?;
    let (text, drawing) = match matches.get_flag("peers") {
        true => {
            let merged = merge(columns)?;
            (summary(&merged), svg::draw(&svg::by_implementation(&merged)))
        }
        false => (table(&columns, epoch)?, svg::draw(&svg::by_file(&columns))),
    };
    if let Some(path) = matches.get_one::<PathBuf>("svg") {
        let failed = |error: std::io::Error| BenchError::Write {
            path: path.display().to_string(),
            reason: rollmill_errors::InWords(&error).to_string(),
        };
        std::fs::write(path, drawing).map_err(failed)?;
    }
    Ok(text)
}

/// All figures of one machine, as if one run had measured them. If several files contain a figure, the
/// first file's counts; a peer that any file has is not absent.
fn merge(columns: Vec<Column>) -> Result<Results, BenchError> {
    let mut columns = columns.into_iter();
    let Some(Column { name, results: mut merged, .. }) = columns.next() else {
        let expected = "a file of results".to_owned();
        return Err(BenchError::Argument { what: "peers", expected, got: String::new() });
    };
    for Column { name: other, results, .. } in columns {
        // The kernel's name and the load may change between two runs on one machine.
        let of = |r: &Results| (r.device.clone(), r.machine.cpu.clone(), r.machine.cores);
        if of(&results) != of(&merged) {
            return Err(BenchError::OtherMachine { left: name, right: other });
        }
        for entry in results.entries {
            let same =
                |e: &Entry| (&e.name, &e.implementation) == (&entry.name, &entry.implementation);
            if !merged.entries.iter().any(same) {
                merged.entries.push(entry);
            }
        }
        merged.absent_peers.extend(results.absent_peers);
    }
    let Results { absent_peers, entries, .. } = &mut merged;
    absent_peers.retain(|peer| entries.iter().all(|entry| entry.implementation != peer.name));
    absent_peers.dedup_by(|a, b| a.name == b.name);
    Ok(merged)
}

fn shown(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn price(text: &str) -> Result<(String, f64), BenchError> {
    let rejected = || BenchError::Argument {
        what: "price",
        expected: "FILE=USD, dollars an hour above 0".to_owned(),
        got: text.to_owned(),
    };
    let (name, dollars) = text.rsplit_once('=').ok_or_else(rejected)?;
    let dollars: f64 = dollars.parse().map_err(|_| rejected())?;
    match dollars.is_finite() && dollars > 0.0 {
        true => Ok((name.trim_end_matches(".json").to_owned(), dollars)),
        false => Err(rejected()),
    }
}

/// The row of an epoch: what it takes and costs on devices like that of each file.
fn epoch_row(columns: &[Column], (epoch, fleet): (Epoch, Fleet)) -> String {
    let mut text = format!("\n| epoch {epoch}, {} devices |", fleet.devices);
    for Column { results, price, .. } in columns {
        let fleet = Fleet { price: *price, ..fleet };
        let estimate = Speeds::of(results).map(|speeds| Estimate::of(epoch, fleet, &speeds));
        let cell = estimate.map_or_else(|| "–".to_owned(), |estimate| estimate.cell());
        let _ = write!(text, " {cell} |");
    }
    text
}

/// The table in Markdown: one row per operation, one column per file.
fn table(columns: &[Column], epoch: Option<(Epoch, Fleet)>) -> Result<String, BenchError> {
    let mut names: Vec<&str> = Vec::new();
    for column in columns {
        for entry in column.results.own() {
            if !names.contains(&entry.name.as_str()) {
                names.push(&entry.name);
            }
        }
    }
    let find = |column: &'_ Column, name: &str| -> Option<Entry> {
        column.results.own().find(|entry| entry.name == name).cloned()
    };
    if let [first, .., last] = columns {
        let shared = |name: &&str| columns.iter().all(|column| find(column, name).is_some());
        if !names.iter().any(shared) {
            let (left, right) = (first.name.clone(), last.name.clone());
            return Err(BenchError::NothingShared { left, right });
        }
    }
    let mut text = String::new();
    // Writing to a string cannot fail.
    for Column { name, results, price } in columns {
        let price = price.map_or(String::new(), |usd| format!(", {usd} USD an hour"));
        let _ = writeln!(
            text,
            "{name}: {} on {} ({} cores){price}",
            results.device, results.machine.cpu, results.machine.cores
        );
        if let Some(reason) = &results.unfinished {
            let _ = writeln!(text, "{name} is not whole: {reason}");
        }
    }
    let _ = write!(text, "\n| operation |");
    columns.iter().for_each(|column| {
        let _ = write!(text, " {} |", column.name);
    });
    let _ = write!(text, "\n| --- |{}", " --- |".repeat(columns.len()));
    for name in names {
        let _ = write!(text, "\n| {name} |");
        let first = find(&columns[0], name);
        for (at, column) in columns.iter().enumerate() {
            let Some(entry) = find(column, name) else {
                let _ = write!(text, " – |");
                continue;
            };
            let _ = write!(text, " {:.3} ms", entry.median_seconds * 1e3);
            if let Some(fraction) = entry.fraction() {
                let _ = write!(text, ", {:.0} % of floor", fraction * 100.0);
            }
            if let Some(watts) = entry.watts {
                let _ = write!(text, ", {:.3} J", watts * entry.median_seconds);
            }
            if let (Some(first), true) = (&first, at > 0) {
                let _ = write!(text, ", {:.2}x", first.median_seconds / entry.median_seconds);
            }
            if let (Some(usd), "proof" | "circuit") = (column.price, entry.group.as_str()) {
                let cost = usd * entry.median_seconds / 3600.0 * 1e6;
                let _ = write!(text, ", {cost:.2} USD a million");
            }
            let _ = write!(text, " |");
        }
    }
    text += &epoch.map_or_else(String::new, |epoch| epoch_row(columns, epoch));
    text.push('\n');
    Ok(text)
}

/// The table of one run, with a column per peer.
pub fn summary(results: &Results) -> String {
    let mut text = format!(
        "{} on {} ({} cores, load {:.2} before)\nceilings: {}\n\n| operation | median | of floor | peers |\n| --- | --- | --- | --- |\n",
        results.device,
        results.machine.cpu,
        results.machine.cores,
        results.machine.load_before,
        results.ceilings.words()
    );
    for entry in results.own() {
        let fraction = entry.fraction().map_or("–".to_owned(), |f| format!("{:.0} %", f * 100.0));
        let power = entry.watts.map_or(String::new(), |watts| format!(", {watts:.0} W"));
        let peers: Vec<String> = results
            .entries
            .iter()
            .filter(|peer| peer.name == entry.name && peer.implementation != "rollmill")
            .map(|peer| {
                let times = peer.median_seconds / entry.median_seconds;
                format!("{} {:.3} ms ({times:.2}x)", peer.implementation, peer.median_seconds * 1e3)
            })
            .collect();
        let _ = writeln!(
            text,
            "| {} | {:.3} ms{power} | {fraction} | {} |",
            entry.name,
            entry.median_seconds * 1e3,
            peers.join(", ")
        );
    }
    let notes: Vec<String> = notes(results)
        .into_iter()
        .chain(results.absent_peers.iter().map(|p| format!("- {} is absent: {}", p.name, p.reason)))
        .collect();
    if !notes.is_empty() {
        let _ = writeln!(text, "\n{}", notes.join("\n"));
    }
    text
}

/// The notes of a run: one line for an implementation whose figures all have the same note.
fn notes(results: &Results) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for entry in &results.entries {
        let Some(note) = &entry.note else { continue };
        let own = |other: &&Entry| other.implementation == entry.implementation;
        let same = results.entries.iter().filter(own).all(|other| other.note == entry.note);
        let line = match same {
            true => format!("- {}: {note}", entry.implementation),
            false => format!("- {} by {}: {note}", entry.name, entry.implementation),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{AbsentPeer, sample};

    fn compare(folder: &Path, arguments: &[&str]) -> Result<String, BenchError> {
        let mut words = vec!["compare".to_owned()];
        for word in arguments {
            let is_file = word.ends_with(".json") && !word.starts_with("--");
            words.push(match is_file {
                true => folder.join(word).display().to_string(),
                false => (*word).to_owned(),
            });
        }
        let matches = command().try_get_matches_from(words).unwrap();
        run(&matches)
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        sample("slow card", 1.0).write(&folder.path().join("slow.json")).unwrap();
        sample("fast card", 4.0).write(&folder.path().join("fast.json")).unwrap();
        folder
    }

    #[test]
    fn two_machines_are_set_side_by_side_with_their_costs() {
        let folder = folder();
        let svg = folder.path().join("out.svg");
        let text = compare(
            folder.path(),
            &["slow.json", "fast.json", "--price", "fast=3.6", "--svg", svg.to_str().unwrap()],
        )
        .unwrap();
        assert!(
            text.contains(
                "| msm 2^18 uniform | 100.000 ms, 50 % of floor | 25.000 ms, 50 % of floor, 4.00x |"
            ),
            "{text}"
        );
        // 0.6 s at 3.6 dollars an hour are 0.0006 dollars.
        assert!(text.contains("600.000 ms, 50 % of floor, 4.00x, 600.00 USD a million"), "{text}");
        let drawn = std::fs::read_to_string(svg).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.contains("slow") && drawn.contains("fast"));
    }

    #[test]
    fn an_epoch_has_a_row_with_its_cost_on_each_machine() {
        let folder = folder();
        let epoch = ["--epoch", "2x2", "--devices", "2", "--utilization", "0.5"];
        let files = ["slow.json", "fast.json", "--price", "fast=3.6"];
        let text = compare(folder.path(), &[&files[..], &epoch].concat()).unwrap();
        // 2.4 s and 0.6 s a proof: levels of 2, 1 and 1 proofs on each device. 7 proofs of 0.6 s at 0.001 dollars a
        // second, twice that since half of the time is idle, for 4 transactions.
        let row = "| epoch 2x2, 2 devices | 9.600 s | 2.400 s, 0.008400 USD, 2100.00 USD a million transactions |\n";
        assert!(text.ends_with(row), "{text}");
        let error = compare(folder.path(), &["slow.json", "--epoch", "2"]).unwrap_err();
        assert_eq!(error.code(), "BEN-001", "{error}");
    }

    #[test]
    fn tables_of_a_card_have_its_power_and_what_an_operation_takes_of_it() {
        let folder = folder();
        let mut results = sample("card", 2.0);
        results.ceilings.wide_multiply_adds_per_second = Some(6e10);
        results.entries[0].watts = Some(400.0);
        results.write(&folder.path().join("card.json")).unwrap();
        // 15 ms at 400 W.
        let text = compare(folder.path(), &["slow.json", "card.json"]).unwrap();
        assert!(text.contains("| 15.000 ms, 50 % of floor, 6.000 J, 2.00x |"), "{text}");
        let text = summary(&results);
        assert!(text.contains("| 15.000 ms, 400 W | 50 % |"), "{text}");
        assert!(text.contains("60 G wide multiply-adds a second, 150 a product"), "{text}");
    }

    #[test]
    fn the_table_of_a_run_says_what_peers_did_and_which_are_absent() {
        let text = summary(&sample("cpu", 1.0));
        assert!(text.contains("arkworks 30.000 ms (1.00x)"), "{text}");
        assert!(text.contains("\n- arkworks: as it does it\n"), "{text}");
        assert!(text.ends_with("- halo2curves is absent: not built\n"), "{text}");
    }

    #[test]
    fn the_figures_of_one_machine_are_set_beside_those_of_the_peers() {
        let folder = folder();
        let mut other = sample("slow card", 1.0);
        other.absent_peers.push(AbsentPeer { name: "arkworks".into(), reason: "none".into() });
        other.entries.retain(|entry| entry.implementation == "rollmill");
        for entry in &mut other.entries[..2] {
            (entry.min_seconds, entry.median_seconds, entry.max_seconds) = (8.0, 9.0, 10.0);
        }
        other.entries[0].name = "msm 2^20 uniform".into();
        other.entries[0].n = 1 << 20;
        other.write(&folder.path().join("other.json")).unwrap();
        let svg = folder.path().join("out.svg");
        let svg = svg.to_str().unwrap();
        let text =
            compare(folder.path(), &["slow.json", "other.json", "--peers", "--svg", svg]).unwrap();
        assert!(
            text.contains("| msm 2^16 uniform | 30.000 ms | 50 % | arkworks 30.000 ms"),
            "{text}"
        );
        assert!(text.contains("| msm 2^20 uniform | 9000.000 ms |"), "{text}");
        assert!(
            text.contains("| msm 2^18 uniform | 100.000 ms |"),
            "the first file counts: {text}"
        );
        assert!(!text.contains("arkworks is absent") && text.contains("halo2curves is absent"));
        let drawn = std::fs::read_to_string(svg).unwrap();
        assert!(
            drawn.contains(">rollmill</text>") && drawn.contains(">arkworks</text>"),
            "{drawn}"
        );
        assert_eq!(drawn.matches("<polyline").count(), 4, "ours in three panels, arkworks in one");
    }

    #[test]
    fn files_and_prices_that_make_no_sense_are_one_line() {
        let folder = folder();
        std::fs::write(folder.path().join("note.json"), "hello").unwrap();
        let mut other = sample("x", 1.0);
        other.entries.truncate(1);
        other.entries[0].name = "something else".into();
        other.write(&folder.path().join("other.json")).unwrap();
        for (arguments, code) in [
            (&["note.json"][..], "BEN-005"),
            (&["missing.json"], "BEN-009"),
            (&["slow.json", "--price", "slow"], "BEN-001"),
            (&["slow.json", "--price", "slow=-1"], "BEN-001"),
            (&["slow.json", "--price", "other=1"], "BEN-001"),
            (&["slow.json", "other.json"], "BEN-010"),
            (&["slow.json", "fast.json", "--peers"], "BEN-011"),
        ] {
            let error = compare(folder.path(), arguments).unwrap_err();
            assert_eq!(error.code(), code, "{arguments:?}: {error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_note_is_of_an_implementation_or_of_one_figure() {
        let mut results = sample("cpu", 1.0);
        let arkworks = results.entries.last().unwrap().clone();
        results.entries.push(Entry { name: "msm 2^18 uniform".into(), ..arkworks.clone() });
        assert_eq!(notes(&results), ["- arkworks: as it does it"]);
        results.entries.last_mut().unwrap().note = Some("otherwise".into());
        let expected = [
            "- msm 2^16 uniform by arkworks: as it does it",
            "- msm 2^18 uniform by arkworks: otherwise",
        ];
        assert_eq!(notes(&results), expected);
    }
}
