//! Espalier's host as a library: everything the binary `host` does, so that tests and tools can call it.
//!
//! Imports point one way: `cli → study → prune, evaluate, select → plugins, calibration → model → device → shaders`.
//! `files`, `guard`, `interrupt`, `output` and `text` stand below all of them and import nothing of the crate but each
//! other.

pub mod calibration;
mod cause;
pub mod cli;
pub mod device;
pub mod evaluate;
pub mod files;
pub mod guard;
mod hash;
pub mod inspect;
pub mod interrupt;
pub mod memory;
pub mod model;
pub mod output;
pub mod plugins;
pub mod profile;
pub mod prune;
pub mod select;
pub mod study;
pub mod text;
pub mod verify;
