//! A copy that leaves blocks out, and neurons and heads of the others. Blocks move up, in the names of tensors, in the index
//! and in the configuration.

use super::WriteError;
use crate::{
    Checkpoint, LlamaConfig, Narrow,
    checkpoint::Entry,
    narrow::{Slice, Slices},
};
use serde_json::{Map, Value};
use std::{borrow::Cow, collections::BTreeSet, fs, path::Path};

/// What is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cut {
    removed: BTreeSet<usize>,
    slices: Slices,
    /// Keys of the configuration that change with the widths.
    widths: Vec<(&'static str, usize)>,
}

impl Cut {
    /// Leaves out these blocks, and what does not stay of the others, in a model of this configuration.
    ///
    /// # Errors
    /// The blocks would have different widths, in words.
    pub fn new(removed: BTreeSet<usize>, narrow: &Narrow, config: &LlamaConfig) -> Result<Self, String> {
        let narrowed = narrow.config(config, &removed)?;
        let widths = [
            ("intermediate_size", narrowed.intermediate_size),
            ("num_attention_heads", narrowed.num_attention_heads),
            ("num_key_value_heads", narrowed.num_key_value_heads),
            ("head_dim", narrowed.head_dim),
        ];
        let widths = if narrow.is_nothing() { Vec::new() } else { widths.to_vec() };
        Ok(Self { removed, slices: narrow.slices(config), widths })
    }

    /// What stays of a tensor; none where all does.
    pub fn slice(&self, name: &str) -> Option<&Slice> {
        self.slices.of(name)
    }

    /// Whether all blocks stay.
    pub(super) fn is_nothing(&self) -> bool {
        self.removed.is_empty() && self.slices.is_nothing()
    }

    /// The name of a tensor in the copy; none if it is left out.
    pub fn name<'n>(&self, name: &'n str) -> Option<Cow<'n, str>> {
        let Some((block, rest)) = name
            .strip_prefix("model.layers.")
            .and_then(|rest| rest.split_once('.'))
            .and_then(|(block, rest)| Some((block.parse::<usize>().ok()?, rest)))
        else {
            return Some(Cow::Borrowed(name));
        };
        if self.removed.contains(&block) {
            return None;
        }
        match self.removed.range(..block).count() {
            0 => Some(Cow::Borrowed(name)),
            before => Some(Cow::Owned(format!("model.layers.{}.{rest}", block - before))),
        }
    }

    /// A tensor's shape in the copy.
    pub(super) fn shape(&self, entry: &Entry) -> Vec<usize> {
        self.slice(&entry.name).map_or_else(|| entry.shape.clone(), |slice| slice.shape(&entry.shape))
    }

    /// Bytes of a tensor in the copy.
    pub(super) fn length(&self, entry: &Entry) -> usize {
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        let size = entry.range.len() / elements(&entry.shape).max(1);
        elements(&self.shape(entry)) * size
    }

    /// Changes the index and the configuration in a folder that they were copied to.
    pub(super) fn apply(&self, source: &Checkpoint, folder: &Path, blocks: usize) -> Result<(), WriteError> {
        if self.is_nothing() {
            return Ok(());
        }
        if let Some(index) = source.index() {
            edit(&folder.join(index), |index| {
                let kept = source.shards().iter().flat_map(|shard| &shard.header.tensors);
                let kept = kept.filter(|entry| self.name(&entry.name).is_some());
                let (bytes, numbers) = kept.fold((0, 0), |(bytes, numbers), entry| {
                    (bytes + self.length(entry), numbers + self.shape(entry).iter().product::<usize>())
                });
                for (key, total) in [("total_size", bytes), ("total_parameters", numbers)] {
                    if let Some(noted) = index.get_mut("metadata").and_then(|notes| notes.get_mut(key)) {
                        *noted = total.into();
                    }
                }
                if let Some(Value::Object(map)) = index.get_mut("weight_map") {
                    let named = std::mem::take(map).into_iter();
                    *map = named
                        .filter_map(|(name, file)| Some((self.name(&name)?.into_owned(), file)))
                        .collect();
                }
            })?;
        }
        edit(&folder.join("config.json"), |config| {
            let kept = |block: usize| !self.removed.contains(&block);
            config.insert("num_hidden_layers".to_owned(), (blocks - self.removed.len()).into());
            config.extend(self.widths.iter().map(|&(key, width)| (key.to_owned(), width.into())));
            // Lists with an entry for every block, such as `layer_types`.
            for list in
                config.values_mut().filter_map(Value::as_array_mut).filter(|list| list.len() == blocks)
            {
                let mut block = 0;
                list.retain(|_| {
                    block += 1;
                    kept(block - 1)
                });
            }
        })
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), WriteError> {
    let unreadable = |source| WriteError::Read { path: path.to_owned(), source };
    let text = fs::read(path).map_err(unreadable)?;
    let mut object: Map<String, Value> =
        serde_json::from_slice(&text).map_err(|error| unreadable(std::io::Error::other(error)))?;
    change(&mut object);
    let failed = |source| WriteError::Write { path: path.to_owned(), source };
    let text = serde_json::to_vec_pretty(&object).map_err(|error| failed(std::io::Error::other(error)))?;
    fs::write(path, text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_behind_those_that_go_move_up() {
        let cut = Cut { removed: [1, 2].into(), ..Cut::default() };
        let name = |name| cut.name(name).map(Cow::into_owned);
        assert_eq!(name("model.layers.0.mlp.up_proj.weight").unwrap(), "model.layers.0.mlp.up_proj.weight");
        assert_eq!(name("model.layers.2.mlp.up_proj.weight"), None);
        assert_eq!(name("model.layers.5.mlp.up_proj.weight").unwrap(), "model.layers.3.mlp.up_proj.weight");
        assert_eq!(name("model.norm.weight").unwrap(), "model.norm.weight");
    }
}
