//! The manifest's record of calibration windows.

use super::{Piece, Window, WindowMode, windows_sha256};
use espalier_base::hash::hex;
use espalier_data::{Collection, Skipped};
use espalier_plugins::PluginRecord;
use espalier_sdk::Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::PathBuf;

/// The calibration data of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CalibrationRecord {
    /// The files and folders that it could be chosen from.
    pub sources: Vec<SourceRecord>,
    /// The selector; absent where the windows were ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<PluginRecord>,
    /// Windows.
    pub samples: usize,
    /// Tokens in the longest window.
    pub seqlen: usize,
    /// Tokens in all windows.
    pub tokens: usize,
    /// Those of them that count in statistics and losses, where not all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_tokens: Option<usize>,
    /// The seed of the draw.
    pub seed: u64,
    /// The generator of the draw.
    pub generator: String,
    /// SHA-256 of all windows' tokens (little-endian u32, each window after its length).
    pub windows_sha256: String,
    /// SHA-256 of where the windows came from: of every piece in order the line
    /// `SHA-256-OF-ITS-SOURCE DOCUMENT OFFSET LENGTH`, and an empty line behind every window.
    pub fingerprint: String,
    /// The pieces of each window.
    pub windows: Vec<Vec<Piece>>,
}

/// A file or folder of calibration data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The file or folder.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: String,
    /// The weight that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Its documents.
    pub documents: usize,
    /// Its rows that were left out.
    pub skipped: Skipped,
    /// How windows were cut of it; absent where they were ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<WindowMode>,
}

impl CalibrationRecord {
    pub(super) fn new(
        collection: &Collection,
        refused: impl Fn(usize) -> u64,
        mode: impl Fn(usize) -> Option<WindowMode>,
        selector: Option<PluginRecord>,
        seed: u64,
        windows: &[Window],
    ) -> Self {
        let source = |(at, source): (usize, &espalier_data::SourceInfo)| SourceRecord {
            path: source.path.clone(),
            sha256: source.sha256.clone(),
            weight: source.weight,
            documents: source.documents.len(),
            skipped: Skipped { bad: source.skipped.bad + refused(at), ..source.skipped },
            mode: mode(at),
        };
        let sources: Vec<_> = collection.sources().iter().enumerate().map(source).collect();
        Self {
            selector,
            samples: windows.len(),
            seqlen: windows.iter().map(|window| window.input_ids.len()).max().unwrap_or(0),
            tokens: windows.iter().map(|window| window.input_ids.len()).sum(),
            counted_tokens: windows
                .iter()
                .any(|window| !window.loss_mask.is_empty())
                .then(|| windows.iter().map(|window| window.view().counted()).sum()),
            seed,
            generator: Rng::NAME.to_owned(),
            windows_sha256: windows_sha256(windows),
            fingerprint: fingerprint(&sources, windows),
            windows: windows.iter().map(|window| window.pieces.clone()).collect(),
            sources,
        }
    }
}

fn fingerprint(sources: &[SourceRecord], windows: &[Window]) -> String {
    let mut hash = Sha256::new();
    for window in windows {
        for Piece { source, document, offset, length } in &window.pieces {
            let sha256 = &sources[*source].sha256;
            hash.update(format!("{sha256} {document} {offset} {length}\n"));
        }
        hash.update("\n");
    }
    hex(hash)
}
