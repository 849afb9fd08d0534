//! The wgpu device.

/// Panels.
#[derive(Debug)]
pub struct Panels;
