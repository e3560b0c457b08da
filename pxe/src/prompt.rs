//! Asks for secrets on the terminal, without showing them.

use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use rollmill_pxe::error::PxeError;
use rollmill_pxe_store::Zeroizing;

/// Bytes of the longest line that is read. Room for all of them is taken at once, so that none is left behind in
/// memory when it grows.
const LENGTH_MAX: usize = 4096;

/// Asks for a secret; `None` when standard input is no terminal, so that nobody can be asked.
pub(crate) fn secret(question: &str) -> Result<Option<Zeroizing<String>>, PxeError> {
    let terminal = std::io::stdin();
    if !terminal.is_terminal() {
        return Ok(None);
    }
    eprint!("{question}: ");
    let silence = Silence::of(&terminal);
    let entered = line(terminal.lock().bytes());
    drop(silence);
    eprintln!();
    entered.map(Some)
}

/// Asks for a new secret twice.
pub(crate) fn new_secret(question: &str) -> Result<Option<Zeroizing<String>>, PxeError> {
    let Some(first) = secret(question)? else { return Ok(None) };
    match secret(&format!("{question}, again"))? {
        Some(second) if *second == *first => Ok(Some(first)),
        _ => Err(PxeError::PasswordsDiffer),
    }
}

/// While it lives, a terminal shows nothing of what is typed, passes on each key at once, and raises no signals, so
/// that a key that would end the process cannot leave the terminal silent.
struct Silence<'t, T: AsFd> {
    terminal: &'t T,
    before: Termios,
}

impl<'t, T: AsFd> Silence<'t, T> {
    /// `None` when the terminal cannot be changed; it then shows what is typed.
    fn of(terminal: &'t T) -> Option<Self> {
        let before = tcgetattr(terminal).ok()?;
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(terminal, SetArg::TCSADRAIN, &silent).ok()?;
        Some(Self { terminal, before })
    }
}

impl<T: AsFd> Drop for Silence<'_, T> {
    fn drop(&mut self) {
        // There is nothing else to try.
        let _ = tcsetattr(self.terminal, SetArg::TCSADRAIN, &self.before);
    }
}

/// Reads a line key by key. Backspace takes the last character back, Ctrl-U all of them; Ctrl-C, Ctrl-D and the end of
/// the input give up.
fn line(keys: impl Iterator<Item = std::io::Result<u8>>) -> Result<Zeroizing<String>, PxeError> {
    let mut bytes: Zeroizing<Vec<u8>> = Zeroizing::new(Vec::with_capacity(LENGTH_MAX));
    for key in keys {
        match key.map_err(|_| PxeError::NotEntered)? {
            b'\r' | b'\n' => {
                let entered = String::from_utf8(std::mem::take(&mut *bytes));
                let entered = entered.map_err(|_| PxeError::NotEntered)?;
                return match entered.is_empty() {
                    true => Err(PxeError::NotEntered),
                    false => Ok(Zeroizing::new(entered)),
                };
            }
            // Ctrl-C and Ctrl-D.
            0x03 | 0x04 => return Err(PxeError::NotEntered),
            0x08 | 0x7f => {
                // The bytes of a character that continue it, and its first one.
                while bytes.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            // Ctrl-U.
            0x15 => bytes.clear(),
            _ if bytes.len() == LENGTH_MAX => return Err(PxeError::NotEntered),
            key => bytes.push(key),
        }
    }
    Err(PxeError::NotEntered)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::pty::{Winsize, openpty};

    use super::*;

    fn typed(keys: &[u8]) -> Option<String> {
        line(keys.iter().map(|key| Ok(*key))).ok().map(|entered| entered.to_string())
    }

    #[test]
    fn a_line_can_be_corrected_and_given_up() {
        assert_eq!(typed(b"correct horse\n").as_deref(), Some("correct horse"));
        assert_eq!(typed(b"horsee\x7f\r").as_deref(), Some("horse"));
        assert_eq!(typed("café\u{7f}e\n".as_bytes()).as_deref(), Some("cafe"));
        assert_eq!(typed(b"\x7f\x7fa\x08b\n").as_deref(), Some("b"));
        assert_eq!(typed(b"wrong\x15right\n").as_deref(), Some("right"));
        for given_up in [&b"abc\x03"[..], b"abc\x04", b"abc", b"\n", b"\xff\n"] {
            assert_eq!(typed(given_up), None, "{given_up:?}");
        }
        assert_eq!(
            typed(&[vec![b'a'; LENGTH_MAX], vec![b'\n']].concat()).map(|t| t.len()),
            Some(LENGTH_MAX)
        );
        assert_eq!(typed(&[b'a'; LENGTH_MAX + 1]), None);
    }

    /// Goal: a terminal shows nothing while a secret is typed, and is as before afterwards, also after giving up.
    #[test]
    fn a_terminal_is_silent_for_as_long_as_a_secret_is_typed() {
        let pty = openpty(None::<&Winsize>, None::<&Termios>).expect("a terminal");
        let mut keyboard = std::fs::File::from(pty.master);
        let terminal = std::fs::File::from(pty.slave);
        let flags = || tcgetattr(&terminal).expect("a terminal").local_flags;
        let before = flags();
        assert!(before.contains(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG));
        for (keys, expected) in [(&b"hunter2\n"[..], Some("hunter2")), (&b"hun\x03"[..], None)] {
            let silence = Silence::of(&terminal).expect("silent");
            let shown = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
            assert!(!flags().intersects(shown));
            keyboard.write_all(keys).expect("typed");
            let entered = line(std::io::BufReader::new(&terminal).bytes())
                .ok()
                .map(|entered| entered.to_string());
            assert_eq!(entered.as_deref(), expected);
            drop(silence);
            assert_eq!(flags(), before);
        }
    }
}
