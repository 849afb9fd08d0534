//! Windows: the tokens of one forward pass.

use super::{
    CalibrationError, Collection, Record, Refusals, Renderer, Shape, Tokenizer, Tokens,
    tokenizer::check_tokens,
};
use std::{borrow::Borrow, path::PathBuf};

/// The windows of a collection that [has them](Collection::has_windows), as they are: all, or the first
/// `samples`.
///
/// # Errors
/// Fewer windows than asked for, one longer than `limit` tokens, or one with a token that the model does
/// not know.
pub fn ready_windows(
    collection: &Collection,
    samples: Option<usize>,
    limit: usize,
    vocab_size: usize,
) -> Result<Vec<Tokens>, CalibrationError> {
    let rows = collection.len();
    let samples = samples.unwrap_or(rows);
    if samples > rows {
        return Err(CalibrationError::TooFew { path: path(collection), rows, samples });
    }
    (0..samples)
        .map(|index| {
            let Record::Tokens(window) = collection.record(index)? else {
                return Err(CalibrationError::NoWindow { place: collection.place(index) });
            };
            let length = window.input_ids.len();
            if length > limit {
                return Err(CalibrationError::TooLong { place: collection.place(index), length, limit });
            }
            check_tokens(&window.input_ids, vocab_size, || collection.place(index))?;
            Ok(window)
        })
        .collect()
}

/// The first of a collection's files.
fn path(collection: &Collection) -> PathBuf {
    collection.sources().first().map(|source| source.path.clone()).unwrap_or_default()
}

/// The windows to measure perplexity on, of at most `seqlen` tokens. The tokenizer is asked for where there
/// is text.
///
/// Text is tokenised once, with the special tokens the tokenizer adds, and cut into whole windows; the
/// tail is dropped, unless it is all there is. Rows of `text` are joined with two newlines first, empty
/// ones too, as the published perplexities of WikiText-2 are measured. Instructions are a window each, cut at `seqlen`. Rows of `input_ids` are taken as they are, and every token of theirs counts.
///
/// # Errors
/// The data are not usable, or have too few tokens to predict one.
pub fn evaluation_windows<T: Borrow<Tokenizer>>(
    collection: &Collection,
    renderer: &Renderer,
    tokenizer: impl FnOnce() -> Result<T, CalibrationError>,
    seqlen: usize,
    vocab_size: usize,
) -> Result<Vec<Vec<u32>>, CalibrationError> {
    let shape = collection.sources().first().map(|source| source.shape);
    let windows: Vec<Vec<u32>> = match shape {
        Some(Shape::Windows) => {
            let windows = ready_windows(collection, None, seqlen, vocab_size)?;
            windows.into_iter().map(|window| window.input_ids).collect()
        }
        Some(Shape::Plain | Shape::Text) => {
            running_text(collection, renderer, tokenizer()?.borrow(), seqlen)?
        }
        _ => examples(collection, renderer, tokenizer()?.borrow(), seqlen)?,
    };
    // A single token predicts nothing and has nothing to predict.
    let tokens = windows.iter().map(Vec::len).sum();
    let windows: Vec<_> = windows.into_iter().filter(|window| window.len() > 1).collect();
    if windows.is_empty() {
        return Err(CalibrationError::TooShort { path: path(collection).to_owned(), tokens });
    }
    Ok(windows)
}

fn examples(
    collection: &Collection,
    renderer: &Renderer,
    tokenizer: &Tokenizer,
    seqlen: usize,
) -> Result<Vec<Vec<u32>>, CalibrationError> {
    let mut refusals = Refusals::default();
    let mut windows = Vec::with_capacity(collection.len());
    for index in 0..collection.len() {
        let place = || collection.place(index);
        let record = collection.record(index)?;
        let window = renderer.document(&record, place).and_then(|document| {
            let mut tokens = tokenizer.encode(&document.text, document.special, place)?;
            tokens.truncate(seqlen);
            Ok(tokens)
        });
        windows.extend(refusals.keep(collection, index, window)?);
    }
    refusals.warn();
    Ok(windows)
}

fn running_text(
    collection: &Collection,
    renderer: &Renderer,
    tokenizer: &Tokenizer,
    seqlen: usize,
) -> Result<Vec<Vec<u32>>, CalibrationError> {
    let mut refusals = Refusals::default();
    let mut texts = Vec::with_capacity(collection.len());
    for index in 0..collection.len() {
        let document = renderer.document(&collection.record(index)?, || collection.place(index));
        texts.extend(refusals.keep(collection, index, document)?.map(|document| document.text));
    }
    refusals.warn();
    let tokens = tokenizer.encode(&texts.join("\n\n"), true, || path(collection).display().to_string())?;
    if tokens.len() < seqlen {
        return Ok(vec![tokens]);
    }
    Ok(tokens.chunks_exact(seqlen.max(1)).map(<[u32]>::to_vec).collect())
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
