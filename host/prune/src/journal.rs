//! The journal of a run: what it was started with, and which blocks are finished, so that a run that ended early can
//! be continued with the same result.

use super::{Decision, LayerReport, Method, Settings};
use espalier_base::{
    files::{self, Limit},
    hash::{Hashed, hex},
};
use espalier_model::{
    Llama, ModelError, Window, archive, checkpoint::CheckpointError, layout, writer::MANIFEST,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::UNIX_EPOCH,
};

/// A line of the journal. (`{"commit": …}`, which the writer adds at the end, is not one of these.)
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JournalLine {
    /// The first: what the run was started with.
    Begin(Fingerprint),
    /// What stages that see the whole model have decided.
    Decided(Decision),
    /// All layers of this block are written, and what became of them.
    Block { index: usize, layers: Vec<LayerReport> },
    /// The hidden states that enter this block are in their file.
    Hidden { block: usize },
}

/// Everything that determines the bytes of a result. A run is continued only where all of it is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(BTreeMap<String, Value>);

impl Fingerprint {
    /// The fingerprint of a run on these calibration windows.
    ///
    /// # Errors
    /// The model's configuration or the plugin's library cannot be read.
    pub fn new(
        settings: &Settings,
        method: &Method,
        model: &Llama,
        windows: &[Window],
    ) -> Result<Self, ModelError> {
        let file = |path: &Path| match files::open(path).and_then(|file| Hashed::new(file).finish()) {
            Ok(hash) => Ok(json!(hash)),
            Err(source) => Err(CheckpointError::Read { path: path.to_owned(), source }),
        };
        let mut parts = BTreeMap::from([
            ("espalier".to_owned(), json!(env!("CARGO_PKG_VERSION"))),
            ("config.json".to_owned(), file(&model.checkpoint.dir().join("config.json"))?),
            ("method".to_owned(), json!(method.record().name)),
            ("options".to_owned(), json!(method.record().options)),
            ("plugin".to_owned(), json!(method.record().version)),
            ("plugin library (SHA-256)".to_owned(), json!(method.record().sha256)),
            ("targets".to_owned(), json!(settings.targets)),
            ("propagation".to_owned(), json!(settings.propagate)),
            ("seed of the methods".to_owned(), json!(settings.seed)),
            ("calibration windows (SHA-256)".to_owned(), json!(of_windows(windows))),
            ("device".to_owned(), json!(device(&model.device.info().to_string()))),
        ]);
        for shard in model.checkpoint.shards() {
            let changed = std::fs::metadata(&shard.path).and_then(|meta| meta.modified()).ok();
            let changed =
                changed.and_then(|at| Some(at.duration_since(UNIX_EPOCH).ok()?.as_nanos().to_string()));
            let header = hex(Sha256::new_with_prefix(shard.preamble()));
            let part = json!({ "bytes": shard.file_bytes(), "changed": changed, "header": header });
            parts.insert(shard.file.clone(), part);
        }
        Ok(Self(parts))
    }

    /// The SHA-256 of all of it, in hex.
    pub fn sha256(&self) -> String {
        hex(Sha256::new_with_prefix(json!(self.0).to_string()))
    }

    /// The differences from an earlier run, in words.
    fn differences(&self, earlier: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.0.keys().chain(earlier.0.keys()).collect();
        let differs = |name: &&String| self.0.get(*name) != earlier.0.get(*name);
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
        let difference = |name: &String| {
            format!("{name} was {} and is {}", text(earlier.0.get(name)), text(self.0.get(name)))
        };
        names.into_iter().filter(differs).map(difference).collect()
    }
}

/// A device in words, without its number of threads, which changes no byte of a result.
fn device(info: &str) -> String {
    let threads = |part: &&str| !part.trim_end_matches(')').ends_with(" threads");
    info.split(", ").filter(threads).collect::<Vec<_>>().join(", ")
}

fn of_windows(windows: &[Window]) -> String {
    let mut hash = Sha256::new();
    for window in windows {
        hash.update((window.len() as u64).to_le_bytes());
        hash.update(bytemuck::cast_slice(window.input_ids));
        // Windows whose tokens all count keep the hash they had before there were weights.
        hash.update(bytemuck::cast_slice(window.loss_mask));
    }
    hex(hash)
}

