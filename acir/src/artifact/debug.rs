//! Debug information: which lines of the sources an opcode comes from.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

/// A source file, as the artifact contains it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SourceFile {
    source: String,
    path: String,
}

/// The debug information of a function's one circuit.
#[derive(Debug, Clone, Default)]
pub struct DebugInfo {
    /// Nodes of the tree of calls: each names its caller's, and a place.
    nodes: Vec<(Option<usize>, SourceLine)>,
    /// Node of each opcode.
    acir: BTreeMap<usize, usize>,
    /// Nodes of the opcodes of each unconstrained function.
    brillig: BTreeMap<u32, BTreeMap<usize, usize>>,
}

/// A place in a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceLine {
    /// Path of the file, as the compiler knew it.
    pub path: String,
    /// Line, from 1; 0 where the artifact does not contain the file.
    pub line: usize,
    /// Column in characters, from 1; 0 where the artifact does not contain the file.
    pub column: usize,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.path),
            line => write!(f, "{}:{line}:{}", self.path, self.column),
        }
    }
}

/// The JSON, of which this crate reads only the places.
#[derive(Deserialize)]
struct ProgramInfo {
    debug_infos: Vec<CircuitInfo>,
}

#[derive(Deserialize)]
struct CircuitInfo {
    #[serde(default)]
    brillig_locations: BTreeMap<u32, BTreeMap<usize, usize>>,
    location_tree: Tree,
    acir_locations: BTreeMap<usize, usize>,
}

#[derive(Deserialize)]
struct Tree {
    locations: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    parent: Option<usize>,
    value: Location,
}

#[derive(Deserialize)]
struct Location {
    span: Span,
    file: u32,
}

#[derive(Deserialize)]
struct Span {
    start: usize,
}

impl DebugInfo {
    /// Reads the JSON. A program of several circuits has the information of its first one here; the others are not
    /// supported.
    pub(super) fn parse(
        json: &[u8],
        files: &BTreeMap<u32, SourceFile>,
    ) -> serde_json::Result<Self> {
        let info: ProgramInfo = serde_json::from_slice(json)?;
        let Some(info) = info.debug_infos.into_iter().next() else { return Ok(Self::default()) };
        let lines: BTreeMap<u32, Lines<'_>> =
            files.iter().map(|(id, file)| (*id, Lines::new(file))).collect();
        let place = |at: Location| match lines.get(&at.file) {
            Some(lines) => lines.place(at.span.start),
            None => SourceLine { path: format!("file {}", at.file), line: 0, column: 0 },
        };
        let nodes = info.location_tree.locations.into_iter();
        let nodes = nodes.map(|node| (node.parent, place(node.value))).collect();
        Ok(Self { nodes, acir: info.acir_locations, brillig: info.brillig_locations })
    }

    /// The places of an opcode, the innermost first and its callers after it. Empty where nothing is known.
    pub fn opcode(&self, index: usize) -> Vec<SourceLine> {
        self.stack(self.acir.get(&index).copied())
    }

    /// The places of an opcode of an unconstrained function, the innermost first.
    pub fn unconstrained(&self, function: u32, index: usize) -> Vec<SourceLine> {
        let node = self.brillig.get(&function).and_then(|opcodes| opcodes.get(&index));
        self.stack(node.copied())
    }

    fn stack(&self, node: Option<usize>) -> Vec<SourceLine> {
        let mut stack = Vec::new();
        let mut next = node;
        while let Some((index, (parent, place))) =
            next.and_then(|index| Some((index, self.nodes.get(index)?)))
        {
            // The root of the tree is a placeholder without a caller.
            if parent.is_some() || index > 0 {
                stack.push(place.clone());
            }
            // A caller comes before its calls in the list. One that does not would lead in circles.
            next = parent.filter(|parent| *parent < index);
        }
        stack
    }
}

/// The lines of a file.
struct Lines<'a> {
    file: &'a SourceFile,
    /// Where each line starts, in bytes.
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(file: &'a SourceFile) -> Self {
        let ends = file.source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { file, starts }
    }

    fn place(&self, byte: usize) -> SourceLine {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[line.saturating_sub(1)];
        let before = self.file.source.as_bytes().get(start..byte).unwrap_or_default();
        let column = String::from_utf8_lossy(before).chars().count() + 1;
        SourceLine { path: self.file.path.clone(), line, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> DebugInfo {
        let file =
            SourceFile { source: "fn é() {\n    a;\n}\n".to_owned(), path: "main.nr".to_owned() };
        let json = br#"{"debug_infos": [{
            "brillig_locations": {"3": {"5": 1}},
            "location_tree": {"locations": [
                {"parent": null, "value": {"span": {"start": 0, "end": 0}, "file": 0}},
                {"parent": 0, "value": {"span": {"start": 3, "end": 6}, "file": 7}},
                {"parent": 1, "value": {"span": {"start": 14, "end": 15}, "file": 7}},
                {"parent": 4, "value": {"span": {"start": 9999, "end": 9999}, "file": 7}},
                {"parent": 3, "value": {"span": {"start": 1, "end": 2}, "file": 8}}]},
            "acir_locations": {"0": 2, "1": 4, "2": 99}}]}"#;
        DebugInfo::parse(json, &BTreeMap::from([(7, file)])).unwrap()
    }

    fn texts(stack: Vec<SourceLine>) -> Vec<String> {
        stack.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_opcode_leads_to_its_line_and_to_those_of_its_callers() {
        assert_eq!(texts(info().opcode(0)), ["main.nr:2:5", "main.nr:1:4"]);
        assert_eq!(texts(info().unconstrained(3, 5)), ["main.nr:1:4"]);
        assert!(info().opcode(5).is_empty());
    }

    #[test]
    fn a_tree_that_is_no_tree_ends() {
        assert!(info().opcode(2).is_empty());
        assert_eq!(texts(info().opcode(1)), ["file 8", "main.nr:4:1"]);
    }
}
