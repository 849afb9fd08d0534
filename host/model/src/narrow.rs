//! A model with fewer neurons and heads: which rows and columns stay of each tensor.

use super::{
    config::{Architecture, LlamaConfig},
    layout::Projection,
};
use espalier_sdk::message::Part;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    slice,
};

/// How many of a part a block has.
pub fn count(part: Part, config: &LlamaConfig) -> usize {
    match part {
        Part::Neurons => config.intermediate_size,
        _ => config.num_key_value_heads,
    }
}

/// Refuses what cannot stay of a block.
///
/// # Errors
/// It is nothing, does not ascend, or is not there, in words.
pub fn check(config: &LlamaConfig, block: usize, part: Part, kept: &[usize]) -> Result<(), String> {
    let of = count(part, config);
    let ascends = kept.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascends || kept.last().is_none_or(|&last| last >= of) {
        return Err(format!(
            "what stays of block {block} must be some of its {of} {part:?}, in ascending order"
        ));
    }
    Ok(())
}

/// The rows or columns of a layer that belong to each neuron or head.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The layer.
    pub projection: Projection,
    /// How many belong to each.
    pub width: usize,
    /// Whether they are rows, which make the part's numbers, or columns, which read them.
    pub is_rows: bool,
}

/// The rows or columns of a layer that belong to the neurons or heads; none where the layer has nothing to do with them.
pub fn group(projection: Projection, part: Part, config: &LlamaConfig) -> Option<Group> {
    let queries = config.num_attention_heads / config.num_key_value_heads.max(1);
    let (of, width, is_rows) = match projection {
        Projection::Query => (Part::Heads, queries * config.head_dim, true),
        Projection::Key | Projection::Value => (Part::Heads, config.head_dim, true),
        Projection::Output => (Part::Heads, queries * config.head_dim, false),
        Projection::Gate | Projection::Up => (Part::Neurons, 1, true),
        Projection::Down => (Part::Neurons, 1, false),
    };
    (of == part).then_some(Group { projection, width, is_rows })
}

/// The neurons and heads that stay in each block, by their indices in ascending order. Of a block or a part that is not named,
/// all stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Narrow(BTreeMap<usize, BTreeMap<Part, Vec<usize>>>);

impl Narrow {
    /// Whether everything stays.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// Lets only these stay in a block.
    pub fn keep(&mut self, block: usize, part: Part, kept: Vec<usize>) {
        self.0.entry(block).or_default().insert(part, kept);
    }

    /// Those that stay in a block; none where all do.
    pub fn kept(&self, block: usize, part: Part) -> Option<&[usize]> {
        self.0.get(&block)?.get(&part).map(Vec::as_slice)
    }

    /// The configuration of the model that is left; of blocks that are `removed`, widths do not matter.
    ///
    /// # Errors
    /// Blocks that would have different widths, in words, because a configuration has one for all; or what stays is not there.
    pub fn config(&self, config: &LlamaConfig, removed: &BTreeSet<usize>) -> Result<LlamaConfig, String> {
        for (&block, parts) in &self.0 {
            parts.iter().try_for_each(|(&part, kept)| check(config, block, part, kept))?;
        }
        let blocks: Vec<usize> =
            (0..config.num_hidden_layers).filter(|block| !removed.contains(block)).collect();
        let count = |block, part| self.kept(block, part).map_or(count(part, config), <[usize]>::len);
        let mut narrowed = config.clone();
        let Some(&first) = blocks.first() else { return Ok(narrowed) };
        for part in [Part::Neurons, Part::Heads] {
            for &block in &blocks {
                let (here, there) = (count(block, part), count(first, part));
                if here != there {
                    let (what, key) = match part {
                        Part::Neurons => ("neurons", "intermediate_size"),
                        _ => ("key and value heads", "num_key_value_heads"),
                    };
                    return Err(format!(
                        "block {first} keeps {there} {what} and block {block} keeps {here}: config.json has one {key} for all"
                    ));
                }
            }
        }
        let queries = config.num_attention_heads / config.num_key_value_heads;
        narrowed.intermediate_size = count(first, Part::Neurons);
        narrowed.num_key_value_heads = count(first, Part::Heads);
        narrowed.num_attention_heads = queries * narrowed.num_key_value_heads;
        // transformers refuses such a LLaMA, whatever its head_dim.
        let loads = |heads: usize| {
            config.architecture != Architecture::Llama || config.hidden_size.is_multiple_of(queries * heads)
        };
        let heads = narrowed.num_key_value_heads;
        if heads != config.num_key_value_heads && !loads(heads) {
            let possible = (1..=config.num_key_value_heads).filter(|&heads| loads(heads));
            let possible: Vec<String> = possible.map(|heads| heads.to_string()).collect();
            return Err(format!(
                "{heads} key and value heads with {} query heads stay, which do not divide the hidden_size of {}, so that \
                 transformers would refuse the model: keep {}",
                narrowed.num_attention_heads,
                config.hidden_size,
                possible.join(", ")
            ));
        }
        Ok(narrowed)
    }

