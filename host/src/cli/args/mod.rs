//! Flags, as typed. Nothing below `cli` sees them.

mod calibration;
mod device;
mod eval;
mod generate;
mod models;
mod plugins;
mod prune;
mod study;

pub(crate) use calibration::{Calibration, Select};
pub(crate) use device::Device;
pub(crate) use eval::Eval;
pub(crate) use generate::{Chat, Generate};
pub(crate) use models::{Clean, Devices, Inspect, Pack, Unpack, Verify};
pub(crate) use plugins::{
    CheckPlugin, NewPlugin, Opening, PluginKind, PluginProcess, Plugins, PluginsAction, TrustAction,
};
pub(crate) use prune::Prune;
pub(crate) use study::{ListFormat, Study, StudyAction, StudyDiff};

use clap::{Parser, Subcommand};
use std::ffi::OsString;

/// Prune LLaMA-family models with any method, on any device, and measure what the calibration data did.
#[derive(Debug, Parser)]
#[command(name = "host", version, max_term_width = 100, propagate_version = true, args_override_self = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) verbosity: Verbosity,
    /// Read weights instead of mapping their files, as is done on network file systems: a file that another program
    /// shortens meanwhile is then an error and does not end the process
    #[arg(help_heading = "Device", long, global = true)]
    pub(crate) no_mmap: bool,
}

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Verbosity {
    /// Log what is done (-vv: in detail)
    #[arg(help_heading = "Logs", short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log errors only
    #[arg(help_heading = "Logs", short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prune a model (what `host` does without a subcommand)
    Prune(Box<Prune>),
    /// Choose calibration windows and write them to a file
    Select(Box<Select>),
    /// Measure a model
    Eval(Box<Eval>),
    /// Go on from a prompt
    Generate(Box<Generate>),
    /// Talk to a model, in its own chat template
    Chat(Box<Chat>),
    /// Run a study: models, dense and pruned with different calibration data, side by side
    Study(Box<Study>),
    /// List the plugins that are found, or what one library offers; make a new one
    #[command(visible_alias = "plugin")]
    Plugins(Plugins),
    /// List devices, and which one `--device auto` takes
    Devices(Devices),
    /// Show the sparsity of a model, tensor by tensor
    Inspect(Inspect),
    /// Pack a pruned model into one file without its zeros, which runs as it is
    Pack(Pack),
    /// Make the folder again that an archive was made of
    Unpack(Unpack),
    /// Check a pruned model against its manifest, and against the model that it was made of
    Verify(Verify),
    /// Remove the unfinished outputs that runs left in a folder
    Clean(Clean),
    /// The process that a plugin's method runs in; started by `host` alone
    #[command(name = "plugin-process", hide = true)]
    PluginProcess(PluginProcess),
}

/// The arguments with `prune` put in where no subcommand stands: `host --plugin wanda …`.
pub(crate) fn with_default_command(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    const ANYWHERE: [&str; 5] = ["-v", "-vv", "-q", "--verbose", "--quiet"];
    const INSTEAD: [&str; 4] = ["-h", "--help", "-V", "--version"];
    let mut args: Vec<_> = args.collect();
    let at = 1 + args.iter().skip(1).take_while(|arg| ANYWHERE.iter().any(|flag| arg == flag)).count();
    match args.get(at).map(|arg| arg.to_string_lossy()) {
        None => args.push("--help".into()),
        Some(flag) if flag.starts_with('-') && !INSTEAD.contains(&&*flag) => args.insert(at, "prune".into()),
        Some(_) => {}
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn prune_is_the_default_command() {
        let command =
            |line: &str| with_default_command(line.split(' ').map(OsString::from)).join(" ".as_ref());
        assert_eq!(command("host --plugin wanda"), "host prune --plugin wanda");
        assert_eq!(command("host -v --plugin wanda"), "host -v prune --plugin wanda");
        assert_eq!(command("host eval --model x"), "host eval --model x");
        assert_eq!(command("host --help"), "host --help");
        assert_eq!(command("host --version"), "host --version");
        assert_eq!(command("host"), "host --help");
    }
}
