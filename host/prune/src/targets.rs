//! Which layers are pruned, and how much of each.

use espalier_base::files::{self, Limit};
use espalier_model::layout::Projection;
use espalier_sdk::{ParseSparsityError, Sparsity};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, ops::RangeInclusive, path::PathBuf, str::FromStr};

/// Which layers are pruned, and how much of each: the most specific rule counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Targets {
    /// How much of a layer goes where nothing else is said.
    pub sparsity: Sparsity,
    /// The blocks that are pruned; all where this is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<BlockRanges>,
    /// Projections that are left as they are, such as `down_proj`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skip: Vec<Projection>,
    /// Other sparsities, by block (`3`), projection (`down_proj`), or both (`3.down_proj`); `0` leaves a layer
    /// as it is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", serialize_with = "in_order_of_their_text")]
    pub per_layer: BTreeMap<LayerRule, Sparsity>,
    /// How many weights of each row go, of layers for which a stage has said so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub row_counts: BTreeMap<LayerRule, Vec<usize>>,
}

/// The layers that a sparsity is for: a block (`3`), a projection (`down_proj`), or both (`3.down_proj`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum LayerRule {
    /// All layers of a block.
    Block(usize),
    /// A projection of every block.
    Projection(Projection),
    /// One layer.
    Layer(usize, Projection),
}

/// Manifests and journals list rules by their text.
fn in_order_of_their_text<S: serde::Serializer>(
    rules: &BTreeMap<LayerRule, Sparsity>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let rules: BTreeMap<String, Sparsity> = rules.iter().map(|(rule, at)| (rule.to_string(), *at)).collect();
    rules.serialize(serializer)
}

/// An invalid choice of layers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetsError {
    /// Not a list of blocks.
    #[error("`{0}` is not a list of blocks: write numbers and ranges such as 0-15,20")]
    Blocks(String),
    /// A block that the model does not have.
    #[error("there is no block {block}: the model's blocks are 0-{last}")]
    NoSuchBlock {
        /// The block.
        block: usize,
        /// The model's last.
        last: usize,
    },
    /// The file of sparsities cannot be read.
    #[error("{} cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of sparsities is not what it should be.
    #[error(
        "{}: an object from layers to sparsities is needed, such as {{\"3\": 0.4, \"down_proj\": \"2:4\"}}",
        .path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A value in the file is not a sparsity.
    #[error("{}: {layer}", .path.display())]
    Sparsity {
        /// The file.
        path: PathBuf,
        /// The layer it is given for.
        layer: String,
        /// Why.
        #[source]
        source: ParseSparsityError,
    },
    /// A key of the file names no layer.
    #[error(
        "{}: `{key}` names no layer: write a block (3), a projection (down_proj), or both (3.down_proj)",
        .path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
    },
}

/// Numbers of blocks, such as `0-15,20`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BlockRanges(Vec<RangeInclusive<usize>>);

impl Targets {
    /// The same for every layer.
    pub fn everywhere(sparsity: Sparsity) -> Self {
        Self {
            sparsity,
            layers: None,
            skip: Vec::new(),
            per_layer: BTreeMap::new(),
            row_counts: BTreeMap::new(),
        }
    }

    /// Reads other sparsities for single layers from a JSON file.
    ///
    /// # Errors
    /// The file is not such an object.
    pub fn read_per_layer(&mut self, path: &std::path::Path) -> Result<(), TargetsError> {
        let at = || path.to_owned();
        let text =
            files::read(path, Limit::SETTINGS).map_err(|source| TargetsError::Read { path: at(), source })?;
        let rules: BTreeMap<String, serde_json::Value> =
            serde_json::from_slice(&text).map_err(|source| TargetsError::Malformed { path: at(), source })?;
        for (key, value) in rules {
            let Ok(rule) = key.parse() else {
                return Err(TargetsError::Key { path: at(), key });
            };
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let sparsity =
                text.parse().map_err(|source| TargetsError::Sparsity { path: at(), layer: key, source })?;
            self.per_layer.insert(rule, sparsity);
        }
        Ok(())
    }

    /// How much of a layer goes; nothing where it is left as it is.
    pub fn of(&self, block: usize, projection: Projection) -> Option<Sparsity> {
        let chosen = self.layers.as_ref().is_none_or(|layers| layers.contains(block));
        if !chosen || self.skip.contains(&projection) {
            return None;
        }
        let rules =
            [LayerRule::Layer(block, projection), LayerRule::Block(block), LayerRule::Projection(projection)];
        let sparsity =
            rules.iter().find_map(|rule| self.per_layer.get(rule)).copied().unwrap_or(self.sparsity);
        (sparsity != Sparsity::Ratio(0.0)).then_some(sparsity)
    }

    /// A pattern that is asked for anywhere.
    pub fn pattern(&self) -> Option<Sparsity> {
        let all = self.per_layer.values().chain([&self.sparsity]).copied();
        all.into_iter().find(|sparsity| matches!(sparsity, Sparsity::Pattern { .. }))
    }

    /// Sets how much of a layer goes.
    pub fn set(&mut self, block: usize, projection: Projection, sparsity: Sparsity) {
        let layer = LayerRule::Layer(block, projection);
        self.row_counts.remove(&layer);
        self.per_layer.insert(layer, sparsity);
    }

