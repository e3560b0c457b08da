//! The files of keys and proofs: JSON, so that any program reads them. Bytes are hexadecimal with `0x` in front.
//!
//! A file comes from outside, and whatever it contains, reading it is an error or a well-formed key or proof. A key
//! file is what a verifier trusts: get it, or the digest that it states, from a source that you trust.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _};
use std::path::Path;

use rollmill_algebra::bytes::{G2_BYTES, fr_from_slice, fr_to_bytes, g2_from_bytes, g2_to_bytes};
use rollmill_algebra::{Fr, G2Affine};
use rollmill_errors::{Bare, InWords};
use rollmill_plonk::key::VerifyingKey;
use rollmill_plonk::proof::Proof;
use rollmill_plonk::srs::srs_id;
use rollmill_plonk::transcript::TranscriptKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::NoirError;

/// Names the form of a key file.
const KEY_FORMAT: &str = "rollmill-noir-key-1";
/// Names the form of a proof file.
const PROOF_FORMAT: &str = "rollmill-noir-proof-1";
/// Most bytes of a file of a key or a proof. A million public inputs fit.
const BYTES_MAX: u64 = 128 << 20;
/// Bytes of a digest of a layout.
pub const DIGEST_BYTES: usize = 32;

/// The key of a function. A prover uses it as well: it names the layout that it was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// Name of the function.
    pub function: String,
    /// Rows of the circuit, without padding.
    pub rows: u64,
    /// Digest of the layout, which a prover compares with the one of its program.
    pub layout_digest: [u8; DIGEST_BYTES],
    /// `[τ]_2` of the SRS that the key was made under.
    pub tau_g2: G2Affine,
    /// The verification key.
    pub vk: VerifyingKey,
}

/// A proof with what it proves.
#[derive(Debug, Clone, PartialEq)]
pub struct ProofFile {
    /// Which hash makes the challenges.
    pub transcript: TranscriptKind,
    /// Digest of the key that it is for.
    pub key_digest: Fr,
    /// Public inputs: public parameters, return values, digests of the databus.
    pub public: Vec<Fr>,
    /// The proof.
    pub proof: Proof,
    /// What the program returns, by its types. Nothing checks it: `public` is what the proof is about.
    pub returned: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct KeyText {
    format: String,
    digest: String,
    function: String,
    rows: u64,
    log_n: u32,
    public_inputs: u32,
    layout_digest: String,
    tau_g2: String,
    key: String,
}

#[derive(Serialize, Deserialize)]
struct ProofText {
    format: String,
    transcript: String,
    key_digest: String,
    public_inputs: Vec<String>,
    proof: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    returned: Option<Value>,
}

impl KeyFile {
    /// The digest of the key, as proofs name it.
    pub fn digest(&self) -> String {
        field_text(&self.vk.digest())
    }

    /// The file.
    pub fn to_json(&self) -> String {
        let text = KeyText {
            format: KEY_FORMAT.to_owned(),
            digest: self.digest(),
            function: self.function.clone(),
            rows: self.rows,
            log_n: self.vk.shape.log_n,
            public_inputs: self.vk.shape.n_public,
            layout_digest: hex_text(&self.layout_digest),
            tau_g2: hex_text(&g2_to_bytes(&self.tau_g2)),
            key: hex_text(&self.vk.to_bytes()),
        };
        json(&text)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let text: KeyText = serde_json::from_slice(bytes)
            .map_err(|error| format!("line {} is not as expected: {error}", error.line()))?;
        require_format(&text.format, KEY_FORMAT)?;
        let tau: [u8; G2_BYTES] = array("tau_g2", &text.tau_g2)?;
        let tau_g2 = g2_from_bytes(&tau).map_err(|error| format!("`tau_g2`: {}", Bare(&error)))?;
        let vk = VerifyingKey::from_bytes(&unhex("key", &text.key)?)
            .map_err(|error| format!("`key`: {}", Bare(&error)))?;
        let layout_digest = array("layout_digest", &text.layout_digest)?;
        let file = Self { function: text.function, rows: text.rows, layout_digest, tau_g2, vk };
        if srs_id(&file.tau_g2) != file.vk.srs_id {
            return Err("`tau_g2` is not of the SRS that the key names".to_owned());
        }
        // Whoever compares the digest that the file states must get the key that it has.
        if text.digest != file.digest() {
            return Err(format!("its digest is {}, it states {}", file.digest(), text.digest));
        }
        let stated = (text.log_n, text.public_inputs);
        if stated != (file.vk.shape.log_n, file.vk.shape.n_public) {
            return Err("`log_n` and `public_inputs` are not those of the key".to_owned());
        }
        Ok(file)
    }

