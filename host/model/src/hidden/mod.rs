//! The hidden states of a set of windows between two blocks, wherever there is room for them.

mod spill;

pub use spill::{SpillError, SpillFile};

use super::{Batch, Block, Llama, ModelError, Result, Window};
use bytes::Bytes;
use espalier_base::interrupt;
use espalier_device::{DType, Op, Tensor};
use serde::Serialize;
use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where hidden states wait between two blocks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// On the device.
    #[default]
    Device,
    /// In the host's memory.
    Host,
    /// In a temporary file in this folder.
    File(PathBuf),
}

/// The hidden states of all windows, batch by batch, as they enter a block. On the device is one batch at a
/// time, unless they [all live there](Placement::Device).
pub struct HiddenStates {
    batches: Vec<(Batch, State)>,
}

impl fmt::Debug for HiddenStates {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("HiddenStates").finish_non_exhaustive()
    }
}

/// The hidden states of a batch, `[tokens, hidden]`, f32.
enum State {
    Device(Tensor),
    Host(Bytes),
    File { file: Arc<SpillFile>, offset: u64 },
}

impl HiddenStates {
    /// The embeddings of the windows, in batches of about `max_tokens` tokens.
    ///
    /// # Errors
    /// A token outside the vocabulary, a failing device, or a full disk.
    pub fn embed<'a>(
        model: &Llama,
        windows: &[impl Copy + Into<Window<'a>>],
        max_tokens: usize,
        placement: &Placement,
    ) -> Result<Self> {
        let windows: Vec<_> = windows.iter().map(|&window| window.into()).collect();
        Self::embed_batches(model, batches_of(model, &windows, max_tokens)?, placement)
    }

    /// The embeddings of the tokens of batches.
    ///
    /// # Errors
    /// As [`embed`](HiddenStates::embed).
    pub fn embed_batches(model: &Llama, batches: Vec<Batch>, placement: &Placement) -> Result<Self> {
        Self::fill(model, batches, placement, |batch| model.embed(batch))
    }

