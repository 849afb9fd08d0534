//! Waiting for a device that may never answer.

use crate::{DeviceError, Result};
use std::{
    collections::VecDeque,
    env,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

/// How long one wait lasts, before Ctrl-C and the limit are looked at.
pub(super) const PATIENCE: Duration = Duration::from_millis(200);

/// How long the device may take for what was handed over to it. Kernels take far less: at most 64 are handed over at a
/// time, the slowest of which take seconds on a software driver.
const LIMIT: Duration = Duration::from_secs(600);

/// The variable that sets another limit, in seconds.
const VARIABLE: &str = "ESPALIER_DEVICE_TIMEOUT";

/// How many kernels are named when the device does not answer.
const NAMED: usize = 4;

/// Remembers what the device was given last, and how long it may take.
#[derive(Debug)]
pub(super) struct Watchdog {
    limit: Duration,
    recent: Mutex<VecDeque<String>>,
    /// How long it was waited for before it was given up, in seconds.
    given_up: OnceLock<u64>,
}

impl Watchdog {
    /// A watchdog with the limit of `ESPALIER_DEVICE_TIMEOUT`, where it is set.
    ///
    /// # Errors
    /// It is not a number of seconds.
    pub(super) fn from_environment() -> Result<Self> {
        let limit = match env::var_os(VARIABLE) {
            None => LIMIT,
            Some(text) => limit(&text.to_string_lossy())?,
        };
        Ok(Self::new(limit))
    }

    fn new(limit: Duration) -> Self {
        Self { limit, recent: Mutex::default(), given_up: OnceLock::new() }
    }

    /// Remembers a kernel or transfer that was recorded.
    pub(super) fn note(&self, operation: &str) {
        let mut recent = self.recent();
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
        if waited >= self.limit {
            self.given_up.get_or_init(|| waited.as_secs());
        }
        self.check_answers(operation)
    }

    /// Whether the device may be given more work.
    ///
    /// # Errors
    /// It was given up.
    pub(super) fn check_answers(&self, operation: &str) -> Result<()> {
        let Some(&seconds) = self.given_up.get() else { return Ok(()) };
        let kernels = self.recent().iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        Err(DeviceError::Hung { operation: operation.to_owned(), seconds, kernels })
    }

    /// Whether the device was given up.
    pub(super) fn has_given_up(&self) -> bool {
        self.given_up.get().is_some()
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn limit(text: &str) -> Result<Duration> {
    let seconds = text.trim().parse().ok().filter(|&seconds| seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(|| DeviceError::Invalid {
        operation: VARIABLE,
        message: format!("`{text}` is not a whole number of seconds from 1 on"),
    })
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

/// For tests: events that fail on purpose. A variable lists their numbers, counted from 0 over the whole process.
pub(super) struct OnPurpose {
    variable: &'static str,
    list: OnceLock<Vec<u64>>,
    count: AtomicU64,
}

impl OnPurpose {
    const fn new(variable: &'static str) -> Self {
        Self { variable, list: OnceLock::new(), count: AtomicU64::new(0) }
    }

    /// Whether the next event is to fail.
    pub(super) fn next(&self) -> bool {
        let list = self.list.get_or_init(|| {
            let text = env::var(self.variable).unwrap_or_default();
            text.split(',').filter_map(|number| number.trim().parse().ok()).collect()
        });
        !list.is_empty() && list.contains(&self.count.fetch_add(1, Ordering::Relaxed))
    }
}

/// The submissions with which the device is lost.
pub(super) static LOSE_DEVICE: OnPurpose = OnPurpose::new("ESPALIER_TEST_LOSE_DEVICE");

/// The new buffers for which there is no memory.
pub(super) static OUT_OF_MEMORY: OnPurpose = OnPurpose::new("ESPALIER_TEST_OUT_OF_MEMORY");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_does_not_answer_is_named_with_its_kernels() {
        let watchdog = Watchdog::new(Duration::from_secs(1));
        for name in ["a", "b", "c", "d", "e", "c"] {
            watchdog.note(name);
        }
        watchdog.check("read", Duration::from_millis(999)).unwrap();
        watchdog.check_answers("read").unwrap();
        let error = watchdog.check("read", Duration::from_secs(2)).unwrap_err().to_string();
        assert!(error.contains("handed over last: c, e, d, b;"), "{error}");
        let later = watchdog.check_answers("zeros").unwrap_err().to_string();
        assert!(later.contains("zeros: the device has not answered for 2 s"), "{later}");
    }

    #[test]
    fn the_limit_is_a_number_of_seconds() {
        assert_eq!(limit("2").unwrap(), Duration::from_secs(2));
        for wrong in ["", "0", "-1", "1.5", "2m"] {
            let error = limit(wrong).unwrap_err().to_string();
            assert!(error.contains("ESPALIER_DEVICE_TIMEOUT"), "{error}");
        }
    }
}
