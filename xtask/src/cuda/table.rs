//! The table of what each kernel takes, and the limits that hold.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use super::report::{self, Cost};
use super::{ARITHMETIC, IMAGE, SOURCES, TABLE};
use crate::Findings;

/// Bytes that kernels may spill, by the start of their names; of several, the longest counts. A kernel that gains more
/// by more warps than a few spilled registers cost has its own line, and its bound in `kernels/src/declared.rs` too.
const SPILLS_MAX: &[(&str, u32)] = &[
    ("msm_", 0),
    ("ntt_", 0),
    // What the convention of calls costs a short kernel on two architectures.
    ("rows_", 32),
    // The quotient keeps cells in registers, of which the compiler moves some out around calls: as much as 36 reads of
    // cells, for 177 reads less than without.
    ("rows_3c4d26cf4d810db0", 1160),
    ("vector_", 0),
    ("measure_", 0),
];
/// Multiply-adds and additions of one product and of one square of eight limbs. The even/odd form was
/// measured with 123 wide and 17 other multiply-adds and 38 additions for a product, and 91, 23 and 67
/// for a square; a tenth more is allowed.
const ARITHMETIC_MAX: &[(&str, u32)] = &[("measure_product_", 195), ("measure_square_", 199)];

/// Wide multiply-adds of kernels whose products are written out: a product has 121 to 128. A transform's pass has
/// eight products by factors and five within its layers.
const WIDE_MAX: &[(&str, u32)] = &[("ntt_pass", 13 * 128)];

/// What was compiled from what, with what, into what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Table {
    packages: Vec<String>,
    flags: Vec<String>,
    /// SHA-256 of each source by its path.
    sources: BTreeMap<String, String>,
    image_bytes: u64,
    image_sha256: String,
    arithmetic_sha256: String,
    /// By kernel, then by architecture.
    kernels: BTreeMap<String, BTreeMap<String, Cost>>,
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The digest of every source.
pub(crate) fn digests(root: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let folder = root.join(SOURCES);
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut digests = BTreeMap::new();
    for entry in entries {
        let entry = entry?;
        let bytes = std::fs::read(entry.path())
            .with_context(|| format!("cannot read {}", entry.path().display()))?;
        let path = format!("{SOURCES}{}", entry.file_name().to_string_lossy());
        digests.insert(path, digest(&bytes));
    }
    Ok(digests)
}

/// What a kernel may spill, if there is a limit.
fn spills_max(limits: &[(&str, u32)], kernel: &str) -> Option<u32> {
    let of_kernel = limits.iter().filter(|(prefix, _)| kernel.starts_with(prefix));
    of_kernel.max_by_key(|(prefix, _)| prefix.len()).map(|(_, most)| *most)
}

impl Table {
    pub(crate) fn new(
        packages: Vec<String>,
        flags: Vec<String>,
        sources: BTreeMap<String, String>,
    ) -> Self {
        Self {
            packages,
            flags,
            sources,
            image_bytes: 0,
            image_sha256: String::new(),
            arithmetic_sha256: String::new(),
            kernels: BTreeMap::new(),
        }
    }

    /// Adds an architecture from the assembler's output and its listing.
    pub(crate) fn add(&mut self, arch: &str, printed: &str, listing: &str) -> anyhow::Result<()> {
        let mut costs = report::resources(printed)?;
        report::count(listing, &mut costs)?;
        ensure!(!costs.is_empty(), "the assembler reported nothing about the kernels on {arch}");
        for (kernel, cost) in costs {
            ensure!(cost.instructions > 0, "the listing has no code of {kernel} on {arch}");
            self.kernels.entry(kernel).or_default().insert(arch.to_owned(), cost);
        }
        Ok(())
    }

    /// Adds the launch bounds, which are the same on all architectures.
    pub(crate) fn bound(&mut self, ptx: &str) -> anyhow::Result<()> {
        let bounds = report::launch_bounds(ptx);
        for (kernel, costs) in &mut self.kernels {
            let threads = bounds.get(kernel).with_context(|| format!("{kernel} has no bound"))?;
            costs.values_mut().for_each(|cost| cost.threads = *threads);
        }
        Ok(())
    }

