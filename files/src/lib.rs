//! Files that are there as a whole or not at all, whatever happens.
//!
//! A file is written under another name in the folder of its place, synced and renamed, and then the folder is synced.
//! A crash, a full disk or an error leaves the old file or the new one. The other name is random and its file is
//! created with it, so that no two writers share one: neither threads nor containers, where process ids repeat. Folders
//! for such files are made by [`make_folder`].
//!
//! The writer holds a lock on the unfinished file, by which [`sweep`] tells it from what a killed writer left. Each
//! writer sweeps first, so that nothing collects beside a file that is written again and again; for that the names in
//! the folder are read.
//!
//! A network file system that keeps locks on each machine alone (on Linux the option `local_lock` of NFS) hides the
//! writers of other machines from a sweep. It may then remove what one of them is writing: that writer gets an error,
//! and the old file stays.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// End of the name of an unfinished file, which is `NAME.0123456789abcdef.part` for the file `NAME`.
const SUFFIX: &str = ".part";
/// Hexadecimal digits between the two: a random word of 64 bits.
const DIGITS: usize = 16;
/// Names to try. One that is taken was guessed, or a sweep came between two steps of [`Unfinished::create`].
const NAMES_MAX: usize = 16;

/// Writes a file with these `parts`, one after the other. Its folder exists already. A link at `path` is replaced, and
/// what it points to stays as it is.
///
/// # Errors
/// Those of the file system. The old file is then still there, unless only syncing the folder failed, and nothing is
/// left beside it.
pub fn write(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    place(Unfinished::create(path)?, parts)
}

fn place(mut file: Unfinished, parts: &[&[u8]]) -> io::Result<()> {
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.place()
}

/// A file that has not got its name yet. Dropped before [`Self::place`], it is removed.
#[derive(Debug)]
pub struct Unfinished {
    /// Locked until this is dropped.
    file: File,
    /// Its name until it is whole.
    aside: PathBuf,
    path: PathBuf,
    is_placed: bool,
}

impl Unfinished {
    /// An empty file that gets the name `path` once it is whole. Its mode is what the umask leaves of 0666.
    ///
    /// # Errors
    /// Those of the file system, and [`ErrorKind::InvalidInput`] for a path that names no file.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::create_with(path, OpenOptions::new().write(true).create_new(true))
    }

    /// Like [`Self::create`], and only the owner can read it (mode 0600), from its first byte on.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_private(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Self::create_with(path, &options)
    }

    fn create_with(path: &Path, options: &OpenOptions) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidInput, "the path does not name a file")
        })?;
        // First, for their space.
        sweep(path);
        for _ in 0..NAMES_MAX {
            let aside = path.with_file_name(unfinished_name(name));
            let file = match options.open(&aside) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                opened => opened?,
            };
            let unfinished = Self { file, aside, path: path.to_owned(), is_placed: false };
            if unfinished.hold()? {
                return Ok(unfinished);
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "no free name was found for the new file"))
    }

    /// Locks the file for as long as it is open. False if a sweep found it before that and takes it for abandoned.
    fn hold(&self) -> io::Result<bool> {
        match self.file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(false),
            // Where nothing can be locked, as on some network file systems, no sweep removes anything.
            Ok(()) | Err(TryLockError::Error(_)) => {}
        }
        match fs::symlink_metadata(&self.aside) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Syncs the file, gives it its name in place of any file that has it, and syncs the folder.
    ///
    /// # Errors
    /// Those of the file system. An old file is then still there, unless only syncing the folder failed.
    pub fn place(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.aside, &self.path)?;
        self.is_placed = true;
        sync_folder_of(&self.path)
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.is_placed {
            // It only takes space, which a full disk lacks. The error that counts is the one before this.
            fs::remove_file(&self.aside).ok();
        }
    }
}

/// Gives a file another name in its folder, in place of any file that has it, durably.
///
/// # Errors
/// Those of the file system.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_folder_of(to)
}

