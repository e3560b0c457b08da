//! Named places where a fault test may end or stop this process.
//!
//! `ROLLMILL_FAILPOINT=agent.after_upload` kills it there as SIGKILL would, before anything else
//! happens; `agent.after_upload=hang` stops the job there while heartbeats go on.

use std::sync::OnceLock;

/// The variable that switches a failpoint on.
pub const VARIABLE: &str = "ROLLMILL_FAILPOINT";

/// Every failpoint there is, in the order an agent passes them.
pub const ALL: &[&str] = &[
    "agent.before_claim",
    "agent.after_claim",
    "agent.after_fetch",
    "agent.after_spool",
    "agent.before_upload",
    "agent.after_upload",
    "agent.after_report",
];

static ARMED: OnceLock<Option<(String, bool)>> = OnceLock::new();

/// Passes the failpoint `name`, unless it is switched on.
pub async fn pass(name: &'static str) {
    debug_assert!(ALL.contains(&name), "{name} is not listed");
    let armed = ARMED.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, action) = text.split_once('=').unwrap_or((&text, "kill"));
        Some((name.to_owned(), action == "hang"))
    });
    match armed {
        Some((armed, hang)) if armed == name => {
            tracing::warn!(name, hang, "failpoint");
            if *hang {
                std::future::pending::<()>().await;
            }
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
        }
        _ => {}
    }
}
