//! Checks of what a process needs, run at its start and by its subcommand `check`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use crate::error::Error;

/// What a check found. Each text is one sentence; `todo` says what the operator can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// All is well, with what was found.
    Ok(String),
    /// It is not there now and may come by itself. The process starts all the same and waits.
    Absent { why: String, todo: String },
    /// It cannot become right by itself. The process does not start.
    Wrong { why: String, todo: String },
}

type Check = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Finding> + Send>> + Send + Sync>;

/// Named checks, run one after the other. A check must end by its own deadline.
#[derive(Default)]
pub struct Preflight {
    checks: Vec<(&'static str, Check)>,
}

impl std::fmt::Debug for Preflight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.checks.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Preflight").field("checks", &names).finish()
    }
}

impl Preflight {
    /// No checks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check. It may run several times.
    pub fn check<F, R>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Finding> + Send + 'static,
    {
        self.checks.push((name, Box::new(move || Box::pin(check()))));
        self
    }

    async fn findings(&self) -> Vec<(&'static str, Finding)> {
        let mut findings = Vec::with_capacity(self.checks.len());
        for (name, check) in &self.checks {
            findings.push((*name, check().await));
        }
        findings
    }

    /// At the start of a server: what is wrong ends it, what is absent is logged.
    pub(crate) async fn at_start(&self) -> Result<(), Error> {
        let mut wrong = Vec::new();
        for (name, finding) in self.findings().await {
            match finding {
                Finding::Ok(found) => tracing::debug!(check = name, found, "check passed"),
                Finding::Absent { why, todo } => {
                    tracing::warn!(
                        check = name,
                        reason = why,
                        todo,
                        "check failed; waiting for it"
                    );
                }
                Finding::Wrong { why, todo } => wrong.push(format!("{name}: {why}. {todo}")),
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(Error::Preflight { message: wrong.join("; ") }) }
    }

    /// The subcommand `check`: one line each. With `wait`, tries again each second until all pass, one
    /// is wrong, or the time is over.
    pub(crate) async fn report(&self, wait: Option<Duration>) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + wait.unwrap_or_default();
        loop {
            let findings = self.findings().await;
            let absent = findings.iter().any(|(_, f)| matches!(f, Finding::Absent { .. }));
            let wrong = findings.iter().any(|(_, f)| matches!(f, Finding::Wrong { .. }));
            let next = tokio::time::Instant::now() + Duration::from_secs(1);
            if absent && !wrong && next <= deadline {
                tokio::time::sleep_until(next).await;
                continue;
            }
            let mut failed = Vec::new();
            for (name, finding) in findings {
                match finding {
                    Finding::Ok(found) => println!("ok      {name}: {found}"),
                    Finding::Absent { why, todo } | Finding::Wrong { why, todo } => {
                        println!("failed  {name}: {why}. {todo}");
                        failed.push(name);
                    }
                }
            }
            return match failed.is_empty() {
                true => Ok(()),
                false => {
                    Err(Error::Preflight { message: format!("failed: {}", failed.join(", ")) })
                }
            };
        }
    }
}
