//! Small made-up models, which are pruned as any model is: shards are read, blocks walked through, and the output written.

use super::{CaseOutcome, CaseReport, Fault, HALF, compare_zeros, noise, one_thread};
use crate::{IfUnfinished, MemoryBudget, Method, Output, PruneError, Result, Run, Settings, Targets};
use espalier_base::{cause::causes, interrupt, text};
use espalier_device::Device;
use espalier_model::{Checkpoint, HiddenStates, Llama, ModelError, Placement, Window, layout};
use espalier_sdk::{Rng, Sparsity};
use safetensors::{Dtype, tensor::TensorView};
use serde_json::json;
use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

/// A made-up model and its calibration windows.
pub(super) struct Case {
    name: &'static str,
    target: Sparsity,
    blocks: usize,
    hidden: usize,
    intermediate: usize,
    windows: usize,
    tokens: usize,
    /// Changes a weight at a row and a column; norms have one row.
    weight: fn(f32, usize, usize) -> f32,
    /// Changes the weight of a norm for a feature.
    norm: fn(usize) -> f32,
}

const HEAD_DIM: usize = 8;
const VOCABULARY: usize = 64;

/// An ordinary model, which the others differ from.
const PLAIN: Case = Case {
    name: "three blocks",
    target: HALF,
    blocks: 3,
    hidden: 32,
    intermediate: 48,
    windows: 6,
    tokens: 24,
    weight: |x, _, _| x,
    norm: |_| 1.0,
};

pub(super) const CASES: [Case; 9] = [
    PLAIN,
    Case { name: "0.7", target: Sparsity::Ratio(0.7), ..PLAIN },
    Case { name: "pattern 2:4", target: Sparsity::Pattern { n: 2, m: 4 }, ..PLAIN },
    Case { name: "odd widths", hidden: 40, intermediate: 51, ..PLAIN },
    Case { name: "one block", blocks: 1, ..PLAIN },
    Case { name: "one window", windows: 1, ..PLAIN },
    Case { name: "windows of two tokens", tokens: 2, ..PLAIN },
    Case { name: "dead inputs", norm: |feature| if feature % 3 == 0 { 0.0 } else { 1.0 }, ..PLAIN },
    Case { name: "zero rows", weight: |x, row, _| if row % 8 == 0 { 0.0 } else { x }, ..PLAIN },
];

/// A model that was pruned.
struct Pruned {
    /// Every weight of the linear layers, one after the other.
    weights: Vec<f32>,
    /// The bytes of its shard.
    bytes: Vec<u8>,
    sparsity: f64,
    loss: f64,
}

pub(super) fn check(
    method: &Method,
    devices: &[Arc<dyn Device>],
    progress: &mut dyn FnMut(),
) -> Result<Vec<CaseReport>> {
    let mut reports = Vec::new();
    for case in &CASES {
        let mut first = None;
        for (place, device) in devices.iter().enumerate() {
            interrupt::check()?;
            let (outcome, detail) = match case.check(method, device, first.as_ref()) {
                Ok(pruned) => {
                    let detail = format!("sparsity {:.4}, loss {:.4}", pruned.sparsity, pruned.loss);
                    first.get_or_insert(pruned);
                    (CaseOutcome::Ok, detail)
                }
                Err(fault) => fault.outcome(case.name == PLAIN.name)?,
            };
            reports.push(CaseReport {
                case: case.name,
                shape: [case.intermediate, case.hidden],
                target: case.target,
                device: place,
                outcome,
                detail,
            });
        }
        progress();
    }
    Ok(reports)
}

impl Case {
    fn check(
        &self,
        method: &Method,
        device: &Arc<dyn Device>,
        first: Option<&Pruned>,
    ) -> Result<Pruned, Fault> {
        let folder = tempfile::tempdir().map_err(|error| Fault::Failed(error.to_string()))?;
        let source = folder.path().join("model");
        self.write(&source).map_err(|error| Fault::Failed(error.to_string()))?;
        let pruned = self.prune(method, device, &source, &folder.path().join("once"))?;
        let again =
            one_thread()?.install(|| self.prune(method, device, &source, &folder.path().join("again")))?;
        if pruned.bytes != again.bytes {
            return Err(Fault::Failed(
                "the same model, pruned again on one thread, has other weights".to_owned(),
            ));
        }
        if let Some(first) = first {
            if first.weights.len() != pruned.weights.len() {
                return Err(Fault::Failed("the devices leave models of different sizes".to_owned()));
            }
            compare_zeros(&pruned.weights, &first.weights)?;
            if (pruned.loss - first.loss).abs() > 0.01 * first.loss.abs() {
                let (loss, other) = (pruned.loss, first.loss);
                return Err(Fault::Failed(format!(
                    "its loss is {loss:.4}, and on the first device {other:.4}"
                )));
            }
        }
        Ok(pruned)
    }

