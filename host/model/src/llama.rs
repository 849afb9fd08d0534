//! The LLaMA forward pass, read top-down: embed → blocks → head.
//!
//! Blocks are loaded one at a time (see [`Llama::each_block`]); a batch is a ragged concatenation of sequences (see
//! [`Batch`]), so padding does not exist here.

use super::{
    Batch, Checkpoint, LlamaConfig, ModelError, Narrow, Result,
    checkpoint::TensorView,
    generate::CachedBlock,
    layout::{self, LayerInput, Projection},
    low_rank::{in_f32, merged},
};
use espalier_device::{AttentionShape, DType, Device, Input, LinearLayer, Norm, Onto, Op, Tensor};
use std::{collections::BTreeSet, fmt, ops::ControlFlow, path::Path, sync::Arc};

/// A model whose weights stay in its checkpoint until they are needed.
pub struct Llama {
    /// The weights.
    pub checkpoint: Checkpoint,
    /// The architecture.
    pub config: LlamaConfig,
    /// Where it runs.
    pub device: Arc<dyn Device>,
}

impl fmt::Debug for Llama {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Llama").finish_non_exhaustive()
    }
}

/// The weights of one block, on the device.
#[derive(Debug)]
pub struct Block {
    index: usize,
    input_norm: Tensor,
    post_attention_norm: Tensor,
    /// In the order of [`Projection::ALL`].
    linears: [Linear; 7],
}

/// A linear layer's weights, in the checkpoint's type.
#[derive(Debug)]
pub struct Linear {
    /// `[out_features, in_features]`
    pub weight: Tensor,
    /// `[1, out_features]`
    pub bias: Option<Tensor>,
}

impl Linear {
    fn product<'a>(&'a self, onto: Onto<'a>, y: &'a mut Tensor) -> LinearLayer<'a> {
        LinearLayer { weight: &self.weight, bias: self.bias.as_ref(), onto, y }
    }
}

/// Sees the input of every linear layer before it is used; where it breaks, the block stops.
pub type Observer<'a> = dyn FnMut(LayerInput, &Tensor) -> Result<ControlFlow<()>> + 'a;

