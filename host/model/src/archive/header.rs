//! The header of an archive that is made, and where its tensors go.

use super::{ALIGN, PADDING};
use safetensors::Dtype;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The header of a safetensors file, tensor by tensor in the order of their bytes.
#[derive(Default)]
pub(super) struct HeaderWriter {
    tensors: Map<String, Value>,
    paddings: usize,
    end: usize,
}

impl HeaderWriter {
    /// Gives a tensor its place; zeros before it are as many as this returns.
    pub(super) fn add(&mut self, name: &str, dtype: Dtype, shape: &[usize]) -> usize {
        let padding = self.end.next_multiple_of(ALIGN) - self.end;
        if padding > 0 {
            let name = format!("{PADDING}{}", self.paddings);
            self.paddings += 1;
            self.put(&name, Dtype::U8, &[padding]);
        }
        self.put(name, dtype, shape);
        padding
    }

    fn put(&mut self, name: &str, dtype: Dtype, shape: &[usize]) {
        let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
        let offsets = [self.end, self.end + bytes];
        self.end += bytes;
        let entry = json!({ "dtype": format!("{dtype:?}"), "shape": shape, "data_offsets": offsets });
        self.tensors.insert(name.to_owned(), entry);
    }

    /// The bytes of all tensors.
    pub(super) fn data_bytes(&self) -> usize {
        self.end
    }

    /// Everything before the tensors, whose length is a multiple of [`ALIGN`].
    pub(super) fn finish(mut self, metadata: &BTreeMap<&str, String>) -> Vec<u8> {
        self.tensors.insert("__metadata__".to_owned(), json!(metadata));
        let mut json = Value::Object(self.tensors).to_string().into_bytes();
        json.resize((8 + json.len()).next_multiple_of(ALIGN) - 8, b' ');
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut json);
        bytes
    }
}
