//! The model's blocks over many steps: on the device if they fit, else loaded anew each time.

use super::{cache::Cache, step::Step};
use crate::{Block, Head, Llama, Result};
use espalier_device::{DType, DeviceKind, Op};

/// The first blocks of a model, which stay on the device; the rest are loaded when they are needed.
pub(super) struct Blocks {
    resident: Vec<Block>,
}

/// Blocks that make room for one that comes and goes, and for activations.
const ROOM: usize = 2;

/// Runs `step` on a thread of the pool where the CPU computes: from outside, every operation of it would wake the pool anew.
fn in_pool<R: Send>(model: &Llama, step: impl FnOnce() -> R + Send) -> R {
    match model.device.info().kind {
        DeviceKind::Cpu => rayon::scope(|_| step()),
        DeviceKind::Gpu => step(),
    }
}

impl Blocks {
    /// As many blocks as fit.
    pub(super) fn load(model: &Llama) -> Result<Self> {
        let mut resident = Vec::with_capacity(model.config.num_hidden_layers);
        for index in 0..model.config.num_hidden_layers {
            match model.load_block(index) {
                Ok(block) => resident.push(block),
                Err(error) if error.is_out_of_memory() => {
                    resident.truncate(resident.len().saturating_sub(ROOM));
                    tracing::info!("{} blocks stay on the device, the others are streamed", resident.len());
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Self { resident })
    }

    /// Keeps at most this many blocks.
    pub(super) fn keep(&mut self, count: usize) {
        self.resident.truncate(count);
    }

    /// Runs a step through the model: the logits of each sequence's newest token, `sequences · vocab`.
    ///
    /// A step that runs out of memory is repeated with fewer blocks on the device: it has only written keys
    /// and values that the repetition writes again.
    pub(super) fn run(
        &mut self,
        model: &Llama,
        head: &Head,
        step: &Step,
        cache: &mut Cache,
    ) -> Result<Vec<f32>> {
        loop {
            match in_pool(model, || self.try_run(model, head, step, cache)) {
                Err(error) if error.is_out_of_memory() && !self.resident.is_empty() => {
                    self.keep(self.resident.len().saturating_sub(ROOM));
                    tracing::info!("only {} blocks stay on the device", self.resident.len());
                }
                result => return result,
            }
        }
    }

    fn try_run(&self, model: &Llama, head: &Head, step: &Step, cache: &mut Cache) -> Result<Vec<f32>> {
        let mut hidden = model.embed(&step.batch)?;
        let mut run = |index, block: &Block| {
            let cached = cache.block(index, &step.places);
            model.run_block(block, &step.batch, Some(cached), &mut hidden, None)
        };
        for (index, block) in self.resident.iter().enumerate() {
            run(index, block)?;
        }
        let streamed = self.resident.len()..model.config.num_hidden_layers;
        model.each_block(streamed, false, |index, block| run(index, block))?;
        let mut newest = model.device.zeros(DType::F32, step.sequences, hidden.cols())?;
        model.device.execute(Op::CopyRows { x: &hidden, start: 0 }, &mut newest)?;
        Ok(model.device.to_f32(&model.logits(head, &newest)?)?)
    }
}
