//! Advice on unexpected content of a checkpoint.

use super::{Checkpoint, CheckpointError};
use crate::{config::LlamaConfig, layout::LM_HEAD, resolve::conversion};
use espalier_base::text;
use std::path::Path;

impl Checkpoint {
    /// Says which tensors the model does not use, and why if that is known; not the buffers of older versions, and not the
    /// blocks that the configuration leaves out.
    pub(crate) fn tell_unused(&self, config: &LlamaConfig) {
        let (biases, others): (Vec<_>, Vec<_>) = self
            .unused(config)
            .into_iter()
            .filter(|name| is_told(name, config))
            .partition(|name| is_bias(name));
        let named = |names: &[&str]| {
            let shown: Vec<_> = names.iter().take(3).map(|name| format!("`{}`", text::line(name))).collect();
            let more = names.len().saturating_sub(shown.len());
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{}{more}", shown.join(", "))
        };
        if !biases.is_empty() {
            tracing::warn!(
                "{}: {} biases are stored but not used, because config.json does not ask for them with `attention_bias` or \
                 `mlp_bias`; transformers leaves them out as well: {}",
                self.dir.display(),
                biases.len(),
                named(&biases)
            );
        }
        if !others.is_empty() {
            tracing::warn!(
                "{}: {} tensors are not part of the model that config.json describes, and are copied as they are: {}",
                self.dir.display(),
                others.len(),
                named(&others)
            );
        }
    }

    /// The error of tensors that are missing.
    pub(super) fn missing(&self, first: &str, more: usize) -> CheckpointError {
        let quantized = |name: &&str| QUANTIZED.iter().any(|end| name.ends_with(end));
        if let Some(name) = self.names().find(quantized) {
            return CheckpointError::Quantized { path: self.dir.clone(), name: name.to_owned() };
        }
        let hint = self.hint(first);
        CheckpointError::MissingTensors { path: self.dir.clone(), first: first.to_owned(), more, hint }
    }

    /// Why a tensor may be missing, and what to do.
    fn hint(&self, missing: &str) -> String {
        if missing == LM_HEAD {
            return ": set `tie_word_embeddings` to true in config.json if the embedding is the projection to logits as well"
                .to_owned();
        }
        let plain = missing.strip_prefix("model.").unwrap_or(missing);
        let prefix =
            self.names().find_map(|name| name.strip_suffix(plain)).filter(|prefix| *prefix != "model.");
        match prefix {
            Some("") => format!(
                "; it is there as `{plain}`: the names lack the prefix `model.`, as where the base model was saved alone. Load \
                 it with transformers' AutoModelForCausalLM and save it with save_pretrained()"
            ),
            Some(prefix) => format!(
                "; it is there as `{}{plain}`: the names begin with `{}` and not with `model.`, as where a wrapper around the \
                 model was saved (an adapter must be merged first). Save the model itself with save_pretrained()",
                text::line(prefix),
                text::line(prefix)
            ),
            None => String::new(),
        }
    }
}

/// Ends of the names of tensors that quantized layers have in place of a weight.
const QUANTIZED: [&str; 7] =
    [".qweight", ".qzeros", ".scales", ".weight_packed", ".weight_scale", ".quant_map", ".absmax"];

/// Whether a tensor that is not used is worth a word.
fn is_told(name: &str, config: &LlamaConfig) -> bool {
    let block =
        name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    !name.ends_with(".inv_freq") && block.is_none_or(|block| block < config.num_hidden_layers)
}

fn is_bias(name: &str) -> bool {
    name.starts_with("model.layers.") && name.ends_with("_proj.bias")
}

/// Advice for a folder that holds these files and no safetensors.
pub(super) fn without_weights(dir: &Path, names: &[String]) -> String {
    let ends = |end: &str| names.iter().find(|name| name.ends_with(end));
    if let Some(file) = ends(".bin").filter(|name| name.starts_with("pytorch_model")) {
        format!("convert {file} with: {}", conversion(dir))
    } else if let Some(file) = ends(".pth") {
        format!("{file} is Meta's own format; use the model's Hugging Face version")
    } else if let Some(file) = ends(".gguf") {
        format!("{file} is llama.cpp's format; use the Hugging Face model it was made from")
    } else if names.iter().any(|name| name == "config.json") {
        "the weights were not fetched".to_owned()
    } else {
        "a Hugging Face model folder with config.json and model.safetensors is needed".to_owned()
    }
}
