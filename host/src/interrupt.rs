//! Ctrl-C: asked for between two steps, so that a run stops where nothing is half-written.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The run was interrupted.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Makes Ctrl-C and SIGTERM stop the run at its next step; a second one ends the process at once.
///
/// # Errors
/// The handler cannot be set.
pub fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            exit_now(130);
        }
    })
}

/// Ends the process at once, without the work that libraries do at its end: a graphics driver may wait there for a kernel
/// that never ends.
pub fn exit_now(code: i32) -> ! {
    #[cfg(unix)]
    // SAFETY: `_exit` ends the process and touches no memory of it.
    unsafe {
        libc::_exit(code)
    }
    #[cfg(not(unix))]
    std::process::exit(code)
}

/// Whether to go on.
///
/// # Errors
/// The run was interrupted.
pub fn check() -> Result<(), Interrupted> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err(Interrupted) } else { Ok(()) }
}
