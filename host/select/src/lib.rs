//! Choosing calibration windows: a collection, a selector, and perhaps the model → windows.
//!
//! ```text
//! sources → documents ─► selector ──offers──► cutter (crop, pack, single) ─► windows ─► windows.jsonl
//!                          ▲ likelihoods, pooled hidden states, samples
//!                        model
//! ```

mod cut;
mod error;
mod file;
mod model;
mod offered;
mod plugin;
mod record;
mod summary;
mod window;

pub use error::{Result, SelectError};
pub use file::{Row, RowPiece, read_rows, rows, write_rows};
pub use model::SelectionStep;
pub use plugin::Chosen;
pub use record::{CalibrationRecord, SourceRecord};
pub use summary::{Overlap, Share, Summary};
pub use window::{Budget, LossMask, Piece, Window, WindowMode, windows_sha256};

use cut::{Cut, Cutter};
use espalier_base::interrupt;
use espalier_data::{Collection, Reading, Renderer, Source, TokenizedCollection, Tokenizer, Tokens};
use espalier_device::{Device, DeviceError};
use espalier_model::{Llama, LlamaConfig};
use espalier_plugins::Library;
use espalier_sdk::SelectionRequest;
use model::HostModel;
use offered::Offered;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

/// The default number of windows.
pub const SAMPLES: usize = 128;

/// A request for calibration windows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Where they come from.
    pub sources: Vec<Source>,
    /// How rows are read and become text.
    #[serde(default)]
    pub reading: Reading,
    /// How windows are cut; by the shape of each source by default: running text is cropped,
    /// instructions and conversations are packed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowMode>,
    /// When there are enough; 128 windows by default, all of a file of ready windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// Tokens in a window, at most; 2048 by default, or the model's context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seqlen: Option<usize>,
    /// Which tokens count in statistics and losses.
    #[serde(default, skip_serializing_if = "LossMask::is_all")]
    pub loss_mask: LossMask,
    /// The seed of every random draw.
    #[serde(default)]
    pub seed: u64,
    /// The selector; by default that of the given library, or `random`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The selector's options as typed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

impl Request {
    /// Windows of these sources, all else at its default.
    pub fn new(sources: Vec<Source>) -> Self {
        Self {
            sources,
            reading: Reading::default(),
            windows: None,
            budget: None,
            seqlen: None,
            loss_mask: LossMask::All,
            seed: 0,
            selector: None,
            options: BTreeMap::new(),
        }
    }
}

/// Tokens in a window: as given, else 2048 or the model's context. More than its context is warned of.
pub fn seqlen(given: Option<usize>, config: &LlamaConfig) -> usize {
    let seqlen = config.seqlen(given);
    config.warn_of_length(seqlen, "--seqlen");
    seqlen
}

/// The model that windows are for.
#[derive(Clone, Copy)]
pub struct SelectionTarget<'a> {
    /// Its folder, for the tokenizer and the chat template.
    pub folder: &'a Path,
    /// Its configuration.
    pub config: &'a LlamaConfig,
    /// Opens the device that it answers a selector's questions on; not called if it has no questions.
    pub device: &'a dyn Fn() -> Result<Arc<dyn Device>, DeviceError>,
}

impl fmt::Debug for SelectionTarget<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("SelectionTarget").finish_non_exhaustive()
    }
}

/// Chosen windows, and what the manifest says of them.
#[derive(Debug)]
pub struct Selection {
    /// The windows.
    pub windows: Vec<Window>,
    /// Their record.
    pub record: CalibrationRecord,
}

impl Selection {
    /// The windows as the model takes them.
    pub fn views(&self) -> Vec<espalier_model::Window<'_>> {
        self.windows.iter().map(Window::view).collect()
    }
}

