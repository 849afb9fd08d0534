//! `config.json`: what a checkpoint says of its model.

use super::{
    json::Object,
    rope::{Rope, RopeScaling},
};
use espalier_base::files;
use std::path::Path;

pub use super::config_error::{ConfigError, SUPPORTED};

/// A family of models with one forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// LLaMA 1 to 3.3 and what is built like them.
    Llama,
    /// Mistral 7B and what is built like it: LLaMA with a sliding window.
    Mistral,
}

/// The configuration of a LLaMA-family model, from `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// The family.
    pub architecture: Architecture,
    /// Numbers in a hidden state.
    pub hidden_size: usize,
    /// Numbers between the feed-forward network's two layers.
    pub intermediate_size: usize,
    /// Transformer blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides [`Self::num_attention_heads`].
    pub num_key_value_heads: usize,
    /// Numbers in a head; even.
    pub head_dim: usize,
    /// Tokens the model knows.
    pub vocab_size: usize,
    /// The epsilon that is added to the mean square in every norm.
    pub rms_norm_eps: f64,
    /// The model's context in tokens.
    pub max_position_embeddings: usize,
    /// Whether the projection to logits is the embedding matrix.
    pub tie_word_embeddings: bool,
    /// Whether q, k, v and o have biases.
    pub attention_bias: bool,
    /// Whether gate, up and down have biases.
    pub mlp_bias: bool,
    /// How many of the last positions a query sees, itself included.
    pub sliding_window: Option<usize>,
    /// The position embedding.
    pub rope: Rope,
    /// The token that begins a text.
    pub bos_token_id: Option<u32>,
    /// The tokens that end a generated text: those of `generation_config.json`, else of `config.json`.
    pub eos_token_ids: Vec<u32>,
}

impl LlamaConfig {
    /// Reads `config.json` (and the token numbers of `generation_config.json`, if there is one) of a
    /// model folder.
    ///
    /// # Errors
    /// The file is missing or no JSON, a key is missing or of the wrong type, the numbers do not fit
    /// together, or the model is of another architecture.
    pub fn read(dir: &Path) -> Result<Self, ConfigError> {
        let path = dir.join("config.json");
        if !files::exists(&path) {
            instead_of_model(dir)?;
        }
        let object = Object::read(&path)?;
        let mut config = Self::from_object(&path, &object)?;
        let generation = dir.join("generation_config.json");
        if files::exists(&generation) {
            let object = Object::read(&generation)?;
            let eos = object.tokens("eos_token_id")?;
            if !eos.is_empty() {
                config.eos_token_ids = eos;
            }
            config.bos_token_id = config.bos_token_id.or(object.tokens("bos_token_id")?.first().copied());
        }
        Ok(config)
    }

    /// Tokens in a window: as given, else as many as the published codes take, 2048, or the model's context.
    pub fn seqlen(&self, given: Option<usize>) -> usize {
        given.unwrap_or(2048.min(self.max_position_embeddings))
    }

    /// Warns where sequences are longer than the model's context. They are computed all the same, as by transformers.
    pub fn warn_of_length(&self, tokens: usize, whose: &str) {
        let context = self.max_position_embeddings;
        if tokens > context {
            let why = match self.rope.depends_on_length() {
                true => "its dynamic RoPE scaling is made for that",
                false => "it was not trained on such lengths, so that results say little of it",
            };
            tracing::warn!("{whose}: {tokens} tokens are more than the model's context of {context}; {why}");
        }
    }

