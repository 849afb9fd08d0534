//! The binary `host`.

use espalier_host::{cli, device, interrupt};
use std::process::ExitCode;

fn main() -> ExitCode {
    quiet_drivers();
    let code = cli::main();
    if device::was_abandoned() {
        interrupt::exit_now(code.into());
    }
    ExitCode::from(code)
}

/// Mesa's device-select layer complains on standard error where no display is attached. It orders devices for
/// programs that take the first; this one looks at all of them.
fn quiet_drivers() {
    const LAYER: &str = "NODEVICE_SELECT";
    if std::env::var_os(LAYER).is_none() {
        // SAFETY: no other thread has been started yet.
        unsafe { std::env::set_var(LAYER, "1") };
    }
}
