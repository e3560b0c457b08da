//! `rollmill-agent srs`: generates, imports, checks and exports the structured reference string (SRS).
//!
//! docs/book/srs.md describes the files.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use rollmill_plonk::srs::{Origin, Pinned, Srs, SrsError};
use rollmill_service::values;
use sha2::{Digest, Sha256};

/// The largest circuit that Fr has a subgroup for, and what blinding needs on top.
const POWERS_MAX: u64 = (1 << 28) + rollmill_plonk::srs::EXTRA_POWERS as u64;

/// Why there is no SRS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SrsCommandError {
    /// The SRS file cannot be opened or read.
    ///
    /// Do: Check its path and permissions.
    #[error("{}: cannot read {path}: {reason}", self.code())]
    Read { path: String, reason: String },
    /// The SRS file cannot be written.
    ///
    /// Do: Check that the directory of `--out` exists and is writable and that the disk has space.
    #[error("{}: cannot write {path}: {reason}", self.code())]
    Write { path: String, reason: String },
    /// The file is not a usable SRS.
    ///
    /// Do: Do what the reason says. Download the ceremony's file again if it is damaged.
    #[error("{}: {path} is not a usable SRS: {cause}", self.code(), cause = rollmill_errors::Bare(.source))]
    Unusable {
        path: String,
        #[source]
        source: SrsError,
    },
    /// The files to import are not one `.ptau` file, or one file of G1 and one of G2.
    ///
    /// Do: Pass one `.ptau` file, or `bn254_g1.dat` and then `bn254_g2.dat`, each with `--from`.
    #[error("{}: {got}; give one .ptau file, or bn254_g1.dat and then bn254_g2.dat, each with --from", self.code())]
    Files { got: String },
    /// `--out` names a file that the command reads.
    ///
    /// Do: Choose another file for `--out`.
    #[error("{}: --out would overwrite {path}, which is read; choose another file", self.code())]
    SameFile { path: String },
    /// The SRS is from no ceremony that this build knows, and no digest is given.
    ///
    /// Do: Pass `--digest` with the SHA-256 of the file, from a source that you trust.
    #[error("{}: {path} is from no ceremony that this build knows, and no digest is given; pass --digest with its SHA-256, from a source that you trust", self.code())]
    Unpinned { path: String },
}

rollmill_errors::coded! {
    SrsCommandError {
        Self::Read { .. } => "AGT-050",
        Self::Write { .. } => "AGT-051",
        Self::Unusable { .. } => "AGT-052",
        Self::Files { .. } => "AGT-053",
        Self::SameFile { .. } => "AGT-054",
        Self::Unpinned { .. } => "AGT-055",
    }
}