/// Chooses windows. Rows of `input_ids` are taken as they are, in order, unless a selector or a way of
/// cutting is asked for.
///
/// # Errors
/// See [`SelectError`].
pub fn select(
    request: &Request,
    libraries: &[Library],
    target: SelectionTarget,
    progress: &(dyn Fn(SelectionStep) + Sync),
) -> Result<Selection> {
    let collection = Collection::open(&request.sources, &request.reading)?;
    if collection.has_windows() && request.selector.is_none() && request.windows.is_none() {
        return ready(request, &collection, target.config);
    }
    let chosen = Chosen::find(libraries, request.selector.as_deref(), &request.options)?;
    let seqlen = seqlen(request.seqlen, target.config);
    let tokenizer = Tokenizer::open(target.folder, target.config.vocab_size)?;
    let renderer = Renderer::new(request.reading.prompt.clone(), target.folder)?;
    let collection = TokenizedCollection::new(collection, renderer, tokenizer);
    let offered = Offered::new(&collection, request.windows, seqlen)?;
    let model = match chosen.info().needs_model {
        true => Some(Llama::open(target.folder, (target.device)()?)?),
        false => None,
    };
    let model = HostModel::new(model, progress);
    let budget = request.budget.unwrap_or(Budget::Samples(SAMPLES));
    let mut cutter = Cutter::new(
        &offered,
        Cut {
            seqlen,
            budget,
            seed: request.seed,
            loss_mask: request.loss_mask,
            eos: target.config.eos_token_ids.first().copied(),
            vocab_size: target.config.vocab_size,
            own: request.windows.unwrap_or(WindowMode::Pack),
        },
    );
    let wanted = SelectionRequest { samples: budget.samples(seqlen), seqlen, seed: request.seed };
    let answer = chosen.selector().select(&offered, &model, &wanted, &mut cutter);
    // What stops a selector from outside comes back as its error.
    interrupt::check()?;
    let name = &chosen.record().name;
    answer.map_err(|source| SelectError::Selector { selector: name.clone(), source })?;
    let (shortage, remark) = (cutter.shortage(name, request.windows), cutter.remark());
    let windows =
        cutter.finish().map_err(|source| SelectError::Selector { selector: name.clone(), source })?;
    if let Some(shortage) = shortage {
        return Err(shortage);
    }
    if let Some(remark) = remark {
        tracing::warn!("{remark}");
    }
    collection.warn_of_refused();
    let record = CalibrationRecord::new(
        collection.collection(),
        |source| collection.refused(source),
        |source| Some(offered.mode(source)),
        Some(chosen.record().clone()),
        request.seed,
        &windows,
    );
    Ok(Selection { windows, record })
}

/// The windows of a collection of windows, as they are: all, or the first that are asked for.
fn ready(request: &Request, collection: &Collection, config: &LlamaConfig) -> Result<Selection> {
    let limit = request.seqlen.unwrap_or(usize::MAX);
    let samples = match request.budget {
        None => None,
        Some(Budget::Samples(samples)) => Some(samples),
        Some(Budget::Tokens(_)) => return Err(SelectError::ReadyTokens),
    };
    let tokens = espalier_data::ready_windows(collection, samples, limit, config.vocab_size)?;
    let longest = tokens.iter().map(|window| window.input_ids.len()).max().unwrap_or(0);
    config.warn_of_length(longest, "the longest window");
    if !request.loss_mask.is_all() && tokens.iter().any(|window| window.loss_mask.is_empty()) {
        return Err(SelectError::ReadyAnswers);
    }
    let windows: Vec<_> = tokens
        .into_iter()
        .enumerate()
        .map(|(index, Tokens { input_ids, loss_mask })| {
            let source = collection.source_of(index);
            let document = index - collection.sources()[source].documents.start;
            let pieces = vec![Piece { source, document, offset: 0, length: input_ids.len() }];
            Window { input_ids, loss_mask, pieces, score: None }
        })
        .collect();
    let record = CalibrationRecord::new(collection, |_| 0, |_| None, None, request.seed, &windows);
    Ok(Selection { windows, record })
}
