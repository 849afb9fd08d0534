//! How much memory the tensors of a device may hold.

use super::{DeviceError, Result};
use std::sync::atomic::{AtomicU64, Ordering};

/// The most bytes that the tensors of a device may hold; no bound at first.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Budget {
    pub(super) fn set(&self, bytes: Option<u64>) {
        self.0.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Refuses an allocation that the budget has no room for.
    pub(super) fn check(&self, what: &str, bytes: u64, held: u64) -> Result<()> {
        let budget = self.0.load(Ordering::Relaxed);
        if held.saturating_add(bytes) <= budget {
            return Ok(());
        }
        let mebibytes = |bytes: u64| bytes >> 20;
        let what = format!(
            "{what}: the run may take {} MiB, of which {} MiB are in use",
            mebibytes(budget),
            mebibytes(held)
        );
        Err(DeviceError::OutOfMemory { what, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let budget = Budget::default();
        budget.check("x", u64::MAX, 5).unwrap();
        budget.set(Some(10));
        budget.check("x", 4, 6).unwrap();
        let error = budget.check("x", 5, 6).unwrap_err().to_string();
        assert!(error.contains("the run may take"), "{error}");
    }
}
