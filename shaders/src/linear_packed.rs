//! [`linear_few`](crate::linear_few) with weights without their zeros.

use crate::{Kernel, linear, wgsl};

/// Bindings: those of [`linear::KERNEL`], whose w are the elements that are kept, followed by at least 8 bytes; the mask, of
/// which every row begins with a multiple of [`ROW_COLUMNS`] bits; and where each row begins among the elements, as u32.
///
/// Constants and parameters are those of [`linear_few::KERNEL`](crate::linear_few::KERNEL) but `ALIGNED`, which tells of x alone;
/// `w_row` is not used, and w's rows are all. The CPU twin is [`linear::cpu`] with [`Weights::Packed`](crate::Weights::Packed).
/// Invocations meet the columns that they meet there, in the same order.
pub const KERNEL: Kernel = wgsl::linear_packed::KERNEL.with::<linear::Params>();

/// A row of the mask has a multiple of so many bits.
pub const ROW_COLUMNS: usize = wgsl::linear_packed::ROW_COLUMNS as usize;
