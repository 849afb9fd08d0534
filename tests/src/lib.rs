//! Helpers shared by Espalier's end-to-end tests.

pub mod gpu;
pub mod random;
pub mod reference;
