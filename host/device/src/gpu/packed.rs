//! Matrices whose zeros are left out, as kernels read them: in panels of whole rows, because an adapter binds only so much at once.

use super::{Context, Dispatch, Panels, memory, panels, segments, sizes::size};
use crate::{DType, PackedMatrix, Result, Storage, Tensor};
use espalier_shaders::{expand, linear_packed::ROW_COLUMNS, mask_bytes};
use std::ops::Range;

/// Zeros behind the elements of a panel, because kernels read some elements at a time.
const PADDING_BYTES: usize = 16;

/// A matrix whose zeros are left out.
#[derive(Debug)]
pub struct PackedPanels {
    dtype: DType,
    rows: usize,
    cols: usize,
    panels: Vec<PackedPanel>,
}

/// Some of its rows; each part is one buffer of words.
#[derive(Debug)]
struct PackedPanel {
    rows: Range<usize>,
    values: Tensor,
    mask: Tensor,
    offsets: Tensor,
}

impl Storage for PackedPanels {}

impl PackedPanel {
    fn parts(&self) -> [&Tensor; 3] {
        [&self.values, &self.mask, &self.offsets]
    }
}

impl PackedPanels {
    /// Rows of every panel, with its elements, its mask and where its rows begin.
    ///
    /// # Errors
    /// A part is in several buffers.
    pub(super) fn bindings(
        &self,
        operation: &'static str,
    ) -> impl Iterator<Item = Result<(Range<usize>, [wgpu::BufferBinding<'_>; 3])>> {
        self.panels.iter().map(move |panel| {
            let [values, mask, offsets] = panel.parts().map(|part| panels(part)?.only(operation));
            Ok((panel.rows.clone(), [values?, mask?, offsets?]))
        })
    }

    /// All buffers.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Tensor> {
        self.panels.iter().flat_map(PackedPanel::parts)
    }
}

/// As [`Device::upload_packed`](crate::Device::upload_packed), of parts that fit together.
pub(super) fn upload(context: &Context, packed: &PackedMatrix) -> Result<Tensor> {
    let (dtype, rows, cols) = (packed.dtype, packed.rows(), packed.cols);
    let row_bytes = cols * dtype.size();
    let limit = (context.panel_limit() as usize).saturating_sub(PADDING_BYTES);
    let at_once = (limit / row_bytes.max(row_mask(cols)).max(1)).max(1);
    let starts = (0..rows).step_by(at_once);
    let uploaded = starts.map(|start| upload_panel(context, packed, start..rows.min(start + at_once)));
    let panels = uploaded.collect::<Result<_>>()?;
    Ok(Tensor::new(dtype, rows, cols, PackedPanels { dtype, rows, cols, panels }))
}

/// Bytes of a row's mask, as kernels read it.
fn row_mask(cols: usize) -> usize {
    cols.div_ceil(ROW_COLUMNS) * (ROW_COLUMNS / 8)
}

fn upload_panel(context: &Context, packed: &PackedMatrix, rows: Range<usize>) -> Result<PackedPanel> {
    let (element, row_bytes) = (packed.dtype.size(), mask_bytes(packed.cols));
    let begin = |row: usize| packed.offsets.get(row).map_or(packed.values.len() / element, |at| *at as usize);
    let first = begin(rows.start);
    let mut values = packed.values[first * element..begin(rows.end) * element].to_vec();
    values.resize((values.len() + PADDING_BYTES).next_multiple_of(4), 0);
    let mut mask = vec![0; rows.len() * row_mask(packed.cols)];
    let masks = packed.mask[rows.start * row_bytes..rows.end * row_bytes].chunks_exact(row_bytes.max(1));
    for (row, out) in masks.zip(mask.chunks_exact_mut(row_mask(packed.cols).max(1))) {
        out[..row_bytes].copy_from_slice(row);
    }
    let mut offsets = Vec::with_capacity(4 * rows.len());
    for row in rows.clone() {
        offsets.extend(size("upload", begin(row) - first)?.to_le_bytes());
    }
    let words = |bytes: &[u8]| memory::upload(context, DType::U32, bytes.len() / 4, 1, bytes);
    Ok(PackedPanel { rows, values: words(&values)?, mask: words(&mask)?, offsets: words(&offsets)? })
}

/// The matrix with its zeros.
///
/// # Errors
/// The device failed, or has no memory left.
pub(super) fn expand(context: &Context, packed: &PackedPanels) -> Result<Tensor> {
    const NAME: &str = "expand";
    let out = memory::uninitialised(context, packed.dtype, packed.rows, packed.cols)?;
    if out.elements() == 0 {
        return Ok(out);
    }
    let halves = packed.dtype.size() == 2;
    for panel in &packed.panels {
        for segment in segments(panel.rows.len(), [(panels(&out)?, panel.rows.start)]) {
            let [part] = &segment.parts;
            let (count, start) = (segment.rows.len() * packed.cols, part.row * packed.cols);
            let params = expand::Params {
                rows: size(NAME, segment.rows.len())?,
                row: size(NAME, segment.rows.start)?,
                cols: size(NAME, packed.cols)?,
                out_start: size(NAME, start)?,
            };
            let words = if halves { (start + count).div_ceil(2) - start / 2 } else { count };
            context.dispatch(&Dispatch {
                kernel: &expand::KERNEL,
                constants: &[("HALVES", f64::from(u8::from(halves)))],
                bindings: &[
                    panels(&panel.values)?.only(NAME)?,
                    panels(&panel.mask)?.only(NAME)?,
                    panels(&panel.offsets)?.only(NAME)?,
                    part.binding.clone(),
                ],
                params: bytemuck::bytes_of(&params),
                workgroups: words.div_ceil(expand::WORDS_PER_WORKGROUP) as u64,
            })?;
        }
    }
    Ok(out)
}

/// Whether no kernel wrote past the end of a part.
pub(super) fn guards_intact(context: &Context, packed: &PackedPanels) -> Result<bool> {
    let intact = |part: &Panels| context.guards_intact(part);
    packed.parts().map(|part| intact(panels(part)?)).try_fold(true, |all, one| Ok(all && one?))
}
