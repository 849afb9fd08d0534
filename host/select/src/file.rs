//! Windows as a file: one row of JSON a window.

use super::{CalibrationRecord, Result, SelectError, Window};
use espalier_base::{files, output};
use espalier_data::{CalibrationError, Tokenizer};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead, BufReader},
    path::Path,
};

/// A window as it is written. `prune --calibration` takes such rows exactly as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The tokens.
    pub input_ids: Vec<u32>,
    /// 1 for every token that counts: all of them, as nothing is padded.
    #[serde(default)]
    pub attention_mask: Vec<u8>,
    /// How much each token counts in statistics and losses; absent where all count 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loss_mask: Vec<f32>,
    /// The tokens as text, special ones included.
    #[serde(default)]
    pub text: String,
    /// The file that the window's first token came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The number of the document in that file, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<usize>,
    /// The place of the window's first token in the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<usize>,
    /// The selector's measure of the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Where all its tokens came from, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pieces: Vec<RowPiece>,
}

/// A [`Piece`](super::Piece) that names its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowPiece {
    /// The file.
    pub source: String,
    /// The document's number in it, from 0.
    pub document: usize,
    /// The first token's place in the document.
    pub offset: usize,
    /// How many tokens.
    pub length: usize,
}

impl Row {
    /// The tokens that count.
    pub fn tokens(&self) -> impl Iterator<Item = u32> {
        let masked = |at: usize| self.attention_mask.get(at) == Some(&0);
        self.input_ids.iter().enumerate().filter(move |(at, _)| !masked(*at)).map(|(_, &token)| token)
    }
}

/// Windows as they are written.
///
/// # Errors
/// The tokenizer fails.
pub fn rows(
    windows: &[Window],
    record: &CalibrationRecord,
    tokenizer: &Tokenizer,
) -> Result<Vec<Row>, CalibrationError> {
    let row = |window: &Window| {
        let pieces: Vec<_> = window
            .pieces
            .iter()
            .map(|piece| RowPiece {
                source: record.sources[piece.source].path.display().to_string(),
                document: piece.document,
                offset: piece.offset,
                length: piece.length,
            })
            .collect();
        let first = pieces.first();
        Ok(Row {
            attention_mask: vec![1; window.input_ids.len()],
            loss_mask: window.loss_mask.clone(),
            text: tokenizer.decode_all(&window.input_ids)?,
            source: first.map(|piece| piece.source.clone()),
            document: first.map(|piece| piece.document),
            offset: first.map(|piece| piece.offset),
            score: window.score,
            input_ids: window.input_ids.clone(),
            pieces,
        })
    };
    windows.iter().map(row).collect()
}

/// Writes windows, one row of JSON a line.
///
/// # Errors
/// The file is there already and may not be replaced, or cannot be written.
pub fn write_rows(path: &Path, rows: &[Row], overwrite: bool) -> Result<()> {
    Ok(output::write(path, overwrite, |mut out| {
        for row in rows {
            serde_json::to_writer(&mut out, row)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })?)
}

/// Reads windows that were written.
///
/// # Errors
/// The file cannot be read, or a row is not a window.
pub fn read_rows(path: &Path) -> Result<Vec<Row>> {
    let failed = |source| CalibrationError::Read { path: path.to_owned(), source };
    let mut rows = Vec::new();
    for (at, line) in BufReader::new(files::open(path).map_err(failed)?).lines().enumerate() {
        let line = line.map_err(failed)?;
        if line.trim().is_empty() {
            continue;
        }
        let unlike = |source| SelectError::Row { path: path.to_owned(), line: at + 1, source };
        rows.push(serde_json::from_str(&line).map_err(unlike)?);
    }
    Ok(rows)
}
