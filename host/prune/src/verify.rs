//! Checking a pruned model against its manifest, and against the model that it was made of.

use crate::{Decision, PruneError, weights};
use bytes::Bytes;
use espalier_base::{
    files::{self, Limit},
    hash::Hashed,
    interrupt::{self, Interrupted},
};
use espalier_device::Device;
use espalier_model::{
    Checkpoint, Llama, LlamaConfig, ModelError, archive,
    checkpoint::CheckpointError,
    resolve,
    writer::{Cut, FileRecord, MANIFEST},
};
use espalier_sdk::Sparsity;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

/// The name of the check of files.
const FILES: &str = "files";

/// Tokens that the model is run on: enough to pass through every layer.
const TOKENS: usize = 16;

/// Why a folder cannot be verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// The manifest cannot be read.
    #[error("{} cannot be read, so this is not an output that can be verified", .path.display())]
    Read {
        /// The manifest.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An archive that cannot be used.
    #[error(transparent)]
    Archive(#[from] Box<CheckpointError>),
    /// The manifest is damaged.
    #[error("{} is damaged, so nothing can be compared with it", .path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The run was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It holds.
    Ok,
    /// It does not.
    Failed,
    /// It could not be done.
    NotDone,
}

/// A check.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// The name of the check.
    pub check: &'static str,
    /// Its outcome.
    pub outcome: CheckOutcome,
    /// How much was checked, or what is wrong.
    pub detail: String,
}

impl Check {
    /// A check of several things, of which these are wrong.
    fn of(check: &'static str, count: usize, what: &str, faults: &[String]) -> Self {
        match faults {
            [] => Self { check, outcome: CheckOutcome::Ok, detail: format!("{count} {what}") },
            [first, rest @ ..] => {
                let more =
                    if rest.is_empty() { String::new() } else { format!(" (and {} more)", rest.len()) };
                Self { check, outcome: CheckOutcome::Failed, detail: format!("{first}{more}") }
            }
        }
    }

    fn not_done(check: &'static str, why: impl ToString) -> Self {
        Self { check, outcome: CheckOutcome::NotDone, detail: why.to_string() }
    }

    fn failed(check: &'static str, why: &dyn std::error::Error) -> Self {
        Self { check, outcome: CheckOutcome::Failed, detail: espalier_base::cause::causes(why).join(": ") }
    }
}

/// The part of a manifest that can be checked.
#[derive(Deserialize)]
struct RecordedManifest {
    model: String,
    layers: Vec<RecordedLayer>,
    #[serde(default)]
    decided: Option<Decision>,
    #[serde(default)]
    files: BTreeMap<String, FileRecord>,
}

#[derive(Deserialize)]
struct RecordedLayer {
    name: String,
    target: Sparsity,
    zeros: usize,
    #[serde(default)]
    rank: Option<usize>,
}

/// Checks a pruned model, a folder or an archive: its files by their hashes, the zeros and the sparsity of every pruned layer, that all other
/// tensors are those of the model it was made of, and that weights and logits are finite. `source` names that model; the
/// manifest does where it is absent.
///
/// # Errors
/// There is no manifest to compare with.
pub fn verify(
    folder: &Path,
    source: Option<&str>,
    device: impl FnOnce() -> espalier_device::Result<Arc<dyn Device>>,
) -> Result<Vec<Check>, VerifyError> {
    if archive::is_archive(folder) {
        archive::mount(folder).map_err(Box::new)?;
    }
    let path = folder.join(MANIFEST);
    let bytes = files::read(&path, Limit::RECORD)
        .map_err(|source| VerifyError::Read { path: path.clone(), source })?;
    let manifest: RecordedManifest =
        serde_json::from_slice(&bytes).map_err(|source| VerifyError::Manifest { path, source })?;
    let mut checks = vec![hashes(folder, &manifest)?];
    let opened = LlamaConfig::read(folder).map_err(ModelError::from).and_then(|config| {
        let checkpoint = Checkpoint::open(folder)?;
        checkpoint.validate(&config)?;
        Ok(checkpoint)
    });
    match opened {
        Err(error) => checks.push(Check::failed("model", &error)),
        Ok(checkpoint) => {
            checks.push(layers(&checkpoint, &manifest)?);
            checks.push(finite(&checkpoint)?);
            checks.push(untouched(&checkpoint, &manifest, source)?);
            checks.push(logits(folder, device));
        }
    }
    interrupt::check()?;
    Ok(checks)
}

