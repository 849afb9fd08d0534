//! Memory that parallel tasks write to in disjoint parts, and a scratch buffer for each thread.

use std::{cell::RefCell, marker::PhantomData};

/// A slice that parallel tasks write to, each in parts of its own.
#[derive(Clone, Copy)]
pub(crate) struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    life: PhantomData<&'a mut [T]>,
}

// SAFETY: the pointer stands for an exclusive borrow, and `slice` obliges its callers to keep parts apart.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), life: PhantomData }
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// No other task uses an element of the part while it is borrowed.
    #[allow(
        clippy::mut_from_ref,
        reason = "parts are told apart by their ranges, which the borrow checker cannot see"
    )]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &'a mut [T] {
        assert!(start <= self.len && len <= self.len - start, "a part inside the slice");
        // SAFETY: inside the slice, as asserted; not aliased, as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// The address of an element, for parts that are no contiguous slice.
    pub(crate) fn at(&self, index: usize) -> *mut T {
        assert!(index <= self.len, "an element of the slice");
        // SAFETY: inside the slice or one past its end, as asserted.
        unsafe { self.start.add(index) }
    }
}

/// A tile of a matrix that one task computes: its first element, and the elements from a row to the next.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) start: *mut f32,
    pub(crate) stride: usize,
}

thread_local! {
    /// Buffers that are not in use, the outermost last.
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Elements of a cache line, at one of which a buffer starts: a vector that lies across two takes two reads.
const LINE: usize = 64 / size_of::<f32>();

/// Runs `f` with a buffer of `len` elements of unspecified content, kept by the thread for the next task.
pub(crate) fn with_scratch<R>(len: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut scratch = SCRATCH.with_borrow_mut(Vec::pop).unwrap_or_default();
    if scratch.len() < len + LINE {
        // Made anew rather than resized: the old content is of no use to anyone.
        scratch = vec![0.0; len + LINE];
    }
    let start = scratch.as_ptr().align_offset(64).min(LINE);
    let result = f(&mut scratch[start..start + len]);
    SCRATCH.with_borrow_mut(|buffers| buffers.push(scratch));
    result
}
