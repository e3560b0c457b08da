//! Checks of what a process needs, run at startup and by its subcommand `check`.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use rollmill_errors::{is_coded, one_line};

use crate::error::{Error, is_usage};
use crate::{Backoff, Conditions, Retry, Shutdown};

/// Pause between two attempts of a check whose requirement is absent.
const RETRY: Duration = Duration::from_secs(1);

/// The result of a check. Each text is one sentence without a full stop; `todo` says what the operator
/// can do, and is empty if `why` says it already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The requirement is met; the text says what was found.
    Ok(String),
    /// The requirement is absent and may appear without intervention. The process starts nevertheless,
    /// or waits for it if it cannot start without it ([`Preflight::needed`]).
    Absent { why: String, todo: String },
    /// An operator must act. The process does not start.
    Wrong { why: String, todo: String },
    /// A setting is wrong by itself. The process does not start and exits with 2.
    Setting { why: String, todo: String },
}

impl Finding {
    /// [`Self::Absent`] with the text of `error`.
    pub fn absent(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Absent { why: one_line(error), todo: String::new() }
    }

    /// [`Self::Wrong`] with the text of `error`; [`Self::Setting`] if it is a usage error
    /// ([`crate::Service::usage`]).
    pub fn wrong(error: &(dyn std::error::Error + 'static)) -> Self {
        let (why, todo) = (one_line(error), String::new());
        match is_usage(error) {
            true => Self::Setting { why, todo },
            false => Self::Wrong { why, todo },
        }
    }

    /// The finding with this remedy.
    pub fn todo(self, text: impl Into<String>) -> Self {
        match self {
            Self::Ok(found) => Self::Ok(found),
            Self::Absent { why, .. } => Self::Absent { why, todo: text.into() },
            Self::Wrong { why, .. } => Self::Wrong { why, todo: text.into() },
            Self::Setting { why, .. } => Self::Setting { why, todo: text.into() },
        }
    }

    /// Whether a directory can be written, or created if it is missing. Leaves no files behind.
    pub fn of_directory(path: &Path, setting: &str) -> Self {
        let wrong = |why: String| Self::Wrong { why, todo: format!("The setting is {setting}") };
        let shown = path.display();
        let absolute = match std::path::absolute(path) {
            Ok(absolute) => absolute,
            Err(error) => return wrong(format!("cannot use {shown}: {error}")),
        };
        // The nearest directory that exists decides.
        let Some(existing) = absolute.ancestors().find(|above| above.exists()) else {
            return wrong(format!("no directory above {shown} exists"));
        };
        let probe = existing.join(format!(".rollmill-check-{}", std::process::id()));
        let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&probe);
        match made {
            Ok(_) => {
                // The empty file is not needed; removing it is best effort.
                std::fs::remove_file(&probe).ok();
                let missing = if existing == absolute { "" } else { ", made at the first start" };
                Self::Ok(format!("{shown}{missing}"))
            }
            Err(error) => wrong(format!("cannot write in {}: {error}", existing.display())),
        }
    }
}

fn log_absent(absent: &[(&Check, String)], repeated: u64) {
    for (check, error) in absent {
        let (check, waits) = (check.name, check.is_needed);
        tracing::warn!(check, error, waits, repeated, "check failed");
    }
}

/// A reason and its remedy as text.
fn text(why: &str, todo: &str) -> String {
    match todo {
        "" => why.to_owned(),
        _ if why.ends_with(['.', '?', '!']) => format!("{why} {todo}"),
        _ => format!("{why}. {todo}"),
    }
}

type Run = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Finding> + Send>> + Send + Sync>;

struct Check {
    name: &'static str,
    is_needed: bool,
    run: Run,
}

/// Named checks, run one after the other. A check must end by its own deadline.
pub struct Preflight {
    checks: Vec<Check>,
    /// Pause between two attempts of a check whose requirement is absent.
    retry: Duration,
}

impl Default for Preflight {
    fn default() -> Self {
        Self { checks: Vec::new(), retry: RETRY }
    }
}

impl std::fmt::Debug for Preflight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.checks.iter().map(|check| check.name).collect();
        f.debug_struct("Preflight").field("checks", &names).finish()
    }
}

