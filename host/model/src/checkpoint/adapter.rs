//! The low-rank part of a pruned model, in `adapter/` beside the weights, in the layout of PEFT's LoRA adapters: for a weight
//! `W` of `[out_features, in_features]`, `lora_B · lora_A` is added, `[out_features, rank]` times `[rank, in_features]`.

use super::{Checkpoint, CheckpointError, Shard, TensorView, float};
use crate::{archive::Contents, layout::Projection};
use espalier_base::files::{self, Limit};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// The folder of the low-rank part in a pruned model.
pub const ADAPTER: &str = "adapter";
/// PEFT's name of the file with the factors.
pub(crate) const FACTORS: &str = "adapter_model.safetensors";
/// PEFT's name of the configuration.
pub(crate) const CONFIG: &str = "adapter_config.json";

/// The part of PEFT's `LoraConfig` that says how factors become a weight.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AdapterConfig {
    pub(crate) peft_type: String,
    pub(crate) r: usize,
    pub(crate) lora_alpha: usize,
    /// Ranks other than `r`, by the layer's name.
    pub(crate) rank_pattern: BTreeMap<String, usize>,
    /// Factors other than `lora_alpha`, by the layer's name.
    pub(crate) alpha_pattern: BTreeMap<String, usize>,
}

/// The low-rank parts of a model's layers.
#[derive(Debug)]
pub(crate) struct Adapter {
    shard: Shard,
}

/// The name of a factor, `A` or `B`, of a weight such as `model.layers.0.mlp.up_proj.weight`.
pub(crate) fn factor(weight: &str, factor: char) -> String {
    format!("base_model.model.{}.lora_{factor}.weight", module(weight))
}

/// The name of the layer that has this weight.
pub(crate) fn module(weight: &str) -> &str {
    weight.strip_suffix(".weight").unwrap_or(weight)
}

impl Adapter {
    /// Opens the low-rank part of an output; none where a folder has none.
    pub(super) fn open(dir: &Path) -> Result<Option<Self>, CheckpointError> {
        let folder = dir.join(ADAPTER);
        // In other folders than ours, what is called so may be anything: no other loader would add it either.
        if !dir.join(crate::writer::MANIFEST).is_file() || !folder.is_dir() {
            return Ok(None);
        }
        let path = folder.join(CONFIG);
        let bytes = files::read(&path, Limit::CONFIG)
            .map_err(|source| CheckpointError::Read { path: path.clone(), source })?;
        let shard = || Shard::open(folder.join(FACTORS), format!("{ADAPTER}/{FACTORS}"));
        Self::of(&path, &bytes, shard).map(Some)
    }

    /// The low-rank part in an archive; none where it has none.
    pub(super) fn of_archive(archive: &Shard, contents: &Contents) -> Result<Option<Self>, CheckpointError> {
        let range = |file| contents.files.get(&format!("{ADAPTER}/{file}")).cloned();
        let (Some(config), Some(factors)) = (range(CONFIG), range(FACTORS)) else { return Ok(None) };
        let shard = || Shard::within(archive, factors, format!("{ADAPTER}/{FACTORS}"));
        let path = archive.path.join(ADAPTER).join(CONFIG);
        Self::of(&path, &archive.read(config)?, shard).map(Some)
    }

    /// The low-rank part of this configuration, whose file is `path`, and of these factors.
    fn of(
        path: &Path,
        config: &[u8],
        shard: impl FnOnce() -> Result<Shard, CheckpointError>,
    ) -> Result<Self, CheckpointError> {
        let unusable = |problem: String| CheckpointError::Adapter { path: path.to_owned(), problem };
        let config: AdapterConfig =
            serde_json::from_slice(config).map_err(|error| unusable(error.to_string()))?;
        if config.peft_type != "LORA" {
            return Err(unusable(format!("its peft_type is {}, not LORA", config.peft_type)));
        }
        if config.lora_alpha != config.r || config.alpha_pattern != config.rank_pattern {
            return Err(unusable("lora_alpha differs from r, so that the factors are scaled".to_owned()));
        }
        Ok(Self { shard: shard()? })
    }

    /// The file with the factors.
    pub(crate) fn shard(&self) -> &Shard {
        &self.shard
    }

    pub(super) fn check_unchanged(&self) -> Result<(), CheckpointError> {
        self.shard.check_unchanged()
    }

    /// The factors `lora_B` and `lora_A` of a weight.
    fn factors(&self, weight: &str) -> Result<Option<(TensorView, TensorView)>, CheckpointError> {
        let (Some(left), Some(right)) = (self.factor(weight, 'B')?, self.factor(weight, 'A')?) else {
            return Ok(None);
        };
        Ok(Some((left, right)))
    }

    fn factor(&self, weight: &str, which: char) -> Result<Option<TensorView>, CheckpointError> {
        let name = factor(weight, which);
        let Some(entry) = self.shard.header.tensors.iter().find(|entry| entry.name == name) else {
            return Ok(None);
        };
        let of_type = || CheckpointError::Type {
            path: self.shard.path.clone(),
            name: name.clone(),
            dtype: entry.dtype,
        };
        let dtype = float(entry.dtype).ok_or_else(of_type)?;
        let bytes = self.shard.read(entry.range.clone())?;
        Ok(Some(TensorView { dtype, shape: entry.shape.clone(), bytes, shard: 0 }))
    }
}

impl Checkpoint {
    /// Whether low-rank parts are added to some weights.
    pub fn has_adapter(&self) -> bool {
        self.adapter.is_some()
    }

    /// The factors of the low-rank part that is added to a weight, `[out_features, rank]` and `[rank, in_features]`.
    ///
    /// # Errors
    /// The file cannot be read, or the factors do not fit the weight.
    pub fn low_rank(&self, weight: &str) -> Result<Option<(TensorView, TensorView)>, CheckpointError> {
        let Some(adapter) = &self.adapter else { return Ok(None) };
        let Some((left, right)) = adapter.factors(weight)? else { return Ok(None) };
        let Ok((_, _, shape)) = self.described(weight) else { return Ok(None) };
        let (rows, cols) = (shape.first().copied(), shape.get(1).copied());
        let fits = matches!(
            (left.shape.as_slice(), right.shape.as_slice()),
            ([out, rank], [inner, columns])
                if Some(*out) == rows && Some(*columns) == cols && rank == inner && *rank > 0
        );
        if fits {
            return Ok(Some((left, right)));
        }
        let (left, right) = (left.shape, right.shape);
        Err(CheckpointError::Adapter {
            path: adapter.shard.path.clone(),
            problem: format!("its factors {left:?} and {right:?} do not fit {weight} {shape:?}"),
        })
    }

    /// Checks that every factor belongs to a weight of the model, and fits it.
    pub(super) fn check_adapter(&self, blocks: usize) -> Result<(), CheckpointError> {
        let Some(adapter) = &self.adapter else { return Ok(()) };
        let mut found = 0;
        for block in 0..blocks {
            for projection in Projection::ALL {
                found += 2 * usize::from(self.low_rank(&projection.weight(block))?.is_some());
            }
        }
        if found == adapter.shard.header.tensors.len() {
            return Ok(());
        }
        Err(CheckpointError::Adapter {
            path: adapter.shard.path.clone(),
            problem: "it has factors that belong to no layer of the model".to_owned(),
        })
    }
}