/// How far a run is.
#[derive(Debug, Default)]
pub struct Progress {
    /// What stages that see the whole model have decided.
    pub(super) decided: Option<Decision>,
    /// The report of each layer.
    pub(super) layers: Vec<LayerReport>,
    /// How many of these layers are in finished blocks.
    finished_layers: usize,
    /// Blocks that are finished: all up to this one.
    pub(super) blocks: usize,
    /// The last block whose entering hidden states were kept.
    pub(super) hidden: Option<usize>,
}

impl Progress {
    /// Forgets the layers of the block that is not finished.
    pub(super) fn rewind(&mut self) {
        self.layers.truncate(self.finished_layers);
    }

    /// Keeps a decision, and gives the line that says so.
    pub(super) fn decide(&mut self, decision: &Decision) -> Result<String, serde_json::Error> {
        self.decided = Some(decision.clone());
        serde_json::to_string(&JournalLine::Decided(decision.clone()))
    }

    /// Counts a block as finished, and gives the line that says so.
    pub(super) fn finish_block(&mut self, index: usize) -> Result<String, serde_json::Error> {
        let layers = self.layers[self.finished_layers..].to_vec();
        let line = serde_json::to_string(&JournalLine::Block { index, layers })?;
        self.finished_layers = self.layers.len();
        self.blocks = index + 1;
        Ok(line)
    }

    /// Counts the hidden states that enter a block as kept, and gives the line that says so.
    pub(super) fn keep_hidden(&mut self, block: usize) -> Result<String, serde_json::Error> {
        self.hidden = Some(block);
        serde_json::to_string(&JournalLine::Hidden { block })
    }

    /// Whether a low-rank part of this weight is written.
    pub(super) fn has_low_rank(&self, name: &str) -> bool {
        self.layers.iter().any(|layer| layer.name == name && layer.rank.is_some())
    }

    /// The names of the tensors that are written.
    pub(super) fn written(&self) -> BTreeSet<String> {
        self.layers[..self.finished_layers].iter().map(|layer| layer.name.clone()).collect()
    }
}

/// The hash of the [`Fingerprint`] of the run that finished an output; nothing where there is no such output.
pub fn finished(output: &Path) -> Option<String> {
    if archive::is_archive(output) {
        archive::mount(output).ok()?;
    }
    let manifest = files::read(&output.join(MANIFEST), Limit::RECORD).ok()?;
    let manifest: Value = serde_json::from_slice(&manifest).ok()?;
    Some(manifest.get("fingerprint")?.as_str()?.to_owned())
}

/// The line that a journal begins with.
pub(super) fn begin(fingerprint: &Fingerprint) -> Result<String, serde_json::Error> {
    serde_json::to_string(&JournalLine::Begin(fingerprint.clone()))
}

/// How far an earlier run came that the same things determine; nothing where it finished no block and decided nothing.
///
/// # Errors
/// The differences, in words, or a damaged journal.
pub(super) fn read(lines: &[String], now: &Fingerprint) -> Result<Option<Progress>, Vec<String>> {
    let Some((first, rest)) = lines.split_first() else { return Ok(None) };
    if rest.is_empty() {
        return Ok(None);
    }
    let damaged = || vec!["its journal is damaged".to_owned()];
    let Ok(JournalLine::Begin(earlier)) = serde_json::from_str(first) else { return Err(damaged()) };
    if earlier != *now {
        return Err(now.differences(&earlier));
    }
    let mut progress = Progress::default();
    for line in rest {
        match serde_json::from_str(line) {
            Ok(JournalLine::Decided(decision)) if progress.blocks == 0 => progress.decided = Some(decision),
            Ok(JournalLine::Block { index, layers }) if index == progress.blocks => {
                let of_block = |layer: &LayerReport| {
                    layout::Projection::parse(&layer.name).is_some_and(|(block, _)| block == index)
                };
                if !layers.iter().all(of_block) {
                    return Err(damaged());
                }
                progress.layers.extend(layers);
                progress.finished_layers = progress.layers.len();
                progress.blocks = index + 1;
            }
            Ok(JournalLine::Hidden { block }) if block <= progress.blocks => progress.hidden = Some(block),
            // The writer's own last line.
            _ if line.starts_with("{\"commit\"") => {}
            _ => return Err(damaged()),
        }
    }
    Ok((progress.blocks > 0 || progress.decided.is_some()).then_some(progress))
}

