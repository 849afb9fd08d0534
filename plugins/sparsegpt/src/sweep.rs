//! The column sweep over one block: the kernel `sweep.wgsl` and its CPU twin.

use bytemuck::{Pod, Zeroable};
use espalier_sdk::{Access, Buffer, DType, Device, Error, Kernel, Mask, Result, Tensor};
use rayon::prelude::*;

/// The widest block: a workgroup has a thread for every column.
pub(crate) const MAX_BLOCK: usize = 256;

/// Rows that a workgroup owns; as in `sweep.wgsl`.
const ROWS: usize = 8;

const KERNEL: Kernel = Kernel {
    name: "sparsegpt_sweep",
    wgsl: include_str!("sweep.wgsl"),
    bindings: &[Access::Read, Access::Read, Access::Write, Access::Write],
    cpu: Some(on_cpu),
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    rows: u32,
    cols: u32,
    /// 0 to prune by the mask, otherwise the size of a group.
    m: u32,
    /// How many of a group are pruned.
    n: u32,
}

/// The target of a block.
pub(crate) enum SweepTarget {
    /// These weights of the block.
    Mask(Mask),
    /// Of every `m` columns the `n` of the smallest current score.
    Groups {
        /// Pruned per group.
        n: usize,
        /// Group size.
        m: usize,
    },
}

/// Prunes the columns of one block in place and returns the errors `(w − q) / U_jj`, `[rows, cols]`.
/// `columns` is `[rows, cols]`, `factor` the block's part of `U`, `[cols, cols]`.
pub(crate) fn run(
    columns: &mut Tensor,
    factor: &Tensor,
    target: &SweepTarget,
    device: &Device,
) -> Result<Tensor> {
    let (rows, cols) = (columns.rows(), columns.cols());
    let mut errors = device.zeros(DType::F32, rows, cols)?;
    let unused;
    let (mask, n, m) = match target {
        SweepTarget::Mask(mask) => (mask.words(), 0, 0),
        &SweepTarget::Groups { n, m } => {
            unused = device.zeros(DType::U32, 1, 1)?;
            (&unused, n, m)
        }
    };
    let params = Params { rows: rows as u32, cols: cols as u32, m: m as u32, n: n as u32 };
    let workgroups = rows.div_ceil(ROWS);
    device.run(
        &KERNEL,
        &[factor, mask],
        &mut [columns, &mut errors],
        bytemuck::bytes_of(&params),
        workgroups,
    )?;
    Ok(errors)
}

/// The CPU twin: rows are independent, so each is swept for itself, in parallel.
fn on_cpu(buffers: &mut [Buffer<'_>], params: &[u8]) -> Result<()> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let [factor, mask, columns, errors] = buffers else {
        return Err(Error::invalid("the sweep has four bindings"));
    };
    let (factor, mask) = (factor.f32(), mask.u32());
    let cols = params.cols as usize;
    let words = cols.div_ceil(32);
    let (columns, errors) = (columns.f32_mut()?, errors.f32_mut()?);
    columns
        .par_chunks_exact_mut(cols)
        .zip(errors.par_chunks_exact_mut(cols))
        .enumerate()
        .with_min_len(ROWS)
        .for_each(|(number, (row, errors))| {
            let mut pruned = [false; MAX_BLOCK];
            if params.m == 0 {
                let mask = &mask[number * words..(number + 1) * words];
                for (col, pruned) in pruned[..cols].iter_mut().enumerate() {
                    *pruned = mask[col / 32] >> (col % 32) & 1 == 1;
                }
            }
            for col in 0..cols {
                if params.m != 0 && col.is_multiple_of(params.m as usize) {
                    let end = col + params.m as usize;
                    choose_group(row, factor, cols, col..end, params.n as usize, &mut pruned);
                }
                let line = &factor[col * cols..(col + 1) * cols];
                let kept = if pruned[col] { 0.0 } else { row[col] };
                let error = (row[col] - kept) / line[col];
                row[col] = kept;
                errors[col] = error;
                if error != 0.0 {
                    for (w, u) in row[col + 1..].iter_mut().zip(&line[col + 1..]) {
                        *w -= error * u;
                    }
                }
            }
        });
    Ok(())
}

/// Marks the `n` smallest current scores of a group; ties go to the lower column.
fn choose_group(
    row: &[f32],
    factor: &[f32],
    cols: usize,
    group: std::ops::Range<usize>,
    n: usize,
    pruned: &mut [bool],
) {
    let scores: Vec<f32> = group.clone().map(|col| score(row[col], factor[col * cols + col])).collect();
    for (at, col) in group.enumerate() {
        let mine = scores[at];
        let before = scores.iter().enumerate().filter(|&(other, &s)| s < mine || (s == mine && other < at));
        pruned[col] = before.count() < n;
    }
}

fn score(weight: f32, diagonal: f32) -> f32 {
    weight * weight / (diagonal * diagonal)
}
