//! Scores, which methods rank.

use crate::Tensor;

/// Scores: the elements of a matrix, or a function of them that is computed while they are ranked, so that no matrix of
/// scores is ever written.
///
/// ```no_run
/// # use espalier_sdk::*;
/// # fn wanda(layer: &Layer, target: Sparsity, device: &Device) -> Result<Mask> {
/// let scores = Scores::of(Unary::Abs, &layer.weight).by(Binary::Multiply, layer.statistics.column_norms()?);
/// device.smallest_per_row(scores, target)
/// # }
/// ```
pub type Scores<'a> = espalier_ops::Scores<&'a Tensor>;
