//! Debug information: which lines of the sources an opcode comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;

/// A source file, as the artifact contains it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct SourceFile {
    source: String,
    path: String,
}

/// Places of a stack at most: the innermost ones.
const STACK_MAX: usize = 100;
/// Bytes of a path at most; a longer one is cut off.
const PATH_BYTES_MAX: usize = 4_096;
/// Bytes of a line in which columns are counted.
const COLUMN_BYTES_MAX: usize = 10_000;

/// The debug information of a function's one circuit.
///
/// A place becomes a path, a line and a column only when it is asked for. Together they may be far larger than the
/// file: each of a million places can be at the end of one long line, in a file with a long path.
#[derive(Debug, Clone, Default)]
pub struct DebugInfo {
    /// Nodes of the tree of calls.
    nodes: Vec<Node>,
    /// The files of the artifact, which all of its functions share.
    files: Arc<Files>,
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
    /// Column in characters, from 1; 0 where the artifact does not contain the file, or the line is very long.
    pub column: usize,
}

impl fmt::Display for SourceLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}", self.path),
            line if self.column == 0 => write!(f, "{}:{line}", self.path),
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

/// A place, and the node of its caller.
#[derive(Debug, Clone, Deserialize)]
struct Node {
    parent: Option<usize>,
    value: Location,
}

#[derive(Debug, Clone, Deserialize)]
struct Location {
    span: Span,
    file: u32,
}

#[derive(Debug, Clone, Deserialize)]
struct Span {
    start: usize,
}

impl DebugInfo {
    /// Reads the JSON. A program of several circuits has the information of its first one here; the others are not
    /// supported.
    pub(super) fn parse(json: &[u8], files: &Arc<Files>) -> serde_json::Result<Self> {
        let info: ProgramInfo = serde_json::from_slice(json)?;
        let Some(info) = info.debug_infos.into_iter().next() else { return Ok(Self::default()) };
        let nodes = info.location_tree.locations;
        let (acir, brillig) = (info.acir_locations, info.brillig_locations);
        Ok(Self { nodes, files: Arc::clone(files), acir, brillig })
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
        while let Some((index, node)) = next.and_then(|index| Some((index, self.nodes.get(index)?)))
            && stack.len() < STACK_MAX
        {
            // The root of the tree is a placeholder without a caller.
            if node.parent.is_some() || index > 0 {
                stack.push(self.files.place(&node.value));
            }
            // A caller comes before its calls in the list. One that does not would lead in circles.
            next = node.parent.filter(|parent| *parent < index);
        }
        stack
    }
}

/// The files of an artifact, with the starts of their lines.
#[derive(Debug, Default)]
pub(super) struct Files {
    files: BTreeMap<u32, File>,
}

#[derive(Debug)]
struct File {
    source: String,
    path: String,
    /// Where each line starts, in bytes.
    starts: Vec<usize>,
}

impl Files {
    pub(super) fn new(files: BTreeMap<u32, SourceFile>) -> Self {
        let files = files.into_iter().map(|(id, file)| (id, File::new(file)));
        Self { files: files.collect() }
    }

    fn place(&self, at: &Location) -> SourceLine {
        match self.files.get(&at.file) {
            Some(file) => file.place(at.span.start),
            None => SourceLine { path: format!("file {}", at.file), line: 0, column: 0 },
        }
    }
}

impl File {
    fn new(SourceFile { source, mut path }: SourceFile) -> Self {
        let end = (0..=PATH_BYTES_MAX).rev().find(|at| path.is_char_boundary(*at)).unwrap_or(0);
        path.truncate(end.min(path.len()));
        let ends = source.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        Self { source, path, starts }
    }

    fn place(&self, byte: usize) -> SourceLine {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts[line.saturating_sub(1)];
        let before = self.source.as_bytes().get(start..byte).unwrap_or_default();
        let column = match before.len() > COLUMN_BYTES_MAX {
            true => 0,
            false => String::from_utf8_lossy(before).chars().count() + 1,
        };
        SourceLine { path: self.path.clone(), line, column }
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
        DebugInfo::parse(json, &Arc::new(Files::new(BTreeMap::from([(7, file)])))).unwrap()
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

    /// A chain of 200,000 calls, each at the end of a line of a megabyte, in a file with a path of a megabyte.
    #[test]
    fn places_take_no_more_than_their_file() {
        const SIZE: usize = 1 << 20;
        const CALLS: usize = 200_000;
        let file = SourceFile { source: "x".repeat(SIZE), path: "é".repeat(SIZE / 2) };
        let nodes: Vec<String> = (0..CALLS)
            .map(|i| {
                let parent =
                    i.checked_sub(1).map_or("null".to_owned(), |parent| parent.to_string());
                format!(r#"{{"parent":{parent},"value":{{"span":{{"start":{SIZE}}},"file":7}}}}"#)
            })
            .collect();
        let json = format!(
            r#"{{"debug_infos":[{{"location_tree":{{"locations":[{}]}},"acir_locations":{{"0":{}}}}}]}}"#,
            nodes.join(","),
            CALLS - 1
        );
        let files = Arc::new(Files::new(BTreeMap::from([(7, file)])));
        let stack = DebugInfo::parse(json.as_bytes(), &files).unwrap().opcode(0);
        assert_eq!(stack.len(), STACK_MAX);
        assert_eq!((stack[0].line, stack[0].column), (1, 0));
        assert_eq!(stack[0].path.len(), PATH_BYTES_MAX);
        assert!(stack[0].to_string().ends_with(":1"));
    }
}
