//! Making an archive of a model's folder.

use super::{
    ArchiveError, FILE, FORMAT, SHARD, VERSION,
    header::HeaderWriter,
    is_reserved,
    packed::{count, packable, packed_bytes, split},
};
use crate::{
    Checkpoint,
    checkpoint::{ADAPTER, CheckpointError, Entry, Shard, adapter::CONFIG},
    layout::Projection,
    writer,
};
use bytes::Bytes;
use espalier_base::{
    files::{self, Limit},
    hash::{self, Hasher},
    interrupt, output,
};
use espalier_device::packing::mask_bytes;
use safetensors::Dtype;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

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

/// Makes an archive of a model's folder: tensors are read twice, some rows at a time. `progress` is given bytes of shards as they are
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
    let inputs = checkpoint.shards().iter().map(|shard| shard.path.as_path());
    output::check(out, overwrite, inputs)?;

    let mut header = HeaderWriter::default();
    let mut small = side_files(&checkpoint)?;
    for shard in checkpoint.shards() {
        small.push((format!("{SHARD}{}", shard.file), Bytes::copy_from_slice(shard.preamble())));
    }
    let mut padding: Vec<usize> =
        small.iter().map(|(name, bytes)| header.add(name, Dtype::U8, &[bytes.len()])).collect();
    let (plan, mut hashes) = plan(&checkpoint, &mut progress)?;
    for (name, bytes) in &small {
        if let Some(file) = name.strip_prefix(FILE) {
            hashes.insert(file.to_owned(), hash::of(bytes));
        }
    }
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
        let mut padding = padding.into_iter();
        let mut file = Placed { file, next: || padding.next().unwrap_or(0) };
        file.put_raw(&header)?;
        for (_, bytes) in &small {
            file.put(&[bytes])?;
        }
        let mut buffers = Buffers::default();
        for planned in &plan {
            let read = interrupt::check().map_err(ArchiveError::from).and_then(|()| Ok(tensor(planned)?));
            let bytes = read.map_err(|error| {
                failure = Some(error);
                io::Error::other("the model cannot be read")
            })?;
            let whole = match (&planned.kept, packable(planned.entry)) {
                (Some(kept), Some((dtype, shape))) => {
                    buffers.write(&mut file, dtype.size(), shape, &bytes, kept, &mut progress)?
                }
                _ => {
                    file.put(&[&bytes])?;
                    progress(bytes.len());
                    true
                }
            };
            if !whole {
                failure = Some(CheckpointError::Changed { path: planned.shard.path.clone() }.into());
                return Err(io::Error::other("the model changed"));
            }
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

/// Rows that are split, or counted and hashed, at a time: few enough to stay in the processor's caches.
const CHUNK_BYTES: usize = 1 << 20;

/// An archive's file, with the padding that stands before every tensor.
struct Placed<'a, F> {
    file: &'a mut (dyn Write + Send),
    next: F,
}

impl<F: FnMut() -> usize + Send> Placed<'_, F> {
    /// A tensor's bytes, in pieces.
    fn put(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        let padding = (self.next)();
        self.put_raw(&[0; super::ALIGN][..padding])?;
        pieces.iter().try_for_each(|piece| self.put_raw(piece))
    }

    /// More bytes, behind those before.
    fn put_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }
}

/// What a tensor's parts are made in, one tensor after the other.
#[derive(Default)]
struct Buffers {
    values: [Vec<u8>; 2],
    mask: Vec<u8>,
}

impl Buffers {
    /// Writes the parts of a tensor of elements of `size` bytes, of whose rows so many are kept. Some rows are split while those before
    /// are written. False where the tensor is no longer what it was.
    fn write<F: FnMut() -> usize + Send>(
        &mut self,
        file: &mut Placed<F>,
        size: usize,
        [rows, cols]: [usize; 2],
        bytes: &[u8],
        kept: &[usize],
        progress: &mut impl FnMut(usize),
    ) -> io::Result<bool> {
        let mask_bytes = mask_bytes(cols);
        self.mask.resize(rows * mask_bytes, 0);
        let at_once = rows_at_once(cols * size);
        let [before, now] = &mut self.values;
        before.clear();
        let mut whole = true;
        file.put(&[])?;
        let masks = self.mask.chunks_mut(at_once * mask_bytes);
        for ((bytes, kept), mask) in bytes.chunks(at_once * cols * size).zip(kept.chunks(at_once)).zip(masks)
        {
            let (written, same) =
                rayon::join(|| file.put_raw(before), || split(size, cols, bytes, kept, now, mask));
            written?;
            whole &= same;
            progress(bytes.len());
            std::mem::swap(before, now);
        }
        file.put_raw(before)?;
        file.put(&[&self.mask])?;
        let mut offset = 0;
        let offsets = kept.iter().map(|kept| {
            let here = offset;
            offset += *kept as u64;
            here
        });
        file.put(&[&words(offsets)])?;
        file.put(&[&words([rows, cols].map(|size| size as u64))])?;
        Ok(whole)
    }
}

/// How many rows of so many bytes are taken at a time.
fn rows_at_once(row_bytes: usize) -> usize {
    (CHUNK_BYTES / row_bytes.max(1)).max(1)
}

fn words(words: impl IntoIterator<Item = u64>) -> Vec<u8> {
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// A tensor's bytes, whose memory is given back when they are dropped.
fn tensor(planned: &Planned) -> Result<Bytes, CheckpointError> {
    planned.shard.passing(planned.entry.range.clone())
}

/// Every tensor, in the order of the shards, and the shards' hashes.
fn plan<'a>(
    checkpoint: &'a Checkpoint,
    progress: &mut impl FnMut(usize),
) -> Result<(Vec<Planned<'a>>, BTreeMap<String, String>), ArchiveError> {
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
                let row_bytes = shape[1] * dtype.size();
                let mut kept = Vec::with_capacity(shape[0]);
                for rows in bytes.chunks((rows_at_once(row_bytes) * row_bytes).max(1)) {
                    let (more, ()) = rayon::join(|| count(dtype, shape[1], rows), || hash.update(rows));
                    kept.extend(more);
                }
                let smaller = packed_bytes(dtype, shape, kept.iter().sum()) < bytes.len();
                planned.kept = smaller.then_some(kept);
            } else {
                hash.update(&bytes);
            }
            progress(bytes.len());
            plan.push(planned);
        }
        hashes.insert(shard.file.clone(), hash.hex());
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

/// The files beside the weights, and those of the low-rank part.
fn side_files(checkpoint: &Checkpoint) -> Result<Vec<(String, Bytes)>, ArchiveError> {
    let mut found = Vec::new();
    for name in writer::files_beside(checkpoint)? {
        let path = checkpoint.dir().join(&name);
        let bytes = files::read(&path, Limit::SIDE)
            .map_err(|source| writer::WriteError::Read { path: path.clone(), source })?;
        found.push((format!("{FILE}{name}"), bytes.into()));
    }
    if let Some(adapter) = checkpoint.adapter() {
        let config = checkpoint.dir().join(ADAPTER).join(CONFIG);
        let bytes = files::read(&config, Limit::CONFIG)
            .map_err(|source| writer::WriteError::Read { path: config, source })?;
        found.push((format!("{FILE}{ADAPTER}/{CONFIG}"), bytes.into()));
        let factors = adapter.shard();
        found.push((format!("{FILE}{}", factors.file), factors.passing(0..factors.file_bytes())?));
    }
    Ok(found)
}
