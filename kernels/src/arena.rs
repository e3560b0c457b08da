//! Device memory under a budget.
//!
//! A dropped block goes to a free list with its uses ([`crate::order`]) and is reused without waiting on the
//! host: the stream that writes to it first waits for them. Where no block of a size is free, scratch memory of a
//! session may be up to a quarter larger. Memory returns to the driver block by block, only where it is needed for
//! another size, after the uses of that block have ended, and while others go on allocating.
//!
//! Every block is charged to an account: that of the session that allocated it, or the common one. Memory
//! that a session requests is reserved for it, so that neither other sessions nor caches can take it. A block that is
//! larger than requested is charged whole, but the surplus not to the reservation: it has to be free of reservations.
//! So a session gets all that it has reserved, and no more than the budget is ever taken from the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
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

/// How long a block may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stay {
    /// Perhaps longer than its session. It is as large as requested, so that what stays is known.
    Long,
    /// No longer than an operation.
    Short,
}

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
    /// Taken from the driver: in use, idle, or on its way back.
    held_bytes: u64,
    /// Of these on their way back, by calls that have released the lock.
    leaving_bytes: u64,
    peak_bytes: u64,
    accounts: BTreeMap<Account, Balance>,
    /// Accounts opened so far.
    opened: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Balance {
    aside_bytes: u64,
    /// Requested, in the sizes that blocks have.
    used_bytes: u64,
    /// What its blocks have beyond that.
    surplus_bytes: u64,
}

impl Balance {
    fn claim(self) -> u64 {
        self.aside_bytes.max(self.used_bytes) + self.surplus_bytes
    }

    /// Bytes of the driver that its blocks have.
    fn held_bytes(self) -> u64 {
        self.used_bytes + self.surplus_bytes
    }

    fn add(&mut self, block: &Block) {
        self.used_bytes += block.requested;
        self.surplus_bytes += block.size - block.requested;
    }

    fn subtract(&mut self, block: &Block) {
        self.used_bytes -= block.requested;
        self.surplus_bytes -= block.size - block.requested;
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
        self.accounts.values().map(|balance| balance.held_bytes()).sum()
    }

    /// Bytes that all accounts use or have reserved.
    fn claimed_bytes(&self) -> u64 {
        self.accounts.values().map(|balance| balance.claim()).sum()
    }

    /// Sizes of the memory that may serve a request, which is charged already.
    fn fitting(&self, stay: Stay, size: u64, budget_bytes: u64) -> RangeInclusive<u64> {
        let spare = budget_bytes.saturating_sub(self.claimed_bytes());
        match stay {
            Stay::Long => size..=size,
            Stay::Short => size..=size + spare.min(size / 4),
        }
    }

    /// Takes memory of one of these sizes, the least first, whose uses are as they have to be.
    fn pop_fitting(
        &mut self,
        sizes: RangeInclusive<u64>,
        is_fit: impl Fn(&Uses) -> bool,
    ) -> Option<Idle> {
        self.idle.range_mut(sizes).find_map(|(_, idle)| {
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
        budget_bytes.saturating_sub(others + own.held_bytes())
    }
}

/// A block of device memory. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct Block {
    pointer: u64,
    /// Taken from the driver, and of these requested; both are charged to the account.
    size: u64,
    requested: u64,
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
        let account = *self.account.get_mut();
        let mut state = self.arena.state();
        state.balance_mut(account).subtract(self);
        let idle = Idle { pointer: self.pointer, size: self.size, uses };
        state.idle.entry(self.size).or_default().push(idle);
        drop(state);
        self.arena.freed.notify_all();
    }
}

/// What a driver takes larger blocks from the card in (`cuMemGetAllocationGranularity` of today's cards). Up to this
/// size, several blocks share one.
const PAGE: u64 = 2 << 20;

