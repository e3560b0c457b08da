//! Named places where a fault test kills this process, hangs a task or makes a step fail.
//!
//! `ROLLMILL_FAILPOINT=l1.after_send` kills the process there as SIGKILL would; `l1.after_send:hang`
//! stops the task there forever; `l1.after_send:error` makes the step fail where it can;
//! `l1.after_send:kill@3` acts on the third pass and not on the first two. Several, separated by
//! commas, are independent. Without the feature `failpoints` the macros compile to nothing.

use parking_lot::Mutex;

/// The variable that arms failpoints.
pub const VARIABLE: &str = "ROLLMILL_FAILPOINT";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Kill,
    Hang,
    Error,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Armed {
    name: String,
    action: Action,
    /// Passes until it triggers; 1 means at the next pass, 0 that it has triggered.
    left: u64,
}

/// `None` until the variable was read or [`arm`] was called.
static ARMED: Mutex<Option<Vec<Armed>>> = Mutex::new(None);

fn parse(text: &str) -> Result<Vec<Armed>, String> {
    let mut out = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (rest, left) = match item.split_once('@') {
            Some((rest, n)) => (
                rest,
                n.parse().ok().filter(|n| *n > 0).ok_or(format!("{item}: @N counts from 1"))?,
            ),
            None => (item, 1),
        };
        let (name, action) = match rest.split_once(':') {
            None | Some((_, "kill")) => (rest.trim_end_matches(":kill"), Action::Kill),
            Some((name, "hang")) => (name, Action::Hang),
            Some((name, "error")) => (name, Action::Error),
            Some(_) => {
                return Err(format!("{item}: kill, hang or error is expected after the colon"));
            }
        };
        out.push(Armed { name: name.to_owned(), action, left });
    }
    Ok(out)
}

/// Arms failpoints of this process, in place of those armed before. The text is that of
/// [`VARIABLE`]; an empty one disarms.
///
/// # Errors
/// What is wrong with the text.
pub fn arm(text: &str) -> Result<(), String> {
    *ARMED.lock() = Some(parse(text)?);
    Ok(())
}

fn reached(name: &str) -> Option<Action> {
    let mut armed = ARMED.lock();
    let armed = armed.get_or_insert_with(|| {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        parse(&text).unwrap_or_else(|error| {
            // A test that arms nothing because of a typo would pass for the wrong reason.
            tracing::error!(%error, "failpoint variable not readable");
            std::process::exit(2)
        })
    });
    let armed = armed.iter_mut().find(|armed| armed.name == name && armed.left > 0)?;
    armed.left -= 1;
    (armed.left == 0).then_some(armed.action)
}

fn act(name: &'static str, action: Action) {
    tracing::warn!(failpoint = name, ?action, "failpoint reached");
    if action == Action::Kill {
        // SIGKILL, so that nothing is flushed, dropped or unlocked by this process itself.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Passes the failpoint `name`. True when the step must fail. Use [`crate::failpoint`].
pub async fn pass(name: &'static str) -> bool {
    let Some(action) = reached(name) else { return false };
    act(name, action);
    if action == Action::Hang {
        std::future::pending::<()>().await;
    }
    action == Action::Error
}

/// As [`pass`], for code that is not async: a hang blocks the thread.
pub fn pass_blocking(name: &'static str) -> bool {
    let Some(action) = reached(name) else { return false };
    act(name, action);
    if action == Action::Hang {
        loop {
            std::thread::park();
        }
    }
    action == Action::Error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failpoint_is_named_with_an_action_and_a_count() {
        let one = |name: &str, action, left| vec![Armed { name: name.into(), action, left }];
        assert_eq!(parse("a.b").unwrap(), one("a.b", Action::Kill, 1));
        assert_eq!(parse("a.b:kill@2").unwrap(), one("a.b", Action::Kill, 2));
        assert_eq!(parse("a.b:hang").unwrap(), one("a.b", Action::Hang, 1));
        assert_eq!(parse(" a:error , b@3 ").unwrap().len(), 2);
        assert!(parse("").unwrap().is_empty());
        for wrong in ["a:die", "a@0", "a@x", "a:kill@"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_armed_failpoint_acts_once_at_its_pass() {
        arm("step:error@2").unwrap();
        let mut passes = Vec::new();
        for _ in 0..3 {
            passes.push(pass("step").await);
            assert!(!pass_blocking("other"));
        }
        assert_eq!(passes, [false, true, false]);
        async fn step() -> Result<u8, String> {
            crate::failpoint!("fails", "as armed".to_owned());
            Ok(1)
        }
        arm("fails:error").unwrap();
        assert_eq!(step().await, Err("as armed".to_owned()));
        assert_eq!(step().await, Ok(1));
        arm("").unwrap();
    }
}
