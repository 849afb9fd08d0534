//! Predictions in a file.

use super::{Item, TaskResult};
use espalier_base::output::{self, OutputError};
use serde::Serialize;
use std::{
    io::{self, Write},
    path::Path,
};

/// A line of the file.
#[derive(Serialize)]
struct PredictionLine<'a> {
    task: &'a str,
    item: usize,
    #[serde(flatten)]
    result: &'a Item,
}

/// Writes every item of these results as a line of JSON: `task`, `item` (its number in the task, from 0),
/// `prompt`, `prediction`, `references`, `scores`, and `tokens` where likelihoods were measured.
///
/// # Errors
/// The file is there and may not be replaced, or cannot be written.
pub fn write_predictions(path: &Path, overwrite: bool, results: &[TaskResult]) -> Result<(), OutputError> {
    output::write(path, overwrite, |out| write(out, results))
}

fn write(mut out: &mut dyn Write, results: &[TaskResult]) -> io::Result<()> {
    for result in results {
        for (item, found) in result.items.iter().enumerate() {
            serde_json::to_writer(&mut out, &PredictionLine { task: &result.name, item, result: found })?;
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}
