//! What a method makes of a layer.

use crate::{
    Code, DType, Device, Error, Mask, Result, Tensor,
    message::{LayerData, PrunedData, TensorHandle},
};
use std::collections::BTreeMap;

/// A pruned layer: a mask, a weight, or both, and perhaps a low-rank part.
///
/// ```
/// # use espalier_sdk::{testing, *};
/// # fn main() -> Result<()> {
/// let device = testing::device();
/// // The old weight stays where the mask is not set.
/// let mask = Mask::from_slice(&device, 1, 3, &[true, false, false])?;
/// let pruned = Pruned::from(mask).error(0.25).number("damping", 0.01);
/// assert!(pruned.weight.is_none());
///
/// // A new weight, with a low-rank part that is added to it.
/// let (weight, left, right) =
///     (device.full(2, 3, 0.0)?, device.full(2, 1, 1.0)?, device.full(1, 3, 0.5)?);
/// let pruned = Pruned::from(weight).low_rank(left, right);
/// assert!(pruned.low_rank.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Pruned {
    /// The new weight, of the old one's shape, f32; without one, the old weight stays where the mask is not set.
    pub weight: Option<Tensor>,
    /// What is pruned; without one, what is 0 in the weight.
    pub mask: Option<Mask>,
    /// A low-rank part that is added to the weight: `[out_features, rank]` times `[rank, in_features]`.
    pub low_rank: Option<(Tensor, Tensor)>,
    /// The method's own measure of what pruning cost this layer, if it has one.
    pub error: Option<f64>,
    /// Other numbers for the manifest, by name, such as the damping that was used.
    pub numbers: BTreeMap<String, f64>,
    /// Remarks for the run's log and manifest, such as a damping that had to be raised.
    pub notes: Vec<String>,
}

impl From<Tensor> for Pruned {
    fn from(weight: Tensor) -> Self {
        Self { weight: Some(weight), ..Self::default() }
    }
}

impl From<Mask> for Pruned {
    fn from(mask: Mask) -> Self {
        Self { mask: Some(mask), ..Self::default() }
    }
}

impl From<(Tensor, Mask)> for Pruned {
    fn from((weight, mask): (Tensor, Mask)) -> Self {
        Self { weight: Some(weight), mask: Some(mask), ..Self::default() }
    }
}

impl Pruned {
    /// Adds a low-rank part `left · right`, `[out_features, rank]` times `[rank, in_features]`.
    #[must_use]
    pub fn low_rank(mut self, left: Tensor, right: Tensor) -> Self {
        self.low_rank = Some((left, right));
        self
    }

    /// Says what pruning cost this layer by the method's own measure.
    #[must_use]
    pub fn error(mut self, error: f64) -> Self {
        self.error = Some(error);
        self
    }

    /// Adds a number for the manifest.
    #[must_use]
    pub fn number(mut self, name: impl Into<String>, value: f64) -> Self {
        self.numbers.insert(name.into(), value);
        self
    }

    /// What came over the border, of a layer of so many columns. What was lent of these layers is copied.
    pub(crate) fn from_data(
        data: PrunedData,
        device: &Device,
        cols: usize,
        lent: &[LayerData],
    ) -> Result<Self> {
        let own = |handle: TensorHandle| {
            let is_lent = |layer: &LayerData| layer.tensors().any(|tensor| tensor.id == handle.id);
            let tensor = device.known(handle, !lent.iter().any(is_lent));
            if lent.iter().any(is_lent) { tensor.copy() } else { Ok(tensor) }
        };
        let pair = |(left, right)| Ok::<_, Error>((own(left)?, own(right)?));
        Ok(Self {
            weight: data.weight.map(own).transpose()?,
            mask: data.mask.map(|words| Mask::of(own(words)?, cols)).transpose()?,
            low_rank: data.low_rank.map(pair).transpose()?,
            error: data.error,
            numbers: data.numbers,
            notes: data.notes,
        })
    }

    /// Hands everything over the border.
    pub(crate) fn into_data(self) -> Result<PrunedData> {
        let Self { weight, mask, low_rank, error, numbers, notes } = self;
        let named = numbers.iter().map(|(name, &value)| (name.as_str(), value));
        let numbers_given = named.chain(error.map(|error| ("error", error)));
        for (name, value) in numbers_given {
            if !value.is_finite() {
                return Err(Error::new(
                    Code::Numeric,
                    format!("the number `{name}` of the result is {value}"),
                ));
            }
        }
        for tensor in weight.iter().chain(low_rank.iter().flat_map(|(left, right)| [left, right])) {
            if tensor.dtype() != DType::F32 {
                return Err(Error::invalid(format!("{tensor:?} is returned where f32 is expected")));
            }
        }
        Ok(PrunedData {
            weight: weight.map(Tensor::give),
            mask: mask.map(|mask| mask.words.give()),
            low_rank: low_rank.map(|(left, right)| (left.give(), right.give())),
            error,
            numbers,
            notes,
        })
    }
}
