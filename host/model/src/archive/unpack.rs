//! Making a model's folder of an archive.

use super::{ArchiveError, Contents, read::name};
use crate::{
    Checkpoint,
    checkpoint::{CheckpointError, Entry, Header, Shard},
    writer::FileRecord,
};
use bytes::Bytes;
use espalier_base::{
    hash::{self, Hasher},
    interrupt,
    output::{self, OutputError},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::Path,
};

/// An archive that is open to be unpacked.
struct Opened {
    shard: Shard,
    contents: Contents,
    checkpoint: Checkpoint,
    /// SHA-256 of the shards and of the files beside them.
    hashes: BTreeMap<String, String>,
}

impl Opened {
    fn new(archive: &Path) -> Result<Self, ArchiveError> {
        let shard = Shard::open(archive.to_owned(), name(archive))?;
        if !Contents::is_of(&shard) {
            return Err(ArchiveError::NoArchive(archive.to_owned()));
        }
        let contents = Contents::of(&shard)?;
        let hashes = shard.header.metadata.get("sha256");
        let hashes: BTreeMap<String, String> =
            hashes.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        // The first archives list shards alone.
        let Contents { shards, files, .. } = &contents;
        let missing = hashes.keys().find(|name| !shards.contains_key(*name) && !files.contains_key(*name));
        let unlisted = || shards.keys().find(|name| !hashes.contains_key(*name));
        if let Some(file) = missing.or_else(unlisted) {
            return Err(ArchiveError::Listed { path: archive.to_owned(), file: file.clone() });
        }
        Ok(Self { shard, contents, checkpoint: Checkpoint::open(archive)?, hashes })
    }
}

/// Makes the folder that an archive was made of: every shard byte for byte, which is checked, and the files beside them. Tensors are
/// read one at a time. `progress` is given bytes as they are written.
///
/// # Errors
/// See [`ArchiveError`].
pub fn unpack(
    archive: &Path,
    out: &Path,
    mut progress: impl FnMut(usize) + Send,
) -> Result<(), ArchiveError> {
    let opened = Opened::new(archive)?;
    output::write_folder(out, |folder| {
        for (name, range) in &opened.contents.files {
            let path = folder.join(name);
            let bytes = opened.shard.passing(range.clone())?;
            if opened.hashes.get(name).is_some_and(|listed| *listed != hash::of(&bytes)) {
                return Err(ArchiveError::Hash { path: archive.to_owned(), file: name.clone() });
            }
            let write = || {
                fs::create_dir_all(path.parent().unwrap_or(folder))?;
                let mut file = File::create(&path)?;
                file.write_all(&bytes)?;
                file.sync_all()
            };
            write().map_err(|source| OutputError::Write { path: path.clone(), source })?;
        }
        for (name, range) in &opened.contents.shards {
            let preamble = opened.shard.read(range.clone())?;
            let path = folder.join(name);
            let failed = |source| OutputError::Write { path: path.clone(), source };
            let mut file = File::create(&path).map_err(failed)?;
            let record = shard(&opened.checkpoint, &preamble, |bytes| {
                progress(bytes.len());
                file.write_all(bytes).map_err(|error| failed(error).into())
            })?;
            file.sync_all().map_err(failed)?;
            if opened.hashes.get(name) != Some(&record.sha256) {
                return Err(ArchiveError::Hash { path: archive.to_owned(), file: name.clone() });
            }
        }
        Ok(())
    })?;
    Ok(opened.checkpoint.check_unchanged()?)
}

/// Length and SHA-256 of every file that [`unpack`] would make, by name. None is written.
///
/// # Errors
/// See [`ArchiveError`].
pub fn records(archive: &Path) -> Result<BTreeMap<String, FileRecord>, ArchiveError> {
    let opened = Opened::new(archive)?;
    let mut found = BTreeMap::new();
    for (name, range) in &opened.contents.files {
        let bytes = opened.shard.passing(range.clone())?;
        let record = FileRecord { bytes: bytes.len() as u64, sha256: hash::of(&bytes) };
        found.insert(name.clone(), record);
    }
    for (name, range) in &opened.contents.shards {
        let preamble = opened.shard.read(range.clone())?;
        found.insert(name.clone(), shard(&opened.checkpoint, &preamble, |_| Ok(()))?);
    }
    Ok(found)
}

/// Gives all bytes of a shard to `put`, in order, and tells their length and SHA-256. A tensor's zeros are put in while the one before
/// is hashed, and that is hashed while it is put.
fn shard(
    checkpoint: &Checkpoint,
    preamble: &[u8],
    mut put: impl FnMut(&[u8]) -> Result<(), ArchiveError> + Send,
) -> Result<FileRecord, ArchiveError> {
    let unusable = |source| CheckpointError::Header { path: checkpoint.dir().to_owned(), source };
    let header = Header::of_preamble(preamble).map_err(unusable)?;
    let (mut hash, mut length) = (Hasher::default(), 0);
    let mut before = Bytes::copy_from_slice(preamble);
    for entry in header.tensors.iter().map(Some).chain([None]) {
        interrupt::check()?;
        length += before.len() as u64;
        let ((written, ()), next) = rayon::join(
            || rayon::join(|| put(&before), || hash.update(&before)),
            || entry.map(|entry| tensor(checkpoint, entry)).transpose(),
        );
        written?;
        let Some(next) = next? else { break };
        before = next;
    }
    Ok(FileRecord { bytes: length, sha256: hash.hex() })
}

/// A tensor of an archive, which is as its shard has it.
fn tensor(checkpoint: &Checkpoint, entry: &Entry) -> Result<Bytes, ArchiveError> {
    let Some((dtype, shape, bytes)) = checkpoint.passing(&entry.name)? else {
        return Err(checkpoint.missing_from_archive(&entry.name).into());
    };
    if dtype == format!("{:?}", entry.dtype) && shape == entry.shape {
        return Ok(bytes);
    }
    Err(CheckpointError::Archive {
        path: checkpoint.dir().to_owned(),
        name: Some(entry.name.clone()),
        problem: format!(
            "it is {dtype} {shape:?}, but its shard has it as {} {:?}",
            entry.dtype, entry.shape
        ),
    }
    .into())
}
