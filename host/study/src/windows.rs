//! Calibration windows that cells share: chosen once for a model, a set and a seed.

use super::{
    Result, StudyCalibration,
    folder::{self, Folder},
    matrix::Drawn,
};
use espalier_data::{Tokenizer, Tokens};
use espalier_select::{CalibrationRecord, Request, SelectionStep, SelectionTarget};

/// Chosen windows, and what a manifest says of them.
pub(super) struct Windows {
    /// The hash of all that determines them.
    pub(super) hash: String,
    /// Their tokens.
    pub(super) tokens: Vec<Tokens>,
    /// Their record.
    pub(super) record: CalibrationRecord,
}

/// The windows of a calibration set for a model: those that are in the folder, or else chosen now and put there.
pub(super) fn windows(
    folder: &Folder,
    hash: String,
    set: &StudyCalibration,
    drawn: Drawn,
    target: SelectionTarget,
    progress: &(dyn Fn(SelectionStep) + Sync),
) -> Result<Windows> {
    let home = folder.selection(&hash);
    let (rows, record) = (home.join("windows.jsonl"), home.join("record.json"));
    let _lease = folder.wait(&hash)?;
    // The record is written last.
    if let Some(record) = folder::read_sound(&record)? {
        let tokens = espalier_select::read_rows(&rows)?.into_iter();
        let tokens = tokens.map(|row| Tokens { input_ids: row.input_ids, loss_mask: row.loss_mask });
        return Ok(Windows { hash, tokens: tokens.collect(), record });
    }
    folder::make(&home)?;
    folder::sweep(&home)?;
    let request = Request { seed: drawn.seed, ..set.request.clone() };
    let selection = espalier_select::select(&request, &set.libraries, target, progress)?;
    if set.selector.is_some() {
        let tokenizer = Tokenizer::open(target.folder, target.config.vocab_size)?;
        let written = espalier_select::rows(&selection.windows, &selection.record, &tokenizer)?;
        espalier_select::write_rows(&rows, &written, true)?;
        folder::write_json(&record, &selection.record)?;
    }
    let tokens = selection.windows.into_iter();
    let tokens = tokens.map(|window| Tokens { input_ids: window.input_ids, loss_mask: window.loss_mask });
    Ok(Windows { hash, tokens: tokens.collect(), record: selection.record })
}