/// How many blocks the run of a journal has finished; nothing where it is damaged.
pub fn finished_blocks(lines: &[String]) -> Option<usize> {
    let JournalLine::Begin(fingerprint) = serde_json::from_str(lines.first()?).ok()? else { return None };
    Some(read(lines, &fingerprint).ok()?.map_or(0, |progress| progress.blocks))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(sparsity: &str) -> Fingerprint {
        let parts = [("method", "wanda"), ("sparsity", sparsity)];
        Fingerprint(parts.map(|(name, value)| (name.to_owned(), json!(value))).into())
    }

    fn report(block: usize) -> LayerReport {
        let name = format!("model.layers.{block}.self_attn.q_proj.weight");
        serde_json::from_value(json!({
            "name": name, "shape": [2, 2], "target": "0.5", "zeros": 2, "sparsity": 0.5, "error": 0.1, "seconds": 0.25,
        }))
        .unwrap()
    }

    #[test]
    fn a_journal_is_read_back() {
        let now = fingerprint("0.5");
        let mut progress = Progress::default();
        let mut lines = vec![begin(&now).unwrap()];
        assert!(read(&lines, &now).unwrap().is_none());
        let mut decision = Decision::of(&crate::Targets::everywhere(espalier_sdk::Sparsity::Ratio(0.5)));
        decision.targets.set(1, layout::Projection::Up, espalier_sdk::Sparsity::Ratio(0.25));
        decision.removed.insert(2);
        lines.push(progress.decide(&decision).unwrap());
        assert_eq!(read(&lines, &now).unwrap().unwrap().decided, Some(decision.clone()));
        progress.layers.push(report(0));
        lines.push(progress.finish_block(0).unwrap());
        lines.push(progress.keep_hidden(1).unwrap());
        progress.layers.push(report(1));
        lines.push(progress.finish_block(1).unwrap());
        progress.layers.push(report(2));
        progress.rewind();
        lines.push("{\"commit\":\"abc\"}".to_owned());
        assert_eq!(finished_blocks(&lines), Some(2));
        let found = read(&lines, &now).unwrap().unwrap();
        assert_eq!((found.blocks, found.hidden), (2, Some(1)));
        assert_eq!(found.layers, progress.layers);
        assert_eq!(found.decided, Some(decision));
        assert_eq!(found.written().len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn no_journal_is_too_damaged_to_be_refused(
            text in "(\\{\"(begin|block|hidden|commit)\":[a-z0-9{}\\[\\]\":,]{0,40}\\}?\n?){0,4}",
        ) {
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let _ = (finished_blocks(&lines), read(&lines, &fingerprint("0.5")));
        }
    }

    #[test]
    fn what_differs_is_named() {
        let mut progress = Progress::default();
        let lines = [begin(&fingerprint("0.5")).unwrap(), progress.finish_block(0).unwrap()];
        let differences = read(&lines, &fingerprint("0.6")).unwrap_err();
        assert_eq!(differences, ["sparsity was \"0.5\" and is \"0.6\""]);
    }

    #[test]
    fn threads_are_no_difference() {
        assert_eq!(
            device("AMD EPYC (native, avx512f, 2 threads)"),
            device("AMD EPYC (native, avx512f, 16 threads)")
        );
        assert_ne!(
            device("AMD EPYC (native, avx2, 2 threads)"),
            device("AMD EPYC (native, avx512f, 2 threads)")
        );
    }

    #[test]
    fn a_damaged_journal_is_refused() {
        let now = fingerprint("0.5");
        let first = begin(&now).unwrap();
        let of_another_block =
            serde_json::to_string(&JournalLine::Block { index: 0, layers: vec![report(1)] }).unwrap();
        for line in [
            "",
            "{",
            "[]",
            "{\"block\":{\"index\":1,\"layers\":[]}}",
            "{\"hidden\":{\"block\":1}}",
            &of_another_block,
        ] {
            let found = read(&[first.clone(), line.to_owned()], &now);
            assert_eq!(found.unwrap_err(), ["its journal is damaged"], "{line}");
        }
    }
}
