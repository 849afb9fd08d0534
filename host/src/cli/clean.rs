//! `host clean`: unfinished outputs, listed and removed.

use super::{CliError, args, print, print_json, table};
use espalier_model::writer::{Unfinished, WriteError, remove_unfinished, unfinished};
use espalier_prune::{Size, finished_blocks};
use espalier_study::report::duration;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// An unfinished output, as it is listed.
#[derive(Serialize)]
struct ListedPartial<'a> {
    folder: &'a Path,
    bytes: u64,
    age_seconds: u64,
    /// Finished blocks, where the journal tells.
    blocks: Option<usize>,
    state: &'static str,
}

pub(super) fn run(command: &args::Clean) -> Result<(), CliError> {
    let found = of(&command.folder)?;
    let mut listed = Vec::new();
    let mut failed = None;
    for one in &found {
        let blocks = finished_blocks(&one.journal());
        let state = match () {
            () if one.in_use => "in use",
            () if command.dry_run => "unfinished",
            () => match remove_unfinished(&one.folder) {
                Ok(()) => "removed",
                Err(error) => {
                    failed.get_or_insert(error);
                    "not removed"
                }
            },
        };
        let age_seconds = one.age.as_secs();
        listed.push(ListedPartial { folder: &one.folder, bytes: one.bytes, age_seconds, blocks, state });
    }
    if command.json {
        print_json(&listed)?;
    } else if listed.is_empty() {
        print(&format!("no unfinished outputs in {}", command.folder.display()))?;
    } else {
        let row = |one: &ListedPartial| {
            let age = duration(one.age_seconds as f64);
            let blocks = one.blocks.map_or_else(|| "-".to_owned(), |blocks| blocks.to_string());
            vec![
                one.folder.display().to_string(),
                blocks,
                Size(one.bytes).to_string(),
                age,
                one.state.to_owned(),
            ]
        };
        print(&table::render(
            &["unfinished output", "finished blocks", "size", "age", "state"],
            &listed.iter().map(row).collect::<Vec<_>>(),
        ))?;
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// The unfinished outputs in a folder, or the one of an `--out` of this name.
fn of(folder: &Path) -> Result<Vec<Unfinished>, CliError> {
    let read = |folder: &Path| {
        unfinished(folder).map_err(|source| WriteError::Read { path: folder.to_owned(), source })
    };
    if folder.is_dir() {
        let found = read(folder)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let (parent, name) = apart(folder);
    let ours = |one: &Unfinished| {
        let found = one.folder.file_name().unwrap_or_default();
        found.to_string_lossy() == name || is_of(found, &name)
    };
    Ok(read(&parent)?.into_iter().filter(ours).collect())
}

/// Whether this is the name of the unfinished output of an `--out` of that name.
fn is_of(found: &std::ffi::OsStr, name: &str) -> bool {
    let found = found.to_string_lossy();
    found
        .strip_prefix('.')
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| rest.starts_with(".partial"))
}

fn apart(path: &Path) -> (PathBuf, String) {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    (parent.to_owned(), path.file_name().unwrap_or_default().to_string_lossy().into_owned())
}

/// Says which unfinished outputs of other runs are beside an output.
pub(super) fn mention(out: &Path) {
    let (parent, name) = apart(out);
    let others = unfinished(&parent).unwrap_or_default();
    let others =
        others.iter().filter(|one| !one.in_use && !is_of(one.folder.file_name().unwrap_or_default(), &name));
    for Unfinished { folder, bytes, age, .. } in others {
        tracing::warn!(
            "{} is an unfinished output ({}, {} old): continue that run with --resume, or remove it with `host clean`",
            folder.display(),
            Size(*bytes),
            duration(age.as_secs_f64())
        );
    }
}
