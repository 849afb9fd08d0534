//! The parts of Espalier's host that all others stand on. They import nothing of the host but each other.

pub mod cause;
pub mod disk;
pub mod files;
pub mod guard;
pub mod hash;
pub mod hub;
pub mod interrupt;
pub mod memory;
pub mod output;
pub mod profile;
pub mod text;
