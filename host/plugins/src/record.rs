//! The manifest's record of a method or selector.

use super::Library;
use espalier_sdk::Options;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A method or selector, and the library it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginRecord {
    /// The method's or selector's name.
    pub name: String,
    /// The values of all its options.
    pub options: Options,
    /// The library's file.
    pub library: PathBuf,
    /// The library's crate and version.
    pub version: String,
    /// The SHA-256 of the library's file, in hex; empty in records of before it was kept.
    #[serde(default)]
    pub sha256: String,
}

impl PluginRecord {
    /// The record of a method or selector of a library.
    pub fn new(name: String, options: Options, library: &Library) -> Self {
        let info = library.info();
        let version = format!("{} {}", info.name, info.version);
        Self {
            name,
            options,
            library: library.path().to_owned(),
            version,
            sha256: library.sha256().to_owned(),
        }
    }
}
