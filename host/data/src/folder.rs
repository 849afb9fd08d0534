//! A source as it is named: a file, or a folder of files.

use super::{CalibrationError, Shape, file::DataFile, scan::How, unpack};
use espalier_base::{
    files::{self, Limit},
    hash::hex,
};
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The extensions of data files, where a folder holds other things too.
const ENDS: [&str; 7] = ["json", "jsonl", "ndjson", "parquet", "txt", "text", "raw"];

/// The files of a source.
pub(super) struct Opened {
    pub(super) files: Vec<DataFile>,
    pub(super) sha256: String,
    pub(super) shape: Shape,
}

/// Opens a file, or all files of data in a folder and in its folders, in the order of their names.
pub(super) fn open(path: &Path, how: &How) -> Result<Opened, CalibrationError> {
    if !path.is_dir() {
        let file = DataFile::open(path, how)?;
        let (sha256, shape) = (file.sha256().to_owned(), file.shape());
        return Ok(Opened { files: vec![file], sha256, shape });
    }
    let paths = files_of(path)?;
    let mut files: Vec<DataFile> = Vec::new();
    let mut hash = Sha256::new();
    for found in &paths {
        let file = match DataFile::open(found, how) {
            Ok(file) => file,
            Err(_) if is_one_object(found) => {
                tracing::warn!("{} holds one object and no rows, and is passed over", found.display());
                continue;
            }
            Err(error) => return Err(error),
        };
        if let Some(first) = files.first().filter(|first| running(first.shape()) != running(file.shape())) {
            return Err(CalibrationError::Mixed {
                path: path.to_owned(),
                first: first.path().to_owned(),
                other: found.clone(),
            });
        }
        let name = found.strip_prefix(path).unwrap_or(found).display();
        hash.update(format!("{}  {name}\n", file.sha256()));
        files.push(file);
    }
    let Some(shape) = files.first().map(DataFile::shape) else {
        return Err(CalibrationError::NoFiles { path: path.to_owned(), ends: ENDS.join(", .") });
    };
    Ok(Opened { files, sha256: hex(hash), shape })
}

/// Whether a file is one JSON object, as descriptions of data are (`dataset_infos.json`, `state.json`, `config.json`).
fn is_one_object(path: &Path) -> bool {
    let ends = unpack::end_of(path) == "json";
    ends && files::read(path, Limit::CONFIG).is_ok_and(|bytes| {
        let text = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes);
        serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(text).is_ok()
    })
}

/// The shape, where a text file counts as a row of text.
fn running(shape: Shape) -> Shape {
    if shape == Shape::Plain { Shape::Text } else { shape }
}

/// The files of data in a folder and below; what is hidden is passed over.
pub(super) fn files_of(folder: &Path) -> Result<Vec<PathBuf>, CalibrationError> {
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let keep = |path: &Path| !hidden(path) && (path.is_dir() || is_data(path));
    files::walk(folder, &keep).map_err(|(path, source)| CalibrationError::Read { path, source })
}

/// Whether a file is data by its name, packed or not.
fn is_data(path: &Path) -> bool {
    let end = unpack::end_of(path);
    let packed = unpack::ENDS.contains(&end.as_str());
    ENDS.contains(&end.as_str()) || packed && path.file_stem().is_some_and(|stem| is_data(Path::new(stem)))
}
