//! `agent srs`: makes, imports, checks and exports the structured reference string.
//!
//! docs/book/srs.md describes the files.

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use rollmill_plonk::srs::{Origin, Srs, SrsError, require_digest};
use sha2::{Digest, Sha256};

/// The largest circuit that Fr has a subgroup for, and what blinding needs on top.
const POWERS_MAX: u64 = (1 << 28) + rollmill_plonk::srs::EXTRA_POWERS as u64;

/// Why there is no string.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SrsCommandError {
    /// A file of a string cannot be opened or read.
    #[error("{}: cannot read {path}: {reason}", self.code())]
    Read { path: String, reason: String },
    /// A file of a string cannot be written.
    #[error("{}: cannot write {path}: {reason}", self.code())]
    Write { path: String, reason: String },
    /// A file is no string that can be used.
    #[error("{}: {path} is refused: {source}", self.code())]
    Refused {
        path: String,
        #[source]
        source: SrsError,
    },
    /// The files to import are not one `.ptau`, or one of G1 and one of G2.
    #[error("{}: {got}; give one .ptau file, or bn254_g1.dat and then bn254_g2.dat, each with --from", self.code())]
    Files { got: String },
}

impl SrsCommandError {
    /// Stable identifier. Never reused.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "AGT-050",
            Self::Write { .. } => "AGT-051",
            Self::Refused { .. } => "AGT-052",
            Self::Files { .. } => "AGT-053",
        }
    }
}

/// The subcommand as clap knows it.
pub fn command() -> Command {
    let file = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .required(true)
            .value_parser(value_parser!(PathBuf))
            .help(help)
    };
    let powers = |help: &'static str| {
        Arg::new("powers")
            .long("powers")
            .value_name("N")
            .value_parser(value_parser!(u64).range(2..=POWERS_MAX))
            .help(help)
    };
    Command::new("srs")
        .about("Make, import, check or export the structured reference string")
        .subcommand_required(true)
        .subcommand(
            Command::new("make")
                .about("Make a development string: its τ is public, never use it with value")
                .arg(powers("powers of τ; a circuit of n rows takes n + 8").required(true))
                .arg(file("out", "FILE", "where to write it")),
        )
        .subcommand(
            Command::new("import")
                .about("Check a ceremony's string and write it in our own form")
                .arg(
                    file("from", "FILE", "a .ptau of snarkjs, or bn254_g1.dat and bn254_g2.dat")
                        .action(ArgAction::Append)
                        .num_args(1..=2),
                )
                .arg(file("out", "FILE", "where to write it"))
                .arg(powers("keep the first N powers; all when unset"))
                .arg(
                    Arg::new("digest")
                        .long("digest")
                        .value_name("HEX")
                        .value_parser(digest)
                        .help("refuse a first file whose SHA-256 is another"),
                ),
        )
        .subcommand(
            Command::new("check").about("Check every point of a string and say what it is").arg(
                Arg::new("file")
                    .value_name("FILE")
                    .required(true)
                    .value_parser(value_parser!(PathBuf))
                    .help("a string in our own form"),
            ),
        )
        .subcommand(
            Command::new("export")
                .about("Write a string in another prover's form")
                .arg(
                    Arg::new("format")
                        .long("format")
                        .value_name("FORMAT")
                        .value_parser(["bb"])
                        .default_value("bb")
                        .help("bb: bn254_g1.dat and bn254_g2.dat, as Barretenberg reads them"),
                )
                .arg(file("from", "FILE", "a string in our own form"))
                .arg(file("out", "DIR", "folder to write the files into")),
        )
}

fn digest(text: &str) -> Result<String, String> {
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_owned()),
        false => Err(format!("expected 64 hexadecimal digits, got {} characters", text.len())),
    }
}

/// Does what [`command`] was asked for and gives the lines to print.
pub fn run(matches: &ArgMatches) -> Result<String, SrsCommandError> {
    let Some((name, matches)) = matches.subcommand() else {
        // Cannot be: clap requires a subcommand.
        return Ok(String::new());
    };
    let path = |name: &str| matches.get_one::<PathBuf>(name).cloned().unwrap_or_default();
    match name {
        "make" => {
            let powers = matches.get_one::<u64>("powers").copied().unwrap_or(2);
            keep(&Srs::development_of(powers as usize), &path("out"))
        }
        "import" => {
            let from: Vec<&PathBuf> = matches.get_many("from").unwrap_or_default().collect();
            let powers = matches.get_one::<u64>("powers").map(|powers| *powers as usize);
            let srs = import(&from, powers, matches.get_one::<String>("digest"))?;
            keep(&srs, &path("out"))
        }
        "check" => {
            let path = path("file");
            let bytes = read(&path)?;
            let srs = Srs::from_bytes(&bytes).map_err(refused(&path))?;
            srs.check(seed()).map_err(refused(&path))?;
            Ok(describe(&srs, &bytes))
        }
        _ => {
            let from = path("from");
            let srs = Srs::from_bytes(&read(&from)?).map_err(refused(&from))?;
            export_bb(&srs, &path("out"))
        }
    }
}

