//! Espalier's host as a library: the command line, and the crates that it is made of.
//!
//! Dependencies point one way: `host → study → prune, evaluate, select → plugins, data → model → device → shaders`, and
//! `base` below all of them.

pub mod cli;

pub use espalier_base::{files, guard, interrupt, memory, output, profile, text};
pub use espalier_data as data;
pub use espalier_device as device;
pub use espalier_evaluate as evaluate;
pub use espalier_model as model;
pub use espalier_plugins as plugins;
pub use espalier_prune as prune;
pub use espalier_prune::{inspect, verify};
pub use espalier_select as select;
pub use espalier_study as study;