    /// Reads the file at this path.
    ///
    /// # Errors
    /// [`NoirError::Read`], [`NoirError::TooLarge`] and [`NoirError::KeyFile`]
    pub fn load(path: &Path) -> Result<Self, NoirError> {
        let wrong = |reason| NoirError::KeyFile { path: path.display().to_string(), reason };
        Self::from_json(&read(path, BYTES_MAX)?).map_err(wrong)
    }
}

impl ProofFile {
    /// The file.
    pub fn to_json(&self) -> String {
        let text = ProofText {
            format: PROOF_FORMAT.to_owned(),
            transcript: transcript_name(self.transcript).to_owned(),
            key_digest: field_text(&self.key_digest),
            public_inputs: self.public.iter().map(field_text).collect(),
            proof: hex_text(&self.proof.to_bytes()),
            returned: self.returned.clone(),
        };
        json(&text)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let text: ProofText = serde_json::from_slice(bytes)
            .map_err(|error| format!("line {} is not as expected: {error}", error.line()))?;
        require_format(&text.format, PROOF_FORMAT)?;
        let transcript = transcript_of(&text.transcript)
            .ok_or_else(|| format!("`transcript` is {:?}", text.transcript))?;
        let public = text.public_inputs.iter().enumerate();
        let public: Result<Vec<Fr>, String> =
            public.map(|(i, text)| field(&format!("public_inputs[{i}]"), text)).collect();
        let proof = Proof::from_bytes(&unhex("proof", &text.proof)?)
            .map_err(|error| format!("`proof`: {}", Bare(&error)))?;
        let key_digest = field("key_digest", &text.key_digest)?;
        Ok(Self { transcript, key_digest, public: public?, proof, returned: text.returned })
    }

    /// Reads the file at this path.
    ///
    /// # Errors
    /// [`NoirError::Read`], [`NoirError::TooLarge`] and [`NoirError::ProofFile`]
    pub fn load(path: &Path) -> Result<Self, NoirError> {
        let wrong = |reason| NoirError::ProofFile { path: path.display().to_string(), reason };
        Self::from_json(&read(path, BYTES_MAX)?).map_err(wrong)
    }
}

/// The name of a transcript on the command line and in files.
pub fn transcript_name(kind: TranscriptKind) -> &'static str {
    match kind {
        TranscriptKind::Keccak => "keccak",
        TranscriptKind::Poseidon2 => "poseidon2",
    }
}

fn transcript_of(name: &str) -> Option<TranscriptKind> {
    let kinds = [TranscriptKind::Keccak, TranscriptKind::Poseidon2];
    kinds.into_iter().find(|kind| transcript_name(*kind) == name)
}

/// A field element as files have it.
pub fn field_text(value: &Fr) -> String {
    hex_text(&fr_to_bytes(value))
}

fn field(name: &str, text: &str) -> Result<Fr, String> {
    let bytes: [u8; 32] = array(name, text)?;
    fr_from_slice(&bytes).map_err(|error| format!("`{name}`: {}", Bare(&error)))
}

