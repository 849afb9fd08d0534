//! The command line: parsed once, resolved once, then run.

mod args;
mod calibrate;
mod chat;
mod check;
mod clean;
mod devices;
mod error;
mod eval;
mod generate;
mod inspect;
mod new;
mod pack;
mod plugins;
mod progress;
mod prune;
mod select;
mod study;
mod table;
mod trust;
mod verify;
mod writing;

use args::{Args, Command, Verbosity};
use clap::Parser;
use error::CliError;
use espalier_base::{cause::causes, text};
use espalier_model::checkpoint;
use std::io::{IsTerminal, Write};

/// Runs the command line of this process, and gives its exit code.
pub fn main() -> u8 {
    let args = Args::parse_from(args::with_default_command(std::env::args_os()));
    listen(args.verbosity);
    let result = espalier_base::interrupt::listen().map_err(CliError::from).and_then(|()| run(&args));
    match result {
        Ok(()) => 0,
        Err(error) => {
            report(&error);
            error.exit_code()
        }
    }
}

fn run(args: &Args) -> Result<(), CliError> {
    if args.no_mmap {
        checkpoint::map_nothing();
    }
    match &args.command {
        Command::Prune(command) => prune::run(command, args.verbosity),
        Command::Select(command) => select::run(command, args.verbosity),
        Command::Eval(command) => eval::run(command, args.verbosity),
        Command::Generate(command) => generate::run(command, args.verbosity),
        Command::Chat(command) => chat::run(command, args.verbosity),
        Command::Study(command) => study::run(command, args.verbosity),
        Command::Plugins(command) => plugins::run(command, args.verbosity),
        Command::Devices(command) => devices::run(command),
        Command::Inspect(command) => inspect::run(command),
        Command::Pack(command) => pack::run(command, args.verbosity),
        Command::Unpack(command) => pack::undo(command, args.verbosity),
        Command::Clean(command) => clean::run(command),
        Command::Verify(command) => verify::run(command),
        Command::PluginProcess(command) => plugins::process(command),
    }
}

/// Prints an error and its causes.
fn report(error: &CliError) {
    let causes: Vec<_> = causes(error).iter().map(|cause| text::line(cause)).collect();
    let text = causes.join("\n  because: ");
    // Without standard error the message cannot be shown.
    let _ = writeln!(std::io::stderr(), "error: {text}");
}

/// Standard error for logs. A line that cannot be written, because the disk is full or the reader is gone, is no reason
/// to end a run.
struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = std::io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Sends logs to standard error: warnings, with `-v` also what is done, with `-q` errors alone.
/// `ESPALIER_LOG` sets filters by module.
fn listen(verbosity: Verbosity) {
    use tracing_subscriber::{EnvFilter, filter::LevelFilter};
    let level = match (verbosity.quiet, verbosity.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, _) => LevelFilter::DEBUG,
    };
    // Graphics drivers' troubles come back as errors; their chatter about the search is noise.
    let mut filter = EnvFilter::builder().with_default_directive(LevelFilter::ERROR.into()).parse_lossy("");
    // Targets are matched by their beginning: all crates of the host.
    let own = format!("espalier={level}");
    if let Ok(directive) = own.parse() {
        filter = filter.add_directive(directive);
    }
    if let Ok(wanted) = std::env::var("ESPALIER_LOG") {
        filter = EnvFilter::builder().parse_lossy(wanted);
    }
    tracing_subscriber::fmt()
        .with_writer(|| Log)
        .with_ansi(
            std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty()),
        )
        .with_env_filter(filter)
        .without_time()
        .with_target(verbosity.verbose > 1)
        .init();
}

/// Writes a result to standard output.
fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        // Whoever reads has seen enough, as in `host plugins | head -1`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(CliError::Stdout),
    }
}

/// Says something about a run on standard error, unless silence was asked for.
fn note(text: &str, verbosity: Verbosity) {
    if !verbosity.quiet {
        // Without standard error the message cannot be shown.
        let _ = writeln!(std::io::stderr(), "{text}");
    }
}

/// Writes a result to standard output as one JSON object.
fn print_json<T: serde::Serialize>(value: &T) -> Result<(), CliError> {
    print(&serde_json::to_string_pretty(value)?)
}
