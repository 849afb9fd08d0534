//! Making an archive of a model's folder.

use super::{
    ArchiveError, FILE, FORMAT, SHARD, VERSION,
    header::HeaderWriter,
    is_reserved,
    packed::{count, packable, packed_bytes, split},
};
use crate::{
    Checkpoint,
    checkpoint::{Entry, Shard},
    layout::Projection,
    writer,
};
use bytes::Bytes;
use espalier_base::{
    files::{self, Limit},
    hash::Hasher,
    interrupt, output,
};
use safetensors::Dtype;
use serde::Serialize;
use std::{collections::BTreeMap, io::Write, path::Path};

/// What packing made of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Packing {
    /// Bytes of the shards.
    pub dense_bytes: usize,
    /// Bytes of the archive.
    pub bytes: usize,
    /// Bytes of the linear layers in the shards.
    pub linear_bytes: usize,
    /// Their bytes in the archive.
    pub packed_linear_bytes: usize,
    /// How many tensors are packed.
    pub tensors: usize,
}

/// A tensor's place in the plan: of one that is packed, how many elements of each row are kept.
struct Planned<'a> {
    shard: &'a Shard,
    entry: &'a Entry,
    kept: Option<Vec<usize>>,
}

/// Makes an archive of a model's folder: tensors are read twice, one at a time. `progress` is given bytes of shards as they are
/// read.
///
/// # Errors
/// See [`ArchiveError`].
pub fn pack(
    folder: &Path,
    out: &Path,
    overwrite: bool,
    mut progress: impl FnMut(usize),
) -> Result<Packing, ArchiveError> {
    if out.extension().is_some_and(|end| end == "safetensors") {
        return Err(ArchiveError::Named(out.to_owned()));
    }
    if !folder.is_dir() {
        return Err(ArchiveError::NoFolder(folder.to_owned()));
    }
    let checkpoint = Checkpoint::open(folder)?;
    if checkpoint.has_low_rank() {
        return Err(ArchiveError::LowRank(folder.to_owned()));
    }
    let inputs = checkpoint.shards().iter().map(|shard| shard.path.as_path());
    output::check(out, overwrite, inputs)?;

    let mut header = HeaderWriter::default();
    let mut small = side_files(&checkpoint)?;
    for shard in checkpoint.shards() {
        small.push((format!("{SHARD}{}", shard.file), shard.preamble().to_vec()));
    }
    let mut padding: Vec<usize> =
        small.iter().map(|(name, bytes)| header.add(name, Dtype::U8, &[bytes.len()])).collect();
    let (plan, hashes) = plan(&checkpoint, &mut progress)?;
    let mut packing = Packing::default();
    for Planned { shard, entry, kept } in &plan {
        let linear = Projection::parse(&entry.name).is_some();
        let before = header.data_bytes();
        let parts = parts(entry, kept.as_deref());
        let parts = parts.iter().map(|(name, dtype, shape)| header.add(name, *dtype, shape));
        padding.extend(parts);
        packing.tensors += usize::from(kept.is_some());
        if linear {
            packing.linear_bytes += entry.range.len();
            packing.packed_linear_bytes += header.data_bytes() - before;
        }
        let _ = shard;
    }
    packing.dense_bytes = checkpoint.shards().iter().map(Shard::file_bytes).sum();
    let data = header.data_bytes();
    let metadata = BTreeMap::from([
        ("format", FORMAT.to_owned()),
        ("version", VERSION.to_owned()),
        ("sha256", serde_json::json!(hashes).to_string()),
    ]);
    let header = header.finish(&metadata);
    packing.bytes = header.len() + data;

    let mut failure = None;
    let written = output::write(out, overwrite, |file| {
        file.write_all(&header)?;
        let mut padding = padding.iter();
        let mut put = |file: &mut dyn Write, bytes: &[u8]| {
            file.write_all(&[0; super::ALIGN][..padding.next().copied().unwrap_or(0)])?;
            file.write_all(bytes)
        };
        for (_, bytes) in &small {
            put(file, bytes)?;
        }
        for planned in &plan {
            let read = interrupt::check().map_err(ArchiveError::from).and_then(|()| Ok(tensor(planned)?));
            let bytes = read.map_err(|error| {
                failure = Some(error);
                std::io::Error::other("the model cannot be read")
            })?;
            match (&planned.kept, packable(planned.entry)) {
                (Some(kept), Some((dtype, shape))) => {
                    let packed = split(dtype, shape[1], &bytes, kept);
                    put(file, &packed.values)?;
                    put(file, &packed.mask)?;
                    put(file, &words(&packed.offsets))?;
                    put(file, &words(&shape.map(|size| size as u64)))?;
                }
                _ => put(file, &bytes)?,
            }
            progress(bytes.len());
        }
        Ok(())
    });
    if let Some(error) = failure {
        return Err(error);
    }
    written?;
    checkpoint.check_unchanged()?;
    Ok(packing)
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A tensor's bytes, whose memory is given back when they are dropped.
fn tensor(planned: &Planned) -> Result<Bytes, crate::checkpoint::CheckpointError> {
    planned.shard.passing(planned.entry.range.clone())
}

/// Every tensor, in the order of the shards, and the shards' hashes.
fn plan<'a>(
    checkpoint: &'a Checkpoint,
    progress: &mut impl FnMut(usize),
) -> Result<(Vec<Planned<'a>>, BTreeMap<&'a str, String>), ArchiveError> {
    let (mut plan, mut hashes) = (Vec::new(), BTreeMap::new());
    for shard in checkpoint.shards() {
        let mut hash = Hasher::default();
        hash.update(shard.preamble());
        for entry in &shard.header.tensors {
            interrupt::check()?;
            if is_reserved(&entry.name) {
                return Err(ArchiveError::Reserved { path: shard.path.clone(), name: entry.name.clone() });
            }
            let mut planned = Planned { shard, entry, kept: None };
            let bytes = tensor(&planned)?;
            if let Some((dtype, shape)) = packable(entry)
                && Projection::parse(&entry.name).is_some()
            {
                let (kept, ()) = rayon::join(|| count(dtype, shape[1], &bytes), || hash.update(&bytes));
                let smaller = packed_bytes(dtype, shape, kept.iter().sum()) < bytes.len();
                planned.kept = smaller.then_some(kept);
            } else {
                hash.update(&bytes);
            }
            progress(bytes.len());
            plan.push(planned);
        }
        hashes.insert(shard.file.as_str(), hash.hex());
    }
    Ok((plan, hashes))
}

/// The tensors of an archive that a tensor becomes.
fn parts(entry: &Entry, kept: Option<&[usize]>) -> Vec<(String, Dtype, Vec<usize>)> {
    let (Some(kept), Some((_, [rows, cols]))) = (kept, packable(entry)) else {
        return vec![(entry.name.clone(), entry.dtype, entry.shape.clone())];
    };
    let [values, mask, offsets, shape] = super::PARTS.map(|part| format!("{}{part}", entry.name));
    vec![
        (values, entry.dtype, vec![kept.iter().sum()]),
        (mask, Dtype::U8, vec![rows, cols.div_ceil(8)]),
        (offsets, Dtype::I64, vec![rows]),
        (shape, Dtype::I64, vec![2]),
    ]
}

/// The files beside the weights.
fn side_files(checkpoint: &Checkpoint) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    let mut found = Vec::new();
    for name in writer::files_beside(checkpoint)? {
        let path = checkpoint.dir().join(&name);
        let bytes = files::read(&path, Limit::SIDE)
            .map_err(|source| writer::WriteError::Read { path: path.clone(), source })?;
        found.push((format!("{FILE}{name}"), bytes));
    }
    Ok(found)
}