/// Writes `bn254_g1.dat` and `bn254_g2.dat` into a folder, which is made.
pub fn export_bb(srs: &Srs, folder: &Path) -> Result<String, SrsCommandError> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| SrsCommandError::Write { path, reason: error.to_string() }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let (g1, g2) = srs.to_flat();
    let mut text = String::new();
    for (name, bytes) in [("bn254_g1.dat", &g1[..]), ("bn254_g2.dat", &g2[..])] {
        let path = folder.join(name);
        write_aside(&path, bytes).map_err(failed(&path))?;
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
    let mut file = open(first)?;
    if let Some(expected) = digest {
        require_digest(&mut file, expected).map_err(refused(first))?;
        file.rewind().map_err(unreadable(first))?;
    }
    let mut magic = [0u8; 4];
    let is_ptau = file.read_exact(&mut magic).is_ok() && magic == *b"ptau";
    file.rewind().map_err(unreadable(first))?;
    match (is_ptau, from) {
        (true, [_]) => Srs::import_ptau(&mut file, powers, seed()).map_err(refused(first)),
        (false, [_, second]) => {
            Srs::import_flat(file, open(second)?, powers, seed()).map_err(refused(first))
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

/// Writes a string and says what it is.
fn keep(srs: &Srs, path: &Path) -> Result<String, SrsCommandError> {
    let bytes = srs.to_bytes();
    write_aside(path, &bytes).map_err(|error| SrsCommandError::Write {
        path: path.display().to_string(),
        reason: error.to_string(),
    })?;
    Ok(describe(srs, &bytes))
}

fn describe(srs: &Srs, bytes: &[u8]) -> String {
    let origin = match srs.origin {
        Origin::Development => "development: τ is public, never use it with value",
        Origin::Ceremony => "imported; compare its digest with one you trust",
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
    move |error| SrsCommandError::Read { path: path.clone(), reason: error.to_string() }
}

fn refused(path: &Path) -> impl Fn(SrsError) -> SrsCommandError {
    let path = path.display().to_string();
    move |source| SrsCommandError::Refused { path: path.clone(), source }
}

/// Written aside and renamed, so that a reader never sees half a file.
fn write_aside(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}.part", std::process::id()));
    let written = File::create(&aside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&aside, path));
    if written.is_err() {
        std::fs::remove_file(&aside).ok();
    }
    written
}

/// What nobody who made a file could know.
fn seed() -> u64 {
    use std::hash::BuildHasher;
    // The keys of a new state come from the system's source of randomness.
    std::hash::RandomState::new().hash_one(0u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srs(arguments: &[&str]) -> Result<String, SrsCommandError> {
        let words = std::iter::once("srs").chain(arguments.iter().copied());
        run(&command().try_get_matches_from(words).unwrap())
    }

    #[test]
    fn a_string_is_made_checked_exported_and_imported_again() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let made = srs(&["make", "--powers", "12", "--out", &at("srs.bin")]).unwrap();
        assert!(made.starts_with("powers\t12\norigin\tdevelopment"), "{made}");
        assert_eq!(srs(&["check", &at("srs.bin")]).unwrap(), made);
        srs(&["export", "--from", &at("srs.bin"), "--out", &at("crs")]).unwrap();
        let (g1, g2) = (at("crs/bn254_g1.dat"), at("crs/bn254_g2.dat"));
        let again =
            srs(&["import", "--from", &g1, "--from", &g2, "--out", &at("again.bin")]).unwrap();
        // The known τ is known again.
        assert_eq!(again, made);
        let some = ["import", "--from", &g1, &g2, "--powers", "5", "--out", &at("some.bin")];
        assert!(srs(&some).unwrap().starts_with("powers\t5\n"));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 4, "{left:?}");
    }

    #[test]
    fn a_pinned_digest_is_asked_of_the_first_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let file = at("power2.ptau");
        let bytes = include_bytes!("../../plonk/tests/fixtures/power2.ptau");
        std::fs::write(&file, bytes).unwrap();
        let digest: String =
            Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let import = |digest: &str| {
            srs(&["import", "--from", &file, "--digest", digest, "--out", &at("out.bin")])
        };
        assert!(import(&digest).unwrap().starts_with("powers\t7\norigin\timported"));
        let other = import(&digest.replace(|c: char| c.is_ascii_digit(), "0")).unwrap_err();
        assert_eq!(other.code(), "AGT-052");
        assert!(other.to_string().contains("PLK-048"), "{other}");
        assert!(srs(&["check", &at("out.bin")]).is_ok());
    }

    #[test]
    fn files_that_make_no_sense_are_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let ptau = at("power2.ptau");
        std::fs::write(&ptau, include_bytes!("../../plonk/tests/fixtures/power2.ptau")).unwrap();
        std::fs::write(at("note"), "hello").unwrap();
        std::fs::write(at("empty"), "").unwrap();
        let out = at("out.bin");
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
            (vec!["import", "--from", &ptau, "--out", &at("no/folder")], "AGT-051"),
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
