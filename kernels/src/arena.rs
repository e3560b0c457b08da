//! Device memory under a budget.
//!
//! A dropped block goes to a free list with its uses ([`crate::order`]) and is reused without waiting on the
//! host: the stream that writes to it first waits for them. Where no block of a size is free, one that is up to a
//! quarter larger is used. Memory returns to the driver block by block, only where it is needed for another size, after
//! the uses of that block have ended, and while others go on allocating.
//!
//! Every block is charged to an account: that of the session that allocated it, or the common one. Memory
//! that a session requests is reserved for it, so that neither other sessions nor caches can take it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rollmill_algebra::device::DeviceError;

use crate::driver::{Driver, Stream};
use crate::error::CudaError;
use crate::order::{Access, Order, Uses};

/// Names an account.
pub(crate) type Account = u64;
/// The account of memory that belongs to no session.
pub(crate) const COMMON: Account = 0;

#[derive(Debug)]
pub(crate) struct Arena {
    driver: Arc<dyn Driver>,
    order: Arc<Order>,
    budget_bytes: u64,
    state: Mutex<State>,
    /// Notified whenever memory is released.
    freed: Condvar,
}

/// Memory of the driver that no block has.
#[derive(Debug)]
struct Idle {
    pointer: u64,
    size: u64,
    uses: Uses,
}

#[derive(Debug, Default)]
struct State {
    /// By size.
    idle: BTreeMap<u64, Vec<Idle>>,
    /// Taken from the driver, in use or idle.
    held_bytes: u64,
    peak_bytes: u64,
    accounts: BTreeMap<Account, Balance>,
    /// Accounts opened so far.
    opened: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Balance {
    aside_bytes: u64,
    used_bytes: u64,
}

impl Balance {
    fn claim(self) -> u64 {
        self.aside_bytes.max(self.used_bytes)
    }
}

impl State {
    fn balance(&self, account: Account) -> Balance {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    /// That of a session that has ended is the common one.
    fn balance_mut(&mut self, account: Account) -> &mut Balance {
        let account = if self.accounts.contains_key(&account) { account } else { COMMON };
        self.accounts.entry(account).or_default()
    }

    fn used_bytes(&self) -> u64 {
        self.accounts.values().map(|balance| balance.used_bytes).sum()
    }

    /// Bytes that all accounts use or have reserved.
    fn claimed_bytes(&self) -> u64 {
        self.accounts.values().map(|balance| balance.claim()).sum()
    }

    /// Takes memory of this size or up to a quarter more, the least first, whose uses are as they have to be.
    fn pop_fitting(&mut self, size: u64, is_fit: impl Fn(&Uses) -> bool) -> Option<Idle> {
        self.idle.range_mut(size..=size + size / 4).find_map(|(_, idle)| {
            let at = idle.iter().rposition(|idle| is_fit(&idle.uses))?;
            Some(idle.swap_remove(at))
        })
    }

    /// Takes the smallest memory of at least `bytes`, else the largest there is.
    fn pop_spare(&mut self, bytes: u64) -> Option<Idle> {
        let found = |(size, idle): (&u64, &Vec<Idle>)| (!idle.is_empty()).then_some(*size);
        let enough = self.idle.range(bytes..).find_map(found);
        let size = enough.or_else(|| self.idle.iter().rev().find_map(found))?;
        self.idle.get_mut(&size)?.pop()
    }

    /// Bytes that `account` may still allocate.
    fn free_bytes(&self, account: Account, budget_bytes: u64) -> u64 {
        let own = self.balance(account);
        let others = self.claimed_bytes() - own.claim();
        budget_bytes.saturating_sub(others + own.used_bytes)
    }
}

/// A block of device memory. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct Block {
    pointer: u64,
    /// Taken from the driver, and of these charged to the account.
    size: u64,
    charged: u64,
    account: AtomicU64,
    uses: Mutex<Uses>,
    arena: Arc<Arena>,
}

/// A position in a block, in bytes from its start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a> {
    block: &'a Block,
    offset: u64,
}

