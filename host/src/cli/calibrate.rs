//! From flags to calibration windows.

use super::{CliError, args};
use crate::{
    calibration::{
        Collection, Reading, Renderer, Source, TokenizedCollection, Tokenizer, check_selection,
        ready_windows, windows_sha256,
    },
    model::LlamaConfig,
    plugins::{Library, find, load},
    prune::{CalibrationRecord, PluginRecord},
};
use espalier_sdk::{Rng, SelectionRequest, Window, abi::LoadedSelector};
use std::{collections::BTreeMap, path::Path};

/// Tokens in a window where nothing is said: as many as the published codes take, or the model's context.
const SEQLEN: usize = 2048;

/// Windows where nothing is said.
const SAMPLES: usize = 128;

/// The selector where nothing is said, and the library it is in.
const SELECTOR: &str = "random";

/// Tokens in a window.
pub(super) fn seqlen(given: Option<u32>, config: &LlamaConfig) -> Result<usize, CliError> {
    let context = config.max_position_embeddings;
    match given.map(|seqlen| seqlen as usize) {
        None => Ok(SEQLEN.min(context)),
        Some(seqlen) if seqlen <= context => Ok(seqlen),
        Some(seqlen) => {
            Err(CliError::Usage(format!("--seqlen {seqlen} is more than the model's context of {context}")))
        }
    }
}

/// A selector that was found, with what the manifest says of it.
pub(super) struct FoundSelector {
    selector: LoadedSelector,
    record: PluginRecord,
}

/// The selector that is asked for: in the libraries given, else in the one of its own name.
pub(super) fn find_selector(
    command: &args::Prune,
    libraries: &[Library],
    options: &BTreeMap<String, String>,
) -> Result<FoundSelector, CliError> {
    let offered =
        || libraries.iter().flat_map(|library| library.info().selectors.iter().map(move |s| (library, s)));
    let name = match (&command.selector, offered().map(|(_, info)| &info.name).collect::<Vec<_>>().as_slice())
    {
        (Some(name), _) => name.clone(),
        // A library that was given for its one selector is meant to be used.
        (None, [only]) => (*only).clone(),
        (None, []) => SELECTOR.to_owned(),
        (None, several) => {
            let several: Vec<_> = several.iter().map(|name| name.as_str()).collect();
            let message =
                format!("there are several selectors ({}): choose one with --selector", several.join(", "));
            return Err(CliError::Usage(message));
        }
    };
    let own;
    let library = match offered().find(|(_, info)| info.name == name) {
        Some((library, _)) => library,
        None => {
            own = load(&find(&name)?)?;
            &own
        }
    };
    let (selector, info, options) = library.selector(&name, options)?;
    Ok(FoundSelector { selector, record: PluginRecord::new(info.name, options, library) })
}

/// The calibration windows of a run, and what the manifest says of them.
pub(super) fn windows(
    command: &args::Prune,
    path: &Path,
    folder: &Path,
    config: &LlamaConfig,
    selector: impl FnOnce() -> Result<FoundSelector, CliError>,
) -> Result<(Vec<Window>, CalibrationRecord), CliError> {
    let collection = Collection::open(&[Source::new(path)], &Reading::default())?;
    let seqlen = seqlen(command.seqlen, config)?;
    let samples = command.samples.map(|samples| samples as usize);
    let sha256 = collection.sources()[0].sha256.clone();
    let (windows, selector) = if collection.has_windows() {
        let limit = if command.seqlen.is_some() { seqlen } else { config.max_position_embeddings };
        (ready_windows(&collection, samples, limit, config.vocab_size)?, None)
    } else {
        let tokenizer = Tokenizer::open(folder, config.vocab_size)?;
        let FoundSelector { selector, record } = selector()?;
        let eos = config.eos_token_ids.first().copied();
        let request =
            SelectionRequest { samples: samples.unwrap_or(SAMPLES), seqlen, seed: command.seed, eos };
        let documents = TokenizedCollection::new(collection, Renderer::new(None, folder)?, tokenizer);
        let windows = selector
            .select(&documents, &request)
            .map_err(|source| CliError::Selector { selector: record.name.clone(), source })?;
        check_selection(&record.name, &windows, &request, config.vocab_size)?;
        (windows, Some(record))
    };
    let record = CalibrationRecord {
        file: path.to_owned(),
        sha256,
        selector,
        samples: windows.len(),
        seqlen: windows.iter().map(|window| window.input_ids.len()).max().unwrap_or(0),
        tokens: windows.iter().map(|window| window.input_ids.len()).sum(),
        seed: command.seed,
        generator: Rng::NAME,
        windows_sha256: windows_sha256(&windows),
        documents: windows
            .iter()
            .map(|window| window.pieces.iter().map(|piece| piece.document).collect())
            .collect(),
    };
    Ok((windows, record))
}
