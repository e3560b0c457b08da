//! The directory in which this machine keeps what takes long to make: keys, a compiler, templates of databases. It is safe
//! to delete.

use std::ffi::OsString;
use std::path::PathBuf;

/// Names the directory.
pub const VARIABLE: &str = "ROLLMILL_CACHE";
/// The directory below the user's own.
const OF_HOME: &str = ".cache/rollmill";

/// `$ROLLMILL_CACHE`, or else `~/.cache/rollmill`; absent if neither variable has a value. It need not exist.
pub fn dir() -> Option<PathBuf> {
    dir_of(std::env::var_os(VARIABLE), std::env::var_os("HOME"))
}

fn dir_of(named: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // A variable that is set to nothing would put files into the current directory.
    let value =
        |variable: Option<OsString>| variable.filter(|value| !value.is_empty()).map(PathBuf::from);
    value(named).or_else(|| Some(value(home)?.join(OF_HOME)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_the_named_one_or_the_one_of_the_user() {
        for (named, home, expected) in [
            (Some("/big/cache"), Some("/home/a"), Some("/big/cache")),
            (Some("/big/cache"), None, Some("/big/cache")),
            (None, Some("/home/a"), Some("/home/a/.cache/rollmill")),
            (Some(""), Some("/home/a"), Some("/home/a/.cache/rollmill")),
            (None, Some(""), None),
            (Some(""), None, None),
            (None, None, None),
        ] {
            let found = dir_of(named.map(OsString::from), home.map(OsString::from));
            assert_eq!(found, expected.map(PathBuf::from), "{named:?}, {home:?}");
        }
    }
}
