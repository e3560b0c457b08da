//! Device memory under a budget.
//!
//! A block that is dropped goes back to a list and is handed out again without waiting: everything
//! runs in one stream, so whatever is queued on the old contents runs before what the next owner
//! queues. Memory returns to the driver only after the stream has been waited for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rollmill_algebra::device::DeviceError;

use crate::driver::Driver;
use crate::error::CudaError;

#[derive(Debug)]
pub(crate) struct Arena {
    driver: Arc<dyn Driver>,
    budget_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Blocks nobody uses, by size.
    idle: BTreeMap<u64, Vec<u64>>,
    /// Taken from the driver, in use or idle.
    held_bytes: u64,
    used_bytes: u64,
    peak_bytes: u64,
}

/// A piece of device memory. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Block {
    pointer: u64,
    size: u64,
    arena: Arc<Arena>,
}

impl Block {
    pub(crate) fn pointer(&self) -> u64 {
        self.pointer
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut state = self.arena.state();
        state.used_bytes -= self.size;
        state.idle.entry(self.size).or_default().push(self.pointer);
    }
}

/// Sizes come in eight steps for each power of two, so that blocks fit again and little is wasted.
pub(crate) fn rounded(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (1u64 << (bytes.ilog2() - 3)).max(256);
    bytes.div_ceil(step) * step
}

impl Arena {
    pub(crate) fn new(driver: Arc<dyn Driver>, budget_bytes: u64) -> Self {
        Self { driver, budget_bytes, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in use, the most there were, and the budget.
    pub(crate) fn usage(&self) -> (u64, u64, u64) {
        let state = self.state();
        (state.used_bytes, state.peak_bytes, self.budget_bytes)
    }

    /// Whether `bytes` more would fit, in one piece or in many.
    pub(crate) fn require(&self, operation: &'static str, bytes: u64) -> Result<(), DeviceError> {
        let free_bytes = self.budget_bytes - self.state().used_bytes;
        if bytes <= free_bytes {
            return Ok(());
        }
        Err(DeviceError::Memory { operation, needed_bytes: bytes, free_bytes })
    }

    /// Takes a block of at least `bytes`.
    pub(crate) fn take(
        self: &Arc<Self>,
        operation: &'static str,
        bytes: u64,
    ) -> Result<Block, DeviceError> {
        let size = rounded(bytes);
        let mut state = self.state();
        let idle = state.idle.get_mut(&size).and_then(Vec::pop);
        let pointer = match idle {
            Some(pointer) => pointer,
            None => self.take_new(operation, size, &mut state)?,
        };
        state.used_bytes += size;
        state.peak_bytes = state.peak_bytes.max(state.used_bytes);
        Ok(Block { pointer, size, arena: self.clone() })
    }

    fn take_new(
        &self,
        operation: &'static str,
        size: u64,
        state: &mut State,
    ) -> Result<u64, DeviceError> {
        let fail = |error: CudaError| error.during(operation, self.driver.device());
        if state.used_bytes + size > self.budget_bytes {
            let free_bytes = self.budget_bytes - state.used_bytes;
            return Err(DeviceError::Memory { operation, needed_bytes: size, free_bytes });
        }
        if state.held_bytes + size > self.budget_bytes {
            self.trim(state).map_err(fail)?;
        }
        let pointer = match self.driver.allocate(size) {
            Err(CudaError::Memory { .. }) if !state.idle.is_empty() => {
                self.trim(state).map_err(fail)?;
                self.driver.allocate(size)
            }
            outcome => outcome,
        };
        let pointer = pointer.map_err(fail)?;
        state.held_bytes += size;
        Ok(pointer)
    }

    /// Gives idle blocks back to the driver, once nothing queued can touch them.
    fn trim(&self, state: &mut State) -> Result<(), CudaError> {
        self.driver.synchronize()?;
        for (size, pointers) in std::mem::take(&mut state.idle) {
            for pointer in pointers {
                state.held_bytes -= size;
                self.driver.release(pointer)?;
            }
        }
        Ok(())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let mut state = std::mem::take(&mut *self.state());
        // The device is going away: a failure here has nobody left to tell.
        let _ = self.trim(&mut state);
    }
}
