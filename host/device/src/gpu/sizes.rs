//! Numbers as kernels take them.

use crate::{Compute, DType, DeviceError, Result};

/// The number of a floating-point type in the kernels' override constants.
pub(super) fn dtype_constant(dtype: DType) -> f64 {
    match dtype {
        DType::F32 | DType::U32 => 0.0,
        DType::F16 => 1.0,
        DType::BF16 => 2.0,
    }
}

/// The number of a type to compute in, in the kernels' override constants.
pub(super) fn compute_constant(compute: Compute) -> f64 {
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
pub(super) fn size(operation: &'static str, value: usize) -> Result<u32> {
    u32::try_from(value).map_err(|_| DeviceError::Invalid {
        operation,
        message: format!("{value} is more than the kernels count, {}", u32::MAX),
    })
}