impl Preflight {
    /// No checks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check. It may run several times.
    pub fn check<F, R>(self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Finding> + Send + 'static,
    {
        self.add(name, false, check)
    }

    /// Adds a check of something without which the process cannot start: while it is absent, the server
    /// waits for it, and `/ready` names it.
    pub fn needed<F, R>(self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Finding> + Send + 'static,
    {
        self.add(name, true, check)
    }

    fn add<F, R>(mut self, name: &'static str, is_needed: bool, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Finding> + Send + 'static,
    {
        let run: Run = Box::new(move || Box::pin(check()));
        self.checks.push(Check { name, is_needed, run });
        self
    }

    /// Runs the checks at the start of a server. A wrong requirement is an error; an absent one is
    /// logged, and waited for if it is needed. Returns false if `shutdown` starts meanwhile.
    pub(crate) async fn at_start(
        &self,
        conditions: &Conditions,
        shutdown: &Shutdown,
    ) -> Result<bool, Error> {
        let started = Instant::now();
        let mut open: Vec<&Check> = self.checks.iter().collect();
        let (mut retry, mut is_first) = (Retry::steady(self.retry), true);
        loop {
            let (mut wrong, mut absent, mut is_usage) = (Vec::new(), Vec::new(), false);
            for check in open {
                let finding = tokio::select! {
                    finding = (check.run)() => finding,
                    () = shutdown.started() => return Ok(false),
                };
                match finding {
                    Finding::Ok(found) => {
                        tracing::debug!(check = check.name, found, "check passed");
                        if !is_first && check.is_needed {
                            let wait_seconds = started.elapsed().as_secs_f64();
                            tracing::info!(check = check.name, wait_seconds, "requirement met");
                            conditions.remove(check.name);
                        }
                    }
                    Finding::Absent { why, todo } => {
                        if check.is_needed {
                            conditions.set(check.name, Err(why.clone()));
                        }
                        absent.push((check, text(&why, &todo)));
                    }
                    Finding::Wrong { why, todo } => wrong.push((check.name, text(&why, &todo))),
                    Finding::Setting { why, todo } => {
                        is_usage = true;
                        wrong.push((check.name, text(&why, &todo)));
                    }
                }
            }
            let is_over = !wrong.is_empty() || !absent.iter().any(|(check, _)| check.is_needed);
            if is_first && is_over {
                log_absent(&absent, 0);
            }
            if !wrong.is_empty() {
                return Err(failed(wrong, is_usage));
            }
            if is_over {
                return Ok(true);
            }
            retry.failed(shutdown.started(), |again| log_absent(&absent, again.repeated)).await;
            if shutdown.is_started() {
                return Ok(false);
            }
            (open, is_first) = (absent.into_iter().map(|(check, _)| check).collect(), false);
        }
    }

    async fn findings(&self) -> Vec<(&'static str, Finding)> {
        let mut findings = Vec::with_capacity(self.checks.len());
        for check in &self.checks {
            findings.push((check.name, (check.run)().await));
        }
        findings
    }

    /// The subcommand `check`: prints one line per check. With `wait`, retries about once a second
    /// until all pass, one is wrong, or the time is over.
    pub(crate) async fn report(&self, wait: Option<Duration>) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + wait.unwrap_or_default();
        let mut pauses = Backoff::steady(RETRY);
        loop {
            let findings = self.findings().await;
            let absent = findings.iter().any(|(_, f)| matches!(f, Finding::Absent { .. }));
            let wrong = |f: &Finding| matches!(f, Finding::Wrong { .. } | Finding::Setting { .. });
            let wrong = findings.iter().any(|(_, finding)| wrong(finding));
            let next = tokio::time::Instant::now() + pauses.pause();
            if absent && !wrong && next <= deadline {
                tokio::time::sleep_until(next).await;
                continue;
            }
            let mut failed = Vec::new();
            for (name, finding) in findings {
                match finding {
                    Finding::Ok(found) => println!("ok      {name}: {found}"),
                    Finding::Absent { why, todo }
                    | Finding::Wrong { why, todo }
                    | Finding::Setting { why, todo } => {
                        println!("failed  {name}: {}", text(&why, &todo));
                        failed.push(name);
                    }
                }
            }
            return match failed.is_empty() {
                true => Ok(()),
                false => {
                    let message = format!("failed: {}", failed.join(", "));
                    Err(Error::Preflight { message, is_usage: false })
                }
            };
        }
    }
}

/// A single failure is returned itself; several are logged separately, so that no line has two codes.
fn failed(mut wrong: Vec<(&'static str, String)>, is_usage: bool) -> Error {
    if let [(name, text)] = wrong.as_mut_slice() {
        let text = std::mem::take(text);
        let message = if is_coded(&text) { text } else { format!("{name}: {text}") };
        return Error::Preflight { message, is_usage };
    }
    for (name, text) in &wrong {
        tracing::error!(check = name, error = text, "check failed");
    }
    let names: Vec<&str> = wrong.iter().map(|(name, _)| *name).collect();
    let message = format!("{} checks failed, see the log: {}", names.len(), names.join(", "));
    Error::Preflight { message, is_usage }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn wrong(why: &str) -> Finding {
        Finding::Wrong { why: why.to_owned(), todo: "set --x".to_owned() }
    }

    fn with(preflight: Preflight, name: &'static str, finding: Finding) -> Preflight {
        preflight.check(name, move || std::future::ready(finding.clone()))
    }

    async fn start(preflight: &Preflight) -> Result<bool, Error> {
        preflight.at_start(&Conditions::default(), &Shutdown::new()).await
    }

    #[tokio::test]
    async fn what_is_wrong_ends_the_start_with_one_code_and_what_is_absent_does_not() {
        let fine = with(Preflight::new(), "fine", Finding::Ok("all".into()));
        let absent = Finding::Absent { why: "no".into(), todo: String::new() };
        let fine = with(fine, "absent", absent);
        assert!(start(&fine).await.unwrap());
        assert!(fine.report(None).await.is_err(), "the subcommand fails");
        let one = with(fine, "one", wrong("X1-003: it is so"));
        let error = start(&one).await.unwrap_err();
        assert_eq!(error.to_string(), "X1-003: it is so. set --x");
        let two = with(one, "two", wrong("it is so"));
        let error = start(&two).await.unwrap_err().to_string();
        assert_eq!(error, "SVC-010: 2 checks failed, see the log: one, two");
        assert_eq!(text("is it running?", "Start it"), "is it running? Start it");
        let alone = with(Preflight::new(), "two", wrong("it is so"));
        let error = start(&alone).await.unwrap_err();
        assert_eq!(error.to_string(), "SVC-010: two: it is so. set --x");
        assert_eq!(error.exit_code(), 1);
    }

    /// One wrong setting decides the exit code, whatever else fails.
    #[tokio::test]
    async fn a_wrong_setting_ends_the_start_with_2_and_the_subcommand_with_1() {
        let usage = Error::Usage { message: "no".into() };
        let setting = Finding::wrong(&usage).todo("set --x");
        assert!(matches!(setting, Finding::Setting { .. }), "{setting:?}");
        let checks = with(with(Preflight::new(), "one", wrong("it is so")), "two", setting);
        assert_eq!(start(&checks).await.unwrap_err().exit_code(), 2);
        assert_eq!(checks.report(None).await.unwrap_err().exit_code(), 1);
    }

    /// No checks, and no pause between attempts.
    fn at_once() -> Preflight {
        Preflight { retry: Duration::ZERO, ..Preflight::new() }
    }

    #[tokio::test]
    async fn a_start_waits_for_what_it_needs_and_names_it_until_then() {
        let (runs, others) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, other) = (Arc::clone(&runs), Arc::clone(&others));
        let conditions = Conditions::default();
        let seen = conditions.clone();
        let preflight = at_once()
            .check("other", move || {
                other.fetch_add(1, Ordering::Relaxed);
                std::future::ready(Finding::Ok(String::new()))
            })
            .needed("l1", move || {
                let run = counted.fetch_add(1, Ordering::Relaxed);
                assert_eq!(seen.failing().len(), usize::from(run > 0));
                std::future::ready(match run {
                    0..3 => Finding::Absent { why: "silent".into(), todo: String::new() },
                    _ => Finding::Ok(String::new()),
                })
            });
        assert!(preflight.at_start(&conditions, &Shutdown::new()).await.unwrap());
        assert_eq!(runs.load(Ordering::Relaxed), 4);
        assert_eq!(others.load(Ordering::Relaxed), 1, "what passed is not asked again");
        assert!(conditions.failing().is_empty());
    }

    #[tokio::test]
    async fn a_signal_ends_the_wait() {
        let shutdown = Shutdown::new();
        let (stop, tries) = (shutdown.clone(), AtomicUsize::new(0));
        let preflight = at_once().needed("l1", move || {
            if tries.fetch_add(1, Ordering::Relaxed) == 2 {
                stop.start();
            }
            std::future::ready(Finding::Absent { why: "silent".into(), todo: String::new() })
        });
        assert!(!preflight.at_start(&Conditions::default(), &shutdown).await.unwrap());
    }

    #[test]
    fn a_directory_that_can_be_made_is_fine_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let found = Finding::of_directory(&folder.path().join("a/b"), "--data-dir");
        assert!(matches!(&found, Finding::Ok(text) if text.contains("made at")), "{found:?}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let found = Finding::of_directory(&file.join("b"), "--data-dir");
        assert!(
            matches!(&found, Finding::Wrong { todo, .. } if todo == "The setting is --data-dir")
        );
    }
}
