//! The weights of a Hugging Face model folder: memory-mapped, checked, looked up by name.

mod access;
pub(crate) mod adapter;
mod advice;
mod error;
mod header;
mod index;
mod packed;
mod shard;

pub use access::map_nothing;
pub use adapter::ADAPTER;
pub use error::CheckpointError;
pub use header::{Entry, Header, HeaderError};
pub(crate) use index::INDEX;
pub use shard::Shard;

use super::{
    archive::{Contents, PackedEntry},
    config::LlamaConfig,
    layout::{self, EMBEDDING, FINAL_NORM, LM_HEAD},
    narrow::Slices,
};
use adapter::Adapter;
use bytes::Bytes;
use espalier_sdk::DType;
use index::Index;
use safetensors::Dtype;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A tensor of a checkpoint: its bytes are a slice of the memory-mapped file.
#[derive(Debug, Clone)]
pub struct TensorView {
    /// The element type.
    pub dtype: DType,
    /// The shape, outermost first.
    pub shape: Vec<usize>,
    /// The elements, little-endian, row by row. They are as aligned as the file has them.
    pub bytes: Bytes,
    /// The number of the shard it is in.
    pub shard: usize,
}

/// The weights of a model folder.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
    shards: Vec<Shard>,
    /// The index's file name, where the weights are sharded.
    index: Option<String>,
    /// Name to shard and place in its header.
    places: BTreeMap<String, (usize, usize)>,
    /// Where index and shards differ: what is wrong, by the tensor's name. It matters where the model uses the tensor.
    unsure: BTreeMap<String, String>,
    /// What is added to weights.
    adapter: Option<Adapter>,
    /// What is seen of tensors.
    slices: Slices,
    /// The tensors of an archive that are packed.
    packed: BTreeMap<String, PackedEntry>,
}

impl Checkpoint {
    /// Opens the weights of a model folder, or of an [archive](crate::archive): `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` names, or the only other `*.safetensors`. The files are mapped and
    /// their headers checked; no weight is read.
    ///
    /// # Errors
    /// No such folder, no or incomplete weights, a file that lies about itself, an index that names
    /// shards that are not there, or a tensor in two shards.
    pub fn open(dir: &Path) -> Result<Self, CheckpointError> {
        if dir.is_file() {
            return Self::open_archive(dir);
        }
        if !dir.is_dir() {
            return Err(CheckpointError::NoFolder { path: dir.to_owned() });
        }
        let index_path = dir.join(INDEX);
        let single = dir.join("model.safetensors");
        let (files, index) = if fs::symlink_metadata(&single).is_ok() {
            (vec!["model.safetensors".to_owned()], None)
        } else if fs::symlink_metadata(&index_path).is_ok() {
            let index = Index::read(&index_path)?;
            (index.files(dir)?, Some(index))
        } else {
            (vec![only_file(dir)?], None)
        };
        let shards = files
            .into_iter()
            .map(|file| Shard::open(dir.join(&file), file))
            .collect::<Result<Vec<_>, _>>()?;
        let unsure = index.as_ref().map(|index| index.check(&shards)).transpose()?.unwrap_or_default();
        let mut places = BTreeMap::new();
        for (number, shard) in shards.iter().enumerate() {
            let entries = shard.header.tensors.iter().enumerate();
            places.extend(entries.map(|(place, entry)| (entry.name.clone(), (number, place))));
        }
        let (index, adapter) = (index.map(|_| INDEX.to_owned()), Adapter::open(dir)?);
        let slices = Slices::default();
        let packed = BTreeMap::new();
        Ok(Self { dir: dir.to_owned(), shards, index, places, unsure, adapter, slices, packed })
    }

    fn open_archive(path: &Path) -> Result<Self, CheckpointError> {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let shard = Shard::open(path.to_owned(), file)?;
        let contents = Contents::of(&shard)?;
        let adapter = Adapter::of_archive(&shard, &contents)?;
        let Contents { packed, dense, .. } = contents;
        Ok(Self {
            dir: path.to_owned(),
            shards: vec![shard],
            index: None,
            places: dense.into_iter().map(|(name, place)| (name, (0, place))).collect(),
            unsure: BTreeMap::new(),
            adapter,
            slices: Slices::default(),
            packed,
        })
    }

    /// Whether it is an [archive](crate::archive).
    pub fn is_archive(&self) -> bool {
        self.dir.is_file()
    }

    /// The low-rank parts that are added to weights.
    pub(crate) fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// The same weights, of which only this is seen.
    #[must_use]
    pub(crate) fn sliced(self, slices: Slices) -> Self {
        Self { slices, ..self }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The files the weights are in, in the order of their names.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The file name of the shard index, if there is one.
    pub fn index(&self) -> Option<&str> {
        self.index.as_deref()
    }

    /// The names of all tensors, shard by shard in the order of their bytes; those that are packed last.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let entries = self.shards.iter().flat_map(|shard| shard.header.tensors.iter());
        let dense = entries.map(|entry| entry.name.as_str()).filter(|name| self.places.contains_key(*name));
        dense.chain(self.packed.keys().map(String::as_str))
    }