    /// Sets how many weights of each row of a layer go, which is `sparsity` of it.
    pub(super) fn set_rows(
        &mut self,
        block: usize,
        projection: Projection,
        sparsity: Sparsity,
        counts: Vec<usize>,
    ) {
        self.set(block, projection, sparsity);
        self.row_counts.insert(LayerRule::Layer(block, projection), counts);
    }

    /// How many weights of each row of a layer go, if that was said.
    pub fn rows_of(&self, block: usize, projection: Projection) -> Option<&[usize]> {
        self.row_counts.get(&LayerRule::Layer(block, projection)).map(Vec::as_slice)
    }

    /// Refuses blocks that a model of so many does not have.
    ///
    /// # Errors
    /// The first such block.
    pub fn check(&self, blocks: usize) -> Result<(), TargetsError> {
        let last = blocks.saturating_sub(1);
        let listed = self.layers.iter().flat_map(|layers| layers.0.iter().map(|range| *range.end()));
        let ruled = self.per_layer.keys().filter_map(|rule| match *rule {
            LayerRule::Block(block) | LayerRule::Layer(block, _) => Some(block),
            LayerRule::Projection(_) => None,
        });
        match listed.chain(ruled).find(|&block| block > last) {
            Some(block) => Err(TargetsError::NoSuchBlock { block, last }),
            None => Ok(()),
        }
    }
}

/// A text that names no layers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no layer: write a block (3), a projection (down_proj), or both (3.down_proj)")]
pub struct ParseLayerRuleError(String);

impl FromStr for LayerRule {
    type Err = ParseLayerRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (block, projection) = match text.split_once('.') {
            Some((block, projection)) => (block.parse().ok(), projection.parse().ok()),
            None => (text.parse().ok(), text.parse().ok()),
        };
        match (block, projection) {
            (Some(block), Some(projection)) => Ok(Self::Layer(block, projection)),
            (Some(block), None) if !text.contains('.') => Ok(Self::Block(block)),
            (None, Some(projection)) if !text.contains('.') => Ok(Self::Projection(projection)),
            _ => Err(ParseLayerRuleError(text.to_owned())),
        }
    }
}

impl fmt::Display for LayerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(block) => write!(f, "{block}"),
            Self::Projection(projection) => f.write_str(projection.name()),
            Self::Layer(block, projection) => write!(f, "{block}.{}", projection.name()),
        }
    }
}

impl TryFrom<String> for LayerRule {
    type Error = ParseLayerRuleError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<LayerRule> for String {
    fn from(rule: LayerRule) -> Self {
        rule.to_string()
    }
}

impl BlockRanges {
    fn contains(&self, block: usize) -> bool {
        self.0.iter().any(|range| range.contains(&block))
    }
}

impl FromStr for BlockRanges {
    type Err = TargetsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            (from <= to).then_some(from..=to)
        };
        let ranges: Option<Vec<_>> = text.split(',').map(part).collect();
        ranges.map(Self).ok_or_else(|| TargetsError::Blocks(text.to_owned()))
    }
}

impl TryFrom<String> for BlockRanges {
    type Error = TargetsError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<BlockRanges> for String {
    fn from(ranges: BlockRanges) -> Self {
        let part = |range: &RangeInclusive<usize>| match (range.start(), range.end()) {
            (from, to) if from == to => from.to_string(),
            (from, to) => format!("{from}-{to}"),
        };
        ranges.0.iter().map(part).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_rule_counts() {
        let mut targets = Targets::everywhere(Sparsity::Ratio(0.5));
        targets.layers = Some("0-2,5".parse().unwrap());
        targets.skip = vec![Projection::Key];
        for (key, ratio) in [("1", 0.1), ("down_proj", 0.2), ("1.down_proj", 0.3), ("5.q_proj", 0.0)] {
            targets.per_layer.insert(key.parse().unwrap(), Sparsity::Ratio(ratio));
        }
        let ratio = |block, projection| targets.of(block, projection).map(Sparsity::ratio);
        assert_eq!(ratio(0, Projection::Query), Some(0.5));
        assert_eq!(ratio(1, Projection::Query), Some(0.1));
        assert_eq!(ratio(0, Projection::Down), Some(0.2));
        assert_eq!(ratio(1, Projection::Down), Some(0.3));
        assert_eq!(ratio(5, Projection::Query), None);
        assert_eq!(ratio(0, Projection::Key), None);
        assert_eq!(ratio(3, Projection::Query), None);
        assert!(targets.check(6).is_ok());
        let json = serde_json::to_value(&targets).unwrap();
        assert_eq!(serde_json::from_value::<Targets>(json).unwrap(), targets);
        assert!(matches!(targets.check(5), Err(TargetsError::NoSuchBlock { block: 5, last: 4 })));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["", "3.", ".down_proj", "down_proj.3", "3.down_proj.4", "-1", "mlp"] {
            assert!(text.parse::<LayerRule>().is_err(), "{text}");
        }
        for text in ["", "a", "3-", "5-2", "1,,2"] {
            assert!(text.parse::<BlockRanges>().is_err(), "{text}");
        }
        assert_eq!(String::from("0-15,20".parse::<BlockRanges>().unwrap()), "0-15,20");
    }
}
