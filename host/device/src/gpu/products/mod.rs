//! Products of matrices by a given kernel and tile: below what picks one ([`tune`](super::tune)), and below the operations.

mod class;
pub mod linear;
pub mod matmul;
mod variant;

pub(super) use class::{Class, Kind, Layout, Sizes};
pub(super) use matmul::{Product, Shape};
pub(super) use variant::Agreement;
pub use variant::{CANDIDATES, Variant};