    /// Whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name) || self.packed.contains_key(name)
    }

    /// The bytes of a tensor's elements; 0 where there is none of this name.
    pub fn tensor_bytes(&self, name: &str) -> usize {
        let dense = self.entry(name).map(|(_, entry)| entry.range.len());
        dense.or_else(|| Some(self.packed.get(name)?.dense_bytes())).unwrap_or(0)
    }

    /// The number of the shard a tensor is in, and what its header says of it; none of one that is packed.
    pub fn entry(&self, name: &str) -> Option<(usize, &Entry)> {
        let &(shard, place) = self.places.get(name)?;
        Some((shard, &self.shards[shard].header.tensors[place]))
    }

    /// A tensor of any type: its type's name, its shape and its bytes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn raw(&self, name: &str) -> Result<Option<(String, Vec<usize>, Bytes)>, CheckpointError> {
        if let Some(packed) = self.packed.get(name) {
            let bytes = self.packed_matrix(name, packed)?.expand();
            return Ok(Some((format!("{:?}", packed.dtype), packed.shape.clone(), bytes)));
        }
        let Some((shard, entry)) = self.entry(name) else { return Ok(None) };
        let bytes = self.shards[shard].read(entry.range.clone())?;
        Ok(Some((format!("{:?}", entry.dtype), entry.shape.clone(), bytes)))
    }

    /// A tensor of any type, as [`raw`](Self::raw), that is used once: the memory of its pages is given back when it is dropped.
    pub(crate) fn passing(&self, name: &str) -> Result<Option<(String, Vec<usize>, Bytes)>, CheckpointError> {
        if self.packed.contains_key(name) {
            let whole = self.raw(name)?;
            self.release(name);
            return Ok(whole);
        }
        let Some((shard, entry)) = self.entry(name) else { return Ok(None) };
        let bytes = self.shards[shard].passing(entry.range.clone())?;
        Ok(Some((format!("{:?}", entry.dtype), entry.shape.clone(), bytes)))
    }

    /// Checks that no file of weights was replaced, shortened or written to since it was opened.
    ///
    /// # Errors
    /// [`CheckpointError::Changed`], naming the first that was.
    pub fn check_unchanged(&self) -> Result<(), CheckpointError> {
        self.shards.iter().try_for_each(Shard::check_unchanged)?;
        self.adapter.as_ref().map_or(Ok(()), Adapter::check_unchanged)
    }

    /// A tensor of f32, f16 or bf16.
    ///
    /// # Errors
    /// It is not there, or of another element type.
    pub fn tensor(&self, name: &str) -> Result<TensorView, CheckpointError> {
        let (shard, dtype, stored) = self.described(name)?;
        let bytes = match self.packed.get(name) {
            Some(packed) => self.packed_matrix(name, packed)?.expand(),
            None => match self.entry(name) {
                Some((shard, entry)) => self.shards[shard].read(entry.range.clone())?,
                None => return Err(self.missing(name, 0)),
            },
        };
        Ok(match self.slices.of(name) {
            Some(slice) => {
                let (shape, bytes) = (slice.shape(stored), slice.bytes(stored, &bytes).into());
                TensorView { dtype, shape, bytes, shard }
            }
            None => TensorView { dtype, shape: stored.to_vec(), bytes, shard },
        })
    }

    /// Rows of a matrix of f32, f16 or bf16, one behind the other. No other row is read.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    ///
    /// # Panics
    /// The matrix has no such row.
    pub fn rows(
        &self,
        name: &str,
        rows: impl ExactSizeIterator<Item = usize>,
    ) -> Result<(DType, Vec<u8>), CheckpointError> {
        let (_, dtype, _) = self.described(name)?;
        // Only linear layers are packed, and of no other tensor's rows are some alone.
        let Some((shard, entry)) = self.entry(name) else { return Err(self.missing(name, 0)) };
        let width = entry.shape.iter().skip(1).product::<usize>() * dtype.size();
        let mut bytes = vec![0; rows.len() * width];
        for (row, into) in rows.zip(bytes.chunks_exact_mut(width.max(1))) {
            assert!(row < entry.shape[0], "`{name}` has no row {row}");
            self.shards[shard].read_into(entry.range.start + row * width, into)?;
        }
        Ok((dtype, bytes))
    }

    /// A tensor of this shape: `[rows, cols]`, or `[cols]` where `rows` is 1.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor), or another shape.
    pub fn expect(&self, name: &str, rows: usize, cols: usize) -> Result<TensorView, CheckpointError> {
        self.check(name, rows, cols)?;
        self.tensor(name)
    }

    /// The name of the embedding matrix: `lm_head.weight` where the two are tied and only that was saved.
    pub fn embedding(&self, config: &LlamaConfig) -> &'static str {
        let swapped = config.tie_word_embeddings && !self.contains(EMBEDDING) && self.contains(LM_HEAD);
        if swapped { LM_HEAD } else { EMBEDDING }
    }

    /// The name of the projection to logits: the embedding's where the two are tied, unless both were
    /// saved.
    pub fn head(&self, config: &LlamaConfig) -> &'static str {
        if config.tie_word_embeddings && !self.contains(LM_HEAD) { EMBEDDING } else { LM_HEAD }
    }

    /// Checks that every tensor the model uses is there, in an element type it can work with and in the
    /// shape the configuration makes it. Others, such as older checkpoints' `rotary_emb.inv_freq`, may be
    /// there too.
    ///
    /// # Errors
    /// The first tensor that is missing or of another type or shape.
    pub fn validate(&self, config: &LlamaConfig) -> Result<(), CheckpointError> {
        let expected = self.expected(config);
        if let Some(problem) = expected.iter().find_map(|(name, _)| self.unsure.get(name)) {
            return Err(CheckpointError::Index { path: self.dir.join(INDEX), problem: problem.clone() });
        }
        let missing: Vec<_> = expected.iter().filter(|(name, _)| !self.contains(name)).collect();
        if let Some((first, _)) = missing.first() {
            return Err(self.missing(first, missing.len() - 1));
        }
        for (name, shape) in expected {
            match shape.as_slice() {
                [rows, cols] => self.check(&name, *rows, *cols)?,
                other => self.check(&name, 1, other.iter().product())?,
            }
        }
        self.check_adapter(config.num_hidden_layers)
    }

    /// The tensors that the model does not use, which are carried along as they are.
    pub fn unused(&self, config: &LlamaConfig) -> Vec<&str> {
        let expected: BTreeMap<_, _> = self.expected(config).into_iter().collect();
        self.names().filter(|name| !expected.contains_key(*name)).collect()
    }

    /// Asks the system to read a tensor's pages, all at once instead of one by one when they are touched.
    pub fn request(&self, name: &str) {
        if let Some((shard, entry)) = self.entry(name) {
            self.shards[shard].request(entry.range.clone());
        }
        for range in self.packed.get(name).iter().flat_map(|packed| packed.parts()) {
            self.shards[0].request(range);
        }
    }

    /// Gives the memory of a tensor's pages back to the system. Its bytes stay valid: they are read from
    /// the file again when used again.
    pub fn release(&self, name: &str) {
        if let Some((shard, entry)) = self.entry(name) {
            self.shards[shard].release(entry.range.clone());
        }
        for range in self.packed.get(name).iter().flat_map(|packed| packed.parts()) {
            self.shards[0].release(range);
        }
    }

    /// The shard, the element type and the shape of a tensor of f32, f16 or bf16.
    fn described(&self, name: &str) -> Result<(usize, DType, &[usize]), CheckpointError> {
        let (shard, stored, shape) = match (self.packed.get(name), self.entry(name)) {
            (Some(packed), _) => (0, packed.dtype, &packed.shape),
            (None, Some((shard, entry))) => (shard, entry.dtype, &entry.shape),
            (None, None) => return Err(self.missing(name, 0)),
        };
        let dtype = float(stored).ok_or_else(|| CheckpointError::Type {
            path: self.shards[shard].path.clone(),
            name: name.to_owned(),
            dtype: stored,
        })?;
        Ok((shard, dtype, shape))
    }

    /// Checks a tensor's element type and shape by its header, so that none of its bytes are read.
    fn check(&self, name: &str, rows: usize, cols: usize) -> Result<(), CheckpointError> {
        let (shard, _, stored) = self.described(name)?;
        let shape = self.slices.of(name).map_or_else(|| stored.to_vec(), |slice| slice.shape(stored));
        if shape == [rows, cols] || (rows == 1 && shape == [cols]) {
            return Ok(());
        }
        Err(CheckpointError::Shape {
            path: self.shards[shard].path.clone(),
            name: name.to_owned(),
            expected: if rows == 1 { vec![cols] } else { vec![rows, cols] },
            found: shape,
        })
    }

    /// The names and shapes of all tensors the model uses.
    fn expected(&self, config: &LlamaConfig) -> Vec<(String, Vec<usize>)> {
        let (vocabulary, hidden) = (config.vocab_size, config.hidden_size);
        let mut tensors = vec![(self.embedding(config).to_owned(), vec![vocabulary, hidden])];
        tensors.extend((0..config.num_hidden_layers).flat_map(|block| layout::block(config, block)));
        tensors.push((FINAL_NORM.to_owned(), vec![hidden]));
        tensors.push((self.head(config).to_owned(), vec![vocabulary, hidden]));
        tensors
    }
}

/// The element types a model computes with.
pub(crate) fn float(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// The only `*.safetensors` of a folder without the usual names.
fn only_file(dir: &Path) -> Result<String, CheckpointError> {
    let unreadable = |source| CheckpointError::Read { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for item in fs::read_dir(dir).map_err(unreadable)? {
        names.push(item.map_err(unreadable)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut files: Vec<String> =
        names.iter().filter(|name| name.ends_with(".safetensors")).cloned().collect();
    match files.len() {
        0 => Err(CheckpointError::NoWeights {
            path: dir.to_owned(),
            hint: advice::without_weights(dir, &names),
        }),
        1 => Ok(files.remove(0)),
        _ => Err(CheckpointError::NoIndex { path: dir.to_owned(), files }),
    }
}

#[cfg(test)]
mod tests;
