//! Flags of plugins.

use clap::{Subcommand, ValueEnum};
use espalier_plugins::{Isolate, Policy};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct PluginProcess {
    pub(crate) library: PathBuf,
    pub(crate) sha256: String,
}

/// How plugin libraries are opened.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Plugins")]
pub(crate) struct Opening {
    /// Run methods and selectors in a separate process, whose crash or endless loop becomes an error; `auto` does so
    /// for libraries that are not beside `host` [not on Windows]
    #[arg(
        long, default_value_t = Isolate::Auto, value_name = "auto|always|never",
        num_args = 0..=1, require_equals = true, default_missing_value = "always"
    )]
    isolate: Isolate,
    /// Seconds that an isolated method or selector may compute without asking the host for anything
    #[arg(long, default_value_t = 600, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    plugin_timeout: u64,
    /// Open only plugins that are beside `host` or on the list of `host plugins trust`
    #[arg(
        long, env = "ESPALIER_TRUSTED_ONLY", value_parser = clap::builder::FalseyValueParser::new(),
        action = clap::ArgAction::SetTrue
    )]
    trusted_only: bool,
}

impl Opening {
    pub(crate) fn policy(&self) -> Policy {
        let patience = std::time::Duration::from_secs(self.plugin_timeout);
        Policy { isolate: self.isolate, patience, trusted_only: self.trusted_only }
    }
}

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Plugins {
    #[command(subcommand)]
    pub(crate) action: Option<PluginsAction>,
    /// Plugin library to describe: a name, a file name, or a path
    #[arg(value_name = "LIB")]
    pub(crate) library: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginsAction {
    /// Make a crate for a new plugin: a worked example with its test, and the SDK
    New(NewPlugin),
    /// Try a pruning method on made-up layers: odd shapes, patterns, zeros, extremes; twice, and on the CPU and a GPU
    Check(Box<CheckPlugin>),
    #[command(flatten)]
    Trust(TrustAction),
}

#[derive(Debug, clap::Args)]
pub(crate) struct NewPlugin {
    /// Name of the plugin and of its crate
    pub(crate) name: String,
    /// The example to begin with: a method that works on a layer, a block or the model, or a selector of calibration data
    #[arg(long, value_enum, default_value_t = PluginKind::Layer)]
    pub(crate) kind: PluginKind,
    /// Begin with a layer method that has a kernel of its own, in WGSL and for the CPU
    #[arg(long)]
    pub(crate) wgsl: bool,
    /// Folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckPlugin {
    /// Plugin library: a name, a file name, or a path
    #[arg(value_name = "LIB")]
    pub(crate) library: String,
    /// Pruning method, where the library offers several; several stages with commas between
    #[arg(long, value_name = "NAME")]
    pub(crate) method: Option<String>,
    /// Option of the method; may be given more than once
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = super::calibration::key_value)]
    pub(crate) options: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) opening: Opening,
    #[command(flatten)]
    pub(crate) device: super::Device,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PluginKind {
    Layer,
    Block,
    Model,
    Selector,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TrustAction {
    /// Trust a library as it is now: add the hash of its file to your list, without running it
    Trust {
        /// Plugin library: a name, a file name, or a path
        #[arg(value_name = "LIB")]
        library: String,
    },
    /// Take a library from your list
    Untrust {
        /// Plugin library, or the hash that `host plugins trusted` shows, or the beginning of it
        #[arg(value_name = "LIB|HASH")]
        library: String,
    },
    /// List the libraries that you trust
    Trusted {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}
