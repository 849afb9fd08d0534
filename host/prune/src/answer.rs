//! What a stage answers for a layer, and what may be wrong with it.

use super::{PruneError, Result};
use espalier_device::{DType, DeviceError, Tensor};
use espalier_plugins::DeviceTensors;
use espalier_sdk::message::{PrunedData, TensorHandle};

/// The fault of a stage in a layer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The method's error.
    Method(espalier_sdk::Error),
    /// Its answer is not usable.
    Returned(String),
    /// The device failed.
    Device(DeviceError),
}

impl From<DeviceError> for Fault {
    fn from(error: DeviceError) -> Self {
        Self::Device(error)
    }
}

impl From<espalier_sdk::Error> for Fault {
    fn from(error: espalier_sdk::Error) -> Self {
        Self::Method(error)
    }
}

impl Fault {
    /// In this layer.
    pub(super) fn at(self, layer: &str) -> PruneError {
        let layer = layer.to_owned();
        match self {
            Self::Method(source) => PruneError::Method { layer, source },
            Self::Returned(message) => PruneError::Returned { layer, message },
            Self::Device(source) => PruneError::Device { layer, source },
        }
    }
}

/// A stage's answer whose tensors are the host's.
pub(super) struct Taken {
    pub(super) weight: Option<Tensor>,
    pub(super) mask: Option<Tensor>,
    pub(super) low_rank: Option<(Tensor, Tensor)>,
    pub(super) data: PrunedData,
}

impl Taken {
    /// Takes the tensors of an answer.
    pub(super) fn new(data: PrunedData, tensors: &DeviceTensors) -> Result<Self, Fault> {
        let take = |handle: TensorHandle| tensors.take(handle.id);
        let pair = |(left, right)| Ok::<_, espalier_sdk::Error>((take(left)?, take(right)?));
        let low_rank = data.low_rank.map(pair).transpose()?;
        let weight = data.weight.map(take).transpose()?;
        let mask = data.mask.map(take).transpose()?;
        Ok(Self { weight, mask, low_rank, data })
    }

    /// Checks that what is there fits a weight of this shape.
    pub(super) fn check(&self, rows: usize, cols: usize) -> Result<(), Fault> {
        let misfit = |what: &str, found: &Tensor, dtype: DType, cols: usize| {
            let is = (found.dtype(), found.rows(), found.cols());
            let found = format!("{} [{}, {}]", is.0, is.1, is.2);
            (is != (dtype, rows, cols))
                .then(|| Fault::Returned(format!("{what}{found} where {dtype} [{rows}, {cols}] is expected")))
        };
        if let Some(fault) = self.weight.as_ref().and_then(|found| misfit("", found, DType::F32, cols)) {
            return Err(fault);
        }
        if let Some((left, right)) = &self.low_rank {
            let (outer, inner) = ((left.rows(), right.cols()), (left.cols(), right.rows()));
            let is_f32 = left.dtype() == DType::F32 && right.dtype() == DType::F32;
            if !is_f32 || outer != (rows, cols) || inner.0 != inner.1 || inner.0 == 0 {
                return Err(Fault::Returned(format!(
                    "a low-rank part {} [{}, {}] × {} [{}, {}] where f32 [{rows}, rank] × [rank, {cols}] is expected",
                    left.dtype(),
                    left.rows(),
                    left.cols(),
                    right.dtype(),
                    right.rows(),
                    right.cols()
                )));
            }
        }
        let words = cols.div_ceil(32);
        if let Some(fault) = self.mask.as_ref().and_then(|found| misfit("a mask ", found, DType::U32, words))
        {
            return Err(fault);
        }
        Ok(())
    }
}
