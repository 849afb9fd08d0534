//! The model at the border.

use super::{AbiResult, guard, plain};
use crate::{ModelInfo, Result, SamplingOptions, service::ModelService};
use abi_stable::{
    StableAbi, sabi_trait,
    sabi_trait::TD_Opaque,
    std_types::{RBox, ROption, RSlice, RVec},
};

/// [`ModelInfo`] with a stable layout.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ModelInfoAbi {
    vocab_size: u64,
    layers: u64,
    bos: ROption<u32>,
    eos: ROption<u32>,
}

/// [`SamplingOptions`] with a stable layout.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct SamplingAbi {
    max_tokens: u64,
    temperature: f32,
    top_p: f32,
    top_k: u64,
    seed: u64,
}

/// Sequences of tokens, borrowed for the call.
type Sequences<'a> = RSlice<'a, RSlice<'a, u32>>;

/// [`ModelService`] with a stable layout.
#[sabi_trait]
pub trait ModelAbi: Send + Sync {
    fn info(&self) -> AbiResult<ModelInfoAbi>;
    fn log_likelihoods(&self, sequences: Sequences<'_>) -> AbiResult<RVec<RVec<f32>>>;
    fn pooled(&self, sequences: Sequences<'_>, layers: RSlice<'_, u64>) -> AbiResult<RVec<RVec<f32>>>;
    #[sabi(last_prefix_field)]
    fn sample(&self, prefixes: Sequences<'_>, options: SamplingAbi) -> AbiResult<RVec<RVec<u32>>>;
}

/// A model as it crosses the border, for the length of a call.
pub type ModelBox<'a> = ModelAbi_TO<'a, RBox<()>>;

/// Packs the host's model for a plugin.
pub(super) fn pack(service: &dyn ModelService) -> ModelBox<'_> {
    ModelAbi_TO::from_value(ExportedModel(service), TD_Opaque)
}

struct ExportedModel<'a>(&'a dyn ModelService);

impl ModelAbi for ExportedModel<'_> {
    fn info(&self) -> AbiResult<ModelInfoAbi> {
        guard(|| {
            let ModelInfo { vocab_size, layers, bos, eos } = self.0.info()?;
            let (vocab_size, layers) = (vocab_size as u64, layers as u64);
            Ok(ModelInfoAbi { vocab_size, layers, bos: bos.into(), eos: eos.into() })
        })
    }

    fn log_likelihoods(&self, sequences: Sequences<'_>) -> AbiResult<RVec<RVec<f32>>> {
        guard(|| Ok(outward(self.0.log_likelihoods(&slices(&sequences))?)))
    }

    fn pooled(&self, sequences: Sequences<'_>, layers: RSlice<'_, u64>) -> AbiResult<RVec<RVec<f32>>> {
        guard(|| {
            let layers: Vec<usize> = layers.iter().map(|&layer| layer as usize).collect();
            Ok(outward(self.0.pooled(&slices(&sequences), &layers)?))
        })
    }

    fn sample(&self, prefixes: Sequences<'_>, options: SamplingAbi) -> AbiResult<RVec<RVec<u32>>> {
        guard(|| {
            let options = SamplingOptions {
                max_tokens: options.max_tokens as usize,
                temperature: options.temperature,
                top_p: options.top_p,
                top_k: options.top_k as usize,
                seed: options.seed,
            };
            Ok(outward(self.0.sample(&slices(&prefixes), &options)?))
        })
    }
}

fn slices<'a>(sequences: &Sequences<'a>) -> Vec<&'a [u32]> {
    sequences.iter().map(|sequence| sequence.as_slice()).collect()
}

fn outward<T>(rows: Vec<Vec<T>>) -> RVec<RVec<T>> {
    rows.into_iter().map(RVec::from).collect()
}

fn inward<T>(rows: RVec<RVec<T>>) -> Vec<Vec<T>> {
    rows.into_iter().map(RVec::into_vec).collect()
}

/// The plugin's end of a model.
pub(super) struct ImportedModel<'a>(pub(super) ModelBox<'a>);

impl ModelService for ImportedModel<'_> {
    fn info(&self) -> Result<ModelInfo> {
        let info = plain(self.0.info())?;
        Ok(ModelInfo {
            vocab_size: info.vocab_size as usize,
            layers: info.layers as usize,
            bos: info.bos.into_option(),
            eos: info.eos.into_option(),
        })
    }

    fn log_likelihoods(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let sequences: Vec<RSlice<'_, u32>> = sequences.iter().map(|&tokens| tokens.into()).collect();
        plain(self.0.log_likelihoods(sequences.as_slice().into())).map(inward)
    }

    fn pooled(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<Vec<f32>>> {
        let sequences: Vec<RSlice<'_, u32>> = sequences.iter().map(|&tokens| tokens.into()).collect();
        let layers: Vec<u64> = layers.iter().map(|&layer| layer as u64).collect();
        plain(self.0.pooled(sequences.as_slice().into(), layers.as_slice().into())).map(inward)
    }

    fn sample(&self, prefixes: &[&[u32]], options: &SamplingOptions) -> Result<Vec<Vec<u32>>> {
        let prefixes: Vec<RSlice<'_, u32>> = prefixes.iter().map(|&tokens| tokens.into()).collect();
        let options = SamplingAbi {
            max_tokens: options.max_tokens as u64,
            temperature: options.temperature,
            top_p: options.top_p,
            top_k: options.top_k as u64,
            seed: options.seed,
        };
        plain(self.0.sample(prefixes.as_slice().into(), options)).map(inward)
    }
}
