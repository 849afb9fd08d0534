//! The packed tensors of an archive.

use super::{Checkpoint, CheckpointError, float};
use crate::archive::PackedEntry;
use espalier_device::PackedMatrix;

impl Checkpoint {
    /// A matrix without its zeros, where it is packed and all of it is seen.
    ///
    /// # Errors
    /// Its parts do not fit together, or the file cannot be read.
    pub(crate) fn packed(&self, name: &str) -> Result<Option<PackedMatrix>, CheckpointError> {
        match self.packed.get(name) {
            Some(packed) if self.slices.of(name).is_none() => self.packed_matrix(name, packed).map(Some),
            _ => Ok(None),
        }
    }

    /// How many tensors are packed, and the bytes that those take and would take with their zeros.
    pub fn packing(&self) -> (usize, usize, usize) {
        let bytes = |packed: &PackedEntry| packed.parts().iter().map(|part| part.len()).sum::<usize>();
        let (packed, dense) =
            (self.packed.values().map(bytes), self.packed.values().map(PackedEntry::dense_bytes));
        (self.packed.len(), packed.sum(), dense.sum())
    }

    /// The parts of a packed tensor, which fit together.
    pub(super) fn packed_matrix(
        &self,
        name: &str,
        packed: &PackedEntry,
    ) -> Result<PackedMatrix, CheckpointError> {
        let shard = &self.shards[0];
        let damaged = |problem: String| self.damaged(name, problem);
        let Some(dtype) = float(packed.dtype) else {
            return Err(damaged("its type has no floats".to_owned()));
        };
        let offsets = shard.read(packed.offsets.clone())?;
        let offsets = offsets.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let matrix = PackedMatrix {
            dtype,
            cols: packed.shape[1],
            values: shard.read(packed.values.clone())?,
            mask: shard.read(packed.mask.clone())?,
            offsets,
        };
        matrix.checked().map_err(|error| damaged(error.to_string()))
    }

    fn damaged(&self, name: &str, problem: String) -> CheckpointError {
        CheckpointError::Archive { path: self.dir.clone(), name: Some(name.to_owned()), problem }
    }

    /// The error of an archive that lacks a tensor of one of its shards.
    pub(crate) fn missing_from_archive(&self, name: &str) -> CheckpointError {
        self.damaged(name, "it is missing".to_owned())
    }
}
