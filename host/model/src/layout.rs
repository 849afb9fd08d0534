//! The tensors of a LLaMA checkpoint: their names and shapes.

use super::config::LlamaConfig;

/// The token embeddings, `[vocab_size, hidden_size]`.
pub const EMBEDDING: &str = "model.embed_tokens.weight";
/// The norm after the last block, `[hidden_size]`.
pub const FINAL_NORM: &str = "model.norm.weight";
/// The projection to logits, `[vocab_size, hidden_size]`. Absent where it is tied to [`EMBEDDING`].
pub const LM_HEAD: &str = "lm_head.weight";

/// The linear layers of a block, which are what pruning prunes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Projection {
    /// Queries.
    Query,
    /// Keys.
    Key,
    /// Values.
    Value,
    /// The attention's output.
    Output,
    /// The gate of the feed-forward network.
    Gate,
    /// The feed-forward network's way up.
    Up,
    /// The feed-forward network's way down.
    Down,
}

/// A text that names no projection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a linear layer of a block: choose from {names}", names = Projection::names())]
pub struct ParseProjectionError(String);

impl std::str::FromStr for Projection {
    type Err = ParseProjectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|projection| projection.name() == text);
        found.ok_or_else(|| ParseProjectionError(text.to_owned()))
    }
}

impl serde::Serialize for Projection {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> serde::Deserialize<'de> for Projection {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Projection {
    /// All of them, in the order of the forward pass.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];

    /// The name within a block.
    pub fn module(self) -> &'static str {
        match self {
            Self::Query => "self_attn.q_proj",
            Self::Key => "self_attn.k_proj",
            Self::Value => "self_attn.v_proj",
            Self::Output => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// The module's own name, such as `q_proj`.
    pub fn name(self) -> &'static str {
        let module = self.module();
        module.rsplit('.').next().unwrap_or(module)
    }

    /// All names, for messages.
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// The input it shares with its neighbours.
    pub fn input(self) -> LayerInput {
        match self {
            Self::Query | Self::Key | Self::Value => LayerInput::Attention,
            Self::Output => LayerInput::AttentionOutput,
            Self::Gate | Self::Up => LayerInput::Mlp,
            Self::Down => LayerInput::MlpOutput,
        }
    }

    /// The name of the weight in a block.
    pub fn weight(self, block: usize) -> String {
        format!("model.layers.{block}.{}.weight", self.module())
    }

    /// The name of the bias in a block, where the model [has one](Self::has_bias).
    pub fn bias(self, block: usize) -> String {
        format!("model.layers.{block}.{}.bias", self.module())
    }

    /// The weight's rows (outputs) and columns (inputs).
    pub fn shape(self, config: &LlamaConfig) -> (usize, usize) {
        let hidden = config.hidden_size;
        match self {
            Self::Query => (config.query_size(), hidden),
            Self::Key | Self::Value => (config.key_size(), hidden),
            Self::Output => (hidden, config.query_size()),
            Self::Gate | Self::Up => (config.intermediate_size, hidden),
            Self::Down => (hidden, config.intermediate_size),
        }
    }

    /// Whether the model has a bias here.
    pub fn has_bias(self, config: &LlamaConfig) -> bool {
        match self {
            Self::Query | Self::Key | Self::Value | Self::Output => config.attention_bias,
            Self::Gate | Self::Up | Self::Down => config.mlp_bias,
        }
    }

    /// The block and the layer of a weight's name, if it is a linear layer's weight.
    pub fn parse(name: &str) -> Option<(usize, Self)> {
        let (block, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
        let module = rest.strip_suffix(".weight")?;
        let projection = Self::ALL.into_iter().find(|projection| projection.module() == module)?;
        Some((block.parse().ok()?, projection))
    }
}

/// The input of one or several linear layers that share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerInput {
    /// Of q, k and v: the normed hidden states, `[tokens, hidden]`.
    Attention,
    /// Of o: the attention's output, `[tokens, heads · head_dim]`.
    AttentionOutput,
    /// Of gate and up: the normed hidden states, `[tokens, hidden]`.
    Mlp,
    /// Of down: `silu(gate) · up`, `[tokens, intermediate]`.
    MlpOutput,
}

/// The norm before a block's attention, `[hidden_size]`.
pub fn input_norm(block: usize) -> String {
    format!("model.layers.{block}.input_layernorm.weight")
}

/// The norm before a block's feed-forward network, `[hidden_size]`.
pub fn post_attention_norm(block: usize) -> String {
    format!("model.layers.{block}.post_attention_layernorm.weight")
}

/// The names and shapes of all tensors of one block.
pub fn block(config: &LlamaConfig, block: usize) -> Vec<(String, Vec<usize>)> {
    let mut tensors = vec![
        (input_norm(block), vec![config.hidden_size]),
        (post_attention_norm(block), vec![config.hidden_size]),
    ];
    for projection in Projection::ALL {
        let (rows, cols) = projection.shape(config);
        tensors.push((projection.weight(block), vec![rows, cols]));
        if projection.has_bias(config) {
            tensors.push((projection.bias(block), vec![rows]));
        }
    }
    tensors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for projection in Projection::ALL {
            assert_eq!(Projection::parse(&projection.weight(17)), Some((17, projection)));
            assert_eq!(Projection::parse(&projection.bias(17)), None);
        }
        for name in [EMBEDDING, LM_HEAD, FINAL_NORM, "model.layers.x.mlp.up_proj.weight", "model.layers."] {
            assert_eq!(Projection::parse(name), None, "{name}");
        }
    }
}
