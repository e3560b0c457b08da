//! A new cluster, as `initdb` makes it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::discover::Binaries;
use super::{EmbeddedError, Identity, NAME, Options, cause_line, prepare};

/// Arguments of `initdb`.
const ARGUMENTS: &[&str] = &[
    "--username",
    NAME,
    "--auth",
    "trust",
    "--no-locale",
    "--encoding",
    "UTF8",
    "--no-instructions",
];
/// Further arguments for a throwaway cluster. Tests copy such clusters, and an empty log has the size of one segment:
/// 1 MB instead of 16 MB.
const THROWAWAY: &[&str] = &["--no-sync", "--wal-segsize=1"];

fn arguments(throwaway: bool) -> impl Iterator<Item = &'static str> {
    let further: &[&str] = if throwaway { THROWAWAY } else { &[] };
    ARGUMENTS.iter().chain(further).copied()
}

/// Describes the cluster that these programs create with these options, by everything that its files depend on. Where
/// two descriptions are equal, one cluster can be a copy of the other.
pub fn describe(binaries: &Binaries, options: &Options) -> String {
    let identity = Identity::choose(&options.data_dir.join("pg"));
    let arguments: Vec<_> = arguments(options.throwaway).collect();
    format!(
        "{} for {} in {}; initdb {}; {identity:?} of user {}",
        binaries.version,
        std::env::consts::ARCH,
        binaries.initdb.display(),
        arguments.join(" "),
        nix::unistd::geteuid()
    )
}

pub(super) fn initialise(
    binaries: &Binaries,
    root: &Path,
    data: &Path,
    identity: Identity,
    throwaway: bool,
) -> Result<(), EmbeddedError> {
    // Built beside its place and renamed, so that an interrupted start leaves no half cluster.
    let fresh = root.join("pg.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh).map_err(prepare(&fresh))?;
    }
    fs::create_dir(&fresh).map_err(prepare(&fresh))?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o700)).map_err(prepare(&fresh))?;
    identity.own(&fresh)?;
    let mut command = identity.command(&binaries.initdb, false);
    command.args(arguments(throwaway)).arg("-D").arg(&fresh).current_dir("/");
    let output = command.output().map_err(|source| EmbeddedError::Run {
        program: binaries.initdb.display().to_string(),
        source,
    })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let message = cause_line(&text).unwrap_or_else(|| output.status.to_string());
        return Err(EmbeddedError::Init { message });
    }
    rollmill_files::rename(&fresh, data).map_err(prepare(data))
}
