//! Ctrl-C: asked for between two steps, so that a run stops where nothing is half-written.

use std::sync::atomic::{AtomicBool, Ordering};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The process was asked to end, and not only a person at the keyboard to stop what it does.
static TERMINATED: AtomicBool = AtomicBool::new(false);

/// The run was interrupted.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// The error for a plugin that calls the host after an interruption.
impl From<Interrupted> for espalier_sdk::Error {
    fn from(interrupted: Interrupted) -> Self {
        Self::new(espalier_sdk::Code::Other, interrupted.to_string())
    }
}

/// Makes Ctrl-C and SIGTERM stop the run at its next step; a second one ends the process at once.
///
/// # Errors
/// The handler cannot be set.
pub fn listen() -> Result<(), ctrlc::Error> {
    explain_bus_errors();
    ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            exit_now(130);
        }
    })
}

/// Takes Ctrl-C back, for a program that ends what it does and goes on with something else. SIGTERM and SIGHUP are not taken
/// back, once [`distinguish_terminations`] was called.
pub fn forgive() {
    if !TERMINATED.load(Ordering::SeqCst) {
        INTERRUPTED.store(false, Ordering::SeqCst);
    }
}

/// From now on, SIGTERM and SIGHUP end the run even where [`forgive`] is called.
pub fn distinguish_terminations() {
    #[cfg(unix)]
    {
        extern "C" fn terminate(_: libc::c_int) {
            TERMINATED.store(true, Ordering::SeqCst);
            if INTERRUPTED.swap(true, Ordering::SeqCst) {
                exit_now(130);
            }
        }
        let handler: extern "C" fn(libc::c_int) = terminate;
        for signal in [libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the handler sets two flags and may end the process, which handlers may.
            unsafe {
                libc::signal(signal, handler as libc::sighandler_t);
            }
        }
    }
}

/// Says what happened before the system ends the process because a file that is mapped was shortened by another program.
fn explain_bus_errors() {
    #[cfg(unix)]
    {
        extern "C" fn explain(_: libc::c_int) {
            const TEXT: &[u8] = b"error: a mapped file, most likely of weights, was shortened by another program\n  \
                with --no-mmap such a file is an error that names it; the finished blocks of a pruning run are kept\n";
            // SAFETY: both calls are safe in signal handlers, and the text lives for ever.
            unsafe {
                libc::write(libc::STDERR_FILENO, TEXT.as_ptr().cast(), TEXT.len());
                libc::_exit(128 + libc::SIGBUS);
            }
        }
        let handler: extern "C" fn(libc::c_int) = explain;
        // SAFETY: the handler does nothing that a handler must not do.
        unsafe {
            libc::signal(libc::SIGBUS, handler as libc::sighandler_t);
        }
    }
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
