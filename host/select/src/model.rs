//! The model as selectors use it, computed on the run's device.

use espalier_base::interrupt;
use espalier_device::{DType, DeviceError, Op, Tensor};
use espalier_model::{
    BATCH_TOKENS, Batch, Generation, Head, HiddenStates, Llama, ModelError, Placement, Sampling,
};
use espalier_sdk::{Code, Error, ModelInfo, Result, SamplingOptions, service::ModelService};

/// Tokens whose hidden states are held at a time: many, because the model's weights are read once for all
/// of them; not all, because they take room.
const GROUP_TOKENS: usize = 1 << 16;

/// Numbers of logits that are held at a time.
const MAX_LOGITS: usize = 1 << 24;

/// How far the model is with a selector's question, for progress bars.
#[derive(Debug, Clone, Copy)]
pub enum SelectionStep {
    /// A question that takes so many steps.
    Begin(usize),
    /// So many steps were made.
    Advance(usize),
    /// The question is answered.
    End,
}

/// The host's model, if a selector asked for one.
pub(super) struct HostModel<'a> {
    model: Option<Llama>,
    progress: &'a (dyn Fn(SelectionStep) + Sync),
}

impl<'a> HostModel<'a> {
    pub(super) fn new(model: Option<Llama>, progress: &'a (dyn Fn(SelectionStep) + Sync)) -> Self {
        Self { model, progress }
    }

    fn model(&self) -> Result<&Llama> {
        let absent = || {
            Error::new(
                Code::Unsupported,
                "it asks the model, which it did not say it needs: its info lacks `needs_model`",
            )
        };
        interrupt::check()?;
        self.model.as_ref().ok_or_else(absent)
    }

    /// Runs sequences through the first `layers` blocks, group by group. `behind` sees every block's hidden
    /// states; `end` sees the last ones.
    fn run<T>(
        &self,
        sequences: &[&[u32]],
        layers: usize,
        mut behind: impl FnMut(&Llama, usize, &HiddenStates, &mut [T]) -> Result<(), ModelError>,
        mut end: impl FnMut(&Llama, &HiddenStates, &mut [T]) -> Result<(), ModelError>,
        mut empty: impl FnMut() -> T,
    ) -> Result<Vec<T>> {
        let model = self.model()?;
        if let Some(at) = sequences.iter().position(|sequence| sequence.is_empty()) {
            return Err(Error::invalid(format!("sequence {at} is empty")));
        }
        let tokens: usize = sequences.iter().map(|sequence| sequence.len()).sum();
        (self.progress)(SelectionStep::Begin(tokens * layers));
        let mut found: Vec<T> = sequences.iter().map(|_| empty()).collect();
        let mut answer = || {
            let mut from = 0;
            while from < sequences.len() {
                let to = group_end(sequences, from);
                let group = &mut found[from..to];
                let mut hidden =
                    HiddenStates::embed(model, &sequences[from..to], BATCH_TOKENS, &Placement::Device)?;
                let ahead = model.has_room_ahead(hidden.tokens());
                model.each_block(0..layers, ahead, |index, block| {
                    hidden.advance(model, block, |tokens| (self.progress)(SelectionStep::Advance(tokens)))?;
                    behind(model, index, &hidden, group)
                })?;
                end(model, &hidden, group)?;
                from = to;
            }
            Ok(())
        };
        let answer: Result<(), ModelError> = answer();
        (self.progress)(SelectionStep::End);
        answer.map_err(border)?;
        Ok(found)
    }
}

/// The end of the sequences that are run together with the one at `from`.
fn group_end(sequences: &[&[u32]], from: usize) -> usize {
    let mut tokens = 0;
    let fits = |sequence: &&&[u32]| {
        tokens += sequence.len();
        tokens <= GROUP_TOKENS
    };
    from + sequences[from..].iter().take_while(fits).count().max(1)
}