impl<'a> At<'a> {
    /// `bytes` further on.
    pub(crate) fn plus(self, bytes: u64) -> Self {
        Self { offset: self.offset + bytes, ..self }
    }

    /// Only for the driver, in calls that name the block's uses.
    pub(crate) fn address(self) -> u64 {
        self.block.pointer + self.offset
    }

    /// How a call uses the block.
    pub(crate) fn used(self, access: Access) -> (&'a Mutex<Uses>, Access) {
        (&self.block.uses, access)
    }
}

impl Block {
    pub(crate) fn start(&self) -> At<'_> {
        At { block: self, offset: 0 }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let uses = std::mem::take(&mut *self.uses.lock());
        let mut state = self.arena.state();
        state.balance_mut(*self.account.get_mut()).used_bytes -= self.charged;
        let idle = Idle { pointer: self.pointer, size: self.size, uses };
        state.idle.entry(self.size).or_default().push(idle);
        drop(state);
        self.arena.freed.notify_all();
    }
}

/// Sizes come in eight steps for each power of two, so that blocks fit again and little is wasted.
pub(crate) fn rounded(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (1u64 << (bytes.ilog2() - 3)).max(256);
    bytes.div_ceil(step) * step
}

impl Arena {
    pub(crate) fn new(driver: Arc<dyn Driver>, order: Arc<Order>, budget_bytes: u64) -> Self {
        Self { driver, order, budget_bytes, state: Mutex::default(), freed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Bytes in use, their maximum so far, and the budget.
    pub(crate) fn usage(&self) -> (u64, u64, u64) {
        let state = self.state();
        (state.used_bytes(), state.peak_bytes, self.budget_bytes)
    }

    /// Whether `account` can allocate `bytes` more, in one block or in many.
    pub(crate) fn require(
        &self,
        operation: &'static str,
        account: Account,
        bytes: u64,
    ) -> Result<(), DeviceError> {
        let free_bytes = self.state().free_bytes(account, self.budget_bytes);
        if bytes <= free_bytes {
            return Ok(());
        }
        Err(DeviceError::Memory { operation, needed_bytes: bytes, free_bytes })
    }

    /// Opens an account with `bytes` reserved. Blocks until other sessions leave that much free.
    pub(crate) fn open(&self, operation: &'static str, bytes: u64) -> Result<Account, DeviceError> {
        let mut state = self.state();
        while bytes > state.free_bytes(COMMON, self.budget_bytes) {
            // Bytes that are free once every session has ended and released its memory.
            let common = state.balance(COMMON).used_bytes;
            let free_bytes = self.budget_bytes.saturating_sub(common);
            if bytes > free_bytes {
                return Err(DeviceError::Memory { operation, needed_bytes: bytes, free_bytes });
            }
            self.freed.wait(&mut state);
        }
        state.opened += 1;
        let account = state.opened;
        state.accounts.insert(account, Balance { aside_bytes: bytes, used_bytes: 0 });
        Ok(account)
    }

    /// Ends a session. Blocks that it has not released are charged to the common account from then on.
    pub(crate) fn close(&self, account: Account) {
        let mut state = self.state();
        let left = state.accounts.remove(&account).unwrap_or_default();
        state.balance_mut(COMMON).used_bytes += left.used_bytes;
        drop(state);
        self.freed.notify_all();
    }

    /// Moves blocks to the common account, all or none: none if they would use reserved memory.
    pub(crate) fn keep(&self, blocks: &[&Block]) -> bool {
        let mut state = self.state();
        let mut moved = state.accounts.clone();
        let mut seen = BTreeSet::new();
        for block in blocks.iter().filter(|block| seen.insert(block.pointer)) {
            let from = block.account.load(Ordering::Relaxed);
            if let Some(balance) = moved.get_mut(&from) {
                balance.used_bytes -= block.charged;
                moved.entry(COMMON).or_default().used_bytes += block.charged;
            }
        }
        let claimed: u64 = moved.values().map(|balance| balance.claim()).sum();
        if claimed > self.budget_bytes {
            return false;
        }
        state.accounts = moved;
        blocks.iter().for_each(|block| block.account.store(COMMON, Ordering::Relaxed));
        true
    }

    /// Allocates a block of at least `bytes`, whose first use is in `stream`.
    pub(crate) fn take(
        self: &Arc<Self>,
        operation: &'static str,
        account: Account,
        stream: Stream,
        bytes: u64,
    ) -> Result<Block, DeviceError> {
        let size = rounded(bytes);
        let mut state = self.state();
        let free_bytes = state.free_bytes(account, self.budget_bytes);
        if size > free_bytes {
            return Err(DeviceError::Memory { operation, needed_bytes: size, free_bytes });
        }
        // Charged first, so that it stays promised to this call while memory is released for it.
        state.balance_mut(account).used_bytes += size;
        // Prefers a block without a wait, then new memory, then any block.
        let ready = state.pop_fitting(size, |uses| self.order.is_ready(stream, uses));
        let found = ready.map_or_else(|| self.take_new(size, &mut state), Ok);
        let Idle { pointer, size: held, uses } = found.map_err(|error| {
            state.balance_mut(account).used_bytes -= size;
            self.freed.notify_all();
            error.during(operation, self.driver.device())
        })?;
        state.peak_bytes = state.peak_bytes.max(state.used_bytes());
        let (account, uses) = (AtomicU64::new(account), Mutex::new(uses));
        Ok(Block { pointer, size: held, charged: size, account, uses, arena: self.clone() })
    }

    /// New memory of the driver, or where there is none left, any that fits.
    fn take_new(&self, size: u64, state: &mut MutexGuard<'_, State>) -> Result<Idle, CudaError> {
        loop {
            let missing = (state.held_bytes + size).saturating_sub(self.budget_bytes);
            let refused = if missing > 0 {
                None
            } else {
                match self.driver.allocate(size) {
                    Err(error @ CudaError::Memory { .. }) => Some(error),
                    outcome => {
                        let pointer = outcome?;
                        state.held_bytes += size;
                        return Ok(Idle { pointer, size, uses: Uses::default() });
                    }
                }
            };
            if let Some(found) = state.pop_fitting(size, |_| true) {
                return Ok(found);
            }
            let needed = if missing > 0 { missing } else { size };
            if self.release_spare(needed, state)? {
                continue;
            }
            if let Some(error) = refused {
                return Err(error);
            }
            // Within the budget by what is charged: blocks that are larger than what was requested take more.
            let pointer = self.driver.allocate(size)?;
            state.held_bytes += size;
            return Ok(Idle { pointer, size, uses: Uses::default() });
        }
    }

    /// Returns idle memory to the driver once no queued work can use it: `bytes` of it if one block has so many, else
    /// the largest block. Others may allocate meanwhile. False where nothing is idle.
    fn release_spare(
        &self,
        bytes: u64,
        state: &mut MutexGuard<'_, State>,
    ) -> Result<bool, CudaError> {
        let Some(Idle { pointer, size, uses }) = state.pop_spare(bytes) else { return Ok(false) };
        MutexGuard::unlocked(state, || {
            self.order.finish(&uses)?;
            self.driver.release(pointer)
        })?;
        state.held_bytes -= size;
        Ok(true)
    }

    /// Returns all idle memory to the driver.
    fn release_all(&self, state: &mut State) -> Result<(), CudaError> {
        self.order.synchronize_all()?;
        for Idle { pointer, size, .. } in std::mem::take(&mut state.idle).into_values().flatten() {
            state.held_bytes -= size;
            self.driver.release(pointer)?;
        }
        Ok(())
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let mut state = std::mem::take(&mut *self.state());
        // The device is being closed: a failure here cannot be reported to anyone.
        let _ = self.release_all(&mut state);
    }
}