    /// What stays of each tensor that loses something, by its name.
    pub fn slices(&self, config: &LlamaConfig) -> Slices {
        let mut slices = BTreeMap::new();
        for (&block, parts) in &self.0 {
            for (&part, kept) in parts {
                for group in Projection::ALL.into_iter().filter_map(|layer| group(layer, part, config)) {
                    let (layer, kept) = (group.projection, runs(kept, group.width));
                    if group.is_rows {
                        slices.insert(layer.bias(block), Slice { rows: Some(kept.clone()), cols: None });
                        slices.insert(layer.weight(block), Slice { rows: Some(kept), cols: None });
                    } else {
                        slices.insert(layer.weight(block), Slice { rows: None, cols: Some(kept) });
                    }
                }
            }
        }
        Slices(slices)
    }
}

/// Ascending indices of groups of `width` as ranges of elements, neighbours together.
fn runs(kept: &[usize], width: usize) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for &index in kept {
        let (start, end) = (index * width, (index + 1) * width);
        match runs.last_mut() {
            Some(last) if last.end == start => last.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

/// What stays of tensors, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slices(BTreeMap<String, Slice>);

/// What stays of a tensor: these rows and columns, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    rows: Option<Vec<Range<usize>>>,
    cols: Option<Vec<Range<usize>>>,
}

impl Slices {
    /// Whether all tensors stay whole.
    pub fn is_nothing(&self) -> bool {
        self.0.is_empty()
    }

    /// What stays of a tensor; none where all does.
    pub fn of(&self, name: &str) -> Option<&Slice> {
        self.0.get(name)
    }
}

impl Slice {
    /// The shape that stays of `[rows, cols]` or `[rows]`.
    pub fn shape(&self, shape: &[usize]) -> Vec<usize> {
        let count = |kept: &Option<Vec<Range<usize>>>, all| kept.as_ref().map_or(all, |kept| length(kept));
        match *shape {
            [rows, cols] => vec![count(&self.rows, rows), count(&self.cols, cols)],
            [rows] => vec![count(&self.rows, rows)],
            ref other => other.to_vec(),
        }
    }

    /// The bytes that stay of a tensor of this shape.
    pub fn bytes(&self, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
        let rows = shape.first().copied().unwrap_or(1).max(1);
        let line = bytes.len() / rows;
        let cols = shape.get(1).copied().unwrap_or(1).max(1);
        let size = line / cols;
        let all_rows = 0..rows;
        let kept_rows = self.rows.as_deref().unwrap_or(slice::from_ref(&all_rows));
        let Some(kept_cols) = &self.cols else {
            return kept_rows
                .iter()
                .flat_map(|rows| &bytes[rows.start * line..rows.end * line])
                .copied()
                .collect();
        };
        let mut kept = Vec::with_capacity(length(kept_rows) * length(kept_cols) * size);
        for row in kept_rows.iter().flat_map(Clone::clone) {
            let line = &bytes[row * line..][..line];
            kept_cols
                .iter()
                .for_each(|cols| kept.extend_from_slice(&line[cols.start * size..cols.end * size]));
        }
        kept
    }
}

fn length(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(ExactSizeIterator::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_cannot_stay() {
        let config = crate::fixture::config();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let config = LlamaConfig::read(folder.path()).unwrap();
        let narrowed = |kept: [&[usize]; 2]| {
            let mut narrow = Narrow::default();
            for (block, kept) in kept.into_iter().enumerate() {
                narrow.keep(block, Part::Neurons, kept.to_vec());
            }
            narrow.config(&config, &BTreeSet::new()).map(|config| config.intermediate_size)
        };
        assert_eq!(narrowed([&[0, 11], &[4, 5]]), Ok(2));
        assert!(narrowed([&[0, 1], &[4]]).unwrap_err().contains("one intermediate_size for all"));
        // Three of four heads would divide nothing; of a Mistral, they need not.
        let mut four = LlamaConfig { num_attention_heads: 4, num_key_value_heads: 4, ..config.clone() };
        let mut narrow = Narrow::default();
        (0..2).for_each(|block| narrow.keep(block, Part::Heads, vec![0, 1, 3]));
        let refused = narrow.config(&four, &BTreeSet::new()).unwrap_err();
        assert!(refused.ends_with("transformers would refuse the model: keep 1, 2, 4"), "{refused}");
        four.architecture = Architecture::Mistral;
        assert_eq!(narrow.config(&four, &BTreeSet::new()).unwrap().num_attention_heads, 3);
        for kept in [&[0, 12][..], &[1, 0], &[1, 1], &[]] {
            assert!(
                narrowed([kept, kept]).unwrap_err().contains("must be some of its 12 Neurons"),
                "{kept:?}"
            );
        }
    }

    #[test]
    fn rows_and_columns_stay() {
        let bytes: Vec<u8> = (0..24).collect();
        // [3, 4] of two bytes each.
        let rows = Slice { rows: Some(runs(&[0, 2], 1)), cols: None };
        assert_eq!(rows.shape(&[3, 4]), [2, 4]);
        assert_eq!(rows.bytes(&[3, 4], &bytes), [&bytes[..8], &bytes[16..]].concat());
        let cols = Slice { rows: None, cols: Some(runs(&[1], 2)) };
        assert_eq!(cols.shape(&[3, 4]), [3, 2]);
        assert_eq!(cols.bytes(&[3, 4], &bytes), [&bytes[4..8], &bytes[12..16], &bytes[20..]].concat());
        let bias = Slice { rows: Some(runs(&[1, 2, 5], 1)), cols: None };
        assert_eq!(bias.shape(&[6]), [3]);
        assert_eq!(bias.bytes(&[6], &bytes[..12]), [2, 3, 4, 5, 10, 11]);
    }
}
