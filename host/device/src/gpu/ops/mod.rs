//! The operations of the GPU: what checks operands, cuts them into panels and starts kernels.

pub mod attention;
pub mod elementwise;
pub mod factor;
pub mod linear;
pub mod matmul;
pub mod memory;
pub mod plugin;
pub mod rank;
pub mod rectangle;
pub mod reduce;
pub mod rope;
pub mod rows;
mod scores;
pub mod select;
mod source;

use crate::{Compute, DType, DeviceError, Result};

/// The number of a floating-point type in the kernels' override constants.
pub fn dtype_constant(dtype: DType) -> f64 {
    match dtype {
        DType::F32 | DType::U32 => 0.0,
        DType::F16 => 1.0,
        DType::BF16 => 2.0,
    }
}

/// The number of a type to compute in, in the kernels' override constants.
pub fn compute_constant(compute: Compute) -> f64 {
    match compute {
        Compute::F32 => 0.0,
        Compute::F16 => 1.0,
        Compute::BF16 => 2.0,
    }
}

/// A size as kernels take it.
///
/// # Errors
/// It has no room in 32 bits.
pub fn size(operation: &'static str, value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| DeviceError::Invalid {
        operation,
        message: format!("{value} is more than the kernels count, {}", u32::MAX),
    })
}
