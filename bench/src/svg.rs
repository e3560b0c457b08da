//! Draws speeds: one panel per kind of operation over its sizes, one for proofs at a time and one for circuits; one
//! line per result file or implementation.

use std::fmt::Write as _;

use crate::compare::Column;
use crate::peers::SCALAR;
use crate::result::{Entry, Results};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 56.0;
/// Below the panels, for names of circuits that are written aslant.
const NAMES: f64 = 50.0;
/// Distinguishable on light and dark backgrounds and with red-green colour blindness.
const COLOURS: [&str; 6] = ["#3b82c4", "#d97706", "#0d9488", "#b5467b", "#7c6fd0", "#78716c"];
/// Panels over sizes: group, suffix of its entries' names, title, and what a size counts.
const SIZED: [(&str, &str, &str, &str); 3] = [
    ("msm", " uniform", "MSM, uniform scalars: elements per second", "elements"),
    ("ntt", "", "NTT, one column: elements per second", "elements"),
    ("proof", "", "proofs: rows per second", "rows"),
];

/// The content of one line in every panel.
pub(crate) struct Line<'a> {
    label: String,
    entries: Vec<&'a Entry>,
}

/// One line per file: our own figures.
pub(crate) fn by_file(columns: &[Column]) -> Vec<Line<'_>> {
    let line = |Column { name, results, .. }: &'_ Column| format!("{name}: {}", results.device);
    columns
        .iter()
        .map(|column| Line { label: line(column), entries: column.results.own().collect() })
        .collect()
}

/// One line per implementation, in the order of the file: ours first.
pub(crate) fn by_implementation(results: &Results) -> Vec<Line<'_>> {
    let mut groups: Vec<(&str, Vec<&Entry>)> = Vec::new();
    for entry in results.own().chain(&results.entries) {
        match groups.iter_mut().find(|(name, _)| *name == entry.implementation) {
            Some((_, entries)) => entries.push(entry),
            None => groups.push((entry.implementation.as_str(), vec![entry])),
        }
    }
    groups
        .into_iter()
        .map(|(name, entries)| Line { label: label(name, &entries), entries })
        .collect()
}

/// An implementation's name in the legend. Our own path beside the fastest one is named as its figures record it;
/// earlier releases did not.
fn label(implementation: &str, entries: &[&Entry]) -> String {
    let mut notes = entries.iter().map(|entry| entry.note.as_deref());
    let path = notes.next().flatten().filter(|first| notes.all(|note| note == Some(*first)));
    match path {
        Some(path) if implementation == SCALAR => format!("rollmill, {path}"),
        _ => implementation.to_owned(),
    }
}