/// Makes a folder and those above it where they are missing, durably: without its name on disk a folder is lost in a
/// power cut with every file in it, synced or not. A folder that is there is synced as well, since whoever made it may
/// have been killed before that.
///
/// A folder above that this user cannot read is left to the file system.
///
/// # Errors
/// Those of the file system, such as [`ErrorKind::AlreadyExists`] where a file has the name.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    make_folder_with(folder, &DirBuilder::new())
}

/// Like [`make_folder`], and only the owner reaches what is in the folders that this makes (mode 0700).
///
/// # Errors
/// As [`make_folder`].
pub fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    make_folder_with(folder, &builder)
}

/// Like [`make_folder`] for the folder of a file.
///
/// # Errors
/// As [`make_folder`].
pub fn make_folder_of(path: &Path) -> io::Result<()> {
    make_folder(folder_of(path))
}

fn make_folder_with(folder: &Path, builder: &DirBuilder) -> io::Result<()> {
    let named = |folder: &&Path| !folder.as_os_str().is_empty();
    let missing: Vec<&Path> =
        folder.ancestors().filter(named).take_while(|folder| !folder.is_dir()).collect();
    // The innermost one that is there; each below is made in one that is synced.
    if let Some(first) = folder.ancestors().filter(named).nth(missing.len()) {
        sync_name_of(first)?;
    }
    for folder in missing.into_iter().rev() {
        match builder.create(folder) {
            // Another process was quicker.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
            made => made?,
        }
        sync_name_of(folder)?;
    }
    Ok(())
}

/// Makes a folder's name durable, where this user can.
fn sync_name_of(folder: &Path) -> io::Result<()> {
    #[cfg(test)]
    tests::SYNCED.with_borrow_mut(|synced| synced.push(folder.to_owned()));
    if folder.parent().is_none() {
        return Ok(());
    }
    match sync_folder_of(folder) {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(())
        }
        synced => synced,
    }
}

/// Makes the names in a file's folder durable, where the file system can.
///
/// # Errors
/// Those of the file system.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    // Elsewhere a folder cannot be opened, and a rename is what the file system makes of it.
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(folder_of(path))?.sync_all() {
        // Some network and shared file systems sync files alone (EINVAL, ENOTSUP). The file has its name then, and
        // trying again would change nothing.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            Ok(())
        }
        synced => synced,
    }
}

/// Removes what killed writers of the file at `path` left. What is being written stays. A file that cannot be removed
/// only takes space until the next sweep.
pub fn sweep(path: &Path) {
    if let Some(name) = path.file_name() {
        sweep_where(folder_of(path), |of| of == name.as_encoded_bytes());
    }
}

/// Like [`sweep`] for every file of a folder.
pub fn sweep_folder(folder: &Path) {
    sweep_where(folder, |_| true);
}

fn sweep_where(folder: &Path, is_meant: impl Fn(&[u8]) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_unfinished = finished_name(&entry.file_name()).is_some_and(&is_meant);
        // A link or a pipe was made by somebody else.
        if !is_unfinished || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        // Locked until it is removed: a writer that comes to hold it in between would lose it.
        if let Ok(file) = open_file(&path)
            && file.try_lock().is_ok()
        {
            fs::remove_file(&path).ok();
        }
    }
}

/// Opens a file without waiting, and nothing but a file: whoever may write in the folder can put a pipe there, whose
/// opening waits for a reader, or a link, at any moment.
fn open_file(path: &Path) -> io::Result<File> {
    // A network file system may lock exclusively only what is open for writing.
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    {
        use nix::fcntl::OFlag;
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits());
    }
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(ErrorKind::InvalidInput, "this is no file")),
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn unfinished_name(name: &OsStr) -> OsString {
    // The keys of each state come from the system's source of randomness.
    let value = RandomState::new().hash_one(0u8);
    let mut unfinished = name.to_owned();
    unfinished.push(format!(".{value:0DIGITS$x}{SUFFIX}"));
    unfinished
}

/// The name of the file that an unfinished file with this name is for.
fn finished_name(unfinished: &OsStr) -> Option<&[u8]> {
    let rest = unfinished.as_encoded_bytes().strip_suffix(SUFFIX.as_bytes())?;
    let (name, digits) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let is_word = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    name.strip_suffix(b".").filter(|name| is_word && !name.is_empty())
}

#[cfg(test)]
mod tests;