/// `rollmill-agent srs …`.
#[derive(Debug, clap::Subcommand)]
pub enum SrsCommand {
    /// Generate a development SRS; its τ is public, so it must never secure value
    Make {
        /// Powers of τ; a circuit of n rows needs n + 8
        #[arg(long, value_name = "N", value_parser = values::whole(2..=POWERS_MAX))]
        powers: u64,
        /// File to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check the SRS of a ceremony and write it in Rollmill's format
    Import {
        /// Files to read: one .ptau of snarkjs, or bn254_g1.dat and then bn254_g2.dat
        #[arg(long, value_name = "FILE", required = true, num_args = 1..=2)]
        from: Vec<PathBuf>,
        /// File to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Keep only the first N powers [default: all]
        #[arg(long, value_name = "N", value_parser = values::whole(2..=POWERS_MAX))]
        powers: Option<u64>,
        /// SHA-256 of the first file; required unless \[τ\] is that of a known ceremony
        #[arg(long, value_name = "HEX", value_parser = digest)]
        digest: Option<String>,
    },
    /// Check every point of an SRS and print its size, origin and digest
    Check {
        /// SRS in Rollmill's format
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write an SRS in the format of another prover
    Export {
        /// Format to write
        #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Bb)]
        format: Format,
        /// SRS in Rollmill's format
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Directory to write the files into
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// The format of an exported SRS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// bn254_g1.dat and bn254_g2.dat, as Barretenberg reads them
    Bb,
}

fn digest(text: &str) -> Result<String, String> {
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected 64 hexadecimal digits, got {} characters", text.len())),
    }
}

/// Runs the command and returns the lines to print.
///
/// # Errors
/// Files that cannot be read or written, or that contain no usable SRS.
pub fn run(command: &SrsCommand) -> Result<String, SrsCommandError> {
    match command {
        SrsCommand::Make { powers, out } => keep(&Srs::development_of(*powers as usize), out),
        SrsCommand::Import { from, out, powers, digest } => {
            let from: Vec<&PathBuf> = from.iter().collect();
            require_other(&from, out)?;
            let powers = powers.map(|powers| powers as usize);
            keep(&import(&from, powers, digest.as_ref())?, out)
        }
        SrsCommand::Check { file } => {
            let bytes = read(file)?;
            let srs = Srs::from_bytes(&bytes).map_err(rejected(file))?;
            srs.check(seed()).map_err(rejected(file))?;
            if srs.origin == Origin::Ceremony {
                srs.require_secret().map_err(rejected(file))?;
            }
            Ok(describe(&srs, &bytes))
        }
        SrsCommand::Export { format: Format::Bb, from, out } => {
            for name in BB_FILES {
                require_other(&[from], &out.join(name))?;
            }
            let srs = Srs::from_bytes(&read(from)?).map_err(rejected(from))?;
            export_bb(&srs, out)
        }
    }
}

/// Barretenberg's names of the powers and of `[τ]` in G2.
const BB_FILES: [&str; 2] = ["bn254_g1.dat", "bn254_g2.dat"];

/// Rejects an output that would overwrite an input file, by any path or link.
pub(crate) fn require_other(read: &[&PathBuf], written: &Path) -> Result<(), SrsCommandError> {
    match read.iter().find(|path| is_one_file(path, written)) {
        Some(path) => Err(SrsCommandError::SameFile { path: path.display().to_string() }),
        None => Ok(()),
    }
}

/// Whether two paths lead to one file that is there.
pub fn is_one_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (std::fs::metadata(one), std::fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Writes `bn254_g1.dat` and `bn254_g2.dat` into a folder, which is made.
pub fn export_bb(srs: &Srs, folder: &Path) -> Result<String, SrsCommandError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| SrsCommandError::Write {
            path,
            reason: rollmill_errors::InWords(&error).to_string(),
        }
    };
    rollmill_files::make_folder(folder).map_err(failed(folder))?;
    let (g1, g2) = srs.to_flat();
    let mut text = String::new();
    for (name, bytes) in BB_FILES.into_iter().zip([&g1[..], &g2[..]]) {
        let path = folder.join(name);
        rollmill_files::write(&path, &[bytes]).map_err(failed(&path))?;
        text.push_str(&format!("{}\t{} bytes\n", path.display(), bytes.len()));
    }
    Ok(text)
}

fn import(
    from: &[&PathBuf],
    powers: Option<usize>,
    digest: Option<&String>,
) -> Result<Srs, SrsCommandError> {
    let first = from.first().ok_or_else(|| SrsCommandError::Files { got: "no file".to_owned() })?;
    match digest {
        None => {
            let srs = import_from(open(first)?, from, powers)?;
            match srs.ceremony() {
                Some(_) => Ok(srs),
                None => Err(SrsCommandError::Unpinned { path: first.display().to_string() }),
            }
        }
        Some(expected) => {
            let file = Pinned::new(open(first)?, expected).map_err(rejected(first))?;
            import_from(file, from, powers)
        }
    }
}

/// Imports from the first file, which is open, and the second if there is one.
fn import_from<R: Read + Seek>(
    mut file: R,
    from: &[&PathBuf],
    powers: Option<usize>,
) -> Result<Srs, SrsCommandError> {
    let first = from[0];
    let mut magic = [0u8; 4];
    let is_ptau = file.read_exact(&mut magic).is_ok() && magic == *b"ptau";
    file.rewind().map_err(unreadable(first))?;
    match (is_ptau, from) {
        (true, [_]) => Srs::import_ptau(&mut file, powers, seed()).map_err(rejected(first)),
        (false, [_, second]) => {
            Srs::import_flat(file, open(second)?, powers, seed()).map_err(rejected(first))
        }
        (true, _) => {
            let got = format!("{} is a .ptau file and not the only one", first.display());
            Err(SrsCommandError::Files { got })
        }
        (false, _) => {
            let got = format!("{} is no .ptau file and stands alone", first.display());
            Err(SrsCommandError::Files { got })
        }
    }
}

/// Writes an SRS and describes it.
fn keep(srs: &Srs, path: &Path) -> Result<String, SrsCommandError> {
    let bytes = srs.to_bytes();
    rollmill_files::write(path, &[&bytes]).map_err(|error| SrsCommandError::Write {
        path: path.display().to_string(),
        reason: rollmill_errors::InWords(&error).to_string(),
    })?;
    Ok(describe(srs, &bytes))
}

fn describe(srs: &Srs, bytes: &[u8]) -> String {
    let origin = match (srs.origin, srs.ceremony()) {
        (Origin::Development, _) => "development: τ is public, never use it with value",
        (Origin::Ceremony, Some(name)) => &format!("imported; [τ] is that of {name}"),
        (Origin::Ceremony, None) => "imported; compare its digest with one you trust",
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!(
        "powers\t{}\norigin\t{origin}\nid\t{}\nsha256\t{}\n",
        srs.powers.len(),
        hex(&rollmill_algebra::bytes::fr_to_bytes(&srs.id())),
        hex(&Sha256::digest(bytes))
    )
}

fn open(path: &Path) -> Result<BufReader<File>, SrsCommandError> {
    File::open(path).map(BufReader::new).map_err(unreadable(path))
}

fn read(path: &Path) -> Result<Vec<u8>, SrsCommandError> {
    std::fs::read(path).map_err(unreadable(path))
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> SrsCommandError {
    let path = path.display().to_string();
    move |error| SrsCommandError::Read {
        path: path.clone(),
        reason: rollmill_errors::InWords(&error).to_string(),
    }
}

fn rejected(path: &Path) -> impl Fn(SrsError) -> SrsCommandError {
    let path = path.display().to_string();
    move |source| SrsCommandError::Unusable { path: path.clone(), source }
}

/// A value that the author of a file could not know.
fn seed() -> u64 {
    use std::hash::BuildHasher;
    // The keys of a new state come from the system's source of randomness.
    std::hash::RandomState::new().hash_one(0u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: SrsCommand,
    }

    fn srs(arguments: &[&str]) -> Result<String, SrsCommandError> {
        let words = std::iter::once("srs").chain(arguments.iter().copied());
        run(&<Line as clap::Parser>::try_parse_from(words).unwrap().command)
    }

    fn sha256(path: &str) -> String {
        let digest = Sha256::digest(std::fs::read(path).unwrap());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    const PTAU: &[u8] = include_bytes!("../../plonk/tests/fixtures/power2.ptau");

    #[test]
    fn an_srs_is_imported_checked_exported_and_imported_again() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let ptau = at("power2.ptau");
        std::fs::write(&ptau, PTAU).unwrap();
        let import =
            ["import", "--from", &ptau, "--digest", &sha256(&ptau), "--out", &at("srs.bin")];
        let made = srs(&import).unwrap();
        assert!(made.starts_with("powers\t7\norigin\timported"), "{made}");
        assert_eq!(srs(&["check", &at("srs.bin")]).unwrap(), made);
        srs(&["export", "--from", &at("srs.bin"), "--out", &at("crs")]).unwrap();
        let (g1, g2) = (at("crs/bn254_g1.dat"), at("crs/bn254_g2.dat"));
        let digest = sha256(&g1);
        let out = at("again.bin");
        let again = ["import", "--from", &g1, "--from", &g2, "--digest", &digest, "--out", &out];
        assert_eq!(srs(&again).unwrap(), made);
        let out = at("some.bin");
        let some =
            ["import", "--from", &g1, &g2, "--digest", &digest, "--powers", "5", "--out", &out];
        assert!(srs(&some).unwrap().starts_with("powers\t5\n"));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 5, "{left:?}");
    }

    #[test]
    fn a_development_srs_is_made_and_never_imported() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let made = srs(&["make", "--powers", "12", "--out", &at("srs.bin")]).unwrap();
        assert!(made.starts_with("powers\t12\norigin\tdevelopment"), "{made}");
        assert_eq!(srs(&["check", &at("srs.bin")]).unwrap(), made);
        srs(&["export", "--from", &at("srs.bin"), "--out", &at("crs")]).unwrap();
        let (g1, g2) = (at("crs/bn254_g1.dat"), at("crs/bn254_g2.dat"));
        let digest = sha256(&g1);
        let out = at("again.bin");
        let import = ["import", "--from", &g1, "--from", &g2, "--digest", &digest, "--out", &out];
        let line = srs(&import).unwrap_err().to_string();
        assert!(line.starts_with("AGT-052") && line.contains("publicly known"), "{line}");
        assert!(!Path::new(&out).exists());
    }

    #[test]
    fn an_srs_of_no_known_ceremony_is_imported_under_a_digest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (ptau, out) = (at("power2.ptau"), at("out.bin"));
        std::fs::write(&ptau, PTAU).unwrap();
        let error = srs(&["import", "--from", &ptau, "--out", &out]).unwrap_err();
        assert_eq!(error.code(), "AGT-055", "{error}");
        assert!(!Path::new(&out).exists());
    }

