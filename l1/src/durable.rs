//! Files that are there as a whole or not at all, whatever happens.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes `parts` to `fresh`, syncs it and renames it to `path`: a crash leaves the old file or the new one under
/// that name. The directory exists already. `fresh` is in the same directory, and is gone after an error.
pub fn replace(path: &Path, fresh: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let write = || {
        let mut file = File::create(fresh)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
        fs::rename(fresh, path)
    };
    let written = write();
    if written.is_err() {
        let _ = fs::remove_file(fresh);
    }
    written?;
    sync_folder_of(path)
}

/// Makes the names in a file's directory durable.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_new_file_takes_the_place_of_the_old_one_and_no_other_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (path, fresh) = (folder.path().join("a"), folder.path().join("a.new"));
        for text in ["first", "second"] {
            replace(&path, &fresh, &[text.as_bytes(), b"!"]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text}!"));
        }
        // A directory cannot be replaced by a file.
        let folder_path = folder.path().join("b");
        fs::create_dir(&folder_path).unwrap();
        replace(&folder_path, &fresh, &[b"x"]).unwrap_err();
        let mut names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "b"]);
    }
}