    /// Notes the image that all of it went into, and the kernels that are run by a test.
    pub(crate) fn seal(&mut self, image: &[u8], arithmetic: &[u8]) {
        self.arithmetic_sha256 = digest(arithmetic);
        self.image_bytes = image.len() as u64;
        self.image_sha256 = digest(image);
    }

    /// One line for each kernel and architecture, so that a change shows as such.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        let mut text = String::from("{\n");
        let head = [
            ("packages", serde_json::to_string(&self.packages)?),
            ("flags", serde_json::to_string(&self.flags)?),
            ("image_bytes", self.image_bytes.to_string()),
            ("image_sha256", serde_json::to_string(&self.image_sha256)?),
            ("arithmetic_sha256", serde_json::to_string(&self.arithmetic_sha256)?),
        ];
        for (name, value) in head {
            text += &format!("  \"{name}\": {value},\n");
        }
        let lines = |entries: Vec<String>, indent: &str| entries.join(&format!(",\n{indent}"));
        let sources: Vec<String> =
            self.sources.iter().map(|(path, digest)| format!("\"{path}\": \"{digest}\"")).collect();
        text += &format!("  \"sources\": {{\n    {}\n  }},\n", lines(sources, "    "));
        let mut kernels = Vec::new();
        for (kernel, costs) in &self.kernels {
            let mut rows = Vec::new();
            for (arch, cost) in costs {
                rows.push(format!("\"{arch}\": {}", serde_json::to_string(cost)?));
            }
            kernels.push(format!("\"{kernel}\": {{\n      {}\n    }}", lines(rows, "      ")));
        }
        text += &format!("  \"kernels\": {{\n    {}\n  }}\n}}\n", lines(kernels, "    "));
        Ok(text)
    }

    /// What the committed files no longer fit to.
    pub(crate) fn stale(
        &self,
        sources: &BTreeMap<String, String>,
        image: Option<&[u8]>,
        arithmetic: Option<&[u8]>,
    ) -> Findings {
        let again = "run `cargo xtask gen --cuda` and commit";
        let mut findings = Findings::new();
        for path in sources.keys().chain(self.sources.keys().filter(|p| !sources.contains_key(*p)))
        {
            if sources.get(path) != self.sources.get(path) {
                findings.push(format!("{path}: not what {IMAGE} was compiled from; {again}"));
            }
        }
        for (path, bytes, expected) in
            [(IMAGE, image, &self.image_sha256), (ARITHMETIC, arithmetic, &self.arithmetic_sha256)]
        {
            let found = bytes.map(digest);
            if found.as_ref() != Some(expected) {
                let found = found.unwrap_or_else(|| "missing".to_owned());
                findings.push(format!(
                    "{path}: SHA-256 is {found}, that of {TABLE} is {expected}; {again}"
                ));
            }
        }
        findings
    }

    /// Kernels that take more than they may. A limit that applies to nothing is a finding too.
    pub(crate) fn over_limits(&self) -> Findings {
        let mut findings = Findings::new();
        let of = |prefix: &'static str| {
            let kernels = self.kernels.iter().filter(move |(name, _)| name.starts_with(prefix));
            kernels
                .flat_map(|(name, costs)| costs.iter().map(move |(arch, cost)| (name, arch, cost)))
        };
        let limits = SPILLS_MAX.iter().chain(ARITHMETIC_MAX).chain(WIDE_MAX);
        for prefix in limits.map(|(prefix, _)| prefix) {
            if of(prefix).next().is_none() {
                findings
                    .push(format!("{TABLE}: no kernel {prefix}*, whose limits are checked here"));
            }
        }
        for (kernel, arch, cost) in of("") {
            let most = spills_max(SPILLS_MAX, kernel);
            if most.is_some_and(|most| cost.spill_bytes > most) {
                findings.push(format!(
                    "{TABLE}: {kernel} spills {} B on {arch}, at most {}; make its body smaller or \
                     let it have more than {} registers",
                    cost.spill_bytes,
                    most.unwrap_or_default(),
                    cost.registers
                ));
            }
        }
        for (prefix, most) in ARITHMETIC_MAX {
            for (kernel, arch, cost) in of(prefix) {
                if cost.arithmetic() > *most {
                    findings.push(format!(
                        "{TABLE}: {kernel} takes {} multiply-adds and additions on {arch}, at most \
                         {most}; look for pairs that are no longer one wide multiply-add",
                        cost.arithmetic()
                    ));
                }
            }
        }
        for (prefix, most) in WIDE_MAX {
            for (kernel, arch, cost) in of(prefix) {
                if cost.wide > *most {
                    findings.push(format!(
                        "{TABLE}: {kernel} has {} wide multiply-adds on {arch}, at most {most}; look for \
                         products that were compiled more than once",
                        cost.wide
                    ));
                }
            }
        }
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(costs: &[(&str, Cost)]) -> Table {
        let sources = [("kernels/cuda/a.cuh".to_owned(), digest(b"a"))];
        let mut table = Table::new(vec!["p==1".into()], vec!["-O3".into()], sources.into());
        for (kernel, cost) in costs {
            let held = table.kernels.entry((*kernel).to_owned()).or_default();
            held.insert("sm_90".to_owned(), *cost);
        }
        table.seal(b"image", b"ptx");
        table
    }

    fn good() -> Vec<(&'static str, Cost)> {
        let product = Cost { wide: 121, narrow: 16, additions: 43, ..Cost::default() };
        let names = [
            "measure_product_fr",
            "measure_square_fr",
            "msm_sum",
            "ntt_pass",
            "rows_run",
            "vector_scan",
        ];
        // With every limit's own kernel, whichever there are.
        let limited = SPILLS_MAX.iter().map(|(prefix, _)| *prefix);
        let longer = limited.filter(|prefix| !names.iter().any(|name| name.starts_with(prefix)));
        names.into_iter().chain(longer).map(|name| (name, product)).collect()
    }

    #[test]
    fn a_table_reads_as_it_was_written() {
        let table = table(&good());
        let text = table.to_json().unwrap();
        assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), table);
    }

    #[test]
    fn changed_added_and_removed_sources_and_another_image_are_stale() {
        let table = table(&good());
        let same = table.sources.clone();
        let stale = |sources: &BTreeMap<String, String>| {
            table.stale(sources, Some(b"image"), Some(b"ptx")).len()
        };
        assert_eq!(stale(&same), 0);
        assert_eq!(table.stale(&same, Some(b"imagE"), Some(b"ptx")).len(), 1);
        assert_eq!(table.stale(&same, None, Some(b"ptx")).len(), 1);
        assert_eq!(table.stale(&same, Some(b"image"), Some(b"ptX")).len(), 1);
        assert_eq!(table.stale(&same, Some(b"image"), None).len(), 1);
        let changed = BTreeMap::from([("kernels/cuda/a.cuh".to_owned(), digest(b"b"))]);
        assert_eq!(stale(&changed), 1);
        let mut added = same;
        added.insert("kernels/cuda/b.cuh".to_owned(), digest(b"b"));
        assert_eq!(stale(&added), 1);
        assert_eq!(stale(&BTreeMap::new()), 1);
    }

    #[test]
    fn the_longest_name_says_what_a_kernel_may_spill() {
        let limits = [("rows_", 0), ("rows_ab", 256), ("msm_", 0)];
        assert_eq!(spills_max(&limits, "rows_abcd"), Some(256));
        assert_eq!(spills_max(&limits, "rows_run"), Some(0));
        assert_eq!(spills_max(&limits, "test_warp"), None);
    }

    #[test]
    fn spills_and_a_product_of_too_many_instructions_are_over_the_limits() {
        assert_eq!(table(&good()).over_limits(), Findings::new());
        for (index, spoil, expected) in [
            (2, Cost { spill_bytes: 4, ..Cost::default() }, "msm_sum spills 4 B on sm_90"),
            (3, Cost { spill_bytes: 8, ..Cost::default() }, "ntt_pass spills"),
            (4, Cost { spill_bytes: 36, ..Cost::default() }, "rows_run spills"),
            (0, Cost { narrow: 196, ..Cost::default() }, "measure_product_fr takes 196"),
            (1, Cost { wide: 100, additions: 100, ..Cost::default() }, "measure_square_fr takes"),
            (3, Cost { wide: 1665, ..Cost::default() }, "ntt_pass has 1665 wide"),
        ] {
            let mut costs = good();
            costs[index].1 = spoil;
            let findings = table(&costs).over_limits();
            assert!(findings.len() == 1 && findings[0].contains(expected), "{findings:?}");
        }
        // Kernels that are gone are missed.
        assert_eq!(table(&good()[1..]).over_limits().len(), 1);
    }
}
