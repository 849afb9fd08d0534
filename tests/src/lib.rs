//! Helpers shared by Espalier's end-to-end tests.

pub mod random;
pub mod reference;
