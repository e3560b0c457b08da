//! Draws speeds over sizes: one panel per kind of operation, one line per result file or implementation.

use std::fmt::Write as _;

use crate::compare::Column;
use crate::result::{Entry, Results};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 260.0;
const MARGIN: f64 = 56.0;
/// Distinguishable on light and dark backgrounds and with red-green colour blindness.
const COLOURS: [&str; 6] = ["#3b82c4", "#d97706", "#0d9488", "#b5467b", "#7c6fd0", "#78716c"];
/// The content of a panel: group, suffix of its entries' names, and title.
const PANELS: [(&str, &str, &str); 3] = [
    ("msm", " uniform", "MSM, uniform scalars: elements per second"),
    ("ntt", "", "NTT, one column: elements per second"),
    ("proof", "", "proofs: rows per second"),
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
    let mut lines: Vec<Line<'_>> = Vec::new();
    for entry in results.own().chain(&results.entries) {
        let known = lines.iter_mut().find(|line| line.label == entry.implementation);
        match known {
            Some(line) => line.entries.push(entry),
            None => {
                lines.push(Line { label: entry.implementation.clone(), entries: vec![entry] });
            }
        }
    }
    lines
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

/// The drawing as SVG. Panels without figures are left out.
pub(crate) fn draw(drawn: &[Line<'_>]) -> String {
    let mut panels = Vec::new();
    for (group, end, title) in PANELS {
        let lines: Vec<_> = drawn.iter().map(|line| points(line, group, end)).collect();
        if lines.iter().any(|line| !line.is_empty()) {
            panels.push((title, lines));
        }
    }
    let width = (panels.len().max(1)) as f64 * (WIDTH + MARGIN) + MARGIN;
    let height = HEIGHT + 2.0 * MARGIN + 20.0 * drawn.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#777\">\n"
    );
    for (at, (title, lines)) in panels.iter().enumerate() {
        panel(&mut out, MARGIN + at as f64 * (WIDTH + MARGIN), title, lines);
    }
    for (at, line) in drawn.iter().enumerate() {
        let y = HEIGHT + 2.0 * MARGIN + 20.0 * at as f64;
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

fn panel(out: &mut String, left: f64, title: &str, lines: &[Vec<(f64, f64)>]) {
    let all = || lines.iter().flatten();
    let bound = |pick: fn(&(f64, f64)) -> f64, fold: fn(f64, f64) -> f64, start: f64| {
        all().map(pick).fold(start, fold)
    };
    let (x_min, x_max) = (bound(|p| p.0, f64::min, 64.0), bound(|p| p.0, f64::max, 0.0));
    let y_min = bound(|p| p.1.log10(), f64::min, 18.0).floor();
    let y_max = bound(|p| p.1.log10(), f64::max, 0.0).ceil().max(y_min + 1.0);
    let x_span = (x_max - x_min).max(1.0);
    let x_of = |x: f64| left + (x - x_min) / x_span * WIDTH;
    let y_of = |y: f64| MARGIN + HEIGHT - (y.log10() - y_min) / (y_max - y_min) * HEIGHT;
    let _ = writeln!(out, "<text x=\"{left:.0}\" y=\"{:.0}\">{title}</text>", MARGIN - 24.0);
    for power in y_min as i32..=y_max as i32 {
        let y = y_of(10f64.powi(power));
        let _ = writeln!(
            out,
            "<path d=\"M{left:.0} {y:.1}h{WIDTH:.0}\" stroke=\"#8884\"/>\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">10^{power}</text>",
            left - 6.0,
            y + 4.0
        );
    }
    for log_n in x_min as u32..=x_max as u32 {
        let x = x_of(f64::from(log_n));
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">2^{log_n}</text>",
            MARGIN + HEIGHT + 18.0
        );
    }
    for (at, line) in lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let points: Vec<String> =
            line.iter().map(|(x, y)| format!("{:.1},{:.1}", x_of(*x), y_of(*y))).collect();
        if points.is_empty() {
            continue;
        }
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        );
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