    fn prune(
        &self,
        method: &Method,
        device: &Arc<dyn Device>,
        source: &Path,
        out: &Path,
    ) -> Result<Pruned, Fault> {
        let model = Llama::open(source, Arc::clone(device)).map_err(|error| of_run(error.into()))?;
        let settings = Settings {
            model: "a made-up model".to_owned(),
            targets: Targets::everywhere(self.target),
            propagate: true,
            seed: 0,
            memory: MemoryBudget::default(),
        };
        let to =
            Output { path: out, overwrite: false, if_unfinished: IfUnfinished::Restart, keep_hidden: false };
        let mut rng = Rng::new(3);
        let mut token = || rng.below(VOCABULARY) as u32;
        let windows: Vec<Vec<u32>> =
            (0..self.windows).map(|_| (0..self.tokens).map(|_| token()).collect()).collect();
        let windows: Vec<_> = windows.iter().map(|ids| Window::from(ids.as_slice())).collect();
        let run = Run::begin(&settings, method, &model, to);
        let manifest = run.and_then(|run| run.finish(&windows, None, &mut |_| {})).map_err(of_run)?;
        look_at(out, device, &windows, manifest.reached).map_err(|error| of_run(error.into()))
    }

    fn write(&self, folder: &Path) -> std::io::Result<()> {
        fs::create_dir(folder)?;
        let heads = self.hidden / HEAD_DIM;
        let config = json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": self.hidden, "intermediate_size": self.intermediate, "num_hidden_layers": self.blocks,
            "num_attention_heads": heads, "num_key_value_heads": if heads.is_multiple_of(2) { heads / 2 } else { heads },
            "head_dim": HEAD_DIM, "vocab_size": VOCABULARY, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
            "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2
        });
        let path = folder.join("config.json");
        fs::write(&path, config.to_string())?;
        let config = espalier_model::LlamaConfig::read(folder).map_err(std::io::Error::other)?;
        let mut shapes = vec![
            (layout::EMBEDDING.to_owned(), vec![VOCABULARY, self.hidden]),
            (layout::FINAL_NORM.to_owned(), vec![self.hidden]),
        ];
        shapes.extend((0..self.blocks).flat_map(|block| layout::block(&config, block)));
        let mut tensors = BTreeMap::new();
        for (seed, (name, shape)) in (1..).zip(shapes) {
            let values: Vec<f32> = match *shape.as_slice() {
                [rows, cols] => {
                    let scale = 1.0 / (cols as f32).sqrt();
                    let noise = noise(rows * cols, seed).into_iter().enumerate();
                    noise.map(|(at, x)| (self.weight)(x * scale, at / cols, at % cols)).collect()
                }
                _ => (0..shape[0]).map(self.norm).collect(),
            };
            tensors.insert(name, (shape, bytemuck::cast_slice(&values).to_vec()));
        }
        let views = tensors.iter().map(|(name, (shape, bytes))| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view))
        });
        let views = views.collect::<Result<Vec<_>, _>>().map_err(std::io::Error::other)?;
        let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
        safetensors::serialize_to_file(views, metadata, &folder.join("model.safetensors"))
            .map_err(std::io::Error::other)
    }
}

/// The pruned model as the next program finds it.
fn look_at(
    folder: &Path,
    device: &Arc<dyn Device>,
    windows: &[Window],
    sparsity: f64,
) -> Result<Pruned, ModelError> {
    let checkpoint = Checkpoint::open(folder)?;
    let mut weights = Vec::new();
    for name in checkpoint.names().filter(|name| layout::Projection::parse(name).is_some()) {
        weights.extend(bytemuck::pod_collect_to_vec::<u8, f32>(&checkpoint.tensor(name)?.bytes));
    }
    let model = Llama::open(folder, Arc::clone(device))?;
    let mut hidden = HiddenStates::embed(&model, windows, 1 << 12, &Placement::Device)?;
    model.each_block(0..model.config.num_hidden_layers, false, |_, block| {
        hidden.advance(&model, block, |_| {})?;
        Ok::<_, ModelError>(())
    })?;
    let loss = model.mean_loss(&hidden)?;
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).map_err(|source| ModelError::HiddenStates { path, source })?;
    Ok(Pruned { weights, bytes, sparsity, loss })
}

/// The fault of a run.
fn of_run(error: PruneError) -> Fault {
    match error {
        PruneError::Method { source, .. } => Fault::of(&source),
        PruneError::Pattern { .. } | PruneError::Unpatterned { .. } => Fault::Refused(error.to_string()),
        PruneError::Interrupted(_) | PruneError::Device { .. } => Fault::Device(error),
        other => Fault::Failed(text::line(&causes(&other).join(": "))),
    }
}