/// Sizes and speeds of one line in one panel.
fn points(line: &Line<'_>, group: &str, end: &str) -> Vec<(f64, f64)> {
    let mut points: Vec<(f64, f64)> = line
        .entries
        .iter()
        .filter(|entry| entry.group == group)
        // Names of plain transforms end with their size.
        .filter(|entry| match end {
            "" => entry.name.rsplit(' ').next().is_some_and(|word| word.starts_with("2^")),
            end => entry.name.ends_with(end),
        })
        .map(|entry| ((entry.n as f64).log2(), entry.n as f64 / entry.median_seconds))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.dedup();
    points
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// A panel: places along its horizontal axis with their names, and the points of each line.
struct Panel {
    title: String,
    axis: &'static str,
    ticks: Vec<(f64, String)>,
    lines: Vec<Vec<(f64, f64)>>,
    /// Neighbours belong together, so that a line joins them.
    is_joined: bool,
}

/// Speeds over sizes.
fn sized(drawn: &[Line<'_>]) -> impl Iterator<Item = Panel> {
    SIZED.into_iter().map(move |(group, end, title, axis)| {
        let lines: Vec<_> = drawn.iter().map(|line| points(line, group, end)).collect();
        let sizes = || lines.iter().flatten().map(|(x, _)| *x as u32);
        let range = sizes().min().unwrap_or(1)..=sizes().max().unwrap_or(0);
        let ticks = range.map(|log_n| (f64::from(log_n), format!("2^{log_n}"))).collect();
        Panel { title: title.to_owned(), axis, ticks, lines, is_joined: true }
    })
}

/// Proofs per second over proofs at a time, of the largest size that was measured so.
fn in_flight(drawn: &[Line<'_>]) -> Panel {
    let at_a_time = |entry: &&&Entry| entry.group == "proof" && entry.in_flight.is_some();
    let sizes = drawn.iter().flat_map(|line| line.entries.iter().filter(at_a_time));
    let n = sizes.map(|entry| entry.n).max().unwrap_or(1);
    let counts = |line: &Line<'_>| -> Vec<(u32, f64)> {
        let own = line.entries.iter().filter(at_a_time).filter(|entry| entry.n == n);
        let of = |entry: &&Entry| Some((entry.in_flight?, 1.0 / entry.median_seconds));
        let mut found: Vec<(u32, f64)> = own.filter_map(of).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        found.dedup();
        found
    };
    let lines: Vec<Vec<(u32, f64)>> = drawn.iter().map(counts).collect();
    let mut ticks: Vec<u32> = lines.iter().flatten().map(|(count, _)| *count).collect();
    ticks.sort_unstable();
    ticks.dedup();
    let place = |count: u32| f64::from(count).log2();
    Panel {
        title: format!("proofs of 2^{} rows per second", n.max(1).ilog2()),
        axis: "proofs at a time",
        ticks: ticks.into_iter().map(|count| (place(count), count.to_string())).collect(),
        lines: lines
            .into_iter()
            .map(|line| line.into_iter().map(|(count, speed)| (place(count), speed)).collect())
            .collect(),
        is_joined: true,
    }
}

/// Proofs per second of each circuit.
fn circuits(drawn: &[Line<'_>]) -> Panel {
    let mut names: Vec<String> = Vec::new();
    let mut lines = Vec::with_capacity(drawn.len());
    for line in drawn {
        let mut points = Vec::new();
        for entry in line.entries.iter().filter(|entry| entry.group == "circuit") {
            let name = entry.name.trim_start_matches("circuit ");
            let name = name.split(',').next().unwrap_or(name);
            let at = names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            });
            let point = (at as f64, 1.0 / entry.median_seconds);
            if !points.contains(&point) {
                points.push(point);
            }
        }
        lines.push(points);
    }
    let ticks = names.into_iter().enumerate().map(|(at, name)| (at as f64, name)).collect();
    let title = "circuits, with witness: proofs per second".to_owned();
    Panel { title, axis: "", ticks, lines, is_joined: false }
}

/// The drawing as SVG. Panels without figures are left out.
pub(crate) fn draw(drawn: &[Line<'_>]) -> String {
    let all = sized(drawn).chain([in_flight(drawn), circuits(drawn)]);
    let panels: Vec<Panel> =
        all.filter(|panel| panel.lines.iter().any(|line| !line.is_empty())).collect();
    let names = if panels.iter().any(|panel| !panel.is_joined) { NAMES } else { 0.0 };
    let legend = HEIGHT + 2.0 * MARGIN + names;
    let width = (panels.len().max(1)) as f64 * (WIDTH + MARGIN) + MARGIN;
    let height = legend + 20.0 * drawn.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#777\">\n"
    );
    for (at, panel) in panels.iter().enumerate() {
        draw_panel(&mut out, MARGIN + at as f64 * (WIDTH + MARGIN), panel);
    }
    for (at, line) in drawn.iter().enumerate() {
        let y = legend + 20.0 * at as f64;
        let colour = COLOURS[at % COLOURS.len()];
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "<rect x=\"{MARGIN}\" y=\"{:.0}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
            y - 10.0,
            MARGIN + 20.0,
            y,
            escaped(&line.label)
        );
    }
    out.push_str("</svg>\n");
    out
}

/// A speed as people write it: `20 k`, `1 M`, `0.5`.
fn words(speed: f64) -> String {
    let units = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    // A power of ten that was computed may lie a little below its unit.
    let unit = units.into_iter().find(|(size, _)| speed >= 0.999 * size);
    let (size, name) = unit.unwrap_or((1.0, ""));
    let value = speed / size;
    if value >= 0.999 {
        format!("{value:.0}{name}")
    } else {
        format!("{value:.3}").trim_end_matches('0').to_owned()
    }
}

/// Lines across a panel from one power of ten to another, and whether each has a name.
fn grid(from: i32, to: i32) -> Vec<(f64, bool)> {
    let mut lines = Vec::new();
    for power in from..=to {
        for part in [1.0, 2.0, 5.0] {
            let speed = part * 10f64.powi(power);
            // The last power ends the panel. Names in between have room where there are few powers.
            if part == 1.0 || power < to {
                lines.push((speed, part == 1.0 || to - from <= 2));
            }
        }
    }
    lines
}

