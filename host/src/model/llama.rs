//! The LLaMA forward pass, read top-down: embed → blocks → head.
//!
//! Blocks are loaded one at a time; a batch is a ragged concatenation of sequences (see
//! [`Batch`]), so padding does not exist here.

use super::{Batch, Checkpoint, LlamaConfig, ModelError, Result};
use crate::device::{AttentionShape, DType, Device, Tensor};
use std::{ops::ControlFlow, sync::Arc};

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

/// A linear layer of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Projection {
    /// `self_attn.q_proj`
    Q,
    /// `self_attn.k_proj`
    K,
    /// `self_attn.v_proj`
    V,
    /// `self_attn.o_proj`
    O,
    /// `mlp.gate_proj`
    Gate,
    /// `mlp.up_proj`
    Up,
    /// `mlp.down_proj`
    Down,
}

impl Projection {
    /// All, in the order of the forward pass.
    pub const ALL: [Self; 7] = [Self::Q, Self::K, Self::V, Self::O, Self::Gate, Self::Up, Self::Down];

    /// Its module's path within a block.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Q => "self_attn.q_proj",
            Self::K => "self_attn.k_proj",
            Self::V => "self_attn.v_proj",
            Self::O => "self_attn.o_proj",
            Self::Gate => "mlp.gate_proj",
            Self::Up => "mlp.up_proj",
            Self::Down => "mlp.down_proj",
        }
    }

    /// The name of its weight in a checkpoint.
    pub fn weight_name(self, block: usize) -> String {
        format!("model.layers.{block}.{}.weight", self.path())
    }

    /// The input it shares with its neighbours.
    pub const fn input(self) -> LayerInput {
        match self {
            Self::Q | Self::K | Self::V => LayerInput::Attention,
            Self::O => LayerInput::AttentionOutput,
            Self::Gate | Self::Up => LayerInput::Mlp,
            Self::Down => LayerInput::MlpOutput,
        }
    }

    /// `(out_features, in_features)`.
    pub fn shape(self, config: &LlamaConfig) -> (usize, usize) {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let query = config.num_attention_heads * config.head_dim;
        let key = config.num_key_value_heads * config.head_dim;
        match self {
            Self::Q => (query, hidden),
            Self::K | Self::V => (key, hidden),
            Self::O => (hidden, query),
            Self::Gate | Self::Up => (inner, hidden),
            Self::Down => (hidden, inner),
        }
    }
}

/// A model whose weights stay in its checkpoint until they are needed.
pub struct Llama {
    /// The weights.
    pub checkpoint: Checkpoint,
    /// The architecture.
    pub config: LlamaConfig,
    /// Where it runs.
    pub device: Arc<dyn Device>,
}

/// The weights of one block, on the device.
pub struct Block {
    input_norm: Tensor,
    post_attention_norm: Tensor,
    /// In the order of [`Projection::ALL`].
    linears: [Linear; 7],
}

/// A linear layer's weights, in the checkpoint's type.
pub struct Linear {
    /// `[out_features, in_features]`
    pub weight: Tensor,
    /// `[1, out_features]`
    pub bias: Option<Tensor>,
}

/// The final norm and the output projection, on the device.
pub struct Head {
    norm: Tensor,
    lm_head: Tensor,
}

impl Block {
    /// A linear layer.
    pub fn linear(&self, projection: Projection) -> &Linear {
        &self.linears[projection as usize]
    }

    /// A linear layer, to replace its weight.
    pub fn linear_mut(&mut self, projection: Projection) -> &mut Linear {
        &mut self.linears[projection as usize]
    }
}

impl Llama {
    /// The embeddings of a batch's tokens, `[tokens, hidden]`, f32. Gathered on the host: only the rows
    /// that occur are ever read.
    ///
    /// # Errors
    /// A token outside the vocabulary, or a failing device.
    pub fn embed(&self, batch: &Batch) -> Result<Tensor> {
        let table = self.checkpoint.tensor("model.embed_tokens.weight")?;
        let (width, size) = (self.config.hidden_size, table.dtype.size());
        let mut rows = Vec::with_capacity(batch.tokens.len() * width * size);
        for &token in &batch.tokens {
            let token = token as usize;
            if token >= self.config.vocab_size {
                return Err(ModelError::Token { token, vocab_size: self.config.vocab_size });
            }
            rows.extend_from_slice(&table.bytes[token * width * size..(token + 1) * width * size]);
        }
        let raw = self.device.upload(table.dtype, batch.tokens.len(), width, rows.into())?;
        if table.dtype == DType::F32 {
            return Ok(raw);
        }
        let mut hidden = self.device.zeros(DType::F32, batch.tokens.len(), width)?;
        self.device.convert(&raw, &mut hidden)?;
        Ok(hidden)
    }

    /// Loads a block's weights onto the device.
    ///
    /// # Errors
    /// The device has no memory left, or the checkpoint lacks a tensor.
    pub fn load_block(&self, index: usize) -> Result<Block> {
        let norm = |name: &str| self.load_row(&format!("model.layers.{index}.{name}.weight"));
        let mut linears = Vec::with_capacity(Projection::ALL.len());
        for projection in Projection::ALL {
            let bias = format!("model.layers.{index}.{}.bias", projection.path());
            linears.push(Linear {
                weight: self.load_matrix(&projection.weight_name(index), projection.shape(&self.config))?,
                bias: if self.checkpoint.contains(&bias) { Some(self.load_row(&bias)?) } else { None },
            });
        }
        let Ok(linears) = linears.try_into() else { unreachable!("one linear layer a projection") };
        Ok(Block {
            input_norm: norm("input_layernorm")?,
            post_attention_norm: norm("post_attention_layernorm")?,
            linears,
        })
    }