/// The final norm and the output projection, on the device.
#[derive(Debug)]
pub struct Head {
    pub(super) norm: Tensor,
    pub(super) lm_head: Tensor,
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

impl Block {
    /// The weight of the norm before attention or the MLP.
    pub(super) fn norm(&self, input: LayerInput) -> &Tensor {
        if input == LayerInput::Attention { &self.input_norm } else { &self.post_attention_norm }
    }
}

impl Llama {
    /// Opens a model folder; weights are read when they are needed.
    ///
    /// # Errors
    /// The configuration or the checkpoint is not usable.
    pub fn open(folder: &Path, device: Arc<dyn Device>) -> Result<Self> {
        let config = LlamaConfig::read(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        checkpoint.validate(&config)?;
        checkpoint.tell_unused(&config);
        Ok(Self { checkpoint, config, device })
    }

    /// The same model, opened again with these neurons and heads alone; of blocks that are `removed`, widths do not matter.
    ///
    /// # Errors
    /// The blocks would have different widths, or the checkpoint is not usable any more.
    pub fn narrowed(&self, narrow: &Narrow, removed: &BTreeSet<usize>) -> Result<Self> {
        let config = narrow.config(&self.config, removed).map_err(|widths| ModelError::Widths { widths })?;
        let checkpoint = Checkpoint::open(self.checkpoint.dir())?.sliced(narrow.slices(&self.config));
        Ok(Self { checkpoint, config, device: Arc::clone(&self.device) })
    }

    /// The embeddings of a batch's tokens, `[tokens, hidden]`, f32. Gathered on the host: only the rows
    /// that occur are ever read.
    ///
    /// # Errors
    /// A token outside the vocabulary, or a failing device.
    pub fn embed(&self, batch: &Batch) -> Result<Tensor> {
        let name = self.checkpoint.embedding(&self.config);
        let on_device = |source| ModelError::Tensor { name: name.to_owned(), source };
        let (width, vocab_size) = (self.config.hidden_size, self.config.vocab_size);
        let tokens = batch.tokens.iter().map(|&token| token as usize);
        if let Some(token) = tokens.clone().find(|&token| token >= vocab_size) {
            return Err(ModelError::Token { token, vocab_size });
        }
        let (dtype, rows) = self.checkpoint.rows(name, tokens)?;
        let raw = self.device.upload(dtype, batch.tokens.len(), width, rows.into()).map_err(on_device)?;
        if dtype == DType::F32 {
            return Ok(raw);
        }
        let mut hidden = self.device.zeros(DType::F32, batch.tokens.len(), width).map_err(on_device)?;
        self.device.execute(Op::Convert { x: &raw }, &mut hidden).map_err(on_device)?;
        Ok(hidden)
    }

    /// Loads a block's weights onto the device.
    ///
    /// # Errors
    /// The device has no memory left, or the checkpoint lacks a tensor.
    pub fn load_block(&self, index: usize) -> Result<Block> {
        self.checkpoint.check_unchanged()?;
        for (name, _) in layout::block(&self.config, index) {
            self.checkpoint.request(&name);
        }
        let mut linears = Vec::with_capacity(Projection::ALL.len());
        for projection in Projection::ALL {
            let bias = projection.has_bias(&self.config).then(|| self.load_row(&projection.bias(index)));
            linears.push(Linear { weight: self.load_weight(projection, index)?, bias: bias.transpose()? });
        }
        let Ok(linears) = linears.try_into() else { unreachable!("one linear layer a projection") };
        Ok(Block {
            index,
            input_norm: self.load_row(&layout::input_norm(index))?,
            post_attention_norm: self.load_row(&layout::post_attention_norm(index))?,
            linears,
        })
    }

    /// Gives the memory of a block's pages of the checkpoint back to the system.
    pub fn release_block(&self, index: usize) {
        for (name, _) in layout::block(&self.config, index) {
            self.checkpoint.release(&name);
        }
    }

    /// Runs a block over `hidden` `[tokens, hidden]`, in place, attending to the batch's own keys. Where `observe` breaks,
    /// `hidden` is left half-way.
    ///
    /// # Errors
    /// A failing device, or what `observe` returns.
    pub fn forward_block(
        &self,
        block: &Block,
        batch: &Batch,
        hidden: &mut Tensor,
        observe: Option<&mut Observer>,
    ) -> Result<()> {
        self.run_block(block, batch, None, hidden, observe)
    }

    /// As [`Llama::forward_block`]; with a cache, the batch's keys and values are put into it, and its spans
    /// are over the rows of the cache.
    pub(super) fn run_block(
        &self,
        block: &Block,
        batch: &Batch,
        cache: Option<CachedBlock>,
        hidden: &mut Tensor,
        observe: Option<&mut Observer>,
    ) -> Result<()> {
        let done = self.through(block, batch, cache, hidden, observe);
        done.map_err(|error| error.in_block(block.index))
    }

    fn through(
        &self,
        block: &Block,
        batch: &Batch,
        cache: Option<CachedBlock>,
        hidden: &mut Tensor,
        mut observe: Option<&mut Observer>,
    ) -> Result<()> {
        let (device, config) = (&*self.device, &self.config);
        let tokens = hidden.rows();
        let observed = observe.is_some();
        let mut stops_at = |input, x: &Tensor| match &mut observe {
            Some(observe) => observe(input, x).map(|flow| flow.is_break()),
            None => Ok(false),
        };

        // Self-attention.
        let mut written = None;
        let input = self.normed(hidden, &block.input_norm, observed.then_some(&mut written))?;
        if stops_at(LayerInput::Attention, input.x)? {
            return Ok(());
        }
        let [mut q, mut k, v] =
            self.apply(block, [Projection::Query, Projection::Key, Projection::Value], input)?;
        drop(written);
        device.execute(
            Op::Rope { table: &batch.rope, positions: &batch.positions, head_dim: config.head_dim },
            &mut q,
        )?;
        device.execute(
            Op::Rope { table: &batch.rope, positions: &batch.positions, head_dim: config.head_dim },
            &mut k,
        )?;
        let mut attended = device.zeros(DType::F32, tokens, config.query_size())?;
        let spread;
        let (keys, values) = match (cache, &batch.shared) {
            (None, None) => (&k, &v),
            (None, Some(shared)) => {
                spread = (shared.spread(self, &k)?, shared.spread(self, &v)?);
                (&spread.0, &spread.1)
            }
            (Some(CachedBlock { keys, values, places }), _) => {
                device.execute(Op::ScatterRows { x: &k, places }, keys)?;
                device.execute(Op::ScatterRows { x: &v, places }, values)?;
                (&*keys, &*values)
            }
        };
        device.execute(
            Op::Attention {
                q: &q,
                k: keys,
                v: values,
                shape: self.attention_shape(),
                spans: batch.spans.to_vec(),
            },
            &mut attended,
        )?;
        drop((q, k, v));
        if stops_at(LayerInput::AttentionOutput, &attended)? {
            return Ok(());
        }
        self.add(block.linear(Projection::Output), &attended, hidden)?;
        drop(attended);

        // Gated MLP.
        let mut written = None;
        let input = self.normed(hidden, &block.post_attention_norm, observed.then_some(&mut written))?;
        if stops_at(LayerInput::Mlp, input.x)? {
            return Ok(());
        }
        let (up, gate) = (block.linear(Projection::Up), block.linear(Projection::Gate));
        let onto = Onto::Gate { weight: &gate.weight, bias: gate.bias.as_ref() };
        let mut inner = device.zeros(DType::F32, tokens, config.intermediate_size)?;
        device.linears(input, &mut [up.product(onto, &mut inner)])?;
        drop(written);
        if stops_at(LayerInput::MlpOutput, &inner)? {
            return Ok(());
        }
        self.add(block.linear(Projection::Down), &inner, hidden)
    }

    /// Loads the final norm and the output projection.
    ///
    /// # Errors
    /// As [`Llama::load_block`].
    pub fn load_head(&self) -> Result<Head> {
        let name = self.checkpoint.head(&self.config);
        let head = Head {
            norm: self.load_row(layout::FINAL_NORM)?,
            lm_head: self.load_matrix(name, (self.config.vocab_size, self.config.hidden_size))?,
        };
        // The head is read after the last block, so this covers all that was read.
        self.checkpoint.check_unchanged()?;
        Ok(head)
    }

    /// Logits `[tokens, vocab]` of the last block's hidden states.
    ///
    /// # Errors
    /// A failing device.
    pub fn logits(&self, head: &Head, hidden: &Tensor) -> Result<Tensor> {
        let name = self.checkpoint.head(&self.config);
        let on_device = |source| ModelError::Tensor { name: name.to_owned(), source };
        let mut logits =
            self.device.zeros(DType::F32, hidden.rows(), self.config.vocab_size).map_err(on_device)?;
        let head_layer =
            LinearLayer { weight: &head.lm_head, bias: None, onto: Onto::Nothing, y: &mut logits };
        let input = self.normed(hidden, &head.norm, None)?;
        self.device.linears(input, &mut [head_layer]).map_err(on_device)?;
        Ok(logits)
    }

    pub(super) fn attention_shape(&self) -> AttentionShape {
        AttentionShape {
            heads: self.config.num_attention_heads,
            kv_heads: self.config.num_key_value_heads,
            head_dim: self.config.head_dim,
            scale: 1.0 / (self.config.head_dim as f32).sqrt(),
            window: self.config.sliding_window,
        }
    }

    /// The input of layers behind a norm: normalised by what reads it, or written out where more than layers do.
    fn normed<'a>(
        &self,
        x: &'a Tensor,
        weight: &'a Tensor,
        written: Option<&'a mut Option<Tensor>>,
    ) -> Result<Input<'a>> {
        let eps = self.config.rms_norm_eps as f32;
        let Some(written) = written else { return Ok(Input { x, norm: Some(Norm { weight, eps }) }) };
        let normed = written.insert(self.device.zeros(DType::F32, x.rows(), x.cols())?);
        self.device.execute(Op::RmsNorm { x, weight, eps }, normed)?;
        Ok(Input::from(&*normed))
    }

