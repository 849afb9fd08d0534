//! The words that tensors in host memory are made of. Large ones are kept for the tensors to come: the pages of fresh memory
//! are cleared by the system as they are touched, which takes as long as a tenth of the products that fill them.

use bytemuck::allocation::try_zeroed_slice_box;
use memmap2::MmapMut;
use std::sync::{Mutex, PoisonError};

/// Whole words, so that elements of every type are aligned.
#[derive(Debug)]
pub(super) enum Words {
    Small(Box<[u32]>),
    /// In pages of megabytes where the system has them.
    Large(MmapMut),
}

/// From so many bytes on words are [`Words::Large`].
const LARGE: usize = 4 << 20;

/// The bytes of the words that hold so many bytes.
pub(super) fn whole(bytes: usize) -> usize {
    bytes.next_multiple_of(size_of::<u32>())
}

impl Words {
    pub(super) fn zeros(bytes: usize) -> Option<Self> {
        if bytes < LARGE {
            return try_zeroed_slice_box(bytes.div_ceil(size_of::<u32>())).ok().map(Self::Small);
        }
        let map = MmapMut::map_anon(whole(bytes)).ok()?;
        #[cfg(target_os = "linux")]
        // A system without huge pages does with small ones.
        let _ = map.advise(memmap2::Advice::HugePage);
        Some(Self::Large(map))
    }
}

impl Default for Words {
    fn default() -> Self {
        Self::Small(Box::default())
    }
}

impl std::ops::Deref for Words {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Self::Small(words) => words,
            Self::Large(map) => bytemuck::cast_slice(map),
        }
    }
}

impl std::ops::DerefMut for Words {
    fn deref_mut(&mut self) -> &mut [u32] {
        match self {
            Self::Small(words) => words,
            Self::Large(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

/// Large words that no tensor holds any more, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Spare(Mutex<Vec<MmapMut>>);

impl Spare {
    /// Words of exactly this size, with whatever is in them.
    pub(super) fn take(&self, bytes: usize) -> Option<Words> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = spare.iter().rposition(|map| map.len() == whole(bytes))?;
        Some(Words::Large(spare.remove(at)))
    }

    /// Keeps these words if they are large.
    pub(super) fn keep(&self, words: Words) {
        if let Words::Large(map) = words {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(map);
        }
    }

    /// Gives the oldest back to the system until no more than these bytes are left.
    pub(super) fn trim(&self, bytes: u64) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept: u64 = spare.iter().map(|map| map.len() as u64).sum();
        let oldest = spare.iter().take_while(|map| {
            let over = kept > bytes;
            kept -= if over { map.len() as u64 } else { 0 };
            over
        });
        let count = oldest.count();
        spare.drain(..count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_words_are_kept_and_given_back() {
        let spare = Spare::default();
        let sizes = [LARGE, LARGE + 3, LARGE + 8];
        for bytes in [100].into_iter().chain(sizes) {
            spare.keep(Words::zeros(bytes).unwrap());
        }
        assert!(spare.take(100).is_none() && spare.take(LARGE + 9).is_none());
        let words = spare.take(LARGE + 1).expect("the same number of words");
        assert_eq!(size_of_val::<[u32]>(&words), LARGE + 4);
        spare.keep(words);
        spare.trim(2 * LARGE as u64 + 12);
        assert!(spare.take(LARGE).is_none(), "the oldest goes first");
        spare.trim(LARGE as u64 + 4);
        assert!(spare.take(LARGE + 8).is_none() && spare.take(LARGE + 4).is_some());
    }
}
