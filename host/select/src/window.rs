//! Windows, and what is asked of them.

use espalier_base::hash::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// A calibration window: the tokens of one forward pass, without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The tokens.
    pub input_ids: Vec<u32>,
    /// How much each counts in statistics and losses; nothing where all count 1.
    pub loss_mask: Vec<f32>,
    /// Where they came from, in order; nothing where a selector wrote them itself.
    pub pieces: Vec<Piece>,
    /// The selector's measure of it; the mean over its documents where they are packed.
    pub score: Option<f64>,
}

/// A run of a window's tokens that came from one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The number of the source.
    pub source: usize,
    /// The document's number in the source, from 0.
    pub document: usize,
    /// The first token's place in the document.
    pub offset: usize,
    /// How many tokens; the end-of-text token that joins packed documents counts to the one it ends.
    pub length: usize,
}

/// How windows are cut of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowMode {
    /// Random crops of documents that are as long as a window.
    Crop,
    /// Documents joined with the end-of-text token, cut into windows.
    Pack,
    /// One document a window, which is as long as its document. Versions before 0.2 called this `pad`.
    #[serde(alias = "pad")]
    Single,
}

impl WindowMode {
    const ALL: [(&'static str, Self); 3] =
        [("crop", Self::Crop), ("pack", Self::Pack), ("single", Self::Single)];
}

impl FromStr for WindowMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The word of earlier versions, in which nothing was padded either.
        let text = if text == "pad" { "single" } else { text };
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, mode)| *mode).ok_or_else(|| format!("`{text}` is not one of crop, pack and single"))
    }
}

impl fmt::Display for WindowMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, mode)| mode == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl Window {
    /// As the model takes it.
    pub fn view(&self) -> espalier_model::Window<'_> {
        espalier_model::Window { input_ids: &self.input_ids, loss_mask: &self.loss_mask }
    }
}

/// Which tokens count in statistics and losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossMask {
    /// All, unless a row of tokens has a `loss_mask` of its own.
    #[default]
    All,
    /// Those of answers, and of what a selector writes itself.
    Answers,
}

impl LossMask {
    /// Whether all tokens count.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }
}

impl fmt::Display for LossMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_all() { "all" } else { "answers" })
    }
}

impl FromStr for LossMask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "answers" => Ok(Self::Answers),
            _ => Err(format!("`{text}` is not one of all and answers")),
        }
    }
}

/// When there are enough windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Budget {
    /// So many windows.
    Samples(usize),
    /// So many tokens; the last window is cut to fit.
    Tokens(usize),
}

impl Budget {
    /// The windows it fills.
    pub fn samples(self, seqlen: usize) -> usize {
        match self {
            Self::Samples(samples) => samples,
            Self::Tokens(tokens) => tokens.div_ceil(seqlen),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Samples(samples) => write!(f, "{samples} windows"),
            Self::Tokens(tokens) => write!(f, "{tokens} tokens"),
        }
    }
}

/// SHA-256 over the windows' tokens, in hex: of each window its length as 8 bytes and its tokens as 4
/// bytes each, little-endian; and where not all count 1, how much each does, as an f32.
pub fn windows_sha256(windows: &[Window]) -> String {
    let mut hash = Sha256::new();
    for window in windows {
        hash.update((window.input_ids.len() as u64).to_le_bytes());
        for token in &window.input_ids {
            hash.update(token.to_le_bytes());
        }
        for weight in &window.loss_mask {
            hash.update(weight.to_le_bytes());
        }
    }
    hex(hash)
}
