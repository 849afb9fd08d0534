//! What is in an archive.

use super::{FILE, FORMAT, PADDING, PARTS, PackedEntry, SHARD, VERSION};
use crate::checkpoint::{ADAPTER, CheckpointError, Entry, Shard, adapter::FACTORS, float};
use bytes::Bytes;
use espalier_base::files;
use safetensors::Dtype;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
};

/// What is in an archive, by its header.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The packed tensors, by name.
    pub(crate) packed: BTreeMap<String, PackedEntry>,
    /// The places in the header of those that are not.
    pub(crate) dense: BTreeMap<String, usize>,
    /// Where the files beside the weights are.
    pub(crate) files: BTreeMap<String, Range<usize>>,
    /// Where the beginnings of the shards are.
    pub(super) shards: BTreeMap<String, Range<usize>>,
}

impl Contents {
    /// Whether a file's header says that it is an archive.
    pub(crate) fn is_of(shard: &Shard) -> bool {
        shard.header.metadata.get("format").is_some_and(|format| format == FORMAT)
    }

    /// Reads what is in an archive; of its tensors, only shapes are read.
    ///
    /// # Errors
    /// It is of another version, or parts of a tensor are missing or do not fit together.
    pub(crate) fn of(shard: &Shard) -> Result<Self, CheckpointError> {
        let version = shard.header.metadata.get("version").map_or("unknown", String::as_str);
        if !Self::is_of(shard) || version != VERSION {
            let problem = format!("it is of version {version}, and this program reads version {VERSION}");
            return Err(CheckpointError::Archive { path: shard.path.clone(), name: None, problem });
        }
        let mut contents = Self::default();
        let mut parts: BTreeMap<&str, [Option<&Entry>; PARTS.len()]> = BTreeMap::new();
        for (place, entry) in shard.header.tensors.iter().enumerate() {
            let name = entry.name.as_str();
            let bytes = |name: &str| (name.to_owned(), entry.range.clone());
            if let Some(file) = name.strip_prefix(FILE) {
                contents.files.extend([bytes(file)]);
            } else if let Some(file) = name.strip_prefix(SHARD) {
                contents.shards.extend([bytes(file)]);
            } else if name.starts_with(PADDING) {
            } else if let Some((part, name)) =
                PARTS.iter().enumerate().find_map(|(part, end)| Some((part, name.strip_suffix(end)?)))
            {
                parts.entry(name).or_default()[part] = Some(entry);
            } else {
                contents.dense.insert(name.to_owned(), place);
            }
        }
        for (name, parts) in parts {
            let packed = packed(shard, parts)?.map_err(|problem| CheckpointError::Archive {
                path: shard.path.clone(),
                name: Some(name.to_owned()),
                problem,
            })?;
            contents.packed.insert(name.to_owned(), packed);
        }
        contents.check_names(shard)?;
        Ok(contents)
    }

    /// Checks that no tensor is there twice, and that files have names that stay in their folder.
    fn check_names(&self, shard: &Shard) -> Result<(), CheckpointError> {
        let refuse = |name: &str, problem: &str| {
            Err(CheckpointError::Archive {
                path: shard.path.clone(),
                name: Some(name.to_owned()),
                problem: problem.to_owned(),
            })
        };
        if let Some(name) = self.packed.keys().find(|name| self.dense.contains_key(*name)) {
            return refuse(name, "it is there both packed and as it is");
        }
        let plain = |name: &str| {
            name.split('/').all(|part| !matches!(part, "" | "." | "..")) && !name.contains(['\\', ':', '\0'])
        };
        let mut names = BTreeSet::new();
        for name in self.files.keys().chain(self.shards.keys()) {
            if !plain(name) || !names.insert(name) {
                return refuse(name, "no file of a model has such a name");
            }
        }
        Ok(())
    }
}

/// The parts of a tensor; within, what is wrong with them.
fn packed(
    shard: &Shard,
    parts: [Option<&Entry>; PARTS.len()],
) -> Result<Result<PackedEntry, String>, CheckpointError> {
    let [Some(values), Some(mask), Some(offsets), Some(shape)] = parts else {
        let missing: Vec<_> = PARTS.iter().zip(parts).filter(|(_, entry)| entry.is_none()).collect();
        return Ok(Err(format!("its part `{}` is missing", missing[0].0)));
    };
    if shape.dtype != Dtype::I64 || shape.shape != [2] {
        return Ok(Err("its shape is not two numbers".to_owned()));
    }
    let mut numbers = [[0; 8]; 2];
    shard.read_into(shape.range.start, numbers.as_flattened_mut())?;
    let [rows, cols] = numbers.map(|bytes| usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX));
    let fits = |entry: &Entry, dtype: Dtype, shape: &[usize]| entry.dtype == dtype && entry.shape == shape;
    Ok(if float(values.dtype).is_none() || values.shape.len() != 1 {
        Err(format!("its values are {} of the shape {:?}", values.dtype, values.shape))
    } else if rows
        .checked_mul(cols)
        .and_then(|count| count.checked_mul(4))
        .is_none_or(|count| count > 1 << 46)
    {
        Err(format!("its shape [{rows}, {cols}] is beyond all memory"))
    } else if !fits(mask, Dtype::U8, &[rows, cols.div_ceil(8)]) {
        Err(format!("its mask of the shape {:?} does not fit its shape [{rows}, {cols}]", mask.shape))
    } else if !fits(offsets, Dtype::I64, &[rows]) {
        Err(format!("its offsets of the shape {:?} do not fit its shape [{rows}, {cols}]", offsets.shape))
    } else {
        Ok(PackedEntry {
            dtype: values.dtype,
            shape: vec![rows, cols],
            values: values.range.clone(),
            mask: mask.range.clone(),
            offsets: offsets.range.clone(),
        })
    })
}

/// The files in an archive that are not weights, by name.
///
/// # Errors
/// It is no archive, or damaged.
pub(crate) fn files_in(path: &Path) -> Result<BTreeMap<String, Bytes>, CheckpointError> {
    let shard = Shard::open(path.to_owned(), name(path))?;
    let files = Contents::of(&shard)?.files.into_iter();
    files.map(|(name, range)| Ok((name, shard.read(range)?))).collect()
}

/// Lets the files beside an archive's weights be read as if the archive were their folder. The factors of a low-rank part are not
/// among them.
///
/// # Errors
/// It is no archive, or damaged.
pub fn mount(path: &Path) -> Result<(), CheckpointError> {
    let files = files_in(path)?.into_iter();
    let files = files.filter(|(name, _)| *name != factors()).map(|(name, bytes)| (name, bytes.to_vec()));
    files::mount(path, files.collect());
    Ok(())
}

/// The name of the file with the factors of a low-rank part.
pub(super) fn factors() -> String {
    format!("{ADAPTER}/{FACTORS}")
}

/// A file's name.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
