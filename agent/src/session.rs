//! Where the agent is installed, and its session with the broker.
//!
//! A session is one start of the agent. A broker that is informed of a new one by the same installation returns to the queue
//! at once what the one before held. It rejects another installation under the same identity while the first is alive.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rollmill_broker_client::{Installation, SessionId};

/// Name of the file in the cache.
const FILE: &str = "agent.installation";

/// The name of this installation, from its file, which is made where it is missing. [`None`], with a warning, where the
/// file cannot be used: the agent then works without sessions.
pub fn installation(file: Option<&Path>) -> Option<Installation> {
    let path = file.map_or_else(default_file, Path::to_owned);
    match read_or_make(&path) {
        Ok(installation) => Some(installation),
        Err(error) => {
            let (path, error) = (path.display(), rollmill_errors::InWords(&error).to_string());
            tracing::warn!(%path, error, "no installation file; a restart waits for its old leases");
            None
        }
    }
}

fn default_file() -> PathBuf {
    let keys = rollmill_circuits::store::cache_dir(None);
    // Beside the keys, which can be copied from machine to machine.
    keys.parent().map_or_else(|| PathBuf::from(FILE), |cache| cache.join(FILE))
}

fn read_or_make(path: &Path) -> io::Result<Installation> {
    let read = || {
        let text = std::fs::read_to_string(path)?;
        let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "it holds no installation");
        text.trim().parse().map_err(wrong)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        done => return done,
    }
    rollmill_files::make_folder_of(path)?;
    // Whole or not at all, so that an agent that starts beside this one reads no part of it.
    let made = Installation::random();
    let draft = path.with_extension(made.as_str());
    let mut file = OpenOptions::new().write(true).create_new(true).open(&draft)?;
    file.write_all(made.as_str().as_bytes())?;
    file.sync_all()?;
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft)?;
    match linked {
        // The other one was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(),
        Err(error) => Err(error),
        Ok(()) => rollmill_files::sync_folder_of(path).map(|()| made),
    }
}

/// A session to open.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) installation: Installation,
    pub(crate) replaces: Option<SessionId>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<SessionId>,
    /// The one before.
    ended: Option<SessionId>,
}

/// The agent's session.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    /// [`None`] for an agent without sessions.
    installation: Mutex<Option<Installation>>,
    state: Mutex<State>,
}

impl Sessions {
    pub(crate) fn of(installation: Option<Installation>) -> Self {
        Self { installation: Mutex::new(installation), state: Mutex::default() }
    }

    /// The session to open before the next claim; [`None`] where one is open, or none can be.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let state = self.state.lock();
        if state.current.is_some() {
            return None;
        }
        let installation = self.installation.lock().clone()?;
        Some(Wanted { installation, replaces: state.ended.clone() })
    }

    /// The session that is open.
    pub(crate) fn current(&self) -> Option<SessionId> {
        self.state.lock().current.clone()
    }

    pub(crate) fn opened(&self, session: SessionId) {
        self.state.lock().current = Some(session);
    }

    /// The broker no longer knows the session.
    pub(crate) fn ended(&self) {
        let mut state = self.state.lock();
        if let Some(session) = state.current.take() {
            state.ended = Some(session);
        }
    }

    /// No more sessions; returns whether there were any.
    pub(crate) fn give_up(&self) -> bool {
        self.state.lock().current = None;
        self.installation.lock().take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/agent.installation");
        let first = installation(Some(&path)).unwrap();
        assert_eq!(installation(Some(&path)), Some(first));
        let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "no draft stays");
        std::fs::write(&path, "no name\n\n of one").unwrap();
        assert_eq!(installation(Some(&path)), None);
    }

    #[test]
    fn a_session_that_ended_is_named_when_the_next_is_opened() {
        let sessions = Sessions::of(Some(Installation::random()));
        assert!(sessions.wanted().unwrap().replaces.is_none());
        let session = SessionId::random();
        sessions.opened(session.clone());
        assert!(sessions.wanted().is_none());
        sessions.ended();
        assert_eq!(
            (sessions.wanted().unwrap().replaces, sessions.current()),
            (Some(session), None)
        );
        assert!(sessions.give_up() && sessions.wanted().is_none() && !sessions.give_up());
        assert!(Sessions::default().wanted().is_none());
    }
}
