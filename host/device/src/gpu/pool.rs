//! Buffers, reused by size class.

use crate::{Result, budget::Budget};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Buffers that tensors gave back, and how much memory tensors hold.
///
/// The pool never makes the device hold more than its tensors held at their peak: a free buffer is
/// given up when a new one would pass that mark.
#[derive(Debug, Default)]
pub(super) struct Pool {
    state: Mutex<PoolState>,
    /// How many times recorded work was handed over. A buffer released in the current epoch may still
    /// be used by work that is recorded and not handed over.
    epoch: AtomicU64,
    budget: Budget,
}

#[derive(Debug, Default)]
struct PoolState {
    free: BTreeMap<u64, Vec<Free>>,
    free_bytes: u64,
    live_bytes: u64,
    peak_bytes: u64,
}

#[derive(Debug)]
struct Free {
    buffer: wgpu::Buffer,
    released: u64,
}

/// A buffer for a panel, given back to its pool when dropped.
#[derive(Debug)]
pub(super) struct PooledBuffer {
    /// Always there until `drop`.
    buffer: Option<wgpu::Buffer>,
    size: u64,
    /// The epoch in which its last holder released it; none if it is new, and so all zeros.
    released: Option<u64>,
    pool: Arc<Pool>,
}

impl Pool {
    /// A free buffer of exactly this size class, accounted to the tensors.
    pub(super) fn reuse(self: &Arc<Self>, size: u64) -> Option<PooledBuffer> {
        let mut state = self.state();
        // The longest released one: work on it has most likely been handed over.
        let list = state.free.get_mut(&size)?;
        let free = (!list.is_empty()).then(|| list.remove(0))?;
        if list.is_empty() {
            state.free.remove(&size);
        }
        state.free_bytes -= size;
        state.hold(size);
        drop(state);
        Some(PooledBuffer {
            buffer: Some(free.buffer),
            size,
            released: Some(free.released),
            pool: self.clone(),
        })
    }

    /// Gives up free buffers until another one of this size stays within the peak.
    pub(super) fn make_room(&self, size: u64) {
        let mut state = self.state();
        let limit = state.peak_bytes.max(state.live_bytes + size);
        while state.live_bytes + state.free_bytes + size > limit && state.give_up_largest() {}
    }

    /// Gives up every free buffer.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        while state.give_up_largest() {}
    }

    /// Takes a new buffer of this size class into account.
    pub(super) fn adopt(self: &Arc<Self>, buffer: wgpu::Buffer, size: u64) -> PooledBuffer {
        self.state().hold(size);
        PooledBuffer { buffer: Some(buffer), size, released: None, pool: self.clone() }
    }

    /// Refuses a buffer that the budget has no room for.
    pub(super) fn check_budget(&self, what: &str, size: u64) -> Result<()> {
        self.budget.check(what, size, self.state().live_bytes)
    }

    pub(super) fn set_budget(&self, bytes: Option<u64>) {
        self.budget.set(bytes);
    }

    /// The most bytes that tensors have held at one time.
    pub(super) fn peak_bytes(&self) -> u64 {
        self.state().peak_bytes
    }

    /// Everything recorded so far was handed over.
    pub(super) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    fn hold(&mut self, size: u64) {
        self.live_bytes += size;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
    }

    fn give_up_largest(&mut self) -> bool {
        let Some(mut list) = self.free.last_entry() else { return false };
        let size = *list.key();
        // Work in flight keeps its buffers alive by itself.
        list.get_mut().pop();
        if list.get().is_empty() {
            list.remove();
        }
        self.free_bytes -= size;
        true
    }
}

impl PooledBuffer {
    /// The buffer itself.
    pub(super) fn buffer(&self) -> &wgpu::Buffer {
        self.buffer.as_ref().expect("it is only taken when dropped")
    }

    /// Whether somebody wrote to it before.
    pub(super) fn recycled(&self) -> bool {
        self.released.is_some()
    }

    /// Whether work that is recorded and not handed over may still use it for its last holder.
    pub(super) fn in_recorded_work(&self) -> bool {
        self.released == Some(self.pool.epoch.load(Ordering::Acquire))
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let Some(buffer) = self.buffer.take() else { return };
        let released = self.pool.epoch.load(Ordering::Acquire);
        let mut state = self.pool.state();
        state.live_bytes -= self.size;
        state.free_bytes += self.size;
        state.free.entry(self.size).or_default().push(Free { buffer, released });
    }
}

/// The size class of a buffer: the next multiple of an eighth of its power of two, at least 256, and at
/// most `limit`. At most an eighth is wasted, and tensors of about the same size share buffers.
pub(super) fn size_class(bytes: u64, limit: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (bytes.next_power_of_two() / 16).max(16);
    bytes.next_multiple_of(step).min(limit.max(bytes.next_multiple_of(16)))
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_waste_at_most_an_eighth() {
        for bytes in [1_u64, 255, 256, 257, 1000, 4096, 4097, 1 << 20, (1 << 20) + 1, 123_456_789] {
            let class = size_class(bytes, 1 << 30);
            assert!(class >= bytes && class.is_multiple_of(16), "{bytes} -> {class}");
            assert!(class <= 272 || class - bytes <= bytes / 8, "{bytes} -> {class}");
        }
        assert_eq!(size_class(1000, 1008), 1008);
        assert_eq!(size_class(33, 48), 256);
    }
}
