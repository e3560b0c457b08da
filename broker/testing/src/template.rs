//! Templates of clusters, kept in the cache of the project: `initdb` and the migrations take longer than most tests,
//! and a copy of what they make takes a fraction of that.
//!
//! A template is a folder whose name is a digest of all that it depends on. It is complete: it is made elsewhere,
//! copied beside its place, written through to the disk and then renamed. Whoever makes or removes a template holds
//! the lock of the folder; whoever copies one shares it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Templates that are kept, so that a few branches with different migrations do not replace each other's. Each has
/// about 40 MB.
const KEPT: usize = 4;
/// Longest wait for another program, which may be making a template on a slow machine.
const LIMIT: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(10);

/// Where a template is copied to before it has its name, and where one that is removed has lost it.
const NEW: &str = "new";
const OLD: &str = "old";

#[derive(Debug)]
pub(crate) struct Templates {
    folder: PathBuf,
}

impl Templates {
    /// Those in the cache of the project. [`None`] if it cannot be written: tests need no cache, they only take longer.
    pub(crate) fn of_the_project() -> Option<Self> {
        let folder = rollmill_cache::dir()?.join("postgres");
        match fs::create_dir_all(&folder).and_then(|()| lock_file(&folder)) {
            Ok(_) => Some(Self { folder }),
            Err(error) => {
                eprintln!("no template of PostgreSQL is kept in {}: {error}", folder.display());
                None
            }
        }
    }

    /// Copies the template of this key to `target`, which must not exist. If there is no such template, `make` makes it
    /// first: a complete folder that nobody uses.
    pub(crate) async fn copy<M: AsRef<Path>>(
        &self,
        key: &str,
        target: &Path,
        make: impl Future<Output = M>,
    ) -> io::Result<()> {
        let template = self.folder.join(key);
        let lock = lock_file(&self.folder)?;
        wait(|| lock.try_lock_shared()).await?;
        if !template.exists() {
            lock.unlock()?;
            wait(|| lock.try_lock()).await?;
            // Another program may have made it meanwhile.
            if !template.exists() {
                let made = make.await;
                self.keep(made.as_ref(), &template)?;
            }
        }
        copy(&template, target, false)
    }

    /// Makes a template of a folder, and removes the oldest ones.
    fn keep(&self, made: &Path, template: &Path) -> io::Result<()> {
        let new = self.folder.join(NEW);
        // A program that was killed may have left one.
        remove(&new)?;
        copy(made, &new, true)?;
        fs::rename(&new, template)?;
        File::open(&self.folder)?.sync_all()?;
        self.forget(template)
    }

    fn forget(&self, newest: &Path) -> io::Result<()> {
        let old = self.folder.join(OLD);
        remove(&old)?;
        let mut others = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let is_template = entry.file_type()?.is_dir() && entry.path() != newest;
            if is_template {
                others.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        others.sort();
        for (_, path) in others.iter().rev().skip(KEPT - 1) {
            // Without its name first: a template that is half removed is never found.
            fs::rename(path, &old)?;
            remove(&old)?;
        }
        Ok(())
    }
}

fn lock_file(folder: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(folder.join("lock"))
}

/// Waits for a lock. The system releases it when its holder ends, however it ends.
async fn wait(lock: impl Fn() -> Result<(), TryLockError>) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if start.elapsed() < LIMIT => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(TryLockError::WouldBlock) => {
                let text = format!("another program held the templates for {LIMIT:?}");
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies a folder of files and folders with their permissions and owners. If `durable`, the copy is on the disk
/// afterwards.
fn copy(from: &Path, to: &Path, durable: bool) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&source, &target, durable)?;
        } else if kind.is_file() {
            // Also permissions; it shares blocks where the file system can.
            fs::copy(&source, &target)?;
            finish(&source, &target, durable)?;
        } else {
            let text = format!("{} is neither a file nor a folder", source.display());
            return Err(io::Error::other(text));
        }
    }
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    finish(from, to, durable)
}

