//! A selection at a glance, and beside another one.

use super::Row;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// A selection at a glance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Windows.
    pub windows: usize,
    /// Tokens in all windows.
    pub tokens: usize,
    /// Those of them that count in statistics and losses.
    pub counted: usize,
    /// Tokens in the shortest window.
    pub shortest: usize,
    /// Tokens in a window, on average.
    pub mean: f64,
    /// Tokens in the longest window.
    pub longest: usize,
    /// How many different tokens there are.
    pub unique_tokens: usize,
    /// The share of each source.
    pub sources: BTreeMap<String, Share>,
}

/// The share of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Windows that begin with it.
    pub windows: usize,
    /// Its documents.
    pub documents: usize,
    /// Its tokens.
    pub tokens: usize,
}

/// The overlap of two selections.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overlap {
    /// Windows of the first that are windows of the second, token by token.
    pub windows: usize,
    /// Documents that both have.
    pub documents: usize,
    /// Documents that either has.
    pub all_documents: usize,
    /// Different tokens that both have.
    pub unique_tokens: usize,
    /// Different tokens that either has.
    pub all_unique_tokens: usize,
}

impl Summary {
    /// The summary of these rows.
    pub fn new(rows: &[Row]) -> Self {
        let lengths: Vec<usize> = rows.iter().map(|row| row.tokens().count()).collect();
        let tokens = lengths.iter().sum();
        let mut sources: BTreeMap<String, Share> = BTreeMap::new();
        for row in rows {
            if let Some(source) = &row.source {
                sources.entry(source.clone()).or_default().windows += 1;
            }
            for piece in &row.pieces {
                sources.entry(piece.source.clone()).or_default().tokens += piece.length;
            }
        }
        for (source, _) in documents(rows) {
            sources.entry(source.to_owned()).or_default().documents += 1;
        }
        Self {
            windows: rows.len(),
            tokens,
            counted: tokens - rows.iter().map(masked).sum::<usize>(),
            shortest: lengths.iter().copied().min().unwrap_or(0),
            mean: if rows.is_empty() { 0.0 } else { tokens as f64 / rows.len() as f64 },
            longest: lengths.iter().copied().max().unwrap_or(0),
            unique_tokens: unique_tokens(rows).len(),
            sources,
        }
    }
}

/// Tokens that do not count.
fn masked(row: &Row) -> usize {
    row.loss_mask.iter().filter(|&&weight| weight == 0.0).count()
}

impl Overlap {
    /// The overlap of two selections.
    pub fn new(rows: &[Row], others: &[Row]) -> Self {
        let windows = |rows: &[Row]| rows.iter().map(|row| row.tokens().collect()).collect::<Vec<Vec<u32>>>();
        let known: BTreeSet<_> = windows(others).into_iter().collect();
        let (ours, theirs) = (documents(rows), documents(others));
        let (tokens, their_tokens) = (unique_tokens(rows), unique_tokens(others));
        Self {
            windows: windows(rows).iter().filter(|window| known.contains(*window)).count(),
            documents: ours.intersection(&theirs).count(),
            all_documents: ours.union(&theirs).count(),
            unique_tokens: tokens.intersection(&their_tokens).count(),
            all_unique_tokens: tokens.union(&their_tokens).count(),
        }
    }
}

fn unique_tokens(rows: &[Row]) -> BTreeSet<u32> {
    rows.iter().flat_map(Row::tokens).collect()
}

fn documents(rows: &[Row]) -> BTreeSet<(&str, usize)> {
    let pieces = rows.iter().flat_map(|row| &row.pieces);
    pieces.map(|piece| (piece.source.as_str(), piece.document)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::RowPiece;

    fn row(input_ids: &[u32], document: usize) -> Row {
        let length = input_ids.len();
        Row {
            input_ids: input_ids.to_vec(),
            attention_mask: vec![1; length],
            loss_mask: Vec::new(),
            text: String::new(),
            source: Some("a".into()),
            document: Some(document),
            offset: Some(0),
            score: None,
            pieces: vec![RowPiece { source: "a".into(), document, offset: 0, length }],
        }
    }

    #[test]
    fn a_summary_counts() {
        let summary = Summary::new(&[row(&[1, 2, 2], 0), row(&[3], 0), row(&[3, 4], 5)]);
        assert_eq!((summary.windows, summary.tokens, summary.unique_tokens), (3, 6, 4));
        assert_eq!((summary.shortest, summary.mean, summary.longest), (1, 2.0, 3));
        assert_eq!(summary.sources["a"], Share { windows: 3, documents: 2, tokens: 6 });
    }

    #[test]
    fn an_overlap_counts_what_both_have() {
        let overlap = Overlap::new(&[row(&[1, 2], 0), row(&[3], 1)], &[row(&[3], 1), row(&[5], 2)]);
        let expected =
            Overlap { windows: 1, documents: 1, all_documents: 3, unique_tokens: 1, all_unique_tokens: 4 };
        assert_eq!(overlap, expected);
    }
}
