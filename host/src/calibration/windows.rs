//! Windows: the tokens of one forward pass.

use super::{
    CalibrationError, Collection, Record, Renderer, Shape, Tokenizer, feed::hex, tokenizer::check_tokens,
};
use espalier_sdk::{Piece, SelectionRequest, Window};
use sha2::{Digest, Sha256};
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
) -> Result<Vec<Window>, CalibrationError> {
    let rows = collection.len();
    let samples = samples.unwrap_or(rows);
    if samples > rows {
        return Err(CalibrationError::TooFew { path: path(collection), rows, samples });
    }
    (0..samples)
        .map(|index| {
            let Record::Tokens(input_ids) = collection.record(index)? else {
                return Err(CalibrationError::NoWindow { place: collection.place(index) });
            };
            let length = input_ids.len();
            if length > limit {
                return Err(CalibrationError::TooLong { place: collection.place(index), length, limit });
            }
            check_tokens(&input_ids, vocab_size, || collection.place(index))?;
            Ok(Window { input_ids, pieces: vec![Piece { document: index, offset: 0, length }] })
        })
        .collect()
}

/// The first of a collection's files.
fn path(collection: &Collection) -> PathBuf {
    collection.sources().first().map(|source| source.path.clone()).unwrap_or_default()
}

/// Checks that a selector gave back what it was asked for.
///
/// # Errors
/// Another number of windows, one that is empty or too long, or one with a token that the model does not
/// know.
pub fn check_selection(
    selector: &str,
    windows: &[Window],
    request: &SelectionRequest,
    vocab_size: usize,
) -> Result<(), CalibrationError> {
    let broken =
        |problem: String| Err(CalibrationError::Selection { selector: selector.to_owned(), problem });
    if windows.len() != request.samples {
        return broken(format!("{} windows, but {} were asked for", windows.len(), request.samples));
    }
    for (index, window) in windows.iter().enumerate() {
        let length = window.input_ids.len();
        if length == 0 {
            return broken(format!("window {index}, which has no tokens"));
        }
        if length > request.seqlen {
            return broken(format!("window {index} of {length} tokens, but {} is the most", request.seqlen));
        }
        if let Some(token) = window.input_ids.iter().find(|&&token| token as usize >= vocab_size) {
            return broken(format!("window {index} with the token {token}, which the model does not know"));
        }
    }
    Ok(())
}

/// SHA-256 over the windows' tokens, in hex: of each window its length as 8 bytes and its tokens as 4
/// bytes each, little-endian.
pub fn windows_sha256(windows: &[Window]) -> String {
    let mut hash = Sha256::new();
    for window in windows {
        hash.update((window.input_ids.len() as u64).to_le_bytes());
        for token in &window.input_ids {
            hash.update(token.to_le_bytes());
        }
    }
    hex(hash)
}

/// The windows to measure perplexity on, of at most `seqlen` tokens. The tokenizer is asked for where there
/// is text.
///
/// Text is tokenised once, with the special tokens the tokenizer adds, and cut into whole windows; the
/// tail is dropped, unless it is all there is. Rows of `text` are joined with two newlines first, as
/// wikitext is. Instructions are a window each, cut at `seqlen`. Rows of `input_ids` are taken as they are.
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
        Some(Shape::Windows) => ready_windows(collection, None, seqlen, vocab_size)?
            .into_iter()
            .map(|window| window.input_ids)
            .collect(),
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
    (0..collection.len())
        .map(|index| {
            let place = || collection.place(index);
            let rendered = renderer.render(&collection.record(index)?, place)?;
            let mut tokens = tokenizer.encode(&rendered.document(), rendered.special, place)?;
            tokens.truncate(seqlen);
            Ok(tokens)
        })
        .collect()
}

fn running_text(
    collection: &Collection,
    renderer: &Renderer,
    tokenizer: &Tokenizer,
    seqlen: usize,
) -> Result<Vec<Vec<u32>>, CalibrationError> {
    let text = |index| {
        let rendered = renderer.render(&collection.record(index)?, || collection.place(index))?;
        Ok(rendered.document())
    };
    let texts = (0..collection.len()).map(text).collect::<Result<Vec<_>, CalibrationError>>()?;
    let tokens = tokenizer.encode(&texts.join("\n\n"), true, || path(collection).display().to_string())?;
    if tokens.len() < seqlen {
        return Ok(vec![tokens]);
    }
    Ok(tokens.chunks_exact(seqlen.max(1)).map(<[u32]>::to_vec).collect())
}

#[cfg(test)]
#[path = "windows_tests.rs"]
mod tests;
