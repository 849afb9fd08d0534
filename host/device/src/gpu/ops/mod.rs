//! The operations of the GPU, on operands that fit: they cut tensors into panels and start kernels.

pub mod attention;
pub mod elementwise;
pub mod factor;
pub mod linear;
pub mod matmul;
pub mod plugin;
pub mod rank;
pub mod rectangle;
pub mod reduce;
pub mod rope;
pub mod rows;
mod scores;
pub mod select;
mod source;
