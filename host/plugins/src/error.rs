//! Errors of plugin libraries.

use espalier_base::{output::OutputError, text::shell_quote};
use espalier_sdk::abi::OpenError;
use std::path::PathBuf;

/// An error of a plugin library, or of a request to it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// No file of this name in any of the places.
    #[error("no plugin `{name}`: looked for {file} in {}{hint}", list(.places))]
    NotFound {
        /// The request.
        name: String,
        /// The file name looked for.
        file: String,
        /// The folders looked in.
        places: Vec<PathBuf>,
        /// A name that is near to it, as a question.
        hint: String,
    },
    /// The file cannot be read.
    #[error("the plugin library {} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others than the user may change it.
    #[error("the plugin library {} is not opened: {message}", .path.display())]
    Unsafe {
        /// The file.
        path: PathBuf,
        /// The permission that is too wide, and how to mend it.
        message: String,
    },
    /// Only trusted libraries are opened, and this library is not trusted.
    #[error(
        "{} is not trusted (SHA-256 {sha256}) and --trusted-only is set: `host plugins trust {}` adds it to the \
         list, once you know what it is",
        .path.display(), shell_quote(&.path.to_string_lossy())
    )]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// Its hash.
        sha256: String,
    },
    /// The list of trusted libraries cannot be used.
    #[error("the list of trusted plugins {} cannot be used", .path.display())]
    TrustList {
        /// The list.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A library that was to be opened in a process of its own.
    #[error(transparent)]
    Apart(espalier_sdk::Error),
    /// A process of its own, where there can be none.
    #[error(
        "--isolate is not supported on this system, which has no Unix sockets: run plugins that you trust with --isolate=never"
    )]
    NoIsolation,
    /// The dynamic loader refuses the file.
    #[error("{} is not a dynamic library that this machine can load", .path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
        /// The loader's error.
        #[source]
        source: libloading::Error,
    },
    /// A library, but no plugin.
    #[error(
        "{} is a dynamic library but no Espalier plugin: it lacks the symbol `{symbol}`, which \
         `espalier_sdk::export_plugin!` would have made",
        .path.display()
    )]
    NotAPlugin {
        /// The file.
        path: PathBuf,
        /// The missing symbol.
        symbol: &'static str,
        /// The loader's error.
        #[source]
        source: libloading::Error,
    },
    /// A plugin of another interface.
    #[error(
        "{} speaks plugin interface {}.{}, but this host speaks {}.{}: {}",
        .path.display(), .plugin.0, .plugin.1, .host.0, .host.1,
        if .plugin > .host { "use a newer host" } else { "rebuild the plugin with a newer espalier-sdk" }
    )]
    Interface {
        /// The file.
        path: PathBuf,
        /// The plugin's interface version.
        plugin: (u16, u16),
        /// This host's interface version.
        host: (u16, u16),
    },
    /// The library did not open as a plugin.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The list of trusted libraries cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// None of the libraries offers what is wanted.
    #[error("{0}")]
    NotOffered(String),
    /// A method or selector refuses its options.
    #[error("{what}")]
    Options {
        /// The method or selector.
        what: String,
        /// Its error.
        #[source]
        source: espalier_sdk::Error,
    },
}

fn list(places: &[PathBuf]) -> String {
    let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    places.join(", ")
}
