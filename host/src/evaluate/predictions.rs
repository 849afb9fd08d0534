//! Predictions in a file.

use super::{EvaluateError, Item, Result, TaskResult};
use serde::Serialize;
use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    task: &'a str,
    item: usize,
    #[serde(flatten)]
    result: &'a Item,
}

/// Writes every item of these results as a line of JSON: `task`, `item` (its number in the task, from 0),
/// `prompt`, `prediction`, `references`, `scores`, and `tokens` where likelihoods were measured. The file appears
/// when it is whole, in place of one that was there.
///
/// # Errors
/// The file cannot be written.
pub fn write_predictions(path: &Path, results: &[TaskResult]) -> Result<()> {
    // Beside its place, so that it can be put there by renaming.
    let mut aside = path.as_os_str().to_owned();
    aside.push(".partial");
    let aside = Path::new(&aside);
    let written = File::create(aside).and_then(|file| {
        write(&mut BufWriter::new(&file), results)?;
        file.sync_all()?;
        fs::rename(aside, path)
    });
    written.map_err(|source| {
        // It is of no use to anyone, and the first error is the one to tell of.
        let _ = fs::remove_file(aside);
        EvaluateError::Predictions { path: path.to_owned(), source }
    })
}

fn write(out: &mut impl Write, results: &[TaskResult]) -> io::Result<()> {
    for result in results {
        for (item, found) in result.items.iter().enumerate() {
            serde_json::to_writer(&mut *out, &Line { task: &result.name, item, result: found })?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()
}
