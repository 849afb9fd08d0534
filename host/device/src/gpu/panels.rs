//! A tensor's memory on the GPU: one buffer for every panel of whole rows.

use super::{context::Context, packed::PackedPanels, pool::PooledBuffer};
use crate::{DType, DeviceError, Result, Storage, Tensor, check};
use std::{num::NonZeroU64, ops::Range};

/// A tensor's memory: one buffer for every panel of whole rows, because an adapter binds only so much
/// at once. All panels have the same number of rows but the last, which may have fewer.
#[derive(Debug)]
pub struct Panels {
    buffers: Vec<PooledBuffer>,
    rows: usize,
    rows_per_panel: usize,
    row_bytes: usize,
    guard_bytes: u64,
}

/// Where a row is.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// The panel's bytes, rounded up to 16.
    pub binding: wgpu::BufferBinding<'a>,
    /// The row within the panel.
    pub row: usize,
    /// Rows from there to the panel's end.
    pub rows_left: usize,
}

impl Panels {
    /// Buffers for a tensor. What they hold is undefined.
    ///
    /// # Errors
    /// A row is larger than a panel may be, or no memory is left.
    pub(super) fn allocate(context: &Context, dtype: DType, rows: usize, cols: usize) -> Result<Self> {
        check::tensor_bytes("allocate", dtype, rows, cols, None)?;
        let row_bytes = cols * dtype.size();
        if rows == 0 || row_bytes == 0 {
            return Ok(Self {
                buffers: Vec::new(),
                rows,
                rows_per_panel: rows.max(1),
                row_bytes,
                guard_bytes: 0,
            });
        }
        let guard_bytes = context.guard_bytes();
        let limit = context.panel_limit() as usize;
        if row_bytes > limit {
            return Err(DeviceError::Invalid {
                operation: "allocate",
                message: format!(
                    "one row of a tensor [{rows}, {cols}] of {dtype} takes {row_bytes} bytes, and the adapter \
                     binds at most {limit} at once; use --device cpu or another adapter"
                ),
            });
        }
        let rows_per_panel = (limit / row_bytes).min(rows);
        let what = format!("a tensor [{rows}, {cols}] of {dtype}");
        // As a whole, before its first part is asked for.
        context.pool().check_budget(&what, rows as u64 * row_bytes as u64)?;
        let buffers = (0..rows.div_ceil(rows_per_panel))
            .map(|panel| {
                let rows = rows_per_panel.min(rows - panel * rows_per_panel);
                context.buffer(&what, bound_bytes(rows * row_bytes, guard_bytes))
            })
            .collect::<Result<_>>()?;
        let panels = Self { buffers, rows, rows_per_panel, row_bytes, guard_bytes };
        if guard_bytes > 0 {
            context.write_guards(&panels)?;
        }
        Ok(panels)
    }

    /// How many panels there are.
    pub fn count(&self) -> usize {
        self.buffers.len()
    }

    /// The rows of a panel.
    pub fn panel_rows(&self, panel: usize) -> Range<usize> {
        let start = panel * self.rows_per_panel;
        start..(start + self.rows_per_panel).min(self.rows)
    }

    /// The bytes of a panel's rows.
    pub fn panel_bytes(&self, panel: usize) -> usize {
        self.panel_rows(panel).len() * self.row_bytes
    }

    /// The bytes of a row.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }

    /// Where a panel's guard words are in its buffer.
    pub(super) fn guards(&self, panel: usize) -> Range<u64> {
        let bytes = self.panel_bytes(panel);
        bytes.next_multiple_of(4) as u64..bound_bytes(bytes, self.guard_bytes)
    }

    pub(super) fn pooled(&self, panel: usize) -> &PooledBuffer {
        &self.buffers[panel]
    }

    /// A panel, ready to be bound.
    pub fn binding(&self, panel: usize) -> wgpu::BufferBinding<'_> {
        wgpu::BufferBinding {
            buffer: self.buffers[panel].buffer(),
            offset: 0,
            size: NonZeroU64::new(bound_bytes(self.panel_bytes(panel), self.guard_bytes)),
        }
    }

    /// Where a row is. The row must exist, and rows must not be empty.
    pub fn part(&self, row: usize) -> Part<'_> {
        let panel = row / self.rows_per_panel;
        let rows = self.panel_rows(panel);
        Part { binding: self.binding(panel), row: row - rows.start, rows_left: rows.end - row }
    }

    /// The one panel of a tensor that must not be cut, such as a row.
    ///
    /// # Errors
    /// It has several panels, or none.
    pub fn only(&self, operation: &'static str) -> Result<wgpu::BufferBinding<'_>> {
        if self.count() == 1 {
            return Ok(self.binding(0));
        }
        Err(DeviceError::Invalid {
            operation,
            message: format!("an operand of {} panels must be in one", self.count()),
        })
    }
}

/// How much of a panel's buffer is bound: whole vectors, and guard words.
fn bound_bytes(bytes: usize, guard_bytes: u64) -> u64 {
    bytes.next_multiple_of(16) as u64 + guard_bytes
}

impl Storage for Panels {}

/// The panels of a tensor.
///
/// # Errors
/// The tensor belongs to another device, or its zeros are left out.
pub fn panels(tensor: &Tensor) -> Result<&Panels> {
    if tensor.storage::<PackedPanels>().is_ok() {
        let message = "a matrix whose zeros are left out is only multiplied with".to_owned();
        return Err(DeviceError::Unsupported(message));
    }
    tensor.storage()
}

/// A range of rows for which every operand is within one of its panels.
#[derive(Debug)]
pub struct Segment<'a, const N: usize> {
    /// The rows, as the operation counts them.
    pub rows: Range<usize>,
    /// Where the first of them is, for every operand.
    pub parts: [Part<'a>; N],
}

/// Cuts `rows` rows into ranges for which every operand is within one of its panels. Row `i` of the
/// operation is row `offset + i` of an operand. Every operand has columns, and has these rows.
pub fn segments<'a, const N: usize>(
    rows: usize,
    operands: [(&'a Panels, usize); N],
) -> impl Iterator<Item = Segment<'a, N>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        if start >= rows {
            return None;
        }
        let parts = operands.map(|(panels, offset)| panels.part(offset + start));
        let length = parts.iter().map(|part| part.rows_left).fold(rows - start, usize::min);
        let segment = Segment { rows: start..start + length, parts };
        start += length;
        Some(segment)
    })
}
