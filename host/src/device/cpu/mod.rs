//! The native device.

/// Memory.
#[derive(Debug)]
pub struct Memory;