    /// Runs a block over `hidden` `[tokens, hidden]`, in place. `observe` sees the input of every linear
    /// layer before it is used; where it breaks, the block stops and `hidden` is left half-way.
    ///
    /// # Errors
    /// A failing device, or what `observe` returns.
    pub fn forward_block(
        &self,
        block: &Block,
        batch: &Batch,
        hidden: &mut Tensor,
        observe: &mut dyn FnMut(LayerInput, &Tensor) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let (device, config) = (&*self.device, &self.config);
        let tokens = hidden.rows();

        // Self-attention.
        let mut normed = device.zeros(DType::F32, tokens, config.hidden_size)?;
        device.rms_norm(hidden, &block.input_norm, config.rms_norm_eps, &mut normed)?;
        if observe(LayerInput::Attention, &normed)?.is_break() {
            return Ok(());
        }
        let mut q = self.apply(block.linear(Projection::Q), &normed)?;
        let mut k = self.apply(block.linear(Projection::K), &normed)?;
        let v = self.apply(block.linear(Projection::V), &normed)?;
        device.rope(&mut q, config.head_dim, &batch.rope, &batch.positions)?;
        device.rope(&mut k, config.head_dim, &batch.rope, &batch.positions)?;
        let mut attended = device.zeros(DType::F32, tokens, config.num_attention_heads * config.head_dim)?;
        device.attention(&q, &k, &v, &self.attention_shape(), &batch.spans, &mut attended)?;
        drop((q, k, v));
        if observe(LayerInput::AttentionOutput, &attended)?.is_break() {
            return Ok(());
        }
        self.add(block.linear(Projection::O), &attended, hidden)?;
        drop(attended);

        // Gated MLP.
        device.rms_norm(hidden, &block.post_attention_norm, config.rms_norm_eps, &mut normed)?;
        if observe(LayerInput::Mlp, &normed)?.is_break() {
            return Ok(());
        }
        let mut inner = self.apply(block.linear(Projection::Gate), &normed)?;
        let up = self.apply(block.linear(Projection::Up), &normed)?;
        device.silu_mul(&mut inner, &up)?;
        drop((normed, up));
        if observe(LayerInput::MlpOutput, &inner)?.is_break() {
            return Ok(());
        }
        self.add(block.linear(Projection::Down), &inner, hidden)
    }

    /// Loads the final norm and the output projection.
    ///
    /// # Errors
    /// As [`Llama::load_block`].
    pub fn load_head(&self) -> Result<Head> {
        let tied = self.config.tie_word_embeddings || !self.checkpoint.contains("lm_head.weight");
        let name = if tied { "model.embed_tokens.weight" } else { "lm_head.weight" };
        Ok(Head {
            norm: self.load_row("model.norm.weight")?,
            lm_head: self.load_matrix(name, (self.config.vocab_size, self.config.hidden_size))?,
        })
    }

    /// Logits `[tokens, vocab]` of the last block's hidden states.
    ///
    /// # Errors
    /// A failing device.
    pub fn logits(&self, head: &Head, hidden: &Tensor) -> Result<Tensor> {
        let mut normed = self.device.zeros(DType::F32, hidden.rows(), hidden.cols())?;
        self.device.rms_norm(hidden, &head.norm, self.config.rms_norm_eps, &mut normed)?;
        let mut logits = self.device.zeros(DType::F32, hidden.rows(), self.config.vocab_size)?;
        self.device.linear(&normed, &head.lm_head, None, false, &mut logits)?;
        Ok(logits)
    }

    fn attention_shape(&self) -> AttentionShape {
        AttentionShape {
            heads: self.config.num_attention_heads,
            kv_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim,
            scale: 1.0 / (self.config.head_dim as f32).sqrt(),
            window: self.config.sliding_window,
        }
    }

    fn apply(&self, linear: &Linear, x: &Tensor) -> Result<Tensor> {
        let mut y = self.device.zeros(DType::F32, x.rows(), linear.weight.rows())?;
        self.device.linear(x, &linear.weight, linear.bias.as_ref(), false, &mut y)?;
        Ok(y)
    }

    fn add(&self, linear: &Linear, x: &Tensor, residual: &mut Tensor) -> Result<()> {
        Ok(self.device.linear(x, &linear.weight, linear.bias.as_ref(), true, residual)?)
    }

    fn load_matrix(&self, name: &str, (rows, cols): (usize, usize)) -> Result<Tensor> {
        let view = self.checkpoint.tensor(name)?;
        Ok(self.device.upload(view.dtype, rows, cols, view.bytes)?)
    }

    fn load_row(&self, name: &str) -> Result<Tensor> {
        let view = self.checkpoint.tensor(name)?;
        let width = view.bytes.len() / view.dtype.size();
        Ok(self.device.upload(view.dtype, 1, width, view.bytes)?)
    }
}
