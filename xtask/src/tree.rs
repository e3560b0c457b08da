//! The repository as a list of texts, so that every rule is a function of a value and its tests
//! can build a tree that breaks it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// One text file: its path from the repository root with `/` separators, and its content.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every text file that git tracks or would track.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<File>,
    /// Paths of all files, binary ones included.
    pub(crate) paths: Vec<String>,
}

impl Tree {
    /// Reads the work tree. Ignored files are left out; a file that is not UTF-8 is listed in
    /// [`Self::paths`] alone.
    pub(crate) fn load(root: &Path) -> anyhow::Result<Self> {
        let output = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("cannot run git; install it (apt-get install git)")?;
        if !output.status.success() {
            bail!("git ls-files failed in {}: is it a git checkout?", root.display());
        }
        let mut paths: Vec<String> = output
            .stdout
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .map(|name| String::from_utf8_lossy(name).into_owned())
            // A file deleted in the work tree is still in the index, and a link to a folder is
            // listed like a file.
            .filter(|path| root.join(path).is_file())
            .collect();
        paths.sort();
        paths.dedup();

        let mut files = Vec::new();
        for path in &paths {
            let bytes =
                std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File { path: path.clone(), text });
            }
        }
        Ok(Self { files, paths })
    }

    /// The text of one file, if it is there.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// Rust sources, tests and benches included.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// A tree with these texts, for tests.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files: Vec<File> = files
            .iter()
            .map(|(path, text)| File { path: (*path).into(), text: (*text).into() })
            .collect();
        let paths = files.iter().map(|file| file.path.clone()).collect();
        Self { files, paths }
    }
}

/// The repository root: the nearest folder upwards that holds `xtask/Cargo.toml`.
///
/// Found from the working directory, not from where this program was compiled, since one build
/// cache may serve several checkouts.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    let start = std::env::current_dir().context("cannot read the working directory")?;
    start
        .ancestors()
        .find(|folder| folder.join("xtask/Cargo.toml").is_file())
        .map(Path::to_path_buf)
        .with_context(|| format!("{} is not inside the repository; cd into it", start.display()))
}
