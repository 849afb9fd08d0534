//! Calls into code of others that may panic on bad input, or take long: a panic becomes an error, and Ctrl-C is heeded.

use crate::interrupt::{self, Interrupted};
use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::{Once, mpsc},
    thread,
    time::Duration,
};

/// How often a long call is asked whether it should go on.
const PATIENCE: Duration = Duration::from_millis(100);

/// A library panicked on its input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the library that reads it fails on this input: {0}")]
pub struct Panicked(String);

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Calls `f`, and makes an error of a panic, which prints nothing.
///
/// # Errors
/// `f` panicked.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                before(info);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    QUIET.set(outer);
    result.map_err(|payload| Panicked(message(&*payload)))
}

/// The message of a panic.
pub fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Calls `f` on a thread of its own, as [`catch`] does, and comes back when the run is interrupted, whether `f` has ended
/// or not.
///
/// # Errors
/// The run was interrupted.
pub fn interruptible<T: Send + 'static>(
    f: impl FnOnce() -> T + Send + 'static,
) -> Result<Result<T, Panicked>, Interrupted> {
    let (answer, result) = mpsc::sync_channel(1);
    // Nobody waits where the run was interrupted meanwhile.
    let work = move || drop(answer.send(catch(f)));
    if thread::Builder::new().name("guarded".to_owned()).spawn(work).is_err() {
        return Ok(Err(Panicked("no thread can be started".to_owned())));
    }
    loop {
        match result.recv_timeout(PATIENCE) {
            Ok(result) => return Ok(result),
            Err(mpsc::RecvTimeoutError::Timeout) => interrupt::check()?,
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Ok(Err(Panicked("its thread ended".to_owned())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(catch(|| 1), Ok(1));
        let error = catch(|| -> u32 { panic!("no {}", "way") }).unwrap_err();
        assert!(error.to_string().ends_with("no way"), "{error}");
        assert_eq!(interruptible(|| 2).unwrap(), Ok(2));
        assert!(interruptible(|| -> u32 { panic!("no") }).unwrap().is_err());
    }
}
