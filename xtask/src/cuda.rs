//! `cargo xtask gen --cuda`: the compiled CUDA kernels and the table of what the compiler reported
//! about them.
//!
//! The compiler comes as pinned Python packages, is kept in the cache folder, and is needed only to
//! write the two files. Everywhere else they are compared with the kernels' sources by digest, and the table
//! to its limits, so that no machine needs a toolkit to build or to test.

mod report;
mod table;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output as ProgramOutput};

use anyhow::{Context, bail};

use crate::Findings;
use crate::generate::Output;
use table::Table;

/// The compiled kernels and the table, from the repository root.
pub(crate) const IMAGE: &str = "kernels/kernels.fatbin";
pub(crate) const TABLE: &str = "kernels/kernels.json";
/// The PTX of a few kernels, for a test that interprets it.
pub(crate) const ARITHMETIC: &str = "kernels/arithmetic.ptx";
const ARITHMETIC_KERNELS: &[&str] = &["measure_product_fr", "measure_square_fr", "measure_sum_fq"];
/// Every file in it goes into the kernels.
const SOURCES: &str = "kernels/cuda/";
/// The one translation unit.
const UNIT: &str = "kernels.cu";

/// The compiler, every part at the version that fits: the packages do not name each other's versions,
/// and a newer part makes code that an older one rejects. The last two only read what was compiled.
const PACKAGES: &[(&str, &str)] = &[
    ("nvidia-cuda-nvcc", "13.0.88"),
    ("nvidia-nvvm", "13.0.88"),
    ("nvidia-cuda-crt", "13.0.88"),
    ("nvidia-cuda-runtime", "13.0.96"),
    ("nvidia-cuda-cuobjdump", "13.2.86"),
    ("nvidia-cuda-nvdisasm", "13.2.86"),
];

const FLAGS: &[&str] = &["-O3", "-std=c++17", "-Werror", "all-warnings"];
/// Architectures with their own machine code: Ampere (A100, RTX 30), Ada, Hopper, Blackwell.
const ARCHITECTURES: &[&str] = &["80", "86", "89", "90", "100", "120"];
/// Later cards compile this when the kernels are loaded. The oldest, since PTX only goes upwards.
const PTX: &str = "80";

/// Compiles the kernels.
pub(crate) fn compile(root: &Path) -> anyhow::Result<Vec<Output>> {
    let toolkit = Toolkit::find()?;
    let folder = std::env::temp_dir().join(format!("rollmill-kernels-{}", std::process::id()));
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot create {}", folder.display()))?;
    let compiled = compile_in(root, &toolkit, &folder);
    // Files left there are not needed, and failing to remove them does no harm.
    let _ = std::fs::remove_dir_all(&folder);
    compiled
}

fn compile_in(root: &Path, toolkit: &Toolkit, folder: &Path) -> anyhow::Result<Vec<Output>> {
    let sources = root.join(SOURCES);
    let mut table = Table::new(
        PACKAGES.iter().map(|(name, version)| format!("{name}=={version}")).collect(),
        FLAGS.iter().map(ToString::to_string).collect(),
        table::digests(root)?,
    );
    let mut images = Vec::new();
    // Two at a time: each takes most of a core and half a gigabyte.
    for pair in ARCHITECTURES.chunks(2) {
        let compiled = std::thread::scope(|scope| {
            let running: Vec<_> = pair
                .iter()
                .map(|arch| scope.spawn(|| toolkit.machine_code(&sources, folder, arch)))
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| bail!("compiling panicked")))
                .collect::<anyhow::Result<Vec<_>>>()
        })?;
        for (arch, (file, printed, code)) in pair.iter().zip(compiled) {
            table.add(&format!("sm_{arch}"), &printed, &code)?;
            images.push(format!("--image3=kind=elf,sm={arch},file={}", file.display()));
        }
    }
    let ptx = folder.join("kernels.ptx");
    let arch = format!("-arch=compute_{PTX}");
    toolkit.compiler(&sources, &[&arch, "-ptx", UNIT, "-o"], &ptx)?;
    images.push(format!("--image3=kind=ptx,sm={PTX},file={}", ptx.display()));
    let text = std::fs::read_to_string(&ptx).context("cannot read what the compiler wrote")?;
    table.bound(&text)?;
    let arithmetic = entries(&text, ARITHMETIC_KERNELS)?;

    let image = folder.join("kernels.fatbin");
    let mut packer = Command::new(toolkit.program("fatbinary"));
    packer.args(["-64", "--compress-mode=size"]).args(images);
    packer.arg(format!("--create={}", image.display()));
    run(&mut packer)?;
    let bytes = std::fs::read(&image).context("cannot read what fatbinary wrote")?;
    table.seal(&bytes, arithmetic.as_bytes());
    Ok(vec![
        Output { path: IMAGE.into(), bytes },
        Output::text(ARITHMETIC, arithmetic),
        Output::text(TABLE, table.to_json().context("cannot write the table")?),
    ])
}