fn hex_text(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn unhex(name: &str, text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x");
    let bytes = digits.and_then(|digits| hex::decode(digits).ok());
    bytes.ok_or_else(|| format!("`{name}` is not hexadecimal with 0x in front"))
}

fn array<const N: usize>(name: &str, text: &str) -> Result<[u8; N], String> {
    let bytes = unhex(name, text)?;
    let got = bytes.len();
    bytes.try_into().map_err(|_| format!("`{name}` must have {N} bytes, got {got}"))
}

fn require_format(got: &str, expected: &str) -> Result<(), String> {
    match got == expected {
        true => Ok(()),
        false => Err(format!("`format` must be {expected}, got {got:?}")),
    }
}

/// JSON with one line for each field, and a line's end after it.
fn json(text: &impl Serialize) -> String {
    // Texts, numbers and values of JSON can all be written.
    let json = serde_json::to_string_pretty(text).expect("the file has no key that is not a text");
    json + "\n"
}

/// The bytes of a file of at most `limit` bytes.
///
/// # Errors
/// [`NoirError::Read`] and [`NoirError::TooLarge`]
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, NoirError> {
    let mut bytes = Vec::new();
    let file = File::open(path);
    file.and_then(|file| file.take(limit.saturating_add(1)).read_to_end(&mut bytes)).map_err(
        |error| NoirError::Read {
            path: path.display().to_string(),
            reason: InWords(&error).to_string(),
        },
    )?;
    match bytes.len() as u64 > limit {
        true => Err(NoirError::TooLarge { path: path.display().to_string(), limit }),
        false => Ok(bytes),
    }
}

/// Writes a file aside and renames it, so that nobody reads half of it, not even after a crash. A link at this path is
/// replaced, and what it points to stays as it is.
///
/// # Errors
/// [`NoirError::Write`]
pub fn write(path: &Path, text: &str) -> Result<(), NoirError> {
    write_bytes(path, text.as_bytes())
}

/// As [`write`], for a file that is no text.
///
/// # Errors
/// [`NoirError::Write`]
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), NoirError> {
    require_replaceable(path)
        .and_then(|()| rollmill_files::write(path, &[bytes]))
        .map_err(|error| unwritable(path, &error))
}

/// Checks that a file can be written, before minutes of work.
///
/// # Errors
/// [`NoirError::Write`]
pub fn require_writable(path: &Path) -> Result<(), NoirError> {
    // Dropped at once, it is removed.
    require_replaceable(path)
        .and_then(|()| rollmill_files::Unfinished::create(path).map(drop))
        .map_err(|error| unwritable(path, &error))
}

/// Checks that an output replaces none of the files that a command reads.
///
/// # Errors
/// [`NoirError::ReplacesInput`]
pub fn require_other<'a>(
    output: &Path,
    read: impl IntoIterator<Item = &'a Path>,
) -> Result<(), NoirError> {
    let place = |path: &Path| std::fs::canonicalize(path).ok();
    // An output that does not exist yet replaces nothing.
    let own = place(output);
    let is_read = own.is_some() && read.into_iter().any(|path| place(path) == own);
    match is_read {
        true => Err(NoirError::ReplacesInput { path: output.display().to_string() }),
        false => Ok(()),
    }
}

/// Makes a directory and those above it, where they are missing.
///
/// # Errors
/// [`NoirError::Write`]
pub fn create_directory(path: &Path) -> Result<(), NoirError> {
    rollmill_files::make_folder(path).map_err(|error| unwritable(path, &error))
}

/// Checks that a path names a file, or nothing yet. A rename onto a directory fails, and one onto `/dev/null` replaces
/// the device, if the user may.
fn require_replaceable(path: &Path) -> std::io::Result<()> {
    if path.file_name().is_none() {
        return Err(Error::new(ErrorKind::InvalidInput, "the path does not name a file"));
    }
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file"))
        }
        // What is missing can be made. Any other trouble comes up when it is.
        _ => Ok(()),
    }
}

/// The error of a file that cannot be written.
pub fn unwritable(path: &Path, error: &Error) -> NoirError {
    NoirError::Write { path: path.display().to_string(), reason: InWords(error).to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn files_take_the_place_of_files_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("folder")).unwrap();
        symlink("/dev/null", at("device")).unwrap();
        symlink("folder", at("link")).unwrap();
        let wrong = ["folder", "device", "link", "folder/..", "missing/file"].map(at);
        for path in wrong.iter().map(PathBuf::as_path).chain([Path::new(""), Path::new(".")]) {
            // Before the work, and not only after it.
            let error = require_writable(path).unwrap_err();
            assert_eq!(error.code(), "NOI-002", "{}: {error}", path.display());
            assert_eq!(write(path, "new").unwrap_err().code(), "NOI-002", "{}", path.display());
        }
        assert!(std::fs::symlink_metadata(at("device")).unwrap().is_symlink());
        require_writable(&at("file")).unwrap();
        assert!(!at("file").exists());
        for text in ["first", "second"] {
            write(&at("file"), text).unwrap();
            assert_eq!(std::fs::read_to_string(at("file")).unwrap(), text);
        }
    }

    #[test]
    fn links_are_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (other, path) = (dir.path().join("other"), dir.path().join("proof.json"));
        std::fs::write(&other, "old").unwrap();
        symlink(&other, &path).unwrap();
        require_writable(&path).unwrap();
        write(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "old");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            2,
            "nothing is left beside them"
        );
    }
}