fn finish(from: &Path, to: &Path, durable: bool) -> io::Result<()> {
    // Root makes clusters that belong to `nobody`.
    let owner = fs::metadata(from)?;
    if owner.uid() != nix::unistd::geteuid().as_raw() {
        chown(to, Some(owner.uid()), Some(owner.gid()))?;
    }
    if durable { File::open(to)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn templates() -> (tempfile::TempDir, Templates) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("postgres");
        fs::create_dir(&folder).unwrap();
        (dir, Templates { folder })
    }

    /// A folder like a cluster's, with this text in it.
    fn cluster(path: &Path, text: &str) -> PathBuf {
        DirBuilder::new().mode(0o700).recursive(true).create(path.join("base/1")).unwrap();
        fs::write(path.join("base/1/2"), text).unwrap();
        fs::set_permissions(path.join("base/1/2"), fs::Permissions::from_mode(0o600)).unwrap();
        path.to_path_buf()
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path.join("base/1/2")).unwrap()
    }

    fn names(templates: &Templates) -> Vec<String> {
        let entries = fs::read_dir(&templates.folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    async fn copied(templates: &Templates, key: &str, target: &Path, made: &Path) -> String {
        let make = async { cluster(made, key) };
        templates.copy(key, target, make).await.unwrap();
        text(target)
    }

    async fn made_again() -> PathBuf {
        panic!("there is a template")
    }

    /// PostgreSQL starts on no data that others may read.
    #[tokio::test]
    async fn a_copy_has_the_bytes_and_permissions_of_its_template_and_is_made_once() {
        let (dir, templates) = templates();
        let (made, first) = (dir.path().join("made"), dir.path().join("first"));
        assert_eq!(copied(&templates, "key", &first, &made).await, "key");
        fs::write(first.join("base/1/2"), "written by a test").unwrap();
        fs::remove_dir_all(&made).unwrap();
        let second = dir.path().join("second");
        templates.copy("key", &second, made_again()).await.unwrap();
        assert_eq!(text(&second), "key", "what a test writes is not in the template");
        let mode = |name: &str| fs::metadata(second.join(name)).unwrap().mode() & 0o777;
        assert_eq!([mode(""), mode("base/1"), mode("base/1/2")], [0o700, 0o700, 0o600]);
    }

    /// Fault: a program is killed while it makes a template, or while it removes one.
    #[tokio::test]
    async fn what_a_killed_program_left_is_never_used() {
        let (dir, templates) = templates();
        cluster(&templates.folder.join(NEW), "half");
        cluster(&templates.folder.join(OLD), "half");
        let (made, target) = (dir.path().join("made"), dir.path().join("target"));
        assert_eq!(copied(&templates, "key", &target, &made).await, "key");
        assert_eq!(names(&templates), ["key", "lock"]);
    }

    /// Method: each has a lock of its own, as each program does.
    #[test]
    fn programs_that_start_together_make_one_template() {
        const PROGRAMS: usize = 4;
        let (dir, templates) = templates();
        let (makes, barrier) = (AtomicU32::new(0), Barrier::new(PROGRAMS));
        std::thread::scope(|scope| {
            for n in 0..PROGRAMS {
                let (templates, makes, barrier, dir) = (&templates, &makes, &barrier, dir.path());
                scope.spawn(move || {
                    let runtime =
                        tokio::runtime::Builder::new_current_thread().enable_time().build();
                    let make = async {
                        makes.fetch_add(1, Ordering::SeqCst);
                        cluster(&dir.join("made"), "one")
                    };
                    let target = dir.join(n.to_string());
                    barrier.wait();
                    let copied = templates.copy("key", &target, make);
                    runtime.unwrap().block_on(copied).unwrap();
                    assert_eq!(text(&target), "one");
                });
            }
        });
        assert_eq!(makes.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_new_template_replaces_the_oldest_one() {
        let (dir, templates) = templates();
        for n in 0..=KEPT {
            let (made, target) =
                (dir.path().join(format!("made{n}")), dir.path().join(n.to_string()));
            assert_eq!(
                copied(&templates, &format!("key{n}"), &target, &made).await,
                format!("key{n}")
            );
        }
        let names = names(&templates);
        assert_eq!(names.len(), KEPT + 1, "templates and the lock: {names:?}");
        assert!(names.contains(&format!("key{KEPT}")), "{names:?}");
    }
}
