//! The low-rank part of a pruned model: a file for each layer beside the output while it is made, then a PEFT adapter in it.

use super::{WriteError, disk::write_error};
use crate::checkpoint::{
    ADAPTER, Shard,
    adapter::{self, AdapterConfig},
};
use bytes::Bytes;
use safetensors::{Dtype, tensor::View};
use serde_json::json;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A factor of a low-rank part, f32, row by row.
#[derive(Debug)]
pub struct Factor {
    /// Rows and columns.
    pub shape: [usize; 2],
    /// Its elements.
    pub bytes: Bytes,
}

impl View for &Factor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The file of a layer's factors in the folder of an unfinished output.
pub(super) fn piece(folder: &Path, weight: &str) -> PathBuf {
    folder.join(format!("low-rank-{}.safetensors", adapter::module(weight)))
}

/// The content of such a file: `left` of `[out_features, rank]` and `right` of `[rank, in_features]`, f32.
pub(super) fn encode(
    weight: &str,
    (rows, rank, cols): (usize, usize, usize),
    left: Vec<u8>,
    right: Vec<u8>,
) -> Result<Vec<u8>, WriteError> {
    let factors = [
        (adapter::factor(weight, 'B'), Factor { shape: [rows, rank], bytes: left.into() }),
        (adapter::factor(weight, 'A'), Factor { shape: [rank, cols], bytes: right.into() }),
    ];
    let views = factors.iter().map(|(name, factor)| (name, factor));
    safetensors::serialize(views, None).map_err(|error| WriteError::LowRank {
        name: weight.to_owned(),
        source: std::io::Error::other(error),
    })
}

/// The factors of a layer, `[out_features, rank]` and `[rank, in_features]`, from its file.
pub(super) fn read(folder: &Path, weight: &str) -> Result<(Factor, Factor), WriteError> {
    let shard = Shard::open(piece(folder, weight), String::new()).map_err(Box::new)?;
    let factor = |which| {
        let name = adapter::factor(weight, which);
        let entry = shard.header.tensors.iter().find(|entry| entry.name == name);
        match entry.and_then(|entry| Some((entry, entry.shape.first_chunk::<2>()?))) {
            Some((entry, shape)) => {
                Ok(Factor { shape: *shape, bytes: shard.read(entry.range.clone()).map_err(Box::new)? })
            }
            None => Err(WriteError::UnknownTensor { name }),
        }
    };
    Ok((factor('B')?, factor('A')?))
}

/// Makes `adapter/` in the output from the files of these layers: the name of each weight in the source, and in the output.
pub(super) fn assemble(folder: &Path, model: &Path, weights: &[(String, String)]) -> Result<(), WriteError> {
    let to = model.join(ADAPTER);
    fs::create_dir_all(&to).map_err(write_error(&to))?;
    let mut factors = Vec::new();
    let mut ranks = BTreeMap::new();
    for (source, name) in weights {
        let (left, right) = read(folder, source)?;
        ranks.insert(adapter::module(name).to_owned(), right.shape[0]);
        factors.push((adapter::factor(name, 'A'), right));
        factors.push((adapter::factor(name, 'B'), left));
    }
    let written = to.join(adapter::CONFIG);
    let config = config(ranks).map_err(|error| write_error(&written)(std::io::Error::other(error)))?;
    fs::write(&written, config).map_err(write_error(&written))?;
    let path = to.join(adapter::FACTORS);
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    let views = factors.iter().map(|(name, factor)| (name, factor));
    safetensors::serialize_to_file(views, Some(metadata), &path)
        .map_err(|error| write_error(&path)(std::io::Error::other(error)))?;
    // The library makes a file for the user alone, whatever the umask says.
    let allowed = fs::metadata(&written).map_err(write_error(&written))?.permissions();
    fs::set_permissions(&path, allowed).map_err(write_error(&path))
}

/// PEFT's configuration of factors that are added as they are, for layers of these ranks.
fn config(ranks: BTreeMap<String, usize>) -> Result<Vec<u8>, serde_json::Error> {
    let largest = ranks.values().copied().max().unwrap_or(1);
    let mut config = json!({
        "task_type": "CAUSAL_LM",
        "target_modules": ranks.keys().collect::<Vec<_>>(),
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "lora_dropout": 0.0,
        "use_dora": false,
        "use_rslora": false,
    });
    let scale = AdapterConfig {
        peft_type: "LORA".to_owned(),
        r: largest,
        lora_alpha: largest,
        rank_pattern: ranks.clone(),
        alpha_pattern: ranks,
    };
    if let (Some(config), serde_json::Value::Object(scale)) =
        (config.as_object_mut(), serde_json::to_value(scale)?)
    {
        config.extend(scale);
    }
    serde_json::to_vec_pretty(&config)
}