    /// Applies these layers to their common input.
    fn apply<const N: usize>(
        &self,
        block: &Block,
        layers: [Projection; N],
        input: Input,
    ) -> Result<[Tensor; N]> {
        let layers = layers.map(|projection| block.linear(projection));
        let zeros =
            |layer: &&Linear| Ok(self.device.zeros(DType::F32, input.x.rows(), layer.weight.rows())?);
        let outputs = layers.iter().map(zeros).collect::<Result<Vec<_>>>()?;
        let Ok(mut outputs) = <[Tensor; N]>::try_from(outputs) else { unreachable!("one output a layer") };
        let products = layers.iter().zip(&mut outputs).map(|(layer, y)| layer.product(Onto::Nothing, y));
        self.device.linears(input, &mut products.collect::<Vec<_>>())?;
        Ok(outputs)
    }

    fn add(&self, linear: &Linear, x: &Tensor, residual: &mut Tensor) -> Result<()> {
        Ok(self.device.linears(x.into(), &mut [linear.product(Onto::Sum, residual)])?)
    }

    /// A linear layer's weight, with its low-rank part if it has one.
    fn load_weight(&self, projection: Projection, index: usize) -> Result<Tensor> {
        let name = projection.weight(index);
        let shape = projection.shape(&self.config);
        let Some((left, right)) = self.checkpoint.low_rank(&name)? else {
            let Some(packed) = self.checkpoint.packed(&name)? else { return self.load_matrix(&name, shape) };
            let uploaded = self.device.upload_packed(packed);
            return uploaded.map_err(|source| ModelError::Tensor { name, source });
        };
        // The sum has no zeros to leave out.
        let weight = self.load_matrix(&name, shape)?;
        let device = &*self.device;
        let factor = |view: TensorView| {
            in_f32(device, &device.upload(view.dtype, view.shape[0], view.shape[1], view.bytes)?)
        };
        let sum = factor(left).and_then(|left| merged(device, &weight, &left, &factor(right)?));
        sum.map_err(|source| ModelError::Tensor { name, source })
    }

    fn load_matrix(&self, name: &str, (rows, cols): (usize, usize)) -> Result<Tensor> {
        let view = self.checkpoint.tensor(name)?;
        let uploaded = self.device.upload(view.dtype, rows, cols, view.bytes);
        uploaded.map_err(|source| ModelError::Tensor { name: name.to_owned(), source })
    }

    fn load_row(&self, name: &str) -> Result<Tensor> {
        let view = self.checkpoint.tensor(name)?;
        let width = view.bytes.len() / view.dtype.size();
        let uploaded = self.device.upload(view.dtype, 1, width, view.bytes);
        uploaded.map_err(|source| ModelError::Tensor { name: name.to_owned(), source })
    }
}