    /// Goal: no input file is lost when it is also named, by any path, as the output.
    #[test]
    fn a_file_that_is_read_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let ptau = at("power2.ptau");
        std::fs::write(&ptau, PTAU).unwrap();
        std::os::unix::fs::symlink(&ptau, at("link")).unwrap();
        std::fs::hard_link(&ptau, at("twin")).unwrap();
        let digest = sha256(&ptau);
        for out in [ptau.clone(), at("link"), at("twin"), at("./power2.ptau")] {
            let error = srs(&["import", "--from", &ptau, "--digest", &digest, "--out", &out]);
            assert_eq!(error.unwrap_err().code(), "AGT-054", "{out}");
            assert_eq!(std::fs::read(&ptau).unwrap(), PTAU);
        }
        // An exported file named as the one to export from.
        std::fs::create_dir(at("crs")).unwrap();
        srs(&["make", "--powers", "12", "--out", &at("crs/bn254_g2.dat")]).unwrap();
        let from = at("crs/bn254_g2.dat");
        let before = std::fs::read(&from).unwrap();
        let error = srs(&["export", "--from", &from, "--out", &at("crs")]).unwrap_err();
        assert_eq!(error.code(), "AGT-054");
        assert_eq!(std::fs::read(&from).unwrap(), before);
    }

    #[test]
    fn a_pinned_digest_is_asked_of_the_first_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let file = at("power2.ptau");
        std::fs::write(&file, PTAU).unwrap();
        let digest = sha256(&file);
        let import = |digest: &str| {
            srs(&["import", "--from", &file, "--digest", digest, "--out", &at("out.bin")])
        };
        assert!(import(&digest).unwrap().starts_with("powers\t7\norigin\timported"));
        let other = import(&digest.replace(|c: char| c.is_ascii_digit(), "0")).unwrap_err();
        assert_eq!(other.code(), "AGT-052");
        let SrsCommandError::Unusable { source, .. } = &other else { panic!("{other}") };
        assert_eq!(source.code(), "PLK-048");
        assert!(srs(&["check", &at("out.bin")]).is_ok());
    }

    #[test]
    fn files_that_make_no_sense_are_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let ptau = at("power2.ptau");
        std::fs::write(&ptau, PTAU).unwrap();
        std::fs::write(at("note"), "hello").unwrap();
        std::fs::write(at("empty"), "").unwrap();
        let (out, digest) = (at("out.bin"), sha256(&ptau));
        for (arguments, code) in [
            (vec!["check", &at("missing")], "AGT-050"),
            (vec!["check", &at("note")], "AGT-052"),
            (vec!["check", &ptau], "AGT-052"),
            (vec!["import", "--from", &at("missing"), "--out", &out], "AGT-050"),
            (vec!["import", "--from", &at("note"), "--out", &out], "AGT-053"),
            (vec!["import", "--from", &ptau, &at("note"), "--out", &out], "AGT-053"),
            (vec!["import", "--from", &at("note"), &ptau, "--out", &out], "AGT-052"),
            (vec!["import", "--from", &at("empty"), &at("empty"), "--out", &out], "AGT-052"),
            (vec!["import", "--from", &ptau, "--powers", "8", "--out", &out], "AGT-052"),
            (
                vec!["import", "--from", &ptau, "--digest", &digest, "--out", &at("no/folder")],
                "AGT-051",
            ),
            (vec!["export", "--from", &at("note"), "--out", &at("crs")], "AGT-052"),
        ] {
            let error = srs(&arguments).unwrap_err();
            let line = error.to_string();
            assert!(error.code() == code && line.starts_with(code), "{arguments:?}: {line}");
            assert!(!line.contains('\n'), "{line}");
        }
        assert!(!Path::new(&out).exists());
    }
}