impl ModelService for HostModel<'_> {
    fn info(&self) -> Result<ModelInfo> {
        let config = &self.model()?.config;
        Ok(ModelInfo {
            vocab_size: config.vocab_size,
            layers: config.num_hidden_layers,
            bos: config.bos_token_id,
            eos: config.eos_token_ids.first().copied(),
        })
    }

    fn log_likelihoods(&self, sequences: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let layers = self.model()?.config.num_hidden_layers;
        let end = |model: &Llama, hidden: &HiddenStates, found: &mut [Vec<f32>]| {
            let head = model.load_head()?;
            let mut found = found.iter_mut();
            hidden.visit(model, |batch, states| {
                for (span, found) in batch.spans.iter().zip(&mut found) {
                    interrupt::check()?;
                    *found = likelihoods(model, &head, (batch, states), span.query_start, span.queries)?;
                }
                Ok(())
            })
        };
        self.run(sequences, layers, |_, _, _, _| Ok(()), end, Vec::new)
    }

    fn pooled(&self, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<Vec<f32>>> {
        let blocks = self.model()?.config.num_hidden_layers;
        if let Some(layer) = layers.iter().find(|&&layer| layer >= blocks) {
            return Err(Error::invalid(format!("there is no layer {layer}: the model has {blocks}, from 0")));
        }
        let needed = layers.iter().max().map_or(0, |last| last + 1);
        let width = self.model()?.config.hidden_size;
        let behind = |model: &Llama, index: usize, hidden: &HiddenStates, found: &mut [Vec<f32>]| {
            if !layers.contains(&index) {
                return Ok(());
            }
            let mut found = found.iter_mut();
            hidden.visit(model, |batch, states| {
                let states = model.device.to_f32(states)?;
                for (span, found) in batch.spans.iter().zip(&mut found) {
                    let rows = &states[span.query_start * width..][..span.queries * width];
                    let mean = mean_row(rows, width);
                    for (place, _) in layers.iter().enumerate().filter(|(_, layer)| **layer == index) {
                        found[place * width..][..width].copy_from_slice(&mean);
                    }
                }
                Ok(())
            })
        };
        self.run(sequences, needed, behind, |_, _, _| Ok(()), || vec![0.0; layers.len() * width])
    }

    fn sample(&self, prefixes: &[&[u32]], options: &SamplingOptions) -> Result<Vec<Vec<u32>>> {
        let model = self.model()?;
        let sampling = (options.temperature != 0.0).then(|| Sampling {
            temperature: options.temperature.into(),
            top_k: (options.top_k > 0).then_some(options.top_k),
            top_p: (options.top_p < 1.0).then(|| options.top_p.into()),
            min_p: None,
            seed: options.seed,
        });
        let generation = Generation { sampling, ..Generation::greedy(&model.config, options.max_tokens) };
        (self.progress)(SelectionStep::Begin(prefixes.len()));
        let written = model.generate(prefixes, &generation, || (self.progress)(SelectionStep::Advance(1)));
        (self.progress)(SelectionStep::End);
        Ok(written.map_err(border)?.into_iter().map(|text| text.tokens).collect())
    }
}

/// The log-likelihoods of one sequence, in pieces whose logits stay small.
fn likelihoods(
    model: &Llama,
    head: &Head,
    (batch, states): (&Batch, &Tensor),
    start: usize,
    length: usize,
) -> Result<Vec<f32>, ModelError> {
    let device = &*model.device;
    let rows = (MAX_LOGITS / model.config.vocab_size).max(1);
    let mut found = Vec::with_capacity(length - 1);
    for from in (0..length - 1).step_by(rows) {
        let count = rows.min(length - 1 - from);
        let mut piece = device.zeros(DType::F32, count, states.cols())?;
        device.execute(Op::CopyRows { x: states, start: start + from }, &mut piece)?;
        let logits = model.logits(head, &piece)?;
        let next = start + from + 1;
        let targets = device.from_u32(&batch.tokens[next..next + count])?;
        let mut loss = device.zeros(DType::F32, count, 1)?;
        device.execute(Op::CrossEntropy { logits: &logits, targets: &targets }, &mut loss)?;
        found.extend(device.to_f32(&loss)?.into_iter().map(|loss| -loss));
    }
    Ok(found)
}

fn mean_row(rows: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0f64; width];
    for row in rows.chunks_exact(width) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x));
    }
    let count = (rows.len() / width) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// A model's error as it crosses the border, with its causes.
fn border(error: ModelError) -> Error {
    let code = match &error {
        ModelError::Token { .. } | ModelError::EmptyPrompt { .. } | ModelError::Sampling(_) => {
            Code::InvalidInput
        }
        ModelError::Device(DeviceError::OutOfMemory { .. }) => Code::OutOfMemory,
        _ => Code::Device,
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        message = format!("{message}: {cause}");
        source = cause.source();
    }
    Error::new(code, message)
}