fn draw_panel(out: &mut String, left: f64, panel: &Panel) {
    let Panel { title, axis, ticks, lines, is_joined } = panel;
    let speeds = || lines.iter().flatten().map(|(_, y)| y.log10());
    let y_min = speeds().fold(18.0, f64::min).floor();
    let y_max = speeds().fold(-18.0, f64::max).ceil().max(y_min + 1.0);
    let places = || ticks.iter().map(|(x, _)| *x);
    let (x_min, x_max) = (places().fold(64.0, f64::min), places().fold(0.0, f64::max));
    let x_span = (x_max - x_min).max(1.0);
    let x_of = |x: f64| left + (x - x_min) / x_span * WIDTH;
    let y_of = |y: f64| MARGIN + HEIGHT - (y.log10() - y_min) / (y_max - y_min) * HEIGHT;
    let _ = writeln!(out, "<text x=\"{left:.0}\" y=\"{:.0}\">{title}</text>", MARGIN - 24.0);
    for (speed, has_name) in grid(y_min as i32, y_max as i32) {
        let y = y_of(speed);
        let _ = writeln!(out, "<path d=\"M{left:.0} {y:.1}h{WIDTH:.0}\" stroke=\"#8884\"/>");
        if has_name {
            let (x, y) = (left - 6.0, y + 4.0);
            let name = words(speed);
            let _ =
                writeln!(out, "<text x=\"{x:.0}\" y=\"{y:.1}\" text-anchor=\"end\">{name}</text>");
        }
    }
    for (x, name) in ticks {
        let (x, y, name) = (x_of(*x), MARGIN + HEIGHT + 18.0, escaped(name));
        let _ = match *is_joined {
            true => writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.0}\" text-anchor=\"middle\">{name}</text>"
            ),
            false => writeln!(
                out,
                "<text transform=\"translate({x:.1} {y:.0}) rotate(-35)\" text-anchor=\"end\">{name}</text>"
            ),
        };
    }
    let (x, y) = (left + WIDTH / 2.0, MARGIN + HEIGHT + 36.0);
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.0}\" text-anchor=\"middle\">{axis}</text>");
    for (at, line) in lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let points: Vec<String> =
            line.iter().map(|(x, y)| format!("{:.1},{:.1}", x_of(*x), y_of(*y))).collect();
        if *is_joined && !points.is_empty() {
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                points.join(" ")
            );
        }
        for (x, y) in line {
            let _ = writeln!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x_of(*x),
                y_of(*y)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::sample;

    #[test]
    fn speeds_are_written_as_people_write_them() {
        for (speed, name) in
            [(1.0, "1"), (20.0, "20"), (0.05, "0.05"), (2e4, "20 k"), (1e6, "1 M"), (5e9, "5 G")]
        {
            assert_eq!(words(speed), name);
        }
        assert_eq!(grid(0, 1).len(), 4);
        assert!(grid(0, 1).iter().all(|(_, named)| *named));
        assert_eq!(grid(0, 3).iter().filter(|(_, named)| *named).count(), 4);
    }

    /// Goal: the legend says which path a machine without AVX-512 IFMA would take, where the file does.
    #[test]
    fn our_other_path_has_the_name_that_its_figures_record() {
        let mut results = sample("cpu-ifma(2 threads)", 1.0);
        let scalar = |note: Option<&str>, from: &Entry| Entry {
            implementation: SCALAR.to_owned(),
            floor_seconds: None,
            note: note.map(str::to_owned),
            ..from.clone()
        };
        let recorded = Some("cpu-adx(2 threads)");
        let figures = [results.entries[0].clone(), results.entries[1].clone()];
        for (notes, expected) in [
            ([recorded, recorded], "rollmill, cpu-adx(2 threads)"),
            ([None, None], "scalar"),
            // Of two files.
            ([recorded, None], "scalar"),
            ([recorded, Some("cpu-portable(2 threads)")], "scalar"),
        ] {
            results.entries.retain(|entry| entry.implementation != SCALAR);
            results.entries.extend(notes.iter().zip(&figures).map(|(note, of)| scalar(*note, of)));
            let lines = by_implementation(&results);
            let labels: Vec<&str> = lines.iter().map(|line| line.label.as_str()).collect();
            assert_eq!(labels, ["rollmill", "arkworks", expected]);
            assert_eq!(lines[2].entries.len(), 2);
        }
    }

    #[test]
    fn proofs_at_a_time_and_circuits_have_panels_of_their_own() {
        let mut results = sample("card", 1.0);
        let before = draw(&by_implementation(&results));
        assert!(!before.contains("at a time") && !before.contains("circuits"));
        let proof = results.entries.iter().find(|entry| entry.group == "proof").unwrap().clone();
        for count in [1u32, 4] {
            let name = format!("proof 2^17, {count} in flight");
            let median_seconds = 1.0 / f64::from(10 * count);
            let entry = Entry { name, in_flight: Some(count), median_seconds, ..proof.clone() };
            results.entries.push(entry);
        }
        let name = "circuit tx_base, witness and proof".to_owned();
        results.entries.push(Entry { name, group: "circuit".into(), ..proof });
        let drawn = draw(&by_implementation(&results));
        assert!(drawn.contains(">proofs of 2^17 rows per second</text>"), "{drawn}");
        assert!(drawn.contains(">tx_base</text>"), "{drawn}");
        // Ours in the three panels over sizes and in the one of proofs at a time; arkworks in one.
        assert_eq!(drawn.matches("<polyline").count(), 5);
        // 4 of our figures over sizes, 2 at a time, a circuit, and one of arkworks.
        assert_eq!(drawn.matches("<circle").count(), 4 + 2 + 1 + 1);
    }
}
