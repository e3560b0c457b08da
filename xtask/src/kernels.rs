//! Part of `cargo xtask tidy`: the contract of each kernel, in the comment above it.
//!
//! The comment says what the kernel computes, then `Launched by` with the function that launches it, and
//! `Twin:` with the function that computes the same elsewhere, or `Twin: none` with what the whole is
//! compared with. Each name in back quotes on those lines is a function or a file that exists.

use std::collections::BTreeSet;

use crate::Findings;
use crate::scan;
use crate::tree::{File, Tree};

/// Start of the line below the comment, by the file's extension.
const ENTRIES: &[(&str, &str)] = &[(".wgsl", "@compute"), (".cuh", "RM_KERNEL(")];
/// Written by `cargo xtask gen`.
const GENERATED: &str = "kernels/cuda/generated.cuh";
/// The required parts of a comment.
const PARTS: [&str; 2] = ["Launched by `", "Twin: "];

/// Kernels without such a comment. A comment of a CUDA source changes the digest under which the compiled
/// kernels are kept, so that it comes with the next change of the kernel itself.
const EXCUSED: &[&str] = &["rows_run", "vector_from_u16"];

/// Kernels whose comment lacks a part or names a function that is not there, and excuses without need.
pub(crate) fn check(tree: &Tree) -> Findings {
    check_except(tree, EXCUSED)
}

/// An entry point: where it is, its name and the lines of the comment above.
struct Kernel<'a> {
    file: &'a File,
    line: usize,
    name: String,
    comment: Vec<&'a str>,
}

fn check_except(tree: &Tree, excused: &[&str]) -> Findings {
    let mut findings = Findings::new();
    let functions = functions(tree);
    let kernels: Vec<Kernel<'_>> = tree.files.iter().flat_map(kernels).collect();
    let mut needed = BTreeSet::new();
    for Kernel { file, line, name, comment } in &kernels {
        let has = |part: &str| comment.iter().any(|text| text.starts_with(part));
        let lacks: Vec<&str> = PARTS.into_iter().filter(|part| !has(part)).collect();
        if excused.contains(&name.as_str()) {
            if !lacks.is_empty() {
                needed.insert(name.as_str());
            }
            continue;
        }
        for part in lacks {
            let part = part.trim_end_matches([' ', '`']);
            findings.push(format!(
                "{}:{line}: the comment above kernel {name} lacks `{part} …`",
                file.path
            ));
        }
        let contract = comment.iter().skip_while(|text| !text.starts_with(PARTS[0]));
        let names = contract.flat_map(|text| text.split('`').skip(1).step_by(2));
        let exists = |name: &&str| functions.contains(*name) || tree.text(name).is_some();
        for function in names.filter(|name| !exists(name)) {
            findings.push(format!(
                "{}:{line}: the comment above kernel {name} names `{function}`, which is no function and no file",
                file.path
            ));
        }
    }
    for name in excused.iter().filter(|name| !needed.contains(*name)) {
        findings.push(format!("kernel {name}: is on EXCUSED in xtask/src/kernels.rs without need"));
    }
    findings
}

/// The names of all functions and kernels.
fn functions(tree: &Tree) -> BTreeSet<String> {
    let sources = tree.files.iter().filter(|file| {
        file.path.ends_with(".rs") || ENTRIES.iter().any(|(ending, _)| file.path.ends_with(ending))
    });
    let named = sources.flat_map(|file| file.text.split("fn ").skip(1));
    named.map(|rest| rest.chars().take_while(|c| scan::is_word(*c)).collect()).collect()
}

fn kernels(file: &File) -> Vec<Kernel<'_>> {
    let entry = ENTRIES.iter().find(|(ending, _)| file.path.ends_with(ending));
    let Some((_, entry)) = entry.filter(|_| file.path != GENERATED) else { return Vec::new() };
    let lines: Vec<&str> = file.text.lines().collect();
    let begins = (0..lines.len()).filter(|at| lines[*at].starts_with(entry));
    let kernel = |at: usize| {
        // The name precedes the parentheses of the parameters, on this line or the next.
        let text = lines[at..].iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let after =
            text.split_once("fn ").or_else(|| text.split_once(") ")).map_or("", |(_, rest)| rest);
        let name = after.chars().take_while(|c| scan::is_word(*c)).collect();
        let above = lines[..at].iter().rev().take_while(|line| line.starts_with("//"));
        let mut comment: Vec<&str> =
            above.map(|line| line.trim_start_matches('/').trim()).collect();
        comment.reverse();
        Kernel { file, line: at + 1, name, comment }
    };
    begins.map(kernel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHADER: &str = "// out[i] = 2 · in[i].\n// Launched by `double`, one thread each.\n\
                          // Twin: `double_all` of the CPU.\n@compute @workgroup_size(64)\nfn twice(\n";
    const RUST: &str = "fn double() {}\npub fn double_all<T>() {}\n";

    fn found(path: &str, text: &str, excused: &[&str]) -> Findings {
        check_except(&Tree::of(&[(path, text), ("a/src/lib.rs", RUST)]), excused)
    }

    #[test]
    fn a_kernel_says_who_launches_it_and_what_computes_the_same() {
        assert!(found("a/x.wgsl", SHADER, &[]).is_empty());
        let silent = SHADER.replace("// Twin: `double_all` of the CPU.\n", "");
        assert_eq!(
            found("a/x.wgsl", &silent, &[]),
            ["a/x.wgsl:3: the comment above kernel twice lacks `Twin: …`"]
        );
        let bare = found("a/x.cuh", "RM_KERNEL(256) twice(Fr* out) {\n", &[]);
        assert_eq!(bare.len(), 2, "{bare:?}");
        assert!(bare[0].contains("kernel twice lacks `Launched by …`"), "{bare:?}");
    }

    #[test]
    fn the_functions_that_a_comment_names_exist() {
        let findings = found("a/x.wgsl", &SHADER.replace("double_all", "treble"), &[]);
        assert!(
            findings[0].ends_with("names `treble`, which is no function and no file"),
            "{findings:?}"
        );
    }

    #[test]
    fn an_excuse_is_rejected_once_the_comment_is_there() {
        assert!(found("a/x.cuh", "RM_KERNEL(256) twice(Fr* out) {\n", &["twice"]).is_empty());
        for (path, text) in [("a/x.wgsl", SHADER), ("a/x.wgsl", "")] {
            let findings = found(path, text, &["twice"]);
            assert!(findings[0].contains("without need"), "{findings:?}");
        }
    }
}
