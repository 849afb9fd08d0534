//! Calibration windows under a progress bar, and what they look like.

use super::{CliError, args, print, progress};
use espalier_base::text;
use espalier_data::Tokenizer;
use espalier_plugins::Library;
use espalier_select::{Request, Selection, SelectionStep, SelectionTarget};
use indicatif::ProgressBar;
use std::sync::{Mutex, PoisonError};

/// Chooses windows, under a bar for each question that a selector has for the model.
pub(super) fn select(
    request: &Request,
    libraries: &[Library],
    target: SelectionTarget,
    verbosity: args::Verbosity,
) -> Result<Selection, CliError> {
    let bar: Mutex<Option<ProgressBar>> = Mutex::new(None);
    let selection = espalier_select::select(request, libraries, target, &|step| {
        let mut bar = bar.lock().unwrap_or_else(PoisonError::into_inner);
        match (step, &*bar) {
            (SelectionStep::Begin(total), _) => {
                *bar = Some(progress::bar("selecting", total, verbosity.quiet))
            }
            (SelectionStep::Advance(steps), Some(bar)) => bar.inc(steps as u64),
            (SelectionStep::End, Some(bar)) => bar.finish_and_clear(),
            (_, None) => {}
        }
    });
    Ok(selection?)
}

/// Prints the first windows as text, special tokens visible.
pub(super) fn show(
    selection: &Selection,
    count: Option<usize>,
    target: SelectionTarget,
) -> Result<(), CliError> {
    let Some(count) = count else { return Ok(()) };
    let tokenizer = Tokenizer::open(target.folder, target.config.vocab_size)?;
    for (at, window) in selection.windows.iter().take(count).enumerate() {
        let place = |piece: &espalier_select::Piece| {
            let path = selection.record.sources[piece.source].path.display();
            format!("{path}, document {} from token {}", piece.document, piece.offset)
        };
        let places: Vec<_> = window.pieces.iter().map(place).collect();
        let places = if places.is_empty() { "the selector's own text".to_owned() } else { places.join("; ") };
        let text = text::block(&tokenizer.decode_all(&window.input_ids)?);
        print(&format!("--- window {at}, {} tokens: {places}\n{text}\n", window.input_ids.len()))?;
    }
    Ok(())
}