    /// Numbers in all query heads together.
    pub fn query_size(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Numbers in all key heads together, and in all value heads.
    pub fn key_size(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    fn from_object(path: &Path, object: &Object) -> Result<Self, ConfigError> {
        let architecture = architecture(path, object)?;
        let mistral = architecture == Architecture::Mistral;
        if let Some(quantization) = object.object("quantization_config")? {
            let method = quantization.text("quant_method")?.unwrap_or_else(|| "method unnamed".to_owned());
            return Err(ConfigError::Quantized { path: path.to_owned(), method });
        }
        let size = |key: &str| object.required(key, object.size(key)?);
        let hidden_size = size("hidden_size")?;
        let heads = size("num_attention_heads")?;
        let layers = size("num_hidden_layers")?;
        if layers > 10_000 {
            return Err(object.bad("num_hidden_layers", format!("{layers} is beyond any model")));
        }
        // Absent keys mean what they mean to transformers.
        let kv_heads = match object.size("num_key_value_heads")? {
            Some(given) => given,
            None if mistral && !object.has("num_key_value_heads") => 8,
            None => heads,
        };
        if heads % kv_heads != 0 {
            let message = format!("{kv_heads} key and value heads do not divide the {heads} query heads");
            return Err(object.bad("num_key_value_heads", message));
        }
        let head_dim = match object.size("head_dim")? {
            Some(given) => given,
            None if hidden_size % heads == 0 => hidden_size / heads,
            None => {
                let message = format!(
                    "the hidden size {hidden_size} is not a multiple of {heads}, and `head_dim` is not given"
                );
                return Err(object.bad("num_attention_heads", message));
            }
        };
        if head_dim % 2 != 0 {
            return Err(
                object.bad("head_dim", format!("it is {head_dim}, but rotary embeddings need it even"))
            );
        }
        if heads.checked_mul(head_dim).is_none_or(|size| size > i32::MAX as usize) {
            return Err(
                object.bad("num_attention_heads", format!("{heads} × {head_dim} is beyond any model"))
            );
        }
        let activation = object.text("hidden_act")?;
        if activation.as_deref().is_some_and(|name| !matches!(name, "silu" | "swish")) {
            return Err(object.bad("hidden_act", "only `silu` is supported"));
        }
        let eps = object.number("rms_norm_eps")?.unwrap_or(1e-6);
        if eps < 0.0 {
            return Err(object.bad("rms_norm_eps", format!("it is {eps}, but must not be negative")));
        }
        let context = object.size("max_position_embeddings")?.unwrap_or(if mistral { 131_072 } else { 2048 });
        Ok(Self {
            architecture,
            hidden_size,
            intermediate_size: size("intermediate_size")?,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            vocab_size: size("vocab_size")?,
            rms_norm_eps: eps,
            max_position_embeddings: context,
            tie_word_embeddings: object.flag("tie_word_embeddings")?.unwrap_or(false),
            attention_bias: !mistral && object.flag("attention_bias")?.unwrap_or(false),
            mlp_bias: !mistral && object.flag("mlp_bias")?.unwrap_or(false),
            sliding_window: sliding_window(object, mistral)?,
            rope: rope(object, head_dim, context)?,
            bos_token_id: object.tokens("bos_token_id")?.first().copied(),
            eos_token_ids: object.tokens("eos_token_id")?,
        })
    }
}

/// Tells what a folder without `config.json` is, if it is known.
fn instead_of_model(dir: &Path) -> Result<(), ConfigError> {
    let path = dir.to_owned();
    if dir.join("adapter_config.json").exists() {
        return Err(ConfigError::Adapter { path });
    }
    match ["consolidated.00.pth", "params.json"].into_iter().find(|file| dir.join(file).exists()) {
        Some(file) => Err(ConfigError::Original { path, file: file.to_owned() }),
        None => Ok(()),
    }
}

/// Checks that `model_type`, which other loaders go by, is that of the architecture.
fn check_type(object: &Object, kind: &str) -> Result<(), ConfigError> {
    match object.text("model_type")? {
        Some(found) if found != kind => {
            let message = format!(
                "it is `{found}`, but the architecture has `{kind}`: loaders go by one or by the other"
            );
            Err(object.bad("model_type", message))
        }
        _ => Ok(()),
    }
}

fn architecture(path: &Path, object: &Object) -> Result<Architecture, ConfigError> {
    let named = object.texts("architectures")?.unwrap_or_default();
    let refused = |found: String| Err(ConfigError::Architecture { path: path.to_owned(), found });
    match named.as_slice() {
        [] => match object.text("model_type")?.as_deref() {
            Some("llama") => Ok(Architecture::Llama),
            Some("mistral") => Ok(Architecture::Mistral),
            Some(other) => refused(format!("`{other}`")),
            None => object.required("architectures", None),
        },
        // The second is how the first converted LLaMA checkpoints spelt it.
        [name] if name == "LlamaForCausalLM" || name == "LLaMAForCausalLM" => {
            check_type(object, "llama").map(|()| Architecture::Llama)
        }
        [name] if name == "MistralForCausalLM" => {
            check_type(object, "mistral").map(|()| Architecture::Mistral)
        }
        names => refused(format!("`{}`", names.join("`, `"))),
    }
}

fn sliding_window(object: &Object, mistral: bool) -> Result<Option<usize>, ConfigError> {
    if !mistral {
        return Ok(None);
    }
    Ok(match object.size("sliding_window")? {
        None if !object.has("sliding_window") => Some(4096),
        found => found,
    })
}

/// The position embedding by the older keys (`rope_theta`, `rope_scaling`) or the newer
/// (`rope_parameters`), with the precedence of transformers: `rope_scaling` over `rope_parameters`, what
/// stands inside over what stands beside.
fn rope(object: &Object, head_dim: usize, context: usize) -> Result<Rope, ConfigError> {
    let older = object.object("rope_scaling")?.filter(|inner| inner.keys().next().is_some());
    let inner = match older {
        Some(older) => Some(older),
        None => object.object("rope_parameters")?,
    };
    let inside = inner.as_ref();
    let theta = match inside.map(|inner| inner.positive("rope_theta")).transpose()?.flatten() {
        Some(theta) => theta,
        None => object.positive("rope_theta")?.unwrap_or(10_000.0),
    };
    for place in [Some(object), inside].into_iter().flatten() {
        if place.number("partial_rotary_factor")?.is_some_and(|share| share != 1.0) {
            return Err(place.bad("partial_rotary_factor", "only whole heads (1.0) are supported"));
        }
    }
    let scaling = match inside {
        Some(inner) => scaling(object, inner, theta, context)?,
        None => RopeScaling::Default,
    };
    Ok(Rope { head_dim, theta, context, scaling })
}

fn scaling(object: &Object, inner: &Object, theta: f64, context: usize) -> Result<RopeScaling, ConfigError> {
    let name = match inner.text("rope_type")? {
        Some(name) => Some(name),
        None => inner.text("type")?,
    };
    let needed = |key: &str| inner.required(key, inner.positive(key)?);
    let original_context = || {
        let outside = object.size("original_max_position_embeddings")?;
        let inside = inner.size("original_max_position_embeddings")?;
        Ok(outside.or(inside).unwrap_or(context))
    };
    Ok(match name.as_deref() {
        None | Some("default") => RopeScaling::Default,
        Some("linear") => RopeScaling::Linear { factor: needed("factor")? },
        Some("dynamic") => RopeScaling::Dynamic { factor: needed("factor")? },
        Some("llama3") => {
            let (low, high) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
            if high <= low {
                return Err(
                    inner.bad("high_freq_factor", format!("{high} is not above the low factor {low}"))
                );
            }
            RopeScaling::Llama3 {
                factor: needed("factor")?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_context: original_context()?,
            }
        }
        Some("yarn") => {
            if theta <= 1.0 {
                return Err(inner.bad("rope_theta", format!("it is {theta}, but YaRN needs it above 1")));
            }
            let original_context = original_context()?;
            // Zero counts as not given.
            let beta = |key: &str, default: f64| match inner.number(key)? {
                None | Some(0.0) => Ok(default),
                Some(_) => needed(key),
            };
            let factor = inner.positive("factor")?.unwrap_or(context as f64 / original_context as f64);
            RopeScaling::Yarn {
                factor,
                beta_fast: beta("beta_fast", 32.0)?,
                beta_slow: beta("beta_slow", 1.0)?,
                original_context,
                attention_factor: match inner.number("attention_factor")? {
                    Some(given) => given,
                    None => yarn_attention(factor, inner.number("mscale")?, inner.number("mscale_all_dim")?),
                },
                truncate: inner.flag("truncate")?.unwrap_or(true),
            }
        }
        Some(other) => {
            let message = format!(
                "`{other}` is not supported; supported are default, linear, dynamic, llama3 and yarn"
            );
            return Err(inner.bad("rope_type", message));
        }
    })
}

fn yarn_attention(factor: f64, mscale: Option<f64>, mscale_all_dim: Option<f64>) -> f64 {
    let scale = |by: f64| if factor <= 1.0 { 1.0 } else { 0.1 * by * factor.ln() + 1.0 };
    match (mscale, mscale_all_dim) {
        (Some(above), Some(below)) if above != 0.0 && below != 0.0 => scale(above) / scale(below),
        _ => scale(1.0),
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