/// The text of some kernels of a PTX file, without comments.
fn entries(ptx: &str, kernels: &[&str]) -> anyhow::Result<String> {
    let mut out = String::from("// Written by `cargo xtask gen --cuda`.\n");
    for kernel in kernels {
        let from = ptx.find(&format!(".visible .entry {kernel}("));
        let rest = &ptx[from.with_context(|| format!("the compiler wrote no {kernel}"))?..];
        let end = rest.find("\n}\n").with_context(|| format!("{kernel} does not end"))?;
        let lines = rest[..end].lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with("//")) {
            out += line;
            out.push('\n');
        }
        out += "}\n";
    }
    Ok(out)
}

/// Checks the committed files against the sources and the table against its limits. Needs no compiler.
pub(crate) fn check(root: &Path) -> anyhow::Result<Findings> {
    let digests = table::digests(root)?;
    let table = match std::fs::read_to_string(root.join(TABLE)) {
        Ok(text) => text,
        Err(error) => return Ok(vec![format!("{TABLE}: {error}; run `cargo xtask gen --cuda`")]),
    };
    let table: Table = match serde_json::from_str(&table) {
        Ok(table) => table,
        Err(error) => return Ok(vec![format!("{TABLE}: {error}; run `cargo xtask gen --cuda`")]),
    };
    let read = |path: &str| std::fs::read(root.join(path)).ok();
    let mut findings = table.stale(&digests, read(IMAGE).as_deref(), read(ARITHMETIC).as_deref());
    findings.extend(table.over_limits());
    Ok(findings)
}

/// The pinned compiler.
struct Toolkit {
    programs: PathBuf,
}

impl Toolkit {
    /// Finds the compiler in the cache directory, or installs it there.
    fn find() -> anyhow::Result<Self> {
        let cache = rollmill_cache::dir().context("set HOME, or ROLLMILL_CACHE")?;
        let environment = cache.join("nvcc");
        if !environment.join("bin/pip").is_file() {
            println!("gen: making a Python environment in {}", environment.display());
            run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        }
        let packages = site_packages(&environment)?;
        let missing: Vec<String> = PACKAGES
            .iter()
            .filter(|(name, version)| {
                let held = format!("{}-{version}.dist-info", name.replace('-', "_"));
                !packages.join(held).is_dir()
            })
            .map(|(name, version)| format!("{name}=={version}"))
            .collect();
        if !missing.is_empty() {
            println!("gen: installing {}", missing.join(" "));
            let mut pip = Command::new(environment.join("bin/pip"));
            run(pip.args(["install", "--quiet", "--no-deps"]).args(missing))?;
        }
        Ok(Self { programs: packages.join("nvidia/cu13/bin") })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Machine code for one architecture: its file, the assembler's output and its listing.
    fn machine_code(
        &self,
        sources: &Path,
        folder: &Path,
        arch: &str,
    ) -> anyhow::Result<(PathBuf, String, String)> {
        let file = folder.join(format!("sm_{arch}.cubin"));
        let target = format!("-arch=sm_{arch}");
        let flags = [&target, "-cubin", "-Xptxas", "-v", UNIT, "-o"];
        let printed = self.compiler(sources, &flags, &file)?;
        let listing = run(Command::new(self.program("cuobjdump")).arg("-sass").arg(&file))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((file, text(printed.stderr), text(listing.stdout)))
    }

    /// Runs the compiler where the sources are, so that no path of this machine gets into its output.
    fn compiler(
        &self,
        sources: &Path,
        flags: &[&str],
        output: &Path,
    ) -> anyhow::Result<ProgramOutput> {
        let mut command = Command::new(self.program("nvcc"));
        run(command.current_dir(sources).args(FLAGS).args(flags).arg(output))
    }
}

/// The one folder of packages that a Python environment has.
fn site_packages(environment: &Path) -> anyhow::Result<PathBuf> {
    let library = environment.join("lib");
    let entries = std::fs::read_dir(&library)
        .with_context(|| format!("cannot read {}", library.display()))?;
    for entry in entries {
        let folder = entry?.path().join("site-packages");
        if folder.is_dir() {
            return Ok(folder);
        }
    }
    bail!("{} has no site-packages; remove it and try again", library.display())
}

/// Runs a program that must succeed.
fn run(command: &mut Command) -> anyhow::Result<ProgramOutput> {
    let name = PathBuf::from(OsString::from(command.get_program()));
    let output = command.output().with_context(|| format!("cannot run {}", name.display()))?;
    if !output.status.success() {
        let printed = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}):\n{printed}", name.display(), output.status);
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_taken_out_of_a_file_without_comments() {
        let ptx =
            "// x\n.visible .entry b(\n)\n{\n\t// y\n\tret;\n\n}\n.visible .entry a(\n)\n{\n}\n";
        let text = entries(ptx, &["a", "b"]).unwrap();
        assert!(
            text.ends_with(".entry a(\n)\n{\n}\n.visible .entry b(\n)\n{\nret;\n}\n"),
            "{text}"
        );
        assert!(entries(ptx, &["c"]).is_err());
    }
}