/// Every file that the manifest lists is there with its hash.
fn hashes(folder: &Path, manifest: &RecordedManifest) -> Result<Check, VerifyError> {
    if manifest.files.is_empty() {
        return Ok(Check::not_done(FILES, "the manifest was written by a version that lists no files"));
    }
    if folder.is_file() {
        return in_archive(folder, manifest);
    }
    let fault = |(name, record): (&String, &FileRecord)| {
        if interrupt::check().is_err() {
            return None;
        }
        // A manifest from outside must not have other files read.
        if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Some(format!("{name} is not the name of a file in the folder"));
        }
        let path = folder.join(name);
        let read = files::open(&path).and_then(|file| {
            let bytes = file.metadata()?.len();
            if bytes == record.bytes {
                Ok((bytes, Hashed::new(file).finish()?))
            } else {
                Ok((bytes, String::new()))
            }
        });
        match read {
            Err(error) => Some(format!("{name} cannot be read: {error}")),
            Ok((bytes, _)) if bytes != record.bytes => {
                Some(format!("{name} has {bytes} bytes instead of {}", record.bytes))
            }
            Ok((_, sha256)) if sha256 != record.sha256 => Some(format!("{name} is not as it was written")),
            Ok(_) => None,
        }
    };
    let faults: Vec<_> = manifest.files.par_iter().filter_map(fault).collect();
    interrupt::check()?;
    Ok(compared(manifest, &unlisted(folder, manifest), &faults))
}

/// Every file that the manifest lists is in the archive with its hash.
fn in_archive(archive: &Path, manifest: &RecordedManifest) -> Result<Check, VerifyError> {
    let found = match archive::records(archive) {
        Ok(found) => found,
        Err(_) if interrupt::check().is_err() => return Err(Interrupted.into()),
        Err(error) => return Ok(Check::failed(FILES, &error)),
    };
    let fault = |(name, record): (&String, &FileRecord)| match found.get(name) {
        None => Some(format!("{name} is not in the archive")),
        Some(found) if found != record => Some(format!("{name} is not as it was written")),
        Some(_) => None,
    };
    let faults: Vec<_> = manifest.files.iter().filter_map(fault).collect();
    let others: Vec<_> = found.into_keys().filter(|name| is_unlisted(name, manifest)).collect();
    Ok(compared(manifest, &others, &faults))
}

/// The check of the files, of which these are wrong and these others are not listed.
fn compared(manifest: &RecordedManifest, others: &[String], faults: &[String]) -> Check {
    let what = match others {
        [] => "files have their hashes".to_owned(),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            format!("files have their hashes; {first}{more} came later and is not in the manifest")
        }
    };
    Check::of(FILES, manifest.files.len(), &what, faults)
}

fn is_unlisted(name: &str, manifest: &RecordedManifest) -> bool {
    name != MANIFEST && !manifest.files.contains_key(name)
}

/// Files in a folder that its manifest does not list.
fn unlisted(folder: &Path, manifest: &RecordedManifest) -> Vec<String> {
    let found = files::walk(folder, &|_| true).unwrap_or_default();
    let names = found
        .iter()
        .filter_map(|path| Some(path.strip_prefix(folder).ok()?.to_string_lossy().replace('\\', "/")));
    names.filter(|name| is_unlisted(name, manifest)).collect()
}

/// Every pruned layer has the zeros that the manifest counts, and meets its target.
fn layers(checkpoint: &Checkpoint, manifest: &RecordedManifest) -> Result<Check, VerifyError> {
    let mut faults = Vec::new();
    for RecordedLayer { name, target, zeros, rank } in &manifest.layers {
        interrupt::check()?;
        let view = match checkpoint.tensor(name) {
            Ok(view) if view.shape.len() == 2 => view,
            Ok(_) => {
                faults.push(format!("{name} is not a matrix"));
                continue;
            }
            Err(error) => {
                faults.push(error.to_string());
                continue;
            }
        };
        let found = weights::zeros(&view);
        let sizes = weights::Sizes { rows: view.shape[0], cols: view.shape[1], rank: rank.unwrap_or(0) };
        if found != *zeros {
            faults.push(format!("{name} has {found} zeros, but the manifest counts {zeros}"));
        } else if let Err(why) = weights::compare(*target, view.dtype, &view.bytes, sizes, found, || found) {
            faults.push(format!("{name}: {why}"));
        }
        checkpoint.release(name);
    }
    Ok(Check::of(
        "sparsity",
        manifest.layers.len(),
        "pruned layers have their zeros and meet their targets",
        &faults,
    ))
}

