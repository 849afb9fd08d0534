//! Making a model's folder of an archive.

use super::{ArchiveError, Contents, read::name};
use crate::{
    Checkpoint,
    checkpoint::{CheckpointError, Header, Shard},
};
use espalier_base::{
    hash::Hasher,
    interrupt,
    output::{self, OutputError},
};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

/// Makes the folder that an archive was made of: every shard byte for byte, which is checked, and the files beside them. Tensors are
/// read one at a time. `progress` is given bytes as they are written.
///
/// # Errors
/// See [`ArchiveError`].
pub fn unpack(archive: &Path, out: &Path, mut progress: impl FnMut(usize)) -> Result<(), ArchiveError> {
    let shard = Shard::open(archive.to_owned(), name(archive))?;
    if !Contents::is_of(&shard) {
        return Err(ArchiveError::NoArchive(archive.to_owned()));
    }
    let contents = Contents::of(&shard)?;
    let checkpoint = Checkpoint::open(archive)?;
    let hashes: BTreeMap<String, String> = shard
        .header
        .metadata
        .get("sha256")
        .and_then(|json| serde_json::from_str(json).ok())
        .unwrap_or_default();
    output::write_folder(out, |folder| {
        for (name, range) in &contents.files {
            let path = folder.join(name);
            let bytes = shard.read(range.clone())?;
            let write = || {
                fs::create_dir_all(path.parent().unwrap_or(folder))?;
                let mut file = File::create(&path)?;
                file.write_all(&bytes)?;
                file.sync_all()
            };
            write().map_err(|source| OutputError::Write { path: path.clone(), source })?;
        }
        for (name, range) in &contents.shards {
            let preamble = shard.read(range.clone())?;
            let hash = write_shard(&checkpoint, &preamble, &folder.join(name), &mut progress)?;
            if hashes.get(name) != Some(&hash) {
                return Err(ArchiveError::Hash { path: archive.to_owned(), shard: name.clone() });
            }
        }
        Ok(())
    })?;
    Ok(checkpoint.check_unchanged()?)
}

/// Writes a shard, and gives its SHA-256.
fn write_shard(
    checkpoint: &Checkpoint,
    preamble: &[u8],
    path: &Path,
    progress: &mut impl FnMut(usize),
) -> Result<String, ArchiveError> {
    let unusable = |source| CheckpointError::Header { path: checkpoint.dir().to_owned(), source };
    let header = Header::of_preamble(preamble).map_err(unusable)?;
    let failed = |source| OutputError::Write { path: path.to_owned(), source };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    let mut hash = Hasher::default();
    let mut put = |bytes: &[u8]| {
        let (written, ()) = rayon::join(|| file.write_all(bytes), || hash.update(bytes));
        written.map_err(failed)
    };
    put(preamble)?;
    for entry in &header.tensors {
        interrupt::check()?;
        let Some((dtype, shape, bytes)) = checkpoint.raw(&entry.name)? else {
            return Err(checkpoint.missing_from_archive(&entry.name).into());
        };
        if dtype != format!("{:?}", entry.dtype) || shape != entry.shape {
            return Err(CheckpointError::Archive {
                path: checkpoint.dir().to_owned(),
                name: Some(entry.name.clone()),
                problem: format!(
                    "it is {dtype} {shape:?}, but its shard has it as {} {:?}",
                    entry.dtype, entry.shape
                ),
            }
            .into());
        }
        put(&bytes)?;
        progress(bytes.len());
        checkpoint.release(&entry.name);
    }
    let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    Ok(hash.hex())
}
