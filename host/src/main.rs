//! The binary `host`.

use espalier_host::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
