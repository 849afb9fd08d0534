//! Waiting for a device that may never answer.

use crate::device::{DeviceError, Result};
use std::{
    collections::VecDeque,
    env,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long one wait lasts, before Ctrl-C and the limit are looked at.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// How long the device may take for what was handed over to it. Kernels take far less: at most 64 are handed over at a
/// time, the slowest of which take seconds on a software driver.
const LIMIT: Duration = Duration::from_secs(600);

/// How many kernels are named when the device does not answer.
const NAMED: usize = 4;

/// Remembers what the device was given last, and how long it may take.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: Duration,
    recent: Mutex<VecDeque<String>>,
}

impl Default for Watchdog {
    fn default() -> Self {
        let given = env::var("ESPALIER_DEVICE_TIMEOUT").ok().and_then(|seconds| seconds.parse().ok());
        Self { limit: given.map_or(LIMIT, Duration::from_secs), recent: Mutex::default() }
    }
}

impl Watchdog {
    /// Remembers a kernel or transfer that was recorded.
    pub(super) fn note(&self, operation: &str) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = recent.iter().position(|name| name == operation) {
            if at > 0 {
                recent.remove(at).into_iter().for_each(|name| recent.push_front(name));
            }
            return;
        }
        recent.truncate(NAMED - 1);
        recent.push_front(operation.to_owned());
    }

    /// Whether to wait on.
    ///
    /// # Errors
    /// The device has had its time.
    pub(super) fn check(&self, operation: &str, waited: Duration) -> Result<()> {
        if waited < self.limit {
            return Ok(());
        }
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let kernels = recent.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        Err(DeviceError::Hung { operation: operation.to_owned(), seconds: waited.as_secs(), kernels })
    }
}

static ABANDONED: AtomicBool = AtomicBool::new(false);

/// Notes that a device was left with work on it.
pub(super) fn abandon() {
    ABANDONED.store(true, Ordering::SeqCst);
}

/// Whether a device was left with work on it, so that its driver must not be waited for when the process ends.
pub fn was_abandoned() -> bool {
    ABANDONED.load(Ordering::SeqCst)
}

/// For tests: whether the device is to be lost with this submission. `ESPALIER_TEST_LOSE_DEVICE` lists the numbers of
/// such submissions, counted over the whole process.
pub(super) fn lost_on_purpose() -> bool {
    static LIST: OnceLock<Vec<u64>> = OnceLock::new();
    static SUBMISSIONS: AtomicU64 = AtomicU64::new(0);
    let list = LIST.get_or_init(|| {
        let text = env::var("ESPALIER_TEST_LOSE_DEVICE").unwrap_or_default();
        text.split(',').filter_map(|number| number.trim().parse().ok()).collect()
    });
    !list.is_empty() && list.contains(&SUBMISSIONS.fetch_add(1, Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_answer_is_named_with_its_kernels() {
        let watchdog = Watchdog { limit: Duration::from_secs(1), recent: Mutex::default() };
        for name in ["a", "b", "c", "d", "e", "c"] {
            watchdog.note(name);
        }
        watchdog.check("read", Duration::from_millis(999)).unwrap();
        let error = watchdog.check("read", Duration::from_secs(2)).unwrap_err().to_string();
        assert!(error.contains("handed over last: c, e, d, b;"), "{error}");
    }
}
