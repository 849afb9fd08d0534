//! What is ranked.

use crate::{Binary, Tensor, Unary, service::ScoreIds};

/// Scores: the elements of a matrix, or what is computed of them while they are ranked, so that no matrix of
/// scores is ever written.
///
/// ```no_run
/// # use espalier_sdk::*;
/// # fn wanda(layer: &Layer, target: Sparsity, device: &Device) -> Result<Mask> {
/// let scores = Scores::of(Unary::Abs, &layer.weight).by(Binary::Multiply, layer.statistics.column_norms()?);
/// device.smallest_per_row(scores, target)
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    f: Unary,
    a: &'a Tensor,
    by: Option<(Binary, &'a Tensor)>,
}

impl<'a> Scores<'a> {
    /// `f(a)`, element by element.
    pub fn of(f: Unary, a: &'a Tensor) -> Self {
        Self { f, a, by: None }
    }

    /// `f(a) ∘ row`, with one number for every column: row is `[1, cols]`.
    #[must_use]
    pub fn by(self, op: Binary, row: &'a Tensor) -> Self {
        Self { by: Some((op, row)), ..self }
    }

    pub(crate) fn rows(&self) -> usize {
        self.a.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.a.cols
    }

    pub(crate) fn ids(&self) -> ScoreIds {
        ScoreIds { f: self.f, a: self.a.id, by: self.by.map(|(op, row)| (op, row.id)) }
    }
}

impl<'a> From<&'a Tensor> for Scores<'a> {
    fn from(scores: &'a Tensor) -> Self {
        Self::of(Unary::Identity, scores)
    }
}
