//! Where the programs are: this build's own next to devnet, anvil in the npm folder.

use std::path::{Path, PathBuf};

use crate::Error;

/// Overrides the path of anvil.
pub const ANVIL_VARIABLE: &str = "ROLLMILL_ANVIL";

/// The programs of one build.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
    /// Folders that may be the repository's root, in order of preference.
    roots: Vec<PathBuf>,
}

impl Programs {
    /// Programs in the folder of the running program.
    ///
    /// # Errors
    /// [`Error::File`] when the system does not report its path.
    pub fn beside_this_one() -> Result<Self, Error> {
        let own = std::env::current_exe().map_err(Error::file("find", "the running program"))?;
        Ok(Self::beside(&own))
    }

    /// Programs in the folder of `program`. Tests run from `deps/` below it.
    pub fn beside(program: &Path) -> Self {
        let folder = program.parent().unwrap_or(Path::new("."));
        let folder = if folder.ends_with("deps") {
            folder.parent().unwrap_or(folder).to_owned()
        } else {
            folder.to_owned()
        };
        // The current checkout comes first: several may share one build folder.
        let here = std::env::current_dir().unwrap_or_default();
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        let roots = here
            .ancestors()
            .chain(built_from.ancestors().skip(1).take(1))
            .map(Into::into)
            .collect();
        Self { folder, roots }
    }

    /// Path of a program of this build.
    ///
    /// # Errors
    /// [`Error::ProgramMissing`] when it was not built.
    pub fn own(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
        Err(Error::ProgramMissing { name: name.into(), folder: self.folder.clone() })
    }

    /// Path of the anvil binary. Not npm's wrapper: that is a node process in between, which
    /// swallows signals.
    ///
    /// # Errors
    /// [`Error::AnvilMissing`] when the npm packages are not installed, [`Error::AnvilVariable`] when the
    /// variable is wrong, [`Error::ContractsMissing`] outside a checkout.
    pub fn anvil(&self) -> Result<PathBuf, Error> {
        if let Some(path) = std::env::var_os(ANVIL_VARIABLE).map(PathBuf::from) {
            let variable = ANVIL_VARIABLE;
            return match path.is_file() {
                true => Ok(path),
                false => Err(Error::AnvilVariable { variable, path }),
            };
        }
        self.contracts()?;
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let place = format!("contracts/node_modules/@foundry-rs/anvil-linux-{arch}/bin/anvil");
        self.roots
            .iter()
            .map(|root| root.join(&place))
            .find(|path| path.is_file())
            .ok_or_else(|| Error::AnvilMissing { path: place.into() })
    }

    /// The repository's `contracts` folder, whose npm packages bring a PostgreSQL too.
    ///
    /// # Errors
    /// [`Error::ContractsMissing`] outside a checkout.
    pub fn contracts(&self) -> Result<PathBuf, Error> {
        self.roots
            .iter()
            .map(|root| root.join("contracts"))
            .find(|folder| folder.join("package.json").is_file())
            .ok_or_else(|| Error::ContractsMissing {
                folder: self.roots.first().cloned().unwrap_or_default(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_not_built_is_named_with_the_command_that_builds_it() {
        let programs = Programs::beside(Path::new("/nowhere/devnet"));
        let error = programs.own("rollmill-broker").unwrap_err().to_string();
        assert!(error.starts_with("NET-001: no program rollmill-broker in /nowhere"), "{error}");
        assert!(error.contains("cargo build"), "{error}");
    }

    #[test]
    fn outside_a_checkout_the_missing_folder_is_named_and_not_anvil() {
        let folder = tempfile::tempdir().unwrap();
        let roots = vec![folder.path().to_owned()];
        let programs = Programs { folder: folder.path().to_owned(), roots };
        let error = programs.contracts().unwrap_err().to_string();
        assert!(error.starts_with("NET-035: no folder `contracts`"), "{error}");
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
        if std::env::var_os(ANVIL_VARIABLE).is_none() {
            assert_eq!(programs.anvil().unwrap_err().code(), "NET-035");
        }
    }

    #[test]
    fn tests_find_programs_one_folder_up() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deps")).unwrap();
        std::fs::write(folder.path().join("rollmill-broker"), "").unwrap();
        let programs = Programs::beside(&folder.path().join("deps/test-1234"));
        assert_eq!(programs.own("rollmill-broker").unwrap(), folder.path().join("rollmill-broker"));
    }
}