/// No weight is NaN or infinite.
fn finite(checkpoint: &Checkpoint) -> Result<Check, VerifyError> {
    let mut faults = Vec::new();
    let mut count = 0;
    for name in checkpoint.names() {
        interrupt::check()?;
        // Tensors of other types are not weights.
        let Ok(view) = checkpoint.tensor(name) else { continue };
        count += 1;
        if let Some((row, col, value)) = weights::not_finite(&view) {
            faults.push(format!("{name} has a value that is {value}, at row {row}, column {col}"));
        }
        let factors = checkpoint.low_rank(name).ok().flatten();
        for factor in factors.iter().flat_map(|(left, right)| [left, right]) {
            count += 1;
            if let Some((row, col, value)) = weights::not_finite(factor) {
                faults.push(format!(
                    "the low-rank part of {name} has a value that is {value}, at row {row}, column {col}"
                ));
            }
        }
        checkpoint.release(name);
    }
    Ok(Check::of("weights", count, "tensors are finite", &faults))
}

/// Tensors that were not pruned are those of the source, to the bit.
fn untouched(
    checkpoint: &Checkpoint,
    manifest: &RecordedManifest,
    source: Option<&str>,
) -> Result<Check, VerifyError> {
    const NAME: &str = "untouched";
    let named = source.unwrap_or(&manifest.model);
    let original =
        match resolve(named).map_err(ModelError::from).and_then(|folder| Ok(Checkpoint::open(&folder)?)) {
            Ok(original) => original,
            Err(error) if source.is_some() => return Ok(Check::failed(NAME, &error)),
            Err(_) => {
                return Ok(Check::not_done(
                    NAME,
                    format!("the source {named} is not there: name it with --model"),
                ));
            }
        };
    let pruned: BTreeSet<&str> = manifest.layers.iter().map(|layer| layer.name.as_str()).collect();
    let mut faults = Vec::new();
    let mut count = 0;
    let cut = match &manifest.decided {
        None => Cut::default(),
        Some(decided) => {
            let config = LlamaConfig::read(original.dir()).map_err(ModelError::from);
            match config.map_err(PruneError::from).and_then(|config| decided.cut(&config)) {
                Ok(cut) => cut,
                Err(error) => return Ok(Check::failed(NAME, &error)),
            }
        }
    };
    let mut unknown: BTreeSet<&str> = checkpoint.names().collect();
    for name in original.names() {
        let Some(now) = cut.name(name) else { continue };
        unknown.remove(&*now);
        if pruned.contains(&*now) {
            continue;
        }
        interrupt::check()?;
        count += 1;
        match (checkpoint.raw(&now), original.raw(name)) {
            (Ok(Some(found)), Ok(Some(expected))) if found == sliced(&cut, name, expected.clone()) => {}
            (Ok(Some(_)), Ok(_)) => faults.push(format!("{now} differs from the source")),
            (Ok(None), Ok(_)) => faults.push(format!("{name} of the source is missing")),
            (Err(error), _) | (_, Err(error)) => faults.push(error.to_string()),
        }
        checkpoint.release(&now);
        original.release(name);
    }
    faults.extend(unknown.into_iter().map(|name| format!("{name} is not in the source")));
    Ok(Check::of(NAME, count, "tensors that were not pruned are those of the source", &faults))
}

/// What is left of a tensor of the source in the pruned model.
fn sliced(cut: &Cut, name: &str, tensor: (String, Vec<usize>, Bytes)) -> (String, Vec<usize>, Bytes) {
    match (cut.slice(name), tensor) {
        (Some(slice), (dtype, shape, bytes)) => {
            (dtype, slice.shape(&shape), slice.bytes(&shape, &bytes).into())
        }
        (None, tensor) => tensor,
    }
}

/// The model's logits are finite.
fn logits(folder: &Path, device: impl FnOnce() -> espalier_device::Result<Arc<dyn Device>>) -> Check {
    const NAME: &str = "logits";
    let device = match device() {
        Ok(device) => device,
        // That says nothing of the model.
        Err(error) => return Check::not_done(NAME, espalier_base::cause::causes(&error).join(": ")),
    };
    let run = || -> Result<bool, ModelError> {
        let model = Llama::open(folder, device)?;
        let tokens: Vec<u32> = (0..TOKENS.min(model.config.vocab_size)).map(|token| token as u32).collect();
        let batch = model.batch(&[&tokens])?;
        let mut hidden = model.embed(&batch)?;
        model.each_block(0..model.config.num_hidden_layers, false, |_, block| {
            interrupt::check()?;
            model.forward_block(block, &batch, &mut hidden, None)?;
            Ok::<_, ModelError>(())
        })?;
        let logits = model.logits(&model.load_head()?, &hidden)?;
        Ok(model.device.to_f32(&logits)?.iter().all(|logit| logit.is_finite()))
    };
    match run() {
        Ok(true) => Check::of(NAME, TOKENS, "tokens give finite logits", &[]),
        Ok(false) => Check::of(NAME, 0, "", &["some logits are NaN or infinite".to_owned()]),
        Err(error) => Check::failed(NAME, &error),
    }
}