    /// The hidden states of the windows from a file that [`each`](HiddenStates::each) was written to.
    ///
    /// # Errors
    /// As [`embed`](HiddenStates::embed), or a file that cannot be read.
    pub fn load(
        model: &Llama,
        windows: &[Window],
        max_tokens: usize,
        placement: &Placement,
        path: &Path,
    ) -> Result<Self> {
        let unreadable = |source| ModelError::HiddenStates { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(unreadable)?;
        Self::fill(model, batches_of(model, windows, max_tokens)?, placement, |batch| {
            let (tokens, width) = (batch.tokens.len(), model.config.hidden_size);
            let mut bytes = vec![0; tokens * width * size_of::<f32>()];
            file.read_exact(&mut bytes).map_err(unreadable)?;
            Ok(model.device.upload(DType::F32, tokens, width, bytes.into())?)
        })
    }

    fn fill(
        model: &Llama,
        filled: Vec<Batch>,
        placement: &Placement,
        mut states: impl FnMut(&Batch) -> Result<Tensor>,
    ) -> Result<Self> {
        let file = spill_file(placement)?;
        let mut batches = Vec::with_capacity(filled.len());
        let mut offset = 0;
        for batch in filled {
            interrupt::check()?;
            let hidden = states(&batch)?;
            let state = if *placement == Placement::Device {
                State::Device(hidden)
            } else {
                let bytes = model.device.read(&hidden)?;
                let length = bytes.len() as u64;
                let mut state = match &file {
                    Some(file) => State::File { file: Arc::clone(file), offset },
                    None => State::Host(Bytes::new()),
                };
                state.store(bytes)?;
                offset += length;
                state
            };
            batches.push((batch, state));
        }
        Ok(Self { batches })
    }

    /// Shows the bytes of every batch's hidden states, f32, in the order of the windows.
    ///
    /// # Errors
    /// A failing device or disk, or what `visit` returns.
    pub fn each<E: From<ModelError>>(
        &self,
        model: &Llama,
        mut visit: impl FnMut(Bytes) -> Result<(), E>,
    ) -> Result<(), E> {
        for (batch, state) in &self.batches {
            visit(state.bytes(model, batch)?)?;
        }
        Ok(())
    }

    /// A copy elsewhere; in the host's memory where the device is asked for.
    ///
    /// # Errors
    /// A failing device or disk.
    pub fn duplicate(&self, model: &Llama, placement: &Placement) -> Result<Self> {
        let file = spill_file(placement)?;
        let mut place = 0;
        let copy = |(batch, state): &(Batch, State)| {
            let bytes = state.bytes(model, batch)?;
            let state = match &file {
                Some(file) => {
                    let offset = place;
                    file.write(offset, &bytes)?;
                    place += bytes.len() as u64;
                    State::File { file: Arc::clone(file), offset }
                }
                None => State::Host(bytes),
            };
            Ok((batch.clone(), state))
        };
        Ok(Self { batches: self.batches.iter().map(copy).collect::<Result<_>>()? })
    }

    /// Puts others in the place of a batch's hidden states.
    ///
    /// # Errors
    /// There is no such batch, or a failing device or disk.
    pub fn replace(&mut self, model: &Llama, batch: usize, states: &Tensor) -> Result<()> {
        let of = self.batches.len();
        let (_, state) = self.batches.get_mut(batch).ok_or(ModelError::Batch { batch, of })?;
        state.store(model.device.read(states)?)
    }

    /// How many batches there are.
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// A batch, and a copy of its hidden states.
    ///
    /// # Errors
    /// There is no such batch, or a failing device or disk.
    pub fn copy(&self, model: &Llama, batch: usize) -> Result<(&Batch, Tensor)> {
        let of = self.batches.len();
        let (batch, state) = self.batches.get(batch).ok_or(ModelError::Batch { batch, of })?;
        Ok((batch, state.load(model, batch)?))
    }

    /// All tokens.
    pub fn tokens(&self) -> usize {
        self.batches.iter().map(|(batch, _)| batch.tokens.len()).sum()
    }

    /// All tokens that count.
    pub fn counted(&self) -> usize {
        self.batches.iter().map(|(batch, _)| batch.counted()).sum()
    }

    /// Shows every batch and its hidden states.
    ///
    /// # Errors
    /// A failing device or disk, an interrupt, or what `visit` returns.
    pub fn visit<E: From<ModelError>>(
        &self,
        model: &Llama,
        mut visit: impl FnMut(&Batch, &Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        for (batch, state) in &self.batches {
            interrupt::check().map_err(ModelError::from)?;
            match state {
                State::Device(hidden) => visit(batch, hidden)?,
                elsewhere => visit(batch, &elsewhere.load(model, batch)?)?,
            }
        }
        Ok(())
    }

    /// Lends a copy of every batch's hidden states, to be worked on and thrown away.
    ///
    /// # Errors
    /// As [`HiddenStates::visit`].
    pub fn visit_copies<E: From<ModelError>>(
        &self,
        model: &Llama,
        mut visit: impl FnMut(&Batch, &mut Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        for (batch, state) in &self.batches {
            interrupt::check().map_err(ModelError::from)?;
            visit(batch, &mut state.load(model, batch)?)?;
        }
        Ok(())
    }

    /// Lets `advance` change every batch's hidden states.
    ///
    /// # Errors
    /// As [`HiddenStates::visit`].
    pub fn update<E: From<ModelError>>(
        &mut self,
        model: &Llama,
        mut advance: impl FnMut(&Batch, &mut Tensor) -> Result<(), E>,
    ) -> Result<(), E> {
        for (batch, state) in &mut self.batches {
            interrupt::check().map_err(ModelError::from)?;
            match state {
                State::Device(hidden) => advance(batch, hidden)?,
                elsewhere => {
                    let mut hidden = elsewhere.load(model, batch)?;
                    advance(batch, &mut hidden)?;
                    elsewhere.store(model.device.read(&hidden).map_err(ModelError::from)?)?;
                }
            }
        }
        Ok(())
    }

    /// Runs every batch through a block.
    ///
    /// # Errors
    /// As [`HiddenStates::visit`].
    pub fn advance(&mut self, model: &Llama, block: &Block, mut progress: impl FnMut(usize)) -> Result<()> {
        self.update(model, |batch, hidden| {
            model.forward_block(block, batch, hidden, None)?;
            progress(batch.tokens.len());
            Ok(())
        })
    }
}

/// The batches of windows, with what each token counts.
fn batches_of(model: &Llama, windows: &[Window], max_tokens: usize) -> Result<Vec<Batch>> {
    let tokens: Vec<&[u32]> = windows.iter().map(|window| window.input_ids).collect();
    let mut batches = model.batches(&tokens, max_tokens)?;
    let mut left = windows;
    for batch in &mut batches {
        let (here, behind) = left.split_at(batch.spans.len());
        left = behind;
        batch.loss_mask = loss_mask(here);
    }
    Ok(batches)
}

/// How much the tokens of these windows count, one after the other; nothing where all count 1.
fn loss_mask(windows: &[Window]) -> Vec<f32> {
    if windows.iter().all(|window| window.loss_mask.is_empty()) {
        return Vec::new();
    }
    let mut weights = Vec::new();
    for window in windows {
        match window.loss_mask {
            [] => weights.extend(window.input_ids.iter().map(|_| 1.0)),
            given => weights.extend(given),
        }
    }
    weights
}

fn spill_file(placement: &Placement) -> Result<Option<Arc<SpillFile>>> {
    match placement {
        Placement::File(folder) => Ok(Some(Arc::new(SpillFile::create(folder)?))),
        Placement::Device | Placement::Host => Ok(None),
    }
}

impl State {
    /// On the device, in a tensor of their own.
    fn load(&self, model: &Llama, batch: &Batch) -> Result<Tensor> {
        let device = &*model.device;
        let (tokens, width) = (batch.tokens.len(), model.config.hidden_size);
        if let Self::Device(hidden) = self {
            let mut copy = device.zeros(DType::F32, tokens, width)?;
            device.execute(Op::CopyRows { x: hidden, start: 0 }, &mut copy)?;
            return Ok(copy);
        }
        Ok(device.upload(DType::F32, tokens, width, self.bytes(model, batch)?)?)
    }

    /// In the host's memory.
    fn bytes(&self, model: &Llama, batch: &Batch) -> Result<Bytes> {
        Ok(match self {
            Self::Device(hidden) => model.device.read(hidden)?.into(),
            Self::Host(bytes) => bytes.clone(),
            Self::File { file, offset } => {
                let length = batch.tokens.len() * model.config.hidden_size * size_of::<f32>();
                file.read(*offset, length)?.into()
            }
        })
    }

    /// Keeps new ones in the place of the old, away from the device.
    fn store(&mut self, bytes: Vec<u8>) -> Result<()> {
        match self {
            Self::File { file, offset } => file.write(*offset, &bytes)?,
            Self::Host(_) | Self::Device(_) => *self = Self::Host(bytes.into()),
        }
        Ok(())
    }
}
