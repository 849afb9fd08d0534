//! The operations of the GPU: what checks operands, cuts them into panels and starts kernels.

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
