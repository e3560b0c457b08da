//! Free ports on the loopback address.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::Error;

/// Below the range from which systems take ports for outgoing connections, so that no connection
/// can take a port between the moment it is found free and the moment its process binds it.
const FIRST: u16 = 20_000;
const LAST: u16 = 29_999;

/// Returns unused ports, each once.
#[derive(Debug)]
pub struct Ports {
    next: u16,
    given: BTreeSet<u16>,
}

impl Ports {
    /// Starts the search at a place that depends on `start`, so that networks which come up at the
    /// same time do not try the same ports in the same order.
    pub fn new(start: u32) -> Self {
        let span = u32::from(LAST - FIRST + 1);
        // The remainder is below 10,000.
        let offset = (start.wrapping_mul(2_654_435_761) % span) as u16;
        Self { next: FIRST + offset, given: BTreeSet::new() }
    }

    /// An unused address on 127.0.0.1.
    ///
    /// # Errors
    /// [`Error::NoPort`] when the whole range is taken.
    pub fn free(&mut self) -> Result<SocketAddr, Error> {
        for _ in FIRST..=LAST {
            let port = self.next;
            self.next = if port == LAST { FIRST } else { port + 1 };
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            if !self.given.contains(&port) && TcpListener::bind(address).is_ok() {
                self.given.insert(port);
                return Ok(address);
            }
        }
        Err(Error::NoPort { first: FIRST, last: LAST })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_handed_out_once() {
        let mut ports = Ports::new(7);
        let first = ports.free().unwrap();
        let second = ports.free().unwrap();
        assert_ne!(first, second);
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let start = std::process::id();
        let taken = Ports::new(start).free().unwrap();
        let _listener = TcpListener::bind(taken).unwrap();
        assert_ne!(Ports::new(start).free().unwrap(), taken);
    }

    #[test]
    fn the_search_wraps_around_at_the_end_of_the_range() {
        let mut ports = Ports { next: LAST, given: BTreeSet::from([LAST]) };
        assert!(ports.free().unwrap().port() < LAST);
    }
}
