//! Rotary embedding.

use crate::{
    Result, Tensor,
    gpu::{Context, Dispatch, panels, segments, sizes::size},
};
use espalier_shaders::rope::{KERNEL, PER_WORKGROUP, Params};

/// [`Op::Rope`](crate::Op::Rope).
pub fn rope(
    context: &Context,
    x: &mut Tensor,
    head_dim: usize,
    table: &Tensor,
    positions: &Tensor,
) -> Result<()> {
    const NAME: &str = "rope";
    if x.elements() == 0 {
        return Ok(());
    }
    let heads = x.cols() / head_dim;
    let table_panels = panels(table)?;
    for segment in segments(x.rows(), [(panels(x)?, 0), (panels(positions)?, 0)]) {
        let [x_part, positions_part] = &segment.parts;
        // A row is turned by the panel that has its position, and left alone by the others.
        for panel in 0..table_panels.count() {
            let table_rows = table_panels.panel_rows(panel);
            let params = Params {
                rows: size(NAME, segment.rows.len())?,
                heads: size(NAME, heads)?,
                head_dim: size(NAME, head_dim)?,
                x_row: size(NAME, x_part.row)?,
                positions_row: size(NAME, positions_part.row)?,
                table_start: size(NAME, table_rows.start)?,
                table_rows: size(NAME, table_rows.len())?,
            };
            let pairs = segment.rows.len() * heads * (head_dim / 2);
            context.dispatch(&Dispatch {
                kernel: &KERNEL,
                constants: &[],
                bindings: &[
                    x_part.binding.clone(),
                    table_panels.binding(panel),
                    positions_part.binding.clone(),
                ],
                params: bytemuck::bytes_of(&params),
                workgroups: pairs.div_ceil(PER_WORKGROUP) as u64,
            })?;
        }
    }
    Ok(())
}