/// Sizes come in eight steps for each power of two, so that blocks fit again and little is wasted. Those of more than a
/// page are whole pages: whatever a driver adds to a block is memory that the budget does not have.
pub(crate) fn rounded(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (1u64 << (bytes.ilog2() - 3)).max(256);
    let step = if bytes > PAGE { step.max(PAGE) } else { step };
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
            let common = state.balance(COMMON).held_bytes();
            let free_bytes = self.budget_bytes.saturating_sub(common);
            if bytes > free_bytes {
                return Err(DeviceError::Memory { operation, needed_bytes: bytes, free_bytes });
            }
            self.freed.wait(&mut state);
        }
        state.opened += 1;
        let account = state.opened;
        state.accounts.insert(account, Balance { aside_bytes: bytes, ..Balance::default() });
        Ok(account)
    }

    /// Ends a session. Blocks that it has not released are charged to the common account from then on.
    pub(crate) fn close(&self, account: Account) {
        let mut state = self.state();
        let left = state.accounts.remove(&account).unwrap_or_default();
        let common = state.balance_mut(COMMON);
        common.used_bytes += left.used_bytes;
        common.surplus_bytes += left.surplus_bytes;
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
                balance.subtract(block);
                moved.entry(COMMON).or_default().add(block);
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
        stay: Stay,
        bytes: u64,
    ) -> Result<Block, DeviceError> {
        // Work of no session has no reservation, and has to get what it was told is free.
        let stay = if account == COMMON { Stay::Long } else { stay };
        let size = rounded(bytes);
        let mut state = self.state();
        let free_bytes = state.free_bytes(account, self.budget_bytes);
        if size > free_bytes {
            return Err(DeviceError::Memory { operation, needed_bytes: size, free_bytes });
        }
        // Charged first, so that it stays promised to this call while memory is released for it.
        state.balance_mut(account).used_bytes += size;
        // Prefers a block without a wait, then new memory, then any block.
        let sizes = state.fitting(stay, size, self.budget_bytes);
        let ready = state.pop_fitting(sizes, |uses| self.order.is_ready(stream, uses));
        let found = ready.map_or_else(|| self.take_new(stay, size, &mut state), Ok);
        let Idle { pointer, size: held, uses } = found.map_err(|error| {
            state.balance_mut(account).used_bytes -= size;
            self.freed.notify_all();
            error.during(operation, self.driver.device())
        })?;
        state.balance_mut(account).surplus_bytes += held - size;
        state.peak_bytes = state.peak_bytes.max(state.used_bytes());
        let (account, uses) = (AtomicU64::new(account), Mutex::new(uses));
        Ok(Block { pointer, size: held, requested: size, account, uses, arena: self.clone() })
    }

    /// New memory of the driver, or where there is none left, any that fits. `size` is charged already, so that what is
    /// in use leaves as much of the budget, and all else that is held is idle or on its way back.
    fn take_new(
        &self,
        stay: Stay,
        size: u64,
        state: &mut MutexGuard<'_, State>,
    ) -> Result<Idle, CudaError> {
        loop {
            let missing = (state.held_bytes + size).saturating_sub(self.budget_bytes);
            let mut driver_error = None;
            if missing == 0 {
                match self.driver.allocate(size) {
                    Ok(pointer) => {
                        state.held_bytes += size;
                        return Ok(Idle { pointer, size, uses: Uses::default() });
                    }
                    Err(error @ CudaError::Memory { .. }) => driver_error = Some(error),
                    Err(error) => return Err(error),
                }
            }
            let sizes = state.fitting(stay, size, self.budget_bytes);
            if let Some(found) = state.pop_fitting(sizes, |_| true) {
                return Ok(found);
            }
            let needed = if missing > 0 { missing } else { size };
            if self.release_spare(needed, state)? {
                continue;
            }
            if state.leaving_bytes > 0 {
                self.freed.wait(state);
                continue;
            }
            // Without an error only memory that the driver failed to take back is missing.
            let free_bytes = self.budget_bytes.saturating_sub(state.held_bytes);
            return Err(
                driver_error.unwrap_or(CudaError::Memory { needed_bytes: size, free_bytes })
            );
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
        state.leaving_bytes += size;
        let released = MutexGuard::unlocked(state, || {
            self.order.finish(&uses)?;
            self.driver.release(pointer)
        });
        state.leaving_bytes -= size;
        if released.is_ok() {
            state.held_bytes -= size;
        }
        // Whoever waits for the memory, and on a failure too.
        self.freed.notify_all();
        released.map(|()| true)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emulated::{EmulatedDriver, Emulation};
    use crate::twins::library;

    const STREAM: Stream = 0;

    /// On a card that has no more memory than the budget.
    fn arena(kib: u64) -> Arc<Arena> {
        let emulation = Emulation { memory_bytes: kib << 10, ..Emulation::new(library()) };
        let driver: Arc<dyn Driver> = Arc::new(EmulatedDriver::open(&emulation).expect("opens"));
        let order = Arc::new(Order::new(driver.clone()));
        assert_eq!(order.acquire_stream(), Ok(STREAM));
        Arc::new(Arena::new(driver, order, kib << 10))
    }

    fn take(arena: &Arc<Arena>, account: Account, stay: Stay, kib: u64) -> Block {
        arena.take("test", account, STREAM, stay, kib << 10).expect("it fits")
    }

    fn take_all(
        arena: &Arc<Arena>,
        account: Account,
        stay: Stay,
        [count, kib]: [u64; 2],
    ) -> Vec<Block> {
        (0..count).map(|_| take(arena, account, stay, kib)).collect()
    }

    /// KiB that are charged, and those that were taken from the driver.
    fn kib(arena: &Arena) -> [u64; 2] {
        let (free_bytes, total_bytes) = arena.driver.memory().expect("known");
        [arena.usage().0 >> 10, (total_bytes - free_bytes) >> 10]
    }

    #[test]
    fn large_blocks_are_whole_pages_and_little_of_any_block_is_wasted() {
        for log in 0..40 {
            for bytes in [(1u64 << log) - 1, 1 << log, (1 << log) + 1, 3 << log] {
                let size = rounded(bytes);
                assert!(size >= bytes && rounded(size) == size, "{bytes} B");
                assert!(size <= PAGE || size.is_multiple_of(PAGE), "{bytes} B take {size} B");
                let wasted = size - bytes.max(256);
                let most = if size > PAGE { (bytes / 8).max(PAGE) } else { (bytes / 8).max(256) };
                assert!(wasted <= most, "{bytes} B take {size} B");
            }
        }
        // A column of a proof of 2^17 rows, and one with a few coefficients more.
        assert_eq!([rounded(32 << 17), rounded((32 << 17) + 64)], [4 << 20, 6 << 20]);
    }

    #[test]
    fn scratch_memory_of_a_session_may_be_a_quarter_larger_and_is_charged_whole() {
        let arena = arena(1024);
        let session = arena.open("test", 64 << 10).expect("it fits");
        drop(take(&arena, session, Stay::Long, 40));
        let scratch = take(&arena, session, Stay::Short, 32);
        assert_eq!(kib(&arena), [40, 40]);
        drop(scratch);
        assert_eq!(kib(&arena), [0, 40]);
        let small = take(&arena, session, Stay::Short, 30);
        assert_eq!(kib(&arena), [30, 70], "more than a quarter");
        let kept = take(&arena, session, Stay::Long, 36);
        assert_eq!(kib(&arena), [66, 106], "may stay");
        let common = take(&arena, COMMON, Stay::Short, 36);
        assert_eq!(kib(&arena)[1], 106 + 36, "of no session");
        drop((small, kept, common));
        arena.close(session);
        assert_eq!(kib(&arena)[0], 0);
    }

    /// Otherwise larger blocks would take what is reserved, or more of the card than the budget.
    #[test]
    fn what_a_block_has_beyond_the_request_is_not_charged_to_what_is_reserved() {
        let arena = arena(1100);
        let session = arena.open("test", 1000 << 10).expect("it fits");
        drop(take_all(&arena, session, Stay::Short, [25, 40]));
        let some = take_all(&arena, session, Stay::Short, [25, 32]);
        // For twelve there are 8 KiB more that nobody has reserved.
        assert_eq!(kib(&arena)[0], 12 * 40 + 13 * 32);
        assert!(arena.require("test", COMMON, 4 << 10).is_ok());
        assert!(arena.require("test", COMMON, (4 << 10) + 1).is_err());
        drop(some);
        // All that is reserved is there, whatever the sizes of what lies idle.
        let all = take_all(&arena, session, Stay::Short, [31, 32]);
        assert!(kib(&arena)[0] >= 31 * 32, "{arena:?}");
        let (used, peak, budget) = arena.usage();
        assert!(used <= peak && peak <= budget, "{used} {peak} {budget}");
        drop(all);
        arena.close(session);
        // Of what is kept the surplus is kept.
        let session = arena.open("test", 100 << 10).expect("it fits");
        drop(take_all(&arena, session, Stay::Short, [1, 80]));
        let larger = take(&arena, session, Stay::Short, 72);
        assert_eq!(kib(&arena)[0], 80);
        assert!(arena.keep(&[&larger]));
        arena.close(session);
        assert!(arena.require("test", COMMON, 1020 << 10).is_ok());
        assert!(arena.require("test", COMMON, (1020 << 10) + 1).is_err());
        drop(larger);
        assert_eq!(kib(&arena)[0], 0);
    }

    /// A call that finds nothing idle while another returns memory to the driver has to wait for it. Method: two
    /// threads whose blocks fit beside each other, but not beside what lies idle.
    #[test]
    fn calls_at_the_same_time_stay_within_the_budget() {
        let arena = arena(100);
        std::thread::scope(|scope| {
            for sizes in [[40, 48], [44, 36]] {
                let arena = &arena;
                scope.spawn(move || {
                    for round in 0..1000 {
                        drop(take(arena, COMMON, Stay::Long, sizes[round % 2]));
                    }
                });
            }
        });
        assert_eq!(kib(&arena)[0], 0);
    }
}
