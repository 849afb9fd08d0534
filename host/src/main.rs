//! The binary `host`.

use espalier_host::{cli, device, interrupt};
use std::process::ExitCode;

fn main() -> ExitCode {
    let code = cli::main();
    if device::was_abandoned() {
        interrupt::exit_now(code.into());
    }
    ExitCode::from(code)
}
