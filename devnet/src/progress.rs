//! The output of a run: one line per event, and on a terminal a status line at the bottom that says
//! what the run waits for.

use std::io::{IsTerminal, Write};
use std::time::Instant;

/// Where the lines go. Tests pass a buffer.
pub struct Progress {
    out: Box<dyn Write>,
    terminal: bool,
    started: Instant,
    status: String,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("terminal", &self.terminal).finish_non_exhaustive()
    }
}

/// Goes back to the start of the line and clears it.
const CLEAR: &str = "\r\x1b[K";

impl Progress {
    /// Lines on standard output; a status line only when that is a terminal.
    pub fn standard() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self::to(Box::new(std::io::stdout()), terminal)
    }

    /// Lines to `out`.
    pub fn to(out: Box<dyn Write>, terminal: bool) -> Self {
        Self { out, terminal, started: Instant::now(), status: String::new() }
    }

    /// Shows an event, with the seconds since the start.
    pub fn line(&mut self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        let clear = if self.status.is_empty() { "" } else { CLEAR };
        // A closed pipe (`| head`) must not prevent the network's graceful shutdown.
        let _ = writeln!(self.out, "{clear}[{seconds:7.1} s] {text}");
        self.show_status();
    }

    /// Prints text unchanged, without a time.
    pub fn block(&mut self, text: &str) {
        self.status(String::new());
        let _ = write!(self.out, "{text}");
        let _ = self.out.flush();
    }

    /// Replaces the status line; empty text removes it. Does nothing without a terminal.
    pub fn status(&mut self, text: String) {
        if !self.terminal || text == self.status {
            return;
        }
        let _ = write!(self.out, "{CLEAR}");
        self.status = text;
        self.show_status();
    }

    fn show_status(&mut self) {
        if self.terminal && !self.status.is_empty() {
            // Truncated, since a line that wraps cannot be cleared.
            let text: String = self.status.chars().take(78).collect();
            let _ = write!(self.out, "{text}");
        }
        let _ = self.out.flush();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.status(String::new());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn shown(terminal: bool) -> String {
        let buffer = Buffer::default();
        let mut progress = Progress::to(Box::new(buffer.clone()), terminal);
        progress.status("1 of 2".into());
        progress.line("tx_base done");
        drop(progress);
        let bytes = buffer.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn without_a_terminal_there_are_plain_lines_only() {
        let text = shown(false);
        assert!(text.ends_with("s] tx_base done\n"), "{text:?}");
        assert!(!text.contains('\x1b') && !text.contains("1 of 2"), "{text:?}");
    }

    #[test]
    fn on_a_terminal_the_status_stays_below_the_lines_and_is_removed_at_the_end() {
        let text = shown(true);
        assert!(text.contains("tx_base done\n1 of 2"), "{text:?}");
        assert!(text.ends_with(CLEAR), "{text:?}");
    }
}
